//! Words on the wire: what a peer sends on each protocol, and what it gets from a node that has a kept home.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use data_encoding::HEXLOWER;
use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use serde_json::{Value, json};
use syncra_node::blobs::{Blobs, FetchOptions, Parts, Request};
use syncra_node::flow;
use syncra_node::home;
use syncra_node::net::{Multiaddr, Net, NetConfig, Protocol, Stream};
use syncra_protocol::bounded::Blob;
use syncra_protocol::codec;
use syncra_protocol::entry::RefClass;
use syncra_protocol::id::{BlobId, ContentRoot, IdentityId, PackageId, ReleaseId, TreeId};
use syncra_protocol::key::{DeviceKey, DeviceSecret};
use syncra_protocol::message::{draft, have, log, pair, propose};
use syncra_protocol::name::RefName;
use syncra_protocol::proposal::{self, Said, Statement, Verdict};
use syncra_tests::{Home, Node};

/// Frames carry their length.
fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("short");
    [&length.to_le_bytes()[..], message].concat()
}

/// A peer of the node that runs on a kept home.
struct Asker {
    net: Net,
    node: DeviceKey,
    _up: Node,
}

impl Asker {
    async fn new(home: &Home) -> Self {
        let up = home.up(["--listen", "/ip4/127.0.0.1/tcp/0"]);
        let address: Multiaddr = up.ready()["listen"][0].as_str().expect("an address").parse().expect("an address");
        let mut config = NetConfig::new([42; 32]);
        config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().expect("an address")];
        config.lan = None;
        let (net, _) = Net::start(config).await.expect("it listens");
        let node = net.dial(address).await.expect("it answers");
        Self { net, node, _up: up }
    }

    async fn open(&self, protocol: Protocol) -> Stream {
        self.net.open(self.node, protocol).await.expect("the protocol is spoken")
    }

    /// Sends a request and reads the one frame that answers it.
    async fn frame(&self, protocol: Protocol, request: &[u8]) -> Vec<u8> {
        let mut stream = self.open(protocol).await;
        stream.write_all(request).await.expect("written");
        stream.flush().await.expect("written");
        let mut length = [0; 4];
        stream.read_exact(&mut length).await.expect("an answer");
        let mut frame = vec![0; u32::from_le_bytes(length) as usize];
        stream.read_exact(&mut frame).await.expect("a whole answer");
        [&length[..], &frame].concat()
    }

    /// Sends a request, closes, and reads to the end.
    async fn whole(&self, protocol: Protocol, request: &[u8]) -> Vec<u8> {
        let mut stream = self.open(protocol).await;
        stream.write_all(request).await.expect("written");
        stream.close().await.expect("closed");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("an answer");
        answer
    }

    async fn answer(&self, protocol: Protocol, request: &[u8]) -> Vec<u8> {
        match protocol {
            Protocol::Blobs => self.whole(protocol, request).await,
            Protocol::Log | Protocol::Have | Protocol::Pair | Protocol::Propose | Protocol::Draft => {
                self.frame(protocol, request).await
            }
        }
    }
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new().expect("a runtime").block_on(work)
}

/// Asks a node on `home` everything that was asked then.
pub(crate) fn replay(home: &Home, kept: &Value) {
    run(async {
        let asker = Asker::new(home).await;
        for exchange in kept.as_array().expect("a list") {
            let text = |name: &str| exchange[name].as_str().expect("a text");
            let protocol = Protocol::ALL.into_iter().find(|protocol| protocol.id() == text("protocol"));
            let protocol = protocol.unwrap_or_else(|| panic!("{} is not spoken any more", text("protocol")));
            let bytes = |name: &str| HEXLOWER.decode(text(name).as_bytes()).expect("hexadecimal");
            assert_understood(protocol, &bytes("request"), &bytes("answer"));
            let answer = asker.answer(protocol, &bytes("request")).await;
            assert!(answer == bytes("answer"), "{}: another answer to {}", text("protocol"), text("what"));
        }
    });
}

