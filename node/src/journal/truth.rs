//! What the journal says when all of it is read: the state that only this device knows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use syncra_protocol::Timestamp;
use syncra_protocol::id::{ContentRoot, EntryId, IdentityId, LogHash, PackageId};
use syncra_protocol::key::DeviceKey;
use syncra_protocol::limits;
use syncra_protocol::origin::Origin;

use super::record::{
    FirstSeen, Follow, ForkCommon, ForkPointShown, HomeOrigin, ImportedRoot, KnownHead, LogTestimony, OwnAppend,
    OwnNote, OwnRoot, RECORD_BYTES, Record, Regard, Stated, Testimony,
};

/// Bytes of a handle, petname or channel.
const TEXT_BYTES: usize = 256;
/// Bytes of an Ed25519 signature.
const SIGNATURE_BYTES: usize = 64;

/// A log of this device.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct OwnLog {
    entries: Vec<Arc<[u8]>>,
    root: Option<LogHash>,
    note: Option<OwnNote>,
}

impl OwnLog {
    /// Entries in it, signed or not.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.entries.len() as u64
    }

    /// The bytes of every entry, in order.
    #[must_use]
    pub fn entries(&self) -> &[Arc<[u8]>] {
        &self.entries
    }

    /// The newest note, if one was ever signed.
    #[must_use]
    pub const fn note(&self) -> Option<&OwnNote> {
        self.note.as_ref()
    }

    fn unsigned(&self, origin: Origin) -> Option<Unsigned> {
        let root = self.root?;
        let signed = self.note.as_ref().map_or(0, |note| note.size);
        (signed < self.size()).then(|| Unsigned { origin, size: self.size(), root })
    }
}

/// A log of this device whose last entries are durable but not yet signed: sign exactly this and journal the note.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsigned {
    /// The log.
    pub origin: Origin,
    /// Entries to cover.
    pub size: u64,
    /// The root to sign.
    pub root: LogHash,
}

/// Whether this journal was written at this place with this key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provenance {
    /// Here and with this key: sign.
    Own,
    /// Nothing says where it belongs: a first start, or the journal was lost.
    Unclaimed,
    /// Elsewhere: this home is a copy, restored or moved. Fetch the own heads first, or let the user adopt it.
    Copied,
    /// With another key: the key file or the journal was exchanged.
    OtherKey {
        /// The key of the journal.
        journal: DeviceKey,
    },
}

/// Why a record contradicts what the journal already says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The append does not continue the log.
    #[error("an append at size {offered}, but the journal holds {known} entries of this log")]
    NotTheEnd {
        /// Entries that the journal holds.
        known: u64,
        /// The old size of the append.
        offered: u64,
    },
    /// Sizes and number of entries do not add up, or an entry or the whole is too long.
    #[error("an append whose sizes or lengths are out of bounds")]
    Shape,
    /// The entries before are not signed yet.
    #[error("the entries up to {size} are not signed yet")]
    Unsigned {
        /// Entries waiting for a note.
        size: u64,
    },
    /// The note is not over exactly what the journal holds.
    #[error("a note over {offered} entries, but the journal holds {known} or another root")]
    NoteMismatch {
        /// Entries that the journal holds.
        known: u64,
        /// Entries that the note covers.
        offered: u64,
    },
    /// The log belongs to another key.
    #[error("the log belongs to another key")]
    OtherKey,
    /// The home is a copy, or nobody said whose it is: nothing is signed.
    #[error("the home is not known to be this device's own, so nothing is signed")]
    NotAtHome,
    /// The same key signed more than what is here: a copied or restored home has to catch up first.
    #[error("the journal holds {known} entries of this log, but a head over {elsewhere} is known")]
    Behind {
        /// Entries that the journal holds.
        known: u64,
        /// Entries of the known head.
        elsewhere: u64,
    },
    /// Older than a head already verified.
    #[error("a head of size {offered}, older than the {held} already verified")]
    Rollback {
        /// Entries of the newest verified head.
        held: u64,
        /// Entries of the offered one.
        offered: u64,
    },
    /// The same size with another root.
    #[error("another root for the verified size {size}")]
    Fork {
        /// Entries of both.
        size: u64,
    },
    /// A text, note or proof beyond its limit.
    #[error("{bytes} bytes, at most {max} are allowed")]
    TooLong {
        /// Bytes offered.
        bytes: usize,
        /// The limit.
        max: usize,
    },
}

