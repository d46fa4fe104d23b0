//! `syncra demo`

use super::context::Context;
use super::ui::text;
use crate::demo::{self, DemoError, Step, Story};
use crate::problem::{Code, Problem};

/// Show three nodes at work, on this machine alone
///
/// Alice publishes a world, bob finds it on the LAN, verifies and installs it, gets an
/// update with few bytes; carol gets it from bob when alice is gone. One peer sends a
/// wrong byte and one offers an old log: both are refused. Everything happens in a
/// temporary directory and on loopback, in some seconds, with the same code that runs in
/// your node; every figure is measured.
///
/// Examples:
///   syncra demo
///   syncra demo --json
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {}

impl Args {
    pub(super) async fn run(self, context: &Context) -> Result<(), Problem> {
        let dir = std::env::temp_dir().join(format!("syncra-demo-{}", std::process::id()));
        std::fs::create_dir(&dir).map_err(|error| Problem::io("cannot make the demo's directory", &error))?;
        let ui = context.ui().clone();
        let told = Box::pin(demo::run(&dir, move |step| ui.note(&line(step)))).await;
        let removed = std::fs::remove_dir_all(&dir);
        let story = told.map_err(|error: DemoError| Problem::from_error(Code::Failed, &error))?;
        removed.map_err(|error| Problem::io("the demo's directory was not removed", &error))?;
        context.ui().data("demo", &story, summary)
    }
}

fn line(step: &Step) -> String {
    let figures: Vec<String> = step.figures.iter().filter_map(|(name, value)| figure(name, *value)).collect();
    let figures = if figures.is_empty() { String::new() } else { format!(" ({})", figures.join(", ")) };
    format!("{:>8}  {}{figures}  [{} ms]", step.who, step.what, step.took_ms)
}

fn figure(name: &str, value: u64) -> Option<String> {
    match name {
        "bytes" => Some(text::bytes(value)),
        "fetched_bytes" => Some(format!("{} fetched", text::bytes(value))),
        "files" => Some(format!("{value} files")),
        "generation" => Some(format!("generation {value}")),
        _ => None,
    }
}

fn summary(story: &Story) -> String {
    let rows = [
        ("package", story.reference.clone()),
        ("the world", text::bytes(story.world_bytes)),
        ("first install fetched", text::bytes(story.first_fetch_bytes)),
        ("update fetched", text::bytes(story.update_fetch_bytes)),
        ("lies told and refused", story.lies_refused.to_string()),
        ("all of it took", format!("{:.1} s", f64::from(u32::try_from(story.took_ms).unwrap_or(u32::MAX)) / 1000.0)),
    ];
    rows.iter().map(|(name, value)| format!("{name:<24}{value}")).collect::<Vec<_>>().join("\n")
}
