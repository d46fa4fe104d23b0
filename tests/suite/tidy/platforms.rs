//! What only Unix has stands in few files, each time behind a named condition: elsewhere the program has another way.

use crate::repository::rust_files;

/// Files that may name it, with what takes its place elsewhere.
const FILES: &[(&str, &str)] = &[
    ("node/src/api/client.rs", "the door file: loopback TCP with a token of this run"),
    ("node/src/api/doors.rs", "the door file"),
    ("node/src/cli/draft.rs", "Ctrl-C alone"),
    ("node/src/cli/up.rs", "Ctrl-C alone"),
    ("node/src/descriptors.rs", "the system sets no limit to open files"),
    ("node/src/durable.rs", "the rights of the user's own directory"),
    ("node/src/flow/stage.rs", "directories cannot be locked: nothing is taken for dead"),
    ("node/src/flow/walk.rs", "no file is executable"),
    ("node/src/installed/cache.rs", "length and time alone tell files apart"),
    (
        "node/src/installed/integrity.rs",
        "no file is executable, and without a list of files only their number and bytes are compared",
    ),
    (concat!("node/src/", "home", "/key.rs"), "the rights of the user's own directory"),
    (concat!("node/src/", "home", "/origin.rs"), "the birth of the directory alone"),
];
/// How Unix-only things are named.
const NAMES: &[&str] = &[
    concat!("std::os::u", "nix"),
    concat!("Unix", "Stream"),
    concat!("Unix", "Listener"),
    concat!("signal::u", "nix"),
    "libc::",
    "rustix::",
    "nix::unistd",
];
/// Lines before a use in which its condition stands.
const NEAR: usize = 16;

#[test]
fn what_only_unix_has_stands_behind_its_condition() {
    let mut unused: Vec<&str> = FILES.iter().map(|(file, _)| *file).collect();
    for (path, text) in rust_files() {
        let is_code = (path.starts_with("node/src/") || path.starts_with("protocol/src/")) && !path.contains("/tests");
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        let lines: Vec<&str> = code.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let names_unix = NAMES.iter().any(|name| line.contains(name)) && !line.trim_start().starts_with("//");
            if !is_code || !names_unix {
                continue;
            }
            let before = &lines[at.saturating_sub(NEAR)..=at];
            assert!(before.iter().any(|line| line.contains("cfg(unix)")), "{path}:{} is for Unix only: {line}", at + 1);
            assert!(FILES.iter().any(|(file, _)| *file == path), "{path} is not among the files for one platform");
            unused.retain(|file| *file != path);
        }
    }
    assert!(unused.is_empty(), "no platform of their own any more: {unused:?}");
}
