//! Requests and answers that are cut, too long, out of order, or from elsewhere, to a real node: each is refused in the
//! way that its protocol has for it, nothing panics, and whoever is honest is served.

use std::io;

use futures::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use syncra_protocol::bounded::Blob;
use syncra_protocol::codec;
use syncra_protocol::id::ContentRoot;
use syncra_protocol::key::DeviceKey;
use syncra_protocol::limits::FRAME_BYTES;
use syncra_protocol::message::log::{self, Answer, Heads, Request};
use syncra_protocol::message::{Refusal, draft, have, pair, propose};
use syncra_protocol::origin::{Origin, Subject};
use syncra_protocol::sync::follow::{Ask, Failure};
use syncra_protocol::sync::score::Deed;
use tokio::sync::mpsc;

use super::*;
use crate::event::Event;
use crate::net::{Inbound, Inbounds, NetEvent, Protocol};
use crate::sync::ask;

/// What somebody who sends bytes on a fresh stream gets.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    /// The end of the stream and not a byte.
    Silence,
    /// One answer.
    Log(Answer),
    /// One answer.
    Have(have::Answer),
    /// One answer.
    Pair(pair::Reply),
    /// One answer.
    Propose(propose::Answer),
    /// One answer.
    Draft(draft::Answer),
}

fn framed(body: &[u8]) -> Vec<u8> {
    [&u32::try_from(body.len()).unwrap().to_le_bytes()[..], body].concat()
}

fn read_frame(bytes: &[u8]) -> &[u8] {
    let (length, body) = bytes.split_at(4);
    assert_eq!(u32::from_le_bytes(length.try_into().unwrap()) as usize, body.len(), "one frame");
    body
}

/// Sends `bytes`, ends the sending side, and reads to the end.
async fn send(from: &Net, to: &Host, protocol: Protocol, bytes: &[u8]) -> Vec<u8> {
    let mut stream = from.open(to.node.online().net.key(), protocol).await.unwrap();
    stream.accepted().await.unwrap();
    // The node may have heard enough before the end.
    let _ = stream.write_all(bytes).await;
    let _ = stream.close().await;
    let mut heard = Vec::new();
    let _ = stream.read_to_end(&mut heard).await;
    heard
}

