//! Lines of real nodes: each hears of news from its neighbour only.

use syncra_protocol::id::LogHash;
use syncra_protocol::key::DeviceSecret;
use syncra_protocol::log::checkpoint::{Checkpoint, Head};
use syncra_protocol::origin::Origin;
use syncra_protocol::sync::follow::Failure;
use syncra_protocol::sync::score::{Deed, Grade};

use super::*;
use crate::event::{Event, Subscription};
use crate::net::{Inbounds, Part};
use crate::sync::ask;

/// A test that hangs fails here. Far below the interval at which heads are asked for: only news that are pushed bring a
/// test to its end before.
const HUNG: Duration = Duration::from_secs(120);

async fn within<T>(test: impl Future<Output = T>) -> T {
    tokio::time::timeout(HUNG, test).await.expect("does not hang")
}

/// A node that finds nobody by itself.
async fn lonely() -> Host {
    let home = tempfile::tempdir().unwrap();
    let opened = Home::open(home.path()).unwrap();
    let seed = opened.device_secret().unwrap().seed();
    let parts = Arc::new(Parts::open(opened).await.unwrap());
    Host { node: Node::start(parts, quiet(seed)).await.unwrap(), home }
}

fn quiet(seed: [u8; 32]) -> NetConfig {
    let listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
    NetConfig { listen, lan: None, dht: Part::None, ..NetConfig::new(seed) }
}

/// Connects each with the next, and waits until notices go from one to the other.
async fn line(hosts: &[&Host]) {
    for pair in hosts.windows(2) {
        pair[0].connect(pair[1]).await;
    }
    let last = hosts.len() - 1;
    for (at, host) in hosts.iter().enumerate() {
        let n_neighbours = if at == 0 || at == last { 1 } else { 2 };
        let mut mesh = host.node.online().net.mesh();
        mesh.wait_for(|n_mesh| *n_mesh == n_neighbours).await.unwrap();
    }
}

impl Host {
    fn key(&self) -> syncra_protocol::key::DeviceKey {
        self.node.online().net.key()
    }

    /// Follows a package that a neighbour knows, and waits until it is installed.
    async fn follow(&self, package: PackageId, version: &str) -> Subscription {
        let mut events = self.node.parts().events.subscribe(None);
        self.node.online().sync.refresh(package, None).await.unwrap();
        assert!(follow::follow(self.node.parts(), &Followed { package, channel: None }).await.unwrap());
        installed(&mut events, version).await;
        events
    }
}

