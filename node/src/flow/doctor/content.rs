//! Blobs, their database, and what stands in them.

use std::collections::{BTreeSet, HashSet};

use syncra_protocol::id::{BlobId, ContentRoot};

use super::{Care, Check, error_chain, take_away};
use crate::blobs::{BlobError, Blobs, DatabaseState, Opened};
use crate::flow::verify::Finding;
use crate::flow::{Parts, redact, verify};
use crate::journal::Provenance;
use crate::progress::Progress;

/// Damaged things that are named one by one; of more only the number is told.
const NAMED: usize = 5;

pub(super) async fn check(parts: &Parts, care: Care, progress: &Progress) -> Vec<Check> {
    let mut found = parts.blobs_opened().await;
    if found.is_err() && care.repair {
        if let Some(in_the_way) = take_away("blobs", &parts.layout().blobs().join("blobs.db")) {
            return vec![in_the_way];
        }
        found = parts.blobs_opened().await;
    }
    let (blobs, opened) = match found {
        Ok(opened) => opened,
        Err(error) => {
            let fix = "`syncra doctor --repair` makes the database of the blobs anew";
            return vec![Check::bad("blobs", error_chain(&error), fix)];
        }
    };
    let database = match blobs.disk_usage().await {
        Ok(usage) => database(opened, &format!("{} blobs, {} bytes", usage.blobs, usage.bytes)),
        Err(error) => Check::bad("blobs", &error, "check the disk"),
    };
    let content = match care.quick {
        true => complete(parts, blobs).await,
        false => hashed(parts, blobs, care, progress).await,
    };
    vec![database, content]
}

/// What was found at the start, and mended then.
fn database(opened: &Opened, usage: &str) -> Check {
    let anew = format!("a new one was made from the blobs on disk ({} taken in); {usage}", opened.reimported);
    match &opened.database {
        DatabaseState::Damaged(aside) => {
            let aside = aside.file_name().unwrap_or_default().display();
            Check::mended("blobs", format!("their database was damaged: it stands aside as `{aside}`, {anew}"))
        }
        DatabaseState::Missing => Check::mended("blobs", format!("their database was gone: {anew}")),
        DatabaseState::New | DatabaseState::Good if opened.lost > 0 => {
            Check::mended("blobs", format!("{} were without their bytes and count as not held; {usage}", opened.lost))
        }
        DatabaseState::New | DatabaseState::Good => Check::good("blobs", usage),
    }
}

fn own_roots(parts: &Parts) -> Vec<BlobId> {
    own_roots_that(parts, |_| true)
}

fn own_roots_that(parts: &Parts, is_meant: impl Fn(&ContentRoot) -> bool) -> Vec<BlobId> {
    let own: Vec<BlobId> = {
        let truth = parts.histories.journal().truth();
        truth.own_roots().map(|(root, _)| *root).filter(|root| is_meant(root)).map(BlobId::from).collect()
    };
    let refused = redact::refused_among(&parts.histories, own.iter().copied());
    own.into_iter().filter(|root| !refused.contains_key(root)).collect()
}

/// Own content that was here: if it is not any more, it is lost.
fn expected_roots(parts: &Parts) -> Vec<BlobId> {
    if !matches!(parts.provenance(), Ok(Provenance::Own)) {
        return Vec::new();
    }
    let journal = parts.histories.journal();
    let brought: HashSet<ContentRoot> = {
        let truth = journal.truth();
        truth.own_roots().map(|(root, _)| *root).filter(|root| !truth.was_here(root)).collect()
    };
    own_roots_that(parts, |root| !brought.contains(root))
}

/// The manifests of own releases: no part of their trees, but nobody reads a release without.
fn own_manifests(parts: &Parts, roots: &[BlobId]) -> Vec<BlobId> {
    let own: HashSet<BlobId> = roots.iter().copied().collect();
    let histories = parts.histories.packages().into_iter().filter_map(|id| parts.histories.package(id).ok().flatten());
    let mut manifests = Vec::new();
    for history in histories {
        let releases = history.state.releases.values().map(|published| &published.release);
        let mine = releases.filter(|release| own.contains(&BlobId::from(release.content_root)));
        manifests.extend(mine.map(|release| release.manifest));
    }
    manifests
}

