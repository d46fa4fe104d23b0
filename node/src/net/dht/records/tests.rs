use super::*;

fn device(n: u16) -> (PeerId, DeviceKey) {
    let mut seed = [0; 32];
    seed[..2].copy_from_slice(&n.to_le_bytes());
    let key = syncra_protocol::key::DeviceSecret::from_seed(&seed).public();
    (peer_id(&key).expect("a device"), key)
}

fn key(n: u32) -> ProviderKey {
    let mut bytes = [7; 32];
    bytes[..4].copy_from_slice(&n.to_le_bytes());
    ProviderKey::from_slice(&bytes).expect("32 bytes")
}

fn record(key: ProviderKey, provider: PeerId) -> ProviderRecord {
    let expires = Some(Instant::now() + limits::PROVIDER_TTL);
    let addresses = vec!["/ip4/192.0.2.7/tcp/4001".parse().expect("address")];
    ProviderRecord { key: wire(key), provider, expires, addresses }
}

fn empty(me: PeerId) -> Records {
    Records::new(me, &[7; 32])
}

/// Whom a store names for a key, in its order.
fn named(records: &Records, n: u32) -> Vec<PeerId> {
    records.providers(&wire(key(n))).iter().map(|record| record.provider).collect()
}

#[test]
fn what_is_provided_here_has_places_that_no_flood_takes() {
    let (me, _) = device(0);
    let mut records = empty(me);
    for n in 0..limits::RECORDS_PER_PROVIDER + 10 {
        drop(records.add_provider(record(key(u32::try_from(n).expect("small")), device(1).0)));
    }
    assert_eq!(records.n_foreign(), limits::RECORDS_PER_PROVIDER, "one provider's quota");
    let mine = key(1_000_000);
    records.add_provider(ProviderRecord::new(wire(mine), me, Vec::new())).expect("own places");
    assert_eq!(records.provided().count(), 1);
    assert_eq!(records.providers(&wire(mine)).len(), 1);
}

#[test]
fn a_key_has_few_providers_and_those_who_expired_make_room() {
    let mut records = empty(device(0).0);
    for n in 1..=30 {
        let mut record = record(key(1), device(n).0);
        if n == 3 {
            record.expires = Some(Instant::now());
        }
        drop(records.add_provider(record));
    }
    let providers = named(&records, 1);
    assert_eq!(providers.len(), limits::PROVIDERS_PER_KEY);
    assert!(!providers.contains(&device(3).0), "the expired one has gone");
    // Who is known renews without needing a place.
    for provider in providers {
        records.add_provider(record(key(1), provider)).expect("renewed");
    }
    assert_eq!(records.n_foreign(), limits::PROVIDERS_PER_KEY);
}

#[test]
fn what_has_expired_counts_against_no_quota() {
    let records = empty(device(0).0);
    let (now, most) = (Instant::now(), u32::try_from(limits::RECORDS_PER_PROVIDER).expect("small"));
    let add = |n: u32, now: Instant| {
        let record = ProviderRecord { expires: Some(now + limits::PROVIDER_TTL), ..record(key(n), device(1).0) };
        records.lock().add(record, None, now)
    };
    for n in 0..most {
        add(n, now).expect("its quota");
    }
    assert!(add(most, now).is_err(), "beyond its quota");
    add(0, now + Duration::from_secs(1)).expect("renewed");
    let later = now + limits::PROVIDER_TTL;
    for n in most..2 * most - 1 {
        add(n, later).expect("the others have expired");
    }
    assert!(add(2 * most, later).is_err(), "with the one that was renewed");
    let inner = records.lock();
    assert_eq!((inner.n_foreign, inner.by_expiry.len()), (limits::RECORDS_PER_PROVIDER, limits::RECORDS_PER_PROVIDER));
    assert_eq!(inner.by_provider.values().sum::<usize>(), inner.n_foreign);
}

/// The twenty stores nearest to a key, each with a secret of its own.
fn stores() -> Vec<Records> {
    let store = |n: u8| Records::new(device(1_000 + u16::from(n)).0, &[n; 32]);
    (0..20).map(store).collect()
}

