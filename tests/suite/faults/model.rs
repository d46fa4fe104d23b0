//! The model of a disk itself, tried on programs that everybody knows.

use std::path::Path;
use std::process::Command;

use syncra_tests::crash::{Loss, Recording, is_permitted};
use syncra_tests::skip;

fn record(base: &Path, script: &str) -> Recording {
    let mut command = Command::new("python3");
    command.arg("-c").arg(format!("import os\n{script}")).current_dir(base);
    let recording = Recording::of(&command, base);
    assert!(recording.output.status.success(), "{}", String::from_utf8_lossy(&recording.output.stderr));
    recording
}

const REPLACE: &str = "
os.mkdir('d')
fd = os.open('d/new', os.O_WRONLY | os.O_CREAT)
os.write(fd, b'a' * 600)
os.write(fd, b'b' * 600)
os.pwrite(fd, b'c', 0)
SYNC
os.close(fd)
os.rename('d/new', 'd/name')
";

/// What may be there after a power cut at the end, by path; over all losses and many seeds.
fn outcomes(script: &str) -> std::collections::BTreeSet<Vec<(String, Vec<u8>)>> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let recording = record(dir.path(), script);
    let seeds = (0..50).flat_map(|seed| Loss::ALL.map(|loss| (loss, seed)));
    let cut = recording.events.len();
    let files = seeds.map(|(loss, seed)| {
        let disk = recording.after_cut(cut, loss, seed);
        disk.files().into_iter().map(|(path, bytes)| (path, bytes.to_vec())).collect()
    });
    files.collect()
}

#[test]
fn without_syncs_anything_may_be_there_but_a_rename_is_whole() {
    if !is_permitted() {
        return skip("model", "processes may not be traced here");
    }
    let found = outcomes(&REPLACE.replace("SYNC", ""));
    let whole: Vec<u8> = [&b"c"[..], &[b'a'; 599], &[b'b'; 600]].concat();
    assert!(found.contains(&vec![]), "everything may be lost");
    assert!(found.contains(&vec![("d/name".into(), whole.clone())]), "everything may be there");
    assert!(found.contains(&vec![("d/new".into(), whole)]), "the rename may be lost");
    assert!(found.contains(&vec![("d/name".into(), vec![0; 1200])]), "the bytes may be lost");
    assert!(
        found.iter().any(|files| files.iter().any(|(_, bytes)| bytes.starts_with(&[0; 512]) && bytes.contains(&b'b')))
    );
    assert!(found.iter().all(|files| files.len() <= 1), "never both names");
}

#[test]
fn what_was_synced_is_there() {
    if !is_permitted() {
        return skip("model", "processes may not be traced here");
    }
    let found =
        outcomes(&REPLACE.replace("SYNC", "os.fsync(fd)\nfor n in ('.', 'd'): os.fsync(os.open(n, os.O_RDONLY))"));
    let names: Vec<&str> = found.iter().flatten().map(|(path, _)| path.as_str()).collect();
    assert_eq!(names, ["d/name", "d/new"], "one name or the other, each with all bytes");
    assert!(found.iter().flatten().all(|(_, bytes)| bytes.len() == 1200 && bytes[0] == b'c' && bytes[1199] == b'b'));
}

#[test]
#[should_panic(expected = "not modelled")]
fn a_call_that_the_model_does_not_know_is_refused() {
    if !is_permitted() {
        panic!("not modelled: {:?}", skip("model", "processes may not be traced here"));
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    drop(record(dir.path(), "os.symlink('a', 'b')"));
}
