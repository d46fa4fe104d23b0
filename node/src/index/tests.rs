//! The index against another engine, against a map, and against damaged files.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use syncra_protocol::id::PackageId;
use syncra_protocol::key::DeviceKey;

use super::*;

/// A small deterministic generator (splitmix64): the seed is in the message of every failure.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }

    /// Few different keys, so that puts meet.
    fn key(&mut self) -> Vec<u8> {
        let len = self.below(4);
        (0..len).map(|_| [0, 7, 0xfe, 0xff][self.below(4)]).collect()
    }
}

const TABLES: [Table; 3] = [Table::Runs, Table::Fold, Table::Catalogue];

type Model = BTreeMap<(Table, Vec<u8>), Vec<u8>>;

fn change(random: &mut Random, model: &mut Model) -> Batch {
    let mut batch = Batch::new();
    for _ in 0..=random.below(4) {
        let (table, key) = (TABLES[random.below(3)], random.key());
        if random.below(3) == 0 {
            batch.delete(table, &key).expect("within limits");
            model.remove(&(table, key));
        } else {
            let len = if random.below(50) == 0 { VALUE_BYTES } else { random.below(40) };
            let value = random.bytes(len);
            batch.put(table, &key, &value).expect("within limits");
            model.insert((table, key), value);
        }
    }
    batch
}

fn compare(seed: u64, random: &mut Random, index: &Index, model: &Model) {
    let table = TABLES[random.below(3)];
    let (prefix, key, limit) = (random.key(), random.key(), random.below(6));
    let told = format!("seed {seed}, {table:?}, prefix {prefix:?}, key {key:?}");
    let with_prefix = || model.iter().filter(|((t, k), _)| *t == table && k.starts_with(&prefix));
    let expected: Vec<Pair> = with_prefix()
        .filter(|((_, k), _)| *k >= key)
        .take(limit)
        .map(|((_, k), value)| (k.clone(), value.clone()))
        .collect();
    assert_eq!(index.scan(table, &prefix, &key, limit).expect("scans"), expected, "{told}");
    let expected =
        model.range(..=(table, key.clone())).next_back().filter(|((t, k), _)| *t == table && k.starts_with(&prefix));
    let expected = expected.map(|((_, k), value)| (k.clone(), value.clone()));
    assert_eq!(index.floor(table, &prefix, &key).expect("found"), expected, "{told}");
    assert_eq!(index.get(table, &key).expect("read"), model.get(&(table, key.clone())).cloned(), "{told}");
}

#[test]
fn three_engines_and_a_map_agree() {
    for seed in 0..6 {
        let dir = tempfile::tempdir().expect("temporary directory");
        let sled = |dir: &Path| Index::open(&dir.join("index")).0;
        let redb = |dir: &Path, seal| Index::over(Arc::new(redb::Redb::open(&dir.join("redb"))), seal, 0);
        let mut engines = vec![Index::in_memory(), sled(dir.path()), redb(dir.path(), Seal::default())];
        engines[1].finish_rebuild().expect("marked");
        let (mut random, mut model) = (Random(seed), Model::new());
        for round in 0..400 {
            let batch = change(&mut random, &mut model);
            for index in &engines {
                index.write(batch.clone()).expect("written");
            }
            let start = random.0;
            for index in &engines {
                random.0 = start;
                compare(seed, &mut random, index, &model);
            }
            if round % 97 == 96 {
                let seal = engines[2].shared.writer.lock().expect("not poisoned").seal;
                engines.truncate(1);
                let (index, opened) = Index::open(&dir.path().join("index"));
                assert_eq!((opened, index.rebuilds()), (Opened::Ready, 0), "seed {seed}, round {round}");
                engines.extend([index, redb(dir.path(), seal)]);
            }
        }
        let all: BTreeMap<_, _> =
            model.into_iter().map(|((table, key), value)| ([&[table as u8], key.as_slice()].concat(), value)).collect();
        for index in &engines {
            assert!(index.contents().expect("whole") == all, "seed {seed}");
        }
    }
}

fn filled(dir: &Path, n_keys: usize) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let (index, _) = Index::open(dir);
    let mut random = Random(99);
    for n in 0..n_keys {
        let len = random.below(300);
        index.put(TABLES[n % 3], &(n as u64).to_be_bytes(), &random.bytes(len)).expect("written");
    }
    index.finish_rebuild().expect("marked");
    index.contents().expect("whole")
}

