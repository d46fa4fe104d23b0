//! What git keeps beside a history, and believes: a stranger's repository may hold anything there.
#![cfg(unix)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use syncra_tests::{Home, skip};

use crate::git::{Repo, has_git, manifest, reference};

#[test]
fn a_commit_graph_that_lies_changes_nothing() {
    let test = "a_commit_graph_that_lies_changes_nothing";
    if !has_git(test) {
        return;
    }
    let home = Home::new();
    let repo = Repo::new(&home, "repo");
    repo.write("syncra.toml", manifest("lamp", "1.0.0"));
    repo.write("src/main.syn", "one\n");
    repo.commit("One");
    repo.git(&["tag", "v1.0.0"]);
    repo.write("syncra.toml", manifest("lamp", "1.1.0"));
    repo.write("src/main.syn", "two\n");
    repo.commit("Two");
    repo.git(&["tag", "v1.1.0"]);
    repo.git(&["commit-graph", "write", "--reachable"]);
    let graph = repo.0.join(".git/objects/info/commit-graph");
    let Ok(mut bytes) = fs::read(&graph) else { return skip(test, "git writes no commit graph") };
    let raw = |name: &str| data_encoding::HEXLOWER.decode(repo.git(&["rev-parse", name]).as_bytes()).expect("an id");
    let place = |bytes: &[u8], id: &[u8]| bytes.windows(id.len()).position(|part| part == id).expect("in the graph");
    let trees = [raw("HEAD~1^{tree}"), raw("HEAD^{tree}")];
    let [old, new] = trees.each_ref().map(|id| place(&bytes, id));
    // Each has the other's files, and the second comes from nothing.
    bytes[old..old + 20].copy_from_slice(&trees[1]);
    bytes[new..new + 20].copy_from_slice(&trees[0]);
    bytes[new + 20..new + 24].copy_from_slice(&0x7000_0000_u32.to_be_bytes());
    fs::set_permissions(&graph, fs::Permissions::from_mode(0o644)).expect("writable");
    fs::write(&graph, bytes).expect("written");
    // Git itself falls for it: one commit, with the files of the other.
    let believed = ["-c", "core.commitGraph=true", "log", "--format=%T"];
    if repo.git(&believed) != data_encoding::HEXLOWER.encode(&trees[0]) {
        return skip(test, "this git does not believe its commit graph");
    }
    home.json(["import", "git", repo.path(), "--yes"]);
    let package = reference(&home);
    for (version, text) in [("1.0.0", "one\n"), ("1.1.0", "two\n")] {
        home.json(["get", &format!("{package}@{version}"), "-o", version]);
        assert_eq!(fs::read_to_string(home.work().join(version).join("src/main.syn")).expect("there"), text);
    }
    home.json(["export", "git", &package, "out"]);
    let back = Repo::at(&home.work().join("out"));
    fs::remove_file(&graph).expect("removed");
    assert_eq!(back.git(&["rev-list", "--count", "main"]), "2");
    assert_eq!(back.git(&["rev-parse", "main"]), repo.git(&["rev-parse", "main"]));
}
