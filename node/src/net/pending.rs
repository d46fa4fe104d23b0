//! Dials under way and who waits for them. Every waiter is answered exactly once: by an outcome here, or by its reply
//! channel being dropped when the network task ends.

use std::collections::HashMap;

use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId};
use syncra_protocol::key::DeviceKey;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::error::{DialError, Unreached};
use super::limits;
use super::streams::OpenRequest;

/// Somebody who waits for a connection.
#[derive(Debug)]
pub(super) enum Waiter {
    /// Wants only to know.
    Dial(oneshot::Sender<Result<DeviceKey, DialError>>),
    /// Wants only to know, and what became of each address.
    Reach(oneshot::Sender<Result<(), Unreached>>),
    /// Wants a stream.
    Open(OpenRequest),
    /// Looks for providers, of which this is one.
    Found(mpsc::Sender<DeviceKey>),
    /// Wants to reach others through it, see `swarm/traversal.rs`.
    Relay,
}

/// All dials.
#[derive(Debug, Default)]
pub(super) struct Dials {
    /// Dials to a known peer: one set of attempts each, however many wait.
    peers: HashMap<PeerId, Dial>,
    /// Dials to an address whose peer is not known before the handshake.
    strangers: HashMap<ConnectionId, oneshot::Sender<Result<DeviceKey, DialError>>>,
}

#[derive(Debug, Default)]
struct Dial {
    /// Each with its addresses.
    attempts: Vec<(ConnectionId, Vec<Multiaddr>)>,
    /// Addresses that were tried or are being tried.
    tried: Vec<Multiaddr>,
    /// What became of them.
    failed: Vec<(Multiaddr, DialError)>,
    /// Attempts that were begun anew because somebody else answered.
    n_wrong: usize,
    /// Addresses of the second choice, tried at that time or when all attempts have failed.
    later: Option<(Instant, Vec<Multiaddr>)>,
    waiters: Vec<Waiter>,
}

/// What to do after an attempt has failed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing: others are under way, or nobody waits.
    Wait,
    /// Try these.
    Try(Vec<Multiaddr>),
    /// Give up: the last attempt has failed.
    Fail,
}

impl Dials {
    /// Adds a waiter; returns it when too many wait already. `true` when a dial has to be begun.
    pub(super) fn wait(&mut self, peer: PeerId, waiter: Waiter) -> Result<bool, Waiter> {
        let dial = self.peers.entry(peer).or_default();
        if dial.waiters.len() >= limits::WAITERS_PER_PEER {
            return Err(waiter);
        }
        dial.waiters.push(waiter);
        Ok(dial.attempts.is_empty())
    }

    /// Whether a dial to `peer` is under way.
    pub(super) fn is_dialling(&self, peer: &PeerId) -> bool {
        self.peers.contains_key(peer)
    }

    /// Whether `peer` is dialled for its own sake, not as a way to others.
    pub(super) fn is_meant(&self, peer: &PeerId) -> bool {
        let is_meant = |waiter: &Waiter| !matches!(waiter, Waiter::Relay);
        self.peers.get(peer).is_some_and(|dial| dial.waiters.is_empty() || dial.waiters.iter().any(is_meant))
    }

    /// Notes an attempt to reach `peer`.
    pub(super) fn began(&mut self, peer: PeerId, attempt: ConnectionId, addresses: Vec<Multiaddr>) {
        let dial = self.peers.entry(peer).or_default();
        for address in &addresses {
            if dial.tried.len() < limits::ADDRESSES_OF_DIAL && !dial.tried.contains(address) {
                dial.tried.push(address.clone());
            }
        }
        dial.attempts.push((attempt, addresses));
    }

    /// Notes addresses of the second choice, beside those that wait already.
    pub(super) fn keep_for_later(&mut self, peer: PeerId, addresses: Vec<Multiaddr>) {
        if addresses.is_empty() {
            return;
        }
        let dial = self.peers.entry(peer).or_default();
        let (_, later) = dial.later.get_or_insert_with(|| (Instant::now() + limits::HEAD_START, Vec::new()));
        for address in addresses {
            if later.len() < limits::ADDRESSES_OF_DIAL && !later.contains(&address) {
                later.push(address);
            }
        }
    }

