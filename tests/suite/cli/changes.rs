//! What changed, where it comes from, and what was made from what.

use std::path::Path;

use serde_json::Value;
use syncra_tests::Home;

use crate::releases::{package, publish, text};

/// Writes a file of the package in the directory `name`.
fn write(home: &Home, name: &str, path: &str, bytes: impl AsRef<[u8]>) {
    let path = home.work().join(name).join(path);
    std::fs::create_dir_all(path.parent().expect("in a directory")).expect("made");
    std::fs::write(path, bytes).expect("written");
}

/// A lamp in two versions, and what names both.
fn two_versions(home: &Home) -> [String; 2] {
    package(home, "lamp", "1.0.0", "turn()\nglow()\n");
    write(home, "lamp", "model/lamp.bin", b"\0binary one");
    write(home, "lamp", "old/name.txt", "the same words\n");
    write(home, "lamp", "gone.txt", "going\n");
    let old = text(&publish(home, "lamp"), "ref").to_owned();
    package(home, "lamp", "1.1.0", "turn()\nflicker()\nglow()\n");
    let manifest = std::fs::read_to_string(home.work().join("lamp/syncra.toml")).expect("there");
    let manifest =
        manifest.replace("The lamp", "The better lamp") + "[permissions]\nnet = true\nread = [\"Transform\"]\n";
    write(home, "lamp", "syncra.toml", manifest);
    write(home, "lamp", "model/lamp.bin", b"\0binary two!");
    std::fs::remove_file(home.work().join("lamp/gone.txt")).expect("removed");
    std::fs::create_dir(home.work().join("lamp/new")).expect("made");
    std::fs::rename(home.work().join("lamp/old/name.txt"), home.work().join("lamp/new/name.txt")).expect("renamed");
    let new = text(&publish(home, "lamp"), "ref").to_owned();
    [old, new]
}

fn file<'a>(diff: &'a Value, path: &str) -> &'a Value {
    let mut files = diff["files"].as_array().expect("files").iter();
    files.find(|file| file["path"] == path).unwrap_or_else(|| panic!("no {path} in {diff}"))
}

/// GNU patch makes the new text from the old one and our hunks, if it is there.
fn patched(home: &Home, old: &str, patch: &str) -> Option<String> {
    std::fs::write(home.work().join("text"), old).expect("written");
    std::fs::write(home.work().join("patch"), patch).expect("written");
    let run = std::process::Command::new("patch").args(["-s", "text", "patch"]).current_dir(home.work()).output();
    let run = run.ok()?;
    assert!(run.status.success(), "{}\n{patch}", String::from_utf8_lossy(&run.stdout));
    Some(std::fs::read_to_string(home.work().join("text")).expect("patched"))
}

#[test]
fn two_releases_are_compared_file_by_file_and_line_by_line() {
    let home = Home::new();
    let [old, new] = two_versions(&home);
    let diff = home.json(["diff", &old, &new]);
    assert_eq!((text(&diff, "old"), text(&diff, "new")), (&*old, &*new));
    assert_eq!(diff["asks_more"], serde_json::json!(["read Transform", "net"]));
    assert_eq!(diff["asks_less"], serde_json::json!([]));
    let keys: Vec<_> = diff["metadata"].as_array().expect("keys").iter().map(|field| text(field, "key")).collect();
    assert_eq!(keys, ["version", "description"]);
    let paths: Vec<_> = diff["files"].as_array().expect("files").iter().map(|file| text(file, "path")).collect();
    assert_eq!(paths, ["gone.txt", "model/lamp.bin", "new/name.txt", "src/main.syn", "syncra.toml"]);

    let script = file(&diff, "src/main.syn");
    assert_eq!((text(script, "change"), text(script, "content")), ("modified", "text"));
    assert_eq!((script["n_added"].as_u64(), script["n_removed"].as_u64()), (Some(1), Some(0)));
    assert_eq!(script["hunks"][0]["lines"], serde_json::json!([" turn()", "+flicker()", " glow()"]));
    let model = file(&diff, "model/lamp.bin");
    assert_eq!((text(model, "content"), model["old"]["size"].as_u64()), ("binary", Some(11)));
    assert_ne!(model["old"]["hash"], model["new"]["hash"]);
    let moved = file(&diff, "new/name.txt");
    assert_eq!((text(moved, "change"), text(moved, "content")), ("renamed", "same"));
    assert_eq!(moved["old"]["path"], "old/name.txt");
    assert_eq!(text(file(&diff, "gone.txt"), "change"), "removed");

    // A release alone is compared with what it was made from; the first one with nothing.
    assert_eq!(home.json(["diff", &new]), diff);
    let first = home.json(["diff", &old]);
    assert_eq!((&first["old"], first["files"].as_array().map(Vec::len)), (&Value::Null, Some(5)));
    assert_eq!(diff["fetched_bytes"], 0);
    let same = home.json(["diff", &new, &new]);
    assert_eq!((&same["files"], &same["metadata"]), (&serde_json::json!([]), &serde_json::json!([])));
    let (exit, error) = home.fails(["diff", &old.replace("1.0.0", "9.0.0")]);
    assert_eq!((exit, text(&error, "code")), (3, "E0305"));
    assert_eq!(home.fails(["diff", ".", &new]).0, 2);
}

