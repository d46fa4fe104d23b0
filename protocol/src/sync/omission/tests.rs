use super::*;
use crate::id::PackageId;
use crate::origin::Subject;

const START: Timestamp = Timestamp(1_000_000);

fn peer(n: u32) -> Peer {
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&n.to_le_bytes());
    Peer::from_bytes(bytes)
}

fn log(n: u8) -> Origin {
    Origin { subject: Subject::Package(PackageId::from_bytes([n; 32])), key: peer(900) }
}

fn shown(offered: u64, known: u64) -> Shown {
    Shown { origin: log(1), offered, known, by: Known::Signed }
}

fn verdict(omissions: &Omissions, of: u32) -> Option<(Verdict, u64, u64)> {
    let mut all = omissions.of(peer(of));
    let one = all.next().map(|omission| (omission.verdict, omission.offered, omission.known));
    assert!(all.next().is_none());
    one
}

#[test]
fn who_catches_up_in_time_was_only_behind_and_who_does_not_hides() {
    let mut omissions = Omissions::default();
    omissions.answered(START, peer(2), &[shown(5, 5)]);
    for n in 0..ANSWERS {
        let now = START.after(PACE * n);
        omissions.answered(now, peer(1), &[shown(3, 5)]);
        let expected = if n + 1 < ANSWERS { Verdict::Behind } else { Verdict::Hides };
        assert_eq!(verdict(&omissions, 1), Some((expected, 3, 5)), "after {n}");
    }
    assert_eq!(omissions.of(peer(1)).next().map(|omission| omission.shown_by), Some(Some(peer(2))));
    assert_eq!(verdict(&omissions, 2), None);
    omissions.answered(START.after(PACE * 9), peer(1), &[shown(5, 5)]);
    assert_eq!(verdict(&omissions, 1), None, "it has shown it");
}

#[test]
fn asking_often_accuses_nobody() {
    let mut omissions = Omissions::default();
    for n in 0..1_000 {
        omissions.answered(START.after(Duration::from_millis(n)), peer(1), &[shown(3, 5)]);
    }
    assert_eq!(verdict(&omissions, 1), Some((Verdict::Behind, 3, 5)));
    // Of a second burst one counts too.
    for n in 0..1_000 {
        omissions.answered(START.after(PACE + Duration::from_millis(n)), peer(1), &[shown(3, 5)]);
    }
    assert_eq!(omissions.of(peer(1)).next().map(|omission| omission.n_answers), Some(2));
}

#[test]
fn who_has_shown_as_much_is_named_and_nobody_else() {
    let mut omissions = Omissions::default();
    let shown_by = |omissions: &Omissions, of| omissions.of(peer(of)).next().map(|omission| omission.shown_by);
    omissions.answered(START, peer(2), &[shown(4, 5)]);
    omissions.answered(START, peer(1), &[shown(3, 5)]);
    assert_eq!(shown_by(&omissions, 1), Some(None), "four are not five");
    omissions.answered(START, peer(3), &[shown(5, 5)]);
    omissions.answered(START, peer(4), &[shown(1, 5)]);
    assert_eq!(shown_by(&omissions, 1), Some(Some(peer(3))), "who says less later takes nothing away");
    // It has shown it itself and says less now: that is no other peer.
    omissions.answered(START.after(PACE), peer(3), &[shown(2, 5)]);
    assert_eq!(shown_by(&omissions, 3), Some(None));
}

#[test]
fn who_is_always_one_behind_a_busy_writer_hides_nothing() {
    let mut omissions = Omissions::default();
    for n in 0..100 {
        omissions.answered(START.after(PACE * n), peer(1), &[shown(u64::from(n) + 1, u64::from(n) + 2)]);
        assert_eq!(verdict(&omissions, 1).map(|(verdict, ..)| verdict), Some(Verdict::Behind), "after {n}");
    }
    // One entry at a time is no way around it, when there was more from the start.
    let mut omissions = Omissions::default();
    for n in 0..ANSWERS {
        omissions.answered(START.after(PACE * n), peer(1), &[shown(u64::from(n) + 1, 50)]);
    }
    assert_eq!(verdict(&omissions, 1), Some((Verdict::Hides, 3, 50)));
}

#[test]
fn what_only_an_entry_names_accuses_nobody_until_it_is_signed() {
    let mut omissions = Omissions::default();
    let named = Shown { by: Known::Named(log(7)), ..shown(3, 5) };
    for n in 0..9 {
        omissions.answered(START.after(PACE * n), peer(1), &[named]);
    }
    assert_eq!(verdict(&omissions, 1), Some((Verdict::MayHide, 3, 5)));
    for (n, expected) in [(0, Verdict::Behind), (1, Verdict::Behind), (2, Verdict::Hides)] {
        omissions.answered(START.after(PACE * (9 + n)), peer(1), &[shown(3, 5)]);
        assert_eq!(verdict(&omissions, 1), Some((expected, 3, 5)));
    }
}

#[test]
fn a_flood_of_names_takes_no_more_room_and_lifts_no_accusation() {
    let mut omissions = Omissions::default();
    for n in 0..ANSWERS {
        omissions.answered(START.after(PACE * n), peer(0), &[shown(3, 5)]);
    }
    for n in 1..u32::try_from(2 * OMISSIONS).expect("small") {
        omissions.answered(START.after(PACE * 9), peer(n), &[shown(3, 5)]);
    }
    assert_eq!((omissions.records.len(), verdict(&omissions, 0)), (OMISSIONS, Some((Verdict::Hides, 3, 5))));
    for n in 0..u32::try_from(2 * OMISSIONS).expect("small") {
        let origin = Origin { key: peer(n), ..log(1) };
        omissions.answered(START, peer(0), &[Shown { origin, ..shown(5, 5) }]);
    }
    assert_eq!(omissions.newest.len(), OMISSIONS);
}
