//! What the network task does about what peers did, and with notices that they pass on.

use std::time::Duration;

use libp2p::gossipsub;
use libp2p::{PeerId, Swarm};
use syncra_protocol::key::DeviceKey;
use syncra_protocol::sync::score::{Deed, Effect, Grade, Score};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Driver;
use crate::clock::steady;
use crate::net::PeerInfo;
use crate::net::address::{device_key, peer_id};
use crate::net::behaviour::Behaviour;
use crate::net::error::DialError;
use crate::net::gossip::{Gossip, Notice, Settled, Ticket};

/// How long a peer stays away; none if for good, or not at all.
pub(in crate::net) fn away_for(grade: Grade) -> Option<Duration> {
    match grade {
        Grade::Away(until) => Some(until.since(steady())),
        Grade::Good | Grade::Poor | Grade::Banned => None,
    }
}

impl Driver<'_> {
    /// Shuts out whom the scores say: a new swarm knows nothing.
    pub(super) fn remember_scores(swarm: &mut Swarm<Behaviour>, ports: &super::Ports) {
        for score in ports.scores.all(steady()).filter(|score| score.grade.is_shut_out()) {
            if let Some(peer) = peer_id(&score.peer) {
                swarm.behaviour_mut().bans.block_peer(peer);
            }
        }
    }

    pub(super) fn is_shut_out(&self, peer: &PeerId) -> bool {
        device_key(peer).is_some_and(|key| self.ports.scores.is_shut_out(&key))
    }

    pub(super) fn report(&mut self, peer: DeviceKey, deed: Deed) {
        if deed != Deed::Delivered {
            tracing::debug!(peer = peer.fmt_short(), ?deed, "counted against a peer");
        }
        self.ports.scores.report(steady(), peer, deed);
        self.apply_scores();
    }

    pub(super) fn pardon(&mut self, peer: &DeviceKey) -> bool {
        let was_shut_out = self.ports.scores.pardon(peer);
        self.apply_scores();
        was_shut_out
    }

    pub(super) fn on_scores_timeout(&mut self) {
        self.ports.scores.handle_timeout(steady());
        self.apply_scores();
    }

    fn apply_scores(&mut self) {
        while let Some(effect) = self.ports.scores.poll_effect() {
            match effect {
                Effect::ShutOut(key) => {
                    let says = self.ports.scores.get(steady(), &key).last_fault.map_or("", Deed::says);
                    tracing::warn!(peer = key.fmt_short(), says, "shut out");
                    self.with_peer(key, Self::shut_out);
                }
                Effect::LetIn(key) => self.with_peer(key, |driver, peer| {
                    driver.swarm.behaviour_mut().bans.unblock_peer(peer);
                }),
            }
        }
        self.scores_wake = self.ports.scores.next_timeout().map(|at| Instant::now() + at.since(steady()));
    }

    fn with_peer(&mut self, key: DeviceKey, then: impl FnOnce(&mut Self, PeerId)) {
        // A key that is no point of the curve is nobody's.
        if let Some(peer) = peer_id(&key) {
            then(self, peer);
        }
    }

    fn shut_out(&mut self, peer: PeerId) {
        self.swarm.behaviour_mut().bans.block_peer(peer); // closes its connections
        self.fail_dial(peer, &DialError::Banned);
    }

    /// What the scores say of a connected peer.
    pub(super) fn score_into(&self, info: &mut PeerInfo) {
        let Score { points, grade, last_fault, .. } = self.ports.scores.get(steady(), &info.key);
        (info.points, info.is_poor, info.last_fault) = (points, grade == Grade::Poor, last_fault);
    }

    pub(super) fn answer_shut_out(&self, reply: oneshot::Sender<Vec<Score>>) {
        let all = self.ports.scores.all(steady()).filter(|score| score.grade.is_shut_out());
        drop(reply.send(all.collect()));
    }

    fn gossip(&mut self) -> &mut Gossip {
        &mut self.swarm.behaviour_mut().gossip
    }

    /// Hands a notice to whoever judges; with nobody there, or too many waiting, it ends here.
    pub(super) fn on_gossip(&mut self, event: gossipsub::Event) {
        self.tell_mesh();
        let Some((note, ticket)) = Gossip::notice_of(event) else { return };
        let Some(peer) = device_key(ticket.from()) else { return };
        let is_heeded = self.ports.scores.get(steady(), &peer).grade == Grade::Good;
        if self.ports.notices.try_send(Notice { peer, note, ticket: ticket.clone(), is_heeded }).is_err() {
            self.settle(&ticket, Settled::Drop);
        }
    }

    pub(super) fn settle(&mut self, ticket: &Ticket, settled: Settled) {
        if !self.gossip().settle(ticket, settled) {
            tracing::debug!(?settled, "a notice was judged too late");
        }
    }

    pub(super) fn announce(&mut self, note: Vec<u8>) {
        self.gossip().publish(note);
    }

    pub(super) fn tell_mesh(&mut self) {
        let n_mesh = self.gossip().n_mesh();
        self.ports.mesh.send_if_modified(|known| std::mem::replace(known, n_mesh) != n_mesh);
    }
}
