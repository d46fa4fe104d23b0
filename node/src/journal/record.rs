//! What a journal frame says. The frame's kind byte names the record and its version; a changed layout gets a new one.

use serde::{Deserialize, Serialize};
use syncra_protocol::Timestamp;
use syncra_protocol::codec::{self, CodecError};
use syncra_protocol::id::{ContentRoot, EntryId, IdentityId, LogHash, PackageId};
use syncra_protocol::key::DeviceKey;
use syncra_protocol::origin::Origin;

use crate::home::Fingerprint;

/// Bytes of one record, hard: what one append may hold in memory. An entry has at most 64 KiB.
pub const RECORD_BYTES: usize = 4 << 20;

/// Entries appended to a log of this device, written before the head over them is signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnAppend {
    /// The log.
    pub origin: Origin,
    /// Entries in the log before.
    pub old_size: u64,
    /// Entries in the log after.
    pub new_size: u64,
    /// The Merkle root over all `new_size` entries.
    pub root: LogHash,
    /// The bytes of the new entries.
    pub entries: Vec<Vec<u8>>,
}

/// The signed note of a log of this device, written before it is shown to anybody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnNote {
    /// The log.
    pub origin: Origin,
    /// Entries that the note covers.
    pub size: u64,
    /// The root that the note signs.
    pub root: LogHash,
    /// The note's bytes.
    pub note: Vec<u8>,
}

/// The newest verified head of another writer's log: what makes an older answer a rollback.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownHead {
    /// The log.
    pub origin: Origin,
    /// Entries in the log.
    pub size: u64,
    /// The signed root.
    pub root: LogHash,
    /// The note's bytes.
    pub note: Vec<u8>,
}

/// When this device first saw an entry. The first time counts, later ones are ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirstSeen {
    /// The entry, for instance a release.
    pub entry: EntryId,
    /// By this device's clock.
    pub at: Timestamp,
}

/// The user follows a package; a later one changes the channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Follow {
    /// The package.
    pub package: PackageId,
    /// The channel, `None` for the default one.
    pub channel: Option<String>,
}

/// The user follows a package no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unfollow {
    /// The package.
    pub package: PackageId,
}

/// What this device's user is called; the last one counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handle {
    /// The handle, checked by whoever writes it.
    pub text: String,
}

/// What the user thinks of an identity.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Regard {
    /// Nothing said.
    #[default]
    Neutral,
    /// Trusted by name.
    Trusted,
    /// Nothing of it is shown or fetched.
    Blocked,
    /// The same, and once that ends it is trusted by name again. Only in the journal: who asks hears of a block.
    BlockedTrusted,
}

/// The user's word about an identity; the last one counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trust {
    /// Who.
    pub identity: IdentityId,
    /// What the user thinks of it.
    pub regard: Regard,
}

/// The user's own name for an identity; the last one counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Petname {
    /// Who.
    pub identity: IdentityId,
    /// The name, `None` takes it away.
    pub name: Option<String>,
}

/// Where this journal belongs; the last one counts. See [`crate::home::Fingerprint`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HomeOrigin {
    /// The place.
    pub fingerprint: Fingerprint,
    /// The key whose logs the journal holds.
    pub device: DeviceKey,
}

/// Proof that a key signed two histories. Kept for ever; the first per log counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForkedLog {
    /// The log.
    pub origin: Origin,
    /// The encoded fork proof.
    pub proof: Vec<u8>,
}

/// How far the two histories of a forked log are one, as a peer's other history proved; the least per log counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForkCommon {
    /// The log.
    pub origin: Origin,
    /// Entries in both histories.
    pub n_common: u64,
}

/// Where two histories of a forked log part, as somebody showed who held both; the last per log counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForkPointShown {
    /// The log.
    pub origin: Origin,
    /// The encoded fork proof that it is about.
    pub proof: Vec<u8>,
    /// The encoded fork point.
    pub point: Vec<u8>,
}

/// Content that only this device may hold: nothing may collect it until another node has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnRoot {
    /// The content of an own release.
    pub content_root: ContentRoot,
    /// The release's package.
    pub package: PackageId,
    /// False once the content is no longer to be treated as truth.
    pub kept: bool,
}

/// Content that the user brought here by an import: it stays servable until the user says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportedRoot {
    /// The content of a release.
    pub content_root: ContentRoot,
    /// The release's package.
    pub package: PackageId,
    /// False once the user does not want it for its own sake any more.
    pub kept: bool,
}

/// What this node says as a witness of another's log, written before it is said; the last per log counts. The signature
/// follows from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stated {
    /// The log.
    pub origin: Origin,
    /// Entries in it.
    pub size: u64,
    /// The root over them.
    pub root: LogHash,
    /// The note that its key signed.
    pub note: Vec<u8>,
    /// When it is said, in seconds since the Unix epoch.
    pub seconds: u64,
}

/// What witnesses say of a log, as far as it was verified here; the last per log counts. The moments cannot be had again:
/// a witness tells its newest statement only.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Testimony {
    /// Witness by witness, no two of one name and key.
    pub by: Vec<Witnessed>,
}

