//! One of the demo's people: a home and a node of their own.

use std::net::UdpSocket;
use std::path::Path;
use std::sync::Arc;

use syncra_protocol::id::PackageId;
use syncra_protocol::key::DeviceKey;
use syncra_protocol::name::Handle;
use syncra_protocol::sync::Peer;
use tokio::sync::broadcast;

use super::liar::Liar;
use super::{DemoError, PATIENCE, is, quietly};
use crate::flow::devices::DevicesError;
use crate::flow::install::{Done, Request};
use crate::flow::publish::{self, PublishError, Published};
use crate::flow::{Parts, StartError, identity, resolve};
use crate::history::Change;
use crate::home::{Home, HomeError, KeyError};
use crate::net::{self, LanConfig, Multiaddr, NetConfig};
use crate::node::{Node, Online};
use crate::progress::Progress;

/// Why one of the nodes does not run.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// Its home.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// Its key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Its parts.
    #[error(transparent)]
    Start(#[from] Box<StartError>),
    /// Its network.
    #[error(transparent)]
    Net(#[from] net::StartError),
    /// Its name.
    #[error(transparent)]
    Devices(#[from] DevicesError),
    /// A port of the machine.
    #[error("no free port")]
    Port(#[source] std::io::Error),
    /// Nobody answered.
    #[error(transparent)]
    Dial(#[from] net::DialError),
}

/// A person with a running node.
pub(super) struct Host {
    node: Node,
}

/// A UDP port that nobody uses: a LAN of our own, apart from the machine's real neighbours.
pub(super) fn free_port() -> Result<u16, HostError> {
    let socket = UdpSocket::bind("127.0.0.1:0").map_err(HostError::Port)?;
    Ok(socket.local_addr().map_err(HostError::Port)?.port())
}

/// Opens a new home for somebody of this name.
pub(super) async fn open(dir: &Path, name: &str, lan: Option<u16>) -> Result<(Arc<Parts>, NetConfig), HostError> {
    let home = Home::open(dir)?;
    let mut config = NetConfig::new(home.device_secret()?.seed());
    config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().expect("a valid address")];
    config.lan = lan.map(|port| LanConfig { port, dial: true });
    let parts = Box::pin(Parts::open(home)).await.map_err(Box::new)?;
    identity::set_handle(&parts, Handle::parse(name).expect("a valid handle")).await?;
    Ok((Arc::new(parts), config))
}

impl Host {
    pub(super) async fn start(dir: &Path, name: &str, lan: Option<u16>) -> Result<Self, HostError> {
        let (parts, config) = open(dir, name, lan).await?;
        Ok(Self { node: Node::start(parts, config).await? })
    }

    pub(super) fn parts(&self) -> &Arc<Parts> {
        self.node.parts()
    }

    pub(super) fn online(&self) -> &Online {
        self.node.online()
    }

    pub(super) fn key(&self) -> DeviceKey {
        self.online().net.key()
    }

    pub(super) fn address(&self) -> Multiaddr {
        address(&self.online().net)
    }

    pub(super) async fn publish(&self, dir: &Path) -> Result<Published, DemoError> {
        let plan = publish::plan(self.parts(), publish::Request::of(dir.to_owned())).await?;
        Ok(publish::publish(self.parts(), plan, &Progress::unwatched()).await?)
    }

    /// Waits until the LAN has brought this peer.
    pub(super) async fn meet(&self, peer: Peer) -> Result<(), DemoError> {
        let mut events = self.online().net.events();
        let met = async {
            loop {
                let peers = self.online().net.peers().await.unwrap_or_default();
                if peers.iter().any(|known| known.key == peer) {
                    return true;
                }
                if let Err(broadcast::error::RecvError::Closed) = events.recv().await {
                    return false;
                }
            }
        };
        match tokio::time::timeout(PATIENCE, met).await {
            Ok(true) => Ok(()),
            _ => Err(DemoError::Story("the LAN brought nobody".to_owned())),
        }
    }

    pub(super) async fn dial(&self, other: &Self) -> Result<Peer, DemoError> {
        Ok(self.online().net.dial(other.address()).await.map_err(HostError::from)?)
    }

    pub(super) async fn dial_liar(&self, liar: &Liar) -> Result<Peer, DemoError> {
        Ok(self.online().net.dial(liar.address()).await.map_err(HostError::from)?)
    }

    /// Waits until the news of a release has come by itself.
    pub(super) async fn hears(
        &self,
        mut news: broadcast::Receiver<Change>,
        published: &Published,
    ) -> Result<(), DemoError> {
        let heard = async {
            loop {
                match news.recv().await {
                    Ok(Change { head }) if is(published, &head) => return true,
                    Err(broadcast::error::RecvError::Closed) => return false,
                    _ => {}
                }
            }
        };
        match tokio::time::timeout(PATIENCE, heard).await {
            Ok(true) => Ok(()),
            _ => Err(DemoError::Story("the news did not come".to_owned())),
        }
    }

    pub(super) fn reference(&self, package: PackageId) -> Result<String, DemoError> {
        resolve::text(&self.parts().histories, package).map_err(|error| PublishError::from(error).into())
    }

    pub(super) async fn install(&self, package: PackageId) -> Result<Done, DemoError> {
        let refreshed = self.online().sync.refresh(package, None).await;
        refreshed.map_err(|error| DemoError::Story(error.to_string()))?;
        Ok(quietly(self.parts(), Request::Add { package, selector: None }).await?)
    }

    pub(super) async fn update(&self, package: PackageId) -> Result<Done, DemoError> {
        Ok(quietly(self.parts(), Request::Update(Some(package))).await?)
    }

    pub(super) async fn rollback(&self) -> Result<Done, DemoError> {
        Ok(quietly(self.parts(), Request::Rollback).await?)
    }

    pub(super) async fn stop(self) {
        self.node.shutdown().await;
    }
}

/// Where a node listens, with its key.
pub(super) fn address(net: &net::Net) -> Multiaddr {
    let listening = net.listen_addrs().into_iter().next().expect("it listens on loopback");
    net::with_peer(listening, &net.key()).expect("a device key")
}
