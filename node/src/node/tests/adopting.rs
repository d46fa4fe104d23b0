//! Before a home that was restored or copied signs again, whoever may know more of its device is listened to.

use futures::AsyncWriteExt as _;
use syncra_protocol::message::log::{self, Answer};

use super::*;
use crate::flow::adopt::AdoptError;
use crate::net::{Inbound, Inbounds};
use crate::sync::{Wait, ask};

/// A peer that answers a question about a log with `answer` only once `turn` has a place for it.
async fn late(answer: Vec<u8>, turn: Arc<tokio::sync::Semaphore>) -> Net {
    let mut config = NetConfig::new([90; 32]);
    (config.listen, config.lan) = (vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()], None);
    let (net, Inbounds { mut log, .. }) = Net::start(config).await.unwrap();
    tokio::spawn(async move {
        while let Some(Inbound { mut stream, .. }) = log.recv().await {
            let (answer, turn) = (answer.clone(), Arc::clone(&turn));
            tokio::spawn(async move {
                turn.acquire().await.unwrap().forget();
                let _ = stream.write_all(&answer).await;
                let _ = stream.close().await;
            });
        }
    });
    net
}

/// A home, a copy of it from before, and a mirror that knows what was published by then.
async fn copied() -> (tempfile::TempDir, tempfile::TempDir, Host, PackageId) {
    let (alice, mirror) = (host().await, host().await);
    let first = alice.publish(package("1.0.0", b"first").path()).await;
    mirror.learn(&alice, first.package).await;
    let (home, copied) = (alice.end().await, tempfile::tempdir().unwrap());
    copy_dir(home.path(), copied.path());
    (home, copied, mirror, first.package)
}

async fn meet(host: &Host, other: &Net) {
    let address = net::with_peer(other.listen_addrs().remove(0), &other.key()).unwrap();
    host.node.online().net.dial(address).await.unwrap();
}

/// A mirror that is behind answers at once; who has the newer head takes its time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_adopts_listens_to_all_who_were_asked() {
    let (home, copied, mirror, lamp) = copied().await;
    let (alice, carol) = (start(home).await, host().await);
    alice.publish(package("1.1.0", b"second").path()).await;
    carol.connect(&alice).await;
    let newer = ask::heads(&carol.node.online().net, alice.node.online().net.key(), lamp).await.unwrap();
    alice.end().await;

    let back = start(copied).await;
    back.connect(&mirror).await;
    let turn = Arc::new(tokio::sync::Semaphore::new(0));
    let newer = log::encode_answer(&Answer::Heads(newer));
    let late = late([&u32::try_from(newer.len()).unwrap().to_le_bytes()[..], &newer].concat(), Arc::clone(&turn)).await;
    meet(&back, &late).await;
    let online = back.node.online();
    let (parts, unwatched) = (back.node.parts(), Progress::unwatched());
    let mut adopting = Box::pin(adopt::adopt(parts, Some(online), &unwatched));
    // Longer than a question waits once somebody has answered.
    let early = tokio::time::timeout(Duration::from_secs(4), &mut adopting).await;
    assert!(early.is_err(), "{early:?}");
    turn.add_permits(64);
    let refused = adopting.await;
    assert!(matches!(&refused, Err(AdoptError::Unheard { packages }) if packages.len() == 1), "{refused:?}");
    assert!(adopt::is_wanted(parts).unwrap(), "and nothing is signed");

    late.shutdown().await.unwrap();
    for host in [back, mirror, carol] {
        host.end().await;
    }
}

/// Nobody can keep a home from being adopted by saying nothing; who was silent is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_never_answers_is_named_and_keeps_nobody_from_adopting() {
    let (_home, copied, mirror, lamp) = copied().await;
    let back = start(copied).await;
    back.connect(&mirror).await;
    let late = late(Vec::new(), Arc::new(tokio::sync::Semaphore::new(0))).await;
    meet(&back, &late).await;
    let online = back.node.online();
    // Sooner than it counts as slow, which would be a fault, and late enough for the mirror: who has answered is told all the
    // same.
    let until = tokio::time::Instant::now() + Duration::from_secs(10);
    let told = online.sync.ask(lamp, None, Wait::ForAll { until }).await.unwrap();
    let mirrored = mirror.node.online().net.key();
    assert_eq!((told.answered, told.silent, told.faults), ([mirrored].into(), [late.key()].into(), Vec::new()));
    let silent = adopt::adopt(back.node.parts(), Some(online), &Progress::unwatched()).await.unwrap();
    assert_eq!(silent, [late.key()].into());
    assert!(!adopt::is_wanted(back.node.parts()).unwrap());

    late.shutdown().await.unwrap();
    for host in [back, mirror] {
        host.end().await;
    }
}