/// Everything the journal says. Only the journal's writer changes it, after the disk has it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Truth {
    own: BTreeMap<Origin, OwnLog>,
    heads: BTreeMap<Origin, KnownHead>,
    first_seen: BTreeMap<EntryId, Timestamp>,
    follows: BTreeMap<PackageId, Option<String>>,
    regards: BTreeMap<IdentityId, Regard>,
    petnames: BTreeMap<IdentityId, String>,
    handle: Option<String>,
    home: Option<HomeOrigin>,
    forked: BTreeMap<Origin, Vec<u8>>,
    fork_common: BTreeMap<Origin, u64>,
    fork_points: BTreeMap<Origin, ForkPointShown>,
    own_roots: BTreeMap<ContentRoot, PackageId>,
    /// What was written down before the journal came to where it is now, and not again since: of that nothing says that the
    /// bytes came along.
    brought: Brought,
    imported_roots: BTreeMap<ContentRoot, PackageId>,
    stated: BTreeMap<Origin, Stated>,
    testimonies: BTreeMap<Origin, Testimony>,
}

/// What a journal brought along from another place.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Brought {
    roots: BTreeSet<ContentRoot>,
    heads: BTreeSet<Origin>,
}

impl Truth {
    /// A log of this device.
    #[must_use]
    pub fn own_log(&self, origin: &Origin) -> Option<&OwnLog> {
        self.own.get(origin)
    }

    /// All logs of this device.
    pub fn own_logs(&self) -> impl Iterator<Item = (&Origin, &OwnLog)> {
        self.own.iter()
    }

    /// Own entries without a note over them, at most one result per log.
    #[must_use]
    pub fn unsigned(&self) -> Vec<Unsigned> {
        self.own.keys().filter_map(|origin| self.unsigned_of(origin)).collect()
    }

    /// Heads of own logs beyond the entries held here: fetch the entries before anything is signed.
    pub fn behind<'a>(&'a self, device: &'a DeviceKey) -> impl Iterator<Item = &'a KnownHead> {
        self.heads.values().filter(|head| head.origin.key == *device && self.ahead(&head.origin).is_some())
    }

    /// The newest verified head of another writer's log.
    #[must_use]
    pub fn head(&self, origin: &Origin) -> Option<&KnownHead> {
        self.heads.get(origin)
    }

    /// All newest verified heads of other writers.
    pub fn heads(&self) -> impl Iterator<Item = &KnownHead> {
        self.heads.values()
    }

    /// When this device first saw an entry.
    #[must_use]
    pub fn first_seen(&self, entry: &EntryId) -> Option<Timestamp> {
        self.first_seen.get(entry).copied()
    }

    /// The followed packages with their channel (`None`: the default one).
    pub fn follows(&self) -> impl Iterator<Item = (&PackageId, Option<&str>)> {
        self.follows.iter().map(|(package, channel)| (package, channel.as_deref()))
    }

    /// True if a package is followed.
    #[must_use]
    pub fn is_followed(&self, package: &PackageId) -> bool {
        self.follows.contains_key(package)
    }

    /// What the user thinks of an identity.
    #[must_use]
    pub fn regard(&self, identity: &IdentityId) -> Regard {
        shown(self.regards.get(identity).copied().unwrap_or_default())
    }

    /// What the user thought of an identity before it was blocked; if it is not, what the user thinks of it.
    #[must_use]
    pub fn regard_unblocked(&self, identity: &IdentityId) -> Regard {
        match self.regards.get(identity) {
            Some(Regard::Trusted | Regard::BlockedTrusted) => Regard::Trusted,
            Some(Regard::Blocked | Regard::Neutral) | None => Regard::Neutral,
        }
    }

    /// Every identity the user has an opinion of.
    pub fn regards(&self) -> impl Iterator<Item = (&IdentityId, Regard)> {
        self.regards.iter().map(|(identity, regard)| (identity, shown(*regard)))
    }

    /// The user's names for identities.
    pub fn petnames(&self) -> impl Iterator<Item = (&IdentityId, &str)> {
        self.petnames.iter().map(|(identity, name)| (identity, name.as_str()))
    }

    /// The user's name for an identity.
    #[must_use]
    pub fn petname(&self, identity: &IdentityId) -> Option<&str> {
        self.petnames.get(identity).map(String::as_str)
    }

    /// The handle this device claims.
    #[must_use]
    pub fn handle(&self) -> Option<&str> {
        self.handle.as_deref()
    }

    /// Place and key of this journal.
    #[must_use]
    pub const fn home(&self) -> Option<&HomeOrigin> {
        self.home.as_ref()
    }

