//! How the network task reaches somebody: which addresses it tries, and what becomes of those who wait for it.

use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{self, ConnectionId};
use libp2p::{Multiaddr, PeerId};
use syncra_protocol::key::DeviceKey;
use tokio::sync::oneshot;

use super::Driver;
use crate::net::address;
use crate::net::error::{DialError, Unreached};
use crate::net::limits;
use crate::net::pending::{Next, Waiter};
use crate::net::streams::OpenRequest;

impl Driver<'_> {
    pub(super) fn dial(&mut self, address: &Multiaddr, reply: oneshot::Sender<Result<DeviceKey, DialError>>) {
        let (peer, bare) = address::split_peer(address);
        let Some(peer) = peer else { return self.dial_stranger(bare, reply) };
        if peer == *self.swarm.local_peer_id() {
            return Waiter::Dial(reply).fail(DialError::Itself);
        }
        if let Some(key) = self.peers.key(&peer) {
            self.promote(peer);
            drop(reply.send(Ok(key)));
            return;
        }
        self.try_for(Waiter::Dial(reply), peer, vec![bare]);
    }

    /// Connects to `peer` at one of these addresses.
    pub(super) fn reach(
        &mut self,
        peer: PeerId,
        addresses: &[Multiaddr],
        reply: oneshot::Sender<Result<(), Unreached>>,
    ) {
        if peer == *self.swarm.local_peer_id() {
            return Waiter::Reach(reply).fail(DialError::Itself);
        }
        if self.peers.key(&peer).is_some() {
            self.promote(peer);
            drop(reply.send(Ok(())));
            return;
        }
        let of_peer = |address: &Multiaddr| match address::split_peer(address) {
            (Some(other), _) if other != peer => None,
            (_, bare) => Some(bare),
        };
        self.try_for(Waiter::Reach(reply), peer, addresses.iter().filter_map(of_peer).collect());
    }

    /// Tries addresses for somebody who waits: at once, or beside what is being tried. Two dials at a time would be two
    /// connections, and the slower transport the one that is used as often as not.
    fn try_for(&mut self, waiter: Waiter, peer: PeerId, addresses: Vec<Multiaddr>) {
        match self.dials.wait(peer, waiter) {
            Ok(true) => self.try_all(peer, addresses),
            Ok(false) => self.dials.join(peer, addresses),
            Err(waiter) => waiter.fail(DialError::TooManyWaiters),
        }
    }

    pub(super) fn dial_stranger(&mut self, address: Multiaddr, reply: oneshot::Sender<Result<DeviceKey, DialError>>) {
        let options = DialOpts::unknown_peer_id().address(address).build();
        let attempt = options.connection_id();
        match self.swarm.dial(options) {
            Ok(()) => self.dials.began_with_stranger(attempt, reply),
            // The swarm takes our own addresses out of every dial.
            Err(swarm::DialError::NoAddresses) => drop(reply.send(Err(DialError::Itself))),
            Err(error) => drop(reply.send(Err((&error).into()))),
        }
    }

    pub(super) fn open(&mut self, peer: PeerId, request: OpenRequest) {
        if self.swarm.is_connected(&peer) {
            self.promote(peer);
            return self.swarm.behaviour_mut().streams.open(peer, request);
        }
        if peer == *self.swarm.local_peer_id() {
            return Waiter::Open(request).fail(DialError::Itself);
        }
        match self.dials.wait(peer, Waiter::Open(request)) {
            Ok(true) => self.begin(peer),
            Ok(false) => {}
            Err(waiter) => waiter.fail(DialError::TooManyWaiters),
        }
    }

    /// Dials `peer` at all addresses in the book, the preferred ones first.
    pub(super) fn begin(&mut self, peer: PeerId) {
        self.try_all(peer, self.ports.book.addresses(&peer));
    }

    pub(super) fn try_all(&mut self, peer: PeerId, addresses: Vec<Multiaddr>) {
        let (first, second) = address::by_preference(addresses);
        self.dials.keep_for_later(peer, second);
        match first.first().is_some_and(address::is_relayed) {
            true => self.dial_through(peer, first),
            false => self.attempt(peer, first),
        }
    }

    pub(super) fn attempt(&mut self, peer: PeerId, addresses: Vec<Multiaddr>) {
        let options = DialOpts::peer_id(peer).condition(PeerCondition::Always).addresses(addresses.clone()).build();
        let attempt = options.connection_id();
        self.dials.began(peer, attempt, addresses);
        if let Err(error) = self.swarm.dial(options) {
            self.on_attempt_failed(peer, attempt, &error);
        }
    }

    pub(super) fn on_attempt_failed(&mut self, peer: PeerId, attempt: ConnectionId, error: &swarm::DialError) {
        for (address, why) in DialError::of_each(error) {
            self.dials.note_failure(&peer, address, why);
        }
        let wrong = match error {
            swarm::DialError::WrongPeerId { address, .. } => Some(address::split_peer(address).1),
            _ => None,
        };
        if let Some(wrong) = &wrong {
            self.ports.book.remove(&peer, wrong);
        }
        match self.dials.failed(&peer, attempt, wrong.as_ref()) {
            Next::Wait => {}
            Next::Try(addresses) => self.try_all(peer, addresses),
            Next::Fail if self.may_try_others(peer, error) => self.begin(peer),
            Next::Fail => {
                self.fail_dial(peer, &error.into());
                self.fail_circuits(&peer, error);
            }
        }
    }

    /// Where an address turned out to be somebody else's, what else is known of the peer is tried, a few times.
    pub(super) fn may_try_others(&mut self, peer: PeerId, error: &swarm::DialError) -> bool {
        let is_wrong = matches!(error, swarm::DialError::WrongPeerId { .. });
        if !is_wrong || self.ports.book.addresses(&peer).is_empty() {
            return false;
        }
        let n = self.wrong.entry(peer).or_default();
        *n += 1;
        *n <= limits::WRONG_PEERS
    }

    pub(super) fn fail_dial(&mut self, peer: PeerId, error: &DialError) {
        self.wrong.remove(&peer);
        self.dials.fail(&peer, error);
    }

    pub(super) fn on_dial_failed(&mut self, attempt: ConnectionId, peer: Option<PeerId>, error: &swarm::DialError) {
        if let Some(reply) = self.dials.stranger(attempt) {
            drop(reply.send(Err(error.into())));
        } else if let Some(peer) = peer {
            self.on_attempt_failed(peer, attempt, error);
        }
    }
}
