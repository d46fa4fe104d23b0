//! Blobs, their database, and what stands in them.

use std::collections::HashSet;

use syncra_protocol::id::BlobId;

use super::{Care, Check, error_chain, take_away};
use crate::blobs::{BlobError, Blobs, DatabaseState, Opened};
use crate::flow::{Parts, redact, verify};
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
    let own: Vec<BlobId> = parts.histories.journal().truth().own_roots().map(|(root, _)| BlobId::from(*root)).collect();
    let refused = redact::refused_among(&parts.histories, own.iter().copied());
    own.into_iter().filter(|root| !refused.contains_key(root)).collect()
}

/// The manifests of own releases: no part of their trees, but nobody reads a release without.
fn own_manifests(parts: &Parts) -> Vec<BlobId> {
    let own: HashSet<BlobId> = own_roots(parts).into_iter().collect();
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
    let roots = own_roots(parts);
    let mut found = Vec::new();
    for root in &roots {
        match blobs.missing(*root).await {
            Ok(missing) if missing.is_nothing() => {}
            Ok(_) => found.push(format!("{} is not complete", root.fmt_short())),
            Err(error) => found.push(error.to_string()),
        }
    }
    for manifest in own_manifests(parts) {
        match blobs.has(manifest).await {
            Ok(true) => {}
            Ok(false) => found.push(format!("the manifest {} is not here", manifest.fmt_short())),
            Err(error) => found.push(error.to_string()),
        }
    }
    match found.is_empty() {
        true => Check::good("content", format!("{} own releases are complete, their bytes not read", roots.len())),
        false => Check::bad("content", few(&found), PUBLISH_AGAIN),
    }
}

const PUBLISH_AGAIN: &str = "publish the same files of that version again: what is damaged is then written anew; or import them from who has them";

/// Reads and hashes everything. With `repair` what others can give again is let go, so that it is fetched again.
async fn hashed(parts: &Parts, blobs: &Blobs, care: Care, progress: &Progress) -> Check {
    let report = match verify::verify(parts, &parts.histories.packages(), progress).await {
        Ok(report) => report,
        Err(error) => return Check::bad("content", &error, "check the disk"),
    };
    let found: Vec<String> = report.problems.iter().map(|found| format!("{}: {}", found.what, found.detail)).collect();
    if found.is_empty() {
        let n_blobs: u64 = report.packages.iter().map(|package| package.blobs).sum();
        return Check::good("content", format!("{n_blobs} blobs and all histories are what they should be"));
    }
    let damaged: HashSet<BlobId> = report.problems.iter().filter_map(|found| found.blob).collect();
    let only_blobs = damaged.len() == found.len();
    let own = match own_blobs(parts, blobs).await {
        Ok(own) => own,
        Err(error) => return Check::bad("content", format!("{}; {error}", few(&found)), PUBLISH_AGAIN),
    };
    if !damaged.is_disjoint(&own) || !only_blobs {
        return Check::bad("content", few(&found), PUBLISH_AGAIN);
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
    let mut own = HashSet::new();
    for root in own_roots(parts) {
        own.extend(blobs.children(root).await?);
        own.insert(root);
    }
    own.extend(own_manifests(parts));
    Ok(own)
}

fn few(found: &[String]) -> String {
    let more = found.len().saturating_sub(NAMED);
    let mut text = found[..found.len() - more].join("; ");
    if more > 0 {
        text.push_str(&format!("; and {more} more"));
    }
    text
}
