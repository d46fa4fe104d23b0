//! The journal against crashes and damage, on real files.

use std::fs;
use std::path::Path;

use syncra_protocol::Timestamp;
use syncra_protocol::id::{ContentRoot, EntryId, IdentityId, LogHash, PackageId};
use syncra_protocol::key::DeviceKey;
use syncra_protocol::origin::Origin;
use tempfile::TempDir;

use super::*;
use crate::durable::frame::HEADER_BYTES;
use crate::home::Fingerprint;

const KEY: DeviceKey = DeviceKey::from_bytes([1; 32]);

fn here() -> HomeOrigin {
    HomeOrigin { fingerprint: Fingerprint::from_bytes([9; 32]), device: KEY }
}

fn origin(n: u8) -> Origin {
    Origin::package(PackageId::from_bytes([n; 32]), KEY)
}

fn foreign(n: u8) -> Origin {
    Origin::identity(IdentityId::from_bytes([n; 32]), DeviceKey::from_bytes([n; 32]))
}

fn root(size: u64) -> LogHash {
    LogHash::from_bytes([u8::try_from(size % 251).expect("below 251"); 32])
}

/// One entry more in a log that has `old_size`.
fn append(n: u8, old_size: u64) -> OwnAppend {
    let entries = vec![format!("entry {old_size} of {n}").into_bytes()];
    OwnAppend { origin: origin(n), old_size, new_size: old_size + 1, root: root(old_size + 1), entries }
}

fn note(n: u8, size: u64) -> OwnNote {
    OwnNote { origin: origin(n), size, root: root(size), note: format!("note {size}").into_bytes() }
}

fn head(n: u8, size: u64) -> KnownHead {
    KnownHead { origin: foreign(n), size, root: root(size), note: format!("head {size}").into_bytes() }
}

fn stated(n: u8, size: u64, seconds: u64) -> Stated {
    Stated { origin: foreign(n), size, root: root(size), note: b"note".to_vec(), seconds }
}

fn witnessed() -> Witnessed {
    Witnessed {
        name: "witness.example/one".to_owned(),
        key: DeviceKey::from_bytes([4; 32]),
        size: 3,
        root: root(3),
        seconds: 1_700_000_000,
        signature: vec![5; 64],
        moments: vec![(1, 1_600_000_000), (3, 1_700_000_000)],
    }
}

fn open(dir: &Path) -> Result<(Journal, Opened), OpenError> {
    Journal::open(dir, here())
}

/// One record of every kind.
fn samples() -> Vec<Record> {
    let identity = IdentityId::from_bytes([5; 32]);
    let package = PackageId::from_bytes([6; 32]);
    vec![
        here().into(),
        append(1, 0).into(),
        note(1, 1).into(),
        head(4, 3).into(),
        FirstSeen { entry: EntryId::from_bytes([7; 32]), at: Timestamp(1234) }.into(),
        Follow { package, channel: Some("stable".to_owned()) }.into(),
        Follow { package: PackageId::from_bytes([8; 32]), channel: None }.into(),
        Unfollow { package: PackageId::from_bytes([8; 32]) }.into(),
        Trust { identity, regard: Regard::Trusted }.into(),
        Petname { identity, name: Some("alice".to_owned()) }.into(),
        Handle { text: "bob".to_owned() }.into(),
        ForkedLog { origin: foreign(11), proof: vec![1, 2, 3] }.into(),
        OwnRoot { content_root: ContentRoot::from_bytes([12; 32]), package, kept: true }.into(),
        ForkCommon { origin: foreign(11), n_common: 7 }.into(),
        ImportedRoot { content_root: ContentRoot::from_bytes([14; 32]), package, kept: true }.into(),
        stated(4, 3, 1_700_000_000).into(),
        LogTestimony { origin: foreign(4), testimony: Testimony { by: vec![witnessed()] } }.into(),
        ForkPointShown { origin: foreign(11), proof: vec![1, 2, 3], point: vec![4, 5] }.into(),
        append(1, 1).into(),
    ]
}

fn write_samples(dir: &Path) -> Truth {
    let (journal, _) = open(dir).expect("opens");
    for record in samples() {
        journal.append_blocking(record).expect("appended");
    }
    let truth = journal.truth().clone();
    journal.close_blocking();
    truth
}

fn copy(from: &Path) -> TempDir {
    let to = tempfile::tempdir().expect("temporary directory");
    for entry in fs::read_dir(from).expect("readable") {
        let entry = entry.expect("readable");
        fs::copy(entry.path(), to.path().join(entry.file_name())).expect("copied");
    }
    to
}

