use super::*;
use syncra_protocol::id::{ContentRoot, TreeId};
use syncra_protocol::manifest::PackageKind;
use syncra_protocol::version::Version;

use crate::home::Home;

fn slot(n: u8) -> (PackageId, Slot) {
    let slot = Slot {
        reference: "@alice~aaaaaaaaaaaa/lamp".into(),
        kind: PackageKind::Script,
        version: Version::new(1, 0, n.into()),
        release: ReleaseId::from_bytes([n; 32]),
        tree_id: TreeId::from_bytes([n; 32]),
        content_root: ContentRoot::from_bytes([n; 32]),
        total_bytes: 1,
        n_files: 1,
        selector: Some("stable".into()),
        dependencies: Vec::new(),
        engine: None,
        frontier: String::new(),
    };
    (PackageId::from_bytes([7; 32]), slot)
}

fn open() -> (tempfile::TempDir, Home, Installed) {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::open(dir.path()).unwrap();
    let installed = Installed::open(home.layout());
    (dir, home, installed)
}

#[tokio::test]
async fn generations_follow_one_another_and_old_ones_go_by_sweep_only() {
    let (_dir, home, installed) = open();
    assert_eq!(installed.current().unwrap(), Generation::default());
    for n in 1..=15 {
        let turn = installed.turn().await;
        let staged = installed.stage().unwrap();
        fs::create_dir_all(staged.path()).unwrap();
        turn.place(staged, ReleaseId::from_bytes([n; 32])).unwrap();
        let made = turn.switch(BTreeMap::from([slot(n)])).unwrap();
        assert_eq!((made.generation, made.parent), (u64::from(n), u64::from(n) - 1));
        assert_eq!(installed.current().unwrap(), made);
    }
    installed.turn().await.point_to(8).unwrap();
    // What a dead process leaves: a directory being filled, a release that no generation names.
    fs::create_dir_all(home.layout().installed_staging().join("dead/deep")).unwrap();
    fs::create_dir_all(installed.path_of(ReleaseId::from_bytes([99; 32]))).unwrap();
    // One that is being filled now is no leftover.
    let filling = installed.stage().unwrap();
    fs::create_dir_all(filling.path()).unwrap();
    let swept = installed.turn().await.sweep().unwrap();
    assert_eq!(swept.generations, [1, 2, 3, 4, 5]);
    assert_eq!((swept.releases.len(), swept.staging.len()), (6, 1));
    let path = filling.path().to_owned();
    assert!(path.exists());
    drop(filling);
    assert!(!path.exists(), "given up");
    assert_eq!(installed.current_number().unwrap(), 8);
    assert!((6..=15).all(|n| installed.has(ReleaseId::from_bytes([n; 32]))));
    let next = installed.turn().await.switch(BTreeMap::new()).unwrap();
    assert_eq!((next.generation, next.parent), (16, 8));
    assert_eq!(installed.turn().await.sweep().unwrap().generations, [6]);
    assert!(installed.generation(8).is_ok(), "the parent of the one in force stays");
}

#[test]
fn every_changed_byte_of_a_generation_is_noticed() {
    let (_dir, _home, installed) = open();
    let generation = Generation { generation: 3, parent: 2, created_ms: 5, packages: BTreeMap::from([slot(1)]) };
    let text = generation.text();
    assert_eq!(Generation::parse(&text).unwrap(), generation);
    let path = installed.generations.join("3");
    for at in 0..text.len() {
        let mut bytes = text.clone().into_bytes();
        bytes[at] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let read = installed.generation(3);
        let same_meaning = read.as_ref().is_ok_and(|read| *read == generation);
        assert!(same_meaning || read.is_err(), "byte {at} passes");
        fs::write(&path, &text.as_bytes()[..at]).unwrap();
        let read = installed.generation(3);
        assert!(read.is_err() || at == text.len() - 1, "cut at {at} passes");
    }
}

#[test]
fn a_pointer_to_nothing_is_damage_and_nothing_is_swept() {
    let (_dir, home, installed) = open();
    for text in ["", "x\n", "-1\n", "17\n"] {
        fs::write(home.layout().current(), text).unwrap();
        fs::create_dir_all(installed.path_of(ReleaseId::from_bytes([1; 32]))).unwrap();
        assert!(installed.current().is_err(), "{text:?}");
        assert!(installed.leftovers().is_err(), "{text:?}");
    }
}

#[test]
fn what_a_dead_process_was_filling_goes_at_the_next_start() {
    let (_dir, home, _) = open();
    let dead = home.layout().installed_staging().join("abc");
    fs::create_dir_all(dead.join("deep")).unwrap();
    fs::write(dead.join("deep/file"), "half").unwrap();
    drop(Installed::open(home.layout()));
    assert!(!dead.exists());
}

#[tokio::test]
async fn a_generation_that_was_never_in_force_is_told_from_one_that_was_left() {
    let (_dir, home, installed) = open();
    let turn = installed.turn().await;
    for n in 1..=3 {
        turn.switch(BTreeMap::from([slot(n)])).unwrap();
    }
    turn.point_to(1).unwrap();
    assert_eq!((installed.current_number().unwrap(), installed.reached().unwrap()), (1, 3));
    // A kill between the generation's file and the pointer.
    fs::write(home.layout().generations().join("4"), "").unwrap();
    assert_eq!(installed.reached().unwrap(), 3);
    turn.switch(BTreeMap::new()).unwrap();
    assert_eq!((installed.current_number().unwrap(), installed.reached().unwrap()), (5, 5));
    // In a home of before this was noted the pointer may have been higher once.
    fs::remove_file(home.layout().reached()).unwrap();
    turn.point(2).unwrap();
    assert_eq!(installed.reached().unwrap(), 5);
    // One that rotted is in nobody's way.
    fs::write(home.layout().reached(), "?").unwrap();
    assert_eq!(installed.reached().unwrap(), 5);
    turn.switch(BTreeMap::new()).unwrap();
    assert_eq!(fs::read_to_string(home.layout().reached()).unwrap(), "5\n");
}
