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
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::flow::Parts;
use crate::index::{Batch, IndexError, Table, VALUE_BYTES};
use crate::net::{Multiaddr, Net, NetEvent, with_peer};

/// Peers that are remembered; those not met for longest are forgotten at a start.
const REMEMBERED: usize = 256;
/// Addresses remembered of one peer: both transports on both IP versions, twice. Keeps a record within a value of the index.
const ADDRESSES: usize = 8;
/// Connections below which peers met before are dialled.
const ENOUGH_PEERS: usize = 4;
/// Peers met before that one round dials.
const DIALLED: usize = 16;
/// Dials at the same time: a round on a dead network must not fill the machine's table of half-open connections.
const AT_ONCE: usize = 4;
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

/// Works until `stop`. `bootstrap` are the nodes that this one always wants to be connected to.
pub(crate) async fn run(parts: Arc<Parts>, net: Net, bootstrap: Vec<Multiaddr>, stop: CancellationToken) {
    // Beside each other: a round of dials into a network that swallows them takes minutes, and who is met in the
    // meantime is worth remembering.
    tokio::select! {
        () = stop.cancelled() => {}
        () = remember_all(&parts, net.events()) => {}
        () = dial_again(&parts, &net, &bootstrap) => {}
    }
}

/// Remembers everybody who says where they are, until the network ends.
async fn remember_all(parts: &Parts, mut events: Receiver<NetEvent>) {
    loop {
        match events.recv().await {
            Ok(NetEvent::Addresses { peer, addresses }) => remember(parts, &peer, &addresses),
            // Whoever was missed is remembered the next time.
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}

/// Dials in rounds, until the network ends.
async fn dial_again(parts: &Parts, net: &Net, bootstrap: &[Multiaddr]) {
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
                next = Instant::now() + jittered(pause);
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// Dials every bootstrap node that is not connected and, while there are few peers, those met before.
async fn round(parts: &Parts, net: &Net, bootstrap: &[Multiaddr], reached: &mut HashMap<Multiaddr, DeviceKey>) {
    let connected = connected(net).await;
    let is_there = |address: &Multiaddr| reached.get(address).is_some_and(|key| connected.contains(key));
    let missing: Vec<Multiaddr> = bootstrap.iter().filter(|address| !is_there(address)).cloned().collect();
    let dials = missing.into_iter().map(async |address| match net.dial(address.clone()).await {
        Ok(key) => Some((address, key)),
        Err(error) => {
            // Where peers are stays out of a log that people show around.
            tracing::info!("a bootstrap node was not reached");
            tracing::debug!(%address, %error, "not reached");
            None
        }
    });
    let found: Vec<_> = stream::iter(dials).buffer_unordered(AT_ONCE).filter_map(std::future::ready).collect().await;
    reached.extend(found);
    let connected = self::connected(net).await;
    if connected.len() >= ENOUGH_PEERS {
        return;
    }
    let absent = met(parts).into_iter().filter(|(key, _)| !connected.contains(key)).take(DIALLED);
    let dials = absent.map(|(key, addresses)| dial_known(net, key, addresses));
    stream::iter(dials).buffer_unordered(AT_ONCE).for_each(std::future::ready).await;
}

async fn connected(net: &Net) -> BTreeSet<DeviceKey> {
    net.peers().await.unwrap_or_default().into_iter().map(|peer| peer.key).collect()
}

async fn dial_known(net: &Net, key: DeviceKey, addresses: Vec<Multiaddr>) {
    for address in addresses {
        let Some(address) = with_peer(address, &key) else { return };
        match net.dial(address.clone()).await {
            Ok(_) => return,
            Err(error) => tracing::debug!(peer = key.fmt_short(), %error, "a peer met before was not reached"),
        }
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
    let addresses: Vec<String> = addresses.iter().take(ADDRESSES).map(ToString::to_string).collect();
    if addresses.is_empty() {
        return;
    }
    let met = Met { at: clock::now(), addresses };
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
