//! Every task of a node is made to panic; the node stays up, counts it, tells it, and goes on.

use super::*;
use crate::net::LanConfig;

/// Waits until so many panics of a task were noted.
async fn broke(host: &Host, task: &str, n: u64) {
    let noted = async {
        while !host.node.parts().incidents.list().iter().any(|incident| incident.task == task && incident.n >= n) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), noted).await.unwrap_or_else(|_| panic!("{task} never broke"));
}

/// A host with every task that a node that stays has.
async fn whole_host() -> Host {
    let home = tempfile::tempdir().unwrap();
    let opened = Home::open(home.path()).unwrap();
    let mut config = NetConfig::new(opened.device_secret().unwrap().seed());
    let parts = Arc::new(Parts::open(opened).await.unwrap());
    config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
    // A port that is nobody's: this machine's other nodes are not to be met.
    let free = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    config.lan = Some(LanConfig { port: free, dial: false });
    config.incidents = parts.incidents.clone();
    let mut node = Node::start(parts, config).await.unwrap();
    node.keep_in_touch(Vec::new());
    Host { node, home }
}

/// Followed packages that came, and news of one more.
async fn publish_and_hear(alice: &Host, bob: &Host, version: &str, bytes: &[u8]) -> Published {
    let mut changes = bob.node.parts().histories.changes();
    let published = alice.publish(package(version, bytes).path()).await;
    let heard = async { while changes.recv().await.unwrap().head.checkpoint() != &published.checkpoint {} };
    tokio::time::timeout(Duration::from_secs(60), heard).await.unwrap_or_else(|_| panic!("no news of {version}"));
    published
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_task_that_panics_is_begun_anew_and_the_node_goes_on() {
    let (alice, bob) = (whole_host().await, whole_host().await);
    let first = alice.publish(package("1.0.0", &noise(100_000, 3)).path()).await;
    bob.connect(&alice).await;
    let followed = Followed { package: first.package, channel: None };
    assert!(follow::follow(bob.node.parts(), &followed).await.unwrap());
    bob.fetch(&first, &[]).await.unwrap();

    // One after the other: each has to be whole again before its turn comes to be told something.
    let of_bob = ["follows", "redial", "announce", "neighbours", "hub", "package", "watch", "network"];
    for (n, task) in of_bob.into_iter().enumerate() {
        bob.node.parts().incidents.trap(task);
        broke(&bob, task, 1).await;
        // After a restart of the network the two have to meet again.
        bob.connect(&alice).await;
        publish_and_hear(&alice, &bob, &format!("1.{}.0", n + 1), task.as_bytes()).await;
    }
    for task in ["blob server", "log server", "have server"] {
        alice.node.parts().incidents.trap(task);
        broke(&alice, task, 1).await;
    }
    // An answer that panics is one that a peer does not get; the next one is.
    for task in ["blob answer", "log answer", "have answer"] {
        alice.node.parts().incidents.trap(task);
    }
    for task in ["ask", "commit", "fetch"] {
        bob.node.parts().incidents.trap(task);
    }
    let last = alice.publish(package("2.0.0", &noise(300_000, 5)).path()).await;
    let fetched = async {
        let learn = async || bob.node.online().sync.refresh(last.package, None).await;
        let known = || {
            let history = bob.node.parts().histories.package(last.package).unwrap().expect("known");
            history.state.releases.contains_key(&last.release_id)
        };
        while !known() {
            drop(learn().await);
        }
        while bob.fetch(&last, &[]).await.is_err() {}
    };
    tokio::time::timeout(Duration::from_secs(120), fetched).await.expect("it goes on");
    assert_eq!(bob.files(&last).await, alice.files(&last).await);
    for task in ["blob answer", "log answer", "have answer"] {
        broke(&alice, task, 1).await;
    }
    for task in ["ask", "commit", "fetch"] {
        broke(&bob, task, 1).await;
    }
    // Each is told to the user in a line.
    let told: Vec<String> = bob.node.parts().incidents.list().iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), of_bob.len() + 3, "{told:#?}");
    assert!(told.iter().all(|line| line.contains("asked to by a test")), "{told:#?}");
    for host in [alice, bob] {
        host.node.shutdown().await;
    }
}
