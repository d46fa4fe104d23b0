//! Taking in a `.syncpack`: everything is verified before anything counts.
//!
//! Two passes over the file. The first sums it, verifies every history against what is held, and works out which blobs
//! the histories name. The second stores those blobs, pinned, and checks every release that is complete. Only then the
//! histories are kept; until then nothing names the new blobs, and giving up leaves them to the collector. What was
//! brought stays until the user lets it go: whoever carries a stick wants to hand it on.

use std::collections::HashSet;
use std::path::Path;

use bytes::Bytes;
use syncra_protocol::entry::{Body, Release};
use syncra_protocol::evidence::{Evidence, EvidenceError, GenesisError, IdentityLog};
use syncra_protocol::id::{BlobId, ContentRoot, PackageId};
use syncra_protocol::log::checkpoint::Head;
use syncra_protocol::log::fork::ForkProof;
use syncra_protocol::log::fork_point::ForkPoint;
use syncra_protocol::log::{Log, Standing};
use syncra_protocol::origin::{Origin, Subject};
use tokio::sync::mpsc;

use super::frame::{Frame, FrameError};
use super::learnt::{self, LearntFork};
use super::survey::{self, Survey, SurveyError, SurveyedLog, SurveyedPackage};
use crate::blobs::{self, BlobError, Blobs, Import};
use crate::flow::get::{self, GetError, Wanted};
use crate::flow::release::ReleaseError;
use crate::flow::{Parts, catalogue, redact, resolve};
use crate::history::{CommitError, LoadError, body_of};
use crate::journal::{self, ImportedRoot};
use crate::progress::Progress;

/// Blobs read ahead of the store: bounds memory.
const AHEAD: usize = 2;

/// What was taken in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The packages, by reference, each with its releases that are complete here.
    pub packages: Vec<(String, u64)>,
    /// Entries that were not known before.
    pub entries: u64,
    /// Blobs that were not held before.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Logs in the file whose keys have signed two histories: what is here of them stays as it is, and of what the file has
    /// only the settled part counts, if that is here.
    pub left_out: Vec<Origin>,
    /// Logs of which it was learnt that their keys signed two histories, or where these part.
    pub forks: Vec<LearntFork>,
}

