//! Witnesses: what this node says as one, and what others say to its reader.
//!
//! As a witness a node cosigns the newest head of every log that it holds and has verified. [`Witness`] decides what may be
//! said, the journal has it before anybody hears of it, and the signature follows from what the journal has.
//!
//! To its reader a node tells how new what it shows is: by the witnesses on the reader's list, never by others. What others
//! say is passed on, within bounds, for readers who list them. `docs/design/witness.md` has the reasons.

mod testimony;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use syncra_protocol::Timestamp;
use syncra_protocol::codec;
use syncra_protocol::evidence::Quorum;
use syncra_protocol::fold::Published;
use syncra_protocol::key::{DeviceKey, DeviceSecret};
use syncra_protocol::log::Log;
use syncra_protocol::log::checkpoint::Head;
use syncra_protocol::log::cosignature::{Cosignature, WitnessKey};
use syncra_protocol::log::fork::ForkProof;
use syncra_protocol::log::fork_point::ForkPoint;
use syncra_protocol::log::witness::{Refused, Statement, Witness};
use syncra_protocol::origin::Origin;
use tokio::sync::{broadcast, watch};

use crate::clock;
use crate::config::{Config, Policy};
use crate::journal::{AppendError, Journal, LogTestimony, Stated, Testimony};
use crate::net::address;

/// Statements that a slow listener may lag behind.
const SPOKEN: usize = 256;
/// A listed witness's newest time is written down again when it is this much newer: a power cut costs so much freshness, and
/// an idle node writes once an hour for each log.
const WRITTEN_EVERY: Duration = Duration::from_secs(3_600);

/// The witnesses of an open home.
#[derive(Debug)]
pub struct Witnesses {
    journal: Journal,
    device: DeviceKey,
    secret: DeviceSecret,
    /// Whether this node witnesses.
    witnesses: watch::Sender<bool>,
    own: Mutex<Witness>,
    /// What was heard and is newer than what the journal has.
    heard: Mutex<BTreeMap<Origin, Testimony>>,
    listed: RwLock<Vec<WitnessKey>>,
    policy: RwLock<Policy>,
    spoken: broadcast::Sender<Head>,
    heard_of: broadcast::Sender<Origin>,
}

/// How new something is, by the reader's witnesses.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Freshness {
    /// Witnesses on the list that cosigned exactly what is held.
    pub by: usize,
    /// Witnesses on the list.
    pub of: usize,
    /// How many must have, for the time to be believed.
    pub needed: usize,
    /// The latest time that so many of them reach, by their clocks; none if fewer cosigned.
    pub at: Option<Timestamp>,
}

/// Why the reader's policy keeps a release from being installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unwitnessed {
    /// There is no list, and seen it must be.
    #[error("no witness is on your list, and {needed} must have seen it: `syncra witness add WITNESS` puts one there")]
    Nobody {
        /// How many must have.
        needed: usize,
    },
    /// Too few of the reader's witnesses have seen it.
    #[error("{by} of your {of} witnesses have seen it, {needed} are asked for")]
    TooFew {
        /// Those who have.
        by: usize,
        /// Those on the list.
        of: usize,
        /// Those who must have.
        needed: usize,
    },
    /// They have not seen it for long enough.
    #[error("your witnesses have seen it for {} h, {hours} h are asked for", .since.as_secs() / 3_600)]
    TooYoung {
        /// For how long enough of them have.
        since: Duration,
        /// For how long they must have.
        hours: u64,
    },
}

/// A policy that no list of witnesses so short can meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shortfall {
    /// Witnesses on the list.
    pub of: usize,
    /// Those who must have seen a release.
    pub needed: usize,
}

impl Shortfall {
    /// What these settings ask for in vain, if they do.
    #[must_use]
    pub fn of(policy: &Policy, n_listed: usize) -> Option<Self> {
        let needed = needed_of(policy, n_listed);
        let asks = (policy.min_witnesses, policy.min_witnessed_hours) != (0, 0);
        (asks && needed > n_listed).then_some(Self { of: n_listed, needed })
    }
}