    /// The proof that a log was forked by its key: the one of which it is known where its histories part, else the first.
    #[must_use]
    pub fn fork_proof(&self, origin: &Origin) -> Option<&[u8]> {
        let shown = self.fork_points.get(origin).map(|shown| &shown.proof);
        shown.or_else(|| self.forked.get(origin)).map(Vec::as_slice)
    }

    /// All logs that were forked by their keys.
    pub fn forked_logs(&self) -> impl Iterator<Item = &Origin> {
        self.forked.keys().chain(self.fork_points.keys().filter(|origin| !self.forked.contains_key(origin)))
    }

    /// Proof of where the histories of [`Truth::fork_proof`] part.
    #[must_use]
    pub fn fork_point(&self, origin: &Origin) -> Option<&[u8]> {
        self.fork_points.get(origin).map(|shown| shown.point.as_slice())
    }

    /// Entries that both histories of a forked log are known to have: they stay settled.
    #[must_use]
    pub fn fork_common(&self, origin: &Origin) -> Option<u64> {
        self.fork_common.get(origin).copied()
    }

    /// Content that must not be collected, with its package.
    pub fn own_roots(&self) -> impl Iterator<Item = (&ContentRoot, &PackageId)> {
        self.own_roots.iter()
    }

    /// Whether own content was written down where this journal is now: then its bytes were here. Else the journal was copied or
    /// restored since, and they may never have been.
    #[must_use]
    pub fn was_here(&self, root: &ContentRoot) -> bool {
        self.own_roots.contains_key(root) && !self.brought.roots.contains(root)
    }

    /// The same for the entries below the newest verified head of another writer's log.
    #[must_use]
    pub fn entries_were_here(&self, origin: &Origin) -> bool {
        self.heads.contains_key(origin) && !self.brought.heads.contains(origin)
    }

    /// Content that stays because the user imported it, with its package.
    pub fn imported_roots(&self) -> impl Iterator<Item = (&ContentRoot, &PackageId)> {
        self.imported_roots.iter()
    }

    /// What this node has said as a witness, log by log.
    pub fn stated(&self) -> impl Iterator<Item = &Stated> {
        self.stated.values()
    }

    /// What witnesses say of a log.
    #[must_use]
    pub fn testimony(&self, origin: &Origin) -> Option<&Testimony> {
        self.testimonies.get(origin)
    }

    /// Whether this journal belongs to the place `here`.
    #[must_use]
    pub fn provenance(&self, here: &HomeOrigin) -> Provenance {
        match &self.home {
            None => Provenance::Unclaimed,
            Some(home) if home.device != here.device => Provenance::OtherKey { journal: home.device },
            Some(home) if home.fingerprint != here.fingerprint => Provenance::Copied,
            Some(_) => Provenance::Own,
        }
    }

    /// What to do with a record: `Ok(true)` write it, `Ok(false)` it is known already.
    pub(super) fn decide(&self, here: &HomeOrigin, record: &Record) -> Result<bool, Refusal> {
        match record {
            Record::OwnAppend(append) => self.decide_append(here, append).map(|()| true),
            Record::OwnNote(note) => self.decide_note(here, note),
            Record::Head(head) => self.decide_head(head),
            Record::FirstSeen(seen) => Ok(!self.first_seen.contains_key(&seen.entry)),
            Record::Follow(Follow { package, channel }) => {
                short(channel.as_ref().map_or(0, String::len), TEXT_BYTES)?;
                Ok(self.follows.get(package) != Some(channel))
            }
            Record::Unfollow(unfollow) => Ok(self.follows.contains_key(&unfollow.package)),
            Record::Trust(trust) => Ok(self.regards.get(&trust.identity).copied().unwrap_or_default() != trust.regard),
            Record::Petname(petname) => {
                short(petname.name.as_ref().map_or(0, String::len), TEXT_BYTES)?;
                Ok(self.petname(&petname.identity) != petname.name.as_deref())
            }
            Record::Handle(handle) => {
                short(handle.text.len(), TEXT_BYTES)?;
                Ok(self.handle.as_ref() != Some(&handle.text))
            }
            Record::HomeOrigin(home) => Ok(self.home.as_ref() != Some(home)),
            Record::Forked(forked) => {
                short(forked.proof.len(), 2 * limits::NOTE_BYTES)?;
                Ok(!self.forked.contains_key(&forked.origin))
            }
            Record::OwnRoot(root) if root.kept => Ok(!self.was_here(&root.content_root)),
            Record::OwnRoot(root) => Ok(self.own_roots.contains_key(&root.content_root)),
            // A third history can only part earlier; so the last record of a log is the least.
            Record::ForkCommon(common) => {
                Ok(self.fork_common(&common.origin).is_none_or(|known| common.n_common < known))
            }
            Record::ImportedRoot(root) => Ok(self.imported_roots.contains_key(&root.content_root) != root.kept),
            Record::ForkPoint(shown) => {
                short(shown.proof.len(), limits::FORK_PROOF_BYTES)?;
                short(shown.point.len(), limits::FORK_POINT_BYTES)?;
                Ok(self.fork_points.get(&shown.origin) != Some(shown))
            }
            Record::Stated(stated) => self.decide_stated(here, stated),
            Record::LogTestimony(LogTestimony { origin, testimony }) => {
                short(testimony.by.len(), limits::WITNESSES)?;
                for witnessed in &testimony.by {
                    short(witnessed.name.len(), limits::WITNESS_NAME_BYTES)?;
                    short(witnessed.moments.len(), limits::WITNESS_MOMENTS)?;
                    short(witnessed.signature.len(), SIGNATURE_BYTES)?;
                }
                Ok(self.testimonies.get(origin) != Some(testimony))
            }
        }
    }

