//! Starts the network task, and starts it again when something in it has panicked.

use std::collections::VecDeque;
use std::net::{TcpListener, UdpSocket};
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;

use futures::{FutureExt, StreamExt};
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::Boxed;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::{self, Executor, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Swarm, identity};
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::address::{ip, keypair};
use super::behaviour::Behaviour;
use super::lan::{self, Lan};
use super::streams::{Doors, Inbounds};
use super::swarm::{Driver, End, Ports};
use super::{CLOSE, Net, NetConfig, NetEvent, StartError, address, bans, limits, tls, transport};

/// What it takes to build a swarm, again and again.
struct Blueprint {
    keypair: identity::Keypair,
    config: NetConfig,
    doors: Arc<Doors>,
    panics: mpsc::Sender<()>,
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
    let (stop, stopped) = (CancellationToken::new(), CancellationToken::new());
    let lan = config.lan;
    let ports = Ports {
        commands: commands_in,
        sightings,
        panics: panics_in,
        events: events.clone(),
        listening,
        bans: bans::Bans::default(),
        stop: stop.clone(),
        reach: config.reach,
        dials_neighbours: lan.is_some_and(|lan| lan.dial),
    };
    let blueprint = Blueprint { keypair, config, doors, panics };
    probe_ports(&blueprint.config.listen)?;
    let mut swarm = blueprint.build()?;
    let n_listeners = blueprint.listen(&mut swarm)?;
    let first = wait_for_addresses(&mut swarm, n_listeners).await;
    ports.listening.send_replace(first);

    let lan = lan.map(|lan| {
        let lan = Lan {
            me: key,
            interfaces: lan::interfaces(&blueprint.config.listen),
            port: lan.port,
            listening: listening_out.clone(),
            sightings: sighted,
            stop: stop.child_token(),
        };
        tokio::spawn(lan.run())
    });
    tokio::spawn(supervise(swarm, blueprint, ports, lan, stopped.clone()));
    Ok((Net { key, commands, events, listening: listening_out, stop, stopped }, inbounds))
}

/// Listens where the machine lets us without failing for what it does not have (IPv6, mostly).
const EVERYWHERE: [&str; 4] =
    ["/ip4/0.0.0.0/tcp/0", "/ip4/0.0.0.0/udp/0/quic-v1", "/ip6/::/tcp/0", "/ip6/::/udp/0/quic-v1"];

impl Blueprint {
    fn build(&self) -> Result<Swarm<Behaviour>, StartError> {
        let reach = self.config.reach;
        let transport: Boxed<(PeerId, StreamMuxerBox)> = transport::build(&self.keypair, reach)?;
        let behaviour = Behaviour::new(&self.keypair, reach, self.config.agent.clone(), self.doors.clone());
        let config = swarm::Config::with_executor(Guard(self.panics.clone()))
            .with_idle_connection_timeout(limits::IDLE_CONNECTION)
            .with_max_negotiating_inbound_streams(limits::NEGOTIATING_STREAMS);
        Ok(Swarm::new(transport, behaviour, self.keypair.public().to_peer_id(), config))
    }

    /// Listens where the configuration says; returns the number of listeners.
    fn listen(&self, swarm: &mut Swarm<Behaviour>) -> Result<usize, StartError> {
        for address in &self.config.listen {
            swarm.listen_on(address.clone()).map_err(|error| StartError::listening(address.clone(), error))?;
        }
        if !self.config.listen.is_empty() {
            return Ok(self.config.listen.len());
        }
        let mut n = 0;
        for address in EVERYWHERE {
            let address: Multiaddr = address.parse().expect("a constant address");
            match swarm.listen_on(address.clone()) {
                Ok(_) => n += 1,
                Err(error) => tracing::info!(%address, %error, "not listening here"),
            }
        }
        Ok(n)
    }

    /// A new swarm where the old one was: on the same ports, so that others find it again.
    fn rebuild(&self, was_listening: &[Multiaddr]) -> Result<Swarm<Behaviour>, StartError> {
        let mut swarm = self.build()?;
        for address in was_listening {
            if let Err(error) = swarm.listen_on(address.clone()) {
                tracing::warn!(%address, %error, "cannot listen here again");
            }
        }
        if swarm.listeners().next().is_none() && was_listening.is_empty() {
            self.listen(&mut swarm)?;
        }
        Ok(swarm)
    }
}

/// Tries the wanted ports before the transports do. Those share TCP ports with other libp2p programs of the same user
/// (`SO_REUSEPORT`), who would then get half of our connections, and hide the system's reason for UDP ports.
fn probe_ports(wanted: &[Multiaddr]) -> Result<(), StartError> {
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
async fn wait_for_addresses(swarm: &mut Swarm<Behaviour>, n_listeners: usize) -> Vec<Multiaddr> {
    let mut listeners = std::collections::HashSet::new();
    let mut addresses = Vec::new();
    let all = async {
        while listeners.len() < n_listeners {
            if let SwarmEvent::NewListenAddr { listener_id, address } = swarm.select_next_some().await {
                listeners.insert(listener_id);
                addresses.push(address);
            }
        }
    };
    if timeout(limits::LISTENERS_READY, all).await.is_err() {
        tracing::warn!("not every listener has an address yet");
    }
    addresses
}

async fn supervise(
    swarm: Swarm<Behaviour>,
    blueprint: Blueprint,
    mut ports: Ports,
    lan: Option<JoinHandle<()>>,
    stopped: CancellationToken,
) {
    let _says_so_whatever_happens = stopped.drop_guard();
    let mut swarm = Some(swarm);
    let mut restarts = VecDeque::new();
    while let Some(current) = swarm.take() {
        let end = AssertUnwindSafe(live(current, &mut ports)).catch_unwind().await.unwrap_or(End::Panicked);
        if end == End::Stopped {
            break;
        }
        tracing::error!(?end, "the network task is restarted");
        if !may_restart(&mut restarts) {
            let _ = ports.events.send(NetEvent::Failed); // nobody may be listening
            break;
        }
        let was_listening = ports.listening.send_replace(Vec::new());
        swarm = blueprint
            .rebuild(&was_listening)
            .inspect_err(|error| tracing::error!(%error, "the network cannot be restarted"))
            .ok();
        let outcome = if swarm.is_some() { NetEvent::Restarted } else { NetEvent::Failed };
        let _ = ports.events.send(outcome); // nobody may be listening
    }
    ports.stop.cancel();
    if let Some(lan) = lan {
        let _ = lan.await; // its farewell is bounded in time; a panic in it was logged by the runtime
    }
}

async fn live(swarm: Swarm<Behaviour>, ports: &mut Ports) -> End {
    let mut driver = Driver::new(swarm, ports);
    let end = driver.run().await;
    if end == End::Stopped {
        driver.close(CLOSE).await;
    }
    end
}

fn may_restart(restarts: &mut VecDeque<Instant>) -> bool {
    let now = Instant::now();
    restarts.retain(|at| now.duration_since(*at) < limits::RESTART_WINDOW);
    restarts.push_back(now);
    restarts.len() <= limits::RESTARTS
}

/// Runs the swarm's tasks and reports a panic in one of them: the swarm itself would never notice and would keep the
/// connection in its books for ever.
struct Guard(mpsc::Sender<()>);

impl Executor for Guard {
    fn exec(&self, task: Pin<Box<dyn Future<Output = ()> + Send>>) {
        let panics = self.0.clone();
        tokio::spawn(async move {
            if AssertUnwindSafe(task).catch_unwind().await.is_err() {
                let _ = panics.try_send(()); // full: already known
            }
        });
    }
}
