//! `/syncra/log/1`: heads of a package, entries of a log, watching, and what a node offers.
//!
//! A stream carries one [`Request`] and then answers: exactly one, but for `Watch`, whose stream stays open and carries
//! [`Answer::Notice`] frames until either side closes it. `Watch` answers nothing about the past: open it first and ask
//! for `Heads` then, so that no head falls between.

use serde::{Deserialize, Serialize};

use super::{MessageError, Refusal};
use crate::bounded::{self, Blob};
use crate::codec;
use crate::entry::OWNER_LIMIT;
use crate::evidence::Evidence;
use crate::id::{LogHash, PackageId};
use crate::limits::{
    ENTRIES_PER_FRAME, ENTRY_BYTES, FRAME_BYTES, HEADS_PER_FRAME, NOTE_BYTES, OFFERS_PER_FRAME, PROOF_HASHES,
    WATCHED_PACKAGES,
};
use crate::log::Log;
use crate::log::checkpoint::Head;
use crate::log::proof::{ConsistencyProof, PrefixProof, ProofError};
use crate::origin::Origin;

/// Bytes of a request frame; only a full `Watch` comes near.
pub const REQUEST_BYTES: usize = 64 << 10;

/// Bytes that a length or tag below 2^32 takes at most.
const LENGTH_BYTES: usize = 5;
/// Bytes of an [`Entries`] answer beside its entries.
const ANSWER_OVERHEAD: usize = NOTE_BYTES + 2 * PROOF_HASHES * 32 + 5 * LENGTH_BYTES;

/// One note's bytes, unverified.
pub type NoteBytes = Blob<NOTE_BYTES>;
/// One entry's bytes, unverified.
pub type EntryBytes = Blob<ENTRY_BYTES>;

/// What an asker wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// All that speaks for a package: answered by [`Answer::Heads`].
    Heads {
        /// The package.
        package: PackageId,
    },
    /// Entries of one log: answered by [`Answer::Entries`].
    Entries {
        /// The log.
        origin: Origin,
        /// The first entry wanted: what the asker holds.
        from: u64,
        /// At most this many; the answerer may send fewer.
        limit: u32,
    },
    /// Send the new notes of these packages' logs from now on: answered by [`Answer::Watching`], then notices.
    Watch {
        /// The packages, ascending.
        #[serde(deserialize_with = "bounded::list::<_, _, WATCHED_PACKAGES>")]
        packages: Vec<PackageId>,
    },
    /// The packages that the answerer offers to anybody: answered by [`Answer::Offers`].
    Offers {
        /// Those with greater ids only; none for the first page.
        after: Option<PackageId>,
    },
}

/// What an answerer says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// To `Heads`.
    Heads(Heads),
    /// To `Entries`.
    Entries(Entries),
    /// To `Watch`: how many of the packages are served now; of the others notices come once they are.
    Watching {
        /// Packages served now.
        n_packages: u32,
    },
    /// A new note of a watched package.
    Notice {
        /// The package.
        package: PackageId,
        /// The note.
        note: NoteBytes,
    },
    /// To `Offers`.
    Offers(Offers),
    /// Instead of any other.
    Refused(Refusal),
}

/// Genesis bytes and all notes that a node holds of a package's evidence set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heads {
    /// The package's Genesis entry: hashes to its id.
    pub package_genesis: EntryBytes,
    /// The Genesis entries of its owner identities: each hashes to its id.
    #[serde(deserialize_with = "bounded::list::<_, _, OWNER_LIMIT>")]
    pub identity_geneses: Vec<EntryBytes>,
    /// The newest note of each log.
    #[serde(deserialize_with = "bounded::list::<_, _, HEADS_PER_FRAME>")]
    pub notes: Vec<NoteBytes>,
}

/// A run of entries, the newest note, and the way from one to the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entries {
    /// The newest note of the log that the answerer holds all entries of.
    pub note: NoteBytes,
    /// Hashes of the [`PrefixProof`] from the request's `from` to the note's size; none unless
    /// `0 < from < size`. Tells a lying answerer from a forking writer.
    #[serde(deserialize_with = "bounded::list::<_, _, PROOF_HASHES>")]
    pub prefix: Vec<LogHash>,
    /// Hashes of the [`ConsistencyProof`] from the size that these entries reach to the note's size; none if they reach
    /// it. Lets each answer be verified before the next is asked for.
    #[serde(deserialize_with = "bounded::list::<_, _, PROOF_HASHES>")]
    pub reached: Vec<LogHash>,
    /// The entries from `from` on, as many as fit.
    #[serde(deserialize_with = "bounded::list::<_, _, ENTRIES_PER_FRAME>")]
    pub entries: Vec<EntryBytes>,
}

/// A page of what a node offers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offers {
    /// Ascending by package.
    #[serde(deserialize_with = "bounded::list::<_, _, OFFERS_PER_FRAME>")]
    pub offers: Vec<Offer>,
    /// Whether there are more after the last.
    pub more: bool,
}

/// One offered package. A hint: what it is called and what it has is learnt from its verified logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// The package.
    pub package: PackageId,
    /// Changes whenever the answerer learns something new of the package: [`crate::evidence::Frontier::digest`].
    pub frontier: [u8; 32],
}

/// The message bytes of a request, without the frame's length.
#[must_use]
pub fn encode_request(request: &Request) -> Vec<u8> {
    codec::encode(request)
}