/// Why nothing was kept.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file.
    #[error("it is not a whole .syncpack")]
    Survey(#[from] SurveyError),
    /// A history does not begin as it says.
    #[error("the history of package {} does not verify", package.fmt_short())]
    Genesis {
        /// The package.
        package: PackageId,
        /// Why.
        source: GenesisError,
    },
    /// A log does not verify.
    #[error("the log {origin} does not verify")]
    Evidence {
        /// The log.
        origin: Origin,
        /// Why.
        source: EvidenceError,
    },
    /// The log's key has signed another history, which is here. The proof of that is kept.
    #[error("the log {} contradicts the history that is held here: its key has signed two", .proof.origin())]
    Forked {
        /// The proof.
        proof: Box<ForkProof>,
        /// Where the histories part, if the file shows it.
        point: Option<Box<ForkPoint>>,
    },
    /// The history lacks the log that it begins with.
    #[error("the history of package {} lacks its first log", .0.fmt_short())]
    Incomplete(PackageId),
    /// A blob that no history in the file names.
    #[error("the file holds blob {0}, which none of its histories names")]
    Stray(BlobId),
    /// The file changed between two looks at it.
    #[error("the file changed while it was read")]
    Changed,
    /// A release in the file does not verify.
    #[error("a release of package {} does not verify", package.fmt_short())]
    Release {
        /// The package.
        package: PackageId,
        /// Why.
        source: ReleaseError,
    },
    /// The blob store does not open.
    #[error(transparent)]
    OpenBlobs(#[from] blobs::OpenError),
    /// The blob store.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// What is held cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// What was verified cannot be kept.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// What was brought cannot be noted.
    #[error(transparent)]
    Journal(#[from] journal::AppendError),
    /// The system stopped a task.
    #[error("reading the file was interrupted")]
    Interrupted,
}

/// Takes in the file at `path`; with `dry_run` nothing is kept but, until the next collection, blobs.
///
/// # Errors
/// [`ImportError`].
pub async fn import(parts: &Parts, path: &Path, dry_run: bool, progress: &Progress) -> Result<Imported, ImportError> {
    progress.items("verify", 0, None);
    let file = path.to_owned();
    let surveyed = tokio::task::spawn_blocking(move || survey::survey(&file)).await;
    let survey = surveyed.map_err(|_| ImportError::Interrupted)??;
    let mut verified: Vec<Verified> = Vec::new();
    for package in &survey.packages {
        match verify(parts, &verified, package) {
            Err(ImportError::Forked { proof, point }) if !dry_run => {
                parts.histories.keep_fork(&proof).await?;
                if let Some(point) = &point {
                    parts.histories.keep_fork_point(point).await?;
                }
                return Err(ImportError::Forked { proof, point });
            }
            package => verified.push(package?),
        }
    }
    if dry_run {
        let forks = learnt::would(parts, &survey, verified.iter().flat_map(|package| &package.points));
        return Ok(Imported { forks, ..report(parts, &verified, None) });
    }
    let before = learnt::known(parts, &survey);
    let blobs = parts.blobs().await?;
    let import = store(blobs, path, &survey, &verified, progress).await?;
    check_releases(blobs, &survey, &mut verified).await?;
    import.sync().await?;
    for package in &verified {
        for growth in &package.growth {
            parts.histories.commit(growth.from, &growth.entries, &growth.head).await?;
        }
        for content_root in &package.brought {
            let root = ImportedRoot { content_root: *content_root, package: package.package, kept: true };
            parts.histories.journal().append(root).await?;
        }
    }
    keep_evidence(parts, &survey).await?;
    for point in verified.iter().flat_map(|package| &package.points) {
        parts.histories.keep_fork_point(point).await?;
    }
    for package in &verified {
        catalogue::refresh(parts, package.package).await?;
    }
    Ok(Imported { forks: learnt::since(parts, &before), ..report(parts, &verified, Some(&import)) })
}

/// Keeps what the notes carry besides their logs' signatures: fork proofs, and what witnesses say.
async fn keep_evidence(parts: &Parts, survey: &Survey) -> Result<(), ImportError> {
    for SurveyedLog { head, .. } in survey.packages.iter().flat_map(|package| &package.logs) {
        if let Some(proof) = ForkProof::carried_by(head) {
            parts.histories.keep_fork(&proof).await?;
        }
        if let Some(point) = ForkPoint::carried_by(head) {
            parts.histories.keep_fork_point(&point).await?;
        }
        if parts.witnesses.hear(head).await? {
            parts.histories.reconsider(head.origin());
        }
    }
    Ok(())
}

/// A history that verifies together with what is held.
struct Verified {
    package: PackageId,
    evidence: Evidence,
    growth: Vec<Growth>,
    /// Releases in the file, those among them that count for nobody here: what is only theirs is not taken in.
    in_file: Vec<Release>,
    /// Logs that are not taken in because their keys signed another history, which is here.
    forked: Vec<Origin>,
    /// Where the histories of such logs part, as the file shows.
    points: Vec<ForkPoint>,
    n_complete: u64,
    /// The content that is complete now and came with the file.
    brought: Vec<ContentRoot>,
}

/// What a log gets longer by.
struct Growth {
    from: u64,
    entries: Vec<Vec<u8>>,
    head: Head,
}

/// Verifies a package of the file, those `before` it taken for held.
fn verify(parts: &Parts, before: &[Verified], surveyed: &SurveyedPackage) -> Result<Verified, ImportError> {
    let package = surveyed.begin.package;
    let bad = |source| ImportError::Genesis { package, source };
    let mut evidence = match parts.histories.package(package)? {
        Some(history) => history.evidence.clone(),
        None => Evidence::open(package, &surveyed.begin.genesis).map_err(bad)?,
    };
    for genesis in &surveyed.begin.identities {
        evidence.admit_identity(genesis).map_err(bad)?;
    }
    let (mut growth, mut in_file, mut forked, mut points) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    // Whose rights come from where: identities before packages.
    let is_identity = |log: &&SurveyedLog| matches!(log.head.origin().subject, Subject::Identity(_));
    let (identities, packages): (Vec<_>, Vec<_>) = surveyed.logs.iter().partition(is_identity);
    // A device's log may stand before the one that admits it, and who has a role before who names them.
    let mut open: Vec<&SurveyedLog> = identities.into_iter().chain(packages).collect();
    while !open.is_empty() {
        let n_open = open.len();
        let mut later = Vec::new();
        for log in open {
            let origin = *log.head.origin();
            let grown = share_held(parts, before, &mut evidence, &origin).and_then(|()| {
                if !evidence.is_forked(&origin) {
                    return grow(&mut evidence, log);
                }
                // Nothing newer of it is taken in, and what is here stays as it is.
                let standing = evidence.log(&origin).map(|held| held.compare(&log.head));
                let is_held = matches!(standing, Some(Standing::Same | Standing::Behind));
                forked.extend((!is_held).then_some(origin));
                points.extend(part(&mut evidence, log));
                Ok(None)
            });
            match grown {
                Err(ImportError::Evidence { source: EvidenceError::NoDevice, .. }) if later.len() + 1 < n_open => {
                    later.push(log);
                }
                grown => {
                    growth.extend(grown?);
                    in_file.extend(releases_of(log));
                }
            }
        }
        open = later;
    }
    let first = Origin::package(package, evidence.genesis().log_key);
    if evidence.log(&first).is_none() {
        return Err(ImportError::Incomplete(package));
    }
    Ok(Verified { package, evidence, growth, in_file, forked, points, n_complete: 0, brought: Vec::new() })
}

/// The log as it stands in the file; none if that is not what its head says.
fn whole(file: &SurveyedLog) -> Option<Log> {
    let mut log = Log::new(*file.head.origin());
    file.entries.iter().try_for_each(|entry| log.append(entry).map(drop)).ok()?;
    (log.size() == file.head.size() && log.root() == file.head.root()).then_some(log)
}

/// The releases in a log that its key signed, whatever they count for.
fn releases_of(file: &SurveyedLog) -> Vec<Release> {
    let releases = file.entries.iter().filter_map(|entry| match body_of(entry) {
        Some(Body::Release(release)) => Some(release),
        _ => None,
    });
    if whole(file).is_some() { releases.collect() } else { Vec::new() }
}

/// Where the history of a forked log that is held and the one in the file part, if that was not known.
fn part(evidence: &mut Evidence, file: &SurveyedLog) -> Option<ForkPoint> {
    let origin = file.head.origin();
    let ours = evidence.log(origin).zip(evidence.head(origin))?;
    let point = ForkPoint::of(ours, (&whole(file)?, &file.head))?;
    evidence.learn_point(point.clone()).then_some(point)
}

/// An identity's log may be held for another package of theirs, and go further than in this file, which is older, or have
/// another history than there: if that is known, the log is frozen for this package too.
fn share_held(parts: &Parts, before: &[Verified], evidence: &mut Evidence, origin: &Origin) -> Result<(), ImportError> {
    let is_frozen = evidence.is_forked(origin) && evidence.log(origin).is_some();
    if matches!(origin.subject, Subject::Package(_)) || is_frozen {
        return Ok(());
    }
    let bad = |source| ImportError::Evidence { origin: *origin, source };
    let grown: Vec<&Growth> = before.iter().flat_map(|package| &package.growth).collect();
    let grown = grown.into_iter().filter(|growth| growth.head.origin() == origin);
    let mut held = parts.histories.identity_log(origin)?;
    for Growth { entries, head, .. } in grown {
        let log = held.map_or_else(|| IdentityLog::verify(entries, head), |held| held.extended(entries, head));
        held = Some(log.map_err(bad)?);
    }
    if let Some(held) = held.filter(|held| held.log().size() > evidence.size(origin)) {
        evidence.share(&held).map_err(bad)?;
        evidence.freeze_all(parts.histories.fork(origin));
    }
    Ok(())
}

/// Adds what is new of a log; none if all of it is held.
fn grow(evidence: &mut Evidence, log: &SurveyedLog) -> Result<Option<Growth>, ImportError> {
    let origin = *log.head.origin();
    let held = evidence.log(&origin).zip(evidence.head(&origin));
    match held.map(|(held, _)| held.compare(&log.head)) {
        Some(Standing::Same | Standing::Behind) => return Ok(None),
        Some(Standing::Forked) => {
            let proof = held.map(|(held, ours)| ForkProof::from_log(held, ours, &log.head));
            let proof = proof.and_then(Result::ok).expect("the log holds its own head and contradicts the other");
            let point = held.zip(whole(log).as_ref()).and_then(|(held, other)| ForkPoint::of(held, (other, &log.head)));
            return Err(ImportError::Forked { proof: Box::new(proof), point: point.map(Box::new) });
        }
        Some(Standing::Ahead { .. } | Standing::OtherLog) | None => {}
    }
    let from = evidence.size(&origin);
    let held = usize::try_from(from).unwrap_or(usize::MAX);
    let entries = log.entries.get(held..).unwrap_or_default().to_vec();
    let bad = |source| ImportError::Evidence { origin, source };
    evidence.extend(&entries, &log.head).map_err(bad)?;
    Ok(Some(Growth { from, entries, head: log.head.clone() }))
}

/// The releases in a history, whoever wrote them, and the blobs that all its entries name.
fn named(verified: &[Verified], survey: &Survey) -> (Vec<Release>, HashSet<BlobId>) {
    let (mut releases, mut names) = (Vec::new(), HashSet::new());
    let known = verified.iter().flat_map(|package| package.evidence.fold().releases.into_values());
    releases.extend(known.map(|published| published.release));
    let entries = survey.packages.iter().flat_map(|package| &package.logs).flat_map(|log| &log.entries);
    for body in entries.filter_map(|entry| body_of(entry)) {
        if let Body::Yank(yank) = body {
            names.extend(yank.reason);
        }
    }
    for release in &releases {
        names.extend([release.content_root.into(), release.manifest]);
        names.extend(release.note);
    }
    (releases, names)
}

/// What their owners took away.
fn redacted(verified: &[Verified]) -> impl Iterator<Item = BlobId> {
    let states: Vec<_> = verified.iter().map(|package| package.evidence.fold()).collect();
    redact::refused_of(states.iter()).into_keys()
}

/// Stores the blobs that the histories name, or that a list names which they name.
async fn store(
    blobs: &Blobs,
    path: &Path,
    survey: &Survey,
    verified: &[Verified],
    progress: &Progress,
) -> Result<Import, ImportError> {
    let (releases, mut names) = named(verified, survey);
    let mut refused: HashSet<BlobId> = redacted(verified).collect();
    let mut roots: HashSet<BlobId> = releases.iter().map(|release| release.content_root.into()).collect();
    for release in verified.iter().flat_map(|package| &package.in_file) {
        roots.insert(release.content_root.into());
        for blob in redact::of_release(release).filter(|blob| !names.contains(blob)).collect::<Vec<_>>() {
            names.insert(blob);
            refused.insert(blob);
        }
    }
    let import = blobs.import();
    let (sender, mut arriving) = mpsc::channel::<Result<Bytes, FrameError>>(AHEAD);
    let path = path.to_owned();
    let reader = tokio::task::spawn_blocking(move || read_blobs(&path, &sender));
    let mut done = 0;
    while let Some(bytes) = arriving.recv().await {
        let bytes = bytes.map_err(SurveyError::from)?;
        done += bytes.len() as u64;
        let hashed = bytes.clone();
        let id =
            tokio::task::spawn_blocking(move || BlobId::of(&hashed)).await.map_err(|_| ImportError::Interrupted)?;
        if !survey.blobs.contains(&id) {
            return Err(ImportError::Changed);
        }
        if !names.contains(&id) {
            return Err(ImportError::Stray(id));
        }
        if roots.contains(&id) {
            let list = syncra_protocol::tree::HashSeq::decode(&bytes);
            let list = list.map_err(|source| ImportError::Release {
                package: verified.first().map(|verified| verified.package).expect("a named blob has a package"),
                source: source.into(),
            })?;
            for child in list.children() {
                names.insert(*child);
                // What is a part of something is nobody else's to take away.
                refused.remove(child);
            }
        }
        // What its owners took away meanwhile is not taken in, nor what nobody here counts. Its parts may be another release's, and go with the next
        // collection if they are nobody's.
        if !refused.contains(&id) {
            import.add(bytes).await?;
        }
        progress.bytes("import", done, Some(survey.bytes));
    }
    match reader.await {
        Ok(Ok(())) => Ok(import),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => Err(ImportError::Interrupted),
    }
}

fn read_blobs(path: &Path, blobs: &mpsc::Sender<Result<Bytes, FrameError>>) -> Result<(), SurveyError> {
    let mut reader = survey::open(path)?;
    while let Some(frame) = reader.read()? {
        if let Frame::Blob(bytes) = frame
            && blobs.blocking_send(Ok(bytes.into())).is_err()
        {
            break; // the other side stopped and says why
        }
    }
    Ok(())
}

/// Checks every release whose list came with the file, or was here, and counts those that are complete.
async fn check_releases(blobs: &Blobs, survey: &Survey, verified: &mut [Verified]) -> Result<(), ImportError> {
    for package in verified {
        let state = package.evidence.fold();
        for published in state.releases.values() {
            let release = &published.release;
            if state.redaction(release).is_some() {
                continue;
            }
            let came = survey.blobs.contains(&release.content_root.into());
            match get::local(blobs, &Wanted::Release(Box::new(release.clone()))).await {
                Ok(_) => {
                    package.n_complete += 1;
                    package.brought.extend(came.then_some(release.content_root));
                }
                Err(GetError::Release(ReleaseError::Blob(BlobError::Missing(_))) | GetError::Incomplete { .. })
                    if !came => {}
                Err(GetError::Release(source)) => {
                    return Err(ImportError::Release { package: package.package, source });
                }
                Err(GetError::OpenBlobs(error)) => return Err(error.into()),
                Err(_) => {
                    let missing = BlobError::Missing(release.content_root.into());
                    return Err(ImportError::Release { package: package.package, source: missing.into() });
                }
            }
        }
    }
    Ok(())
}

fn report(parts: &Parts, verified: &[Verified], import: Option<&Import>) -> Imported {
    let reference =
        |package: PackageId| resolve::text(&parts.histories, package).unwrap_or_else(|_| format!("syncra:{package}"));
    let totals = import.map(Import::totals).unwrap_or_default();
    let entries = verified.iter().flat_map(|package| &package.growth).map(|growth| growth.entries.len() as u64).sum();
    let packages = verified.iter().map(|package| (reference(package.package), package.n_complete)).collect();
    let mut left_out: Vec<Origin> = verified.iter().flat_map(|package| &package.forked).copied().collect();
    left_out.sort_unstable();
    left_out.dedup();
    Imported { packages, entries, blobs: totals.new_blobs, bytes: totals.new_bytes, left_out, forks: Vec::new() }
}

#[cfg(test)]
mod tests {
    use syncra_protocol::entry::{Entry, NameClaim};
    use syncra_protocol::key::DeviceSecret;
    use syncra_protocol::name::PackageName;

    use super::*;
    use crate::flow::fixture::{Draft, open};
    use crate::flow::syncpack::frame::PackageFrame;
    use crate::home::Home;

    fn surveyed(parts: &Parts, package: PackageId) -> SurveyedPackage {
        let history = parts.histories.package(package).unwrap().unwrap();
        let evidence = &history.evidence;
        let identities = evidence.identity_genesis_bytes().map(<[u8]>::to_vec).collect();
        let begin = PackageFrame { package, genesis: evidence.genesis_bytes().to_vec(), identities };
        let logs = evidence.heads().map(|head| {
            let entries = parts.histories.entries(head.origin(), 0, head.size()).unwrap();
            SurveyedLog { head: head.clone(), entries: entries.iter().map(|entry| entry.to_vec()).collect() }
        });
        SurveyedPackage { begin, logs: logs.collect() }
    }

    /// The key's other history: another last entry.
    fn other_history(log: &mut SurveyedLog, secret: &DeviceSecret) {
        let name = NameClaim { name: PackageName::parse("other").unwrap(), package: None };
        *log.entries.last_mut().unwrap() = Entry { seen: Vec::new(), body: Body::Name(name) }.encode().unwrap();
        let mut other = Log::new(*log.head.origin());
        for entry in &log.entries {
            other.append(entry).unwrap();
        }
        log.head = Head::sign(secret, other.checkpoint()).unwrap();
    }

    /// Each is whole alone; kept one after the other the second would fail when the first is kept already.
    #[tokio::test]
    async fn two_packages_of_a_file_that_bring_two_histories_of_one_log_prove_that() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let secret = Home::open(there.path()).unwrap().device_secret().unwrap();
        let (reader, author) = (open(here.path()).await, open(there.path()).await);
        let mut packages = Vec::new();
        for name in ["lamp", "door"] {
            packages.push(Draft::new(name, "1.0.0").publish(&author).await.package);
        }
        let [lamp, mut door] = [packages[0], packages[1]].map(|package| surveyed(&author, package));
        let of_identity =
            |log: &&mut SurveyedLog| *log.head.origin() == Origin::identity(author.identity(), author.device);
        other_history(door.logs.iter_mut().find(of_identity).unwrap(), &secret);
        let before = [verify(&reader, &[], &lamp).unwrap()];
        assert!(verify(&reader, &[], &door).is_ok());
        let refused = verify(&reader, &before, &door).err();
        assert!(matches!(refused, Some(ImportError::Forked { .. })), "{refused:?}");
        author.close().await;
        reader.close().await;
    }
}
