//! What attackers send.

use std::collections::{BTreeMap, BTreeSet};

use syncra_protocol::Timestamp;
use syncra_protocol::id::PackageId;
use syncra_protocol::origin::Origin;

use super::{Message, chain};
use crate::rng::Rng;
use crate::world::Chain;

/// Logs of one attacker that everybody knows.
const OWN_LOGS: u8 = 5;
/// Notes of logs that nobody knows, made once.
const UNKNOWN_NOTES: usize = 400;
/// A censor forges twice, this far apart: then it is poor for a quarter of an hour, and not sent away.
const FORGED_AT_MS: [u64; 2] = [0, 30_000];

/// What an attacker does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attack {
    /// Notes whose signature is wrong.
    Invalid,
    /// Notes of honest writers, as they were long ago.
    Replay,
    /// Notes of logs that nobody knows.
    Unknown,
    /// Notes of known logs that it writes itself, one after the other; nobody gets the entries.
    Own,
    /// Makes itself so unpopular that nobody acts on what it says, and then is the first to pass on everything.
    Censor,
}

impl Attack {
    /// All of them, with their names.
    pub const ALL: [(&'static str, Self); 5] = [
        ("invalid", Self::Invalid),
        ("replay", Self::Replay),
        ("unknown", Self::Unknown),
        ("own", Self::Own),
        ("censor", Self::Censor),
    ];
}

/// See the [module](self).
pub struct Attacker {
    attack: Attack,
    own: Vec<Chain>,
    pool: Vec<Message>,
    /// Messages sent to each victim.
    n_sent: BTreeMap<usize, usize>,
    began_at: Option<Timestamp>,
    heard: BTreeSet<u64>,
    replayed: BTreeMap<(Origin, u64), Message>,
}

impl Attacker {
    /// One that begins.
    pub fn new(attack: Attack, seed: u8, rng: &mut Rng) -> Self {
        let own = (0..if attack == Attack::Own { OWN_LOGS } else { 0 }).map(|n| chain(seed + n, false)).collect();
        let unknown = |_| {
            let mut package = [0; 32];
            package[..8].copy_from_slice(&rng.next().to_le_bytes());
            let mut chain = Chain::new(seed, |key| Origin::package(PackageId::from_bytes(package), key));
            chain.append_bytes(vec![1]);
            Message::new(chain.head().note())
        };
        let pool = (0..if attack == Attack::Unknown { UNKNOWN_NOTES } else { 0 }).map(unknown).collect();
        Self {
            attack,
            own,
            pool,
            n_sent: BTreeMap::new(),
            began_at: None,
            heard: BTreeSet::new(),
            replayed: BTreeMap::new(),
        }
    }

    /// Its logs that everybody knows.
    pub fn origins(&self) -> impl Iterator<Item = Origin> {
        self.own.iter().map(Chain::origin)
    }

    /// Takes in news; whether it tells everybody.
    pub fn overhears(&mut self, message: &Message) -> bool {
        self.attack == Attack::Censor && self.heard.insert(message.id)
    }

    /// The next message to a victim; none if it holds back for now.
    pub fn next(&mut self, now: Timestamp, to: usize, honest: &[Chain], rng: &mut Rng) -> Option<Message> {
        let n_sent = self.n_sent.entry(to).or_default();
        let n = *n_sent;
        let began_at = *self.began_at.get_or_insert(now);
        let message = match self.attack {
            Attack::Invalid => forged(honest, rng)?,
            Attack::Replay => {
                let chain = rng.pick(honest)?;
                let size = chain.size().checked_sub(1).filter(|size| *size > 0)?;
                let size = rng.between(1..size + 1);
                let note = || Message::new(chain.head_at(size).note());
                self.replayed.entry((chain.origin(), size)).or_insert_with(note).clone()
            }
            Attack::Unknown => self.pool.get(n % self.pool.len())?.clone(),
            Attack::Own => {
                let at = rng.below(self.own.len());
                let chain = &mut self.own[at];
                chain.append_bytes(rng.next().to_le_bytes().to_vec());
                Message::new(chain.head().note())
            }
            Attack::Censor => {
                let due = began_at.0 + FORGED_AT_MS.get(n)?;
                if now.0 < due {
                    return None;
                }
                forged(honest, rng)?
            }
        };
        *n_sent += 1;
        Some(message)
    }
}

/// A note of somebody honest with a wrong bit in its signature.
fn forged(honest: &[Chain], rng: &mut Rng) -> Option<Message> {
    let chain = rng.pick(honest)?;
    let mut note = chain.head().note().to_vec();
    let at = note.len() - 2 - rng.below(40);
    note[at] ^= 1;
    Some(Message::new(&note))
}
