//! A library's behaviour kept to public addresses: it hears of no others, claims to be reached at no others, and dials no
//! others, whatever strangers tell it. It dials for strangers only so often at a time.

use std::collections::HashSet;
use std::task::{Context, Poll};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::behaviour::{ConnectionEstablished, DialFailure, NewExternalAddrCandidate};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};

use crate::net::address::{Scope, is_dialable, is_relayed, split_peer};
use crate::net::gate::Refusal;
use crate::net::limits;
use crate::net::told::told_scope;

/// See above.
pub(in crate::net) struct Public<B> {
    inner: B,
    /// Its dials under way.
    dialling: HashSet<ConnectionId>,
}

/// Whether an address is out in the open, and its own: not a relay's.
pub(super) fn is_public(address: &Multiaddr) -> bool {
    let (_, address) = split_peer(address);
    told_scope(&address) == Some(Scope::Public) && !is_relayed(&address) && is_dialable(&address)
}

impl<B> Public<B> {
    pub(super) fn new(inner: B) -> Self {
        Self { inner, dialling: HashSet::new() }
    }

    fn may_dial(&self, id: ConnectionId, addresses: &[Multiaddr]) -> Result<(), Refusal> {
        match () {
            () if !self.dialling.contains(&id) => Ok(()),
            () if self.dialling.len() > limits::DIALS_FOR_OTHERS => Err(Refusal::Crowded),
            () if !addresses.iter().all(is_public) => Err(Refusal::OutOfReach),
            () => Ok(()),
        }
    }
}

impl<B: NetworkBehaviour> NetworkBehaviour for Public<B> {
    type ConnectionHandler = B::ConnectionHandler;
    type ToSwarm = B::ToSwarm;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.inner.handle_pending_inbound_connection(id, local, remote)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        self.may_dial(id, addresses).map_err(ConnectionDenied::new)?;
        self.inner.handle_pending_outbound_connection(id, peer, addresses, role)
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner.handle_established_inbound_connection(id, peer, local, remote)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner.handle_established_outbound_connection(id, peer, address, role, port)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match &event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished { connection_id, .. })
            | FromSwarm::DialFailure(DialFailure { connection_id, .. }) => drop(self.dialling.remove(connection_id)),
            FromSwarm::NewExternalAddrCandidate(NewExternalAddrCandidate { addr }) if !is_public(addr) => return,
            _ => {}
        }
        self.inner.on_swarm_event(event);
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, id: ConnectionId, event: THandlerOutEvent<Self>) {
        self.inner.on_connection_handler_event(peer, id, event);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        loop {
            match std::task::ready!(self.inner.poll(cx)) {
                // A relay's address is told by the relay's own: public, or it would not have been asked.
                ToSwarm::ExternalAddrConfirmed(address) if !is_relayed(&address) && !is_public(&address) => {
                    tracing::debug!(%address, "not believed to be reached there from everywhere");
                }
                ToSwarm::Dial { opts } => {
                    self.dialling.insert(opts.connection_id());
                    return Poll::Ready(ToSwarm::Dial { opts });
                }
                other => return Poll::Ready(other),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use libp2p::autonat::v2::server;

    use super::*;

    fn addresses(texts: &[&str]) -> Vec<Multiaddr> {
        texts.iter().map(|text| text.parse().expect("address")).collect()
    }

    #[test]
    fn strangers_make_us_dial_the_open_only_and_only_so_often() {
        let mut answers = Public::new(server::Behaviour::default());
        let id = ConnectionId::new_unchecked;
        let dial = |answers: &mut Public<_>, n, to: &[&str]| {
            answers.dialling.insert(id(n));
            answers.handle_pending_outbound_connection(id(n), None, &addresses(to), Endpoint::Dialer).is_ok()
        };
        let open = "/ip4/203.0.113.9/tcp/1";
        assert!(dial(&mut answers, 0, &[open]));
        for near in ["/ip4/127.0.0.1/tcp/22", "/ip4/192.168.1.1/tcp/80", "/ip6/fe80::1/tcp/1", "/ip4/100.64.1.1/tcp/1"]
        {
            assert!(!dial(&mut answers, 1, &[near]), "{near}");
            assert!(!dial(&mut answers, 1, &[open, near]), "{near} beside another");
        }
        let n_granted = (1..=100).filter(|n| dial(&mut answers, *n, &[open])).count();
        assert_eq!(n_granted + 1, limits::DIALS_FOR_OTHERS);
        // What others of us dial is not its business.
        let ours = answers.handle_pending_outbound_connection(
            id(999),
            None,
            &addresses(&["/ip4/127.0.0.1/tcp/22"]),
            Endpoint::Dialer,
        );
        assert!(ours.is_ok());
    }
}
