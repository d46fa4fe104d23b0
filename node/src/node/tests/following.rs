//! Keeping several packages up to date at the same time.

use futures::AsyncReadExt as _;
use syncra_protocol::message::log::{self, Request};
use tokio::sync::mpsc;

use super::*;
use crate::event::Event;
use crate::flow::fixture::{Draft, hand_over, tell};
use crate::net::{Inbound, Inbounds, Stream};

/// A test that hangs fails here.
const HUNG: Duration = Duration::from_secs(120);

/// A peer that hears what it is asked and never answers.
async fn silent() -> (Net, mpsc::UnboundedReceiver<(Request, Stream)>) {
    let mut config = NetConfig::new([91; 32]);
    (config.listen, config.lan) = (vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()], None);
    let (net, Inbounds { mut log, .. }) = Net::start(config).await.unwrap();
    let (asked, questions) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(Inbound { mut stream, .. }) = log.recv().await {
            let asked = asked.clone();
            tokio::spawn(async move {
                let mut head = [0; 4];
                stream.read_exact(&mut head).await.ok()?;
                let mut request = vec![0; u32::from_le_bytes(head) as usize];
                stream.read_exact(&mut request).await.ok()?;
                // The stream stays open with whoever takes it.
                asked.send((log::decode_request(&request).ok()?, stream)).ok()
            });
        }
    });
    (net, questions)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_package_that_waits_for_what_nobody_tells_holds_no_other_up() {
    tokio::time::timeout(HUNG, holds_no_other_up()).await.expect("does not hang");
}

async fn holds_no_other_up() {
    let (alice, bob) = (host().await, host().await);
    let (from, to) = (alice.node.parts(), bob.node.parts());
    let missing = Draft::new("missing", "1.0.0").publish(from).await;
    let needs = [("missing", missing.package, "1")];
    let needy = Draft::new("needy", "1.0.0").needs(&needs).publish(from).await;
    let plain = Draft::new("plain", "1.0.0").publish(from).await;
    let pins = to.blobs().await.unwrap().pins();
    for published in [&needy, &plain] {
        tell(from, to, published.package).await;
        hand_over(from, to, published, &pins).await;
    }
    let (silent, mut asked) = silent().await;
    bob.node.online().net.dial(net::with_peer(silent.listen_addrs().remove(0), &silent.key()).unwrap()).await.unwrap();

    let mut happened = to.events.subscribe(None);
    follow::follow(to, &Followed { package: needy.package, channel: None }).await.unwrap();
    let mut unanswered = Vec::new();
    loop {
        let (request, stream) = asked.recv().await.unwrap();
        let is_it = matches!(request, Request::Heads { package } if package == missing.package);
        unanswered.push(stream);
        if is_it {
            break;
        }
    }
    follow::follow(to, &Followed { package: plain.package, channel: None }).await.unwrap();
    loop {
        match happened.next().await.event {
            Event::Installed { package, .. } if package == plain.package => break,
            Event::FollowFailed { package, reason } => panic!("{package} was waited for until {reason}"),
            Event::FollowRefused { reason, .. } => panic!("refused: {reason}"),
            _ => {}
        }
    }
    drop(unanswered);
    silent.shutdown().await.unwrap();
    for host in [alice, bob] {
        host.end().await;
    }
}
