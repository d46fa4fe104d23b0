//! How the network task reaches somebody: which addresses it tries, and what becomes of those who wait for it.

use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{self, ConnectionId};
use libp2p::{Multiaddr, PeerId};
use syncra_protocol::key::DeviceKey;
use tokio::sync::oneshot;

use super::Driver;
use crate::net::address;
use crate::net::error::DialError;
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
        match self.dials.wait(peer, Waiter::Dial(reply)) {
            Ok(_) => self.try_all(peer, vec![bare]),
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
        let options = DialOpts::peer_id(peer).condition(PeerCondition::Always).addresses(addresses).build();
        let attempt = options.connection_id();
        self.dials.began(peer, attempt);
        if let Err(error) = self.swarm.dial(options) {
            self.on_attempt_failed(peer, attempt, &error);
        }
    }

    pub(super) fn on_attempt_failed(&mut self, peer: PeerId, attempt: ConnectionId, error: &swarm::DialError) {
        if let swarm::DialError::WrongPeerId { address, .. } = error {
            self.ports.book.remove(&peer, &address::split_peer(address).1);
        }
        match self.dials.failed(&peer, attempt) {
            Next::Wait => {}
            Next::Try(addresses) => self.try_all(peer, addresses),
            Next::Fail if self.may_try_others(peer, error) => self.begin(peer),
            Next::Fail => {
                self.finish_dial(peer, |waiter| waiter.fail(error.into()));
                self.fail_circuits(&peer, error);
            }
        }
    }

    /// One wrong address spoils a whole attempt, so the others get another, a few times.
    pub(super) fn may_try_others(&mut self, peer: PeerId, error: &swarm::DialError) -> bool {
        let is_wrong = matches!(error, swarm::DialError::WrongPeerId { .. });
        if !is_wrong || self.ports.book.addresses(&peer).is_empty() {
            return false;
        }
        let n = self.wrong.entry(peer).or_default();
        *n += 1;
        *n <= limits::WRONG_PEERS
    }

    pub(super) fn finish_dial(&mut self, peer: PeerId, mut answer: impl FnMut(Waiter)) {
        self.wrong.remove(&peer);
        self.dials.finish(&peer).into_iter().for_each(&mut answer);
    }

    pub(super) fn on_dial_failed(&mut self, attempt: ConnectionId, peer: Option<PeerId>, error: &swarm::DialError) {
        if let Some(reply) = self.dials.stranger(attempt) {
            drop(reply.send(Err(error.into())));
        } else if let Some(peer) = peer {
            self.on_attempt_failed(peer, attempt, error);
        }
    }
}
