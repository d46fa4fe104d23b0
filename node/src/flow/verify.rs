//! Looking at everything again: logs from their bytes, notes by their keys, content by its hashes.

use std::collections::HashSet;
use std::sync::Arc;

use syncra_protocol::id::{BlobId, ContentRoot, PackageId};
use syncra_protocol::limits;
use syncra_protocol::origin::Origin;

use super::release::{self, ReleaseError};
use super::resolve::Named;
use super::{Parts, heal, integrity, own, redact, resolve};
use crate::blobs::{self, BlobError, Blobs};
use crate::history::{Gap, History, LoadError};
use crate::installed::{Depth, InstalledError};
use crate::journal::{OwnRoot, Provenance};
use crate::progress::Progress;
use crate::witness::Freshness;

/// What was looked at, and what was found.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Report {
    /// By package.
    pub packages: Vec<PackageReport>,
    /// What is wrong; nothing, normally.
    pub problems: Vec<Finding>,
    /// What is not here and need not be: this home came from elsewhere without it, as after a restore.
    pub absent: Vec<Finding>,
}

/// What was looked at in one package.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct PackageReport {
    /// Its reference.
    pub reference: String,
    /// Logs, each against its note.
    pub logs: u64,
    /// Entries in them.
    pub entries: u64,
    /// Releases whose content is held, and was checked.
    pub releases: u64,
    /// Blobs, each hashed.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How new its logs are.
    pub freshness: Freshness,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What: a package, a release, a blob.
    pub what: String,
    /// How it is wrong.
    pub detail: String,
    /// The blob whose bytes are wrong, if that is all that is wrong.
    pub blob: Option<BlobId>,
    /// What to do, if anything helps that is known here.
    pub fix: Option<String>,
}

/// How what is missing comes again.
const FROM_OTHERS: &str = "get it from whoever has it: `syncra get PKG@VERSION -o DIR` while a node runs and is connected to them, or \
                           `syncra import` a file of theirs";
/// How what is damaged of an own release comes again as well.
const PUBLISH_AGAIN: &str = "publish the same files of that version again: what is damaged is then written anew; or import them \
                             from who has them";

/// How what is installed and damaged becomes whole.
const MEND: &str = "`syncra doctor --repair` makes whole what is installed, while no node runs";

/// Why nothing could be looked at.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The blob store does not open.
    #[error(transparent)]
    OpenBlobs(#[from] blobs::OpenError),
    /// The blob store stopped.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The name of a package cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
}

/// Looks at these packages, or at all.
///
/// # Errors
/// [`VerifyError`]. What is merely wrong is in the report.
pub async fn verify(parts: &Parts, packages: &[PackageId], progress: &Progress) -> Result<Report, VerifyError> {
    let mut report = Report::default();
    // Blobs are shared between releases: each is hashed once.
    let mut hashed = HashSet::new();
    for (n, package) in (0..).zip(packages) {
        progress.items("verify", n, Some(packages.len() as u64));
        let gaps = gaps(parts, *package, &mut report)?;
        match parts.histories.read_again(*package) {
            Ok(Some(history)) => verify_package(parts, Arc::new(history), &mut hashed, &mut report).await?,
            Ok(None) if gaps => {}
            Ok(None) => report.problems.push(finding(package, "its entries are not complete here")),
            Err(error) => report.problems.push(finding(package, error_chain(&error))),
        }
    }
    Ok(report)
}