impl std::fmt::Display for Shortfall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { of, needed } = self;
        write!(
            f,
            "nothing that others publish can be installed until {needed} witnesses have seen it, and {of} are on your list: \
             `syncra witness add WITNESS` puts them there"
        )
    }
}

fn needed_of(policy: &Policy, n_listed: usize) -> usize {
    match policy.min_witnesses {
        0 => n_listed / 2 + 1,
        asked => usize::try_from(asked).unwrap_or(usize::MAX),
    }
}

/// A witness named by people: a vkey, a peer id, or a device key.
#[must_use]
pub fn named(text: &str) -> Option<WitnessKey> {
    let by_peer = || address::device_key(&text.parse().ok()?).map(WitnessKey::of);
    text.parse().ok().or_else(|| text.parse().ok().map(WitnessKey::of)).or_else(by_peer)
}

impl Witnesses {
    /// The witnesses of a home with these settings; `secret` is this device's.
    #[must_use]
    pub fn open(journal: Journal, config: &Config, secret: DeviceSecret) -> Self {
        let device = secret.public();
        let mut own = Witness::new(device);
        for stated in journal.truth().stated() {
            let Ok(head) = Head::verify(&stated.note) else {
                tracing::error!(origin = %stated.origin, "what was said as a witness does not verify");
                continue;
            };
            let statement = Statement::recall(&head, Timestamp(stated.seconds.saturating_mul(1_000)));
            if let Err(error) = own.record(statement) {
                tracing::error!(origin = %stated.origin, %error, "what was said as a witness contradicts itself");
            }
        }
        let (spoken, heard_of) = (broadcast::Sender::new(SPOKEN), broadcast::Sender::new(SPOKEN));
        let listed = config.witnesses.iter().filter_map(|text| named(text)).collect();
        Self {
            journal,
            device,
            secret,
            witnesses: watch::Sender::new(config.witness),
            own: Mutex::new(own),
            heard: Mutex::default(),
            listed: RwLock::new(listed),
            policy: RwLock::new(config.policy.clone()),
            spoken,
            heard_of,
        }
    }

    /// The witness that this node is, or would be.
    #[must_use]
    pub fn key(&self) -> WitnessKey {
        WitnessKey::of(self.device)
    }

    /// Whether this node witnesses.
    #[must_use]
    pub fn is_witness(&self) -> bool {
        *self.witnesses.borrow()
    }

    /// Hears when this node begins to witness, or ends.
    #[must_use]
    pub fn witnessing(&self) -> watch::Receiver<bool> {
        self.witnesses.subscribe()
    }

