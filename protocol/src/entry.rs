//! Entries: what a log consists of. The bytes are written down in `docs/spec/entries.md`.
//!
//! An entry is a fixed [header](self#header) and a postcard body `(seen, body)` whose layout is frozen per
//! (kind, version). Entries hold ids, hashes, numbers, enums, versions and names only; prose is a blob that the entry
//! names, so that it can be taken away while the leaf stays.
//!
//! # Header
//!
//! `SYNE`, format version `u8`, kind `u8`, flags `u8` (bit 0 = critical, the others 0), body length `u16` LE. The
//! header's layout is fixed for ever, and every body begins with `seen`: so a reader can skip an entry of a later kind
//! or version, keep its place in the causal order, or stop at it where it is critical.

use serde::{Deserialize, Serialize};

use crate::bounded;
use crate::codec::{self, CodecError};
use crate::id::LogHash;
use crate::limits::{ENTRY_BYTES, SEEN_PER_ENTRY};
use crate::origin::Origin;

mod device;
mod fork_resolve;
mod genesis;
mod header;
mod name;
mod redact;
mod refs;
mod release;
mod roles;

pub use device::{
    AddDevice, Cut, DeviceCuts, DeviceRole, Recover, Statement, StatementId, Suspend, recovery_commitment,
};
pub use fork_resolve::ForkResolve;
pub use genesis::{IdentityGenesis, IdentityJoin, OWNER_LIMIT, PackageGenesis, PackageJoin};
pub use header::{HEADER_BYTES, MAGIC};
pub use name::{HandleClaim, NameClaim};
pub use redact::{Redact, RedactReason};
pub use refs::{RefClass, RefMove, Yank};
pub use release::{Dependency, PARENT_LIMIT, Release};
pub use roles::{Endorse, Role, Roles};

use header::Header;

/// A head of another log that the writer holds a signed note of. A claim, never a fork proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SeenHead {
    /// The other log.
    pub origin: Origin,
    /// Entries it had, at least one.
    pub size: u64,
    /// Its root at that size.
    pub root: LogHash,
}

/// One entry of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What changed since this writer's previous entry, in ascending order of origins, each at most once.
    pub seen: Vec<SeenHead>,
    /// What the entry says.
    pub body: Body,
}

/// What an entry says. The number of each kind never changes its meaning; `docs/spec/entries.md` lists the reserved ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// Kind 1: begins a package.
    PackageGenesis(PackageGenesis),
    /// Kind 2: begins a further writer's log of a package.
    PackageJoin(PackageJoin),
    /// Kind 3: changes who may do what.
    Roles(Roles),
    /// Kind 4: agrees to another writer's entry.
    Endorse(Endorse),
    /// Kind 5: publishes a version.
    Release(Release),
    /// Kind 6: moves a branch, tag or channel.
    Ref(RefMove),
    /// Kind 7: hides a release from new installs, or shows it again.
    Yank(Yank),
    /// Kind 8: takes bytes away, while the entries that name them stay.
    Redact(Redact),
    /// Kind 10: says which of two histories of a log goes on.
    ForkResolve(ForkResolve),
    /// Kind 12: nothing but `seen`.
    Seen,
    /// Kind 32: begins an identity.
    IdentityGenesis(IdentityGenesis),
    /// Kind 33: begins a further device's log of an identity.
    IdentityJoin(IdentityJoin),
    /// Kind 34: a further device of the identity.
    AddDevice(AddDevice),
    /// Kind 35: takes a device's voice away for the time being.
    Suspend(Suspend),
    /// Kind 37: what the holder of the recovery key says.
    Recover(Recover),
    /// Kind 38: gives a package its human name.
    Name(NameClaim),
    /// Kind 39: claims a handle.
    Handle(HandleClaim),
}

/// What bytes of an entry are to this reader.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "the large one is the usual one, and none is kept")]
pub enum Decoded {
    /// An entry that this version of the protocol understands.
    Known(Entry),
    /// A kind or format version made later. Not critical: skipped, but its `seen` counts.
    Unknown {
        /// The kind's number.
        kind: u8,
        /// The format version.
        version: u8,
        /// Whether skipping it would misread the log.
        critical: bool,
        /// What the writer had seen.
        seen: Vec<SeenHead>,
    },
}

