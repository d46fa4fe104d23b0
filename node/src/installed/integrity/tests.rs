use syncra_protocol::id::{ContentRoot, ReleaseId};
use syncra_protocol::manifest::PackageKind;
use syncra_protocol::tree::tree_id;
use syncra_protocol::version::Version;

use super::*;

fn entry(path: &str, bytes: &[u8], executable: bool) -> FileEntry {
    let hash = BlobId::of(bytes);
    FileEntry { path: EntryPath::parse(path).unwrap(), executable, size: bytes.len() as u64, hash }
}

/// A directory with the files `a`, `deep/b` and the empty `deep/c`, of which the first may be executed.
struct Release {
    dir: tempfile::TempDir,
    entries: Vec<FileEntry>,
    slot: Slot,
}

fn release() -> Release {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("deep")).unwrap();
    for (path, text) in [("a", "run"), ("deep/b", "text"), ("deep/c", "")] {
        fs::write(dir.path().join(path), text).unwrap();
    }
    set_executable(&dir.path().join("a"), true);
    let entries = vec![entry("a", b"run", cfg!(unix)), entry("deep/b", b"text", false), entry("deep/c", b"", false)];
    let slot = Slot {
        reference: "@alice~aaaaaaaaaaaa/lamp".into(),
        kind: PackageKind::Script,
        version: Version::new(1, 0, 0),
        release: ReleaseId::from_bytes([1; 32]),
        tree_id: tree_id(&entries).unwrap(),
        content_root: ContentRoot::from_bytes([1; 32]),
        total_bytes: 7,
        n_files: 3,
        selector: None,
        dependencies: Vec::new(),
        engine: None,
        frontier: String::new(),
    };
    Release { dir, entries, slot }
}

impl Release {
    fn look(&self, knows_files: bool, depth: Depth) -> (Vec<Fault>, u64) {
        let mut read = 0;
        let files = knows_files.then_some(&self.entries[..]);
        let faults = look(self.dir.path(), &self.slot, files.map(<[_]>::iter), depth, |bytes| read += bytes);
        (faults, read)
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }
}

#[cfg(unix)]
fn set_executable(path: &Path, executable: bool) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(if executable { 0o755 } else { 0o644 })).unwrap();
}

#[cfg(not(unix))]
fn set_executable(_path: &Path, _executable: bool) {}

fn path(text: &str) -> EntryPath {
    EntryPath::parse(text).unwrap()
}

#[test]
fn what_was_published_is_well_and_only_a_close_look_reads_it() {
    let release = release();
    for knows_files in [true, false] {
        assert_eq!(release.look(knows_files, Depth::Names), (vec![], 0));
        assert_eq!(release.look(knows_files, Depth::Bytes), (vec![], 7));
    }
}

/// Each change with what is said of it, and whether a look at the names finds it too.
#[test]
fn every_change_is_found_and_named_when_the_files_are_known() {
    type Harm = fn(&Release);
    let cases: [(Harm, Fault, bool); 8] = [
        (|r| fs::write(r.path("deep/b"), "tExt").unwrap(), Fault::Bytes(path("deep/b")), false),
        (
            |r| fs::write(r.path("deep/b"), "text and more").unwrap(),
            Fault::Size { path: path("deep/b"), found: 13, published: 4 },
            true,
        ),
        (|r| fs::remove_file(r.path("deep/c")).unwrap(), Fault::Missing(path("deep/c")), true),
        (|r| fs::write(r.path("deep/a"), "").unwrap(), Fault::Extra("deep/a".into()), true),
        (|r| fs::write(r.path("z"), "").unwrap(), Fault::Extra("z".into()), true),
        (|r| fs::create_dir(r.path("none")).unwrap(), Fault::Extra("none".into()), true),
        // No release has such a name.
        (|r| fs::write(r.path("aux.txt"), "").unwrap(), Fault::Extra("aux.txt".into()), true),
        (|r| fs::remove_dir_all(r.dir.path()).unwrap(), Fault::Gone, true),
    ];
    for (n, (harm, fault, by_name)) in cases.into_iter().enumerate() {
        let release = release();
        harm(&release);
        assert_eq!(release.look(true, Depth::Bytes).0, [fault], "case {n}");
        assert_ne!(release.look(false, Depth::Bytes).0, [], "case {n} without the files");
        assert_eq!(!release.look(true, Depth::Names).0.is_empty(), by_name, "case {n} by name");
    }
}

#[cfg(unix)]
#[test]
fn modes_and_links_are_found() {
    type Harm = fn(&Release);
    let cases: [(Harm, Vec<Fault>); 4] = [
        (|r| set_executable(&r.path("a"), false), vec![Fault::Mode { path: path("a"), published: true }]),
        (|r| set_executable(&r.path("deep/b"), true), vec![Fault::Mode { path: path("deep/b"), published: false }]),
        (|r| std::os::unix::fs::symlink("a", r.path("link")).unwrap(), vec![Fault::Extra("link".into())]),
        (
            |r| {
                fs::remove_file(r.path("deep/b")).unwrap();
                std::os::unix::fs::symlink("/etc/hostname", r.path("deep/b")).unwrap();
            },
            vec![Fault::Extra("deep/b".into()), Fault::Missing(path("deep/b"))],
        ),
    ];
    for (n, (harm, faults)) in cases.into_iter().enumerate() {
        let release = release();
        harm(&release);
        assert_eq!(release.look(true, Depth::Names).0, faults, "case {n}");
        assert_ne!(release.look(false, Depth::Bytes).0, [], "case {n} without the files");
    }
}
