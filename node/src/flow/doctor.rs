//! Is this home well, and can this machine be a node? Each check says what it found and, if something is wrong, what to
//! do.
//!
//! The checks that need no open home come first, so that a damaged one can still be asked.

mod clock;
mod content;
mod installed;
mod network;

use std::path::Path;

use super::Parts;
use super::StartError;
use super::identity::{self, DAMAGED_RECOVERY, IdentityError, MISSING_RECOVERY, Recovery};
use super::verify::error_chain;
use crate::home::{Home, Layout};
use crate::index;
use crate::journal::{self, HomeOrigin, Provenance};
use crate::progress::Progress;

/// Free bytes below which a node soon stops working.
const LOW_DISK_BYTES: u64 = 256 << 20;

/// What a check came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// As it should be.
    Well,
    /// It was not, and now it is.
    Mended,
    /// It is not.
    Bad,
}

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// What it came to.
    pub state: State,
    /// What was found.
    pub detail: String,
    /// What to do; none if there is nothing to do.
    pub fix: Option<String>,
}

impl Check {
    fn good(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, state: State::Well, detail: detail.into(), fix: None }
    }

    fn mended(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, state: State::Mended, detail: detail.into(), fix: None }
    }

    fn bad(name: &'static str, detail: impl ToString, fix: impl Into<String>) -> Self {
        Self { name, state: State::Bad, detail: detail.to_string(), fix: Some(fix.into()) }
    }

    /// Whether it is as it should be, now.
    #[must_use]
    pub fn ok(&self) -> bool {
        self.state != State::Bad
    }
}

/// How closely to look, and what may be changed.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Care {
    /// Make the index anew, and the database of the blobs if it does not open; let damaged blobs of others go;
    /// unpack again what is installed and damaged.
    pub repair: bool,
    /// Do not read every blob, nor every installed file.
    pub quick: bool,
    /// Leave the network alone.
    pub offline: bool,
}

/// Looks at the home at `root` while no node runs on it.
pub async fn examine(root: &Path, care: Care, progress: &Progress) -> Vec<Check> {
    let home = match Home::open(root) {
        Ok(home) => home,
        Err(error) => {
            return vec![Check::bad(
                "home",
                error_chain(&error),
                "see the message: another `--home`, the newer program, a backup, or some free space",
            )];
        }
    };
    let layout = home.layout().clone();
    let mut checks = vec![Check::good("home", root.display().to_string())];
    checks.extend(truth(&home));
    if checks.iter().any(|check| !check.ok()) {
        checks.push(disk(&layout));
        return checks;
    }
    // Opening writes, and would look like a use of the home just now.
    let clock = clock::check(&layout);
    if care.repair {
        checks.extend(take_away("index", &layout.index()));
    }
    match Box::pin(Parts::open(home)).await {
        Err(error) => {
            let fix = match error {
                StartError::Config(_) => "correct the line that is named, or take it out: every key has a default",
                _ => {
                    "the message tells the file: make room, or check its owner and mode; what is damaged a backup brings back, into a new home: `syncra id restore FILE --home DIR`"
                }
            };
            checks.extend([Check::bad("start", error_chain(&error), fix), clock, disk(&layout)]);
        }
        Ok(parts) => {
            checks.push(clock);
            checks.extend(examine_parts(&parts, care, progress).await);
            parts.close().await;
        }
    }
    checks
}

/// Looks at a home on which a node runs.
pub async fn examine_open(parts: &Parts, care: Care, progress: &Progress) -> Vec<Check> {
    let mut checks = vec![clock::check(parts.layout())];
    checks.extend(examine_parts(parts, care, progress).await);
    checks
}

async fn examine_parts(parts: &Parts, care: Care, progress: &Progress) -> Vec<Check> {
    let layout = parts.layout();
    let mut checks = vec![place(parts), indexed(parts), disk(layout), files()];
    checks.extend(parts.online().map(|_| tasks(parts)));
    checks.extend(content::check(parts, care, progress).await);
    checks.push(installed::check(parts, care, progress).await);
    checks.push(recovery(parts));
    checks.extend(network::check(parts, parts.online().map(|online| &online.net), care).await);
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
        let is_newer = matches!(error, journal::OpenError::Newer { .. });
        let fix = if is_newer { "use the newer `syncra` that wrote it" } else { backup };
        checks.push(Check::bad("journal", error_chain(&error), fix));
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
    if let Some(why) = parts.index.trouble() {
        let fix = "make room or let the node write there, then start it again: the index is built anew by itself";
        return Check::bad("index", format!("it is only in memory: {why}"), fix);
    }
    let count = index::count_of_rebuilds(&parts.layout().index_rebuilds());
    let life = format!("made anew {count} times in the home's life");
    match &parts.index_rebuilt {
        Some(why) => Check::mended("index", format!("{why}; it was made anew from the logs; {life}")),
        None => Check::good("index", life),
    }
}

fn disk(layout: &Layout) -> Check {
    match fs2::available_space(layout.root()) {
        Ok(free) if free >= LOW_DISK_BYTES => Check::good("disk", format!("{free} bytes free")),
        Ok(free) => Check::bad(
            "disk",
            format!("only {free} bytes free"),
            "free some space, also by `syncra gc`: it works on a full disk",
        ),
        Err(error) => Check::bad("disk", &error, "check the disk"),
    }
}

/// Whether enough files may be open at once.
fn files() -> Check {
    use crate::descriptors::{NEEDED, allowed, raise};
    raise();
    match allowed() {
        Some(n) if n < NEEDED => Check::bad(
            "files",
            format!("the system lets a process open {n} files, a node with many peers needs {NEEDED}"),
            format!("raise the hard limit, for instance by `ulimit -Hn {NEEDED}` or `LimitNOFILE=` of its service"),
        ),
        Some(n) => Check::good("files", format!("{n} may be open at once")),
        None => Check::good("files", "the system sets no limit to open ones"),
    }
}

/// Whether anything broke since the node started.
fn tasks(parts: &Parts) -> Check {
    let broken: Vec<String> = parts.incidents.list().iter().map(ToString::to_string).collect();
    match broken.is_empty() {
        true => Check::good("tasks", "none broke since the node started"),
        false => Check::bad(
            "tasks",
            broken.join("; "),
            "the node goes on, but this is a bug, and a peer may have provoked it: please report it with `log/node.log`",
        ),
    }
}

fn recovery(parts: &Parts) -> Check {
    match identity::recovery(parts) {
        Ok(Recovery::Unsaved) => {
            Check::good("recovery", "not saved elsewhere yet, as far as was said here: `syncra id recovery` shows it")
        }
        Ok(Recovery::Saved) => Check::good("recovery", "saved elsewhere, as was said here"),
        Ok(Recovery::Missing) => {
            Check::good("recovery", format!("{}; {MISSING_RECOVERY}", IdentityError::RecoveryGone))
        }
        Ok(Recovery::Elsewhere) => Check::good("recovery", "the recovery secret is not on this device"),
        Err(error @ IdentityError::Recovery { .. }) => Check::bad("recovery", error_chain(&error), DAMAGED_RECOVERY),
        Err(error) => Check::bad("recovery", error_chain(&error), "check the directory's owner and mode"),
    }
}

/// Takes away what is made anew at once; what stands in the way of that.
fn take_away(name: &'static str, path: &Path) -> Option<Check> {
    let removed = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Some(Check::bad(name, &error, "check the directory's owner and mode"))
        }
        _ => None,
    }
}
