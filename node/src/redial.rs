//! Staying in touch: the nodes that the settings name, and peers met before, are dialled until they answer, and again
//! when their connection is lost, when the machine wakes up or changes its network.
//!
//! Peers met before are hearsay that a handshake proved once. They lie in the index: losing them loses nothing that the
//! local network, a link or a bootstrap node does not bring back.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use serde::{Deserialize, Serialize};
use syncra_protocol::key::DeviceKey;
use syncra_protocol::{Timestamp, codec};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::flow::Parts;
use crate::index::{Batch, IndexError, Table, VALUE_BYTES};
use crate::net::{Direction, Multiaddr, Net, NetEvent, peer_of, without_peer};

/// Peers that are remembered; those not met for longest are forgotten at a start.
const REMEMBERED: usize = 256;
/// Addresses remembered of one peer: both transports on both IP versions, twice. Keeps a record within a value of the index.
const ADDRESSES: usize = 8;
/// Connections below which peers met before are dialled.
const ENOUGH_PEERS: usize = 4;
/// Peers met before that one round dials.
const DIALLED: usize = 16;
/// Bootstrap nodes dialled at the same time.
const BOOTSTRAP_AT_ONCE: usize = 8;
/// Before the second round; each later one waits twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// Between two rounds at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// A peer as it was last met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Met {
    at: Timestamp,
    /// Newest first.
    addresses: Vec<String>,
}

/// Works until `stop`. `bootstrap` are the nodes that this one always wants to be connected to. `begins` is true until
/// everybody was dialled once.
pub(crate) async fn run(
    parts: Arc<Parts>,
    net: Net,
    bootstrap: Vec<Multiaddr>,
    begins: watch::Sender<bool>,
    stop: CancellationToken,
) {
    let mut events = net.events();
    // Beside each other: a round of dials into a network that swallows them takes minutes, and who is met in the
    // meantime is worth remembering.
    tokio::select! {
        () = stop.cancelled() => {}
        () = remember_all(&parts, &net, &mut events) => {}
        () = dial_again(&parts, &net, &bootstrap, &begins) => {}
    }
    // A node of a single command ends soon after it has met somebody, and the next one should find them again.
    while let Ok(event) = events.try_recv() {
        note(&parts, &net, event).await;
    }
}

