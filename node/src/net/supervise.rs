//! Starts the network task, and starts it again when something in it has panicked.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::{Boxed, ListenerId};
use libp2p::multiaddr::Protocol;
use libp2p::swarm::{self, Executor, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Swarm, identity, relay};
use syncra_protocol::key::DeviceKey;
use syncra_protocol::sync::score::Scores;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::address::{ip, keypair};
use super::behaviour::Behaviour;
use super::book::Book;
use super::dht::{Dht, Records};
use super::gate::{Gate, Lobby};
use super::gossip::Gossip;
use super::lan::{self, Lan};
use super::nat::Nat;
use super::streams::{Doors, Inbounds};
use super::swarm::{Driver, End, Ports};
use super::{
    CLOSE, Net, NetConfig, NetEvent, Part, Reach, Reached, Routing, StartError, address, limits, tls, transport,
};
use crate::clock;
use crate::incident::Incidents;

/// What it takes to build a swarm, again and again.
struct Blueprint {
    keypair: identity::Keypair,
    config: NetConfig,
    doors: Arc<Doors>,
    records: Records,
    panics: mpsc::Sender<()>,
    incidents: Incidents,
}

/// See [`Net::start`].
pub(super) async fn start(config: NetConfig) -> Result<(Net, Inbounds), StartError> {
    tokio::task::spawn_blocking(tls::warm_up);
    let keypair = keypair(*config.seed);
    let key = address::device_key(&keypair.public().to_peer_id()).expect("our key is an Ed25519 key");
    let (doors, inbounds) = Doors::new(config.inbound_queue);
    let (panics, panics_in) = mpsc::channel(1);
    let (commands, commands_in) = mpsc::channel(limits::MAILBOX);
    let (sighted, sightings) = mpsc::channel(limits::NEIGHBOURS);
    let (listening, listening_out) = watch::channel(Vec::new());
    let events = broadcast::Sender::new(limits::EVENTS);
    let (routing, routing_out) = watch::channel(Routing::default());
    let (notices, notices_out) = mpsc::channel(limits::NOTICES);
    let (mesh, mesh_out) = watch::channel(0);
    let (reached, reached_out) = watch::channel(Reached::default());
    let records = Records::new(keypair.public().to_peer_id(), &clock::random());
    let (stop, stopped) = (CancellationToken::new(), CancellationToken::new());
    let (lan, incidents) = (config.lan, config.incidents.clone());
    let ports = Ports {
        commands: commands_in,
        sightings,
        panics: panics_in,
        events: events.clone(),
        listening,
        routing,
        scores: Scores::default(),
        notices,
        mesh,
        reached,
        book: Book::default(),
        neighbours: HashMap::new(),
        stop: stop.clone(),
        reach: config.reach,
        dials_neighbours: lan.is_some_and(|lan| lan.dial),
        probes: config.nat.probes,
        uses_relays: config.nat.probes && config.nat.uses_relays,
        maps_ports: config.nat.maps_ports && config.reach == Reach::Everywhere,
    };
    let blueprint =
        Blueprint { keypair, config, doors, records: records.clone(), panics, incidents: incidents.clone() };
    probe_ports(&blueprint.config.listen)?;
    let mut swarm = blueprint.build()?;
    let mut listeners = blueprint.listen(&mut swarm)?;
    let first = wait_for_addresses(&mut swarm, &mut listeners).await;
    ports.listening.send_replace(first);

    let lan = lan.map(|lan| {
        let lan = Lan {
            me: key,
            interfaces: lan::interfaces(&blueprint.config.listen),
            port: lan.port,
            listening: listening_out.clone(),
            sightings: sighted,
            stop: stop.child_token(),
            daemon: None,
        };
        let (stop, lan) = (lan.stop.clone(), Arc::new(tokio::sync::Mutex::new(lan)));
        let begin = move || {
            let lan = Arc::clone(&lan);
            async move { lan.lock().await.run().await }
        };
        tokio::spawn(incidents.clone().keep_running("neighbours", stop, begin))
    });
    tokio::spawn(supervise(swarm, blueprint, listeners, ports, lan, stopped.clone()));
    let (listening, routing, mesh, reached) = (listening_out, routing_out, mesh_out, reached_out);
    let notices = Arc::new(Mutex::new(Some(notices_out)));
    let net =
        Net { key, commands, events, listening, routing, mesh, notices, reached, records, incidents, stop, stopped };
    Ok((net, inbounds))
}