    /// Takes over what these settings say of witnesses; what they say differently than before.
    pub fn take_over(&self, config: &Config) -> Vec<&'static str> {
        let mut changed = Vec::new();
        let listed: Vec<WitnessKey> = config.witnesses.iter().filter_map(|text| named(text)).collect();
        if listed != self.listed() {
            self.list(listed);
            changed.push("witnesses");
        }
        let mut policy = self.policy.write().unwrap_or_else(PoisonError::into_inner);
        if policy.min_witnesses != config.policy.min_witnesses {
            changed.push("policy.min_witnesses");
        }
        if policy.min_witnessed_hours != config.policy.min_witnessed_hours {
            changed.push("policy.min_witnessed_hours");
        }
        policy.clone_from(&config.policy);
        drop(policy);
        if self.witnesses.send_if_modified(|is| core::mem::replace(is, config.witness) != config.witness) {
            changed.push("witness");
        }
        changed
    }

    /// The reader's list.
    #[must_use]
    pub fn listed(&self) -> Vec<WitnessKey> {
        self.listed.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts another list in the place of the reader's.
    pub fn list(&self, witnesses: Vec<WitnessKey>) {
        *self.listed.write().unwrap_or_else(PoisonError::into_inner) = witnesses;
    }

    /// How many of the list are needed: as the policy says, else more than half.
    #[must_use]
    pub fn needed(&self) -> usize {
        self.needed_of(self.listed().len())
    }

    /// The same for a list of `n` witnesses.
    #[must_use]
    pub fn needed_of(&self, n: usize) -> usize {
        needed_of(&self.policy(), n)
    }

    /// What the reader's witnesses have seen of a log, for when it is forked: more than half of them are needed, or more if
    /// the policy says so. None without a list.
    #[must_use]
    pub fn quorum(&self, log: &Log) -> Option<Quorum> {
        let listed = self.listed();
        let needed = self.needed().max(listed.len() / 2 + 1);
        Quorum::new(listed.len(), needed, testimony::seen(&self.testimony(log.origin()), log, &listed))
            .filter(|_| !listed.is_empty())
    }

    /// All that [`Witnesses::quorum`] goes by for a log, as bytes that are equal as long as that is: how many are needed of how
    /// many, and the trees that each listed witness has cosigned, the largest with its root.
    #[must_use]
    pub fn seen_of(&self, origin: &Origin) -> Vec<u8> {
        let listed = self.listed();
        let said = testimony::of_listed(&self.testimony(origin), &listed).by;
        let sizes = |moments: Vec<(u64, u64)>| moments.into_iter().map(|(size, _)| size).collect::<Vec<_>>();
        let seen: Vec<_> = said.into_iter().map(|said| (said.size, said.root, sizes(said.moments))).collect();
        codec::encode(&(self.needed(), listed.len(), seen))
    }

    /// The policy for installs.
    #[must_use]
    pub fn policy(&self) -> Policy {
        self.policy.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Warns who watches of a fork of a log of which nothing is held here, with a head that the proof is made of.
    pub fn warn(&self, proof: &ForkProof) {
        // Nobody listening is fine.
        let _ = self.spoken.send(proof.newer().clone());
    }

    /// Hears of every head that this node cosigns for the first time, or warns of.
    #[must_use]
    pub fn spoken(&self) -> broadcast::Receiver<Head> {
        self.spoken.subscribe()
    }

    /// Hears of every log of which a listed witness says something that changes more than how new it is.
    #[must_use]
    pub fn heard_of(&self) -> broadcast::Receiver<Origin> {
        self.heard_of.subscribe()
    }

    /// Cosigns `head`, which `log` holds, if this node witnesses and that may be said now: at once what has grown, what has
    /// not at a bounded pace.
    ///
    /// # Errors
    /// [`AppendError`] when the journal does not take it; then nothing is said.
    pub async fn witness(&self, log: &Log, head: &Head) -> Result<(), AppendError> {
        let origin = *head.origin();
        if !self.is_witness() || self.journal.truth().fork_proof(&origin).is_some() {
            return Ok(());
        }
        let before = self.own().said(&origin).map_or(0, |said| said.head().size());
        let Ok(proof) = log.prove_consistency(before.min(head.size()), head.size()) else { return Ok(()) };
        let considered = self.own().consider(clock::now(), head, &proof);
        let statement = match considered {
            Ok(statement) => statement,
            Err(Refused::OwnLog | Refused::Early { .. }) => return Ok(()),
            Err(refused) => {
                tracing::warn!(%origin, %refused, "not cosigned");
                return Ok(());
            }
        };
        let (size, root, note) = (head.size(), head.root(), statement.head().note().to_vec());
        let stated = Stated { origin, size, root, note, seconds: statement.at().0 / 1_000 };
        self.journal.append(stated).await?;
        if self.own().record(statement).is_ok() && size > before {
            // Nobody listening is fine.
            let _ = self.spoken.send(head.clone());
        }
        Ok(())
    }

    /// Takes in what witnesses say in the note of a head that is held, or of one before it. What a listed one says is kept
    /// for ever. Whether that is more than was kept before.
    ///
    /// # Errors
    /// [`AppendError`] when the journal does not take it.
    pub async fn hear(&self, head: &Head) -> Result<bool, AppendError> {
        let origin = *head.origin();
        let listed = self.listed();
        let said = Cosignature::all_of(head, &listed, clock::now());
        let others = said.into_iter().filter(|cosignature| *cosignature.witness().key() != self.device);
        let record = {
            let mut heard = self.heard();
            let known = self.journal.truth().testimony(&origin).cloned().unwrap_or_default();
            let testimony = heard.entry(origin).or_insert_with(|| known.clone());
            let mut is_news = false;
            for cosignature in others {
                is_news |= testimony::take(testimony, &cosignature);
            }
            if !is_news {
                return Ok(false);
            }
            testimony::bound(testimony, &listed);
            let worth = testimony::of_listed(testimony, &listed);
            testimony::is_worth_writing(&known, &worth, WRITTEN_EVERY).then_some(worth)
        };
        let Some(testimony) = record else { return Ok(false) };
        self.journal.append(LogTestimony { origin, testimony }).await?;
        let _ = self.heard_of.send(origin);
        Ok(true)
    }

    /// A head's note as it is shown to others: with a fork proof against its log if there is one, then what this node says
    /// of it, then what its reader's witnesses do, then others.
    #[must_use]
    pub fn dress(&self, head: &Head) -> Head {
        let origin = head.origin();
        // Copied out: what follows asks the journal again, which must not happen within a look at it.
        let (fork, point) = {
            let truth = self.journal.truth();
            (truth.fork_proof(origin).map(<[u8]>::to_vec), truth.fork_point(origin).map(<[u8]>::to_vec))
        };
        let fork = fork.and_then(|proof| ForkProof::verify(&proof).ok());
        let point = fork.clone().zip(point).and_then(|(proof, point)| ForkPoint::verify(proof, &point).ok());
        let own = self.is_witness().then(|| self.own().cosignature(&self.secret, origin)).flatten();
        let testimony = self.testimony(origin);
        let heard = testimony::cosignatures(&testimony, head, &self.listed());
        head.with_evidence(fork.as_ref(), point.as_ref(), own.iter().chain(&heard))
    }

    /// How new these heads are together: as old and as little witnessed as the worst of them.
    #[must_use]
    pub fn freshness<'a>(&self, heads: impl IntoIterator<Item = &'a Head>) -> Freshness {
        let (listed, needed) = (self.listed(), self.needed());
        let unknown = Freshness { by: 0, of: listed.len(), needed, at: None };
        let of_head = |head: &Head| {
            let mut times = testimony::times(&self.testimony(head.origin()), head, &listed);
            times.sort_unstable_by(|a, b| b.cmp(a));
            let at = needed.checked_sub(1).and_then(|nth| times.get(nth)).copied();
            Freshness { by: times.len(), at, ..unknown }
        };
        let worst = |a: Freshness, b: Freshness| Freshness { by: a.by.min(b.by), at: a.at.min(b.at), ..unknown };
        heads.into_iter().map(of_head).reduce(worst).unwrap_or(unknown)
    }

    /// What the reader's policy has against installing a release. Nothing against what this device wrote itself.
    ///
    /// # Errors
    /// [`Unwitnessed`].
    pub fn permit(&self, release: &Published) -> Result<(), Unwitnessed> {
        let Policy { min_witnesses, min_witnessed_hours: hours } = self.policy();
        if (min_witnesses, hours) == (0, 0) || release.writer.key == self.device {
            return Ok(());
        }
        let (listed, needed) = (self.listed(), self.needed());
        if listed.is_empty() {
            return Err(Unwitnessed::Nobody { needed });
        }
        let mut since = testimony::since(&self.testimony(&release.writer), release.index, &listed);
        since.sort_unstable();
        let Some(since_at) = needed.checked_sub(1).and_then(|nth| since.get(nth)) else {
            return Err(Unwitnessed::TooFew { by: since.len(), of: listed.len(), needed });
        };
        let since = clock::now().since(*since_at);
        if since < Duration::from_secs(hours.saturating_mul(3_600)) {
            return Err(Unwitnessed::TooYoung { since, hours });
        }
        Ok(())
    }

    fn testimony(&self, origin: &Origin) -> Testimony {
        let heard = self.heard().get(origin).cloned();
        heard.or_else(|| self.journal.truth().testimony(origin).cloned()).unwrap_or_default()
    }

    fn own(&self) -> MutexGuard<'_, Witness> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn heard(&self) -> MutexGuard<'_, BTreeMap<Origin, Testimony>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
