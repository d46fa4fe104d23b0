//! The demo: three people, one LAN of one machine, and two peers that lie. Everything in it is the real program; every
//! figure that it tells was measured while it happened.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;
use syncra_protocol::id::PackageId;
use syncra_protocol::sync::Peer;

use crate::flow::install::{self, Done, InstallError};
use crate::flow::publish::{PublishError, Published};
use crate::flow::reach;
use crate::progress::Progress;

mod host;
mod liar;
mod lighthouse;

pub use host::HostError;

use host::Host;
use liar::{Liar, Lie};

/// Longest wait for any one thing: generous, since nothing here should take a second.
const PATIENCE: Duration = Duration::from_secs(20);

/// One thing that happened.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    /// Who did it.
    pub who: &'static str,
    /// What, in a sentence.
    pub what: String,
    /// Milliseconds that it took.
    pub took_ms: u64,
    /// Its figures by name.
    pub figures: BTreeMap<&'static str, u64>,
}

/// The whole story, and what it adds up to.
#[derive(Debug, Clone, Serialize)]
pub struct Story {
    /// What happened, in order.
    pub steps: Vec<Step>,
    /// The package, as strangers name it.
    pub reference: String,
    /// Bytes of version 1.0.0.
    pub world_bytes: u64,
    /// Bytes that bob fetched for 1.0.0.
    pub first_fetch_bytes: u64,
    /// Bytes that bob fetched for 1.1.0.
    pub update_fetch_bytes: u64,
    /// Lies that were told, and refused.
    pub lies_refused: u64,
    /// The whole demo.
    pub took_ms: u64,
}

/// Why the story did not end well.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// A node.
    #[error(transparent)]
    Host(#[from] HostError),
    /// Publishing.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// Installing.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// The directory of the demo.
    #[error("the demo cannot write to {}", path.display())]
    Write {
        /// Where.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Something that must happen did not.
    #[error("the demo went wrong: {0}")]
    Story(String),
}

/// Tells the story in the empty directory `dir`; `tell` hears each step when it has happened.
///
/// # Errors
/// [`DemoError`].
pub async fn run(dir: &Path, tell: impl FnMut(&Step)) -> Result<Story, DemoError> {
    let began = Instant::now();
    let mut teller = Teller { tell, steps: Vec::new() };
    let world = lighthouse::write(&dir.join("lighthouse"))?;
    let lan = host::free_port()?;

    let alice = Host::start(&dir.join("alice"), "alice", Some(lan)).await?;
    let first = published(&mut teller, &alice, &world).await?;
    let bob = Host::start(&dir.join("bob"), "bob", Some(lan)).await?;
    let (reference, first_fetch_bytes) = found(&mut teller, &bob, &alice, &first, &world).await?;
    // Somebody who will tell old news as new: she learns 1.0.0 now and nothing later.
    let dora = Liar::learn(&dir.join("dora"), "dora", &alice, first.package, Lie::OldLog).await?;
    let (second, update_fetch_bytes) = improved(&mut teller, &alice, &bob, &world).await?;
    // And somebody who has everything and sends one byte of it wrong.
    let mallory = Liar::learn(&dir.join("mallory"), "mallory", &alice, second.package, Lie::WrongByte).await?;

    let clock = Instant::now();
    let fault = old_news(&bob, &dora, second.package).await?;
    teller.step("dora", clock, format!("{fault}: bob keeps what he has"), &[("lies_refused", 1)]);
    alice.stop().await;
    let carol = Host::start(&dir.join("carol"), "carol", None).await?;
    late(&mut teller, &carol, &mallory, &bob, &second, &world).await?;
    went_back(&mut teller, &bob, second.package).await?;

    for host in [bob, carol] {
        host.stop().await;
    }
    dora.stop().await;
    mallory.stop().await;
    let steps = teller.steps;
    let lies_refused = steps.iter().filter_map(|step| step.figures.get("lies_refused")).sum();
    let (world_bytes, took_ms) = (first.release.total_bytes, millis(began.elapsed()));
    Ok(Story { steps, reference, world_bytes, first_fetch_bytes, update_fetch_bytes, lies_refused, took_ms })
}

async fn published(teller: &mut Teller<impl FnMut(&Step)>, alice: &Host, world: &Path) -> Result<Published, DemoError> {
    let clock = Instant::now();
    let first = alice.publish(world).await?;
    teller.step(
        "alice",
        clock,
        format!("published {} {}", first.name, first.release.version),
        &[("files", first.release.n_files.into()), ("bytes", first.release.total_bytes)],
    );
    Ok(first)
}

/// Bob finds the first release on the LAN and installs it. The result is its reference and the bytes that he fetched.
async fn found(
    teller: &mut Teller<impl FnMut(&Step)>,
    bob: &Host,
    alice: &Host,
    first: &Published,
    world: &Path,
) -> Result<(String, u64), DemoError> {
    let clock = Instant::now();
    bob.meet(alice.key()).await?;
    reach::discover(bob.parts(), bob.online(), Duration::from_secs(60)).await;
    let reference = bob.reference(first.package)?;
    teller.step("bob", clock, format!("knows nothing but the LAN, and finds {reference} there"), &[]);
    let clock = Instant::now();
    let fetched_bytes = bob.install(first.package).await?.fetched.fetched_bytes;
    same_files(world, &installed_path(bob, first.package)?)?;
    let what = "verified and installed it, byte for byte the same".to_owned();
    teller.step("bob", clock, what, &[("fetched_bytes", fetched_bytes)]);
    Ok((reference, fetched_bytes))
}

/// Alice publishes a better version, and bob updates. The result has the bytes that he fetched.
async fn improved(
    teller: &mut Teller<impl FnMut(&Step)>,
    alice: &Host,
    bob: &Host,
    world: &Path,
) -> Result<(Published, u64), DemoError> {
    let clock = Instant::now();
    lighthouse::improve(world)?;
    let news = bob.parts().histories.changes();
    let second = alice.publish(world).await?;
    bob.hears(news, &second).await?;
    teller.step(
        "alice",
        clock,
        format!("published {}; bob heard of it without asking", second.release.version),
        &[("bytes", second.release.total_bytes), ("new_bytes", second.new_bytes)],
    );
    let clock = Instant::now();
    let fetched_bytes = bob.update(second.package).await?.fetched.fetched_bytes;
    same_files(world, &installed_path(bob, second.package)?)?;
    let figures = [("fetched_bytes", fetched_bytes), ("bytes", second.release.total_bytes)];
    teller.step("bob", clock, "updated his world, and fetched only what is new".to_owned(), &figures);
    Ok((second, fetched_bytes))
}

/// Carol comes when alice is gone: a liar first, then bob.
async fn late(
    teller: &mut Teller<impl FnMut(&Step)>,
    carol: &Host,
    mallory: &Liar,
    bob: &Host,
    second: &Published,
    world: &Path,
) -> Result<(), DemoError> {
    let clock = Instant::now();
    let reason = wrong_byte(carol, mallory, second.package).await?;
    let what = format!("offered carol the world with one byte changed: {reason}");
    teller.step("mallory", clock, what, &[("lies_refused", 1)]);
    let clock = Instant::now();
    carol.dial(bob).await?;
    let got = carol.install(second.package).await?;
    same_files(world, &installed_path(carol, second.package)?)?;
    let figures = [("fetched_bytes", got.fetched.fetched_bytes)];
    teller.step("carol", clock, "got it from bob, while alice is offline".to_owned(), &figures);
    Ok(())
}

async fn went_back(teller: &mut Teller<impl FnMut(&Step)>, bob: &Host, package: PackageId) -> Result<(), DemoError> {
    let clock = Instant::now();
    let back = bob.rollback().await?;
    let version = version_of(&back, package);
    if version.as_deref() != Some("1.0.0") {
        return Err(DemoError::Story(format!("the rollback led to {version:?}")));
    }
    teller.step("bob", clock, "went back to 1.0.0 in one switch".to_owned(), &[("generation", back.generation)]);
    Ok(())
}

struct Teller<F> {
    tell: F,
    steps: Vec<Step>,
}

impl<F: FnMut(&Step)> Teller<F> {
    fn step(&mut self, who: &'static str, since: Instant, what: String, figures: &[(&'static str, u64)]) {
        let figures = figures.iter().copied().collect();
        let step = Step { who, what, took_ms: millis(since.elapsed()), figures };
        (self.tell)(&step);
        self.steps.push(step);
    }
}

