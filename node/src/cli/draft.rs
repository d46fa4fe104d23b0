//! `syncra draft`

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::mpsc as std_mpsc;
use std::time::Duration;

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use serde::Serialize;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use super::client::Client;
use super::context::{self, Context};
use super::ui::text;
use crate::api::verbs::draft::{
    HoldDraft, HoldDraftRequest, HoldDraftResponse, NextDraft, NextDraftRequest, NextDraftResponse, PushDraft,
    PushDraftRequest, PushDraftResponse, WithheldInfo,
};
use crate::problem::{Code, Kind, Problem};

/// Show a working directory as you save, or follow somebody's
///
/// Whoever has a role in the package sees what you save at once by `--follow`; with
/// `--public` anybody does. A draft is no release: nothing is signed for ever, a newer one
/// replaces it, and it ends with this command, however that ends, or by `--end` from elsewhere,
/// which ends this command too. A file that looks like a secret is not shown, the others are.
/// `syncra publish` turns the same directory into a release. It needs a running node: `syncra up`.
///
/// `--follow` writes into a directory of its own. A file that you changed there stays, and
/// is told as a conflict.
///
/// Examples:
///   syncra draft worlds/island
///   syncra draft @alice/island --follow -o island-live
///   syncra draft ./art --package @alice/sea-pack --public
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// The working directory; with --follow the package
    #[arg(value_name = "DIR|PKG", default_value = ".")]
    what: String,
    /// Write somebody's draft into a directory, as it changes
    #[arg(long, requires = "output")]
    follow: bool,
    /// Where to; it must not exist, be empty, or have been followed before
    #[arg(long, short, value_name = "DIR", requires = "follow")]
    output: Option<PathBuf>,
    /// Whose draft: the device's key, as `syncra devices` shows it
    #[arg(long, value_name = "KEY", requires = "follow")]
    device: Option<String>,
    /// What the draft is called [default: draft]
    #[arg(long)]
    name: Option<String>,
    /// The package of a directory that is no checkout and has no syncra.toml
    #[arg(long, value_name = "PKG", conflicts_with = "follow")]
    package: Option<String>,
    /// Let anybody see it, not only who works on the package
    #[arg(long, conflicts_with = "follow")]
    public: bool,
    /// Show it, or write it, once; the draft stays until the node stops or `--end`
    #[arg(long)]
    once: bool,
    /// Show it no more
    #[arg(long, conflicts_with_all = ["follow", "once"])]
    end: bool,
    /// Say what would be shown, show nothing
    #[arg(long, conflicts_with = "follow")]
    dry_run: bool,
}

/// How long it has to be quiet after a change: editors write, rename and write again.
const QUIET: Duration = Duration::from_millis(25);
/// How long a storm of changes is waited out.
const STORM: Duration = Duration::from_millis(300);
/// Without being told of changes: how often the directory is read.
const POLL: Duration = Duration::from_millis(500);
/// Being told of changes: how often it is read all the same, for what was not told.
const RESCAN: Duration = Duration::from_secs(60);
/// After an error that may pass.
const AGAIN: Duration = Duration::from_secs(2);

impl Args {
    /// Whether it shows a directory until it is interrupted, and then has something to end.
    pub(super) fn goes_on(&self) -> bool {
        !(self.follow || self.once || self.end || self.dry_run)
    }

    pub(super) async fn run(self, context: &Context) -> Result<(), Problem> {
        let goes_on = self.goes_on();
        let client = Client::open(context).await?;
        let done = match self.output.clone() {
            Some(output) => self.follow(context, &client, &output).await,
            None => self.show(context, &client).await,
        };
        if goes_on {
            context.close().await;
        }
        done
    }

    async fn show(self, context: &Context, client: &Client) -> Result<(), Problem> {
        let goes_on = self.goes_on();
        let dir = PathBuf::from(&self.what);
        let request = PushDraftRequest {
            dir: context::absolute(&dir)?,
            package: self.package,
            name: self.name,
            public: self.public,
            held: goes_on,
            end: self.end,
            dry_run: self.dry_run,
        };
        if !goes_on {
            let done = client.call::<PushDraft>(context, request).await?;
            tell_withheld(context, &done, &mut BTreeSet::new());
            return context.ui().data("draft", &done, shown);
        }
        // Held before it is shown: killed at any point, this command leaves nothing behind in the node.
        let (dir_text, package, name) = (request.dir.clone(), request.package.clone(), request.name.clone());
        let hold = HoldDraftRequest { dir: dir_text, package, name };
        let is_held = Notify::new();
        let mut holding = std::pin::pin!(client.hear::<HoldDraft>(hold, |_| is_held.notify_one()));
        let ended = tokio::select! {
            ended = &mut holding => ended,
            shown = show_all(context, client, &request, &dir, &is_held) => return shown,
        };
        let HoldDraftResponse { reference, name, ended } = ended?;
        if !ended {
            return Err(Problem::new(Code::NodeGone, "the node stops, and shows no draft any more"));
        }
        context.ui().note(&format!("{reference}: somebody ended the draft `{name}`"));
        Ok(())
    }