/// (protocol, what is wrong, bytes, outcome)
fn requests(published: &Published, origin: Origin) -> Vec<(Protocol, &'static str, Vec<u8>, Outcome)> {
    use Protocol::{Blobs, Draft, Have, Log, Pair, Propose};
    let heads = log::encode_request(&Request::Heads { package: published.package });
    let entries = |from, limit| log::encode_request(&Request::Entries { origin, from, limit });
    let not_found = || Outcome::Log(Answer::Refused(Refusal::NotFound));
    let unknown = PackageId::from_bytes([9; 32]);
    let unsorted = Request::Watch { packages: vec![PackageId::from_bytes([9; 32]), PackageId::from_bytes([3; 32])] };
    let root = published.release.content_root;
    let have_request = have::encode_request(&have::Request { root, follow: false });
    let foreign_root = ContentRoot::from_bytes([99; 32]);
    // Of fixed ids: of the identifiers that a run draws, one in a hundred makes a request that another protocol can read.
    let foreign_heads = log::encode_request(&Request::Heads { package: unknown });
    let foreign_have = have::encode_request(&have::Request { root: foreign_root, follow: false });
    let mut trailing = heads.clone();
    trailing.push(0);
    let hello_of = |n| codec::encode(&(9_000_u32, vec![1_u8; n]));
    let hello = hello_of(pair::ELEMENT_BYTES);
    let name = syncra_protocol::name::RefName::parse("draft").unwrap();
    let wanted = codec::encode(&draft::Request { package: published.package, name, after: 0 });
    let mut rows = vec![
        (
            Draft,
            "a draft that nobody shows",
            framed(&wanted),
            Outcome::Draft(draft::Answer::Refused(Refusal::NotFound)),
        ),
        (Draft, "half of a request", framed(&wanted)[..20].to_vec(), Outcome::Silence),
        (Draft, "a request of another protocol", framed(&foreign_heads), Outcome::Silence),
        (Log, "a request that was cut", framed(&heads)[..20].to_vec(), Outcome::Silence),
        (Log, "a length that was cut", vec![7, 0], Outcome::Silence),
        (Log, "nothing", Vec::new(), Outcome::Silence),
        (Log, "a frame of nothing", framed(&[]), Outcome::Silence),
        (Log, "a length of four gigabytes", vec![0xff; 4], Outcome::Silence),
        (Log, "a length of two gigabytes, and noise", [&[0, 0, 0, 0x80][..], &[5; 9_000]].concat(), Outcome::Silence),
        (Log, "one byte too long", (FRAME_BYTES as u32 + 1).to_le_bytes().to_vec(), Outcome::Silence),
        (Log, "longer than any request", framed(&vec![0; FRAME_BYTES]), Outcome::Silence),
        (Log, "no message", framed(&[0xff; 40]), Outcome::Silence),
        (Log, "a byte after the message", framed(&trailing), Outcome::Silence),
        (Log, "a kind of a later version", framed(&[77, 1, 2, 3]), Outcome::Silence),
        (
            Log,
            "an answer for a request",
            framed(&log::encode_answer(&Answer::Watching { n_packages: 9 })),
            Outcome::Silence,
        ),
        (Log, "a request of another protocol", framed(&foreign_have), Outcome::Silence),
        (Log, "packages out of order", framed(&log::encode_request(&unsorted)), Outcome::Silence),
        (Log, "a list of four billion packages", framed(&[2, 0xff, 0xff, 0xff, 0xff, 0x0f, 1, 2]), Outcome::Silence),
        (Log, "no entries wanted", framed(&entries(0, 0)), Outcome::Silence),
        (
            Log,
            "a package that is not here",
            framed(&log::encode_request(&Request::Heads { package: unknown })),
            not_found(),
        ),
        (Have, "a request that was cut", framed(&have_request)[..11].to_vec(), Outcome::Silence),
        (Have, "a length of four gigabytes", vec![0xff; 4], Outcome::Silence),
        (Have, "no message", framed(&[3; 34]), Outcome::Silence),
        (Have, "a request of another protocol", framed(&foreign_heads), Outcome::Silence),
        (
            Have,
            "a root that is not here",
            framed(&foreign_have),
            Outcome::Have(have::Answer::Refused(Refusal::NotFound)),
        ),
        (Pair, "a hello that was cut", framed(&hello)[..20].to_vec(), Outcome::Silence),
        (Pair, "a length of four gigabytes", vec![0xff; 4], Outcome::Silence),
        (Pair, "no message", framed(&[0xff; 40]), Outcome::Silence),
        (Pair, "a point that is too short", framed(&hello_of(32)), Outcome::Silence),
        (Pair, "a point that is too long", framed(&hello_of(34)), Outcome::Silence),
        (Pair, "a request of another protocol", framed(&foreign_heads), Outcome::Silence),
        (Pair, "a code that nobody waits for", framed(&hello), Outcome::Pair(pair::Reply::Refused(Refusal::NotFound))),
        (Propose, "no message", framed(&[0xff; 40]), Outcome::Silence),
        (Propose, "a request of another protocol", framed(&hello), Outcome::Silence),
        (Propose, "a list of four billion records", framed(&[1, 0xff, 0xff, 0xff, 0xff, 0x0f, 1]), Outcome::Silence),
        (
            Propose,
            "a package that is not here",
            framed(&codec::encode(&propose::Request::List { package: unknown })),
            Outcome::Propose(propose::Answer::Refused(Refusal::NotFound)),
        ),
        (
            Propose,
            "what is no record",
            framed(&codec::encode(&propose::Request::Offer { records: vec![Blob(vec![7; 300]); 3] })),
            Outcome::Propose(propose::Answer::Taken { n_kept: 0 }),
        ),
        (Blobs, "nothing", Vec::new(), Outcome::Silence),
        (Blobs, "no request", vec![0xff; 3_000], Outcome::Silence),
        (Blobs, "a request that ends early", vec![0, 1, 2, 3], Outcome::Silence),
        (Blobs, "a request of another protocol", framed(&foreign_heads), Outcome::Silence),
        (Blobs, "more than any request", vec![0; 3 << 20], Outcome::Silence),
    ];
    for kind in 0..8 {
        // Every kind of request of the library, with a hash and lists that never end.
        let endless = [&[kind][..], &[6; 32], &[0xff; 64]].concat();
        rows.push((Blobs, "lists without an end", endless, Outcome::Silence));
    }
    rows
}