fn only_segment(dir: &Path) -> std::path::PathBuf {
    segment::path(dir, 1)
}

#[test]
fn everything_comes_back_after_a_clean_and_after_an_unclean_end() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let truth = write_samples(dir.path());
    assert_eq!(truth.unsigned(), [Unsigned { origin: origin(1), size: 2, root: root(2) }]);
    assert_eq!(truth.own_log(&origin(1)).expect("there").entries()[1].as_ref(), b"entry 1 of 1");
    assert_eq!(truth.follows().count(), 1);
    for _ in 0..2 {
        let (journal, opened) = open(dir.path()).expect("opens");
        assert_eq!(*journal.truth(), truth);
        assert_eq!((opened.torn_bytes, opened.provenance), (0, Provenance::Own));
        assert_eq!(opened.unsigned, truth.unsigned());
        // Not closed: as after a kill.
    }
}

#[test]
fn records_survive_their_encoding_and_unknown_ones_are_named() {
    let mut kinds = Vec::new();
    for record in samples() {
        assert_eq!(Record::decode(record.kind(), &record.encode()), Ok(record.clone()));
        kinds.push(record.kind());
    }
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(kinds, (1..=17).collect::<Vec<u8>>());
    assert_eq!(Record::decode(18, &[]), Err(RecordError::Kind(18)));
    assert_eq!(Record::decode(segment::SEAL, &[]), Err(RecordError::Kind(0)));
}

#[test]
fn a_tail_torn_at_any_byte_costs_only_the_last_record() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let before = write_samples(dir.path());
    let kept = fs::metadata(only_segment(dir.path())).expect("there").len();
    let mark = fs::read(dir.path().join("mark")).expect("there");
    let (journal, _) = open(dir.path()).expect("opens");
    journal.append_blocking(note(1, 2)).expect("appended");
    journal.close_blocking();
    let whole = fs::read(only_segment(dir.path())).expect("there");
    for len in usize::try_from(kept).expect("small")..whole.len() {
        let torn = tempfile::tempdir().expect("temporary directory");
        fs::write(only_segment(torn.path()), &whole[..len]).expect("written");
        fs::write(torn.path().join("mark"), &mark).expect("written");
        let (journal, opened) = open(torn.path()).expect("opens");
        assert_eq!(opened.torn_bytes, len as u64 - kept);
        assert_eq!(*journal.truth(), before, "cut at {len}");
        journal.append_blocking(note(1, 2)).expect("goes on");
        journal.close_blocking();
        assert_eq!(fs::read(only_segment(torn.path())).expect("there"), whole, "cut at {len}");
    }
}

#[test]
fn garbage_behind_the_mark_is_a_torn_write_too() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let before = write_samples(dir.path());
    for garbage in [vec![0; 5000], vec![0xff; 3], (0..=255).cycle().take(900).collect()] {
        let torn = copy(dir.path());
        let mut bytes = fs::read(only_segment(torn.path())).expect("there");
        bytes.extend_from_slice(&garbage);
        fs::write(only_segment(torn.path()), bytes).expect("written");
        let (journal, opened) = open(torn.path()).expect("opens");
        assert_eq!(opened.torn_bytes, garbage.len() as u64);
        assert_eq!(*journal.truth(), before);
    }
}

#[test]
fn acknowledged_bytes_that_are_cut_off_are_named() {
    let dir = tempfile::tempdir().expect("temporary directory");
    write_samples(dir.path());
    let whole = fs::read(only_segment(dir.path())).expect("there");
    for len in HEADER_BYTES..whole.len() {
        fs::write(only_segment(dir.path()), &whole[..len]).expect("written");
        let error = open(dir.path()).expect_err("lost");
        assert!(matches!(error, OpenError::Damaged { offset, .. } if offset as usize <= len), "cut at {len}: {error}");
        assert_eq!(fs::read(only_segment(dir.path())).expect("there"), &whole[..len], "refused, not repaired");
    }
}

#[test]
fn every_flipped_bit_is_noticed_and_what_is_before_can_be_salvaged() {
    let dir = tempfile::tempdir().expect("temporary directory");
    write_samples(dir.path());
    let whole = fs::read(only_segment(dir.path())).expect("there");
    let mut salvaged_records = 0;
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        fs::write(only_segment(dir.path()), bytes).expect("written");
        match open(dir.path()) {
            Err(OpenError::Damaged { offset, .. }) => assert!(offset as usize <= at),
            other => panic!("byte {at}: {other:?}"),
        }
        let (truth, damage) = salvage(dir.path());
        assert!(damage.is_some());
        salvaged_records = salvaged_records.max(truth.own_log(&origin(1)).map_or(0, OwnLog::size));
    }
    assert_eq!(salvaged_records, 1, "only a flip in the last frame costs less than the second entry");
}