    /// Adds addresses to a dial under way, as a second choice: the same one is not dialled twice.
    pub(super) fn join(&mut self, peer: PeerId, mut addresses: Vec<Multiaddr>) {
        if let Some(dial) = self.peers.get(&peer) {
            addresses.retain(|address| !dial.tried.contains(address));
        }
        self.keep_for_later(peer, addresses);
    }

    /// Notes what became of an address.
    pub(super) fn note_failure(&mut self, peer: &PeerId, address: Multiaddr, error: DialError) {
        let Some(dial) = self.peers.get_mut(peer) else { return };
        dial.failed.retain(|(known, _)| *known != address);
        if dial.failed.len() < limits::ADDRESSES_OF_DIAL {
            dial.failed.push((address, error));
        }
    }

    /// Notes a dial to a stranger.
    pub(super) fn began_with_stranger(
        &mut self,
        attempt: ConnectionId,
        reply: oneshot::Sender<Result<DeviceKey, DialError>>,
    ) {
        self.strangers.insert(attempt, reply);
    }

    /// The stranger's dial has ended.
    pub(super) fn stranger(&mut self, attempt: ConnectionId) -> Option<oneshot::Sender<Result<DeviceKey, DialError>>> {
        self.strangers.remove(&attempt)
    }

    /// An attempt to reach `peer` has failed; `wrong` is where somebody else answered, which spoils the whole attempt: its
    /// other addresses get another, a few times.
    pub(super) fn failed(&mut self, peer: &PeerId, attempt: ConnectionId, wrong: Option<&Multiaddr>) -> Next {
        let Some(dial) = self.peers.get_mut(peer) else { return Next::Wait };
        let Some(place) = dial.attempts.iter().position(|(id, _)| *id == attempt) else { return Next::Wait };
        let (_, mut rest) = dial.attempts.swap_remove(place);
        if let Some(wrong) = wrong {
            rest.retain(|address| address != wrong);
            if !rest.is_empty() && dial.n_wrong < limits::WRONG_PEERS {
                dial.n_wrong += 1;
                return Next::Try(rest);
            }
        }
        if !dial.attempts.is_empty() {
            return Next::Wait;
        }
        dial.later.take().map_or(Next::Fail, |(_, addresses)| Next::Try(addresses))
    }

    /// The dial to `peer` is over: whoever waited for it.
    pub(super) fn finish(&mut self, peer: &PeerId) -> Vec<Waiter> {
        self.peers.remove(peer).map(|dial| dial.waiters).unwrap_or_default()
    }

    /// The dial to `peer` has failed: tells whoever waited for it.
    pub(super) fn fail(&mut self, peer: &PeerId, error: &DialError) {
        let Some(dial) = self.peers.remove(peer) else { return };
        for waiter in dial.waiters {
            match waiter {
                Waiter::Reach(reply) => {
                    drop(reply.send(Err(Unreached::new(dial.failed.clone(), error.clone()))));
                }
                waiter => waiter.fail(error.clone()),
            }
        }
    }

    /// When second choices are due.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.peers.values().filter_map(|dial| dial.later.as_ref().map(|(at, _)| *at)).min()
    }

    /// Second choices that are due.
    pub(super) fn due(&mut self, now: Instant) -> Vec<(PeerId, Vec<Multiaddr>)> {
        let is_due = |dial: &mut Dial| dial.later.take_if(|(at, _)| *at <= now).map(|(_, addresses)| addresses);
        self.peers.iter_mut().filter_map(|(peer, dial)| Some((*peer, is_due(dial)?))).collect()
    }
}