/// Both sides of a kept exchange pass our decoders, as the same bytes.
fn assert_understood(protocol: Protocol, request: &[u8], answer: &[u8]) {
    match protocol {
        Protocol::Log => {
            assert_eq!(log::encode_request(&log::decode_request(&request[4..]).expect("a request")), request[4..]);
            assert_eq!(log::encode_answer(&log::decode_answer(&answer[4..]).expect("an answer")), answer[4..]);
        }
        Protocol::Have => {
            assert_eq!(have::encode_request(&have::decode_request(&request[4..]).expect("a request")), request[4..]);
            assert_eq!(have::encode_answer(&have::decode_answer(&answer[4..]).expect("an answer")), answer[4..]);
        }
        Protocol::Pair => {
            assert_eq!(codec::encode(&pair::decode_hello(&request[4..]).expect("a hello")), request[4..]);
            assert_eq!(codec::encode(&pair::decode_reply(&answer[4..]).expect("a reply")), answer[4..]);
        }
        Protocol::Draft => {
            assert_eq!(codec::encode(&draft::decode_request(&request[4..]).expect("a request")), request[4..]);
            assert_eq!(codec::encode(&draft::decode_answer(&answer[4..]).expect("an answer")), answer[4..]);
        }
        Protocol::Propose => {
            assert_eq!(codec::encode(&propose::decode_request(&request[4..]).expect("a request")), request[4..]);
            assert_eq!(codec::encode(&propose::decode_answer(&answer[4..]).expect("an answer")), answer[4..]);
        }
        // The library's: whether a fetch goes through, with these bytes sent by us, is what recording tells.
        Protocol::Blobs => {}
    }
}

/// Asks a node on `home` about everything that it has.
pub(crate) fn record(home: &Home) -> Value {
    let (packages, logs, roots) = run(contents(home));
    run(async {
        let asker = Asker::new(home).await;
        let mut exchanges = Vec::new();
        for package in packages.iter().copied() {
            let request = log::encode_request(&log::Request::Heads { package });
            exchanges.push(("heads", Protocol::Log, framed(&request)));
        }
        for origin in logs {
            for from in [0, 1] {
                let request = log::Request::Entries { origin, from, limit: 2 };
                exchanges.push(("entries", Protocol::Log, framed(&log::encode_request(&request))));
            }
        }
        for root in &roots {
            let request = have::encode_request(&have::Request { root: *root, follow: false });
            exchanges.push(("parts", Protocol::Have, framed(&request)));
        }
        for package in &packages {
            let request = codec::encode(&propose::Request::List { package: *package });
            exchanges.push(("proposals", Protocol::Propose, framed(&request)));
        }
        let root = *roots.first().expect("a release");
        let hello = pair::Hello { number: 4821, element: Blob(vec![1; pair::ELEMENT_BYTES]) };
        exchanges.push(("a code that nobody waits for", Protocol::Pair, framed(&codec::encode(&hello))));
        exchanges.push(("a release", Protocol::Blobs, asker.fetch_request(root).await));
        let mut kept = Vec::new();
        for (what, protocol, request) in exchanges {
            let answer = HEXLOWER.encode(&asker.answer(protocol, &request).await);
            let request = HEXLOWER.encode(&request);
            kept.push(json!({ "what": what, "protocol": protocol.id(), "request": request, "answer": answer }));
        }
        kept.into()
    })
}