#[test]
fn what_people_see_is_short_or_whole_and_coloured_only_when_asked() {
    let home = Home::new();
    let [old, new] = two_versions(&home);
    let names = home.run(["diff", &old, &new, "--name-only"]).stdout;
    assert_eq!(names, "gone.txt\nmodel/lamp.bin\nnew/name.txt\nsrc/main.syn\nsyncra.toml\n");
    let stat = home.run(["diff", &old, &new, "--stat"]).stdout;
    assert!(stat.contains("src/main.syn | +1 -0\n"), "{stat}");
    assert!(stat.contains("old/name.txt → new/name.txt | the same bytes\n"), "{stat}");
    assert!(stat.contains("model/lamp.bin | 11 B → 12 B\n"), "{stat}");
    let whole = home.run(["diff", &old, &new]).stdout;
    assert!(whole.contains("newly asks for: net\n") && !whole.contains('\x1b'), "{whole}");
    assert!(
        whole.contains("--- a/src/main.syn\n+++ b/src/main.syn\n@@ -1,2 +1,3 @@\n turn()\n+flicker()\n"),
        "{whole}"
    );
    let coloured = home.run(["diff", &old, &new, "--color", "always"]).stdout;
    assert!(coloured.contains("\x1b[32m+flicker()\x1b[0m\n"), "{coloured}");
}

/// What a stranger writes into a file cannot steer the terminal, colours or not.
#[test]
fn what_a_file_says_cannot_steer_the_terminal() {
    let home = Home::new();
    package(&home, "lamp", "1.0.0", "a\x1b[2Jb\n");
    let reference = text(&publish(&home, "lamp"), "ref").to_owned();
    let shown = home.run(["diff", &reference, "--color", "always"]).stdout;
    assert!(shown.contains("+a\u{fffd}[2Jb") && !shown.contains("\x1b[2J"), "{shown}");
    let blamed = home.run(["blame", &reference, "src/main.syn"]).stdout;
    assert!(blamed.contains("a\u{fffd}[2Jb") && !blamed.contains('\x1b'), "{blamed}");
}

/// A release proves no time: what is shown is when this node first had it, and says so.
#[test]
fn times_are_said_to_be_those_at_which_this_node_saw_a_release() {
    let (home, reader) = (Home::new(), Home::new());
    package(&home, "lamp", "1.0.0", "turn()");
    let reference = format!("syncra:{}", text(&publish(&home, "lamp"), "package_id"));
    let file = home.work().join("lamp.syncpack");
    let file = file.to_str().expect("text");
    home.json(["export", &reference, "-o", file]);
    reader.json(["import", file]);
    for shown in [&["log", &reference, "--graph"][..], &["blame", &reference, "src/main.syn"]] {
        let shown = reader.run(shown).stdout;
        assert!(shown.lines().next().is_some_and(|line| line.contains(" seen here 2")), "{shown}");
    }
    let graph = reader.json(["log", &reference, "--graph"]);
    assert!(graph["releases"][0]["first_seen_ms"].is_u64(), "{graph}");
}

#[test]
fn a_directory_is_compared_with_its_newest_release() {
    let home = Home::new();
    let [_, new] = two_versions(&home);
    assert_eq!(home.json(["diff", "lamp"])["files"], serde_json::json!([]));
    write(&home, "lamp", "src/main.syn", "turn()\n");
    write(&home, "lamp", "notes.txt", "new\n");
    let diff = home.json(["diff", "lamp"]);
    assert_eq!(text(&diff, "old"), new);
    let paths: Vec<_> = diff["files"].as_array().expect("files").iter().map(|file| text(file, "path")).collect();
    assert_eq!(paths, ["notes.txt", "src/main.syn"]);
    let mut inside = home.command(["diff", "--json"]);
    inside.current_dir(home.work().join("lamp"));
    assert_eq!(syncra_tests::Output::of(inside).data()["files"], diff["files"]);
    assert_eq!(home.json(["diff", &new.replace("1.1.0", "1.0.0"), "lamp"])["files"].as_array().map(Vec::len), Some(6));
    assert_eq!(home.fails(["diff", "nowhere"]).0, 3);
    package(&home, "door", "1.0.0", "open()");
    let (exit, error) = home.fails(["diff", "door"]);
    assert_eq!((exit, text(&error, "code")), (3, "E0304"));
}

#[test]
fn another_program_makes_the_new_text_from_ours() {
    let home = Home::new();
    let old: String = (0..400).map(|n| format!("line {}\n", n % 37)).collect();
    let new: String = (0..400)
        .filter(|n| n % 29 != 3)
        .map(|n| format!("line {}{}\n", n % 37, if n % 41 == 0 { "!" } else { "" }))
        .collect();
    package(&home, "lamp", "1.0.0", &old);
    publish(&home, "lamp");
    package(&home, "lamp", "1.1.0", &new);
    let reference = text(&publish(&home, "lamp"), "ref").to_owned();
    let shown = home.run(["diff", &reference]).stdout;
    let begin = shown.find("--- a/src/main.syn").expect("the script's hunks");
    let end = shown.find("modified syncra.toml").expect("what follows");
    match patched(&home, &old, &shown[begin..end]) {
        Some(made) => assert_eq!(made, new),
        None => syncra_tests::skip("another_program_makes_the_new_text_from_ours", "no patch"),
    }
}