#[test]
fn with_a_lost_mark_damage_in_the_middle_is_still_noticed() {
    let dir = tempfile::tempdir().expect("temporary directory");
    write_samples(dir.path());
    fs::remove_file(dir.path().join("mark")).expect("removed");
    let whole = fs::read(only_segment(dir.path())).expect("there");
    let scan = segment::scan(1, &whole);
    let last = scan.records.last().expect("there").offset;
    // Payload and kind; a flipped length or check also hides where the next frame is.
    for placed in &scan.records {
        let (from, to) = (placed.offset + 4, placed.end - 16);
        for at in [from, (from + to) / 2, to - 1] {
            let flipped = copy(dir.path());
            let mut bytes = whole.clone();
            bytes[at] ^= 4;
            fs::write(only_segment(flipped.path()), bytes).expect("written");
            assert_eq!(open(flipped.path()).is_ok(), placed.offset == last, "byte {at}");
        }
    }
}

#[test]
fn frames_cannot_be_left_out_repeated_or_swapped() {
    let dir = tempfile::tempdir().expect("temporary directory");
    write_samples(dir.path());
    let whole = fs::read(only_segment(dir.path())).expect("there");
    let places: Vec<_> = segment::scan(1, &whole).records.iter().map(|placed| placed.offset..placed.end).collect();
    let rebuild = |order: &[usize]| {
        let broken = copy(dir.path());
        let mut bytes = whole[..HEADER_BYTES].to_vec();
        order.iter().for_each(|n| bytes.extend_from_slice(&whole[places[*n].clone()]));
        fs::write(only_segment(broken.path()), bytes).expect("written");
        open(broken.path()).map(drop)
    };
    let n = places.len();
    rebuild(&(0..n).collect::<Vec<_>>()).expect("unchanged");
    rebuild(&(1..n).collect::<Vec<_>>()).expect_err("left out");
    rebuild(&(0..n - 1).collect::<Vec<_>>()).expect_err("the last one left out");
    rebuild(&(0..n).map(|i| if i == 5 { 4 } else { i }).collect::<Vec<_>>()).expect_err("repeated");
    rebuild(
        &(0..n)
            .map(|i| {
                if i == 5 {
                    6
                } else if i == 6 {
                    5
                } else {
                    i
                }
            })
            .collect::<Vec<_>>(),
    )
    .expect_err("swapped");
}

#[test]
fn a_missing_segment_is_named() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (journal, _) =
        Journal::start(dir.path(), Options { segment_bytes: 300, ..Options::new(here()) }).expect("opens");
    journal.append_blocking(here()).expect("appended");
    for size in 0..40 {
        journal.append_blocking(head(1, size + 1)).expect("appended");
        journal.append_blocking(append(1, size)).expect("appended");
        journal.append_blocking(note(1, size + 1)).expect("appended");
    }
    journal.close_blocking();
    let last = *segment::list(dir.path()).expect("readable").last().expect("there");
    assert!(last > 5, "{last} segments");
    for number in 1..=last {
        let lost = copy(dir.path());
        fs::remove_file(segment::path(lost.path(), number)).expect("removed");
        let error = open(lost.path()).expect_err("lost");
        assert!(matches!(error, OpenError::Missing { number: named, .. } if named == number), "{error}");
    }
    // A sealed segment that lost whole frames at its end.
    for number in 1..last {
        let lost = copy(dir.path());
        let bytes = fs::read(segment::path(lost.path(), number)).expect("there");
        let scan = segment::scan(number, &bytes);
        fs::write(segment::path(lost.path(), number), &bytes[..scan.records[0].end]).expect("written");
        assert!(matches!(open(lost.path()), Err(OpenError::Damaged { cause: DamageCause::Seal, .. })));
    }
}

/// Puts all records into the mailbox before the writer starts, so that they wait together.
fn append_together(dir: &Path, records: Vec<Record>) -> (Journal, Vec<Result<(), AppendError>>) {
    let (journal, _, store, mailbox) = Journal::prepare(dir, Options::new(here())).expect("opens");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
    let appends: Vec<_> = records.into_iter().map(|record| journal.append(record)).collect();
    let writer = async {
        std::thread::spawn(move || writer::run(store, mailbox));
    };
    // In this order: every append is polled once, then the writer starts.
    let (answers, ()) = runtime.block_on(async { tokio::join!(biased; futures::future::join_all(appends), writer) });
    (journal, answers)
}

