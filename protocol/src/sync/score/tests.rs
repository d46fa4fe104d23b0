use super::*;

const START: Timestamp = Timestamp(1_000_000_000);

fn peer(n: u32) -> Peer {
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&n.to_le_bytes());
    Peer::from_bytes(bytes)
}

fn effects(scores: &mut Scores) -> Vec<Effect> {
    std::iter::from_fn(|| scores.poll_effect()).collect()
}

fn report(scores: &mut Scores, now: Timestamp, n: usize, deed: Deed) {
    (0..n).for_each(|_| scores.report(now, peer(1), deed));
}

#[test]
fn bad_deeds_lead_down_step_by_step_and_time_leads_up_again() {
    let mut scores = Scores::default();
    report(&mut scores, START, 20, Deed::Spam);
    assert_eq!((scores.get(START, &peer(1)).grade, effects(&mut scores)), (Grade::Good, vec![]));
    report(&mut scores, START, 1, Deed::Spam);
    assert_eq!((scores.get(START, &peer(1)).grade, effects(&mut scores)), (Grade::Poor, vec![]));
    report(&mut scores, START, 30, Deed::Spam);
    assert_eq!(effects(&mut scores), [Effect::ShutOut(peer(1))]);
    assert!(scores.is_shut_out(&peer(1)));
    let back = START.after(AWAY_FOR);
    assert_eq!(scores.next_timeout(), Some(back));
    scores.handle_timeout(back);
    assert_eq!((scores.get(back, &peer(1)).grade, effects(&mut scores)), (Grade::Poor, vec![Effect::LetIn(peer(1))]));
    // 51 points down; 31 of them have to fade before it counts like everybody.
    let (last, then) = (START.after(FADE * 30), START.after(FADE * 31));
    assert_eq!((scores.get(last, &peer(1)).grade, scores.get(then, &peer(1)).grade), (Grade::Poor, Grade::Good));
    scores.handle_timeout(START.after(FADE * 51));
    assert_eq!(scores.all(then).count(), 0, "and then it is forgotten");
}

#[test]
fn who_comes_back_and_goes_on_is_banned() {
    let mut scores = Scores::default();
    let mut now = START;
    for time in 1..=LAST_TIME {
        report(&mut scores, now, 60, Deed::Spam);
        assert!(scores.is_shut_out(&peer(1)));
        assert_eq!(scores.get(now, &peer(1)).grade == Grade::Banned, time == LAST_TIME);
        now = now.after(AWAY_FOR);
        scores.handle_timeout(now);
    }
    now = now.after(Duration::from_secs(1_000_000));
    scores.handle_timeout(now);
    assert_eq!(scores.get(now, &peer(1)).grade, Grade::Banned);
    assert!(scores.pardon(&peer(1)) && !scores.pardon(&peer(1)));
    assert_eq!(effects(&mut scores).last(), Some(&Effect::LetIn(peer(1))));
    assert_eq!(scores.all(now).count(), 0);
}

#[test]
fn wrong_bytes_ban_at_once() {
    let mut scores = Scores::default();
    report(&mut scores, START, 100, Deed::Delivered);
    assert_eq!(scores.get(START, &peer(1)).points, BEST, "nobody saves up for mischief");
    report(&mut scores, START, 1, Deed::WrongBytes);
    assert_eq!(effects(&mut scores), [Effect::ShutOut(peer(1))]);
    let score = scores.get(START, &peer(1));
    assert_eq!((score.grade, score.points, score.last_fault), (Grade::Banned, WORST, Some(Deed::WrongBytes)));
    report(&mut scores, START, 200, Deed::Delivered);
    assert!(scores.is_shut_out(&peer(1)));
}

#[test]
fn somebody_useful_with_slips_stays_good() {
    let mut scores = Scores::default();
    let mut now = START;
    for _ in 0..500 {
        now = now.after(Duration::from_secs(20));
        for deed in [Deed::Delivered, Deed::Stalled, Deed::Delivered] {
            scores.report(now, peer(1), deed);
        }
    }
    assert_eq!(effects(&mut scores), []);
}

#[test]
fn a_flood_of_names_pushes_out_no_ban_and_takes_no_more_room() {
    let mut scores = Scores::default();
    scores.report(START, peer(0), Deed::WrongBytes);
    for n in 1..u32::try_from(2 * SCORED_PEERS).expect("small") {
        scores.report(START, peer(n), Deed::Spam);
    }
    assert!(scores.is_shut_out(&peer(0)));
    assert_eq!(scores.all(START).count(), SCORED_PEERS);
    for n in 0..u32::try_from(2 * SCORED_PEERS).expect("small") {
        scores.report(START, peer(n), Deed::WrongBytes);
    }
    let n_banned = scores.all(START).filter(|score| score.grade == Grade::Banned).count();
    assert_eq!(n_banned, SCORED_PEERS);
    let told = effects(&mut scores);
    let n = |wanted: fn(&Effect) -> bool| told.iter().filter(|effect| wanted(effect)).count();
    let n_out = n(|effect| matches!(effect, Effect::ShutOut(_))) - n(|effect| matches!(effect, Effect::LetIn(_)));
    assert_eq!(n_out, SCORED_PEERS, "the node shuts out those that the table has");
}

#[test]
fn a_clock_that_is_set_back_keeps_nobody_away_for_longer() {
    let mut scores = Scores::default();
    let late = START.after(Duration::from_secs(100_000_000));
    scores.report(late, peer(1), Deed::Forged);
    report(&mut scores, late, 2, Deed::Forged);
    assert!(scores.is_shut_out(&peer(1)));
    scores.handle_timeout(START);
    scores.handle_timeout(START.after(AWAY_FOR));
    assert!(!scores.is_shut_out(&peer(1)));
}
