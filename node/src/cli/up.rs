//! `syncra up`

use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;

use super::client;
use super::context::Context;
use crate::api::Service;
use crate::api::doors::Doors;
use crate::api::gateway::Gateway;
use crate::api::types::ApiAddresses;
use crate::config::Profile;
use crate::event::Event;
use crate::flow::{own, reach};
use crate::home::Home;
use crate::net::{Multiaddr, Reach};
use crate::node;
use crate::problem::{Code, Problem};

/// Run the node in the foreground
///
/// Opens the home, then the API, and prints one line when it is ready; with `--json` that
/// line is `{"schema":"syncra/v1/up","data":{"peer_id":…,"listen":[…],"api":{…}}}`.
/// Ctrl-C, SIGTERM or `syncra down` stops it in order; a second Ctrl-C at once.
///
/// The API is a Unix socket in the home, for you alone. `--api 127.0.0.1:PORT` opens it
/// on loopback TCP too, where every call needs a token (see `syncra token`); port 0 takes
/// a free one. Settings: `syncra config`.
///
/// `--gateway ADDR` opens a second listener for everybody who can reach that address: the
/// logs of the packages that this node serves, as C2SP tlog-tiles over plain HTTP, below
/// `http://ADDR/<origin of the log>/`. It is read-only and knows no tokens.
///
/// What it tells also stands in `log/node.log` in the home: 4 MiB at most, a week at most.
///
/// Examples:
///   syncra up
///   syncra up --home ./second-node --api 127.0.0.1:0
///   syncra up --json -q
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// The kind of node, instead of the setting `profile`
    #[arg(long, value_name = "desktop|lan|mirror|headless", value_parser = profile)]
    profile: Option<Profile>,
    /// Where to listen, instead of the setting `listen`; can be given several times
    #[arg(long, value_name = "MULTIADDR")]
    listen: Vec<Multiaddr>,
    /// A node to connect to and stay connected with, or a list of nodes as `/dnsaddr/HOST`; besides the setting `bootstrap`
    #[arg(long, value_name = "MULTIADDR")]
    bootstrap: Vec<Multiaddr>,
    /// Serve logs to everybody over HTTP on this address, instead of the setting `gateway.listen`; port 0 takes a free one
    #[arg(long, value_name = "ADDR")]
    gateway: Option<SocketAddr>,
}

fn profile(text: &str) -> Result<Profile, String> {
    let value = serde::de::value::StrDeserializer::<serde::de::value::Error>::new(text);
    serde::Deserialize::deserialize(value).map_err(|_| "one of desktop, lan, mirror, headless".to_owned())
}

/// How long a node is alone before it says so.
const ALONE: Duration = Duration::from_secs(15);

/// The ready line.
#[derive(Debug, Serialize)]
struct Ready {
    peer_id: String,
    listen: Vec<String>,
    api: ApiAddresses,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<String>,
}

impl Args {
    pub(super) async fn run(self, context: &Context) -> Result<(), Problem> {
        let asked = context.api().map(tcp_address).transpose()?;
        // Before anything is open, so that a stop is never missed.
        let mut stop = Stop::listen()?;
        let home = Home::open(&context.home()?)?;
        context.log_into(home.layout());
        if let Err(error) = home.ensure_reserve() {
            tracing::warn!(%error, "no space is set aside for a full disk");
        }
        let service = Service::open(home).await?;
        if client::is_copy(&service) {
            tracing::warn!("{}", client::IS_COPY);
        }
        let config = context.config()?;
        let (tcp, public) = (asked.or(config.api.listen), self.gateway.or(config.gateway.listen));
        let peer_id = service.peer_id()?;
        let listen = self.go_online(&service, context).await?;
        let doors = Doors::open(&service, tcp).await?;
        let gateway = match public {
            Some(address) => Some(Gateway::open(&service, address).await?),
            None => None,
        };
        tracing::info!(version = env!("CARGO_PKG_VERSION"), "started");
        match own::n_incomplete(service.parts()) {
            Ok(0) => {}
            Ok(n) => {
                tracing::warn!(n_packages = n, "histories are not whole here, as after a restore: {}", own::COMES_BACK)
            }
            Err(error) => tracing::warn!(%error, "whether histories are whole is not known"),
        }
        service.emit(Event::NodeStarted);
        let api = doors.addresses().clone();
        let ready = Ready { peer_id, listen, api, gateway: service.gateway().map(|address| address.to_string()) };
        let printed = context.ui().data("up", &ready, human);
        if printed.is_ok() {
            let stopped = service.stopped();
            let lonely = async {
                alone(&service, context).await;
                std::future::pending().await
            };
            tokio::select! {
                () = stop.requested() => {}
                () = stopped.cancelled() => {}
                () = lonely => {}
                () = service.keep_settings() => {}
            }
            tracing::info!("stopping");
        }
        service.stop();
        let close = async {
            let public = async {
                if let Some(gateway) = gateway {
                    gateway.close().await;
                }
            };
            futures::join!(doors.close(), public);
        };
        tokio::select! {
            () = close => {}
            () = stop.requested() => return Err(Problem::new(Code::Interrupted, "stopped at once")),
        }
        service.close().await;
        tracing::info!("stopped");
        printed
    }
}

