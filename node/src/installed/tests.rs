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

#[tokio::test]
async fn a_damaged_pointer_or_generation_is_left_for_the_newest_whole_one_and_kept() {
    let (_dir, home, installed) = open();
    let turn = installed.turn().await;
    for n in 1..=3 {
        turn.switch(BTreeMap::from([slot(n)])).unwrap();
    }
    assert_eq!(turn.recover().unwrap(), None, "all is well");
    let pointer = home.layout().current();
    for wrong in [&b"garbage"[..], &[0xff; 3], &[b'1'; 100]] {
        fs::write(&pointer, wrong).unwrap();
        let recovered = turn.recover().unwrap().unwrap();
        assert_eq!(recovered.back_to.unwrap().generation, 3);
        assert_eq!(fs::read(&recovered.aside[0]).unwrap(), wrong);
    }
    let third = installed.generations.join("3");
    let whole = fs::read(&third).unwrap();
    fs::write(&third, &whole[1..]).unwrap();
    let recovered = turn.recover().unwrap().unwrap();
    assert_eq!(recovered.back_to.unwrap().generation, 2);
    assert_eq!((fs::read(&recovered.aside[0]).unwrap(), third.exists()), (whole[1..].to_vec(), false));
    assert!(installed.kept().is_ok(), "a collection can read all that is left");
    assert_eq!(
        turn.switch(BTreeMap::new()).unwrap().generation,
        4,
        "the number of what was in force is not used again"
    );
    fs::remove_file(installed.generations.join("4")).unwrap();
    assert_eq!(turn.recover().unwrap().unwrap().back_to.unwrap().generation, 2);
    // One that is not in force is only set aside.
    fs::write(installed.generations.join("1"), "?").unwrap();
    let recovered = turn.recover().unwrap().unwrap();
    assert_eq!((recovered.back_to, recovered.aside.len(), installed.current_number().unwrap()), (None, 1, 2));
    fs::write(installed.generations.join("2"), "?").unwrap();
    assert_eq!(turn.recover().unwrap().unwrap().back_to, Some(Generation::default()), "none is whole");
    assert_eq!(installed.current().unwrap(), Generation::default());
}

#[tokio::test]
async fn a_generation_can_be_named_while_the_pointer_is_damaged() {
    let (_dir, home, installed) = open();
    let turn = installed.turn().await;
    for n in 1..=3 {
        turn.switch(BTreeMap::from([slot(n)])).unwrap();
    }
    fs::write(home.layout().current(), "garbage").unwrap();
    turn.point_to(2).unwrap();
    assert_eq!((installed.current_number().unwrap(), installed.reached().unwrap()), (2, 3));
}

/// Fills what stands for a release, and places it.
fn place(
    installed: &Installed,
    turn: &Turn<'_>,
    release: ReleaseId,
    text: &str,
) -> Result<Option<PathBuf>, InstalledError> {
    let staged = installed.stage().unwrap();
    fs::create_dir_all(staged.path()).unwrap();
    fs::write(staged.path().join("a"), text).unwrap();
    turn.place(staged, release)
}

#[tokio::test]
async fn what_has_a_releases_place_is_set_aside_and_never_more_than_there_is_room_for() {
    let (_dir, home, installed) = open();
    let (turn, release) = (installed.turn().await, ReleaseId::from_bytes([1; 32]));
    let file = installed.path_of(release).join("a");
    assert_eq!(place(&installed, &turn, release, "0").unwrap(), None);
    for n in 1..=SALVAGED {
        fs::write(&file, format!("mine {n}")).unwrap();
        let aside = place(&installed, &turn, release, "new").unwrap().unwrap();
        assert_eq!(fs::read_to_string(aside.join("a")).unwrap(), format!("mine {n}"));
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
    }
    fs::write(&file, "mine too").unwrap();
    let refused = place(&installed, &turn, release, "new");
    assert!(matches!(refused, Err(InstalledError::SalvageFull { .. })), "{refused:?}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine too");
    assert_eq!(installed.salvaged().unwrap().len(), SALVAGED);
    turn.sweep().unwrap();
    drop(Installed::open(home.layout()));
    assert_eq!(installed.salvaged().unwrap().len(), SALVAGED, "nothing of it goes by itself");
}