/// Only asks whether own releases are complete.
async fn complete(parts: &Parts, blobs: &Blobs) -> Check {
    let (roots, n_own) = (expected_roots(parts), own_roots(parts).len());
    let mut found = Vec::new();
    for root in &roots {
        match blobs.missing(*root).await {
            Ok(missing) if missing.is_nothing() => {}
            Ok(_) => found.push(format!("{} is not complete", root.fmt_short())),
            Err(error) => found.push(error.to_string()),
        }
    }
    for manifest in own_manifests(parts, &roots) {
        match blobs.has(manifest).await {
            Ok(true) => {}
            Ok(false) => found.push(format!("the manifest {} is not here", manifest.fmt_short())),
            Err(error) => found.push(error.to_string()),
        }
    }
    match found.is_empty() {
        true if roots.len() < n_own => Check::good(
            "content",
            format!(
                "{} own releases are complete, their bytes not read; {} more need not be here, for this home was restored or copied",
                roots.len(),
                n_own - roots.len()
            ),
        ),
        true => Check::good("content", format!("{} own releases are complete, their bytes not read", roots.len())),
        false => Check::bad("content", few(&found), "`syncra verify` tells which, and what helps"),
    }
}

/// Reads and hashes everything. With `repair` what others can give again is let go, so that it is fetched again.
async fn hashed(parts: &Parts, blobs: &Blobs, care: Care, progress: &Progress) -> Check {
    let report = match verify::verify(parts, &parts.histories.packages(), progress).await {
        Ok(report) => report,
        Err(error) => return Check::bad("content", &error, "check the disk"),
    };
    let told = |found: &Finding| format!("{}: {}", found.what, found.detail);
    let absent: Vec<String> = report.absent.iter().map(told).collect();
    if report.problems.is_empty() {
        let n_blobs: u64 = report.packages.iter().map(|package| package.blobs).sum();
        let well = format!("{n_blobs} blobs and all histories that are here are what they should be");
        return match absent.is_empty() {
            true => Check::good("content", well),
            false => Check::good("content", format!("{well}; {}; {}", few(&absent), fixes(&report.absent))),
        };
    }
    let found: Vec<String> = report.problems.iter().map(told).collect();
    let damaged: HashSet<BlobId> = report.problems.iter().filter_map(|found| found.blob).collect();
    let only_blobs = damaged.len() == found.len();
    let own = match own_blobs(parts, blobs).await {
        Ok(own) => own,
        Err(error) => return Check::bad("content", format!("{}; {error}", few(&found)), fixes(&report.problems)),
    };
    if !damaged.is_disjoint(&own) || !only_blobs {
        return Check::bad("content", few(&found), fixes(&report.problems));
    }
    if !care.repair {
        let fix = "`syncra doctor --repair` lets the damaged blobs go; `syncra get` or `add` then fetches them again";
        return Check::bad("content", few(&found), fix);
    }
    match blobs.discard(&damaged.iter().copied().collect::<Vec<_>>()).await {
        Ok(()) => {
            let detail = format!("{}: let go, and fetched again by the next `syncra get` or `add`", few(&found));
            Check::mended("content", detail)
        }
        Err(error) => Check::bad("content", format!("{}; {error}", few(&found)), "check the disk"),
    }
}

/// Every blob of own releases: what nobody else may have.
async fn own_blobs(parts: &Parts, blobs: &Blobs) -> Result<HashSet<BlobId>, BlobError> {
    let (mut own, roots) = (HashSet::new(), own_roots(parts));
    for root in &roots {
        match blobs.children(*root).await {
            Ok(children) => own.extend(children),
            // Nothing of it is here.
            Err(BlobError::Missing(_)) => {}
            Err(error) => return Err(error),
        }
        own.insert(*root);
    }
    own.extend(own_manifests(parts, &roots));
    Ok(own)
}

/// What helps, each once.
fn fixes(found: &[Finding]) -> String {
    let fixes: BTreeSet<&str> = found.iter().filter_map(|found| found.fix.as_deref()).collect();
    match fixes.is_empty() {
        true => {
            "`syncra verify` tells what it was found in; a history that others wrote comes back from whoever has it"
                .to_owned()
        }
        false => fixes.into_iter().collect::<Vec<_>>().join("; "),
    }
}

pub(super) fn few(found: &[String]) -> String {
    let more = found.len().saturating_sub(NAMED);
    let mut text = found[..found.len() - more].join("; ");
    if more > 0 {
        text.push_str(&format!("; and {more} more"));
    }
    text
}
