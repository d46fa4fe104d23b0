//! Growing others' logs, after they were verified: entries on disk first, then the head that guards against rollback.

use syncra_protocol::id::EntryId;
use syncra_protocol::log::checkpoint::Head;
use syncra_protocol::log::fork::ForkProof;
use syncra_protocol::log::fork_point::ForkPoint;
use syncra_protocol::origin::Origin;

use super::{Histories, body_of};
use crate::clock;
use crate::journal::{self, FirstSeen, ForkCommon, ForkPointShown, ForkedLog, KnownHead, OwnLog, Refusal};
use crate::logs::LogsError;

/// Why a verified continuation was not kept.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The store of entries fails.
    #[error("the entries cannot be stored")]
    Logs(#[from] LogsError),
    /// Another history of the log was kept meanwhile: its key has signed two.
    #[error("another history of this log was kept meanwhile")]
    OtherHistory,
    /// The journal refuses or fails.
    #[error("the head cannot be remembered")]
    Journal(#[from] journal::AppendError),
}

impl Histories {
    /// Keeps `entries`, which continue the log of `head` from entry `from` on. The caller has verified them (see
    /// [`syncra_protocol::evidence::Evidence::verify`]); whatever is stored already is left as it is.
    ///
    /// # Errors
    /// [`CommitError`]; then the log is as it was, or longer without its head, which the next commit mends.
    pub async fn commit(&self, from: u64, entries: &[Vec<u8>], head: &Head) -> Result<(), CommitError> {
        let origin = *head.origin();
        if self.0.journal.truth().own_log(&origin).is_some_and(|own| own.size() >= head.size()) {
            return Ok(());
        }
        // Several packages may bring the log of one identity at a time, and its key may have signed two.
        let _turn = self.turn(&origin).await;
        self.make_room(&origin, from, entries)?;
        self.0.logs.append(&origin, from, entries)?;
        self.0.logs.sync()?;
        let now = clock::now();
        let releases = entries.iter().filter(|entry| is_release(entry));
        let seen = releases.map(|entry| self.0.journal.append(FirstSeen { entry: EntryId::of(entry), at: now }));
        futures::future::try_join_all(seen).await?;
        // What witnesses say of it is kept elsewhere: it changes while the head stays.
        let head = head.without_cosignatures();
        let known = KnownHead { origin, size: head.size(), root: head.root(), note: head.note().to_vec() };
        self.0.journal.append(known).await?;
        self.changed(head);
        Ok(())
    }

    /// Misses from now on what is here of others' logs, if it is gone: of a home that comes from elsewhere nothing is expected.
    ///
    /// # Errors
    /// [`CommitError`].
    pub async fn expect_all(&self) -> Result<(), CommitError> {
        let heads: Vec<KnownHead> = self.0.journal.truth().heads().cloned().collect();
        let mut here = Vec::new();
        for head in heads {
            let n_own = self.0.journal.truth().own_log(&head.origin).map_or(0, OwnLog::size);
            // What is in the journal is missed in any case, and goes on there.
            if n_own < head.size && self.0.logs.missing(&head.origin, n_own..head.size)?.is_empty() {
                here.push(self.0.journal.append(head));
            }
        }
        for said in futures::future::join_all(here).await {
            match said {
                // It has grown meanwhile, so it is said already.
                Ok(_) | Err(journal::AppendError::Refused(Refusal::Rollback { .. })) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    async fn turn(&self, origin: &Origin) -> tokio::sync::MutexGuard<'_, ()> {
        let turns = &self.0.committing;
        turns[usize::from(origin.key.as_bytes()[0]) % turns.len()].lock().await
    }

    /// What is stored already beyond the remembered head is the rest of a write that was interrupted; if it is of another history
    /// it goes. What is remembered stays.
    fn make_room(&self, origin: &Origin, from: u64, entries: &[Vec<u8>]) -> Result<(), CommitError> {
        let logs = &self.0.logs;
        let stored = logs.read(origin, from..from + entries.len() as u64, usize::MAX)?.entries;
        let Some(differs) = stored.iter().zip(entries).position(|(stored, entry)| stored != entry) else {
            return Ok(());
        };
        let (n_own, n_known) = {
            let truth = self.0.journal.truth();
            (truth.own_log(origin).map_or(0, OwnLog::size), truth.head(origin).map_or(0, |head| head.size))
        };
        if n_known > from + differs as u64 {
            return Err(CommitError::OtherHistory);
        }
        // Of an own log only what was written elsewhere lies here.
        let known = logs.read(origin, n_own..n_known.max(n_own), usize::MAX)?.entries;
        logs.forget(origin)?;
        Ok(logs.append(origin, n_own, &known)?)
    }

    /// Keeps a fork proof for ever; from now on the log counts only as far as it is known to be settled. Who listens for
    /// changes hears of it with the head that is held: watchers are warned, followers look again. Where nothing of the log is
    /// held watchers are warned all the same.
    ///
    /// # Errors
    /// [`CommitError`].
    pub async fn keep_fork(&self, proof: &ForkProof) -> Result<(), CommitError> {
        let forked = ForkedLog { origin: *proof.origin(), proof: proof.encode() };
        let is_known = self.0.journal.truth().fork_proof(proof.origin()).is_some();
        self.0.journal.append(forked).await?;
        self.known().forget(proof.origin().subject);
        let held = self.note(proof.origin()).and_then(|note| Head::verify(&note).ok());
        match held {
            _ if is_known => {}
            Some(head) => self.changed(head),
            None => self.0.witnesses.warn(proof),
        }
        Ok(())
    }

    /// Keeps for ever where two histories of a forked log part, with the fork proof that this is about, if it says more of the
    /// history that is held than what is known; how much of that is in both is kept before. Who listens for changes hears of it.
    ///
    /// # Errors
    /// [`CommitError`].
    pub async fn keep_fork_point(&self, point: &ForkPoint) -> Result<(), CommitError> {
        let (origin, n_common) = (*point.origin(), point.n_common());
        let _turn = self.turn(&origin).await;
        // Of what cannot be read nothing is known; whoever needs it is told.
        let log = self.log(&origin).ok().flatten().map(|(log, _)| log);
        let known = self.fork(&origin).and_then(|fork| fork.point);
        if !point.says_more(known.as_ref(), log.as_ref()) {
            return Ok(());
        }
        if log.is_some_and(|log| point.is_in(&log)) {
            self.0.journal.append(ForkCommon { origin, n_common }).await?;
        }
        let shown = ForkPointShown { origin, proof: point.proof().encode(), point: point.encode() };
        self.0.journal.append(shown).await?;
        self.known().forget(origin.subject);
        if let Some(head) = self.note(&origin).and_then(|note| Head::verify(&note).ok()) {
            self.changed(head);
        }
        Ok(())
    }

    /// What is shown of a forked log may be another now: the reader's witnesses said something, or are others. Without
    /// effect on a log that is not forked.
    pub fn reconsider(&self, origin: &Origin) {
        let is_forked = self.0.journal.truth().fork_proof(origin).is_some();
        let held = self.note(origin).and_then(|note| Head::verify(&note).ok());
        if let Some(head) = held.filter(|_| is_forked) {
            self.changed(head);
        }
    }

    /// [`Histories::reconsider`] for all logs.
    pub fn reconsider_all(&self) {
        let forked: Vec<Origin> = self.0.journal.truth().forked_logs().copied().collect();
        for origin in forked {
            self.reconsider(&origin);
        }
    }

    /// Keeps for ever that the first `n_common` entries of a forked log are in both histories: they stay settled.
    ///
    /// # Errors
    /// [`CommitError`].
    pub async fn keep_common(&self, origin: Origin, n_common: u64) -> Result<(), CommitError> {
        self.0.journal.append(ForkCommon { origin, n_common }).await?;
        self.known().forget(origin.subject);
        Ok(())
    }
}

fn is_release(entry: &[u8]) -> bool {
    matches!(body_of(entry), Some(syncra_protocol::entry::Body::Release(_)))
}

#[cfg(test)]
mod tests {
    use syncra_protocol::id::{LogHash, PackageId};
    use syncra_protocol::key::DeviceSecret;
    use syncra_protocol::log::Log;
    use syncra_protocol::log::checkpoint::Head;
    use syncra_protocol::origin::Origin;

    use super::{CommitError, Histories};
    use crate::flow::fixture::open;

    /// A history of one key's log: so many entries that all of them have, then others.
    fn history(n_common: u8, own: u8, n_entries: u8) -> (Vec<Vec<u8>>, Head) {
        let secret = DeviceSecret::from_seed(&[7; 32]);
        let mut log = Log::new(Origin::package(PackageId::from_bytes([8; 32]), secret.public()));
        let entries: Vec<Vec<u8>> =
            (0..n_entries).map(|n| if n < n_common { vec![n; 9] } else { vec![own, n] }).collect();
        for entry in &entries {
            log.append(entry).unwrap();
        }
        (entries, Head::sign(&secret, log.checkpoint()).unwrap())
    }

    /// The root over what is stored of a log.
    fn root_of(histories: &Histories, head: &Head) -> LogHash {
        let mut log = Log::new(*head.origin());
        for entry in histories.entries(head.origin(), 0, u64::MAX).unwrap() {
            log.append(&entry).unwrap();
        }
        log.root()
    }

    #[tokio::test]
    async fn two_histories_that_come_at_a_time_are_not_mixed() {
        let dir = tempfile::tempdir().unwrap();
        let parts = open(dir.path()).await;
        let ((one, head), (other, longer)) = (history(3, 1, 6), history(3, 2, 9));
        let histories = &parts.histories;
        histories.commit(0, &one[..3], &history(3, 1, 3).1).await.unwrap();
        // Both were verified against the first three.
        let (a, b) = tokio::join!(histories.commit(3, &one[3..], &head), histories.commit(3, &other[3..], &longer));
        assert!(a.is_ok() && matches!(b, Err(CommitError::OtherHistory)), "{a:?} {b:?}");
        assert_eq!(histories.note(head.origin()).unwrap(), head.note());
        assert_eq!(root_of(histories, &head), head.root());
        parts.close().await;
    }

    #[tokio::test]
    async fn the_rest_of_an_interrupted_commit_keeps_no_other_history_out() {
        let dir = tempfile::tempdir().unwrap();
        let parts = open(dir.path()).await;
        let ((one, _), (other, head)) = (history(3, 1, 6), history(3, 2, 9));
        let histories = &parts.histories;
        histories.commit(0, &one[..3], &history(3, 1, 3).1).await.unwrap();
        histories.0.logs.append(head.origin(), 3, &one[3..]).unwrap();
        histories.commit(3, &other[3..], &head).await.unwrap();
        assert_eq!(histories.note(head.origin()).unwrap(), head.note());
        assert_eq!(root_of(histories, &head), head.root());
        parts.close().await;
    }
}
