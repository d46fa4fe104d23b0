//! In virtual time, with heads that are really signed.

use super::*;
use crate::id::{LogHash, PackageId};
use crate::key::DeviceSecret;
use crate::log::checkpoint::Checkpoint;

const START: Timestamp = Timestamp(1_000_000_000);

fn secret(n: u8) -> DeviceSecret {
    DeviceSecret::from_seed(&[n; 32])
}

fn peer(n: u8) -> Peer {
    secret(100 + n).public()
}

/// The head of writer `n`'s log number `log`; `branch` tells histories apart.
fn head(n: u8, log: u8, size: u64, branch: u8) -> Head {
    let origin = Origin::package(PackageId::from_bytes([log; 32]), secret(n).public());
    let mut root = [branch; 32];
    root[..8].copy_from_slice(&size.to_le_bytes());
    Head::sign(&secret(n), Checkpoint { origin, size, root: LogHash::from_bytes(root) }).expect("its own log")
}

fn ahead(_: &Head) -> Known {
    Known::Yes(Standing::Ahead { from: 0 })
}

fn effects<T>(notices: &mut Notices<T>) -> Vec<Effect<T>> {
    std::iter::from_fn(|| notices.poll_effect()).collect()
}

fn is_sent<T>(effect: &Effect<T>) -> bool {
    matches!(effect, Effect::Forward(_) | Effect::Publish(_))
}

/// Lets time pass until nothing more happens by itself; what happened, and when.
fn run<T>(notices: &mut Notices<T>, mut now: Timestamp) -> Vec<(Timestamp, Effect<T>)> {
    let mut done: Vec<_> = effects(notices).into_iter().map(|effect| (now, effect)).collect();
    while let Some(at) = notices.next_timeout(now) {
        now = now.max(at);
        notices.handle_timeout(now);
        done.extend(effects(notices).into_iter().map(|effect| (now, effect)));
    }
    done
}

#[test]
fn news_is_asked_of_its_bringer_and_passed_on_once_it_is_held() {
    let mut notices = Notices::new();
    let news = head(1, 1, 5, 0);
    assert_eq!(notices.judge(START, peer(1), news.note(), 7, ahead), Verdict::News);
    assert_eq!(effects(&mut notices), [Effect::Ask { peer: Some(peer(1)), head: news.clone() }]);
    notices.grown(START.after(Duration::from_secs(1)), &news);
    assert_eq!(effects(&mut notices), [Effect::Delivered(peer(1)), Effect::Forward(7)]);
    assert_eq!(run(&mut notices, START.after(Duration::from_secs(1))), []);
}

#[test]
fn what_is_never_held_is_never_passed_on_and_others_are_asked_meanwhile() {
    let mut notices = Notices::new();
    let news = head(1, 1, 5, 0);
    notices.judge(START, peer(1), news.note(), 7, ahead);
    let done = run(&mut notices, START);
    let what: Vec<_> = done.iter().map(|(at, effect)| (at.since(START), effect.clone())).collect();
    let ask = |peer| Effect::Ask { peer, head: news.clone() };
    let mut expected = vec![(Duration::ZERO, ask(Some(peer(1)))), (FIRST_ASKED, Effect::Failed(peer(1)))];
    expected.extend((1..=8).map(|n| (FIRST_ASKED * n, ask(None))));
    expected.push((HOLD, Effect::Drop(7)));
    assert_eq!(what, expected);
}