    async fn follow(self, context: &Context, client: &Client, output: &Path) -> Result<(), Problem> {
        let mut request = NextDraftRequest {
            reference: self.what,
            name: self.name,
            dir: context::absolute(output)?,
            device: self.device,
            after: 0,
            timeout_s: Some(context.timeout().as_secs()),
        };
        let mut is_first = true;
        loop {
            let next = match client.call::<NextDraft>(context, request.clone()).await {
                Err(problem) if !is_first && problem.kind() == Kind::Unreachable => {
                    context.ui().warning(&problem.message);
                    tokio::time::sleep(AGAIN).await;
                    continue;
                }
                next => next?,
            };
            is_first = false;
            (request.device, request.after) = (Some(next.device.clone()), next.rev);
            if self.once {
                return context.ui().data("draft", &next, applied);
            }
            if !next.unchanged {
                frame(context, &next, applied)?;
            }
        }
    }
}

/// Shows a directory until somebody interrupts it.
async fn show_all(
    context: &Context,
    client: &Client,
    request: &PushDraftRequest,
    dir: &Path,
    is_held: &Notify,
) -> Result<(), Problem> {
    is_held.notified().await;
    // Before the first look, so that no change falls between.
    let mut changes = Changes::watch(context, dir);
    let first = client.call::<PushDraft>(context, request.clone()).await?;
    let mut withheld = BTreeSet::new();
    tell_withheld(context, &first, &mut withheld);
    frame(context, &first, shown)?;
    let ended = tokio::select! {
        ended = push_all(context, client, request, &mut changes, &mut withheld) => ended,
        _ = tokio::signal::ctrl_c() => Ok(()),
        () = terminated() => Ok(()),
    };
    let end = PushDraftRequest { end: true, ..request.clone() };
    // A node that has gone shows it no more either.
    drop(client.call::<PushDraft>(context, end).await);
    ended
}

/// Shows what changed, as often as something does, until the node is gone.
async fn push_all(
    context: &Context,
    client: &Client,
    request: &PushDraftRequest,
    changes: &mut Changes,
    withheld: &mut BTreeSet<String>,
) -> Result<(), Problem> {
    let mut told = String::new();
    loop {
        changes.next(context).await;
        match client.call::<PushDraft>(context, request.clone()).await {
            Ok(done) => {
                told.clear();
                tell_withheld(context, &done, withheld);
                if !done.unchanged {
                    frame(context, &done, shown)?;
                }
            }
            Err(problem) if matches!(problem.kind(), Kind::NotRunning | Kind::Unreachable) => return Err(problem),
            // What cannot be shown now, for instance a link: the draft before stays, and it is told once.
            Err(problem) => {
                if told != problem.message {
                    context.ui().warning(&problem.message);
                    told.clone_from(&problem.message);
                }
            }
        }
    }
}

/// Says which files are not shown, of each once for as long as it is so.
fn tell_withheld(context: &Context, done: &PushDraftResponse, told: &mut BTreeSet<String>) {
    let line = |WithheldInfo { path, what, line }: &WithheldInfo| {
        format!("`{path}` is not shown: line {line} looks like {what}. Everything else is")
    };
    let now: BTreeSet<String> = done.withheld.iter().map(line).collect();
    now.difference(told).for_each(|line| context.ui().warning(line));
    *told = now;
}

/// Whatever may mean that something in a directory is different.
struct Changes {
    events: mpsc::Receiver<()>,
    failed: std_mpsc::Receiver<notify::Error>,
    /// Kept, for it stops telling when it is dropped; none: the directory is polled.
    watcher: Option<RecommendedWatcher>,
}

impl Changes {
    fn watch(context: &Context, dir: &Path) -> Self {
        let (tell, events) = mpsc::channel(1);
        let (tell_failed, failed) = std_mpsc::channel();
        let watcher = notify::recommended_watcher(move |event| heed(event, &tell, &tell_failed));
        let watcher = watcher.and_then(|mut watcher| {
            watcher.watch(dir, RecursiveMode::Recursive)?;
            Ok(watcher)
        });
        let mut changes = Self { events, failed, watcher: None };
        match watcher {
            Ok(watcher) => changes.watcher = Some(watcher),
            Err(error) => warn_of(context, &error),
        }
        changes.give_up(context);
        changes
    }

