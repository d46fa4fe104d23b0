//! At which relays a node that cannot be reached has itself reached. Decides, and does nothing.

use std::collections::HashMap;

use libp2p::core::transport::ListenerId;
use libp2p::{Multiaddr, PeerId};
use tokio::time::Instant;

use crate::net::limits;

/// Places at relays, asked for or held.
#[derive(Debug, Default)]
pub(in crate::net) struct Relays {
    places: HashMap<ListenerId, Place>,
    /// Not to be asked before.
    refusing: HashMap<PeerId, Instant>,
}

#[derive(Debug)]
struct Place {
    relay: PeerId,
    is_held: bool,
}

impl Relays {
    /// Which of the relays that offer places to ask now.
    pub(in crate::net) fn wanted(
        &mut self,
        offering: Vec<(PeerId, Multiaddr)>,
        now: Instant,
    ) -> Vec<(PeerId, Multiaddr)> {
        self.refusing.retain(|_, until| *until > now);
        let is_new = |relay: &PeerId| {
            !self.refusing.contains_key(relay) && self.places.values().all(|place| place.relay != *relay)
        };
        let n_wanted = limits::RELAYS.saturating_sub(self.places.len());
        offering.into_iter().filter(|(relay, _)| is_new(relay)).take(n_wanted).collect()
    }

    /// A relay was asked.
    pub(in crate::net) fn asked(&mut self, listener: ListenerId, relay: PeerId) {
        self.places.insert(listener, Place { relay, is_held: false });
    }

    /// A relay has granted a place, or has renewed it.
    pub(in crate::net) fn granted(&mut self, relay: &PeerId) {
        for place in self.places.values_mut().filter(|place| place.relay == *relay) {
            place.is_held = true;
        }
    }

    /// A relay that cannot be asked.
    pub(in crate::net) fn refused(&mut self, relay: PeerId, now: Instant) {
        if self.refusing.len() < limits::RELAYS_REFUSING {
            self.refusing.insert(relay, now + limits::RELAY_RETRY);
        }
    }

    /// A listener has closed: a place is lost, or was not granted. False if it was no place at a relay.
    pub(in crate::net) fn closed(&mut self, listener: ListenerId, now: Instant) -> bool {
        let Some(place) = self.places.remove(&listener) else { return false };
        self.refused(place.relay, now);
        true
    }

    /// Places to give up. What was only asked for is not among them: the library takes an answer that comes after for a
    /// bug of its own.
    pub(in crate::net) fn held(&self) -> Vec<ListenerId> {
        self.places.iter().filter(|(_, place)| place.is_held).map(|(listener, _)| *listener).collect()
    }

    /// When a relay may be asked again that refused.
    pub(in crate::net) fn next_try(&self) -> Option<Instant> {
        self.refusing.values().min().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_relays_are_asked_and_who_refuses_later_again() {
        let mut relays = Relays::default();
        let all: Vec<_> = (0..5).map(|_| (PeerId::random(), Multiaddr::empty())).collect();
        let now = Instant::now();
        let asked = relays.wanted(all.clone(), now);
        assert_eq!(asked.len(), limits::RELAYS);
        let listeners: Vec<_> = asked.iter().map(|_| ListenerId::next()).collect();
        for (listener, (relay, _)) in listeners.iter().zip(&asked) {
            relays.asked(*listener, *relay);
        }
        assert!(relays.wanted(all.clone(), now).is_empty());
        relays.granted(&asked[1].0);
        assert_eq!(relays.held(), [listeners[1]]);
        assert!(relays.closed(listeners[0], now));
        assert!(!relays.closed(listeners[0], now), "known no more");
        let next = relays.wanted(all.clone(), now);
        assert!(next.len() == 1 && next[0].0 != asked[0].0 && next[0].0 != asked[1].0);
        assert_eq!(relays.next_try(), Some(now + limits::RELAY_RETRY));
        let only = vec![all[0].clone()];
        assert_eq!(relays.wanted(only.clone(), now + limits::RELAY_RETRY).len(), 1, "in the end it is asked again");
    }
}
