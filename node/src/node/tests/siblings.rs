//! Devices of one identity that tell each other of packages: many at once, and one that is a thief's.

use std::collections::BTreeSet;
use std::sync::Mutex;

use syncra_protocol::bounded::Blob;
use syncra_protocol::entry::{AddDevice, Body, DeviceRole, Entry, PackageGenesis};
use syncra_protocol::id::EntryId;
use syncra_protocol::key::DeviceSecret;
use syncra_protocol::log::Log;
use syncra_protocol::log::checkpoint::Head;
use syncra_protocol::manifest::PackageKind;
use syncra_protocol::message::Refusal;
use syncra_protocol::message::log::{Answer, Request, decode_request};
use syncra_protocol::origin::Origin;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::*;
use crate::flow::{devices, own};
use crate::net::frame::{read_frame, write_frame};
use crate::net::{Inbound, Inbounds};

/// A test that hangs fails here.
const HUNG: Duration = Duration::from_secs(120);

async fn within<T>(test: impl Future<Output = T>) -> T {
    tokio::time::timeout(HUNG, test).await.expect("does not hang")
}

/// Makes `joiner` a device of `parts`' identity.
async fn pair(parts: &Parts, joiner: &Parts, label: &str) {
    let device =
        AddDevice { device: joiner.device, role: DeviceRole::Publisher, label: RefName::parse(label).unwrap() };
    devices::add(parts, device, false).await.unwrap();
    devices::join(joiner, parts.identity(), &devices::logs(parts).unwrap(), false).await.unwrap();
    let joined = Origin::identity(parts.identity(), joiner.device);
    let (log, head) = joiner.histories.log(&joined).unwrap().unwrap();
    let entries = joiner.histories.entries(&joined, 0, log.size()).unwrap();
    parts.histories.commit(0, &entries.iter().map(|entry| entry.to_vec()).collect::<Vec<_>>(), &head).await.unwrap();
}

/// Begins a package that the identity has no name for.
async fn begin(parts: &Parts, n: u8) -> PackageId {
    let genesis = Body::PackageGenesis(PackageGenesis {
        kind: PackageKind::Asset,
        owners: vec![parts.identity()],
        owner_threshold: 1,
        creator: parts.identity(),
        log_key: parts.device,
        nonce: [n; 16],
    });
    let bytes = Entry { seen: Vec::new(), body: genesis.clone() }.encode().unwrap();
    let package = PackageId::from_bytes(*EntryId::of(&bytes).as_bytes());
    let origin = Origin::package(package, parts.device);
    parts.histories.append(origin, &[], |draft| draft.push(genesis)).await.unwrap();
    package
}

/// Waits until a device knows these packages of its siblings.
async fn knows(host: &Host, packages: &BTreeSet<PackageId>) {
    let parts = host.node.parts();
    let mut changes = parts.histories.changes();
    while !packages.is_subset(&own::all_of_siblings(parts)) {
        // Who is told of so much that it misses some looks again.
        let _ = changes.recv().await;
    }
}

/// A peer of this test's own making: it answers log streams by `answer` and nothing else.
struct Peer {
    net: Net,
    answering: JoinSet<()>,
}

impl Peer {
    async fn start<F>(seed: [u8; 32], answer: impl Fn(Inbound) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut config = NetConfig::new(seed);
        (config.listen, config.lan) = (vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()], None);
        let (net, Inbounds { mut log, .. }) = Net::start(config).await.unwrap();
        let mut answering = JoinSet::new();
        answering.spawn(async move {
            let mut streams = JoinSet::new();
            while let Some(inbound) = log.recv().await {
                streams.spawn(answer(inbound));
            }
        });
        Self { net, answering }
    }

    async fn end(mut self) {
        self.answering.shutdown().await;
        let _ = self.net.shutdown().await;
    }
}

async fn refuse(mut inbound: Inbound) {
    let _ = write_frame(&mut inbound.stream, &Answer::Refused(Refusal::NotFound), PATIENCE).await;
}

/// One package more is one watch more only while there are few: whoever is connected with a device pays for none of its sibling's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_packages_of_a_sibling_cost_others_few_watches() {
    /// As many as a watch passes on without waiting.
    const PACKAGES: u8 = 120;
    within(Box::pin(async {
        let (desk, laptop) = (host().await, host().await);
        pair(desk.node.parts(), laptop.node.parts(), "laptop").await;
        let mut packages = BTreeSet::new();
        for n in 0..PACKAGES {
            packages.insert(begin(desk.node.parts(), n).await);
        }
        // What is watched, and how many watches there were.
        let (watched, mut watching) = watch::channel((Vec::new(), 0));
        let of = laptop.node.online().net.key();
        let neighbour = Peer::start([77; 32], move |mut inbound| {
            let watched = watched.clone();
            async move {
                // The desk may find its way here too.
                if inbound.peer != of {
                    return refuse(inbound).await;
                }
                match read_frame(&mut inbound.stream, PATIENCE, decode_request).await {
                    Ok(Some(Request::Watch { packages })) => {
                        watched.send_modify(|(newest, n)| (*newest, *n) = (packages, *n + 1));
                        let watching = Answer::Watching { n_packages: 0 };
                        let _ = write_frame(&mut inbound.stream, &watching, PATIENCE).await;
                        // Until the other side ends it.
                        drop(read_frame(&mut inbound.stream, HUNG, decode_request).await);
                    }
                    _ => refuse(inbound).await,
                }
            }
        })
        .await;
        neighbour.net.dial(laptop.address()).await.unwrap();
        laptop.connect(&desk).await;
        knows(&laptop, &packages).await;
        // None is forgotten over that.
        let all: Vec<PackageId> = packages.iter().copied().collect();
        let n_watches = watching.wait_for(|(newest, _)| *newest == all).await.unwrap().1;
        assert!(n_watches <= usize::from(PACKAGES) / 6, "{n_watches} watches for {PACKAGES} packages");

        // What nobody asked for is counted, until somebody does.
        let sync = &laptop.node.online().sync;
        assert!(packages.iter().all(|package| sync.is_unasked(package)));
        let first = all[0];
        assert!(follow::follow(laptop.node.parts(), &Followed { package: first, channel: None }).await.unwrap());
        let more = begin(desk.node.parts(), PACKAGES).await;
        watching.wait_for(|(newest, _)| newest.contains(&more)).await.unwrap();
        assert!(!sync.is_unasked(&first), "somebody follows it");
        assert!(sync.is_unasked(&more), "nobody has asked for it");
        neighbour.end().await;
        for host in [desk, laptop] {
            host.end().await;
        }
    }))
    .await;
}