#[test]
fn nobody_owns_a_key_by_having_come_first() {
    let keep = |stores: &[Records], providers: &mut dyn Iterator<Item = u16>| {
        for n in providers {
            stores.iter().for_each(|store| drop(store.keep(record(key(1), device(n).0), None)));
        }
    };
    let (squatters, honest) = (1..=100, 200);
    let first = stores();
    keep(&first, &mut squatters.clone());
    // They stay at it, and come back.
    keep(&first, &mut std::iter::once(honest).chain(squatters.clone()));
    let kept_by = |stores: &[Records]| -> Vec<usize> {
        (0..stores.len()).filter(|n| named(&stores[*n], 1).contains(&device(honest).0)).collect()
    };
    // One in five, more or less: with these secrets always the same.
    let at = kept_by(&first);
    assert!((2..=8).contains(&at.len()), "{at:?}");
    assert!(first.iter().all(|store| store.n_foreign() == limits::PROVIDERS_PER_KEY));

    let last = stores();
    keep(&last, &mut std::iter::once(honest).chain(squatters));
    assert_eq!(kept_by(&last), at, "who came first does not matter");
}

#[test]
fn who_has_many_identities_in_one_block_leaves_room_for_who_comes_from_another() {
    let block = |text: &str| Some(Block::of(text.parse().expect("an address")));
    let records = empty(device(0).0);
    for n in 1..=100 {
        drop(records.keep(record(key(1), device(n).0), block(&format!("203.0.113.{n}"))));
    }
    for n in 1..=5 {
        records.keep(record(key(1), device(200 + n).0), block(&format!("192.0.{n}.1"))).expect("of another block");
    }
    for n in 1..=100 {
        drop(records.keep(record(key(1), device(300 + n).0), block(&format!("203.0.113.{n}"))));
    }
    let named = named(&records, 1);
    assert_eq!(named.len(), limits::PROVIDERS_PER_KEY);
    assert!((1..=5).all(|n| named.contains(&device(200 + n).0)));
}

#[test]
fn each_provider_is_named_first_in_its_turn() {
    let records = empty(device(0).0);
    for n in 1..=4 {
        records.keep(record(key(1), device(n).0), None).expect("room");
    }
    let firsts: HashSet<PeerId> = (0..4).filter_map(|_| named(&records, 1).first().copied()).collect();
    assert_eq!(firsts.len(), 4);
}

#[test]
fn when_all_places_are_taken_the_farthest_goes_first() {
    let me = device(0).0;
    let mut records = empty(me);
    let distance = |n: u32| KBucketKey::from(me).distance(&KBucketKey::new(wire(key(n))));
    let n_records = u32::try_from(limits::FOREIGN_RECORDS).expect("small");
    for n in 0..n_records {
        let provider = device(u16::try_from(1 + n % 8).expect("small")).0;
        records.add_provider(record(key(n), provider)).expect("there is room");
    }
    let farthest = (0..n_records).max_by_key(|n| distance(*n)).expect("there are some");
    let nearer = (n_records..).find(|n| distance(*n) < distance(farthest)).expect("about every second one");
    let farther = (n_records..).find(|n| distance(*n) > distance(farthest));
    records.add_provider(record(key(nearer), device(9).0)).expect("it is nearer");
    assert_eq!(records.n_foreign(), limits::FOREIGN_RECORDS);
    assert!(records.providers(&wire(key(farthest))).is_empty());
    if let Some(farther) = farther {
        assert!(records.add_provider(record(key(farther), device(9).0)).is_err());
    }
}

#[test]
fn what_was_written_down_is_there_again_for_the_rest_of_its_time() {
    let me = device(0).0;
    let mut records = empty(me);
    records.add_provider(record(key(1), device(1).0)).expect("room");
    records.add_provider(record(key(2), device(1).0)).expect("room");
    records.remove_provider(&wire(key(2)), &device(1).0);
    let changes = records.take_changes(10);
    assert_eq!(records.take_changes(10), Vec::new());
    let kept: Vec<&Provider> = changes.iter().filter(|change| change.ttl.is_some()).collect();
    assert_eq!((changes.len(), kept.len()), (2, 1), "{changes:?}");
    assert_eq!((kept[0].key, kept[0].provider), (key(1), device(1).1));

    let again = empty(me);
    let huge = Provider { key: key(3), ttl: Some(Duration::from_secs(u64::MAX / 2)), ..kept[0].clone() };
    again.load(changes.iter().cloned().chain([huge]));
    assert_eq!(again.n_foreign(), 2);
    let [record] = again.providers(&wire(key(1))).try_into().expect("one");
    assert!(!record.is_expired(Instant::now()) && record.addresses.len() == 1);
    let [huge] = again.providers(&wire(key(3))).try_into().expect("one");
    assert!(huge.is_expired(Instant::now() + limits::PROVIDER_TTL + Duration::from_secs(1)), "clamped");
}