/// Why bytes are not an entry, or an entry may not be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// More than [`ENTRY_BYTES`].
    #[error("an entry of {len} bytes, at most {ENTRY_BYTES} are allowed")]
    TooLong {
        /// Bytes offered.
        len: usize,
    },
    /// Shorter than a header, or not beginning with [`MAGIC`].
    #[error("no entry header")]
    Header,
    /// The header promises another length.
    #[error("the header promises {declared} body bytes, there are {actual}")]
    Length {
        /// From the header.
        declared: usize,
        /// Bytes after the header.
        actual: usize,
    },
    /// Flags that this kind may not have, or that nobody defined.
    #[error("flags {flags:#04x} are not those of kind {kind}")]
    Flags {
        /// The kind's number.
        kind: u8,
        /// From the header.
        flags: u8,
    },
    /// The body is not the canonical encoding of its kind.
    #[error("body of kind {kind}: {source}")]
    Body {
        /// The kind's number.
        kind: u8,
        /// What is wrong with the bytes.
        source: CodecError,
    },
    /// The body breaks a rule of its kind.
    #[error("entry of kind {kind}: {rule}")]
    Rule {
        /// The kind's number.
        kind: u8,
        /// The broken rule, as a sentence without subject.
        rule: &'static str,
    },
}

impl Entry {
    /// An entry that says `body` and has seen nothing new.
    #[must_use]
    pub const fn new(body: Body) -> Self {
        Self { seen: Vec::new(), body }
    }

    /// The entry's only bytes.
    ///
    /// # Errors
    /// [`EntryError::Rule`] and [`EntryError::TooLong`]: what is written is checked like what is read.
    pub fn encode(&self) -> Result<Vec<u8>, EntryError> {
        let kind = self.body.kind();
        check_seen(kind, &self.seen)?;
        self.body.check().map_err(|rule| EntryError::Rule { kind, rule })?;
        Header::known(kind).frame(&self.body.encode_with(&self.seen))
    }
}

impl Body {
    /// The kind's number.
    #[must_use]
    pub const fn kind(&self) -> u8 {
        match self {
            Self::PackageGenesis(_) => 1,
            Self::PackageJoin(_) => 2,
            Self::Roles(_) => 3,
            Self::Endorse(_) => 4,
            Self::Release(_) => 5,
            Self::Ref(_) => 6,
            Self::Yank(_) => 7,
            Self::Redact(_) => 8,
            Self::ForkResolve(_) => 10,
            Self::Seen => 12,
            Self::IdentityGenesis(_) => 32,
            Self::IdentityJoin(_) => 33,
            Self::AddDevice(_) => 34,
            Self::Suspend(_) => 35,
            Self::Recover(_) => 37,
            Self::Name(_) => 38,
            Self::Handle(_) => 39,
        }
    }

    fn check(&self) -> Result<(), &'static str> {
        match self {
            Self::PackageGenesis(body) => body.check(),
            Self::Roles(body) => body.check(),
            Self::Release(body) => body.check(),
            Self::Ref(body) => body.check(),
            Self::Redact(body) => body.check(),
            Self::ForkResolve(body) => body.check(),
            Self::Suspend(body) => body.check(),
            Self::Recover(body) => body.check(),
            Self::PackageJoin(_)
            | Self::Endorse(_)
            | Self::AddDevice(_)
            | Self::Yank(_)
            | Self::Seen
            | Self::IdentityGenesis(_)
            | Self::IdentityJoin(_)
            | Self::Name(_)
            | Self::Handle(_) => Ok(()),
        }
    }

    fn encode_with(&self, seen: &[SeenHead]) -> Vec<u8> {
        match self {
            Self::PackageGenesis(body) => codec::encode(&(seen, body)),
            Self::PackageJoin(body) => codec::encode(&(seen, body)),
            Self::Roles(body) => codec::encode(&(seen, body)),
            Self::Endorse(body) => codec::encode(&(seen, body)),
            Self::Release(body) => codec::encode(&(seen, body)),
            Self::Ref(body) => codec::encode(&(seen, body)),
            Self::Yank(body) => codec::encode(&(seen, body)),
            Self::Redact(body) => codec::encode(&(seen, body)),
            Self::ForkResolve(body) => codec::encode(&(seen, body)),
            Self::Seen => codec::encode(&(seen, ())),
            Self::IdentityGenesis(body) => codec::encode(&(seen, body)),
            Self::IdentityJoin(body) => codec::encode(&(seen, body)),
            Self::AddDevice(body) => codec::encode(&(seen, body)),
            Self::Suspend(body) => codec::encode(&(seen, body)),
            Self::Recover(body) => codec::encode(&(seen, body)),
            Self::Name(body) => codec::encode(&(seen, body)),
            Self::Handle(body) => codec::encode(&(seen, body)),
        }
    }
}

