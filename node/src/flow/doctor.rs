//! Is this home well? Each check says what it found and, if something is wrong, what to do.
//!
//! The checks that need no open home come first, so that a damaged one can still be asked.

use std::path::Path;
use std::time::UNIX_EPOCH;

use syncra_protocol::id::BlobId;

use super::{Parts, identity};
use crate::clock;
use crate::home::{Home, Layout};
use crate::index;
use crate::journal::{self, HomeOrigin, Provenance};

/// Free bytes below which a node soon stops working.
const LOW_DISK_BYTES: u64 = 256 << 20;
/// Before this program was written, in milliseconds since the Unix epoch: 2025-01-01.
const TOO_EARLY_MS: u64 = 1_735_689_600_000;
/// How far the clock may be behind the newest file of the journal.
const CLOCK_SLACK_MS: u64 = 600_000;

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// Whether it is as it should be.
    pub ok: bool,
    /// What was found.
    pub detail: String,
    /// What to do; none if there is nothing to do.
    pub fix: Option<String>,
}

impl Check {
    fn good(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, ok: true, detail: detail.into(), fix: None }
    }

    fn bad(name: &'static str, detail: impl ToString, fix: impl Into<String>) -> Self {
        Self { name, ok: false, detail: detail.to_string(), fix: Some(fix.into()) }
    }
}

/// Looks at the home at `root` while no node runs on it. With `repair`, what can be made anew is: the index, and the
/// database of the blobs.
pub async fn examine(root: &Path, repair: bool) -> Vec<Check> {
    let home = match Home::open(root) {
        Ok(home) => home,
        Err(error) => {
            return vec![Check::bad(
                "home",
                &error,
                "see the message: another `--home`, the newer program, or a backup",
            )];
        }
    };
    let layout = home.layout().clone();
    let mut checks = vec![Check::good("home", root.display().to_string())];
    checks.extend(truth(&home));
    if checks.iter().any(|check| !check.ok) {
        checks.push(disk(&layout));
        return checks;
    }
    if repair {
        checks.extend([set_aside("index", &layout.index()), set_aside("blobs", &layout.blobs().join("blobs.db"))]);
    }
    match Box::pin(Parts::open(home)).await {
        Err(error) => checks.push(Check::bad("start", &error, "the message tells the file; see `syncra explain`")),
        Ok(parts) => {
            checks.extend(examine_open(&parts).await);
            parts.close().await;
        }
    }
    checks
}

/// Looks at a home that is open.
pub async fn examine_open(parts: &Parts) -> Vec<Check> {
    let layout = parts.layout();
    let mut checks = vec![place(parts), indexed(parts)];
    checks.extend(content(parts).await);
    checks.extend([disk(layout), time(layout), recovery(layout)]);
    checks
}

/// Key and journal, which nothing can replace.
fn truth(home: &Home) -> Vec<Check> {
    if home.is_new() {
        return vec![Check::good("key", "a new home, not used yet")];
    }
    let backup = "restore it from a backup, into a new home: `syncra id restore FILE --home DIR`";
    let device = match home.device_secret() {
        Ok(secret) => secret.public(),
        Err(error) => return vec![Check::bad("key", &error, backup)],
    };
    let mut checks = vec![Check::good("key", device.to_string())];
    let (truth, damage) = journal::salvage(&home.layout().journal());
    if let Some(error) = damage {
        checks.push(Check::bad("journal", &error, backup));
        return checks;
    }
    let here = home.origin_fingerprint().map(|fingerprint| HomeOrigin { fingerprint, device });
    checks.push(match here.map(|here| truth.provenance(&here)) {
        Ok(Provenance::Own | Provenance::Copied) => {
            Check::good("journal", format!("{} own logs", truth.own_logs().count()))
        }
        Ok(Provenance::Unclaimed) => Check::bad("journal", "it is empty, but the home has been used", backup),
        Ok(Provenance::OtherKey { journal }) => {
            let detail = format!("it was written with the key {}", journal.fmt_short());
            Check::bad("journal", detail, "put back the key file that belongs to it")
        }
        Err(error) => Check::bad("journal", &error, "check the directory's owner and mode"),
    });
    checks
}

