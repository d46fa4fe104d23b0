//! What can go wrong with blobs, told apart by what the caller should do about it.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use iroh_blobs::api;
use syncra_protocol::id::BlobId;

/// Why a local operation on blobs failed.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// The disk or the quota is full: free space, then try again.
    #[error("no space left while {doing}")]
    StorageFull {
        /// The operation, as a present participle.
        doing: &'static str,
    },
    /// Not held completely.
    #[error("blob {0} is not held here")]
    Missing(BlobId),
    /// Held, but larger than the caller is ready to take.
    #[error("blob {id} has {bytes} bytes, more than the {limit} allowed here")]
    TooLarge {
        /// The blob.
        id: BlobId,
        /// Its size.
        bytes: u64,
        /// What the caller allowed.
        limit: u64,
    },
    /// The bytes on disk are no longer those of the id: bit rot or foreign hands.
    #[error("blob {0} is damaged on disk")]
    Damaged(BlobId),
    /// A range outside the blob, or of which a part is not held.
    #[error("bytes {start}..{end} of blob {id} are not held here")]
    Range {
        /// The blob.
        id: BlobId,
        /// First byte.
        start: u64,
        /// One after the last byte.
        end: u64,
    },
    /// The blob is not a list of hashes.
    #[error("blob {0} is not a sequence of hashes")]
    NotASequence(BlobId),
    /// The store was shut down, or its database gave up after an I/O error: open it again.
    #[error("the blob store has stopped")]
    Stopped,
    /// Any other fault of the disk.
    #[error("{doing} failed")]
    Io {
        /// The operation, as a present participle.
        doing: &'static str,
        /// The system's words.
        #[source]
        source: io::Error,
    },
}

impl BlobError {
    /// True if freeing space helps.
    #[must_use]
    pub const fn is_disk_full(&self) -> bool {
        matches!(self, Self::StorageFull { .. })
    }

    /// An I/O error while `doing`, with a full disk told apart.
    pub(super) fn io(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| {
            if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
                Self::StorageFull { doing }
            } else {
                Self::Io { doing, source }
            }
        }
    }

    /// An error of the library's store while `doing`.
    pub(super) fn store(doing: &'static str) -> impl FnOnce(api::RequestError) -> Self {
        move |error| match error {
            api::RequestError::Inner { source: api::Error::Io(source), .. } => Self::io(doing)(source),
            // The actor behind the channel is gone: every later call fails the same way.
            _ => Self::Stopped,
        }
    }

    /// An error of the library's plain store calls while `doing`.
    pub(super) fn api(doing: &'static str) -> impl FnOnce(api::Error) -> Self {
        move |api::Error::Io(source)| Self::io(doing)(source)
    }
}

/// Why the blob store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process, or another handle of this one, has it open.
    #[error("the blob store at {0} is in use")]
    Busy(PathBuf),
    /// A fault of the disk, or of a store that was just set up.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The check of the database did not end: the disk stalls. Nothing was changed.
    #[error("the disk does not answer: {} was not read within {} s", path.display(), after.as_secs())]
    Unanswered {
        /// The database.
        path: PathBuf,
        /// How long it was waited for.
        after: Duration,
    },
    /// A fresh database could not be made either.
    #[error("the blob library could not open its store: {0}")]
    Library(String),
}

impl OpenError {
    /// True if freeing space helps.
    #[must_use]
    pub const fn is_disk_full(&self) -> bool {
        matches!(self, Self::Blob(error) if error.is_disk_full())
    }
}

/// Why a fetch from one peer failed; decides what happens to that peer.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The peer sent bytes that cannot belong to the id: ban it.
    #[error("peer sent wrong bytes for blob {0}")]
    Corrupt(BlobId),
    /// The peer does not serve this root: ask another one.
    #[error("peer does not serve {0}")]
    NotFound(BlobId),
    /// The answer ended early: the peer lacks that part, or the connection was lost. What came is kept.
    #[error("the answer ended inside blob {0}")]
    Cut(BlobId),
    /// Nothing verified arrived within the allowed time.
    #[error("peer sent nothing for too long")]
    Stalled,
    /// The transport reported an error.
    #[error("connection to the peer failed")]
    Io(#[source] io::Error),
    /// The blob is larger than its kind may be: whoever published it is at fault, not the peer.
    #[error("blob {id} claims {bytes} bytes, more than the {limit} allowed")]
    TooLarge {
        /// The blob.
        id: BlobId,
        /// The size the peer named.
        bytes: u64,
        /// The bound of this kind of blob.
        limit: u64,
    },
    /// The request would be longer than the protocol allows: split it.
    #[error("the request names too many parts")]
    TooManyParts,
    /// Our own disk or store failed.
    #[error(transparent)]
    Local(#[from] BlobError),
}

impl FetchError {
    /// An error of reading from or writing to the peer.
    pub(super) fn transport(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::TimedOut => Self::Stalled,
            _ => Self::Io(error),
        }
    }
}

/// Why a segment could not be put together from its pieces.
#[derive(Debug, thiserror::Error)]
pub enum SpliceError {
    /// The pieces do not cover `0..size` in order.
    #[error("pieces of segment {0} leave a gap or overlap")]
    Gap(BlobId),
    /// The pieces are there, the result is not the segment: the chunk list was wrong. Fetch it whole.
    #[error("pieces do not make segment {0}")]
    Mismatch(BlobId),
    /// A piece could not be read, or the segment not written.
    #[error(transparent)]
    Blob(#[from] BlobError),
}

/// Why a request of a peer was not answered in full.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Not a request that we answer: malformed, or another kind than Get.
    #[error("not a request that is served")]
    Request,
    /// The peer vanished or stopped reading.
    #[error("connection to the peer failed")]
    Io(#[source] io::Error),
    /// Something requested is not held; the answer ended there.
    #[error("a requested part is not held")]
    Missing,
}