impl Args {
    /// Puts the home on the network; tells where it can be reached.
    async fn go_online(&self, service: &Service, context: &Context) -> Result<Vec<String>, Problem> {
        if context.offline() {
            context.ui().warning("this node is offline: nobody can reach it, and it reaches nobody");
            return Ok(Vec::new());
        }
        let mut config = node::net_config(service.parts())?;
        if !self.listen.is_empty() {
            config.listen.clone_from(&self.listen);
        }
        match self.profile {
            Some(Profile::Lan) => config.reach = Reach::LocalLinks,
            Some(_) => config.reach = Reach::Everywhere,
            None => {}
        }
        if let Some(profile) = self.profile {
            config.nat = node::nat_config(&service.parts().config, profile);
        }
        let online = service.go_online(config).await?;
        let bootstrap = service.parts().config.bootstrap.iter().chain(&self.bootstrap);
        service.keep_in_touch(bootstrap.cloned().collect()).await;
        let key = online.net.key();
        let with_peer = |address| crate::net::with_peer(address, &key);
        Ok(online.net.listen_addrs().into_iter().filter_map(with_peer).map(|address| address.to_string()).collect())
    }
}

/// Says so when nobody is in reach some time after the start.
async fn alone(service: &Service, context: &Context) {
    let Some(online) = service.parts().online() else { return };
    if !reach::first_peer(online, ALONE).await {
        context.ui().note(
            "nobody is in reach yet: nodes on this network find each other by themselves; \
             to reach others, `syncra open LINK`, `syncra connect ADDRESS`, or name a node in the setting `bootstrap`",
        );
    }
}

fn tcp_address(text: &str) -> Result<SocketAddr, Problem> {
    let text = text.strip_prefix("http://").unwrap_or(text);
    let text = text.strip_prefix("localhost:").map_or_else(|| text.to_owned(), |port| format!("127.0.0.1:{port}"));
    text.parse().map_err(|_| {
        Problem::new(Code::BadArgument, format!("`{text}` is not an address to listen on"))
            .with_hint("it is `127.0.0.1:PORT`, with port 0 for a free one; the socket in the home is always open")
    })
}

fn human(ready: &Ready) -> String {
    let mut lines = vec![format!("ready: {}", ready.peer_id)];
    lines.extend(ready.listen.iter().map(|address| format!("listening on {address}")));
    lines.extend(api_lines(&ready.api).into_iter().map(|address| format!("api at {address}")));
    lines.extend(ready.gateway.iter().map(|address| format!("gateway at http://{address}/")));
    // Nothing stands right behind an address: it is taken from here to be given to others.
    lines.join(" | ")
}

/// Where the API is, as `--api` takes it.
pub(super) fn api_lines(api: &ApiAddresses) -> Vec<String> {
    let socket = api.socket.iter().map(|path| format!("unix:{path}"));
    socket.chain(api.tcp.clone()).collect()
}

/// The system's wish that the process ends.
#[cfg(unix)]
struct Stop {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Stop {
    fn listen() -> Result<Self, Problem> {
        use tokio::signal::unix::{SignalKind, signal};
        let failed = |error| Problem::io("cannot listen for signals", &error);
        let interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        Ok(Self { interrupt, terminate: signal(SignalKind::terminate()).map_err(failed)? })
    }

    async fn requested(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// The system's wish that the process ends.
#[cfg(windows)]
struct Stop {
    interrupt: tokio::signal::windows::CtrlC,
    close: tokio::signal::windows::CtrlClose,
}

#[cfg(windows)]
impl Stop {
    fn listen() -> Result<Self, Problem> {
        use tokio::signal::windows::{ctrl_c, ctrl_close};
        let failed = |error| Problem::io("cannot listen for signals", &error);
        Ok(Self { interrupt: ctrl_c().map_err(failed)?, close: ctrl_close().map_err(failed)? })
    }

    async fn requested(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.close.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_in_the_ready_line_can_be_taken_as_they_stand() {
        let addresses = ["/ip4/192.0.2.7/tcp/4001/p2p/12D3", "/ip6/2001:db8::7/udp/4001/quic-v1/p2p/12D3"];
        let listen = addresses.map(str::to_owned).to_vec();
        let api = ApiAddresses { socket: Some("/run/me/api.sock".to_owned()), tcp: Some("127.0.0.1:4711".to_owned()) };
        let gateway = Some("0.0.0.0:80".to_owned());
        let ready = human(&Ready { peer_id: "12D3".to_owned(), listen, api, gateway });
        assert!(ready.starts_with("ready: ") && !ready.contains('\n'), "{ready}");
        let words: Vec<&str> = ready.split(' ').collect();
        for word in addresses.iter().chain(&["unix:/run/me/api.sock", "127.0.0.1:4711", "http://0.0.0.0:80/"]) {
            assert!(words.contains(word), "{word}: {ready}");
        }
        let alone = Ready { peer_id: "12D3".to_owned(), listen: vec![], api: ApiAddresses::default(), gateway: None };
        assert_eq!(human(&alone), "ready: 12D3");
    }
}