#[test]
fn waiting_appends_share_a_sync_and_each_is_answered_once() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (journal, answers) = append_together(dir.path(), (1..=100).map(|n| head(n, 1).into()).collect());
    assert_eq!(answers.len(), 100);
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(journal.stats(), Stats { records: 100, syncs: 1, compactions: 0 });
    assert_eq!(journal.truth().heads().count(), 100);
    journal.close_blocking();
}

#[test]
fn appends_about_one_log_are_decided_one_after_the_other() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let other = OwnAppend { entries: vec![b"another first entry".to_vec()], ..append(1, 0) };
    let records: [Record; 6] =
        [here().into(), append(1, 0).into(), other.into(), head(4, 2).into(), head(4, 1).into(), note(1, 1).into()];
    let (journal, answers) = append_together(dir.path(), records.into());
    let answers: Vec<_> = answers.into_iter().map(|answer| answer.map_err(|error| error.to_string())).collect();
    let not_the_end = Refusal::NotTheEnd { known: 1, offered: 0 }.to_string();
    let rollback = Refusal::Rollback { held: 2, offered: 1 }.to_string();
    assert_eq!(answers, [Ok(()), Ok(()), Err(not_the_end), Ok(()), Err(rollback), Ok(())]);
    assert_eq!(journal.truth().own_log(&origin(1)).expect("there").entries()[0].as_ref(), b"entry 0 of 1");
    journal.close_blocking();
}

#[test]
fn many_threads_and_a_close_in_between_leave_nobody_waiting() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (journal, _) = open(dir.path()).expect("opens");
    let acknowledged: Vec<u8> = std::thread::scope(|scope| {
        let journal = &journal;
        let threads: Vec<_> =
            (1..=60).map(|n| scope.spawn(move || journal.append_blocking(head(n, 1)).is_ok().then_some(n))).collect();
        scope.spawn(|| journal.clone().close_blocking());
        threads.into_iter().filter_map(|thread| thread.join().expect("answered")).collect()
    });
    assert!(matches!(journal.append_blocking(head(61, 1)), Err(AppendError::Closed)));
    let (journal, _) = open(dir.path()).expect("opens");
    for n in acknowledged {
        assert!(journal.truth().head(&foreign(n)).is_some(), "acknowledged {n} is there");
    }
}

#[test]
fn a_failing_disk_answers_everybody_and_breaks_the_journal_until_reopened() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (journal, _, mut store, mailbox) = Journal::prepare(dir.path(), Options::new(here())).expect("opens");
    store.fail_from_now_on();
    let writer = std::thread::spawn(move || writer::run(store, mailbox));
    for n in 1..5 {
        let error = journal.append_blocking(head(n, 1)).expect_err("fails");
        assert!(matches!(error, AppendError::Disk(_)), "{error}");
    }
    assert_eq!(journal.truth().heads().count(), 0);
    journal.close_blocking();
    writer.join().expect("no panic");
    let (journal, _) = open(dir.path()).expect("opens");
    journal.append_blocking(head(1, 1)).expect("works again");
}

#[test]
fn a_segment_whose_sync_failed_is_written_anew() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let truth = write_samples(dir.path());
    mark::note_unsynced(dir.path(), 1);
    let number = |dir: &Path| fs::metadata(only_segment(dir)).expect("there").created().ok();
    let before = number(dir.path());
    let (journal, _) = open(dir.path()).expect("opens");
    assert_eq!(*journal.truth(), truth);
    assert!(!mark::unsynced_path(dir.path(), 1).exists());
    assert!(before.is_none() || number(dir.path()) != before, "it is another file");
}