fn place(parts: &Parts) -> Check {
    match parts.provenance() {
        Ok(Provenance::Own) => Check::good("place", "the home is where it belongs"),
        Ok(_) => Check::bad(
            "place",
            "the home was copied, restored or moved here, so nothing is signed",
            "if no other copy will ever be used again, say so by `syncra id adopt`",
        ),
        Err(error) => Check::bad("place", &error, "check the directory's owner and mode"),
    }
}

fn indexed(parts: &Parts) -> Check {
    let count = index::count_of_rebuilds(&parts.layout().index_rebuilds());
    let now = if parts.index.rebuilds() > 0 { ", now too" } else { "" };
    if let Some(why) = parts.index.trouble() {
        let fix = "make room or let the node write there, then start it again: the index is built anew by itself";
        return Check::bad("index", format!("it is only in memory: {why}"), fix);
    }
    Check::good("index", format!("made anew {count} times in the home's life{now}"))
}

async fn content(parts: &Parts) -> Vec<Check> {
    let blobs = match parts.blobs().await {
        Ok(blobs) => blobs,
        Err(error) => return vec![Check::bad("blobs", &error, "`syncra doctor --repair` makes its database anew")],
    };
    let mut checks = vec![match blobs.disk_usage().await {
        Ok(usage) => Check::good("blobs", format!("{} blobs, {} bytes", usage.blobs, usage.bytes)),
        Err(error) => Check::bad("blobs", &error, "check the disk"),
    }];
    let roots: Vec<BlobId> = {
        let truth = parts.histories.journal().truth();
        truth.own_roots().map(|(root, _)| BlobId::from(*root)).collect()
    };
    let mut damaged = Vec::new();
    for root in &roots {
        match blobs.missing(*root).await {
            Ok(missing) if missing.is_nothing() => {}
            Ok(_) => damaged.push(format!("{} is not complete", root.fmt_short())),
            Err(error) => damaged.push(error.to_string()),
        }
    }
    checks.push(match damaged.is_empty() {
        true => Check::good("content", format!("{} own releases are complete", roots.len())),
        false => Check::bad(
            "content",
            damaged.join("; "),
            "publish the same files again, or import them from who has them; `syncra verify` tells more",
        ),
    });
    checks
}

fn disk(layout: &Layout) -> Check {
    match fs2::available_space(layout.root()) {
        Ok(free) if free >= LOW_DISK_BYTES => Check::good("disk", format!("{free} bytes free")),
        Ok(free) => Check::bad("disk", format!("only {free} bytes free"), "free some space"),
        Err(error) => Check::bad("disk", &error, "check the disk"),
    }
}

/// The clock decides nothing, but people read what it says.
fn time(layout: &Layout) -> Check {
    let now = clock::now().0;
    let newest = std::fs::read_dir(layout.journal()).into_iter().flatten().flatten();
    let newest = newest.filter_map(|file| file.metadata().ok()?.modified().ok()?.duration_since(UNIX_EPOCH).ok());
    let newest = newest.map(|at| u64::try_from(at.as_millis()).unwrap_or(u64::MAX)).max().unwrap_or_default();
    let fix = "set the clock of this machine";
    match () {
        () if now < TOO_EARLY_MS => Check::bad("clock", "it is years behind", fix),
        () if now.saturating_add(CLOCK_SLACK_MS) < newest => {
            Check::bad("clock", "it is behind the time at which the journal was written", fix)
        }
        () => Check::good("clock", "plausible"),
    }
}

fn recovery(layout: &Layout) -> Check {
    match identity::recovery_text(layout) {
        Ok(None) => Check::good("recovery", "the recovery secret is not on this device"),
        Ok(Some(_)) => Check::good("recovery", "not saved elsewhere yet: `syncra id recovery` shows it"),
        Err(error) => {
            Check::bad("recovery", &error, "move the file away; the secret is lost unless it was written down")
        }
    }
}

/// Takes away what is made anew by the next start.
fn set_aside(name: &'static str, path: &Path) -> Check {
    let removed = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    match removed {
        Ok(()) => Check::good(name, "taken away to be made anew"),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Check::good(name, "was not there"),
        Err(error) => Check::bad(name, &error, "check the directory's owner and mode"),
    }
}
