//! What a node that blocks somebody tells and serves to others: nothing of theirs, however long it has had it.

use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use serde_json::Value;
use syncra_node::blobs::{Blobs, FetchOptions, Parts, Request};
use syncra_node::net::{Multiaddr, Net, NetConfig, Protocol};
use syncra_protocol::codec;
use syncra_protocol::id::{BlobId, ContentRoot, PackageId};
use syncra_protocol::key::DeviceKey;
use syncra_protocol::message::{Refusal, have, log, propose};
use syncra_protocol::origin::Origin;
use syncra_tests::{Home, Node};

use crate::people::{LOOPBACK, address, noise, wired, word};

/// Somebody who asks a node over the wire, and knows what to ask for.
struct Asker {
    net: Net,
    node: DeviceKey,
}

impl Asker {
    async fn of(node: &Node) -> Self {
        let mut config = NetConfig::new([42; 32]);
        config.listen = vec![LOOPBACK[1].parse().expect("an address")];
        config.lan = None;
        let (net, _) = Net::start(config).await.expect("it listens");
        let at: Multiaddr = address(node).parse().expect("an address");
        let node = net.dial(at).await.expect("it answers");
        Self { net, node }
    }

    /// The one frame that answers a request.
    async fn ask(&self, protocol: Protocol, request: &[u8]) -> Vec<u8> {
        let mut stream = self.net.open(self.node, protocol).await.expect("the protocol is spoken");
        let length = u32::try_from(request.len()).expect("short").to_le_bytes();
        stream.write_all(&[&length[..], request].concat()).await.expect("written");
        stream.flush().await.expect("written");
        let mut length = [0; 4];
        stream.read_exact(&mut length).await.expect("an answer");
        let mut frame = vec![0; u32::from_le_bytes(length) as usize];
        stream.read_exact(&mut frame).await.expect("a whole answer");
        frame
    }

    async fn heads(&self, package: PackageId) -> log::Answer {
        let request = log::encode_request(&log::Request::Heads { package });
        log::decode_answer(&self.ask(Protocol::Log, &request).await).expect("an answer")
    }

    async fn entries(&self, origin: Origin) -> log::Answer {
        let request = log::encode_request(&log::Request::Entries { origin, from: 0, limit: 9 });
        log::decode_answer(&self.ask(Protocol::Log, &request).await).expect("an answer")
    }

    async fn has(&self, root: ContentRoot) -> bool {
        let request = have::encode_request(&have::Request { root, follow: false });
        let answer = have::decode_answer(&self.ask(Protocol::Have, &request).await).expect("an answer");
        assert!(matches!(answer, have::Answer::All | have::Answer::Refused(Refusal::NotFound)), "{answer:?}");
        answer == have::Answer::All
    }

    async fn fetches(&self, root: ContentRoot) -> bool {
        let dir = tempfile::tempdir().expect("a directory");
        let (blobs, _) = Blobs::open(dir.path()).await.expect("it opens");
        let stream = self.net.open(self.node, Protocol::Blobs).await.expect("the protocol is spoken");
        let request = Request { root: BlobId::from(root), parts: Parts::All };
        let fetched = blobs.fetch(stream, &request, &FetchOptions::default(), &blobs.pins(), |_| {}).await;
        blobs.shutdown().await;
        fetched.is_ok()
    }

    async fn proposals(&self, package: PackageId) -> Option<Vec<propose::RecordBytes>> {
        let request = codec::encode(&propose::Request::List { package });
        match propose::decode_answer(&self.ask(Protocol::Propose, &request).await).expect("an answer") {
            propose::Answer::Records { records } => Some(records),
            propose::Answer::Refused(Refusal::NotFound) => None,
            answer => panic!("{answer:?}"),
        }
    }
}

/// What is asked for of a package.
#[derive(Clone, Copy)]
struct Asked {
    package: PackageId,
    root: ContentRoot,
    log: Origin,
    identity: Origin,
}