/// What one witness says of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Witnessed {
    /// Its name.
    pub name: String,
    /// Its key.
    pub key: DeviceKey,
    /// The largest tree that it has seen, and its root.
    pub size: u64,
    /// See `size`.
    pub root: LogHash,
    /// When it said so last, in seconds since the Unix epoch.
    pub seconds: u64,
    /// Its signature, 64 bytes.
    pub signature: Vec<u8>,
    /// Since when it is known to have seen so many entries: pairs of entries and seconds, both ascending.
    pub moments: Vec<(u64, u64)>,
}

/// [`Testimony`] about a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogTestimony {
    /// The log.
    pub origin: Origin,
    /// What is said.
    pub testimony: Testimony,
}

macro_rules! records {
    ($($(#[$doc:meta])* $kind:literal $name:ident($payload:ty),)*) => {
        /// One thing to remember.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum Record {
            $($(#[$doc])* $name($payload),)*
        }

        impl Record {
            /// The kind byte of its frame.
            #[must_use]
            pub const fn kind(&self) -> u8 {
                match self {
                    $(Self::$name(_) => $kind,)*
                }
            }

            /// The payload of its frame.
            #[must_use]
            pub fn encode(&self) -> Vec<u8> {
                match self {
                    $(Self::$name(payload) => codec::encode(payload),)*
                }
            }

            /// The record of a frame.
            ///
            /// # Errors
            /// [`RecordError`].
            pub fn decode(kind: u8, payload: &[u8]) -> Result<Self, RecordError> {
                match kind {
                    $($kind => Ok(Self::$name(codec::decode(payload, RECORD_BYTES)?)),)*
                    _ => Err(RecordError::Kind(kind)),
                }
            }
        }

        $(impl From<$payload> for Record {
            fn from(payload: $payload) -> Self {
                Self::$name(payload)
            }
        })*
    };
}

records! {
    /// Entries of an own log.
    1 OwnAppend(OwnAppend),
    /// The note over them.
    2 OwnNote(OwnNote),
    /// Another writer's newest head.
    3 Head(KnownHead),
    /// First sight of an entry.
    4 FirstSeen(FirstSeen),
    /// A package is followed.
    5 Follow(Follow),
    /// A package is followed no more.
    6 Unfollow(Unfollow),
    /// Regard for an identity.
    7 Trust(Trust),
    /// A petname.
    8 Petname(Petname),
    /// The handle that this device claims for its user.
    9 Handle(Handle),
    /// Place and key of this journal.
    10 HomeOrigin(HomeOrigin),
    /// A key that forked its log.
    11 Forked(ForkedLog),
    /// Content to keep.
    12 OwnRoot(OwnRoot),
    /// Where the histories of a forked log part.
    13 ForkCommon(ForkCommon),
    /// Imported content to keep.
    14 ImportedRoot(ImportedRoot),
    /// What this node says as a witness.
    15 Stated(Stated),
    /// What witnesses say of a log.
    16 LogTestimony(LogTestimony),
    /// Proof of where the histories of a forked log part.
    17 ForkPoint(ForkPointShown),
}

/// Why a payload is no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// A kind that this program does not know.
    #[error("unknown record kind {0}")]
    Kind(u8),
    /// A known kind with a malformed payload.
    #[error(transparent)]
    Codec(#[from] CodecError),
}

/// What a record is about. Of two records in one slot the later one counts, so the earlier one may be compacted away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Slot {
    OwnNote(Origin),
    Head(Origin),
    FirstSeen(EntryId),
    Follow(PackageId),
    Trust(IdentityId),
    Petname(IdentityId),
    Handle,
    HomeOrigin,
    Forked(Origin),
    OwnRoot(ContentRoot),
    ForkCommon(Origin),
    ImportedRoot(ContentRoot),
    Stated(Origin),
    LogTestimony(Origin),
    ForkPoint(Origin),
}

impl Record {
    /// Its slot; `None` for what is never superseded.
    pub(super) fn slot(&self) -> Option<Slot> {
        Some(match self {
            Self::OwnAppend(_) => return None,
            Self::OwnNote(note) => Slot::OwnNote(note.origin),
            Self::Head(head) => Slot::Head(head.origin),
            Self::FirstSeen(seen) => Slot::FirstSeen(seen.entry),
            Self::Follow(follow) => Slot::Follow(follow.package),
            Self::Unfollow(unfollow) => Slot::Follow(unfollow.package),
            Self::Trust(trust) => Slot::Trust(trust.identity),
            Self::Petname(petname) => Slot::Petname(petname.identity),
            Self::Handle(_) => Slot::Handle,
            Self::HomeOrigin(_) => Slot::HomeOrigin,
            Self::Forked(forked) => Slot::Forked(forked.origin),
            Self::OwnRoot(root) => Slot::OwnRoot(root.content_root),
            Self::ForkCommon(common) => Slot::ForkCommon(common.origin),
            Self::ImportedRoot(root) => Slot::ImportedRoot(root.content_root),
            Self::Stated(stated) => Slot::Stated(stated.origin),
            Self::LogTestimony(of_log) => Slot::LogTestimony(of_log.origin),
            Self::ForkPoint(shown) => Slot::ForkPoint(shown.origin),
        })
    }
}