impl Waiter {
    /// Tells a waiter that its dial has failed. One that has gone hears nothing.
    pub(super) fn fail(self, error: DialError) {
        match self {
            Self::Dial(reply) => drop(reply.send(Err(error))),
            Self::Reach(reply) => drop(reply.send(Err(Unreached::new(Vec::new(), error)))),
            Self::Open(request) => drop(request.reply.send(Err(error.into()))),
            // Others may be found; the last end of the channel tells that there are none.
            Self::Found(_) => {}
            // Whoever waits for the relay is told apart.
            Self::Relay => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address() -> Multiaddr {
        "/ip4/10.0.0.1/tcp/1".parse().expect("address")
    }

    fn other() -> Multiaddr {
        "/ip4/10.0.0.1/udp/1/quic-v1".parse().expect("address")
    }

    #[test]
    fn addresses_that_come_later_join_the_dial_under_way() {
        let mut dials = Dials::default();
        let peer = PeerId::random();
        dials.began(peer, ConnectionId::new_unchecked(1), vec![address()]);
        dials.join(peer, vec![address()]);
        assert_eq!(dials.next_timeout(), None, "it is being tried");
        let third: Multiaddr = "/ip4/10.0.0.2/tcp/1".parse().expect("address");
        dials.keep_for_later(peer, vec![other()]);
        dials.join(peer, vec![third.clone(), other()]);
        assert_eq!(dials.due(Instant::now() + limits::HEAD_START), vec![(peer, vec![other(), third])]);
    }

    #[test]
    fn one_wrong_address_does_not_spoil_the_others() {
        let mut dials = Dials::default();
        let (peer, first, second) = (PeerId::random(), ConnectionId::new_unchecked(1), ConnectionId::new_unchecked(2));
        let (reply, mut answer) = oneshot::channel();
        dials.wait(peer, Waiter::Reach(reply)).expect("place");
        dials.began(peer, first, vec![address(), other()]);
        dials.note_failure(&peer, address(), DialError::WrongPeer { obtained: None });
        assert_eq!(dials.failed(&peer, first, Some(&address())), Next::Try(vec![other()]));
        dials.began(peer, second, vec![other()]);
        assert_eq!(dials.failed(&peer, second, None), Next::Fail);
        dials.fail(&peer, &DialError::Timeout);
        let unreached = answer.try_recv().expect("an answer").expect_err("not reached");
        assert_eq!(unreached.at(&address()), DialError::WrongPeer { obtained: None });
        assert_eq!(unreached.at(&other()), DialError::Timeout);
    }

    #[test]
    fn second_choices_are_tried_when_the_first_has_failed() {
        let mut dials = Dials::default();
        let (peer, attempt) = (PeerId::random(), ConnectionId::new_unchecked(1));
        let (reply, mut answer) = oneshot::channel();
        assert!(dials.wait(peer, Waiter::Dial(reply)).expect("place"), "a dial has to be begun");
        dials.began(peer, attempt, vec![other()]);
        dials.keep_for_later(peer, vec![address()]);
        assert!(dials.next_timeout().is_some());
        assert_eq!(dials.failed(&peer, ConnectionId::new_unchecked(9), None), Next::Wait, "not one of ours");
        assert_eq!(dials.failed(&peer, attempt, None), Next::Try(vec![address()]));
        dials.began(peer, attempt, vec![other()]);
        assert_eq!(dials.failed(&peer, attempt, None), Next::Fail);
        for waiter in dials.finish(&peer) {
            waiter.fail(DialError::NoAddress);
        }
        assert_eq!(answer.try_recv(), Ok(Err(DialError::NoAddress)));
        assert!(!dials.is_dialling(&peer));
    }

    #[test]
    fn second_choices_are_tried_when_their_time_has_come() {
        let mut dials = Dials::default();
        let peer = PeerId::random();
        dials.began(peer, ConnectionId::new_unchecked(1), vec![other()]);
        dials.keep_for_later(peer, vec![address()]);
        assert_eq!(dials.due(Instant::now()), vec![]);
        assert_eq!(dials.due(Instant::now() + limits::HEAD_START), vec![(peer, vec![address()])]);
        assert_eq!(dials.next_timeout(), None);
    }

    #[test]
    fn waiters_are_bounded() {
        let mut dials = Dials::default();
        let peer = PeerId::random();
        for _ in 0..limits::WAITERS_PER_PEER {
            dials.wait(peer, Waiter::Dial(oneshot::channel().0)).expect("place");
        }
        assert!(dials.wait(peer, Waiter::Dial(oneshot::channel().0)).is_err());
        assert_eq!(dials.finish(&peer).len(), limits::WAITERS_PER_PEER);
    }
}