    /// A witness says nothing that contradicts what it has said: [`syncra_protocol::log::witness::Witness`] decides, this
    /// holds whatever that does.
    fn decide_stated(&self, here: &HomeOrigin, stated: &Stated) -> Result<bool, Refusal> {
        short(stated.note.len(), limits::NOTE_BYTES)?;
        if stated.origin.key == here.device {
            return Err(Refusal::OtherKey);
        }
        self.at_home(here)?;
        let Some(last) = self.stated.get(&stated.origin) else { return Ok(true) };
        if stated.size < last.size || stated.seconds < last.seconds {
            return Err(Refusal::Rollback { held: last.size, offered: stated.size });
        }
        if stated.size == last.size && stated.root != last.root {
            return Err(Refusal::Fork { size: last.size });
        }
        Ok(stated != last)
    }

    fn decide_append(&self, here: &HomeOrigin, append: &OwnAppend) -> Result<(), Refusal> {
        if append.origin.key != here.device {
            return Err(Refusal::OtherKey);
        }
        let OwnAppend { old_size, new_size, root, entries, .. } = append;
        let bytes = entries.iter().map(Vec::len).sum::<usize>();
        if entries.is_empty()
            || old_size.checked_add(entries.len() as u64) != Some(*new_size)
            || entries.iter().any(|entry| entry.is_empty() || entry.len() > limits::ENTRY_BYTES)
            // Half of a record is room enough for lengths and the other fields.
            || bytes > RECORD_BYTES / 2
            || entries.len() > RECORD_BYTES / 16
        {
            return Err(Refusal::Shape);
        }
        let known = self.own.get(&append.origin).map_or(0, OwnLog::size);
        if *old_size != known {
            return Err(Refusal::NotTheEnd { known, offered: *old_size });
        }
        if let Some(head) = self.ahead(&append.origin) {
            let catches_up = *new_size < head.size || (*new_size == head.size && *root == head.root);
            return if catches_up { Ok(()) } else { Err(Refusal::Behind { known, elsewhere: head.size }) };
        }
        self.at_home(here)?;
        match self.unsigned_of(&append.origin) {
            Some(unsigned) => Err(Refusal::Unsigned { size: unsigned.size }),
            None => Ok(()),
        }
    }

    fn decide_note(&self, here: &HomeOrigin, note: &OwnNote) -> Result<bool, Refusal> {
        if note.origin.key != here.device {
            return Err(Refusal::OtherKey);
        }
        short(note.note.len(), limits::NOTE_BYTES)?;
        let log = self.own.get(&note.origin);
        let known = log.map_or(0, OwnLog::size);
        if note.size != known || log.and_then(|log| log.root) != Some(note.root) {
            return Err(Refusal::NoteMismatch { known, offered: note.size });
        }
        if let Some(head) = self.ahead(&note.origin) {
            return Err(Refusal::Behind { known, elsewhere: head.size });
        }
        let signed_elsewhere = self.heads.get(&note.origin).is_some_and(|head| head.size == note.size);
        if !signed_elsewhere {
            self.at_home(here)?;
        }
        Ok(log.and_then(OwnLog::note) != Some(note))
    }

    /// A verified head of an own log beyond the entries held here: written before this home was copied or restored.
    fn ahead(&self, origin: &Origin) -> Option<&KnownHead> {
        let known = self.own.get(origin).map_or(0, OwnLog::size);
        self.heads.get(origin).filter(|head| head.size > known)
    }

    fn unsigned_of(&self, origin: &Origin) -> Option<Unsigned> {
        self.own.get(origin).filter(|_| self.ahead(origin).is_none()).and_then(|log| log.unsigned(*origin))
    }

