//! What of the disk decides what is folded: by log, so that whoever derives something from histories notices what it is behind.

use syncra_protocol::codec;
use syncra_protocol::origin::Origin;

use super::Histories;
use crate::index::Basis;
use crate::journal::OwnLog;
use crate::logs::LogsError;

impl Histories {
    /// Every log of which anything is held, with all that decides what it says: as long as that is equal, so is what is folded.
    ///
    /// A head alone does not tell: the entries below a remembered one may come later (a home that was restored), or be lost and
    /// come back; its key may turn out to have signed two histories, it may be shown where they part, and the reader's witnesses
    /// may have seen one of them.
    ///
    /// # Errors
    /// [`LogsError`].
    pub fn bases(&self) -> Result<Vec<(Origin, Basis)>, LogsError> {
        let origins: Vec<Origin> = self.known().origins.values().flatten().copied().collect();
        let mut bases = Vec::with_capacity(origins.len());
        for origin in origins {
            bases.extend(self.basis(&origin)?.map(|basis| (origin, basis)));
        }
        Ok(bases)
    }

    fn basis(&self, origin: &Origin) -> Result<Option<Basis>, LogsError> {
        let (n_own, head, fork) = {
            let truth = self.journal().truth();
            let own = truth.own_log(origin);
            let signed = own.and_then(OwnLog::note).map(|note| (note.size, note.root));
            let elsewhere = truth.head(origin).map(|head| (head.size, head.root));
            // As they are read: the longer one.
            let head = signed.into_iter().chain(elsewhere).max_by_key(|(size, _)| *size);
            let fork = truth.fork_proof(origin).map(|proof| {
                (blake3::hash(proof), truth.fork_point(origin).map(blake3::hash), truth.fork_common(origin))
            });
            (own.map_or(0, OwnLog::size), head, fork)
        };
        let Some((size, root)) = head else { return Ok(None) };
        let is_whole = n_own >= size || self.0.logs.missing(origin, n_own..size)?.is_empty();
        let mut digest = blake3::Hasher::new_derive_key("syncra index 1: what decides what a log says");
        digest.update(&codec::encode(&(size, root, is_whole)));
        if let Some((proof, point, n_common)) = fork {
            let point = point.map(|point| *point.as_bytes());
            digest.update(&codec::encode(&(*proof.as_bytes(), point, n_common)));
            digest.update(&self.0.witnesses.seen_of(origin));
        }
        Ok(Some(Basis(*digest.finalize().as_bytes())))
    }
}