/// The carrier brings a notice once: who could have it ignored by being first would keep it from everybody.
#[test]
fn what_a_poor_or_overdrawn_peer_is_first_with_is_asked_of_others() {
    let news = head(1, 1, 5, 0);
    let poor = Bringer { peer: peer(1), is_heeded: false };
    let mut overdrawn = Notices::new();
    for n in 0..OF_PEER.burst {
        overdrawn.judge(START, peer(1), head(2, 2, 1 + u64::from(n), 0).note(), 0, |_| Known::No);
    }
    for (mut notices, bringer) in [(Notices::new(), poor), (overdrawn, Bringer::from(peer(1)))] {
        assert_eq!(notices.judge(START, bringer, news.note(), 7, ahead), Verdict::News);
        let asked = |effect: &Effect<i32>| !matches!(effect, Effect::Overdrew(_));
        assert_eq!(effects(&mut notices).into_iter().filter(asked).collect::<Vec<_>>(), [], "it is not asked itself");
        let then = START.after(FIRST_ASKED);
        assert_eq!(notices.next_timeout(START), Some(then));
        notices.handle_timeout(then);
        assert_eq!(effects(&mut notices), [Effect::Ask { peer: None, head: news.clone() }]);
        notices.grown(then, &news);
        assert_eq!(effects(&mut notices), [Effect::Forward(7)], "no thanks to it, but everybody hears");
    }
}

#[test]
fn own_news_goes_out_and_the_last_of_a_burst_is_not_lost() {
    let mut notices: Notices<u8> = Notices::new();
    for size in 1..=9 {
        notices.grown(START.after(Duration::from_millis(size)), &head(1, 1, size, 0));
    }
    let sent: Vec<_> = run(&mut notices, START.after(Duration::from_millis(9)));
    assert_eq!(sent.len(), 2);
    assert_eq!(sent[0].1, Effect::Publish(head(1, 1, 1, 0)));
    assert_eq!(sent[1].1, Effect::Publish(head(1, 1, 9, 0)));
    assert!(sent[1].0.since(START) >= LOG_INTERVAL);
}

#[test]
fn of_several_notices_in_a_moment_the_newest_is_asked_for_later() {
    let mut notices = Notices::new();
    for (size, verdict) in [(5, Verdict::News), (6, Verdict::Later), (7, Verdict::Later)] {
        let size_ticket = u8::try_from(size).expect("small");
        assert_eq!(notices.judge(START, peer(1), head(1, 1, size, 0).note(), size_ticket, ahead), verdict);
    }
    let older = notices.judge(START, peer(2), head(1, 1, 6, 0).note(), 9, ahead);
    assert_eq!(older, Verdict::Ignore(Ignored::Older));
    assert_eq!(effects(&mut notices)[1..], [Effect::Drop(5), Effect::Drop(6)], "what was overtaken is not passed on");
    let asked = run(&mut notices, START).into_iter().find(|(_, effect)| matches!(effect, Effect::Ask { .. }));
    assert_eq!(asked, Some((START.after(LOG_INTERVAL), Effect::Ask { peer: Some(peer(1)), head: head(1, 1, 7, 0) })));
}

#[test]
fn what_is_known_unknown_old_or_frozen_is_ignored_and_costs_no_room() {
    let mut notices = Notices::new();
    for (known, why) in [
        (Known::No, Ignored::Unknown),
        (Known::Yes(Standing::OtherLog), Ignored::Unknown),
        (Known::Frozen, Ignored::Frozen),
        (Known::Yes(Standing::Same), Ignored::Known),
        (Known::Yes(Standing::Behind), Ignored::Older),
    ] {
        let verdict = notices.judge(START, peer(1), head(1, 1, 5, 0).note(), 0, |_| known);
        assert_eq!(verdict, Verdict::Ignore(why));
    }
    assert_eq!((notices.n_logs(), effects(&mut notices)), (0, vec![]));
}

#[test]
fn whatever_is_wrong_with_a_note_is_the_senders_fault() {
    let mut notices = Notices::new();
    let good = head(1, 1, 5, 0);
    let mut judge = |note: &[u8]| notices.judge(START, peer(1), note, 0, |_| panic!("is not believed"));
    for at in (0..good.note().len()).step_by(7) {
        let mut bad = good.note().to_vec();
        bad[at] ^= 1;
        assert_eq!(judge(&bad), Verdict::Reject(Rejected::NoNote), "byte {at}");
    }
    assert_eq!(judge(&[b'a'; NOTICE_BYTES + 1]), Verdict::Reject(Rejected::TooLong));
    assert_eq!(judge(b""), Verdict::Reject(Rejected::NoNote));
    let cosigned = [good.note(), "\u{2014} witness AAAAAAAA\n".as_bytes()].concat();
    assert_eq!(judge(&cosigned), Verdict::Reject(Rejected::NotBare));
}