#[test]
fn each_line_is_from_the_release_that_brought_it() {
    let home = Home::new();
    let mut refs = Vec::new();
    for (version, script) in
        [("1.0.0", "a\nb\nc\n"), ("1.1.0", "a\nB\nc\n"), ("1.2.0", "a\nB\nc\n"), ("1.3.0", "a\nB\nc\nd\n")]
    {
        package(&home, "lamp", version, script);
        write(&home, "lamp", "model.bin", [0, 1, 2]);
        refs.push(text(&publish(&home, "lamp"), "ref").to_owned());
    }
    // Renamed, which changes no line.
    package(&home, "lamp", "1.4.0", "");
    std::fs::rename(home.work().join("lamp/src/main.syn"), home.work().join("lamp/src/empty.syn")).expect("renamed");
    write(&home, "lamp", "src/moved.syn", "a\nB\nc\nd\n");
    refs.push(text(&publish(&home, "lamp"), "ref").to_owned());

    let versions = |blamed: &Value| {
        let of = |id: &Value| {
            let mut releases = blamed["releases"].as_array().expect("releases").iter();
            text(releases.find(|release| release["release_id"] == *id).expect("told"), "version").to_owned()
        };
        let lines = blamed["lines"].as_array().expect("lines").iter();
        lines.map(|line| (of(&line["release_id"]), text(line, "text").to_owned())).collect::<Vec<_>>()
    };
    let expected = [("1.0.0", "a"), ("1.1.0", "B"), ("1.0.0", "c"), ("1.3.0", "d")];
    let expected = expected.map(|(version, line)| (version.to_owned(), line.to_owned()));
    for (reference, path) in [(&refs[4], "src/moved.syn"), (&refs[3], "src/main.syn")] {
        let blamed = home.json(["blame", reference, path]);
        assert_eq!(versions(&blamed), expected, "{blamed}");
        assert_eq!((text(&blamed["last"], "version"), blamed["is_complete"].as_bool()), ("1.3.0", Some(true)));
        assert!(text(&blamed["last"], "by").starts_with('@'), "{blamed}");
    }
    assert_eq!(text(&home.json(["blame", &refs[2], "src/main.syn"])["last"], "version"), "1.1.0");
    let binary = home.json(["blame", &refs[4], "model.bin"]);
    assert_eq!((text(&binary["last"], "version"), &binary["lines"]), ("1.0.0", &Value::Null));
    let shown = home.run(["blame", &refs[4], "src/moved.syn"]).stdout;
    assert!(shown.lines().any(|line| line.starts_with("1.1.0  @") && line.ends_with("  2  B")), "{shown}");
    let (exit, error) = home.fails(["blame", &refs[4], "src/none.syn"]);
    assert_eq!((exit, text(&error, "code")), (3, "E0300"));
    assert_eq!(home.fails(["blame", &refs[4], "../etc"]).0, 2);
}

#[test]
fn the_graph_shows_what_was_made_from_what_and_what_points_to_it() {
    let home = Home::new();
    package(&home, "lamp", "1.0.0", "a");
    publish(&home, "lamp");
    package(&home, "lamp", "1.1.0", "b");
    publish(&home, "lamp");
    package(&home, "lamp", "2.0.0-beta.1", "c");
    home.json(["publish", "lamp", "--channel", "beta"]);
    let found = home.json(["log", "@me/lamp".replace("@me", &owner(&home)).as_str(), "--graph"]);
    let releases = found["releases"].as_array().expect("releases");
    let told: Vec<_> = releases.iter().map(|r| (text(r, "version"), r["refs"].clone())).collect();
    assert_eq!(
        told,
        [
            ("2.0.0-beta.1", serde_json::json!(["channel beta"])),
            ("1.1.0", serde_json::json!(["channel stable"])),
            ("1.0.0", serde_json::json!([]))
        ]
    );
    assert_eq!(releases[1]["parents"], serde_json::json!([releases[2]["release_id"]]));
    let shown = home.run(["log", &format!("{}/lamp", owner(&home)), "--graph"]).stdout;
    let lines: Vec<_> = shown.lines().collect();
    assert!(lines[0].starts_with("*  2.0.0-beta.1  [channel beta]  @"), "{shown}");
    assert!(lines[1].starts_with("*  1.1.0  [channel stable]  @"), "{shown}");
    assert_eq!(home.fails(["log", "@me/lamp", "--graph", "--export-tiles", "x"]).0, 2);
    assert!(!Path::new("x").exists());
}

/// How strangers write the owner of what this home publishes.
fn owner(home: &Home) -> String {
    let list = home.json(["list"]);
    text(&list["packages"][0], "ref").split('/').next().expect("an owner").to_owned()
}
