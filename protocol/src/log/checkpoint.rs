//! Checkpoints (C2SP tlog-checkpoint, <https://c2sp.org/tlog-checkpoint>) and the signed, verified ones: [`Head`].
//!
//! ```text
//! syncra/pkg/<package id>/<log key>
//! 20852
//! CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
//!
//! — syncra/pkg/<package id>/<log key> <base64(key id ‖ signature)>
//! ```
//!
//! Narrower than C2SP: no extension lines, the key's name is the origin, at most [`limits::LOG_ENTRIES`] leaves, and
//! an empty tree has the root of the empty tree.

use core::fmt;
use core::str::FromStr;

use data_encoding::BASE64;

use super::merkle::EMPTY_ROOT;
use super::note::{self, Note, NoteError, Vkey};
use crate::id::LogHash;
use crate::key::DeviceSecret;
use crate::limits;
use crate::origin::{Origin, OriginError};

/// What a log is at one size. Its text form is what a note signs: three lines, each ended by a newline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Checkpoint {
    /// Which log.
    pub origin: Origin,
    /// Leaves.
    pub size: u64,
    /// The root over them.
    pub root: LogHash,
}

/// Why a text is not a checkpoint that we accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Fewer than three lines, an empty one, or no newline at the end.
    #[error("a checkpoint has three lines: origin, size, root")]
    Lines,
    /// More than three lines.
    #[error("a checkpoint of this network has no extension lines")]
    Extension,
    /// The origin is malformed.
    #[error(transparent)]
    Origin(#[from] OriginError),
    /// The size is not a decimal number without leading zeros below 2^64.
    #[error("the size is not a decimal number without leading zeros")]
    Size,
    /// The root is not the base64 of 32 bytes.
    #[error("the root is not the base64 of a SHA-256 hash")]
    Root,
    /// More leaves than a log may have.
    #[error("a log of {size} entries, at most {max} are allowed")]
    TooLarge {
        /// Leaves claimed.
        size: u64,
        /// The limit.
        max: u64,
    },
    /// Size zero with another root than that of the empty tree.
    #[error("the root of an empty log is always the same, this is another")]
    EmptyRoot,
}

impl Checkpoint {
    /// What no log can be, whoever signed it.
    fn plausible(self) -> Result<Self, CheckpointError> {
        if self.size > limits::LOG_ENTRIES {
            return Err(CheckpointError::TooLarge { size: self.size, max: limits::LOG_ENTRIES });
        }
        if self.size == 0 && self.root != EMPTY_ROOT {
            return Err(CheckpointError::EmptyRoot);
        }
        Ok(self)
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}\n{}\n", self.origin, self.size, BASE64.encode(self.root.as_bytes()))
    }
}

impl FromStr for Checkpoint {
    type Err = CheckpointError;

    fn from_str(text: &str) -> Result<Self, CheckpointError> {
        let (origin, size, root) = parse_lines(text)?;
        Self { origin: origin.parse()?, size, root }.plausible()
    }
}

/// Splits C2SP's three lines; the origin may be any log's.
pub(super) fn parse_lines(text: &str) -> Result<(&str, u64, LogHash), CheckpointError> {
    let mut lines = text.strip_suffix('\n').ok_or(CheckpointError::Lines)?.split('\n');
    let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
        return Err(CheckpointError::Lines);
    };
    if lines.next().is_some() {
        return Err(CheckpointError::Extension);
    }
    let is_number = size.bytes().all(|byte| byte.is_ascii_digit()) && (size == "0" || !size.starts_with('0'));
    let size = size.parse().ok().filter(|_| is_number).ok_or(CheckpointError::Size)?;
    let root = BASE64.decode(root.as_bytes()).ok().and_then(|root| root.try_into().ok());
    Ok((origin, size, LogHash::from_bytes(root.ok_or(CheckpointError::Root)?)))
}

/// A checkpoint that its own key has signed, with the note that shows it. Made only by verifying or by signing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Head {
    checkpoint: Checkpoint,
    note: Box<[u8]>,
}

/// Why a checkpoint is not signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The secret belongs to another key than the origin names.
    #[error("this is another key's log")]
    OtherKey,
    /// Nobody would accept it.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

impl Head {
    /// Verifies an untrusted note. The origin line names the key, so a note verifies by itself; whether it is the
    /// wanted log's is the caller's question ([`Head::origin`]). The bytes are kept as they are, cosignatures included.
    ///
    /// # Errors
    /// [`NoteError`]; no part of the note is to be believed then.
    pub fn verify(note: &[u8]) -> Result<Self, NoteError> {
        let parsed = Note::parse(note)?;
        let (origin, _) = parsed.text().split_once('\n').ok_or(NoteError::Form)?;
        parsed.check(&Vkey::of(&origin.parse()?))?;
        Ok(Self { checkpoint: parsed.text().parse()?, note: note.into() })
    }

    /// Signs a checkpoint: deterministic, so the same checkpoint gives the same bytes.
    ///
    /// The caller answers for never signing two that conflict: the journal is written first.
    ///
    /// # Errors
    /// [`SignError`] for another key's log and for what no reader would accept.
    pub fn sign(secret: &DeviceSecret, checkpoint: Checkpoint) -> Result<Self, SignError> {
        if secret.public() != checkpoint.origin.key {
            return Err(SignError::OtherKey);
        }
        let checkpoint = checkpoint.plausible()?;
        let note = note::sign(&checkpoint.to_string(), &checkpoint.origin.to_string(), secret);
        Ok(Self { checkpoint, note: note.into() })
    }

    /// What is signed.
    #[must_use]
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Which log.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.checkpoint.origin
    }

    /// Leaves.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.checkpoint.size
    }

    /// The root over them.
    #[must_use]
    pub fn root(&self) -> LogHash {
        self.checkpoint.root
    }

    /// The note's bytes as they came, for storing and relaying.
    #[must_use]
    pub fn note(&self) -> &[u8] {
        &self.note
    }

    /// The same head with the log's own signature only.
    #[must_use]
    pub fn without_cosignatures(&self) -> Self {
        let note = Note::parse(&self.note).expect("a head's note was parsed or printed when it was made");
        let own = note.line_of(&Vkey::of(self.origin())).expect("a head's note has its own line exactly once");
        Self { checkpoint: self.checkpoint, note: Note::with_line(note.text(), own.line).into() }
    }

    /// The same head with a note that has further lines. The caller answers for the note's being this head's.
    pub(super) fn with_note(self, note: Vec<u8>) -> Self {
        Self { note: note.into(), ..self }
    }
}