#[test]
fn what_contradicts_the_journal_is_not_signed() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (journal, opened) = open(dir.path()).expect("opens");
    assert_eq!(opened.provenance, Provenance::Unclaimed);
    let refused = |record: Record| match journal.append_blocking(record) {
        Err(AppendError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(append(1, 0).into()), Refusal::NotAtHome);
    journal.append_blocking(here()).expect("claimed");
    assert_eq!(refused(append(1, 1).into()), Refusal::NotTheEnd { known: 0, offered: 1 });
    assert_eq!(refused(note(1, 1).into()), Refusal::NoteMismatch { known: 0, offered: 1 });
    journal.append_blocking(append(1, 0)).expect("first");
    assert_eq!(refused(append(1, 0).into()), Refusal::NotTheEnd { known: 1, offered: 0 });
    assert_eq!(refused(append(1, 1).into()), Refusal::Unsigned { size: 1 });
    let other_root = OwnNote { root: root(77), ..note(1, 1) };
    assert_eq!(refused(other_root.into()), Refusal::NoteMismatch { known: 1, offered: 1 });
    journal.append_blocking(note(1, 1)).expect("signed");
    assert_eq!(refused(OwnAppend { origin: foreign(3), ..append(1, 1) }.into()), Refusal::OtherKey);
    assert_eq!(refused(OwnAppend { new_size: 3, ..append(1, 1) }.into()), Refusal::Shape);
    assert_eq!(refused(OwnAppend { entries: vec![vec![0; 70_000]], ..append(1, 1) }.into()), Refusal::Shape);
    assert_eq!(refused(OwnAppend { old_size: u64::MAX, ..append(1, 1) }.into()), Refusal::Shape);
    journal.append_blocking(head(4, 5)).expect("head");
    journal.append_blocking(head(4, 5)).expect("known");
    assert_eq!(refused(head(4, 4).into()), Refusal::Rollback { held: 5, offered: 4 });
    assert_eq!(refused(KnownHead { root: root(9), ..head(4, 5) }.into()), Refusal::Fork { size: 5 });
    assert_eq!(
        refused(Handle { text: "x".repeat(257) }.into()),
        Refusal::TooLong { bytes: 257, max: 256 },
        "texts are bounded"
    );
}

#[test]
fn a_copied_home_signs_nothing_until_it_caught_up_or_was_adopted() {
    let dir = tempfile::tempdir().expect("temporary directory");
    write_samples(dir.path());
    let there = HomeOrigin { fingerprint: Fingerprint::from_bytes([8; 32]), ..here() };
    let (journal, opened) = Journal::open(dir.path(), there).expect("opens");
    assert_eq!(opened.provenance, Provenance::Copied);
    assert_eq!((opened.unsigned, journal.unsigned()), (Vec::new(), Vec::new()), "a copy has nothing to sign");
    let refused = |record: Record| match journal.append_blocking(record) {
        Err(AppendError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(note(1, 2).into()), Refusal::NotAtHome);
    // The original went on to size 4 meanwhile; the copy learns it from the network.
    let newer = KnownHead { origin: origin(1), ..head(1, 4) };
    journal.append_blocking(newer.clone()).expect("verified by the caller");
    assert_eq!(journal.truth().behind(&KEY).collect::<Vec<_>>(), [&newer]);
    assert!(journal.truth().unsigned().is_empty(), "what the original signed differently must not be signed here");
    journal.append_blocking(there).expect("adopted");
    assert_eq!(refused(note(1, 2).into()), Refusal::Behind { known: 2, elsewhere: 4 });
    let past = OwnAppend { new_size: 5, entries: vec![vec![1]; 3], root: root(5), ..append(1, 2) };
    assert_eq!(refused(past.into()), Refusal::Behind { known: 2, elsewhere: 4 });
    journal.append_blocking(append(1, 2)).expect("catches up");
    journal.append_blocking(append(1, 3)).expect("caught up");
    assert!(journal.truth().behind(&KEY).next().is_none());
    journal.append_blocking(note(1, 4)).expect("the note of the original, or the same by determinism");
    journal.append_blocking(append(1, 4)).expect("goes on");
}

#[test]
fn another_key_is_noticed() {
    let dir = tempfile::tempdir().expect("temporary directory");
    write_samples(dir.path());
    let other = HomeOrigin { device: DeviceKey::from_bytes([2; 32]), ..here() };
    let (_, opened) = Journal::open(dir.path(), other).expect("opens");
    assert_eq!(opened.provenance, Provenance::OtherKey { journal: KEY });
}

#[test]
fn compaction_keeps_the_truth_and_drops_the_rest() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (journal, _) =
        Journal::start(dir.path(), Options { segment_bytes: 4096, ..Options::new(here()) }).expect("opens");
    for record in samples() {
        journal.append_blocking(record).expect("appended");
    }
    journal.append_blocking(note(1, 2)).expect("appended");
    for size in 1..=500_u64 {
        journal.append_blocking(head(20 + u8::try_from(size % 3).expect("small"), size)).expect("appended");
    }
    let truth = journal.truth().clone();
    assert!(journal.stats().compactions > 0);
    journal.close_blocking();
    let n_segments = segment::list(dir.path()).expect("readable").len();
    let bytes: u64 = fs::read_dir(dir.path())
        .expect("readable")
        .map(|entry| entry.expect("readable").metadata().expect("there").len())
        .sum();
    assert!(n_segments > 10 && bytes < 20_000, "{bytes} bytes in {n_segments} segments");
    let (journal, opened) = open(dir.path()).expect("opens");
    assert_eq!(*journal.truth(), truth);
    assert_eq!(opened.torn_bytes, 0);
}

