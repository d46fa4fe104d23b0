//! Before a home that was restored or copied signs again, whoever may know more of its device is listened to.

use futures::AsyncWriteExt as _;
use syncra_protocol::message::log::{self, Answer};

use super::*;
use crate::flow::adopt::AdoptError;
use crate::net::{Inbound, Inbounds};
use crate::sync::ask;

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

/// A mirror that is behind answers at once; who has the newer head takes its time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_adopts_listens_to_all_who_were_asked() {
    let (alice, mirror, carol) = (host().await, host().await, host().await);
    let first = alice.publish(package("1.0.0", b"first").path()).await;
    mirror.learn(&alice, first.package).await;
    let home = alice.end().await;
    let copied = tempfile::tempdir().unwrap();
    copy_dir(home.path(), copied.path());
    let alice = start(home).await;
    alice.publish(package("1.1.0", b"second").path()).await;
    carol.connect(&alice).await;
    let newer = ask::heads(&carol.node.online().net, alice.node.online().net.key(), first.package).await.unwrap();
    alice.end().await;

    let back = start(copied).await;
    back.connect(&mirror).await;
    let turn = Arc::new(tokio::sync::Semaphore::new(0));
    let newer = log::encode_answer(&Answer::Heads(newer));
    let late = late([&u32::try_from(newer.len()).unwrap().to_le_bytes()[..], &newer].concat(), Arc::clone(&turn)).await;
    let online = back.node.online();
    online.net.dial(net::with_peer(late.listen_addrs().remove(0), &late.key()).unwrap()).await.unwrap();
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
    let (alice, mirror) = (host().await, host().await);
    let first = alice.publish(package("1.0.0", b"first").path()).await;
    mirror.learn(&alice, first.package).await;
    let home = alice.end().await;
    let copied = tempfile::tempdir().unwrap();
    copy_dir(home.path(), copied.path());

    let back = start(copied).await;
    back.connect(&mirror).await;
    let late = late(Vec::new(), Arc::new(tokio::sync::Semaphore::new(0))).await;
    let online = back.node.online();
    online.net.dial(net::with_peer(late.listen_addrs().remove(0), &late.key()).unwrap()).await.unwrap();
    let silent = adopt::adopt(back.node.parts(), Some(online), &Progress::unwatched()).await.unwrap();
    assert_eq!(silent, [late.key()].into());
    assert!(!adopt::is_wanted(back.node.parts()).unwrap());

    late.shutdown().await.unwrap();
    for host in [back, mirror] {
        host.end().await;
    }
}