/// The message bytes of an answer, without the frame's length.
#[must_use]
pub fn encode_answer(answer: &Answer) -> Vec<u8> {
    codec::encode(answer)
}

/// Decodes an asker's bytes.
///
/// # Errors
/// [`MessageError`]; close the stream.
pub fn decode_request(bytes: &[u8]) -> Result<Request, MessageError> {
    let request: Request = codec::decode(bytes, REQUEST_BYTES)?;
    match &request {
        Request::Watch { packages } if !packages.is_sorted_by(|a, b| a < b) => {
            Err(MessageError::Rule("watched packages are not in ascending order"))
        }
        Request::Entries { limit: 0, .. } => Err(MessageError::Rule("asks for no entries")),
        _ => Ok(request),
    }
}

/// Decodes an answerer's bytes.
///
/// # Errors
/// [`MessageError`]; close the stream.
pub fn decode_answer(bytes: &[u8]) -> Result<Answer, MessageError> {
    let answer: Answer = codec::decode(bytes, FRAME_BYTES)?;
    match &answer {
        Answer::Offers(page) if !page.offers.is_sorted_by(|a, b| a.package < b.package) => {
            Err(MessageError::Rule("offers are not in ascending order"))
        }
        Answer::Offers(page) if page.more && page.offers.is_empty() => {
            Err(MessageError::Rule("promises more after nothing"))
        }
        _ => Ok(answer),
    }
}

impl Heads {
    /// The answer to `Heads` of a node that holds `evidence`. `dress` gives a head the further lines that are known
    /// ([`Head::with_evidence`]); they are left off where they would not fit into the frame. Forked logs come first, so that
    /// the warnings always fit, and again where one note has no room for all that is to be said of their fork.
    #[must_use]
    pub fn answer(evidence: &Evidence, dress: impl Fn(&Head) -> Head) -> Self {
        let (forked, others): (Vec<_>, Vec<_>) = evidence.heads().partition(|head| evidence.is_forked(head.origin()));
        let mut left = FRAME_BYTES / 2;
        let mut fits = |full: &Head| {
            let rest = left.checked_sub(full.note().len() + LENGTH_BYTES);
            left = rest.unwrap_or(left);
            rest.is_some()
        };
        let (mut notes, mut again) = (Vec::new(), Vec::new());
        for head in forked.into_iter().chain(others).take(HEADS_PER_FRAME) {
            let dressed = dress(head);
            let point = evidence.fork_point(head.origin()).filter(|point| !point.is_carried_by(&dressed));
            let dressed = if fits(&dressed) { dressed } else { head.without_cosignatures() };
            notes.push(Blob(dressed.note().to_vec()));
            let parted = point.map(|point| head.with_evidence(Some(point.proof()), Some(point), []));
            again.extend(parted.filter(&mut fits).map(|parted| Blob(parted.note().to_vec())));
        }
        again.truncate(HEADS_PER_FRAME - notes.len());
        notes.append(&mut again);
        Self {
            package_genesis: Blob(evidence.genesis_bytes().to_vec()),
            identity_geneses: evidence.identity_genesis_bytes().map(|bytes| Blob(bytes.to_vec())).collect(),
            notes,
        }
    }
}

impl Entries {
    /// The answer to `Entries{from, limit}` of a node that holds `log` up to `head`: as many of `entries`, which begin
    /// at `from`, as fit into one frame and the asker's `limit`.
    ///
    /// # Errors
    /// [`ProofError`] when `log` does not hold the head's size.
    pub fn answer(
        log: &Log,
        head: &Head,
        (from, limit): (u64, u32),
        entries: impl IntoIterator<Item = Vec<u8>>,
    ) -> Result<Self, ProofError> {
        let size = head.size();
        let wanted = size.saturating_sub(from).min(u64::from(limit)).min(ENTRIES_PER_FRAME as u64);
        let mut left = FRAME_BYTES - ANSWER_OVERHEAD;
        let fits = entries.into_iter().take(usize::try_from(wanted).unwrap_or(0)).take_while(|entry| {
            let rest = left.checked_sub(entry.len() + LENGTH_BYTES);
            left = rest.unwrap_or(0);
            rest.is_some()
        });
        let entries: Vec<EntryBytes> = fits.map(Blob).collect();
        let reached = from.saturating_add(entries.len() as u64);
        Ok(Self {
            note: Blob(head.note().to_vec()),
            prefix: if from > 0 && from < size { log.prove_prefix(from, size)?.hashes().to_vec() } else { Vec::new() },
            reached: if reached < size { log.prove_consistency(reached, size)?.hashes().to_vec() } else { Vec::new() },
            entries,
        })
    }

    /// The prefix proof, for the request's `from` and the verified note's size; none where there is nothing to prove.
    ///
    /// # Errors
    /// [`ProofError`] when it has another shape than it must.
    pub fn prefix_proof(&self, from: u64, size: u64) -> Result<Option<PrefixProof>, ProofError> {
        if from == 0 || from >= size {
            return Ok(None);
        }
        PrefixProof::new(from, size, self.prefix.clone()).map(Some)
    }

    /// The proof for [`Log::extend_towards`].
    ///
    /// # Errors
    /// [`ProofError`] when it has another shape than it must.
    pub fn reached_proof(&self, from: u64, size: u64) -> Result<ConsistencyProof, ProofError> {
        ConsistencyProof::new(from.saturating_add(self.entries.len() as u64), size, self.reached.clone())
    }
}
