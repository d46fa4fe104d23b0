//! Files: reachable, of a size that fits in a head, silent about where they were written.

use std::collections::BTreeSet;

use crate::repository::{rust_files, texts};

/// Longer files are two things in one; tests and tables may run on.
const MAX_LINES: usize = 600;

#[test]
fn files_fit_in_a_head() {
    for (path, text) in rust_files() {
        let n_lines = text.lines().take_while(|line| !line.starts_with("mod tests {")).count();
        assert!(n_lines <= MAX_LINES, "{path} has {n_lines} lines before its tests, at most {MAX_LINES} are allowed");
    }
}

/// A test file that no `mod` line names is never compiled: it would pass for ever.
#[test]
fn no_test_file_is_forgotten() {
    let files = rust_files();
    let declared: BTreeSet<String> = files
        .iter()
        .filter(|(path, _)| path.starts_with("tests/suite/"))
        .flat_map(|(_, text)| text.lines().map(str::trim).map(str::to_owned).collect::<Vec<_>>())
        .filter_map(|line| {
            let line = line.strip_prefix("pub(crate) ").unwrap_or(&line).to_owned();
            Some(line.strip_prefix("mod ")?.strip_suffix(';')?.to_owned())
        })
        .collect();
    let manifest = texts().into_iter().find(|(path, _)| path == "tests/Cargo.toml").expect("tests/Cargo.toml").1;
    for (path, _) in files.iter().filter(|(path, _)| path.starts_with("tests/suite/")) {
        let inside = path.strip_prefix("tests/suite/").expect("filtered above");
        let stem = inside.rsplit('/').next().and_then(|name| name.strip_suffix(".rs")).expect("a Rust file");
        let known = if inside.contains('/') {
            declared.contains(stem)
        } else {
            manifest.contains(&format!("path = \"suite/{inside}\""))
        };
        assert!(known, "{path} is compiled by nothing");
    }
}

#[test]
fn tests_neither_sleep_nor_are_ignored() {
    // Spelt in two halves so that this file does not find itself.
    let ignored = concat!("#[ig", "nore");
    let sleeps = [concat!("thread::sle", "ep("), concat!("time::sle", "ep(")];
    for (path, text) in rust_files() {
        assert!(!text.contains(ignored), "{path} ignores a test");
        let is_test = path.starts_with("tests/suite/");
        let tests = if is_test { &*text } else { text.split_once("#[cfg(test)]").map_or("", |(_, tests)| tests) };
        for sleep in sleeps {
            assert!(!tests.contains(sleep), "{path} sleeps in a test: wait for the event instead");
        }
    }
}

/// People set wall clocks, by ten years if they like: what waits by one waits so long.
#[test]
fn nothing_waits_by_the_wall_clock() {
    for (path, text) in rust_files() {
        let waits = ["node/src/sync/", "node/src/serve/", "node/src/net/"].iter().any(|dir| path.starts_with(dir));
        assert!(!waits || !text.contains("clock::now()"), "{path}: machines and rates go by `clock::steady`");
    }
}

/// The project speaks of itself alone.
#[test]
fn no_machine_paths_and_no_registry_hosts() {
    let foreign = [
        concat!("/ro", "ot/"),
        concat!("/wo", "rk/"),
        concat!("/ho", "me/"),
        concat!("static.crates", ".io"),
        concat!("index.crates", ".io"),
        concat!("deb.debian", ".org"),
        concat!("pypi", ".org"),
        concat!("registry.npmjs", ".org"),
    ];
    for (path, text) in texts() {
        if path == "Cargo.lock" {
            continue;
        }
        for word in foreign {
            assert!(!text.contains(word), "{path} contains `{word}`");
        }
    }
}