/// Decodes untrusted bytes.
///
/// # Errors
/// [`EntryError`]. What is accepted encodes to the same bytes again.
pub fn decode(bytes: &[u8]) -> Result<Decoded, EntryError> {
    let (header, body) = Header::split(bytes)?;
    let kind = header.kind;
    if !header.is_known() {
        let seen = unknown_seen(body).map_err(|source| EntryError::Body { kind, source })?;
        check_seen(kind, &seen)?;
        return Ok(Decoded::Unknown { kind, version: header.version, critical: header.critical, seen });
    }
    let entry = match kind {
        1 => known(kind, body, Body::PackageGenesis),
        2 => known(kind, body, Body::PackageJoin),
        3 => known(kind, body, Body::Roles),
        4 => known(kind, body, Body::Endorse),
        5 => known(kind, body, Body::Release),
        6 => known(kind, body, Body::Ref),
        7 => known(kind, body, Body::Yank),
        8 => known(kind, body, Body::Redact),
        10 => known(kind, body, Body::ForkResolve),
        12 => known(kind, body, |()| Body::Seen),
        32 => known(kind, body, Body::IdentityGenesis),
        33 => known(kind, body, Body::IdentityJoin),
        34 => known(kind, body, Body::AddDevice),
        35 => known(kind, body, Body::Suspend),
        37 => known(kind, body, Body::Recover),
        38 => known(kind, body, Body::Name),
        39 => known(kind, body, Body::Handle),
        _ => unreachable!("`Header::is_known` lists exactly these kinds"),
    }?;
    check_seen(kind, &entry.seen)?;
    entry.body.check().map_err(|rule| EntryError::Rule { kind, rule })?;
    Ok(Decoded::Known(entry))
}

/// The bytes of every body: `seen`, then the kind's own part.
#[derive(Serialize, Deserialize)]
struct Wire<T> {
    #[serde(deserialize_with = "bounded::list::<_, _, SEEN_PER_ENTRY>")]
    seen: Vec<SeenHead>,
    body: T,
}

fn known<T>(kind: u8, body: &[u8], wrap: impl FnOnce(T) -> Body) -> Result<Entry, EntryError>
where
    T: Serialize + serde::de::DeserializeOwned,
{
    let wire: Wire<T> = codec::decode(body, ENTRY_BYTES).map_err(|source| EntryError::Body { kind, source })?;
    Ok(Entry { seen: wire.seen, body: wrap(wire.body) })
}

/// The `seen` at the beginning of a body whose rest nobody here can read.
fn unknown_seen(body: &[u8]) -> Result<Vec<SeenHead>, CodecError> {
    let (wire, rest): (SeenOnly, &[u8]) = postcard::take_from_bytes(body).map_err(|_| CodecError::Malformed)?;
    let used = &body[..body.len() - rest.len()];
    if codec::encode(&wire) != used {
        return Err(CodecError::NotCanonical);
    }
    Ok(wire.seen)
}

#[derive(Serialize, Deserialize)]
struct SeenOnly {
    #[serde(deserialize_with = "bounded::list::<_, _, SEEN_PER_ENTRY>")]
    seen: Vec<SeenHead>,
}

fn check_seen(kind: u8, seen: &[SeenHead]) -> Result<(), EntryError> {
    let rule = if seen.len() > SEEN_PER_ENTRY {
        "names more heads than one entry may"
    } else if !seen.is_sorted_by(|a, b| a.origin < b.origin) {
        "heads are not in ascending order of their origins"
    } else if seen.iter().any(|head| head.size == 0) {
        "names an empty log"
    } else {
        return Ok(());
    };
    Err(EntryError::Rule { kind, rule })
}
