use super::*;

fn rule(text: &str) -> PathRule {
    EntryPath::parse(text).expect_err("the path is wrong").rule()
}

#[test]
fn ordinary_paths_are_accepted() {
    for text in [
        "syncra.toml",
        ".syncraignore",
        "scripts/main.syn",
        "a/.syncra",
        "Ünïcødé/ラケット.png",
        "❤\u{fe0f}.png",
        "a b/c  d.txt",
        "..a/b..c",
        ".gitignore",
        "con1/comma.txt",
        "これは？/１：２.txt",
        "auxiliary",
        "com10",
    ] {
        let path = EntryPath::parse(text).unwrap_or_else(|error| panic!("{text:?}: {error}"));
        assert_eq!(path.as_str(), text);
        assert_eq!(path.parts().collect::<Vec<_>>().join("/"), text);
    }
    let path = EntryPath::parse("a/b/c").unwrap();
    assert_eq!((path.name(), path.parent()), ("c", Some("a/b")));
    assert_eq!(EntryPath::parse("c").unwrap().parent(), None);
}

#[test]
fn limits_are_exact() {
    let part = "x".repeat(255);
    assert!(EntryPath::parse(&part).is_ok());
    assert_eq!(rule(&format!("{part}x")), PathRule::PartLong);
    assert!(EntryPath::parse(&["a"; 32].join("/")).is_ok());
    assert_eq!(rule(&["a"; 33].join("/")), PathRule::Deep);
    let longest = [part.as_str(); 4].join("/");
    assert_eq!(longest.len(), 1_023);
    assert!(EntryPath::parse(&longest).is_ok());
    assert_eq!(rule(&format!("{longest}/x")), PathRule::Long);
}

#[test]
fn the_error_names_part_rule_and_remedy() {
    let say = |text: &str| EntryPath::parse(text).unwrap_err().to_string();
    assert_eq!(say("a/e\u{301}"), "part 1 of the path is not in Unicode normalisation form C; rename it to `é`");
    assert_eq!(
        say("a/b\u{202e}"),
        "part 1 of the path contains U+202E, which is invisible or changes the direction of text"
    );
    assert_eq!(say("NUL.txt"), "part 0 of the path is the name of a device on Windows");
    assert_eq!(say("/etc/passwd"), "the path is absolute; write it relative to the package");
    assert_eq!(EntryPath::parse_bytes(b"a\xff"), Err(EntryPathError::NotUtf8 { at: 1 }));
}

#[test]
fn a_part_alone_obeys_the_same_rules() {
    assert!(check_part("main.syn").is_ok());
    for part in ["", "..", "a/b", "/", "a:b", "nul", "a.", ".git"] {
        assert!(check_part(part).is_err(), "{part:?}");
    }
    assert_eq!(check_part("a\\b").unwrap_err().rule(), PathRule::Separator);
}

#[test]
fn collisions_are_found_in_every_order() {
    let colliding: &[&[&str]] = &[
        &["a", "A"],
        &["a", "a"],
        &["a", "a/b"],
        &["a", "A/b"],
        &["x/a/b", "x/A/c"],
        &["straße", "STRASSE"],
        &["ﬁle", "file"],
        &["é", "É"],
        &["❤\u{fe0f}", "❤"],
        &["ς", "Σ"],
        &["ΩΙ\u{b4d}", "ῳ\u{b4d}"],
        &["１", "1"],
        &["Ꭰ", "ꭰ"],
    ];
    for tree in colliding {
        for order in [[tree[0], tree[1]], [tree[1], tree[0]]] {
            let mut set = PathSet::new();
            set.insert(&EntryPath::parse(order[0]).unwrap()).unwrap();
            assert!(set.insert(&EntryPath::parse(order[1]).unwrap()).is_err(), "{order:?}");
        }
    }
    let mut set = PathSet::new();
    for path in ["a/b", "a/c", "a.b", "b/a", "ab", "á", "i", "ı", "x/a/b", "y/A/b"] {
        set.insert(&EntryPath::parse(path).unwrap()).unwrap_or_else(|error| panic!("{error}"));
    }
    assert_eq!(set.len(), 10);
}

#[test]
fn the_collision_says_what_collides() {
    let mut set = PathSet::new();
    set.insert(&EntryPath::parse("Data/x").unwrap()).unwrap();
    let mut insert = |text: &str| set.insert(&EntryPath::parse(text).unwrap()).unwrap_err();
    assert_eq!(insert("data/y"), Collision::Spelling { first: "Data".into(), second: "data".into() });
    assert_eq!(insert("DATA"), Collision::Kind { file: "DATA".into(), directory: "Data".into() });
    assert_eq!(insert("Data/x/y"), Collision::Kind { file: "Data/x".into(), directory: "Data/x".into() });
    assert_eq!(insert("Data/x"), Collision::Twice("Data/x".into()));
}

#[test]
fn the_tables_are_the_expected_ones() {
    // A newer table accepts more paths: raise this together with docs/spec/names.md and the changelog.
    assert_eq!(UNICODE, (18, 0, 0));
}

#[test]
fn serde_validates() {
    let bytes = crate::codec::encode(&"../x");
    assert!(crate::codec::decode::<EntryPath>(&bytes, 64).is_err());
    let path = EntryPath::parse("a/é").unwrap();
    assert_eq!(crate::codec::decode::<EntryPath>(&crate::codec::encode(&path), 64), Ok(path));
}