/// All interfaces, both IP versions, TCP and QUIC.
pub(super) fn everywhere(port: u16) -> [Multiaddr; 4] {
    let anywhere = [Protocol::Ip4(Ipv4Addr::UNSPECIFIED), Protocol::Ip6(Ipv6Addr::UNSPECIFIED)];
    let [[a, b], [c, d]] = anywhere.map(|ip| {
        let ip = Multiaddr::from(ip);
        [ip.clone().with(Protocol::Tcp(port)), ip.with(Protocol::Udp(port)).with(Protocol::QuicV1)]
    });
    [a, b, c, d]
}

/// The port that a device takes when nobody says another: always the same, so that links and remembered addresses stay
/// true over restarts, and different for most devices behind one router. Below the ports that systems hand out.
pub(super) fn home_port(key: &DeviceKey) -> u16 {
    const FIRST: u16 = 20_000;
    const N_PORTS: u16 = 10_000;
    let [a, b, ..] = *key.as_bytes();
    FIRST + u16::from_le_bytes([a, b]) % N_PORTS
}

impl Blueprint {
    fn build(&self) -> Result<Swarm<Behaviour>, StartError> {
        let reach = self.config.reach;
        let me = self.keypair.public().to_peer_id();
        let (relayed, through) = match reach {
            Reach::Everywhere => Some(relay::client::new(me)).unzip(),
            Reach::LocalLinks => (None, None),
        };
        let lobby = Lobby::default();
        let transport: Boxed<(PeerId, StreamMuxerBox)> =
            transport::build(&self.keypair, reach, relayed, lobby.clone(), &self.incidents)?;
        let nat = Nat::new(me, self.config.nat, through);
        let mut dht = Dht::new(me, self.records.clone(), self.config.dht);
        if self.config.nat.probes && reach == Reach::Everywhere {
            dht.believe_confirmed_only();
        }
        // Who ends soon is no use in others' meshes.
        let gossip = Gossip::new(self.config.dht != Part::Asks);
        let gate = Gate::new(reach, lobby);
        let behaviour = Behaviour::new(&self.keypair, gate, &self.config.agent, dht, gossip, nat, self.doors.clone())
            .with_connections(self.config.connections);
        let config = swarm::Config::with_executor(Guard(self.panics.clone(), self.incidents.clone()))
            .with_idle_connection_timeout(limits::IDLE_CONNECTION)
            .with_max_negotiating_inbound_streams(limits::NEGOTIATING_STREAMS);
        Ok(Swarm::new(transport, behaviour, me, config))
    }

    /// Listens where the configuration says.
    fn listen(&self, swarm: &mut Swarm<Behaviour>) -> Result<Listeners, StartError> {
        let mut listeners = Listeners::new();
        for address in &self.config.listen {
            let id = swarm.listen_on(address.clone()).map_err(|error| StartError::listening(address.clone(), error))?;
            listeners.insert(id, address.clone());
        }
        if !self.config.listen.is_empty() {
            return Ok(listeners);
        }
        let port = address::device_key(swarm.local_peer_id()).map_or(0, |key| home_port(&key));
        for (wanted, any) in everywhere(port).into_iter().zip(everywhere(0)) {
            let is_free = probe_ports(std::slice::from_ref(&wanted)).is_ok();
            // What the machine does not have (IPv6, mostly) is left out without failing.
            let listening = match is_free.then(|| swarm.listen_on(wanted.clone())) {
                Some(Ok(id)) => Ok((id, wanted.clone())),
                Some(Err(_)) | None => swarm.listen_on(any.clone()).map(|id| (id, any)),
            };
            match listening {
                Ok((id, address)) => drop(listeners.insert(id, address)),
                Err(error) => tracing::info!(%wanted, %error, "not listening here"),
            }
        }
        Ok(listeners)
    }