/// A node of the network alone, connected to `near`.
async fn stranger(seed: u8, near: &Host) -> (Net, Inbounds) {
    let mut config = NetConfig::new([seed; 32]);
    (config.listen, config.lan) = (vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()], None);
    let (net, inbounds) = Net::start(config).await.unwrap();
    net.dial(near.address()).await.unwrap();
    (net, inbounds)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_requests_are_refused_each_in_its_way() {
    let alice = host().await;
    let published = alice.publish(package("1.0.0", &noise(50_000, 3)).path()).await;
    let origin = *alice
        .node
        .parts()
        .histories
        .package(published.package)
        .unwrap()
        .unwrap()
        .evidence
        .heads()
        .next()
        .unwrap()
        .origin();

    // Somebody else each time: whoever sends so much of this is not let in any more.
    for (seed, (protocol, what, bytes, expected)) in (100..).zip(requests(&published, origin)) {
        let (net, _inbounds) = stranger(seed, &alice).await;
        let heard = send(&net, &alice, protocol, &bytes).await;
        net.shutdown().await.unwrap();
        let outcome = match protocol {
            _ if heard.is_empty() => Outcome::Silence,
            Protocol::Log => Outcome::Log(log::decode_answer(read_frame(&heard)).unwrap()),
            Protocol::Have => Outcome::Have(have::decode_answer(read_frame(&heard)).unwrap()),
            Protocol::Pair => Outcome::Pair(pair::decode_reply(read_frame(&heard)).unwrap()),
            Protocol::Draft => Outcome::Draft(draft::decode_answer(read_frame(&heard)).unwrap()),
            Protocol::Propose => Outcome::Propose(propose::decode_answer(read_frame(&heard)).unwrap()),
            Protocol::Blobs => panic!("{what}: {} bytes of an answer", heard.len()),
        };
        assert_eq!(outcome, expected, "{protocol}: {what}");
    }
    // Numbers at their ends are answered with what there is.
    let (net, _inbounds) = stranger(5, &alice).await;
    for (from, limit) in [(0, u32::MAX), (u64::MAX, 1), (u64::MAX, u32::MAX), (1, u32::MAX), (u64::MAX / 2, 7)] {
        let request = framed(&log::encode_request(&Request::Entries { origin, from, limit }));
        let heard = send(&net, &alice, Protocol::Log, &request).await;
        let answer = log::decode_answer(read_frame(&heard)).unwrap();
        assert!(matches!(answer, Answer::Entries(_) | Answer::Refused(_)), "{answer:?}");
    }
    // Two requests on one stream: the second one is nobody's.
    let heads = framed(&log::encode_request(&Request::Heads { package: published.package }));
    let heard = send(&net, &alice, Protocol::Log, &heads.repeat(2)).await;
    assert!(matches!(log::decode_answer(read_frame(&heard)).unwrap(), Answer::Heads(_)));

    let bob = host().await;
    bob.connect(&alice).await;
    bob.fetch(&published, &[]).await.unwrap();
    assert_eq!(bob.files(&published).await, alice.files(&published).await);
    assert_eq!(alice.node.parts().incidents.list(), []);
    net.shutdown().await.unwrap();
    for host in [alice, bob] {
        host.node.shutdown().await;
    }
}

/// Sends bytes one by one, each in time, and never to an end; an error when the other side broke off before.
async fn drip(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    let mut ticks = tokio::time::interval(DRIP);
    for byte in bytes {
        ticks.tick().await;
        stream.write_all(&[*byte]).await?;
        stream.flush().await?;
    }
    Ok(())
}

/// Between two bytes that are dripped.
const DRIP: Duration = Duration::from_millis(200);