/// Looks at what is installed of these packages, or at all that is installed.
///
/// # Errors
/// [`InstalledError`]. What is merely wrong is in the report.
pub async fn verify_installed(
    parts: &Parts,
    packages: Option<&[PackageId]>,
    report: &mut Report,
    progress: &Progress,
) -> Result<(), InstalledError> {
    let found = integrity::examine(parts, packages, Depth::Bytes, progress).await?;
    let wrong = |what: String, detail: String| Finding { what, detail, blob: None, fix: Some(MEND.to_owned()) };
    let generations = found.generations.iter().map(|(number, error)| (format!("generation {number}"), error));
    for (what, error) in found.current.iter().map(|error| ("what is installed".to_owned(), error)).chain(generations) {
        report.problems.push(wrong(what, error_chain(error)));
    }
    for damaged in &found.damaged {
        let what = format!("the installed {}", integrity::named(&damaged.slot));
        report.problems.extend(damaged.faults.iter().map(|fault| wrong(what.clone(), fault.to_string())));
    }
    for slot in &found.without_content {
        let what = format!("the content of the installed {}", integrity::named(slot));
        let detail = "what is installed works, but cannot be given to others nor unpacked again".to_owned();
        report.absent.push(Finding { what, detail, blob: None, fix: Some(integrity::fetches(slot)) });
    }
    Ok(())
}

/// Logs of the package that are known to go further than what is on this disk; whether there are any.
fn gaps(parts: &Parts, package: PackageId, report: &mut Report) -> Result<bool, LoadError> {
    let gaps = parts.histories.gaps(package)?;
    // Where nobody has said that the home belongs here it came from elsewhere.
    let is_home = is_home(parts);
    for Gap { origin, n_missing, were_here } in &gaps {
        let (of, detail) = match *were_here && is_home {
            true => (&mut report.problems, "are lost"),
            false => (&mut report.absent, "are not here, since this home was restored or copied"),
        };
        of.push(Finding {
            what: format!("log {origin}"),
            detail: format!("{n_missing} of its entries {detail}"),
            blob: None,
            fix: Some(own::COMES_BACK.to_owned()),
        });
    }
    Ok(!gaps.is_empty())
}

async fn verify_package(
    parts: &Parts,
    history: Arc<History>,
    hashed: &mut HashSet<BlobId>,
    report: &mut Report,
) -> Result<(), VerifyError> {
    let blobs = parts.blobs().await?;
    let package = history.state.package;
    let kept: HashSet<ContentRoot> = {
        let own: Vec<_> = {
            let truth = parts.histories.journal().truth();
            truth.own_roots().filter(|(_, of)| **of == package).map(|(root, _)| *root).collect()
        };
        let refused = redact::refused_among(&parts.histories, own.iter().map(|root| (*root).into()));
        own.into_iter().filter(|root| !refused.contains_key(&BlobId::from(*root))).collect()
    };
    let mut found = PackageReport {
        reference: resolve::text(&parts.histories, package)?,
        logs: history.evidence.heads().count() as u64,
        freshness: parts.witnesses.freshness(history.evidence.heads()),
        entries: history.evidence.heads().map(syncra_protocol::log::checkpoint::Head::size).sum(),
        ..PackageReport::default()
    };
    let named = Named { reference: found.reference.clone(), history: Arc::clone(&history), selector: None };
    for forked in heal::forked(parts, &named)?.into_iter().filter(|forked| !forked.is_settled()) {
        let (what, detail) = (format!("log {}", forked.log), forked.to_string());
        report.problems.push(Finding { what, detail, blob: None, fix: forked.next });
    }
    let rescue = if may_publish(parts, &history) { PUBLISH_AGAIN } else { FROM_OTHERS };
    let is_home = is_home(parts);
    for (id, published) in &history.state.releases {
        let release = &published.release;
        let what = || format!("release {} ({})", release.version, id.fmt_short());
        let is_own = kept.contains(&release.content_root);
        let was_here = parts.histories.journal().truth().was_here(&release.content_root);
        let must_be_here = is_own && is_home && was_here;
        let fix = Some(if must_be_here { rescue } else { FROM_OTHERS }.to_owned());
        match release::verified_content(blobs, release).await {
            Ok(index) => {
                let children = index.hash_seq();
                let all = children.children().iter().copied().chain([release.content_root.into(), release.manifest]);
                let (problems, n_missing) = hash_all(blobs, all, must_be_here, hashed, &mut found).await?;
                found.releases += 1;
                let is_whole = problems.is_empty() && n_missing == 0;
                report.problems.extend(problems.into_iter().map(|found| Finding { fix: fix.clone(), ..found }));
                if is_own && is_whole && is_home && !was_here {
                    expect(parts, release.content_root, package).await;
                }
                if is_own && !is_whole && !must_be_here {
                    report.absent.push(absent(what()));
                }
            }
            Err(ReleaseError::Blob(BlobError::Missing(_))) if is_own && !must_be_here => {
                report.absent.push(absent(what()))
            }
            // Others' content may have been left out or collected.
            Err(ReleaseError::Blob(BlobError::Missing(_))) if !must_be_here => {}
            Err(ReleaseError::Blob(BlobError::Stopped)) => return Err(BlobError::Stopped.into()),
            Err(error) => report.problems.push(Finding { what: what(), detail: error_chain(&error), blob: None, fix }),
        }
    }
    report.packages.push(found);
    Ok(())
}

