//! Stored entries against loss and damage.

use std::path::Path;

use syncra_protocol::id::PackageId;
use syncra_protocol::key::DeviceKey;

use super::*;

fn origin(n: u8) -> Origin {
    Origin::package(PackageId::from_bytes([n; 32]), DeviceKey::from_bytes([n; 32]))
}

fn entries(n: u8, range: Range<u64>) -> Vec<Vec<u8>> {
    range.map(|at| format!("entry {at} of {n}").repeat(3).into_bytes()).collect()
}

const ALL: usize = usize::MAX;

fn whole(n: u8, range: Range<u64>) -> Found {
    Found { entries: entries(n, range), missing: None }
}

fn gaps(logs: &Logs, n: u8, range: Range<u64>) -> String {
    let gaps = logs.missing(&origin(n), range).expect("known");
    gaps.iter().map(|gap| format!("{gap:?}")).collect::<Vec<_>>().join(" ")
}

#[test]
fn entries_come_back_by_log_and_range() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let logs = Logs::open(dir.path(), Index::in_memory()).expect("opens");
    logs.append(&origin(1), 0, &entries(1, 0..10)).expect("stored");
    logs.append(&origin(2), 0, &entries(2, 0..5)).expect("stored");
    logs.append(&origin(1), 10, &entries(1, 10..30)).expect("stored");
    logs.sync().expect("synced");
    assert_eq!(logs.read(&origin(1), 0..30, ALL).expect("read"), whole(1, 0..30));
    assert_eq!(logs.read(&origin(1), 7..13, ALL).expect("read"), whole(1, 7..13));
    assert_eq!(logs.read(&origin(2), 4..5, ALL).expect("read"), whole(2, 4..5));
    assert_eq!(logs.read(&origin(2), 5..5, ALL).expect("read"), Found::default());
    let found = logs.read(&origin(2), 3..9, ALL).expect("read");
    assert_eq!(found, Found { entries: entries(2, 3..5), missing: Some(5..9) });
    let found = logs.read(&origin(3), 0..2, ALL).expect("read");
    assert_eq!(found, Found { entries: Vec::new(), missing: Some(0..2) });
    assert_eq!(logs.read(&origin(1), 0..30, 1).expect("read"), whole(1, 0..1), "at least one, then the byte limit");
}

#[test]
fn overlapping_and_gappy_appends_are_stored_once() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let logs = Logs::open(dir.path(), Index::in_memory()).expect("opens");
    logs.append(&origin(1), 5, &entries(1, 5..8)).expect("stored");
    logs.append(&origin(1), 20, &entries(1, 20..22)).expect("stored");
    assert_eq!(gaps(&logs, 1, 0..30), "0..5 8..20 22..30");
    logs.append(&origin(1), 0, &entries(1, 0..25)).expect("stored");
    assert_eq!(gaps(&logs, 1, 0..30), "25..30");
    assert_eq!(logs.read(&origin(1), 0..25, ALL).expect("read"), whole(1, 0..25));
    let before = logs.writer().active.len();
    logs.append(&origin(1), 3, &entries(1, 3..25)).expect("known");
    assert_eq!(logs.writer().active.len(), before);
}

#[test]
fn bounds_are_kept_and_large_runs_are_split() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let logs = Logs::open(dir.path(), Index::in_memory()).expect("opens");
    let bad = |start, entries: &[Vec<u8>]| matches!(logs.append(&origin(1), start, entries), Err(LogsError::Bounds));
    assert!(bad(0, &[Vec::new()]));
    assert!(bad(0, &[vec![1; limits::ENTRY_BYTES + 1]]));
    assert!(bad(u64::MAX, &[vec![1]]));
    assert!(bad(limits::LOG_ENTRIES, &[vec![1]]));
    let large: Vec<_> = (0..30).map(|n| vec![n; limits::ENTRY_BYTES]).collect();
    logs.append(&origin(1), 0, &large).expect("stored");
    assert_eq!(logs.read(&origin(1), 0..30, ALL).expect("read").entries, large);
    let runs = logs.index.scan(Table::Runs, &[], &[], ALL).expect("scanned").len();
    assert!((5..=8).contains(&runs), "{runs} runs");
}

fn filled(dir: &Path, index: Index) -> Logs {
    let logs = Logs::open_sized(dir, index, 2_000).expect("opens");
    for at in (0..60).step_by(3) {
        logs.append(&origin(1), at, &entries(1, at..at + 3)).expect("stored");
        logs.append(&origin(2), at, &entries(2, at..at + 3)).expect("stored");
    }
    assert!(segment::list(dir).expect("readable").len() > 3);
    logs
}

#[test]
fn when_the_index_fails_entries_are_found_all_the_same() {
    for room in [0, 1, 2, 7, 30] {
        let dir = tempfile::tempdir().expect("temporary directory");
        let index = Index::full_after(room);
        let logs = filled(dir.path(), index.clone());
        assert_eq!(index.epoch(), 1, "{room}: it failed on the way");
        for n in [1, 2] {
            assert_eq!(logs.read(&origin(n), 0..60, ALL).expect("read"), whole(n, 0..60), "{room}");
        }
    }
    // Somebody else is the first to notice.
    let dir = tempfile::tempdir().expect("temporary directory");
    let index = Index::full_after(100);
    let logs = filled(dir.path(), index.clone());
    while index.put(Table::Fold, b"anything", b"else").is_ok() {}
    assert_eq!(logs.read(&origin(1), 0..60, ALL).expect("read"), whole(1, 0..60));
}

