//! Two and three real nodes on loopback.

use std::path::Path;
use std::time::Duration;

use syncra_protocol::entry::RefClass;
use syncra_protocol::fold::{Pick, SelectError, Standing};
use syncra_protocol::id::PackageId;
use syncra_protocol::log::fork::ForkProof;
use syncra_protocol::name::RefName;
use syncra_protocol::sync::follow::Fault;

use super::*;
use crate::flow::follow::{self, Followed};
use crate::flow::publish::{self, Published};
use crate::flow::{adopt, release, unpack};
use crate::home::Home;
use crate::net::Multiaddr;
use crate::progress::Progress;
use crate::sync::Refreshed;
use crate::sync::fetch::{self, Want};

mod adopting;
mod broken;
mod damage;
mod dht;
mod following;
mod gossip;
mod siblings;
mod turns;

const PATIENCE: Duration = Duration::from_secs(30);

struct Host {
    node: Node,
    home: tempfile::TempDir,
}

async fn host() -> Host {
    start(tempfile::tempdir().unwrap()).await
}

async fn start(home: tempfile::TempDir) -> Host {
    let opened = Home::open(home.path()).unwrap();
    let seed = opened.device_secret().unwrap().seed();
    let parts = Arc::new(Parts::open(opened).await.unwrap());
    let mut config = NetConfig::new(seed);
    config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
    config.lan = None;
    config.incidents = parts.incidents.clone();
    Host { node: Node::start(parts, config).await.unwrap(), home }
}

impl Host {
    fn address(&self) -> Multiaddr {
        let net = &self.node.online().net;
        net::with_peer(net.listen_addrs().remove(0), &net.key()).unwrap()
    }

    async fn connect(&self, other: &Self) {
        self.node.online().net.dial(other.address()).await.unwrap();
    }

    async fn restart(self) -> Self {
        start(self.end().await).await
    }

    async fn end(self) -> tempfile::TempDir {
        self.node.shutdown().await;
        self.home
    }

    async fn learn(&self, from: &Self, package: PackageId) -> Refreshed {
        self.connect(from).await;
        self.node.online().sync.refresh(package, None).await.unwrap()
    }

    async fn publish(&self, dir: &Path) -> Published {
        let request = publish::Request { note: Some("as it was".to_owned()), ..publish::Request::of(dir.to_owned()) };
        let plan = publish::plan(self.node.parts(), request).await.unwrap();
        publish::publish(self.node.parts(), plan, &Progress::unwatched()).await.unwrap()
    }

    async fn fetch(&self, published: &Published, older: &[&Published]) -> Result<fetch::Cost, fetch::FetchError> {
        let parts = self.node.parts();
        self.node.online().sync.refresh(published.package, None).await.unwrap();
        let history = parts.histories.package(published.package).unwrap().expect("learnt from a peer");
        let stable = history.state.select(&Pick::Ref(RefClass::Channel, RefName::stable())).unwrap();
        assert_eq!(stable.release, published.release_id);
        let entry = &stable.published.release;
        let want = Want {
            root: entry.content_root,
            declared: Some(release::declared(entry)),
            beside: [entry.manifest].into_iter().chain(entry.note).collect(),
            older: older.iter().map(|old| old.release.content_root).collect(),
            only: None,
        };
        let pins = parts.blobs().await.unwrap().pins();
        let progress = Progress::unwatched();
        let terms =
            fetch::Terms { pins: &pins, patience: PATIENCE, progress: &progress, landing: &fetch::Landing::unheard() };
        fetch::fetch(parts, &self.node.online().net, &want, terms).await
    }

    async fn files(&self, published: &Published) -> Vec<(String, Vec<u8>)> {
        let blobs = self.node.parts().blobs().await.unwrap();
        let index = Arc::new(release::verified_content(blobs, &published.release).await.unwrap());
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("out");
        unpack::unpack(blobs, fetch::Landed::all(&index), &target, unpack::Durability::Cached, |_| {}).await.unwrap();
        let read = |path: &str| (path.to_owned(), std::fs::read(target.join(path)).unwrap());
        index.files().iter().map(|file| read(file.entry.path.as_str())).collect()
    }
}

fn noise(n: usize, seed: u32) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[1]
    };
    (0..n).map(|_| next()).collect()
}

