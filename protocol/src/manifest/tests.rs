use super::*;

const FULL: &str = r#"
[package]
name = "rocket"
version = "1.2.3"
kind = "script"
description = "Flies — far"
license = "MIT OR Apache-2.0"
keywords = ["space", "engine"]
engine = ">=0.3, <0.5"

[dependencies]
"@bob~k3v4x2m4q7ab/sky" = "^1.2"
"@alice.dev/trees" = { package = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", version = "=2.0.0" }

[permissions]
read = ["Transform", "Rotation"]
write = ["Rotation"]
net = true
files = "read"

[files]
include = ["scripts/**"]
exclude = ["*.psd", "!keep.psd"]

[run]
start = ["scripts/main.syn", "scripts/a.syn"]
headless = "scripts/server.syn"

[ci]
steps = [{ name = "check", run = "syncra check ." }]
"#;

fn error(text: &str) -> String {
    Manifest::parse(text).expect_err("the manifest is wrong").to_string()
}

fn minimal(more: &str) -> String {
    format!("[package]\nname = \"rocket\"\nversion = \"1.2.3\"\nkind = \"script\"\n{more}")
}

#[test]
fn everything_is_understood() {
    let manifest = Manifest::parse(FULL).unwrap();
    assert_eq!(manifest.header.name.as_str(), "rocket");
    assert_eq!(manifest.header.version, Version::new(1, 2, 3));
    assert_eq!(manifest.header.kind, PackageKind::Script);
    assert_eq!(manifest.header.keywords.iter().map(Keyword::as_str).collect::<Vec<_>>(), ["engine", "space"]);
    assert_eq!(manifest.unresolved().map(ToString::to_string).collect::<Vec<_>>(), ["@bob~k3v4x2m4q7ab/sky"]);
    assert_eq!(manifest.permissions.read.iter().map(Component::as_str).collect::<Vec<_>>(), ["Rotation", "Transform"]);
    assert!(manifest.permissions.net);
    assert_eq!(manifest.permissions.files, FileAccess::Read);
    assert_eq!(manifest.run.start[0].as_str(), "scripts/main.syn");
    assert_eq!(manifest.files.exclude[1].as_str(), "!keep.psd");
    assert_eq!(manifest.ci[0].run.as_str(), "syncra check .");
    let minimal = Manifest::parse(&minimal("")).unwrap();
    assert_eq!((minimal.permissions, minimal.run, minimal.ci), (Permissions::default(), Run::default(), Vec::new()));
}

#[test]
fn complaints_name_place_key_and_remedy() {
    for (text, complaint) in [
        (minimal("licence = \"MIT\""), "line 5, column 1: unknown key `licence` in [package]; did you mean `license`?"),
        (
            minimal("[dependancies]"),
            "line 5, column 2: unknown key `dependancies` in the manifest; did you mean `dependencies`?",
        ),
        (
            minimal("[permissions]\n  network = true"),
            "line 6, column 3: unknown key `network` in [permissions]; known are `read`, `write`, `net`, `files`",
        ),
        (
            minimal("[ci]\nsteps = [{ nam = \"a\", run = \"b\" }]"),
            "line 6, column 12: unknown key `nam` in step 1 of [ci]; did you mean `name`?",
        ),
        ("name = \"x\"".into(), "line 1, column 1: unknown key `name` in the manifest; it belongs below `[package]`"),
        (String::new(), "line 1, column 1: the manifest has no `package`"),
        ("\n[package]\nname = \"a\"\nkind = \"world\"".into(), "line 2, column 1: [package] has no `version`"),
        (minimal("keywords = \"space\""), "line 5, column 12: `keywords` must be a list, this is a text"),
        (minimal("keywords = [\"a\", \"a\"]"), "line 5, column 18: `keywords` names `a` twice"),
        (minimal("engine = 1.2"), "line 5, column 10: `engine` must be a text in quotes, this is a number"),
        (minimal("[permissions]\nnet = \"no\""), "line 6, column 7: `net` must be `true` or `false`, this is a text"),
        (minimal("[package]"), "line 5, column 2: duplicate key"),
        (
            minimal("[run]\nstart = [\"../x\"]"),
            "line 6, column 10: `start`: part 0 of the path is `.` or `..` or reads as one",
        ),
        (
            minimal("[dependencies]\ntrees = \"1\""),
            "line 6, column 1: `trees`: a package is named with its owner; did you mean `@owner/trees`?",
        ),
        (
            minimal("[dependencies]\n\"@a/b\" = 1"),
            "line 6, column 10: `@a/b` must be a version requirement in quotes, this is a number",
        ),
        (minimal("[dependencies]\n\"@a/b\" = {}"), "line 6, column 10: the dependency `@a/b` has no `version`"),
        (
            minimal("description = \"a\\nb\""),
            "line 5, column 15: `description`: U+000A at byte 1 is not allowed in a line of text",
        ),
        (
            minimal("description = \"\u{202e}\""),
            "line 5, column 15: `description`: U+202E at byte 0 is not allowed in a line of text",
        ),
        (
            minimal("# é\nengine = \"é\""),
            "line 6, column 10: `engine`: not a version requirement: unexpected character 'é' while parsing major version number",
        ),
        (
            "[package]\nname = \"Rocket\"\nversion = \"1.2.3\"\nkind = \"script\"".into(),
            "line 2, column 8: `name`: not a package name: 'R' is not one of a-z, 0-9, `-`, `_` (at byte 0)",
        ),
        (
            "[package]\nname = \"a\"\nversion = \"1.2.3\"\nkind = \"scripts\"".into(),
            "line 4, column 8: `kind`: not one of `script`, `driver`, `world`, `avatar`, `asset`, `pack`",
        ),
    ] {
        assert_eq!(error(&text), complaint, "{text}");
    }
    assert!(error(&" ".repeat(65_537)).contains("65537 bytes"));
    assert!(error("[package").starts_with("line 1, column "));
}

#[test]
fn lists_are_bounded() {
    let many: Vec<String> = (0..17).map(|n| format!("\"k{n}\"")).collect();
    let list = format!("keywords = [{}]", many.join(","));
    assert!(error(&minimal(&list)).contains("`keywords` lists 17, at most 16"));
    let many: String = (0..257).map(|n| format!("\"@a/n{n}\" = \"1\"\n")).collect();
    assert!(error(&minimal(&format!("[dependencies]\n{many}"))).contains("at most 256"));
    // Deep nesting ends in an error, not in the end of the stack.
    assert!(error(&minimal(&format!("keywords = {}", "[".repeat(60_000)))).starts_with("line 5"));
    assert!(error(&minimal(&format!("{} = 1", ["a"; 30_000].join(".")))).starts_with("line 5"));
}

#[test]
fn templates_parse_and_differ_by_kind() {
    let name = PackageName::parse("rocket").unwrap();
    for kind in PackageKind::ALL {
        let manifest =
            Manifest::parse(&Manifest::template(kind, &name)).unwrap_or_else(|error| panic!("{kind}: {error}"));
        assert_eq!((manifest.header.kind, &manifest.header.name), (kind, &name));
        assert!(manifest.resolve(&BTreeMap::new()).is_ok());
        // What stands in comments is right, too: it parses once uncommented.
        let text = Manifest::template(kind, &name);
        let uncommented: Vec<&str> = text
            .lines()
            .map(|line| line.strip_prefix("# ").filter(|rest| rest.contains(" = ")).unwrap_or(line))
            .collect();
        let full = Manifest::parse(&uncommented.join("\n")).unwrap_or_else(|error| panic!("{kind}: {error}"));
        assert_eq!(full.ci.len(), 1);
    }
}

#[test]
fn dependencies_are_resolved_to_packages() {
    let manifest = Manifest::parse(FULL).unwrap();
    let sky: QualifiedName = "@bob~k3v4x2m4q7ab/sky".parse().unwrap();
    assert_eq!(manifest.resolve(&BTreeMap::new()), Err(ResolveError::Unknown(sky.clone())));
    let known = BTreeMap::from([(sky.clone(), PackageId::from_bytes([9; 32]))]);
    let resolved = manifest.resolve(&known).unwrap();
    let names: Vec<&str> = resolved.dependencies().iter().map(|dependency| dependency.name.as_str()).collect();
    assert_eq!(names, ["trees", "sky"], "ordered by package id");
    let same = BTreeMap::from([(sky.clone(), PackageId::from_bytes([0; 32]))]);
    assert!(matches!(manifest.resolve(&same), Err(ResolveError::SamePackage(..))));
    let twins = Manifest::parse(&minimal("[dependencies]\n\"@a/sky\" = \"1\"\n\"@b/sky\" = \"1\"")).unwrap();
    let known = twins.unresolved().cloned().zip((0..).map(|n| PackageId::from_bytes([n; 32]))).collect();
    assert!(matches!(twins.resolve(&known), Err(ResolveError::SameName(..))));
}

#[test]
fn the_canonical_form_is_strict() {
    let manifest = Manifest::parse(&FULL.replace("\"@bob", "#")).unwrap();
    let resolved = manifest.resolve(&BTreeMap::new()).unwrap();
    let bytes = resolved.canonical_bytes();
    assert_eq!(ResolvedManifest::decode(&bytes), Ok(resolved.clone()));
    let mut newer = bytes.clone();
    newer[0] = 2;
    assert_eq!(ResolvedManifest::decode(&newer), Err(ManifestDecodeError::Format(2)));
    assert!(matches!(ResolvedManifest::decode(&[]), Err(ManifestDecodeError::Codec(_))));
    // "engine", "space" the other way round: understood, but not the canonical order.
    let swapped = [&b"\x06engine\x05space"[..], b"\x05space\x06engine"];
    let at = bytes.windows(13).position(|window| window == swapped[0]).expect("the keywords are there");
    let mut unsorted = bytes.clone();
    unsorted[at..at + 13].copy_from_slice(swapped[1]);
    assert_eq!(ResolvedManifest::decode(&unsorted), Err(ManifestDecodeError::List("keywords")));
    // The text's order of keywords and of permissions does not matter.
    let reordered = FULL.replace("\"@bob", "#").replace(r#"["space", "engine"]"#, r#"["engine", "space"]"#);
    assert_eq!(Manifest::parse(&reordered).unwrap().resolve(&BTreeMap::new()).unwrap().canonical_bytes(), bytes);
}

#[test]
fn permissions_beyond_others_are_told_in_words() {
    let ask = |text: &str| Manifest::parse(&minimal(&format!("[permissions]\n{text}"))).unwrap().permissions;
    let less = ask("read = [\"Transform\"]\nfiles = \"read\"");
    let more = ask("read = [\"Transform\", \"Sound\"]\nwrite = [\"Transform\"]\nnet = true\nfiles = \"write\"");
    assert_eq!(more.beyond(&less), ["read Sound", "write Transform", "net", "files write"]);
    assert_eq!(less.beyond(&more), Vec::<String>::new());
    assert_eq!(more.beyond(&more), Vec::<String>::new());
}