    /// A watcher that cannot watch everything tells nothing of the rest: then the directory is polled.
    fn give_up(&mut self, context: &Context) {
        let failed: Vec<notify::Error> = self.failed.try_iter().collect();
        let is_blind = |error: &&notify::Error| matches!(error.kind, notify::ErrorKind::MaxFilesWatch);
        if let (Some(_), Some(error)) = (&self.watcher, failed.iter().find(is_blind)) {
            warn_of(context, error);
            self.watcher = None;
        }
    }

    /// Waits until something may be different and it is quiet for a moment.
    async fn next(&mut self, context: &Context) {
        self.give_up(context);
        if self.watcher.is_none() {
            tokio::time::sleep(POLL).await;
            return;
        }
        if tokio::time::timeout(RESCAN, self.events.recv()).await.is_err() {
            return;
        }
        let storm = Instant::now() + STORM;
        while let Ok(Some(())) = tokio::time::timeout(QUIET, self.events.recv()).await {
            if Instant::now() >= storm {
                return;
            }
        }
    }
}

/// What changed is found by reading, so of an event only that it came counts.
fn heed(event: notify::Result<notify::Event>, tell: &mpsc::Sender<()>, failed: &std_mpsc::Sender<notify::Error>) {
    match event {
        // Reading is no change.
        Ok(event) if matches!(event.kind, EventKind::Access(_)) => {}
        // That some were lost, because the system's queue was full, too.
        Ok(_) => wake(tell),
        Err(error) => {
            // Nobody hears it after the command's end.
            drop(failed.send(error));
            wake(tell);
        }
    }
}

fn warn_of(context: &Context, error: &notify::Error) {
    let every = POLL.as_millis();
    context.ui().warning(&format!("the system does not tell of changes ({error}): looking every {every} ms"));
}

/// One that waits is enough.
fn wake(tell: &mpsc::Sender<()>) {
    let _ = tell.try_send(());
}

#[cfg(unix)]
async fn terminated() {
    match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        Ok(mut signal) => drop(signal.recv().await),
        Err(_) => std::future::pending().await,
    }
}

#[cfg(not(unix))]
async fn terminated() {
    std::future::pending().await
}

fn frame<T: Serialize>(context: &Context, item: &T, human: fn(&T) -> String) -> Result<(), Problem> {
    context.ui().frame(item, human)
}

fn shown(done: &PushDraftResponse) -> String {
    let PushDraftResponse { reference, name, rev, .. } = done;
    if *rev == 0 {
        return format!("{reference}: the draft `{name}` is shown no more");
    }
    let (files, size, new) =
        (text::count(done.n_files, "file"), text::bytes(done.total_bytes), text::bytes(done.new_bytes));
    let does = if done.dry_run { "would show" } else { "shows" };
    format!("{reference}: `{name}` {does} {files}, {size}, {new} new")
}

fn applied(done: &NextDraftResponse) -> String {
    let mut lines: Vec<String> = done.written.iter().map(|path| format!("+ {path}")).collect();
    lines.extend(done.removed.iter().map(|path| format!("- {path}")));
    lines.extend(done.conflicts.iter().map(|path| format!("! {path}: changed here and in the draft; yours stays")));
    if lines.is_empty() {
        lines.push("nothing changed".to_owned());
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use notify::Event;
    use notify::event::{AccessKind, Flag, ModifyKind};

    use super::*;

    #[test]
    fn changes_and_lost_events_wake_reading_does_not_and_failures_are_kept() {
        let (tell, mut events) = mpsc::channel(1);
        let (tell_failed, failed) = std_mpsc::channel();
        let mut wakes = |event| {
            heed(event, &tell, &tell_failed);
            events.try_recv().is_ok()
        };
        assert!(!wakes(Ok(Event::new(EventKind::Access(AccessKind::Any)))));
        assert!(wakes(Ok(Event::new(EventKind::Modify(ModifyKind::Any)))));
        // As the watcher tells that the system's queue was full.
        assert!(wakes(Ok(Event::new(EventKind::Other).set_flag(Flag::Rescan))));
        assert!(failed.try_recv().is_err());
        assert!(wakes(Err(notify::Error::new(notify::ErrorKind::MaxFilesWatch))));
        assert!(matches!(failed.try_recv().map(|error| error.kind), Ok(notify::ErrorKind::MaxFilesWatch)));
    }
}
