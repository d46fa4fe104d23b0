//! Version floors for advisories that the usual scanners do not know, and crates that must not be there at all.

use crate::repository::root;

/// (crate, lowest accepted version, why)
const FLOORS: &[(&str, [u64; 3], &str)] = &[
    ("yamux", [0, 14, 1], "CVE-2026-31814, CVE-2026-32314 and a lost wake-up"),
    ("libp2p-gossipsub", [0, 49, 4], "CVE-2026-33040, CVE-2026-34219"),
    ("quinn-proto", [0, 11, 15], "CVE-2026-31812, RUSTSEC-2026-0185"),
    ("iroh-relay", [1, 1, 0], "a relay batch drives a core to 100 %"),
    ("hickory-proto", [0, 26, 1], "unbounded work in the DNS decoder"),
    ("lz4_flex", [0, 11, 6], "reads uninitialised memory; 0.12.0 too"),
];

/// Archive formats stand on no path that peers' bytes take; a libp2p behaviour of ours replaces libp2p-stream.
const ABSENT: &[&str] = &["tar", "async-tar", "tokio-tar", "astral-tokio-tar", "zip", "libp2p-stream"];

fn locked() -> Vec<(String, [u64; 3], String)> {
    let text = std::fs::read_to_string(root().join("Cargo.lock")).expect("Cargo.lock is committed");
    let mut found = Vec::new();
    for package in text.split("[[package]]").skip(1) {
        let field = |name: &str| {
            let prefix = format!("{name} = \"");
            let line = package.lines().find_map(|line| line.strip_prefix(&prefix));
            line.and_then(|rest| rest.strip_suffix('"')).unwrap_or_default().to_owned()
        };
        let version = field("version");
        let core = version.split(['-', '+']).next().unwrap_or_default();
        let mut parts = core.split('.').map(|part| part.parse().expect("a number"));
        let mut next = || parts.next().expect("three numbers");
        found.push((field("name"), [next(), next(), next()], field("source")));
    }
    assert!(found.len() > 100, "Cargo.lock was not read");
    found
}

#[test]
fn versions_are_at_or_above_their_floors() {
    for (name, version, _) in locked() {
        if let Some((_, floor, why)) = FLOORS.iter().find(|(floored, ..)| *floored == name) {
            assert!(version >= *floor, "{name} {version:?} is below {floor:?}: {why}");
        }
        assert!(name != "lz4_flex" || version != [0, 12, 0], "lz4_flex 0.12.0 reads uninitialised memory");
    }
}

#[test]
fn forbidden_crates_and_git_sources_are_absent() {
    for (name, _, source) in locked() {
        assert!(!ABSENT.contains(&&*name), "{name} must not be a dependency");
        assert!(!source.starts_with("git+"), "{name} comes from git");
    }
}