/// Bob, who holds 1.1.0, asks somebody who offers the log as it was.
async fn old_news(bob: &Host, dora: &Liar, package: PackageId) -> Result<String, DemoError> {
    let peer = bob.dial_liar(dora).await?;
    let refreshed = bob.online().sync.refresh(package, Some(vec![peer])).await;
    let refreshed = refreshed.map_err(|error| DemoError::Story(error.to_string()))?;
    let fault = refreshed.faults.first().map(|(_, fault)| crate::sync::describe(fault));
    fault.ok_or_else(|| DemoError::Story("an older log was not noticed".to_owned()))
}

/// Carol's first try, from nobody but a liar.
async fn wrong_byte(carol: &Host, mallory: &Liar, package: PackageId) -> Result<String, DemoError> {
    let peer: Peer = carol.dial_liar(mallory).await?;
    let refreshed = carol.online().sync.refresh(package, Some(vec![peer])).await;
    refreshed.map_err(|error| DemoError::Story(error.to_string()))?;
    match carol.install(package).await {
        Ok(_) => Err(DemoError::Story("a wrong byte was not noticed".to_owned())),
        Err(refused) => {
            let mut reason = refused.to_string();
            let mut cause = std::error::Error::source(&refused);
            while let Some(error) = cause {
                reason = error.to_string();
                cause = error.source();
            }
            if mallory.n_lies() == 0 {
                return Err(DemoError::Story(format!("no lie was told, yet the install failed: {reason}")));
            }
            Ok(reason)
        }
    }
}

fn installed_path(host: &Host, package: PackageId) -> Result<PathBuf, DemoError> {
    let installed = install::list(host.parts()).map_err(InstallError::from)?;
    let found = installed.get(&package).map(|(_, path)| path.clone());
    found.ok_or_else(|| DemoError::Story("the installed package is not in force".to_owned()))
}

fn version_of(done: &Done, package: PackageId) -> Option<String> {
    let change = done.changes.iter().find(|change| change.package == package)?;
    Some(change.to.as_ref()?.version.to_string())
}

/// Compares two directories, every byte.
fn same_files(source: &Path, installed: &Path) -> Result<(), DemoError> {
    let files = crate::flow::walk::walk(source, &Default::default()).map_err(PublishError::from)?;
    for file in files {
        let other = installed.join(file.path.as_str());
        let read =
            |path: &Path| std::fs::read(path).map_err(|source| DemoError::Write { path: path.to_owned(), source });
        if read(&file.source)? != read(&other)? {
            return Err(DemoError::Story(format!("{} differs", file.path.as_str())));
        }
    }
    Ok(())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Installs without anybody watching the progress.
async fn quietly(parts: &crate::flow::Parts, request: install::Request) -> Result<Done, InstallError> {
    install::run(parts, &request, &Progress::unwatched()).await
}

/// What somebody who follows a package waits for.
fn is(published: &Published, head: &syncra_protocol::log::checkpoint::Head) -> bool {
    head.checkpoint() == &published.checkpoint
}