/// Publishes a package of two files; what others ask for.
fn published(home: &Home, name: &str, seed: u64) -> Asked {
    let dir = home.work().join(name);
    std::fs::create_dir_all(&dir).expect("made");
    let manifest = format!("[package]\nname = \"{name}\"\nversion = \"1.0.0\"\nkind = \"asset\"\n");
    for (file, bytes) in [("syncra.toml", manifest.into_bytes()), ("terrain.bin", noise(seed, 40_000))] {
        std::fs::write(dir.join(file), bytes).expect("written");
    }
    let told = home.json(["publish", name, "--yes"]);
    let package = word(&told, "package_id").parse().expect("an id");
    let id = home.json(["id"]);
    let device: DeviceKey = word(&id, "device").parse().expect("a key");
    Asked {
        package,
        root: word(&told, "content_root").parse().expect("an id"),
        log: Origin::package(package, device),
        identity: Origin::identity(word(&id, "identity").parse().expect("an id"), device),
    }
}

fn carry(from: &Home, to: &Home, package: PackageId) {
    let file = from.work().join("carried.syncpack");
    drop(std::fs::remove_file(&file));
    let file = file.to_str().expect("UTF-8");
    from.json(["export", &format!("syncra:{package}"), "-o", file]);
    to.json(["import", file]);
}

#[test]
fn of_who_is_blocked_nothing_is_told_or_served_also_what_came_before() {
    let (mallory, alice, bob) = (wired(), wired(), wired());
    let bad = published(&mallory, "world", 1);
    // The same files by two: nobody can tell whose are served.
    let shared = published(&mallory, "shared", 2);
    let same = published(&alice, "shared", 2);
    assert_eq!(shared.root, same.root);
    for (from, asked) in [(&mallory, &bad), (&mallory, &shared), (&alice, &same)] {
        carry(from, &bob, asked.package);
    }
    // Mallory has proposed something to Alice's package, and said something about it; so has somebody else.
    carry(&alice, &mallory, same.package);
    let carol = wired();
    carry(&alice, &carol, same.package);
    let bobs = bob.up(LOOPBACK);
    for (home, title) in [(&mallory, "Fins"), (&carol, "Wings")] {
        let node = home.up(LOOPBACK);
        home.json(["connect", address(&bobs)]);
        home.json(["checkout", &format!("syncra:{}", same.package), "mine"]);
        std::fs::write(home.work().join("mine/added"), title).expect("written");
        let told = home.json(["propose", "mine", "--title", title]);
        assert!(told["n_told"].as_u64() >= Some(1), "{told}");
        home.json(["review", &word(&told, "ref"), "--approve", title]);
        drop(node);
    }
    let mallory_id = word(&mallory.json(["id"]), "identity");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let asker = Asker::of(&bobs).await;
        let told = async |asked: Asked| {
            let heads = matches!(asker.heads(asked.package).await, log::Answer::Heads(_));
            let entries = matches!(asker.entries(asked.log).await, log::Answer::Entries(_));
            let identity = matches!(asker.entries(asked.identity).await, log::Answer::Entries(_));
            [heads, entries, identity]
        };
        let served = async |asked: Asked| [asker.has(asked.root).await, asker.fetches(asked.root).await];
        let n_proposals = async |asked: Asked| asker.proposals(asked.package).await.map(|records| records.len());
        for asked in [bad, shared, same] {
            assert_eq!((told(asked).await, served(asked).await), ([true; 3], [true; 2]));
        }
        assert_eq!(n_proposals(same).await, Some(4));
        assert_eq!(listed(&bob, same.package), ["Fins 1", "Wings 1"]);

        let who = mallory_id.clone();
        bob.json(["block", &who]);
        assert_eq!((told(bad).await, served(bad).await), ([false; 3], [false; 2]));
        assert_eq!((told(shared).await, served(shared).await), ([false; 3], [true; 2]), "for the sake of Alice's");
        assert_eq!((told(same).await, served(same).await), ([true; 3], [true; 2]));
        assert_eq!((n_proposals(same).await, n_proposals(bad).await), (Some(2), None), "what Carol said");
        assert_eq!(listed(&bob, same.package), ["Wings 1"]);

        bob.json(["block", &who, "--off"]);
        assert_eq!((told(bad).await, served(bad).await, n_proposals(same).await), ([true; 3], [true; 2], Some(4)));
    });
    drop(bobs);
}

/// Titles of what is proposed, and how much was said about each.
fn listed(home: &Home, package: PackageId) -> Vec<String> {
    let found = home.json(["review", &format!("syncra:{package}"), "--offline"]);
    let one = |found: &Value| format!("{} {}", word(found, "title"), found["reviews"].as_array().map_or(0, Vec::len));
    let mut titles: Vec<String> = found["proposals"].as_array().expect("a list").iter().map(one).collect();
    titles.sort();
    titles
}
