//! An engine with a node inside: it installs a package and hears where the files are.
//!
//! The node lives in a temporary home and stays offline; a package is published there first, so that there is something
//! to install. Run it by `cargo run -p syncra-examples --bin embed_in_engine`.

use std::path::{Path, PathBuf};

use syncra_node::event::Event;
use syncra_node::flow::install::{self, Request};
use syncra_node::flow::{Parts, publish};
use syncra_node::home::Home;
use syncra_node::progress::Progress;
use syncra_protocol::id::PackageId;

/// Whatever goes wrong: an engine would tell these apart.
type Fault = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Fault> {
    let dir = tempfile::tempdir()?;
    let parts = Parts::open(Home::open(&dir.path().join("home"))?).await?;
    let lamp = publish_lamp(&parts, &dir.path().join("lamp")).await?;

    // An engine begins with what is installed, and then listens.
    load_installed(&parts)?;
    let mut events = parts.events.subscribe(None);
    let add = Request::Add { package: lamp, selector: None };
    let done = install::run(&parts, &add, &Progress::unwatched()).await?;
    say(&format!("generation {} is in force", done.generation));

    loop {
        match events.next().await.event {
            Event::Installed { version, path, .. } => {
                let script = std::fs::read_to_string(PathBuf::from(&path).join("lamp.syn"))?;
                say(&format!("version {version} is in {path}: `{script}`"));
                break;
            }
            // Too slow a listener misses events, never files: it looks again.
            Event::Resync => load_installed(&parts)?,
            _ => {}
        }
    }
    load_installed(&parts)?;
    parts.close().await;
    Ok(())
}

/// Everything that is installed, with its directory.
fn load_installed(parts: &Parts) -> Result<(), Fault> {
    let installed = install::list(parts)?;
    say(&format!("{} packages are installed", installed.len()));
    for (slot, path) in installed.values() {
        say(&format!("  {} {} in {}", slot.reference, slot.version, path.display()));
    }
    Ok(())
}

async fn publish_lamp(parts: &Parts, dir: &Path) -> Result<PackageId, Fault> {
    std::fs::create_dir_all(dir)?;
    std::fs::write(dir.join("syncra.toml"), "[package]\nname = \"lamp\"\nversion = \"1.0.0\"\nkind = \"script\"\n")?;
    std::fs::write(dir.join("lamp.syn"), "system turn() {}")?;
    let request = publish::Request::of(dir.to_owned());
    let plan = publish::plan(parts, request).await?;
    Ok(publish::publish(parts, plan, &Progress::unwatched()).await?.package)
}

#[expect(clippy::print_stdout, reason = "an example shows what it does")]
fn say(line: &str) {
    println!("{line}");
}