/// What a peer offers, gets and asks for of records about a package of this home, in this order: the node keeps what it is
/// offered. Besides, drafts as they are answered: a node shows none after its start.
pub(crate) fn record_records(home: &Home) -> Value {
    let (packages, ..) = run(contents(home));
    let (secret, target) = (DeviceSecret::from_seed(&[7; 32]), packages[0]);
    let release = ReleaseId::from_bytes([3; 32]);
    let (class, name, title) = (RefClass::Channel, RefName::stable(), "Fins that turn".to_owned());
    let said = [
        Said::Proposal { class, name, release, title, is_withdrawn: false },
        Said::Review { release, verdict: Verdict::Approve, text: "good\nvery good".to_owned() },
    ];
    let sign = |said| {
        let (by, proposal) = (IdentityId::from_bytes([4; 32]), PackageId::from_bytes([2; 32]));
        let statement = Statement { target, proposal, by, device: secret.public(), number: 0, rev: 1, said };
        Blob(proposal::Record::sign(statement, &secret).expect("a record").bytes().to_vec())
    };
    let records: Vec<_> = said.map(sign).to_vec();
    let list = || codec::encode(&propose::Request::List { package: target });
    let asked = draft::Request { package: target, name: RefName::stable(), after: 9 };
    let requests = [
        ("records, none yet", Protocol::Propose, list()),
        (
            "records that are new",
            Protocol::Propose,
            codec::encode(&propose::Request::Offer { records: records.clone() }),
        ),
        ("records that are there", Protocol::Propose, codec::encode(&propose::Request::Offer { records })),
        ("records", Protocol::Propose, list()),
        ("a draft that is not shown", Protocol::Draft, codec::encode(&asked)),
    ];
    let exchanges: Vec<Value> = run(async {
        let asker = Asker::new(home).await;
        let mut kept = Vec::new();
        for (what, protocol, request) in requests {
            let request = framed(&request);
            let answer = HEXLOWER.encode(&asker.answer(protocol, &request).await);
            let request = HEXLOWER.encode(&request);
            kept.push(json!({ "what": what, "protocol": protocol.id(), "request": request, "answer": answer }));
        }
        kept
    });
    let shown = draft::Draft {
        package: target,
        name: RefName::stable(),
        rev: 10,
        tree_id: TreeId::from_bytes([5; 32]),
        content_root: ContentRoot::from_bytes([6; 32]),
        total_bytes: 70_000,
        n_files: 12,
    };
    let answers = [draft::Answer::Draft(draft::SignedDraft::sign(&shown, &secret)), draft::Answer::Unchanged];
    let drafts = answers.map(|answer| {
        json!({
            "request": HEXLOWER.encode(&framed(&codec::encode(&asked))),
            "answer": HEXLOWER.encode(&framed(&codec::encode(&answer))),
            "key": HEXLOWER.encode(secret.public().as_bytes()),
        })
    });
    json!({ "exchanges": exchanges, "drafts": drafts })
}

/// Does all that again, and reads the drafts.
pub(crate) fn replay_records(home: &Home, kept: &Value) {
    replay(home, &kept["exchanges"]);
    for shown in kept["drafts"].as_array().expect("a list") {
        let bytes =
            |name: &str| HEXLOWER.decode(shown[name].as_str().expect("a text").as_bytes()).expect("hexadecimal");
        assert_understood(Protocol::Draft, &bytes("request"), &bytes("answer"));
        let key = DeviceKey::from_bytes(bytes("key").try_into().expect("a key"));
        if let draft::Answer::Draft(signed) = draft::decode_answer(&bytes("answer")[4..]).expect("an answer") {
            assert!(signed.verify(&key).is_ok_and(|draft| draft.rev > 9), "it is its device's, and newer");
        }
    }
}

/// Packages, logs of one of them, and content roots of a home.
async fn contents(
    home: &Home,
) -> (Vec<syncra_protocol::id::PackageId>, Vec<syncra_protocol::origin::Origin>, Vec<ContentRoot>) {
    let home = home::Home::open(home.path()).expect("nobody uses it");
    let parts = Box::pin(flow::Parts::open(home)).await.expect("it opens");
    let packages = parts.histories.packages();
    let history = parts.histories.package(packages[0]).expect("readable").expect("there");
    let logs = history.evidence.heads().map(|head| *head.origin()).collect();
    let mut roots: Vec<ContentRoot> =
        history.state.releases.values().map(|published| published.release.content_root).collect();
    roots.sort();
    drop(history);
    parts.close().await;
    (packages, logs, roots)
}

impl Asker {
    /// What a fetch of a whole release sends.
    async fn fetch_request(&self, root: ContentRoot) -> Vec<u8> {
        let dir = tempfile::tempdir().expect("a directory");
        let (blobs, _) = Blobs::open(dir.path()).await.expect("it opens");
        let sent = Arc::<Mutex<Vec<u8>>>::default();
        let stream = Overheard { stream: self.open(Protocol::Blobs).await, sent: Arc::clone(&sent) };
        let request = Request { root: BlobId::from(root), parts: Parts::All };
        let fetched = blobs.fetch(stream, &request, &FetchOptions::default(), &blobs.pins(), |_| {}).await;
        fetched.expect("the node has it");
        blobs.shutdown().await;
        sent.lock().expect("no panic").clone()
    }
}

/// A stream, and what was sent on it.
struct Overheard {
    stream: Stream,
    sent: Arc<Mutex<Vec<u8>>>,
}

impl AsyncRead for Overheard {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Overheard {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if let Poll::Ready(Ok(n_bytes)) = &written {
            self.sent.lock().expect("no panic").extend_from_slice(&bytes[..*n_bytes]);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}
