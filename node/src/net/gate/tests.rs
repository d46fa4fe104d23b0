use super::*;

fn gate(reach: Reach) -> Gate {
    Gate::new(reach, Lobby::default())
}

fn address(text: &str) -> Multiaddr {
    text.parse().expect("address")
}

fn ids(n: usize) -> Vec<ConnectionId> {
    (0..n).map(ConnectionId::new_unchecked).collect()
}

#[test]
fn one_place_gets_so_many_connections_and_gives_them_back() {
    let (mut gate, now) = (gate(Reach::Everywhere), Instant::now());
    let ids = ids(limits::CONNECTIONS_PER_PREFIX + 1);
    let (last, first) = ids.split_last().expect("ids");
    for id in first {
        let remote = address(&format!("/ip6/2001:db8::{id}/tcp/1"));
        assert_eq!(gate.admit(*id, &remote, now), Ok(()));
        gate.shook_hands(*id, true);
    }
    assert_eq!(gate.admit(*last, &address("/ip6/2001:db8::ffff/tcp/1"), now), Err(Refusal::Crowded));
    assert_eq!(gate.admit(*last, &address("/ip6/2001:db8:0:1::1/tcp/1"), now), Ok(()), "another /64");
    gate.forget(first[0]);
    assert_eq!(gate.admit(first[0], &address("/ip6/2001:db8::ffff/tcp/1"), now), Ok(()));
    for id in ids {
        gate.forget(id);
    }
    assert!(
        gate.inbound.is_empty()
            && (gate.n_strangers, gate.handshakes.n_strangers(), gate.handshakes.len()) == (0, 0, 0),
        "nothing leaks"
    );
    assert!(gate.places.values().all(|place| (place.n, place.n_handshakes) == (0, 0)), "nothing leaks");
}

#[test]
fn one_place_finishes_what_it_began_before_it_begins_more_and_not_too_often() {
    let (mut gate, now) = (gate(Reach::Everywhere), Instant::now());
    let remote = address("/ip4/192.0.2.1/tcp/1");
    let mut ids = ids(200).into_iter();
    let mut next = || ids.next().expect("an id");
    for _ in 0..limits::HANDSHAKES_PER_PREFIX {
        assert_eq!(gate.admit(next(), &remote, now), Ok(()));
    }
    assert_eq!(gate.admit(next(), &remote, now), Err(Refusal::Crowded));
    for n in 0..limits::HANDSHAKES_PER_PREFIX {
        gate.forget(ConnectionId::new_unchecked(n));
    }
    let mut admit = |now| {
        let id = next();
        let admitted = gate.admit(id, &remote, now);
        gate.forget(id);
        admitted
    };
    let rest = limits::NEW_CONNECTIONS as usize - limits::HANDSHAKES_PER_PREFIX;
    assert!((0..rest).all(|_| admit(now) == Ok(())));
    assert_eq!(admit(now), Err(Refusal::TooOften));
    assert_eq!(admit(now + std::time::Duration::from_secs(1)), Ok(()));
}

#[test]
fn strangers_leave_room_for_those_who_were_met() {
    let (mut gate, now) = (gate(Reach::Everywhere), Instant::now());
    let stranger = |n: usize| address(&format!("/ip4/198.51.{}.{}/tcp/1", n / 250, n % 250));
    let friend = address("/ip4/192.0.2.7/tcp/1");
    gate.meet(&friend);
    let ids = ids(2_000);
    for (n, id) in ids[..limits::STRANGER_HANDSHAKES].iter().enumerate() {
        assert_eq!(gate.admit(*id, &stranger(n), now), Ok(()));
    }
    assert_eq!(gate.admit(ids[1_000], &stranger(999), now), Ok(()), "somebody gives way");
    assert_eq!(gate.handshakes.n_strangers(), limits::STRANGER_HANDSHAKES);
    assert_eq!(gate.admit(ids[1_001], &friend, now), Ok(()));
    gate.forget(ids[1_000]);
    // The place of whoever gave way.
    assert_eq!(gate.admit(ids[0], &stranger(0), now), Ok(()));
    assert_eq!(gate.admit(ids[1_002], &address("/ip4/127.0.0.1/tcp/1"), now), Ok(()), "this machine");
    for id in &ids[..limits::STRANGER_HANDSHAKES] {
        gate.shook_hands(*id, true);
    }
    for (n, id) in ids[..limits::STRANGER_CONNECTIONS].iter().enumerate().skip(limits::STRANGER_HANDSHAKES) {
        assert_eq!(gate.admit(*id, &stranger(n), now), Ok(()));
        gate.shook_hands(*id, true);
    }
    assert_eq!(gate.admit(ids[1_000], &stranger(999), now), Err(Refusal::Full), "connections");
    assert_eq!(gate.admit(ids[1_003], &friend, now), Ok(()));
}

#[test]
fn places_that_come_and_go_are_forgotten() {
    let (mut gate, now) = (gate(Reach::Everywhere), Instant::now());
    let id = ConnectionId::new_unchecked(1);
    for n in 0..2 * limits::PREFIXES {
        let remote = address(&format!("/ip6/2001:db8:{n:x}::1/tcp/1"));
        assert_eq!(gate.admit(id, &remote, now), Ok(()));
        gate.forget(id);
    }
    assert!(gate.places.len() <= limits::PREFIXES);
    for n in 0..2 * limits::MET_PREFIXES {
        gate.meet(&address(&format!("/ip6/2001:db8:{n:x}::1/tcp/1")));
    }
    assert_eq!(gate.met.len(), limits::MET_PREFIXES);
}