#[test]
fn a_lost_index_is_told_everything_again_and_a_kept_one_nothing() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let index = Index::in_memory();
    drop(filled(dir.path(), index.clone()));
    let before = index.scan(Table::Runs, &[], &[], ALL).expect("scanned");
    drop(Logs::open_sized(dir.path(), index.clone(), 2_000).expect("opens"));
    assert_eq!(index.scan(Table::Runs, &[], &[], ALL).expect("scanned"), before);
    let fresh = Index::in_memory();
    let logs = Logs::open_sized(dir.path(), fresh.clone(), 2_000).expect("opens");
    assert_eq!(fresh.scan(Table::Runs, &[], &[], ALL).expect("scanned"), before);
    for n in [1, 2] {
        assert_eq!(logs.read(&origin(n), 0..60, ALL).expect("read"), whole(n, 0..60));
    }
    logs.append(&origin(1), 60, &entries(1, 60..61)).expect("goes on");
    assert_eq!(logs.read(&origin(1), 58..61, ALL).expect("read"), whole(1, 58..61));
}

/// Asks again for what is missing until all of it is there, as the sync does.
fn heal(logs: &Logs) -> u64 {
    let mut refetched = 0;
    for n in [1, 2] {
        let mut at = 0;
        while at < 60 {
            let found = logs.read(&origin(n), at..60, ALL).expect("read");
            assert_eq!(found.entries, entries(n, at..at + found.entries.len() as u64), "never a wrong entry");
            at += found.entries.len() as u64;
            if let Some(missing) = found.missing {
                refetched += missing.end - missing.start;
                logs.append(&origin(n), missing.start, &entries(n, missing)).expect("stored");
            }
        }
        assert_eq!(logs.read(&origin(n), 0..60, ALL).expect("read"), whole(n, 0..60));
    }
    refetched
}

#[test]
fn damage_costs_some_entries_and_they_come_again() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let index = Index::in_memory();
    drop(filled(dir.path(), index.clone()));
    let n_bytes = fs::read(segment::path(dir.path(), 2)).expect("there").len();
    for at in (0..n_bytes).step_by(7) {
        for known in [true, false] {
            let index = if known { index.clone() } else { Index::in_memory() };
            let logs = Logs::open_sized(dir.path(), index, 2_000).expect("opens");
            let path = segment::path(dir.path(), 2);
            let mut bytes = fs::read(&path).expect("there");
            bytes[at] ^= 0x20;
            fs::write(&path, &bytes).expect("written");
            heal(&logs);
            bytes[at] ^= 0x20;
            fs::write(&path, &bytes).expect("written");
        }
    }
}

#[test]
fn one_bad_frame_costs_its_own_run_only() {
    let dir = tempfile::tempdir().expect("temporary directory");
    drop(filled(dir.path(), Index::in_memory()));
    let path = segment::path(dir.path(), 2);
    let mut bytes = fs::read(&path).expect("there");
    let middle = segment::scan(2, &bytes, 0).runs[2].offset + 60;
    bytes[middle] ^= 1;
    fs::write(&path, &bytes).expect("written");
    let logs = Logs::open_sized(dir.path(), Index::in_memory(), 2_000).expect("opens");
    assert_eq!(heal(&logs), 3);
}

#[test]
fn a_torn_end_and_a_lost_segment_are_fetched_again() {
    for (number, cut) in [(1, None), (2, None), (3, Some(700)), (u64::MAX, Some(100)), (u64::MAX, Some(33))] {
        let dir = tempfile::tempdir().expect("temporary directory");
        let index = Index::in_memory();
        drop(filled(dir.path(), index.clone()));
        let last = *segment::list(dir.path()).expect("readable").last().expect("there");
        let path = segment::path(dir.path(), number.min(last));
        match cut {
            Some(len) => fs::OpenOptions::new().write(true).open(&path).and_then(|file| file.set_len(len)),
            None => fs::remove_file(&path),
        }
        .expect("damaged");
        for index in [index, Index::in_memory()] {
            let logs = Logs::open_sized(dir.path(), index, 2_000).expect("opens");
            heal(&logs);
        }
    }
}

#[test]
fn forgotten_logs_give_their_space_back() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let index = Index::in_memory();
    let logs = filled(dir.path(), index.clone());
    assert_eq!(logs.compact().expect("nothing to do"), 0);
    for at in 0..90 {
        logs.append(&origin(3), at, &entries(3, at..at + 1)).expect("stored");
    }
    logs.forget(&origin(1)).expect("forgotten");
    logs.forget(&origin(3)).expect("forgotten");
    assert_eq!(gaps(&logs, 1, 0..60), "0..60");
    assert!(logs.compact().expect("compacted") > 1_000);
    assert_eq!(logs.read(&origin(2), 0..60, ALL).expect("read"), whole(2, 0..60));
    drop(logs);
    let logs = Logs::open_sized(dir.path(), Index::in_memory(), 2_000).expect("opens");
    assert_eq!(logs.read(&origin(2), 0..60, ALL).expect("read"), whole(2, 0..60));
}