#[test]
fn a_clean_end_rebuilds_nothing_and_an_unfinished_build_does() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (index, opened) = Index::open(dir.path());
    assert_eq!(opened, Opened::Rebuild { reason: RebuildReason::Missing });
    index.put(Table::Fold, b"key", b"value").expect("written");
    drop(index);
    let (index, opened) = Index::open(dir.path());
    assert_eq!((opened, index.rebuilds()), (Opened::Rebuild { reason: RebuildReason::NotReady }, 1));
    assert_eq!(index.get(Table::Fold, b"key").expect("read"), None, "half an index is none");
    index.put(Table::Fold, b"key", b"value").expect("written");
    index.finish_rebuild().expect("marked");
    drop(index);
    for _ in 0..3 {
        let (index, opened) = Index::open(dir.path());
        assert_eq!((opened, index.rebuilds()), (Opened::Ready, 0));
        assert_eq!(index.get(Table::Fold, b"key").expect("read"), Some(b"value".to_vec()));
    }
}

#[test]
fn what_it_was_built_from_is_remembered() {
    let origin = Origin::package(PackageId::from_bytes([1; 32]), DeviceKey::from_bytes([2; 32]));
    let index = Index::in_memory();
    assert_eq!(index.built_from(&origin).expect("read"), None);
    let mut batch = Batch::new();
    batch.put(Table::Fold, b"state", b"of 7").expect("within limits");
    batch.built_from(&origin, Basis([3; 32]));
    index.write(batch).expect("written");
    assert_eq!(index.built_from(&origin).expect("read"), Some(Basis([3; 32])));
}

#[test]
fn keys_and_values_are_bounded() {
    let index = Index::in_memory();
    index.put(Table::Fold, &[1; KEY_BYTES], &[2; VALUE_BYTES]).expect("just fits");
    assert!(matches!(
        index.put(Table::Fold, &[1; KEY_BYTES + 1], b""),
        Err(IndexError::TooLong { what: "key", bytes: 513, max: 512 })
    ));
    assert!(matches!(index.put(Table::Fold, b"", &[2; VALUE_BYTES + 1]), Err(IndexError::TooLong { .. })));
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).expect("readable") {
        let path = entry.expect("readable").path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let target = to.join(file.strip_prefix(from).expect("below"));
        fs::create_dir_all(target.parent().expect("has one")).expect("made");
        fs::copy(&file, target).expect("copied");
    }
}

/// Deletes, cuts or flips something; tells what.
fn damage(random: &mut Random, dir: &Path) -> String {
    let all: Vec<_> = files(dir).into_iter().filter(|file| fs::metadata(file).expect("there").len() > 0).collect();
    let file = &all[random.below(all.len())];
    let mut bytes = fs::read(file).expect("there");
    let at = random.below(bytes.len());
    let told = match random.below(8) {
        0 => {
            fs::remove_file(file).expect("removed");
            return format!("{} deleted", file.display());
        }
        1 => {
            bytes.truncate(at);
            "cut"
        }
        2 => {
            let end = bytes.len().min(at + 4096);
            bytes[at..end].fill(0);
            "zeros"
        }
        3 => {
            let end = bytes.len().min(at + 512);
            let noise = random.bytes(end - at);
            bytes[at..end].copy_from_slice(&noise);
            "noise"
        }
        _ => {
            bytes[at] ^= 1 << random.below(8);
            "bit"
        }
    };
    fs::write(file, bytes).expect("written");
    format!("{} {told} at {at}", file.display())
}

#[test]
fn damaged_files_are_rebuilt_and_never_believed() {
    let original = tempfile::tempdir().expect("temporary directory");
    let contents = filled(original.path(), 120);
    let n_rebuilt = (0..200)
        .filter(|seed| {
            let dir = tempfile::tempdir().expect("temporary directory");
            copy(original.path(), dir.path());
            let told = damage(&mut Random(*seed), dir.path());
            let (index, opened) = Index::open(dir.path());
            let found = index.contents().expect("readable");
            match opened {
                // The damage hit bytes that mean nothing.
                Opened::Ready => assert!(found == contents, "seed {seed}: {told}: something else without a word"),
                Opened::Rebuild { .. } => assert!(found.is_empty(), "seed {seed}: {told}"),
            }
            index.put(Table::Fold, b"after", b"it works").expect("written");
            index.finish_rebuild().expect("marked");
            drop(index);
            assert_eq!(Index::open(dir.path()).1, Opened::Ready, "seed {seed}: {told}");
            opened != Opened::Ready
        })
        .count();
    assert!(n_rebuilt > 100, "{n_rebuilt} of 200 were noticed");
}