fn is_home(parts: &Parts) -> bool {
    matches!(parts.provenance(), Ok(Provenance::Own))
}

/// Whether this device could publish a release of the package again.
fn may_publish(parts: &Parts, history: &History) -> bool {
    let state = &history.state;
    let is_forked = state.forked.contains_key(&Origin::package(state.package, parts.device));
    !is_forked && state.role(&parts.identity(), &parts.device).is_some()
}

/// Own content that came from elsewhere is here and whole: from now on it is missed when it is gone.
pub(super) async fn expect(parts: &Parts, content_root: ContentRoot, package: PackageId) {
    let root = OwnRoot { content_root, package, kept: true };
    if let Err(error) = parts.histories.journal().append(root).await {
        tracing::debug!(%error, "that own content is here was not written down");
    }
}

/// Own content that this home came without.
fn absent(what: String) -> Finding {
    let detail = "its files are not here, since this home was restored or copied".to_owned();
    Finding { what, detail, blob: None, fix: Some(FROM_OTHERS.to_owned()) }
}

/// Hashes every blob that was not hashed before. What is wrong, and how many are not here and need not be.
async fn hash_all(
    blobs: &Blobs,
    ids: impl IntoIterator<Item = BlobId>,
    must_be_here: bool,
    hashed: &mut HashSet<BlobId>,
    found: &mut PackageReport,
) -> Result<(Vec<Finding>, usize), VerifyError> {
    let (mut problems, mut n_missing) = (Vec::new(), 0);
    for id in ids {
        if !hashed.insert(id) {
            continue;
        }
        let bytes = match blobs.read(id, limits::HASH_SEQ_BYTES as u64).await {
            Ok(bytes) => bytes,
            Err(BlobError::Missing(_)) if !must_be_here => {
                n_missing += 1;
                // The next release that has it may have to be whole.
                hashed.remove(&id);
                continue;
            }
            Err(BlobError::Stopped) => return Err(BlobError::Stopped.into()),
            Err(error) => {
                let detail = error_chain(&error);
                problems.push(Finding { what: format!("blob {id}"), detail, blob: Some(id), fix: None });
                continue;
            }
        };
        found.blobs += 1;
        found.bytes += bytes.len() as u64;
        let is = tokio::task::spawn_blocking(move || BlobId::of(&bytes)).await;
        if is.ok() != Some(id) {
            problems.push(Finding {
                what: format!("blob {id}"),
                detail: "its bytes have another hash".to_owned(),
                blob: Some(id),
                fix: None,
            });
        }
    }
    Ok((problems, n_missing))
}

fn finding(package: &PackageId, detail: impl Into<String>) -> Finding {
    Finding { what: format!("package {package}"), detail: detail.into(), blob: None, fix: None }
}

/// An error with its causes, in a line.
pub(super) fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