#[test]
fn a_contradiction_is_acted_on_and_passed_on_at_once_but_not_in_a_flood() {
    let mut notices = Notices::new();
    let other = head(1, 1, 5, 1);
    let forked = |_: &Head| Known::Yes(Standing::Forked);
    assert_eq!(notices.judge(START, peer(1), other.note(), 7, forked), Verdict::Contradiction);
    assert_eq!(effects(&mut notices), [Effect::Ask { peer: Some(peer(1)), head: other }, Effect::Forward(7)]);
    for branch in 2..50 {
        let verdict = notices.judge(START, peer(1), head(1, 1, 5, branch).note(), 8, forked);
        assert_eq!(verdict, Verdict::Ignore(Ignored::Full));
    }
    assert_eq!(effects(&mut notices), []);
}

#[test]
fn two_notices_that_contradict_each_other_are_both_acted_on() {
    let mut notices = Notices::new();
    let (one, other) = (head(1, 1, 5, 0), head(1, 1, 5, 1));
    assert_eq!(notices.judge(START, peer(1), one.note(), 1, ahead), Verdict::News);
    assert_eq!(notices.judge(START, peer(2), other.note(), 2, ahead), Verdict::Later);
    notices.grown(START, &one);
    let done = effects(&mut notices);
    assert!(done.contains(&Effect::Ask { peer: Some(peer(2)), head: other }), "{done:?}");
}

#[test]
fn a_flood_by_one_peer_costs_few_signatures_and_nobody_else_anything() {
    let mut notices = Notices::new();
    let mut n_looked = 0;
    for n in 0..1_000 {
        let note = head(1, u8::try_from(n % 200).expect("small"), 5 + n, 0);
        let looked = &mut n_looked;
        notices.judge(START, peer(1), note.note(), 0, |_| {
            *looked += 1;
            Known::No
        });
    }
    assert_eq!(n_looked, OF_PEER.burst + OF_OVERDRAWN.burst);
    let n_told = effects(&mut notices).iter().filter(|effect| **effect == Effect::Overdrew(peer(1))).count();
    assert_eq!(n_told, 1_000 - usize::try_from(OF_PEER.burst).expect("small"));
    assert_eq!(notices.judge(START, peer(2), head(2, 9, 5, 0).note(), 0, ahead), Verdict::News);
}

#[test]
fn a_clock_that_is_set_back_delays_by_one_interval_at_most() {
    let mut notices: Notices<u8> = Notices::new();
    notices.grown(START.after(Duration::from_secs(1_000_000)), &head(1, 1, 1, 0));
    assert_eq!(effects(&mut notices).len(), 1);
    notices.grown(START, &head(1, 1, 2, 0));
    let sent = run(&mut notices, START);
    assert_eq!(sent, [(START.after(LOG_INTERVAL), Effect::Publish(head(1, 1, 2, 0)))]);
}

/// Whatever comes in, in whatever order and however fast: of one log at most one notice in [`LOG_INTERVAL`] goes out, each
/// message is answered exactly once, and nothing stays behind.
#[test]
fn the_pace_is_kept_in_every_schedule() {
    for seed in 0..60 {
        schedule(seed);
    }
}

