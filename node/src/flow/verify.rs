//! Looking at everything again: logs from their bytes, notes by their keys, content by its hashes.

use std::collections::HashSet;

use syncra_protocol::id::{BlobId, ContentRoot, PackageId};
use syncra_protocol::limits;
use syncra_protocol::origin::Origin;

use super::release::{self, ReleaseError};
use super::{Parts, redact, resolve};
use crate::blobs::{self, BlobError, Blobs};
use crate::history::{History, LoadError};
use crate::progress::Progress;
use crate::witness::Freshness;

/// What was looked at, and what was found.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Report {
    /// By package.
    pub packages: Vec<PackageReport>,
    /// What is wrong; nothing, normally.
    pub problems: Vec<Finding>,
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
}

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
        match parts.histories.read_again(*package) {
            Ok(Some(history)) => verify_package(parts, &history, &mut hashed, &mut report).await?,
            Ok(None) => report.problems.push(finding(package, "its entries are not complete here")),
            Err(error) => report.problems.push(finding(package, error_chain(&error))),
        }
    }
    Ok(report)
}

/// A key that signed two histories is found wanting as long as nobody has said which of them goes on.
fn forked(history: &History, origin: &Origin) -> Finding {
    let settled = match history.evidence.n_common(origin) {
        Some(n_common) => format!("the first {n_common} entries are in both"),
        None => "where they part is not known here".to_owned(),
    };
    Finding { what: format!("log {origin}"), detail: format!("its key signed two histories; {settled}"), blob: None }
}

async fn verify_package(
    parts: &Parts,
    history: &History,
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
    // Of one that was healed all counts that is here.
    let is_open = |origin: &Origin| {
        let n_counted = history.state.forked.get(origin).copied().unwrap_or(0);
        n_counted < history.evidence.size(origin)
    };
    let forks = history.evidence.forks().map(|proof| proof.origin()).filter(|origin| is_open(origin));
    report.problems.extend(forks.map(|origin| forked(history, origin)));
    for (id, published) in &history.state.releases {
        let release = &published.release;
        let what = || format!("release {} ({})", release.version, id.fmt_short());
        let must_be_here = kept.contains(&release.content_root);
        match release::verified_content(blobs, release).await {
            Ok(index) => {
                let children = index.hash_seq();
                let all = children.children().iter().copied().chain([release.content_root.into(), release.manifest]);
                let problems = hash_all(blobs, all, must_be_here, hashed, &mut found).await?;
                found.releases += 1;
                report.problems.extend(problems);
            }
            // Others' content may have been left out or collected.
            Err(ReleaseError::Blob(BlobError::Missing(_))) if !must_be_here => {}
            Err(ReleaseError::Blob(BlobError::Stopped)) => return Err(BlobError::Stopped.into()),
            Err(error) => report.problems.push(Finding { what: what(), detail: error_chain(&error), blob: None }),
        }
    }
    report.packages.push(found);
    Ok(())
}

/// Hashes every blob that was not hashed before.
async fn hash_all(
    blobs: &Blobs,
    ids: impl IntoIterator<Item = BlobId>,
    must_be_here: bool,
    hashed: &mut HashSet<BlobId>,
    found: &mut PackageReport,
) -> Result<Vec<Finding>, VerifyError> {
    let mut problems = Vec::new();
    for id in ids {
        if !hashed.insert(id) {
            continue;
        }
        let bytes = match blobs.read(id, limits::HASH_SEQ_BYTES as u64).await {
            Ok(bytes) => bytes,
            Err(BlobError::Missing(_)) if !must_be_here => continue,
            Err(BlobError::Stopped) => return Err(BlobError::Stopped.into()),
            Err(error) => {
                problems.push(Finding { what: format!("blob {id}"), detail: error_chain(&error), blob: Some(id) });
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
            });
        }
    }
    Ok(problems)
}

fn finding(package: &PackageId, detail: impl Into<String>) -> Finding {
    Finding { what: format!("package {package}"), detail: detail.into(), blob: None }
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