#[test]
fn a_crash_between_two_compacted_segments_changes_nothing() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (mut store, _) = Store::open(dir.path(), Options::new(here())).expect("opens");
    for round in 0..6 {
        let heads = (1..=20).map(|n| head(n, round * 20 + u64::from(n)).into());
        let follow = if round % 2 == 0 {
            Record::from(Follow { package: PackageId::from_bytes([3; 32]), channel: None })
        } else {
            Unfollow { package: PackageId::from_bytes([3; 32]) }.into()
        };
        store.commit(heads.chain([append(1, round).into(), follow]).collect()).expect("written");
        store.rotate().expect("rotated");
    }
    let before = copy(dir.path());
    let truth = store.truth().read().expect("not poisoned").clone();
    store.compact().expect("compacted");
    for choice in 0..64 {
        let mixed = copy(dir.path());
        for number in (1..=6).filter(|number| choice >> (number - 1) & 1 == 1) {
            fs::copy(segment::path(before.path(), number), segment::path(mixed.path(), number)).expect("copied");
        }
        let (journal, opened) = open(mixed.path()).expect("opens");
        assert_eq!(opened.torn_bytes, 0);
        assert!(*journal.truth() == truth, "choice {choice:b}");
    }
    let bytes = |dir: &Path| (1..=6).map(|n| fs::metadata(segment::path(dir, n)).expect("there").len()).sum::<u64>();
    assert!(bytes(dir.path()) * 2 < bytes(before.path()));
}

#[test]
fn a_crash_between_seal_and_next_segment_goes_on_with_the_next() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let truth = write_samples(dir.path());
    let bytes = fs::read(only_segment(dir.path())).expect("there");
    let records: Vec<Record> = segment::scan(1, &bytes).records.into_iter().map(|placed| placed.record).collect();
    let (sealed, _) = segment::build_sealed(1, records.iter());
    fs::write(only_segment(dir.path()), sealed).expect("written");
    let (journal, _) = open(dir.path()).expect("opens");
    assert_eq!(*journal.truth(), truth);
    journal.append_blocking(note(1, 2)).expect("appended");
    journal.close_blocking();
    assert_eq!(segment::list(dir.path()).expect("readable"), [1, 2]);
    let (journal, opened) = open(dir.path()).expect("opens");
    assert!(opened.unsigned.is_empty());
    drop(journal);
}

/// What was said as a witness binds for ever, also after a restart, and a copied home says nothing.
#[test]
fn a_witness_never_contradicts_what_it_said() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (journal, _) = open(dir.path()).expect("opens");
    journal.append_blocking(here()).expect("a home");
    journal.append_blocking(stated(4, 5, 100)).expect("the first");
    journal.close_blocking();
    let (journal, _) = open(dir.path()).expect("opens");
    let refused = |stated: Stated| match journal.append_blocking(stated) {
        Err(AppendError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(stated(4, 4, 200)), Refusal::Rollback { held: 5, offered: 4 });
    assert_eq!(refused(stated(4, 6, 99)), Refusal::Rollback { held: 5, offered: 6 });
    assert_eq!(refused(Stated { root: root(9), ..stated(4, 5, 200) }), Refusal::Fork { size: 5 });
    assert_eq!(refused(Stated { origin: origin(1), ..stated(4, 5, 200) }), Refusal::OtherKey);
    journal.append_blocking(stated(4, 5, 200)).expect("the same, later");
    journal.append_blocking(stated(4, 6, 200)).expect("more");
    journal.close_blocking();
    let elsewhere = HomeOrigin { fingerprint: Fingerprint::from_bytes([99; 32]), ..here() };
    let (journal, _) = Journal::open(dir.path(), elsewhere).expect("opens");
    let copied = journal.append_blocking(stated(4, 7, 300));
    assert!(matches!(copied, Err(AppendError::Refused(Refusal::NotAtHome))), "{copied:?}");
    journal.close_blocking();
}
