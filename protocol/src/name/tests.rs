use super::*;

fn broken<T: std::fmt::Debug>(result: Result<T, NameError>) -> (NameRule, usize) {
    let error = result.expect_err("the name is wrong");
    (error.rule, error.at)
}

#[test]
fn package_names() {
    for name in ["a", "0", "rocket", "low-poly_trees", "a-b_c-d", "com", "com10", "console", "nul0", &"x".repeat(64)] {
        assert_eq!(PackageName::parse(name).unwrap().as_str(), name);
    }
    let parse = |text: &str| broken(PackageName::parse(text));
    assert_eq!(parse(""), (NameRule::Empty, 0));
    assert_eq!(parse(&"x".repeat(65)), (NameRule::TooLong { len: 65, max: 64 }, 0));
    assert!(matches!(parse("roCket"), (NameRule::Character { found: 'C', .. }, 2)));
    assert!(matches!(parse("ro.cket"), (NameRule::Character { found: '.', .. }, 2)));
    assert!(matches!(parse("rockеt"), (NameRule::Character { found: 'е', .. }, 4))); // a Cyrillic е
    assert!(matches!(parse("-a"), (NameRule::Begins { found: '-', .. }, 0)));
    assert!(matches!(parse("_a"), (NameRule::Begins { found: '_', .. }, 0)));
    assert_eq!(parse("a-"), (NameRule::Ends('-'), 1));
    assert_eq!(parse("ab-_c"), (NameRule::Doubled, 2));
    for device in ["con", "prn", "aux", "nul", "com0", "com9", "lpt1"] {
        assert_eq!(parse(device), (NameRule::Device, 0), "{device}");
    }
}

#[test]
fn handles() {
    for handle in ["a", "alice", "alice-b", "alice.dev", "a1.b2.example", "xn--bcher-kva.example", "1.2.3.x"] {
        assert_eq!(Handle::parse(handle).unwrap().as_str(), handle);
    }
    assert!(Handle::parse("alice.dev").unwrap().is_dns());
    assert!(!Handle::parse("alice").unwrap().is_dns());
    let parse = |text: &str| broken(Handle::parse(text));
    assert_eq!(parse("alice."), (NameRule::Empty, 6));
    assert_eq!(parse("alice..dev"), (NameRule::Empty, 6));
    assert_eq!(parse(".alice"), (NameRule::Empty, 0));
    assert_eq!(parse("127.0.0.1"), (NameRule::Address, 8));
    assert_eq!(parse("alice-.dev"), (NameRule::Ends('-'), 5));
    assert!(matches!(parse("alice.-dev"), (NameRule::Begins { found: '-', .. }, 6)));
    assert!(matches!(parse("ali_ce"), (NameRule::Character { found: '_', .. }, 3)));
    assert_eq!(parse(&"x".repeat(64)), (NameRule::TooLong { len: 64, max: 63 }, 0));
    assert_eq!(parse(&"x".repeat(65)), (NameRule::TooLong { len: 65, max: 64 }, 0));
}

#[test]
fn ref_names() {
    for name in ["stable", "feature/night-sky", "v1.2", "a", "x_y", "release/2026.1"] {
        assert_eq!(RefName::parse(name).unwrap().as_str(), name);
    }
    assert_eq!(RefName::parse("stable").unwrap(), RefName::stable());
    let parse = |text: &str| broken(RefName::parse(text));
    assert!(matches!(parse("1.2"), (NameRule::Begins { found: '1', allowed: "a-z" }, 0)));
    assert_eq!(parse("a//b"), (NameRule::Empty, 2));
    assert_eq!(parse("/a"), (NameRule::Empty, 0));
    assert_eq!(parse("a/"), (NameRule::Empty, 2));
    assert!(matches!(parse("a/../b"), (NameRule::Begins { found: '.', .. }, 2)));
    assert!(matches!(parse("."), (NameRule::Begins { found: '.', .. }, 0)));
    assert_eq!(parse("a..b"), (NameRule::Doubled, 1));
    assert_eq!(parse("a-"), (NameRule::Ends('-'), 1));
    assert!(matches!(parse("a@b"), (NameRule::Character { found: '@', .. }, 1)));
}

#[test]
fn the_error_says_what_rule_and_where() {
    assert_eq!(
        PackageName::parse("my Rocket").unwrap_err().to_string(),
        "not a package name: ' ' is not one of a-z, 0-9, `-`, `_` (at byte 2)"
    );
}

#[test]
fn nearest_names() {
    for (wrote, name) in [("My Rocket!", "my-rocket"), ("--A__b", "a_b"), ("Über", "ber"), ("rocket", "rocket")] {
        assert_eq!(PackageName::nearest(wrote).unwrap().as_str(), name);
    }
    assert_eq!(PackageName::nearest("ラケット"), None);
    assert_eq!(PackageName::nearest("NUL"), None);
    assert_eq!(PackageName::nearest(&"Ab-".repeat(40)).unwrap().as_str().len(), 64);
    assert_eq!(Handle::nearest("Alice B.").unwrap().as_str(), "alice-b");
    assert_eq!(Handle::nearest("john_doe").unwrap().as_str(), "john-doe");
    assert_eq!(RefName::nearest("Stable").unwrap(), RefName::stable());
}

#[test]
fn look_alikes_share_a_key_and_others_do_not() {
    for twins in [["sky-box", "skybox"], ["sky_box", "sky-box"], ["modern", "modem"], ["r0cket", "rocket"]] {
        assert_eq!(look_alike_key(twins[0]), look_alike_key(twins[1]), "{twins:?}");
    }
    for others in [["rocket", "pocket"], ["tree", "trees"], ["a1", "a2"]] {
        assert_ne!(look_alike_key(others[0]), look_alike_key(others[1]), "{others:?}");
    }
}

#[test]
fn serde_validates() {
    let bytes = crate::codec::encode(&"Rocket");
    assert!(crate::codec::decode::<PackageName>(&bytes, 64).is_err());
    let bytes = crate::codec::encode(&PackageName::parse("rocket").unwrap());
    assert_eq!(bytes, crate::codec::encode(&"rocket"));
    assert_eq!(crate::codec::decode::<PackageName>(&bytes, 64).unwrap().as_str(), "rocket");
}
