//! A node on the network: the parts of a home, a swarm, and the tasks between them. Started in one order, ended in the other.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Profile};
use crate::descriptors;
use crate::flow::Parts;
use crate::home::KeyError;
use crate::net::{self, LanConfig, Multiaddr, NatConfig, Net, NetConfig, Part, Reach};
use crate::redial;
use crate::serve::{self, Served};
use crate::sync::{self, Sync};

mod announce;
mod follows;
mod witness;

/// What flows need of the network.
#[derive(Debug, Clone)]
pub struct Online {
    /// Connections and streams.
    pub net: Net,
    /// News of packages.
    pub sync: Sync,
    /// Whether neighbours on the local links are looked for.
    pub looks_around: bool,
    /// True while bootstrap nodes and peers met before are dialled for the first time.
    begins: watch::Receiver<bool>,
}

impl Online {
    /// Whether bootstrap nodes and peers met before are dialled for the first time.
    #[must_use]
    pub fn begins(&self) -> bool {
        *self.begins.borrow()
    }

    /// Waits until each of them was dialled once.
    pub async fn begun(&self) {
        // An error means that the node has ended: there is nothing to wait for.
        drop(self.begins.clone().wait_for(|begins| !begins).await);
    }
}

/// The UDP port on which neighbours are looked for, instead of 5353: a LAN of its own for tests and labs. 0: none.
pub const LAN_PORT_VARIABLE: &str = "SYNCRA_LAN_PORT";

/// How the settings of a home put it on the network.
///
/// # Errors
/// [`KeyError`] when the device key cannot be read.
pub fn net_config(parts: &Parts) -> Result<NetConfig, KeyError> {
    let mut config = NetConfig::new(parts.home().device_secret()?.seed());
    config.listen.clone_from(&parts.config.listen);
    config.dht = if parts.config.dht { Part::Serves } else { Part::None };
    if parts.config.profile == Profile::Lan {
        config.reach = Reach::LocalLinks;
    }
    config.connections = parts.config.limits.peers;
    config.lan = lan_config();
    config.nat = nat_config(&parts.config, parts.config.profile);
    config.incidents = parts.incidents.clone();
    Ok(config)
}

/// What a node of this profile that stays does to be reached from beyond its own network.
pub(crate) fn nat_config(settings: &Config, profile: Profile) -> NatConfig {
    if profile == Profile::Lan {
        return NatConfig::default();
    }
    // Looking for a router is multicast on the local links: whoever has a LAN of its own for a test does not do that.
    let is_at_home = lan_config() == Some(LanConfig::default());
    let maps_ports = is_at_home && settings.upnp.unwrap_or(profile == Profile::Desktop);
    NatConfig { probes: true, uses_relays: true, is_relay: settings.relay, maps_ports }
}

/// How neighbours are looked for; `None`: not at all.
pub(crate) fn lan_config() -> Option<LanConfig> {
    match std::env::var(LAN_PORT_VARIABLE).ok().and_then(|port| port.parse().ok()) {
        Some(0) => None,
        Some(port) => Some(LanConfig { port, ..LanConfig::default() }),
        None => Some(LanConfig::default()),
    }
}

/// A running node.
#[derive(Debug)]
pub struct Node {
    parts: Arc<Parts>,
    online: Online,
    begins: watch::Sender<bool>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Node {
    /// Brings `parts` online.
    ///
    /// # Errors
    /// [`net::StartError`]; nothing runs then, and the parts work offline as before.
    pub async fn start(parts: Arc<Parts>, config: NetConfig) -> Result<Self, net::StartError> {
        descriptors::raise();
        let looks_around = config.lan.is_some();
        let (net, inbounds) = Net::start(config).await?;
        let stop = CancellationToken::new();
        let served = Arc::new(Served::new(&parts.histories));
        let mut tasks = JoinSet::new();
        let sync = sync::start(Arc::clone(&parts), net.clone(), stop.clone(), &mut tasks);
        tasks.spawn(serve::serve(Arc::clone(&parts), served, inbounds, stop.clone()));
        let (begins, dialling) = watch::channel(false);
        let online = Online { net, sync, looks_around, begins: dialling };
        parts.set_online(online.clone());
        let (of_follows, follower, token) = (Arc::clone(&parts), online.clone(), stop.clone());
        let begin = move || follows::keep_up(Arc::clone(&of_follows), follower.clone(), token.clone());
        tasks.spawn(parts.incidents.clone().keep_running("follows", stop.clone(), begin));
        let (of_logs, token) = (Arc::clone(&parts), stop.clone());
        let begin = move || witness::keep_witnessing(Arc::clone(&of_logs), token.clone());
        tasks.spawn(parts.incidents.clone().keep_running("witness", stop.clone(), begin));
        Ok(Self { parts, online, begins, stop, tasks })
    }

    /// From now on dials `bootstrap`, and peers met before, whenever they are not connected.
    pub fn dial_again(&mut self, bootstrap: Vec<Multiaddr>) {
        let (parts, net, stop) = (Arc::clone(&self.parts), self.online.net.clone(), self.stop.clone());
        self.begins.send_replace(true);
        let (begins, token) = (self.begins.clone(), stop.clone());
        let begin =
            move || redial::run(Arc::clone(&parts), net.clone(), bootstrap.clone(), begins.clone(), token.clone());
        self.tasks.spawn(self.parts.incidents.clone().keep_running("redial", stop, begin));
    }

    /// The same, and tells the distributed hash table what is provided here. Only for a node that stays.
    pub fn keep_in_touch(&mut self, bootstrap: Vec<Multiaddr>) {
        self.dial_again(bootstrap);
        let (parts, net, stop) = (Arc::clone(&self.parts), self.online.net.clone(), self.stop.clone());
        let token = stop.clone();
        let begin = move || announce::keep_announced(Arc::clone(&parts), net.clone(), token.clone());
        self.tasks.spawn(self.parts.incidents.clone().keep_running("announce", stop, begin));
    }

    /// Connections and news.
    #[must_use]
    pub const fn online(&self) -> &Online {
        &self.online
    }

    /// The parts.
    #[must_use]
    pub const fn parts(&self) -> &Arc<Parts> {
        &self.parts
    }

    /// Ends the tasks, then the network, then closes the parts.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
        if let Err(overrun) = self.online.net.shutdown().await {
            tracing::warn!(%overrun, "connections were left open");
        }
        self.parts.close().await;
    }
}

#[cfg(test)]
mod tests;