    /// A new swarm where the old one was: on the same ports, so that others find it again.
    async fn rebuild(&self, listeners: &Listeners) -> Result<Swarm<Behaviour>, StartError> {
        let mut swarm = self.build()?;
        for address in listeners.values() {
            for _ in 0..RELISTEN_TRIES {
                match swarm.listen_on(address.clone()) {
                    Ok(_) => break,
                    Err(error) => tracing::warn!(%address, %error, "cannot listen here again yet"),
                }
                sleep(RELISTEN_PAUSE).await;
            }
        }
        Ok(swarm)
    }
}

/// The listeners and what they listen on, with the real port where the system chose one.
type Listeners = HashMap<ListenerId, Multiaddr>;

/// The tasks of a swarm that is gone give their UDP port back when they get to it.
const RELISTEN_TRIES: usize = 20;
/// See [`RELISTEN_TRIES`].
const RELISTEN_PAUSE: Duration = Duration::from_millis(100);

/// Tries the wanted ports before the transports do. Those share TCP ports with other libp2p programs of the same user
/// (`SO_REUSEPORT`), who would then get half of our connections, and hide the system's reason for UDP ports.
pub(super) fn probe_ports(wanted: &[Multiaddr]) -> Result<(), StartError> {
    for address in wanted {
        let Some(ip) = ip(address) else { continue };
        // `::` here would also claim the port of IPv4, which our own listener may have.
        if ip.is_ipv6() && ip.is_unspecified() {
            continue;
        }
        let outcome = match address.iter().nth(1) {
            Some(Protocol::Tcp(port)) => TcpListener::bind((ip, port)).map(drop),
            Some(Protocol::Udp(port)) => UdpSocket::bind((ip, port)).map(drop),
            _ => continue,
        };
        outcome.map_err(|error| StartError::system(address.clone(), error))?;
    }
    Ok(())
}

/// Waits until every listener has said where it is reachable, or time is up: a machine may have no interface yet.
async fn wait_for_addresses(swarm: &mut Swarm<Behaviour>, listeners: &mut Listeners) -> Vec<Multiaddr> {
    let mut silent: HashSet<ListenerId> = listeners.keys().copied().collect();
    let mut addresses = Vec::new();
    let all = async {
        while !silent.is_empty() {
            if let SwarmEvent::NewListenAddr { listener_id, address } = swarm.select_next_some().await {
                silent.remove(&listener_id);
                listeners.entry(listener_id).and_modify(|wanted| *wanted = with_port_of(wanted, &address));
                addresses.push(address);
            }
        }
    };
    if timeout(limits::LISTENERS_READY, all).await.is_err() {
        tracing::warn!("not every listener has an address yet");
    }
    addresses
}

/// `wanted` with the port of `real` where it leaves that to the system.
fn with_port_of(wanted: &Multiaddr, real: &Multiaddr) -> Multiaddr {
    let choose = |(wanted, real)| match wanted {
        Protocol::Tcp(0) | Protocol::Udp(0) => real,
        other => other,
    };
    wanted.iter().zip(real.iter()).map(choose).collect()
}

async fn supervise(
    swarm: Swarm<Behaviour>,
    blueprint: Blueprint,
    listeners: Listeners,
    mut ports: Ports,
    lan: Option<JoinHandle<()>>,
    stopped: CancellationToken,
) {
    let _says_so_whatever_happens = stopped.drop_guard();
    let mut swarm = Some(swarm);
    let mut restarts = VecDeque::new();
    while let Some(current) = swarm.take() {
        let living = Box::pin(live(current, &mut ports));
        let end = blueprint.incidents.guard(NETWORK, living).await.unwrap_or(End::Panicked);
        if end == End::Stopped {
            break;
        }
        tracing::error!(?end, "the network task is restarted");
        ports.listening.send_replace(Vec::new());
        swarm = Box::pin(revive(&blueprint, &listeners, &mut ports, &mut restarts)).await;
    }
    ports.stop.cancel();
    if let Some(lan) = lan {
        let _ = lan.await; // its farewell is bounded in time; a panic in it was logged by the runtime
    }
}