/// Remembers everybody who is met, until the network ends.
async fn remember_all(parts: &Parts, net: &Net, events: &mut Receiver<NetEvent>) {
    loop {
        match events.recv().await {
            Ok(event) => note(parts, net, event).await,
            // Whoever was missed is remembered the next time.
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}

/// Dials in rounds, until the network ends.
async fn dial_again(parts: &Parts, net: &Net, bootstrap: &[Multiaddr], begins: &watch::Sender<bool>) {
    let mut events = net.events();
    if let Err(error) = forget_surplus(parts) {
        tracing::warn!(%error, "peers met before are not known");
    }
    let mut pause = FIRST_PAUSE;
    let mut reached = HashMap::new();
    let mut next = Instant::now();
    loop {
        tokio::select! {
            biased;
            event = events.recv() => match event {
                // Somebody was lost, or the machine has another network: soon, and then patiently again.
                Ok(NetEvent::Disconnected { .. } | NetEvent::NewListenAddr { .. } | NetEvent::Restarted)
                | Err(RecvError::Lagged(_)) => {
                    pause = FIRST_PAUSE;
                    next = next.min(Instant::now() + pause);
                }
                Ok(_) => {}
                Err(RecvError::Closed) => return,
            },
            () = sleep_until(next) => {
                round(parts, net, bootstrap, &mut reached).await;
                begins.send_replace(false);
                next = Instant::now() + jittered(pause);
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// Remembers where a peer was reached, and then where it says that it can be.
async fn note(parts: &Parts, net: &Net, event: NetEvent) {
    match event {
        NetEvent::Addresses { peer, addresses } => remember(parts, &peer, &addresses),
        NetEvent::Connected { peer } => {
            let peers = net.peers().await.unwrap_or_default();
            let Some(info) = peers.into_iter().find(|info| info.key == peer) else { return };
            if info.direction == Direction::Outbound {
                let mut addresses: Vec<Multiaddr> = info.addresses.iter().map(without_peer).collect();
                let before = met(parts).into_iter().find(|(key, _)| *key == peer).map(|(_, addresses)| addresses);
                addresses.extend(before.unwrap_or_default());
                remember(parts, &peer, &addresses);
            }
        }
        _ => {}
    }
}

/// Dials every bootstrap node that is not connected and, at the same time, while there are few peers, those met before:
/// whoever is dead costs the others nothing.
async fn round(parts: &Parts, net: &Net, bootstrap: &[Multiaddr], reached: &mut HashMap<Multiaddr, DeviceKey>) {
    let connected = connected(net).await;
    let known = |address: &Multiaddr| peer_of(address).or_else(|| reached.get(address).copied());
    let is_there = |address: &&Multiaddr| known(address).is_some_and(|key| connected.contains(&key));
    let missing: Vec<Multiaddr> = bootstrap.iter().filter(|address| !is_there(address)).cloned().collect();
    let is_lonely = connected.len() < ENOUGH_PEERS;
    let before = if is_lonely { met(parts) } else { Vec::new() };
    let absent: Vec<_> = before.into_iter().filter(|(key, _)| !connected.contains(key)).take(DIALLED).collect();
    let dials = missing.into_iter().map(|address| dial_bootstrap(net, address));
    let found = stream::iter(dials).buffer_unordered(BOOTSTRAP_AT_ONCE).filter_map(std::future::ready);
    let again = absent.into_iter().map(|(key, addresses)| dial_known(net, key, addresses));
    let again = stream::iter(again).buffer_unordered(DIALLED).for_each(std::future::ready);
    let (found, ()) = futures::join!(found.collect::<Vec<_>>(), again);
    reached.extend(found);
}

async fn dial_bootstrap(net: &Net, address: Multiaddr) -> Option<(Multiaddr, DeviceKey)> {
    match net.dial(address.clone()).await {
        Ok(key) => Some((address, key)),
        Err(error) => {
            // Where peers are stays out of a log that people show around.
            tracing::info!("a bootstrap node was not reached");
            tracing::debug!(%address, %error, "not reached");
            None
        }
    }
}

async fn connected(net: &Net) -> BTreeSet<DeviceKey> {
    net.peers().await.unwrap_or_default().into_iter().map(|peer| peer.key).collect()
}

/// Dials a peer at its addresses.
async fn dial_known(net: &Net, key: DeviceKey, addresses: Vec<Multiaddr>) {
    if let Err(error) = net.reach(key, addresses).await {
        tracing::debug!(peer = key.fmt_short(), %error, "a peer met before was not reached");
    }
}

/// Peers met before and where they were, the one met last first.
pub(crate) fn met(parts: &Parts) -> Vec<(DeviceKey, Vec<Multiaddr>)> {
    let mut all = match records(parts) {
        Ok(all) => all,
        Err(error) => {
            tracing::warn!(%error, "peers met before are not known");
            return Vec::new();
        }
    };
    all.sort_by_key(|(key, met)| (std::cmp::Reverse(met.at), *key));
    let addresses = |met: Met| met.addresses.iter().filter_map(|text| text.parse().ok()).collect();
    all.into_iter().map(|(key, met)| (key, addresses(met))).collect()
}

fn records(parts: &Parts) -> Result<Vec<(DeviceKey, Met)>, IndexError> {
    let stored = parts.index.scan(Table::Peers, &[], &[], usize::MAX)?;
    let read = |(key, value): (Vec<u8>, Vec<u8>)| {
        let key = DeviceKey::from_bytes(key.try_into().ok()?);
        Some((key, codec::decode(&value, VALUE_BYTES).ok()?))
    };
    Ok(stored.into_iter().filter_map(read).collect())
}

fn remember(parts: &Parts, peer: &DeviceKey, addresses: &[Multiaddr]) {
    let mut met = Met { at: clock::now(), addresses: Vec::new() };
    for text in addresses.iter().map(ToString::to_string) {
        if met.addresses.len() < ADDRESSES && !met.addresses.contains(&text) {
            met.addresses.push(text);
        }
    }
    if met.addresses.is_empty() {
        return;
    }
    if let Err(error) = parts.index.put(Table::Peers, peer.as_bytes(), &codec::encode(&met)) {
        tracing::warn!(%error, "a peer is not remembered");
    }
}

fn forget_surplus(parts: &Parts) -> Result<(), IndexError> {
    let mut all = records(parts)?;
    all.sort_by_key(|(key, met)| (std::cmp::Reverse(met.at), *key));
    let mut batch = Batch::new();
    for (key, _) in all.iter().skip(REMEMBERED) {
        batch.delete(Table::Peers, key.as_bytes())?;
    }
    parts.index.write(batch)
}

/// Up to a quarter more, so that those who lost one node do not all come back to it at once.
fn jittered(pause: Duration) -> Duration {
    let [byte] = clock::random::<1>();
    pause + pause * u32::from(byte) / 1_024
}

#[cfg(test)]
mod tests;
