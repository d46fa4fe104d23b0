//! Each dependency is a choice with a line of why; the protocol's are pure.

use crate::repository::root;

fn names(manifest: &str, table: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join(manifest)).expect(manifest);
    let start = format!("[{table}]");
    text.lines()
        .skip_while(|line| line.trim() != start)
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
        .filter_map(|line| line.split([' ', '.', '=']).next().map(str::to_owned))
        .collect()
}

#[test]
fn every_dependency_has_its_line_of_why() {
    let why = std::fs::read_to_string(root().join("docs/DEPENDENCIES.md")).expect("docs/DEPENDENCIES.md");
    let declared = names("Cargo.toml", "workspace.dependencies");
    assert!(declared.len() > 20, "the workspace's dependencies were not read");
    for name in declared.iter().filter(|name| !name.starts_with("syncra-")) {
        assert!(why.contains(&format!("| `{name}` |")), "`{name}` has no line in docs/DEPENDENCIES.md");
    }
    for line in why.lines().filter_map(|line| line.strip_prefix("| `")) {
        let name = line.split('`').next().unwrap_or_default().to_owned();
        assert!(declared.contains(&name), "docs/DEPENDENCIES.md explains `{name}`, which is no dependency");
    }
}

/// What the pure crate may build on: no runtime, sockets, files, clock or randomness.
const PURE: &[&str] = &[
    "blake3",
    "caseless",
    "data-encoding",
    "ed25519-dalek",
    "postcard",
    "semver",
    "serde",
    "sha2",
    "thiserror",
    "toml",
    "unicode-normalization",
];

#[test]
fn the_protocol_is_pure() {
    for name in names("protocol/Cargo.toml", "dependencies") {
        assert!(PURE.contains(&&*name), "the protocol must not depend on `{name}`");
    }
}