/// What `net` thinks of a peer.
async fn opinion(net: &Net, peer: DeviceKey) -> (i32, Option<Deed>) {
    let peers = net.peers().await.unwrap();
    let known = peers.iter().find(|known| known.key == peer).expect("connected");
    (known.points, known.last_fault)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_trickle_in_are_given_up_and_counted_and_leave_their_place() {
    let alice = host().await;
    let published = alice.publish(package("1.0.0", b"an isle").path()).await;
    let heads = framed(&log::encode_request(&Request::Heads { package: published.package }));
    let dripping = [Protocol::Log, Protocol::Have, Protocol::Blobs].into_iter().zip(70..).map(|(protocol, seed)| {
        let (alice, heads) = (&alice, &heads);
        async move {
            let (net, inbounds) = stranger(seed, alice).await;
            // Else a watch that nobody answers would count too.
            drop(inbounds);
            let key = alice.node.online().net.key();
            let mut stream = net.open(key, protocol).await.unwrap();
            stream.accepted().await.unwrap();
            let (mut reading, mut writing) = futures::AsyncReadExt::split(stream);
            // As long as any request may be; of blobs one that asks for more and more.
            let body = match protocol {
                Protocol::Blobs => [&[0][..], &[6; 32], &[0xff; 9_000]].concat(),
                Protocol::Log | Protocol::Have | Protocol::Pair | Protocol::Propose | Protocol::Draft => {
                    [&9_000_u32.to_le_bytes()[..], &[0; 9_000]].concat()
                }
            };
            let mut answer = Vec::new();
            // By an end or a break, which may be seen by who writes before who reads.
            tokio::select! {
                ended = reading.read_to_end(&mut answer) => drop(ended),
                sent = drip(&mut writing, &body) => drop(sent.expect_err("not all of it is taken")),
            }
            assert!(answer.is_empty(), "{protocol}");
            let counted =
                async { while opinion(&alice.node.online().net, net.key()).await != (-2, Some(Deed::Stalled)) {} };
            tokio::time::timeout(PATIENCE, counted).await.expect("counted once");
            // Whoever has only been slow is answered as before.
            let heard = send(&net, alice, Protocol::Log, heads).await;
            assert!(matches!(log::decode_answer(read_frame(&heard)).unwrap(), Answer::Heads(_)), "{protocol}");
            net.shutdown().await.unwrap();
        }
    });
    futures::future::join_all(dripping).await;
    assert_eq!(alice.node.parts().incidents.list(), []);
    alice.node.shutdown().await;
}

/// A peer that answers every request with these bytes at once, then with a frame that trickles in.
async fn dripper(seed: u8, first: Vec<u8>) -> Net {
    let mut config = NetConfig::new([seed; 32]);
    (config.listen, config.lan) = (vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()], None);
    let (net, Inbounds { mut log, mut have, .. }) = Net::start(config).await.unwrap();
    tokio::spawn(async move {
        loop {
            let inbound = tokio::select! {
                inbound = log.recv() => inbound,
                inbound = have.recv() => inbound,
            };
            let Some(Inbound { mut stream, .. }) = inbound else { return };
            let first = first.clone();
            tokio::spawn(async move {
                let _ = stream.write_all(&first).await;
                let _ = drip(&mut stream, &[&9_000_u32.to_le_bytes()[..], &[0; 9_000]].concat()).await;
            });
        }
    });
    net
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_trickle_in_are_given_up_and_counted_and_cost_nobody_the_package() {
    let (alice, bob) = (host().await, host().await);
    let published = alice.publish(package("1.0.0", b"an isle").path()).await;
    let (package, root) = (published.package, published.release.content_root);
    let origin = Origin { subject: Subject::Package(package), key: alice.node.online().net.key() };
    let online = bob.node.online();
    // Each answer is of its own kind of error, whichever is asked for.
    let watching = framed(&log::encode_answer(&Answer::Watching { n_packages: 1 }));
    let (slow, slow_to_push) = (dripper(80, Vec::new()).await, dripper(81, watching).await);
    for net in [&slow, &slow_to_push] {
        online.net.dial(net::with_peer(net.listen_addrs().remove(0), &net.key()).unwrap()).await.unwrap();
    }
    let (net, peer) = (&online.net, slow.key());
    let pushed = async {
        let mut watch = ask::watch(net, slow_to_push.key(), vec![package]).await.unwrap();
        ask::notice(&mut watch).await.map(drop)
    };
    let (heads, entries, offers, have, watch, pushed) = futures::join!(
        async { ask::heads(net, peer, package).await.map(drop) },
        async { ask::entries(net, peer, origin, 0).await.map(drop) },
        async { ask::offers(net, peer, None).await.map(drop) },
        async { ask::have(net, peer, root).await.map(drop) },
        async { ask::watch(net, peer, vec![package]).await.map(drop) },
        pushed,
    );
    for (what, outcome) in
        [("heads", heads), ("entries", entries), ("offers", offers), ("have", have), ("watch", watch), ("push", pushed)]
    {
        assert_eq!(outcome, Err(Failure::Slow), "{what}");
    }
    assert_eq!(opinion(net, peer).await, (0, None), "asking alone counts nothing");

    // Somebody who is honest is there too: nobody waits for the slow one.
    bob.connect(&alice).await;
    let told = online.sync.refresh(package, Some(vec![peer, alice.node.online().net.key()])).await.unwrap();
    assert!(bob.node.parts().histories.package(package).unwrap().is_some());
    assert_eq!(told.faults, [], "not yet");
    bob.fetch(&published, &[]).await.unwrap();
    assert_eq!(bob.files(&published).await, alice.files(&published).await);

    // Alone with the slow one, the answer is that it was slow, once.
    let mut events = bob.node.parts().events.subscribe(None);
    let told = online.sync.refresh(PackageId::from_bytes([5; 32]), Some(vec![peer])).await.unwrap();
    assert_eq!(told.faults, [(peer, Fault::Stalled { ask: Ask::Heads })]);
    while !matches!(events.next().await.event, Event::PeerFault { .. }) {}
    assert_eq!(opinion(net, peer).await.1, Some(Deed::Stalled));
    assert_eq!(bob.node.parts().incidents.list(), []);
    for net in [slow, slow_to_push] {
        net.shutdown().await.unwrap();
    }
    for host in [alice, bob] {
        host.node.shutdown().await;
    }
}

/// A peer that answers every request on a log stream with these bytes.
async fn liar(seed: u8) -> (Net, mpsc::Sender<Vec<u8>>) {
    let mut config = NetConfig::new([seed; 32]);
    (config.listen, config.lan) = (vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()], None);
    let (net, Inbounds { mut log, .. }) = Net::start(config).await.unwrap();
    let (lies, mut next) = mpsc::channel::<Vec<u8>>(1);
    tokio::spawn(async move {
        let mut lie = Vec::new();
        while let Some(Inbound { mut stream, .. }) = log.recv().await {
            while let Ok(next) = next.try_recv() {
                lie = next;
            }
            let lie = lie.clone();
            tokio::spawn(async move {
                let mut head = [0; 4];
                if stream.read_exact(&mut head).await.is_err() {
                    return;
                }
                let mut request = vec![0; u32::from_le_bytes(head) as usize];
                let _ = stream.read_exact(&mut request).await;
                let _ = stream.write_all(&lie).await;
                let _ = stream.close().await;
                let _ = stream.read(&mut head).await;
            });
        }
    });
    (net, lies)
}