/// What a thief made up and is asked for.
#[derive(Default)]
struct Asked {
    now: usize,
    most: usize,
    all: BTreeSet<PackageId>,
}

/// A stolen device may name any number of packages and never answer for one of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thief_among_the_siblings_is_asked_for_little_at_a_time_and_holds_up_nobody() {
    const MADE_UP: u8 = 100;
    const PACKAGES: u8 = 40;
    within(Box::pin(async {
        let (desk, laptop, stolen) = (host().await, host().await, host().await);
        for (sibling, label) in [(&laptop, "laptop"), (&stolen, "phone")] {
            pair(desk.node.parts(), sibling.node.parts(), label).await;
        }
        for log in devices::logs(desk.node.parts()).unwrap() {
            laptop.node.parts().histories.commit(0, &log.entries, &log.head).await.unwrap();
        }
        let home = stolen.end().await;
        let seed = Home::open(home.path()).unwrap().device_secret().unwrap().seed();
        let secret = DeviceSecret::from_seed(&seed);
        let made_up: BTreeSet<PackageId> = (0..MADE_UP).map(|n| PackageId::from_bytes([n; 32])).collect();
        let notes: Vec<(PackageId, Vec<u8>)> =
            made_up.iter().map(|package| (*package, note(&secret, *package))).collect();
        let (asked, open) = (Arc::new(Mutex::new(Asked::default())), CancellationToken::new());
        let (heard, mut hearing) = watch::channel(0);
        let of = laptop.node.online().net.key();
        let thief = Peer::start(seed, {
            let (asked, open, notes, made_up) = (Arc::clone(&asked), open.clone(), Arc::new(notes), made_up.clone());
            move |mut inbound| {
                let (asked, open, notes, heard) = (Arc::clone(&asked), open.clone(), Arc::clone(&notes), heard.clone());
                let made_up = made_up.clone();
                async move {
                    if inbound.peer != of {
                        return refuse(inbound).await;
                    }
                    match read_frame(&mut inbound.stream, PATIENCE, decode_request).await {
                        Ok(Some(Request::Watch { .. })) => {
                            let watching = Answer::Watching { n_packages: 0 };
                            let _ = write_frame(&mut inbound.stream, &watching, PATIENCE).await;
                            for (package, note) in notes.iter() {
                                let notice = Answer::Notice { package: *package, note: Blob(note.clone()) };
                                let _ = write_frame(&mut inbound.stream, &notice, HUNG).await;
                            }
                            drop(read_frame(&mut inbound.stream, HUNG, decode_request).await);
                        }
                        Ok(Some(Request::Heads { package })) if made_up.contains(&package) => {
                            {
                                let mut asked = asked.lock().unwrap();
                                asked.now += 1;
                                asked.most = asked.most.max(asked.now);
                                asked.all.insert(package);
                                let _ = heard.send(asked.all.len());
                            }
                            // As long as the other side waits, or this test wants.
                            tokio::select! {
                                () = open.cancelled() => {}
                                _ = read_frame(&mut inbound.stream, HUNG, decode_request) => {}
                            }
                            asked.lock().unwrap().now -= 1;
                            refuse(inbound).await;
                        }
                        _ => refuse(inbound).await,
                    }
                }
            }
        })
        .await;
        thief.net.dial(laptop.address()).await.unwrap();
        hearing.wait_for(|n_asked| *n_asked >= 4).await.unwrap();
        let mut packages = BTreeSet::new();
        for n in 0..PACKAGES {
            packages.insert(begin(desk.node.parts(), n).await);
        }
        laptop.connect(&desk).await;
        knows(&laptop, &packages).await;
        let most = asked.lock().unwrap().most;
        assert!(most <= 4, "{most} asked for at a time");

        // Each is asked for in its turn, and none of them is taken for a package.
        open.cancel();
        hearing.wait_for(|n_asked| *n_asked == usize::from(MADE_UP)).await.unwrap();
        assert_eq!(asked.lock().unwrap().most, most);
        assert_eq!(own::all_of_siblings(laptop.node.parts()), packages);
        thief.end().await;
        for host in [desk, laptop] {
            host.end().await;
        }
    }))
    .await;
}

/// A head of a package that does not exist.
fn note(secret: &DeviceSecret, package: PackageId) -> Vec<u8> {
    let mut log = Log::new(Origin::package(package, secret.public()));
    log.append(b"anything").unwrap();
    Head::sign(secret, log.checkpoint()).unwrap().note().to_vec()
}