#[test]
fn a_local_node_lets_nobody_in_from_afar() {
    let (mut gate, now) = (gate(Reach::LocalLinks), Instant::now());
    let id = ConnectionId::new_unchecked(1);
    assert_eq!(gate.admit(id, &address("/ip4/192.0.2.1/tcp/1"), now), Err(Refusal::OutOfReach));
    assert_eq!(gate.admit(id, &address("/ip4/192.168.2.1/tcp/1"), now), Ok(()));
}

/// Places of blocks of their own.
fn scattered(n: usize) -> Multiaddr {
    address(&format!("/ip4/198.{}.{}.1/tcp/1", n / 250, n % 250))
}

/// Who is still shaking hands, of these.
fn left(gate: &Gate, ids: &[ConnectionId]) -> usize {
    ids.iter().filter(|id| gate.inbound.contains_key(*id)).count()
}

#[test]
fn the_most_crowded_block_gives_way_and_then_the_oldest() {
    let (mut gate, now) = (gate(Reach::Everywhere), Instant::now());
    let ids = ids(3 * limits::STRANGER_HANDSHAKES);
    let (of_one_block, others) = ids.split_at(10);
    let (others, newcomers) = others.split_at(limits::STRANGER_HANDSHAKES - of_one_block.len());
    for (n, id) in of_one_block.iter().enumerate() {
        assert_eq!(gate.admit(*id, &address(&format!("/ip4/203.0.113.{n}/tcp/1")), now), Ok(()));
    }
    for (n, id) in others.iter().enumerate() {
        assert_eq!(gate.admit(*id, &scattered(n), now), Ok(()));
    }
    let (first, rest) = newcomers.split_at(of_one_block.len() - 1);
    for (n, id) in first.iter().enumerate() {
        assert_eq!(gate.admit(*id, &scattered(100 + n), now), Ok(()));
        assert!(!gate.inbound.contains_key(&of_one_block[n]), "the oldest of the block");
    }
    assert_eq!((left(&gate, of_one_block), left(&gate, others), left(&gate, first)), (1, others.len(), first.len()));
    // Now all are alike.
    assert_eq!(gate.admit(rest[0], &scattered(200), now), Ok(()));
    assert_eq!((left(&gate, of_one_block), left(&gate, others)), (0, others.len()));
    assert_eq!(gate.handshakes.n_strangers(), limits::STRANGER_HANDSHAKES);
}

#[test]
fn who_comes_again_and_again_without_finishing_pushes_out_nobody_who_has_just_come() {
    let (mut gate, mut now) = (gate(Reach::Everywhere), Instant::now());
    let ids = ids(20 * 201);
    let honest = ids[200];
    for (round, ids) in ids.chunks(201).enumerate() {
        let (crowd, newcomer) = ids.split_at(200);
        for (n, id) in crowd.iter().enumerate() {
            assert_eq!(gate.admit(*id, &scattered(n), now), Ok(()));
        }
        if round == 0 {
            assert_eq!(gate.admit(newcomer[0], &address("/ip4/192.0.2.7/tcp/1"), now), Ok(()));
        }
        now += std::time::Duration::from_secs(1);
    }
    assert!(gate.inbound.contains_key(&honest));
    gate.shook_hands(honest, true);
    assert!(!gate.has_given_way(honest, &address("/ip4/192.0.2.7/tcp/1")));
}

#[tokio::test]
async fn who_gives_way_is_ended_and_not_let_in_if_it_was_finished_meanwhile() {
    let lobby = Lobby::default();
    let (mut gate, now) = (Gate::new(Reach::Everywhere, lobby.clone()), Instant::now());
    let ids = ids(limits::STRANGER_HANDSHAKES + 1);
    let mut handshakes = Vec::new();
    for (n, id) in ids.iter().enumerate() {
        handshakes.push(lobby.hold(std::future::pending::<std::io::Result<()>>()));
        assert_eq!(gate.admit(*id, &scattered(n), now), Ok(()));
    }
    let ended = futures::future::select_all(handshakes).await;
    let (Err(error), 0) = (ended.0, ended.1) else { panic!("the oldest") };
    assert_eq!(error.get_ref().and_then(|why| why.downcast_ref()), Some(&Refusal::GaveWay));
    assert!(gate.has_given_way(ids[0], &scattered(0)) && !gate.has_given_way(ids[1], &scattered(1)));
    assert!(!gate.has_given_way(ids[0], &address("/ip4/127.0.0.1/tcp/1")), "this machine is not counted");
}

#[test]
fn those_who_were_met_give_way_to_no_stranger() {
    let (mut gate, now) = (gate(Reach::Everywhere), Instant::now());
    let ids = ids(2 * limits::INBOUND_HANDSHAKES);
    let (met, strangers) = ids.split_at(limits::INBOUND_HANDSHAKES);
    for (n, id) in met.iter().enumerate() {
        gate.meet(&scattered(n));
        assert_eq!(gate.admit(*id, &scattered(n), now), Ok(()));
    }
    assert_eq!(gate.admit(strangers[0], &scattered(200), now), Err(Refusal::Full));
    gate.meet(&scattered(201));
    assert_eq!(gate.admit(strangers[1], &scattered(201), now), Ok(()));
    assert_eq!((gate.handshakes.len(), left(&gate, met)), (limits::INBOUND_HANDSHAKES, met.len() - 1));
    assert!(gate.places.values().all(|place| place.n == place.n_handshakes), "nothing leaks");
}