/// (what is wrong, the answer, the fault; none where it could be an accident)
fn answers(heads: &Heads) -> Vec<(&'static str, Vec<u8>, Option<&'static str>)> {
    let honest = framed(&log::encode_answer(&Answer::Heads(heads.clone())));
    let with = |change: &dyn Fn(&mut Heads)| {
        let mut heads = heads.clone();
        change(&mut heads);
        framed(&log::encode_answer(&Answer::Heads(heads)))
    };
    vec![
        ("nothing", Vec::new(), None),
        ("an answer that was cut", honest[..honest.len() / 2].to_vec(), None),
        ("a length that was cut", vec![1], None),
        ("four gigabytes announced", vec![0xff; 4], Some("sent more bytes than allowed")),
        ("one byte too long", (FRAME_BYTES as u32 + 1).to_le_bytes().to_vec(), Some("sent more bytes than allowed")),
        ("no message", framed(&[0xee; 100]), Some("sent what is no message")),
        ("a kind of a later version", framed(&[88, 0]), Some("sent what is no message")),
        (
            "an answer to something else",
            framed(&log::encode_answer(&Answer::Watching { n_packages: u32::MAX })),
            Some("sent what is no message"),
        ),
        (
            "another Genesis",
            with(&|heads| heads.package_genesis = Blob(vec![1; 90])),
            Some("sent another Genesis entry"),
        ),
        (
            "a note with one bit changed",
            with(&|heads| heads.notes[0].0.iter_mut().rev().nth(7).map_or((), |byte| *byte ^= 1)),
            Some("sent a note that does not verify"),
        ),
        (
            "a note of noise",
            with(&|heads| heads.notes[0] = Blob(vec![b'x'; 200])),
            Some("sent a note that does not verify"),
        ),
        (
            "busy for ever",
            framed(&log::encode_answer(&Answer::Refused(Refusal::Busy { retry_after_ms: u32::MAX }))),
            None,
        ),
        ("not found", framed(&log::encode_answer(&Answer::Refused(Refusal::NotFound))), None),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_answers_are_faults_of_who_sent_them_and_cost_nobody_the_package() {
    let (alice, bob) = (host().await, host().await);
    let published = alice.publish(package("1.0.0", b"an isle").path()).await;
    let evidence = alice.node.parts().histories.package(published.package).unwrap().unwrap().evidence.clone();
    let heads = Heads::answer(&evidence, syncra_protocol::log::checkpoint::Head::clone);
    for (n, (what, answer, expected)) in answers(&heads).into_iter().enumerate() {
        // A peer of its own for each: who has lied about a package is not asked about it again.
        let (net, lies) = liar(50 + n as u8).await;
        lies.send(answer).await.unwrap();
        let at = net::with_peer(net.listen_addrs().remove(0), &net.key()).unwrap();
        bob.node.online().net.dial(at).await.unwrap();
        let told = bob.node.online().sync.refresh(published.package, Some(vec![net.key()])).await.unwrap();
        let faults: Vec<String> = told.faults.iter().map(|(_, fault)| crate::sync::describe(fault)).collect();
        match expected {
            Some(expected) => assert!(faults.iter().any(|fault| fault.starts_with(expected)), "{what}: {faults:?}"),
            None => assert_eq!(faults, Vec::<String>::new(), "{what}"),
        }
        assert!(bob.node.parts().histories.package(published.package).unwrap().is_none(), "{what}");
        net.shutdown().await.unwrap();
    }
    bob.connect(&alice).await;
    bob.fetch(&published, &[]).await.unwrap();
    assert_eq!(bob.files(&published).await, alice.files(&published).await);
    assert_eq!(bob.node.parts().incidents.list(), []);
    for host in [alice, bob] {
        host.node.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_goes_on_sending_what_does_not_verify_is_shut_out() {
    let bob = host().await;
    let (net, lies) = liar(40).await;
    lies.send(framed(&[0xee; 100])).await.unwrap();
    let at = net::with_peer(net.listen_addrs().remove(0), &net.key()).unwrap();
    let online = bob.node.online();
    let mut events = online.net.events();
    online.net.dial(at).await.unwrap();
    // About one package nobody is believed twice; so it lies about many.
    let shut_out = async {
        for n in 0..200 {
            let _ = online.sync.refresh(PackageId::from_bytes([n; 32]), Some(vec![net.key()])).await;
            while let Ok(event) = events.try_recv() {
                if event == (NetEvent::Disconnected { peer: net.key() }) {
                    return;
                }
            }
        }
        panic!("200 lies and still here");
    };
    tokio::time::timeout(Duration::from_secs(60), shut_out).await.unwrap();
    let again = online.net.dial(net::with_peer(net.listen_addrs().remove(0), &net.key()).unwrap()).await;
    assert_eq!(again, Err(net::DialError::Banned));
    net.shutdown().await.unwrap();
    bob.node.shutdown().await;
}