fn schedule(seed: u64) {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut next = |below: u64| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ (mixed >> 31)) % below
    };
    let byte = |n: u64| u8::try_from(n).expect("small");
    let (mut notices, mut now) = (Notices::new(), START);
    let mut held = [1_u64; 3];
    let mut open: BTreeMap<u64, Origin> = BTreeMap::new();
    let mut sent: BTreeMap<Origin, Vec<Timestamp>> = BTreeMap::new();
    for ticket in 0..150 {
        let longest = if next(20) == 0 { 40_000 } else { 900 };
        now = now.after(Duration::from_millis(next(longest)));
        if notices.next_timeout(now).is_some_and(|at| at <= now) {
            notices.handle_timeout(now);
        }
        let log = next(3);
        let at = usize::try_from(log).expect("small");
        let size = held[at] + next(4);
        if next(3) == 0 {
            held[at] = held[at].max(size);
            notices.grown(now, &head(1, byte(log), held[at], 0));
        } else {
            let head = head(1, byte(log), size, byte(next(12) / 11));
            let known = match size.cmp(&held[at]) {
                std::cmp::Ordering::Less => Standing::Behind,
                std::cmp::Ordering::Equal if next(8) == 0 => Standing::Forked,
                std::cmp::Ordering::Equal => Standing::Same,
                std::cmp::Ordering::Greater => Standing::Ahead { from: held[at] },
            };
            let verdict = notices.judge(now, peer(byte(next(4))), head.note(), ticket, |_| Known::Yes(known));
            if matches!(verdict, Verdict::News | Verdict::Later | Verdict::Contradiction) {
                open.insert(ticket, *head.origin());
            }
        }
        let done: Vec<_> = effects(&mut notices).into_iter().map(|effect| (now, effect)).collect();
        settle(done, &mut open, &mut sent);
    }
    settle(run(&mut notices, now), &mut open, &mut sent);
    assert!(open.is_empty(), "seed {seed}: never answered: {open:?}");
    assert!(sent.len() == 3 && sent.values().any(|times| times.len() > 3), "seed {seed}: nothing was tried");
    for (log, times) in sent {
        let is_paced = times.windows(2).all(|pair| pair[1].since(pair[0]) >= LOG_INTERVAL);
        assert!(is_paced, "seed {seed}: {log}: {times:?}");
    }
}

fn settle(
    done: Vec<(Timestamp, Effect<u64>)>,
    open: &mut BTreeMap<u64, Origin>,
    sent: &mut BTreeMap<Origin, Vec<Timestamp>>,
) {
    for (at, effect) in done {
        let origin = match &effect {
            Effect::Forward(ticket) | Effect::Drop(ticket) => open.remove(ticket).expect("answered once"),
            Effect::Publish(head) => *head.origin(),
            Effect::Ask { .. } | Effect::Delivered(_) | Effect::Failed(_) | Effect::Overdrew(_) => continue,
        };
        if is_sent(&effect) {
            sent.entry(origin).or_default().push(at);
        }
    }
}

#[test]
fn logs_that_rest_make_room_and_busy_ones_do_not() {
    let mut notices: Notices<u8> = Notices::new();
    let n_logs = u32::try_from(NOTICED_LOGS).expect("small");
    let grow = |notices: &mut Notices<u8>, now, n: u32| {
        let mut id = [0; 32];
        id[..4].copy_from_slice(&n.to_le_bytes());
        let origin = Origin::package(PackageId::from_bytes(id), secret(1).public());
        let checkpoint = Checkpoint { origin, size: 1, root: LogHash::from_bytes([1; 32]) };
        notices.grown(now, &Head::sign(&secret(1), checkpoint).expect("its own log"));
    };
    for n in 0..=n_logs {
        grow(&mut notices, START, n);
    }
    assert_eq!(notices.n_logs(), NOTICED_LOGS, "the last found no room");
    let sent = run(&mut notices, START);
    assert_eq!(sent.len(), NOTICED_LOGS);
    let end = sent[NOTICED_LOGS - 1].0;
    let most = OF_US.burst + u32::try_from(end.since(START).as_millis() / OF_US.refill.as_millis()).expect("small");
    assert!(n_logs <= most, "no faster than peers take it in");
    grow(&mut notices, end.after(LOG_INTERVAL), n_logs);
    assert_eq!(notices.n_logs(), 1);
}