async fn installed(events: &mut Subscription, wanted: &str) {
    loop {
        match events.next().await.event {
            Event::Installed { version, .. } if version.to_string() == wanted => return,
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn news_pass_through_a_node_that_knows_the_package_and_does_not_follow_it() {
    within(Box::pin(async {
        let (alice, bob, carol) = (lonely().await, lonely().await, lonely().await);
        let first = alice.publish(package("1.0.0", b"small").path()).await;
        bob.learn(&alice, first.package).await;
        carol.learn(&bob, first.package).await;
        line(&[&alice, &bob, &carol]).await;

        let mut changes = carol.node.parts().histories.changes();
        let second = alice.publish(package("1.1.0", b"other").path()).await;
        while changes.recv().await.unwrap().head.checkpoint() != &second.checkpoint {}
        let peers = carol.node.online().net.peers().await.unwrap();
        assert_eq!(peers.iter().map(|peer| peer.key).collect::<Vec<_>>(), [bob.key()], "alice was never met");
        for host in [alice, bob, carol] {
            host.end().await;
        }
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_is_installed_three_hops_away() {
    within(Box::pin(async {
        let (alice, bob, carol, dora) = (lonely().await, lonely().await, lonely().await, lonely().await);
        let first = alice.publish(package("1.0.0", b"small").path()).await;
        line(&[&alice, &bob, &carol, &dora]).await;
        let mut events = Vec::new();
        for host in [&bob, &carol, &dora] {
            events.push(host.follow(first.package, "1.0.0").await);
        }
        // Large enough that each hop hears of it long before it has it.
        alice.publish(package("1.1.0", &noise(24 << 20, 5)).path()).await;
        for events in &mut events {
            installed(events, "1.1.0").await;
        }
        for (host, neighbours) in [(&dora, vec![carol.key()]), (&alice, vec![bob.key()])] {
            let peers = host.node.online().net.peers().await.unwrap();
            assert_eq!(peers.iter().map(|peer| peer.key).collect::<Vec<_>>(), neighbours);
        }
        for host in [alice, bob, carol, dora] {
            host.end().await;
        }
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_heard_too_early_is_told_when_the_content_is_there() {
    within(Box::pin(async {
        let (alice, bob, carol) = (lonely().await, lonely().await, lonely().await);
        let first = alice.publish(package("1.0.0", b"small").path()).await;
        bob.learn(&alice, first.package).await;
        carol.learn(&bob, first.package).await;
        let mut arrivals = carol.node.online().sync.arrivals();
        let mut events = carol.node.parts().events.subscribe(None);
        assert!(follow::follow(carol.node.parts(), &Followed { package: first.package, channel: None }).await.unwrap());
        // Her second failure is told; so she watches, and waits for longer and longer.
        while !matches!(events.next().await.event, Event::FollowFailed { .. }) {}
        bob.follow(first.package, "1.0.0").await;
        assert_eq!(arrivals.recv().await.unwrap(), first.package);
        installed(&mut events, "1.0.0").await;
        for host in [alice, bob, carol] {
            host.end().await;
        }
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_watch_keep_nobody_from_being_answered() {
    within(Box::pin(async {
        let (alice, bob) = (lonely().await, lonely().await);
        let first = alice.publish(package("1.0.0", b"small").path()).await;
        let (mut strangers, mut watches) = (Vec::new(), Vec::new());
        // More than are answered at once.
        for seed in 1..=17 {
            let (net, inbounds) = Net::start(quiet([seed; 32])).await.unwrap();
            net.dial(alice.address()).await.unwrap();
            for _ in 0..4 {
                watches.push(ask::watch(&net, alice.key(), vec![first.package]).await.unwrap());
            }
            let one_more = ask::watch(&net, alice.key(), vec![first.package]).await;
            assert!(matches!(one_more, Err(Failure::Busy { .. })), "{one_more:?}");
            strangers.push((net, inbounds));
        }
        let learnt = bob.learn(&alice, first.package).await;
        assert_eq!(learnt.faults, []);
        assert!(bob.node.parts().histories.package(first.package).unwrap().is_some());
        drop(watches);
        for host in [alice, bob] {
            host.end().await;
        }
    }))
    .await;
}

/// A node of the network alone, which says what it is told to.
async fn stranger(seed: u8, near: &Host) -> (Net, Inbounds) {
    let (net, inbounds) = Net::start(quiet([seed; 32])).await.unwrap();
    net.dial(near.address()).await.unwrap();
    net.mesh().wait_for(|n_mesh| *n_mesh == 1).await.unwrap();
    (net, inbounds)
}

/// A signed head of a package that nobody knows.
fn of_nobody(n: u32) -> Head {
    let mut id = [7; 32];
    id[..4].copy_from_slice(&n.to_le_bytes());
    let secret = DeviceSecret::from_seed(&[77; 32]);
    let origin = Origin::package(PackageId::from_bytes(id), secret.public());
    Head::sign(&secret, Checkpoint { origin, size: 3, root: LogHash::from_bytes([1; 32]) }).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_unknown_wrong_or_too_much_ends_here_and_a_spammer_is_shut_out() {
    within(Box::pin(async {
        let (alice, bob) = (lonely().await, lonely().await);
        let first = alice.publish(package("1.0.0", b"small").path()).await;
        bob.learn(&alice, first.package).await;
        line(&[&alice, &bob]).await;
        let (listener, _l) = stranger(1, &bob).await;
        let mut heard = listener.notices().unwrap();
        let (spammer, _s) = stranger(2, &bob).await;
        bob.node.online().net.mesh().wait_for(|n_mesh| *n_mesh == 3).await.unwrap();

        let (_, head) = alice.node.parts().histories.log(&first.checkpoint.origin).unwrap().unwrap();
        let mut forged = head.note().to_vec();
        let at = forged.len() - 9;
        forged[at] ^= 2;
        spammer.announce(forged).await.unwrap();
        let mut n = 0;
        let shut_out = loop {
            spammer.announce(of_nobody(n).note().to_vec()).await.unwrap();
            n += 1;
            let shut_out = bob.node.online().net.shut_out().await.unwrap();
            if let Some((score, away_for)) = shut_out.first() {
                assert!(away_for.is_some());
                break *score;
            }
        };
        assert!(matches!(shut_out.grade, Grade::Away(_)) && shut_out.peer == spammer.key(), "{shut_out:?}");
        assert_eq!(shut_out.last_fault, Some(Deed::Spam));
        let peers = async || bob.node.online().net.connected().await.unwrap();
        while peers().await.iter().any(|peer| peer.key == spammer.key()) {
            tokio::task::yield_now().await;
        }

        // Bob is as he was, and of all that only alice's news went on.
        let second = alice.publish(package("1.1.0", b"other").path()).await;
        loop {
            let notice = heard.recv().await.unwrap();
            let head = Head::verify(&notice.note).unwrap();
            assert_eq!((notice.peer, head.origin().key), (bob.key(), alice.key()));
            if head.checkpoint() == &second.checkpoint {
                break;
            }
        }
        let alices = peers().await.into_iter().find(|peer| peer.key == alice.key()).unwrap();
        assert!(alices.points > 0 && !alices.is_poor, "{alices:?}");
        for host in [alice, bob] {
            host.end().await;
        }
    }))
    .await;
}