#[test]
fn a_lost_index_directory_is_an_empty_index() {
    let dir = tempfile::tempdir().expect("temporary directory");
    filled(dir.path(), 10);
    fs::remove_dir_all(dir.path()).expect("removed");
    let (index, opened) = Index::open(dir.path());
    assert_eq!((opened, index.rebuilds()), (Opened::Rebuild { reason: RebuildReason::Missing }, 1));
}

#[test]
fn a_vanished_key_breaks_the_seal() {
    let dir = tempfile::tempdir().expect("temporary directory");
    filled(dir.path(), 10);
    let (engine, _) = sled::open(dir.path()).expect("whole");
    let key = [&[Table::Runs as u8], 0_u64.to_be_bytes().as_slice()].concat();
    engine.write(vec![Write { key, value: None }]).expect("written behind the index's back");
    drop(engine);
    assert!(matches!(Index::open(dir.path()).1, Opened::Rebuild { reason: RebuildReason::Damaged(_) }));
}

#[test]
fn a_wrong_value_is_never_given_out_and_condemns_the_index() {
    let dir = tempfile::tempdir().expect("temporary directory");
    filled(dir.path(), 10);
    let (index, _) = Index::open(dir.path());
    let key = [&[Table::Runs as u8], 0_u64.to_be_bytes().as_slice()].concat();
    let wrong = Write { key, value: Some(b"some other bytes".to_vec()) };
    index.shared.engine.run(|engine| engine.write(vec![wrong])).expect("written behind the index's back");
    let key = 0_u64.to_be_bytes();
    assert!(matches!(index.get(Table::Runs, &key), Err(IndexError::Damaged(_))));
    assert_eq!((index.epoch(), index.contents().expect("in memory")), (1, BTreeMap::new()));
    assert!(index.trouble().is_some_and(|why| why.contains("damaged")));
    drop(index);
    assert_eq!(Index::open(dir.path()).1, Opened::Rebuild { reason: RebuildReason::NotReady });
}

#[test]
fn after_a_full_disk_it_goes_on_in_memory_and_the_next_start_builds_it_anew() {
    let dir = tempfile::tempdir().expect("temporary directory");
    filled(dir.path(), 10);
    let (engine, seal) = sled::open(dir.path()).expect("whole");
    let index = Index::over(Arc::new(full::Full { engine, room: 0.into() }), seal, 0);
    assert!(matches!(index.put(Table::Fold, b"key", b"value"), Err(IndexError::DiskFull)));
    assert_eq!((index.epoch(), index.trouble()), (1, Some(IndexError::DiskFull.to_string())));
    index.put(Table::Fold, b"key", b"value").expect("in memory");
    index.flush().expect("nothing to flush");
    assert_eq!(index.contents().expect("in memory").len(), 1, "nothing of before");
    assert_eq!(index.epoch(), 1);
    drop(index);
    assert_eq!(Index::open(dir.path()).1, Opened::Rebuild { reason: RebuildReason::NotReady });
}

#[test]
fn an_engine_that_panics_or_hangs_is_left_behind() {
    use std::time::Duration;
    assert_eq!(sled::within(Duration::from_secs(60), || 7), Ok(7));
    let panicked = sled::within(Duration::from_secs(60), || -> u8 { panic!("on purpose") });
    assert_eq!(panicked, Err(RebuildReason::Panicked("on purpose".to_owned())));
    let (release, hangs) = std::sync::mpsc::channel::<()>();
    assert_eq!(sled::within(Duration::ZERO, move || hangs.recv().is_ok()), Err(RebuildReason::Stuck));
    drop(release);
}

#[test]
fn half_made_snapshots_do_not_hinder() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let contents = filled(dir.path(), 50);
    let half = dir.path().join("sled/snap.FFFFFFFFFFFFFFFF.generating");
    fs::write(&half, b"half").expect("written");
    let (index, opened) = Index::open(dir.path());
    assert_eq!(opened, Opened::Ready);
    assert_eq!(index.contents().expect("whole"), contents);
    assert!(!half.exists());
}

#[test]
fn where_no_index_can_be_it_is_in_memory() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let file = dir.path().join("index");
    fs::write(&file, b"in the way").expect("written");
    let (index, opened) = Index::open(&file);
    assert!(matches!(opened, Opened::Rebuild { reason: RebuildReason::Unusable(_) }));
    index.put(Table::Fold, b"key", b"value").expect("written");
    index.finish_rebuild().expect("nothing to mark");
    assert_eq!(index.get(Table::Fold, b"key").expect("read"), Some(b"value".to_vec()));
}