fn package(version: &str, large: &[u8]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let manifest = format!("[package]\nname = \"isle\"\nversion = \"{version}\"\nkind = \"world\"\n");
    for (name, bytes) in [("syncra.toml", manifest.as_bytes()), ("world.syn", b"world isle {}"), ("mesh.bin", large)] {
        std::fs::write(dir.path().join(name), bytes).unwrap();
    }
    dir
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_finds_fetches_and_updates_with_few_bytes_and_serves_a_third() {
    let (alice, bob, carol) = (host().await, host().await, host().await);
    let mut large = noise(6 << 20, 7);
    let first = alice.publish(package("1.0.0", &large).path()).await;
    bob.connect(&alice).await;
    let cost = bob.fetch(&first, &[]).await.unwrap();
    assert!(cost.fetched_bytes > large.len() as u64);
    assert_eq!(bob.files(&first).await, alice.files(&first).await);

    large.splice(3_000_000..3_000_000, noise(1_000, 9));
    let second = alice.publish(package("1.1.0", &large).path()).await;
    let update = bob.fetch(&second, &[&first]).await.unwrap();
    assert!(update.fetched_bytes < 200_000, "{update:?}");
    assert_eq!(bob.files(&second).await, alice.files(&second).await);

    alice.node.shutdown().await;
    carol.connect(&bob).await;
    carol.fetch(&second, &[]).await.unwrap();
    assert_eq!(carol.files(&second).await, bob.files(&second).await);
    for host in [bob, carol] {
        host.node.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_notice_alone_brings_news_of_a_known_package() {
    let (alice, bob) = (host().await, host().await);
    let first = alice.publish(package("1.0.0", b"small").path()).await;
    bob.connect(&alice).await;
    let followed = Followed { package: first.package, channel: None };
    assert!(follow::follow(bob.node.parts(), &followed).await.unwrap());
    bob.node.online().sync.refresh(first.package, None).await.unwrap();
    let mut changes = bob.node.parts().histories.changes();
    let second = alice.publish(package("1.1.0", b"other").path()).await;
    let heard = async {
        loop {
            let change = changes.recv().await.unwrap();
            if change.head.checkpoint() == &second.checkpoint {
                return;
            }
        }
    };
    // Far below the interval at which heads are asked for: only a pushed note can bring it.
    tokio::time::timeout(Duration::from_secs(60), heard).await.unwrap();
    for host in [alice, bob] {
        host.node.shutdown().await;
    }
}

fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_forked_log_the_common_part_counts_also_after_a_restart() {
    let first = host().await;
    let common = first.publish(package("1.0.0", b"common").path()).await;
    let home = first.end().await;
    let copied = tempfile::tempdir().unwrap();
    copy_dir(home.path(), copied.path());

    let (one, bob) = (start(home).await, host().await);
    let contested = one.publish(package("1.1.0", b"one").path()).await;
    bob.learn(&one, common.package).await;
    let before = bob.node.parts().histories.package(common.package).unwrap().unwrap();
    assert_eq!(before.state.releases[&contested.release_id].standing, Standing::Settled, "nobody knows of a fork yet");
    one.end().await;

    let other = start(copied).await;
    assert!(adopt::is_wanted(other.node.parts()).unwrap(), "a copy is noticed");
    adopt::adopt(other.node.parts(), None, &Progress::unwatched()).await.unwrap();
    other.publish(package("1.1.0", b"other").path()).await;
    let heard = bob.learn(&other, common.package).await;
    assert!(heard.faults.iter().any(|(_, fault)| matches!(fault, Fault::Fork(_))), "{:?}", heard.faults);
    other.end().await;

    let check = |bob: &Host| {
        let history = bob.node.parts().histories.package(common.package).unwrap().unwrap();
        let (settled, forked) = (Pick::Release(common.release_id), Pick::Release(contested.release_id));
        assert_eq!(history.state.select(&settled).unwrap().release, common.release_id);
        assert!(matches!(history.state.select(&forked), Err(SelectError::Forked { .. })), "{:?}", history.state.forked);
        assert_eq!(history.evidence.forks().map(ForkProof::origin).count(), 1);
    };
    check(&bob);
    let bob = bob.restart().await;
    check(&bob);
    bob.end().await;
}
