use libp2p::core::transport::ListenerId;

use super::*;

fn address(text: &str) -> Multiaddr {
    text.parse().expect("address")
}

/// A node that listens on loopback, in a private network and, if told so, on a public address.
fn dht(is_public: bool) -> Dht {
    let me = PeerId::random();
    let mut dht = Dht::new(me, Records::new(me, &[7; 32]), Part::Serves);
    let public = is_public.then_some("/ip4/198.51.100.7/tcp/4001");
    for text in ["/ip4/127.0.0.1/tcp/4001", "/ip4/192.168.1.7/tcp/4001"].into_iter().chain(public) {
        let (listener_id, addr) = (ListenerId::next(), &address(text));
        dht.on_swarm_event(FromSwarm::NewListenAddr(NewListenAddr { listener_id, addr }));
    }
    dht
}

#[test]
fn what_is_announced_reaches_as_far_as_the_farthest_peer() {
    let mut home = dht(false);
    assert_eq!((home.announced.len(), home.is_server()), (2, true));
    home.set_realm(Scope::Local);
    assert_eq!((home.announced.clone(), home.is_server()), (vec![address("/ip4/192.168.1.7/tcp/4001")], true));
    home.set_realm(Scope::Public);
    assert_eq!((home.announced.len(), home.is_server()), (0, false), "behind a router nobody can ask it");
    home.set_realm(Scope::Loopback);
    assert_eq!((home.announced.len(), home.is_server()), (2, true), "and back again");

    let mut server = dht(true);
    server.set_realm(Scope::Public);
    assert_eq!((server.announced.clone(), server.is_server()), (vec![address("/ip4/198.51.100.7/tcp/4001")], true));
}

#[test]
fn in_a_wider_realm_near_addresses_are_forgotten_and_not_taken_in() {
    let mut dht = dht(true);
    let (near, far) = (PeerId::random(), PeerId::random());
    dht.add(near, vec![address("/ip4/192.168.1.8/tcp/4001")]);
    dht.add(far, vec![address("/ip4/192.168.9.9/tcp/4001"), address("/ip4/203.0.113.9/tcp/4001")]);
    assert_eq!(dht.n_peers(), 2);
    dht.set_realm(Scope::Public);
    assert_eq!(dht.n_peers(), 1);
    dht.add(near, vec![address("/ip4/192.168.1.8/tcp/4001"), address("/ip4/127.0.0.1/tcp/22")]);
    assert_eq!(dht.n_peers(), 1);
    let addresses =
        dht.handle_pending_outbound_connection(ConnectionId::new_unchecked(1), Some(far), &[], Endpoint::Dialer);
    let addresses = addresses.expect("nothing is denied");
    assert_eq!(addresses.len(), 1);
    assert_eq!(address::split_peer(&addresses[0]).1, address("/ip4/203.0.113.9/tcp/4001"));
}

#[test]
fn a_record_is_kept_with_addresses_of_use_or_not_at_all() {
    let mut dht = dht(true);
    dht.set_realm(Scope::Public);
    let provider = address::keypair([9; 32]).public().to_peer_id();
    let key = ProviderKey::from_slice(&[7; 32]).expect("32 bytes");
    let record = |addresses: &[&str]| ProviderRecord {
        key: records::wire(key),
        provider,
        expires: None,
        addresses: addresses.iter().map(|text| address(text)).collect(),
    };
    dht.keep(record(&["/ip4/10.0.0.1/tcp/1", "/dns4/router.example/tcp/80", "/ip4/127.0.0.1/tcp/2"]), Vec::new(), None);
    assert_eq!(dht.records.n_foreign(), 0);
    dht.keep(record(&["/ip4/10.0.0.1/tcp/1"]), vec![address("/ip4/203.0.113.9/tcp/4001")], None);
    assert_eq!(dht.records.n_foreign(), 1, "where it is known to be");
    let mut short = record(&["/ip4/203.0.113.9/tcp/4001"]);
    short.key = kad::RecordKey::new(&[1, 2, 3]);
    assert!(!dht.keep(short, Vec::new(), None));
    assert_eq!(dht.records.n_foreign(), 1, "a key that is no id");
}
