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

#[test]
fn what_is_provided_here_has_places_that_no_flood_takes() {
    let (me, _) = device(0);
    let mut records = Records::new(me);
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
    let mut records = Records::new(device(0).0);
    for n in 1..=30 {
        let mut record = record(key(1), device(n).0);
        if n == 3 {
            record.expires = Some(Instant::now());
        }
        drop(records.add_provider(record));
    }
    let providers: Vec<PeerId> = records.providers(&wire(key(1))).iter().map(|record| record.provider).collect();
    assert_eq!(providers.len(), limits::PROVIDERS_PER_KEY);
    assert!(!providers.contains(&device(3).0), "the expired one has gone");
    assert!(
        providers.contains(&device(1).0) && providers.contains(&device(21).0) && !providers.contains(&device(22).0)
    );
    // Who is known renews without needing a place.
    records.add_provider(record(key(1), device(1).0)).expect("renewed");
}

#[test]
fn when_all_places_are_taken_the_farthest_goes_first() {
    let me = device(0).0;
    let mut records = Records::new(me);
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
    let mut records = Records::new(me);
    records.add_provider(record(key(1), device(1).0)).expect("room");
    records.add_provider(record(key(2), device(1).0)).expect("room");
    records.remove_provider(&wire(key(2)), &device(1).0);
    let changes = records.take_changes(10);
    assert_eq!(records.take_changes(10), Vec::new());
    let kept: Vec<&Provider> = changes.iter().filter(|change| change.ttl.is_some()).collect();
    assert_eq!((changes.len(), kept.len()), (2, 1), "{changes:?}");
    assert_eq!((kept[0].key, kept[0].provider), (key(1), device(1).1));

    let again = Records::new(me);
    let huge = Provider { key: key(3), ttl: Some(Duration::from_secs(u64::MAX / 2)), ..kept[0].clone() };
    again.load(changes.iter().cloned().chain([huge]));
    assert_eq!(again.n_foreign(), 2);
    let [record] = again.providers(&wire(key(1))).try_into().expect("one");
    assert!(!record.is_expired(Instant::now()) && record.addresses.len() == 1);
    let [huge] = again.providers(&wire(key(3))).try_into().expect("one");
    assert!(huge.is_expired(Instant::now() + limits::PROVIDER_TTL + Duration::from_secs(1)), "clamped");
}