/// The name of the network task among what may break.
const NETWORK: &str = "network";

/// A new swarm, however often that has to be tried; none when the network is to end.
async fn revive(
    blueprint: &Blueprint,
    listeners: &Listeners,
    ports: &mut Ports,
    restarts: &mut VecDeque<Instant>,
) -> Option<Swarm<Behaviour>> {
    loop {
        if !is_at_once(restarts) && !idle(ports).await {
            return None;
        }
        match blueprint.incidents.guard(NETWORK, Box::pin(blueprint.rebuild(listeners))).await {
            Some(Ok(swarm)) => {
                let _ = ports.events.send(NetEvent::Restarted); // nobody may be listening
                return Some(swarm);
            }
            Some(Err(error)) => tracing::error!(%error, "the network cannot be restarted yet"),
            None => {} // noted
        }
    }
}

/// Waits before the next try. Whoever asks something meanwhile is answered that there is no network, by the drop of the
/// question. False when the network is to end.
async fn idle(ports: &mut Ports) -> bool {
    let stop = ports.stop.clone();
    let pause = sleep(limits::RESTART_PAUSE);
    tokio::pin!(pause);
    loop {
        tokio::select! {
            () = stop.cancelled() => return false,
            () = &mut pause => return true,
            command = ports.commands.recv() => if command.is_none() { return false },
        }
    }
}

async fn live(swarm: Swarm<Behaviour>, ports: &mut Ports) -> End {
    let mut driver = Driver::new(swarm, ports);
    let end = driver.run().await;
    if end == End::Stopped {
        Box::pin(driver.close(CLOSE)).await;
    }
    end
}

/// Whether a restart now may come at once.
fn is_at_once(restarts: &mut VecDeque<Instant>) -> bool {
    let now = Instant::now();
    restarts.retain(|at| now.duration_since(*at) < limits::RESTART_WINDOW);
    restarts.push_back(now);
    restarts.len() <= limits::RESTARTS
}

/// Runs the swarm's tasks and reports a panic in one of them: the swarm itself would never notice and would keep the
/// connection in its books for ever.
struct Guard(mpsc::Sender<()>, Incidents);

impl Executor for Guard {
    fn exec(&self, task: Pin<Box<dyn Future<Output = ()> + Send>>) {
        let Self(panics, incidents) = self;
        let (panics, incidents) = (panics.clone(), incidents.clone());
        tokio::spawn(async move {
            if incidents.guard("connection", task).await.is_none() {
                let _ = panics.try_send(()); // full: already known
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_in_a_task_of_the_swarm_is_noticed() {
        let (panics, mut seen) = mpsc::channel(1);
        let guard = Guard(panics, Incidents::default());
        guard.exec(Box::pin(async {}));
        for _ in 0..3 {
            guard.exec(Box::pin(async { panic!("on purpose") }));
        }
        assert_eq!(seen.recv().await, Some(()));
        while guard.1.count() < 3 {
            tokio::task::yield_now().await;
        }
    }

    #[test]
    fn so_many_restarts_come_at_once() {
        let mut restarts = VecDeque::new();
        let allowed = std::iter::repeat_with(|| is_at_once(&mut restarts)).take_while(|may| *may).count();
        assert_eq!(allowed, limits::RESTARTS);
    }

    #[test]
    fn the_port_that_was_given_is_asked_for_again() {
        let address = |text: &str| text.parse::<Multiaddr>().expect("address");
        let real = address("/ip4/10.0.0.1/udp/4001/quic-v1");
        assert_eq!(
            with_port_of(&address("/ip4/0.0.0.0/udp/0/quic-v1"), &real),
            address("/ip4/0.0.0.0/udp/4001/quic-v1")
        );
        assert_eq!(with_port_of(&address("/ip4/0.0.0.0/udp/9/quic-v1"), &real), address("/ip4/0.0.0.0/udp/9/quic-v1"));
    }
}
