use syncra_protocol::name::PackageName;

use super::*;
use crate::flow::fixture::{Draft, open};
use crate::net::NetConfig;

/// A test that hangs fails here.
const HUNG: Duration = Duration::from_secs(60);

async fn quiet(seed: [u8; 32]) -> Net {
    let listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
    Net::start(NetConfig { listen, lan: None, ..NetConfig::new(seed) }).await.unwrap().0
}

#[test]
fn an_announcement_is_due_after_its_time_or_when_the_table_became_much_better() {
    let now = Timestamp(1_000_000);
    let later = now.after(AGAIN);
    let done = |n_nodes| Done { again: later, n_nodes };
    assert_eq!(Done::due(None, 3, now), now);
    assert_eq!(Done::due(Some(&done(3)), 5, now), later);
    assert_eq!(Done::due(Some(&done(3)), 6, now), now);
    assert_eq!(Done::due(Some(&done(GOOD_TABLE)), 500, now), later);
}

#[test]
fn no_more_is_announced_than_others_have_room_for() {
    assert_eq!([0, 1, GOOD_TABLE].map(room), [limits::RECORDS_PER_PROVIDER; 3]);
    assert_eq!(room(2 * GOOD_TABLE), 2 * limits::RECORDS_PER_PROVIDER);
    assert_eq!(room(usize::MAX), limits::PROVIDED_KEYS);
}

#[tokio::test]
async fn when_there_is_more_than_room_what_matters_most_is_announced_and_the_rest_when_the_network_grows() {
    let dir = tempfile::tempdir().unwrap();
    let parts = open(dir.path()).await;
    let net = quiet(parts.home().device_secret().unwrap().seed()).await;
    let mut announcer = Announcer::new(&parts, &net);
    let key = |n: usize| {
        let mut bytes = [7; 32];
        bytes[..8].copy_from_slice(&(usize::MAX - n).to_le_bytes());
        ProviderKey::from_slice(&bytes).unwrap()
    };
    announcer.keys = (0..3 * limits::RECORDS_PER_PROVIDER).map(key).collect();
    for (n_nodes, n_wanted) in [(1, 1), (2 * GOOD_TABLE, 2), (1, 2), (3 * GOOD_TABLE, 3)] {
        announcer.choose(n_nodes).await;
        let first = announcer.keys.iter().take(n_wanted * limits::RECORDS_PER_PROVIDER);
        assert_eq!(announcer.wanted, first.copied().collect(), "{n_nodes} nodes");
    }
    net.shutdown().await.unwrap();
    parts.close().await;
}

#[tokio::test]
async fn what_is_published_is_announced_once_and_known_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let parts = Arc::new(open(dir.path()).await);
    let published = Draft::new("lamp", "1.0.0").publish(&parts).await;
    let hub = quiet([1; 32]).await;
    let node = quiet(parts.home().device_secret().unwrap().seed()).await;
    let stop = CancellationToken::new();
    let announcing = tokio::spawn(keep_announced(Arc::clone(&parts), node.clone(), stop.clone()));
    node.dial(crate::net::with_peer(hub.listen_addrs().remove(0), &hub.key()).unwrap()).await.unwrap();
    let mut routing = hub.routing();
    let announced = routing.wait_for(|routing| routing.n_records == 3);
    tokio::time::timeout(HUNG, announced).await.expect("announced").unwrap();
    let name = PackageName::parse("lamp").unwrap();
    let by_name = ProviderKey::of_name(&OwnerKey::of(&parts.identity()), &name);
    let keys = [published.package.into(), by_name, published.release.content_root.into()];
    // The announcement is noted when its query has ended, which may be after the record came.
    let noted = async {
        let is_noted = |key| announced_before(&parts).unwrap().contains_key(key);
        while !keys.iter().all(is_noted) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(HUNG, noted).await.expect("noted");
    stop.cancel();
    announcing.await.unwrap();

    let again = Announcer::new(&parts, &node);
    for key in keys {
        let due = Done::due(again.announced.get(&key), GOOD_TABLE, clock::now());
        assert!(due > clock::now(), "it is not announced again at every start");
    }

    // The hub writes down what it keeps, and a later run of it knows it.
    let hub_dir = tempfile::tempdir().unwrap();
    let hub_parts = open(hub_dir.path()).await;
    write_down(&hub_parts, &hub);
    let later = quiet([2; 32]).await;
    load(&hub_parts, &later).unwrap();
    assert_eq!(later.records().n_foreign(), 3);
    for net in [hub, node, later] {
        net.shutdown().await.unwrap();
    }
    hub_parts.close().await;
    parts.close().await;
}
