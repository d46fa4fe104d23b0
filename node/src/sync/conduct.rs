//! What a peer may make us check in vain. Every note, proof and entry that does not verify costs a signature or a hash
//! tree, and no honest peer sends one: so many are put up with, for mistakes and for versions that we do not know.

use std::collections::VecDeque;

use syncra_protocol::sync::Peer;
use syncra_protocol::sync::follow::Fault;

/// Vain checks that a peer may cost before it is banned.
const VAIN_CHECKS: u32 = 24;
/// Peers whose faults are counted; the one that began longest ago goes first. Counted over reconnects.
const COUNTED: usize = 1_024;

/// The faults of all peers.
#[derive(Debug, Default)]
pub(super) struct Conduct(VecDeque<(Peer, u32)>);

impl Conduct {
    /// Counts a fault. True when the peer is to be banned for it.
    pub(super) fn fault(&mut self, peer: Peer, fault: &Fault) -> bool {
        if !is_vain(fault) {
            return false;
        }
        let known = self.0.iter_mut().find(|(known, _)| *known == peer);
        let n = match known {
            Some((_, n)) => {
                *n = n.saturating_add(1);
                *n
            }
            None => {
                self.0.push_back((peer, 1));
                1
            }
        };
        if self.0.len() > COUNTED {
            self.0.pop_front();
        }
        let is_enough = n >= VAIN_CHECKS;
        if is_enough {
            self.0.retain(|(known, _)| *known != peer);
        }
        is_enough
    }
}

/// Whether we worked for nothing. An old log or a fork proof is news, and silence costs only time.
fn is_vain(fault: &Fault) -> bool {
    match fault {
        Fault::BadGenesis
        | Fault::BadNote
        | Fault::BadProof { .. }
        | Fault::BadEntry { .. }
        | Fault::Oversized
        | Fault::Malformed => true,
        Fault::Rollback { .. } | Fault::Fork(_) | Fault::Stalled { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use syncra_protocol::key::DeviceSecret;

    use super::*;

    fn peer(n: u16) -> Peer {
        let mut seed = [0; 32];
        seed[..2].copy_from_slice(&n.to_le_bytes());
        DeviceSecret::from_seed(&seed).public()
    }

    #[test]
    fn who_sends_what_does_not_verify_is_put_up_with_for_a_while() {
        let mut conduct = Conduct::default();
        let bans = (1..=100).filter(|_| conduct.fault(peer(1), &Fault::BadNote)).count();
        assert_eq!(bans, 100 / VAIN_CHECKS as usize);
        assert!(
            (1..=100)
                .all(|_| !conduct.fault(peer(2), &Fault::Stalled { ask: syncra_protocol::sync::follow::Ask::Heads }))
        );
    }

    #[test]
    fn faults_of_many_peers_take_no_more_room_than_allowed() {
        let mut conduct = Conduct::default();
        for n in 0..2 * COUNTED as u16 {
            assert!(!conduct.fault(peer(n), &Fault::Malformed));
        }
        assert_eq!(conduct.0.len(), COUNTED);
    }
}