    fn at_home(&self, here: &HomeOrigin) -> Result<(), Refusal> {
        if self.home.as_ref() == Some(here) { Ok(()) } else { Err(Refusal::NotAtHome) }
    }

    fn decide_head(&self, head: &KnownHead) -> Result<bool, Refusal> {
        short(head.note.len(), limits::NOTE_BYTES)?;
        let (held, root) = match (self.own.get(&head.origin), self.heads.get(&head.origin)) {
            (Some(own), _) if own.size() >= head.size => (own.size(), own.root),
            (_, Some(known)) => (known.size, Some(known.root)),
            _ => return Ok(true),
        };
        match held.cmp(&head.size) {
            std::cmp::Ordering::Greater => Err(Refusal::Rollback { held, offered: head.size }),
            std::cmp::Ordering::Equal if root != Some(head.root) => Err(Refusal::Fork { size: held }),
            // Said again where the entries have come.
            std::cmp::Ordering::Equal => Ok(self.brought.heads.contains(&head.origin)),
            std::cmp::Ordering::Less => Ok(true),
        }
    }

    /// Takes a record in that is on disk.
    ///
    /// # Errors
    /// [`Refusal::NotTheEnd`] when a journal that passed all its checks still has a hole: a lost or foreign segment.
    pub(super) fn apply(&mut self, record: Record) -> Result<(), Refusal> {
        match record {
            Record::OwnAppend(append) => return self.apply_append(append),
            Record::OwnNote(note) => {
                let log = self.own.entry(note.origin).or_default();
                log.note = Some(note);
            }
            Record::Head(head) => {
                self.brought.heads.remove(&head.origin);
                self.heads.insert(head.origin, head);
            }
            Record::FirstSeen(FirstSeen { entry, at }) => drop(self.first_seen.entry(entry).or_insert(at)),
            Record::Follow(Follow { package, channel }) => drop(self.follows.insert(package, channel)),
            Record::Unfollow(unfollow) => drop(self.follows.remove(&unfollow.package)),
            Record::Trust(trust) if trust.regard == Regard::Neutral => drop(self.regards.remove(&trust.identity)),
            Record::Trust(trust) => drop(self.regards.insert(trust.identity, trust.regard)),
            Record::Petname(petname) => match petname.name {
                Some(name) => drop(self.petnames.insert(petname.identity, name)),
                None => drop(self.petnames.remove(&petname.identity)),
            },
            Record::Handle(handle) => self.handle = Some(handle.text),
            Record::HomeOrigin(home) => {
                self.home = Some(home);
                self.brought.roots.extend(self.own_roots.keys());
                self.brought.heads.extend(self.heads.keys());
            }
            Record::Forked(forked) => drop(self.forked.entry(forked.origin).or_insert(forked.proof)),
            Record::ForkPoint(shown) => drop(self.fork_points.insert(shown.origin, shown)),
            Record::OwnRoot(OwnRoot { content_root, package, kept: true }) => {
                self.brought.roots.remove(&content_root);
                self.own_roots.insert(content_root, package);
            }
            Record::OwnRoot(root) => drop(self.own_roots.remove(&root.content_root)),
            Record::ForkCommon(ForkCommon { origin, n_common }) => drop(self.fork_common.insert(origin, n_common)),
            Record::ImportedRoot(ImportedRoot { content_root, package, kept: true }) => {
                self.imported_roots.insert(content_root, package);
            }
            Record::ImportedRoot(root) => drop(self.imported_roots.remove(&root.content_root)),
            Record::Stated(stated) => drop(self.stated.insert(stated.origin, stated)),
            Record::LogTestimony(of_log) => drop(self.testimonies.insert(of_log.origin, of_log.testimony)),
        }
        Ok(())
    }

    fn apply_append(&mut self, append: OwnAppend) -> Result<(), Refusal> {
        let log = self.own.entry(append.origin).or_default();
        let (known, offered) = (log.size(), append.old_size);
        if known != offered {
            return Err(Refusal::NotTheEnd { known, offered });
        }
        log.entries.extend(append.entries.into_iter().map(Arc::from));
        log.root = Some(append.root);
        Ok(())
    }
}

/// What is told of a regard.
const fn shown(regard: Regard) -> Regard {
    match regard {
        Regard::BlockedTrusted => Regard::Blocked,
        regard => regard,
    }
}

fn short(bytes: usize, max: usize) -> Result<(), Refusal> {
    if bytes > max { Err(Refusal::TooLong { bytes, max }) } else { Ok(()) }
}
