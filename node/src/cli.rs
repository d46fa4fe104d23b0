//! The command line: raw arguments, then a resolved [`Context`], then one verb.
//!
//! One verb is one file in `cli/`: its arguments, whose doc comment is its manual, and what it does. Verbs ask the
//! [`client`] for the work, which is the running node or, without one, the same service in this process; and they print
//! through the [`ui`] only. Verbs that do not exist yet are not declared: whoever types one is told the nearest known.

mod add;
mod blame;
mod block;
mod change;
mod check;
mod checkout;
mod client;
mod completions;
mod config;
mod connect;
mod context;
mod demo;
mod devices;
mod diff;
mod doctor;
mod down;
mod draft;
mod events;
mod explain;
mod export;
mod follow;
mod fork;
mod gc;
mod get;
mod git;
mod heal;
mod id;
mod import;
mod info;
mod list;
mod log;
mod merge;
mod new;
mod open;
mod outdated;
mod pair;
mod peers;
mod propose;
mod publish;
mod redact;
mod refs;
mod remove;
mod review;
mod role;
mod rollback;
mod search;
mod share;
mod status;
mod token;
mod trust;
mod ui;
mod up;
mod update;
mod usage;
mod verify;
mod why;
mod witness;
mod yank;

use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::config::LogLevel;
use crate::problem::{Code, Problem};
use context::{Context, Globals};
use ui::Ui;
use usage::Parsed;

/// The content network of SyncraEngine: publish, find, fetch, verify and follow packages, without a cloud.
///
/// Every install runs one node. Start it by `syncra up`; most verbs also work without it.
///
/// Data goes to stdout, talk to stderr; with `--json` both are JSON. Exit codes: 0 ok, 1 failed, 2 usage, 3 not found,
/// 4 needs identity or permission, 5 verification failed, 6 unreachable, 7 conflict, 8 refused by policy, 9 disk or
/// quota, 10 node not running, 130 interrupted. `syncra explain CODE` tells more about an error.
#[derive(Debug, Parser)]
#[command(name = "syncra", version, max_term_width = 110, propagate_version = false, disable_help_subcommand = true)]
struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    verb: Verb,
}

/// How long closing the home may take at the end of a verb: all of it can be repeated by the next start.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// Every verb there is. A new one is a file, a line here and a line in [`Verb::run`].
#[derive(Debug, Subcommand)]
enum Verb {
    Up(up::Args),
    New(new::Args),
    Check(check::Args),
    Publish(publish::Args),
    Checkout(checkout::Args),
    Merge(merge::Args),
    Propose(propose::Args),
    Review(review::Args),
    Close(review::CloseArgs),
    Draft(draft::Args),
    List(list::Args),
    Info(info::Args),
    Log(log::Args),
    Diff(diff::Args),
    Blame(blame::Args),
    Get(get::Args),
    Verify(verify::Args),
    Yank(yank::Args),
    Redact(redact::Args),
    Heal(heal::Args),
    Branch(refs::BranchArgs),
    Tag(refs::TagArgs),
    Channel(refs::ChannelArgs),
    Role(role::Args),
    Endorse(role::EndorseArgs),
    Transfer(role::TransferArgs),
    Export(export::Args),
    Import(import::Args),
    Id(id::Args),
    Devices(devices::Args),
    Pair(pair::Args),
    Doctor(doctor::Args),
    Add(add::Args),
    Update(update::Args),
    Outdated(outdated::Args),
    Remove(remove::Args),
    Rollback(rollback::Args),
    Why(why::Args),
    Follow(follow::Args),
    Trust(trust::Args),
    Block(block::Args),
    Search(search::Args),
    Share(share::Args),
    Open(open::Args),
    Gc(gc::Args),
    Status(status::Args),
    Down(down::Args),
    Connect(connect::Args),
    Demo(demo::Args),
    Peers(peers::Args),
    Events(events::Args),
    Witness(witness::Args),
    Token(token::Args),
    Config(config::Args),
    Explain(explain::Args),
    Completions(completions::Args),
}

impl Verb {
    async fn run(self, context: &Context) -> Result<(), Problem> {
        match self {
            Self::Up(args) => args.run(context).await,
            Self::New(args) => args.run(context),
            Self::Check(args) => args.run(context).await,
            Self::Publish(args) => args.run(context).await,
            Self::Checkout(args) => args.run(context).await,
            Self::Merge(args) => args.run(context).await,
            Self::Propose(args) => args.run(context).await,
            Self::Review(args) => args.run(context).await,
            Self::Close(args) => args.run(context).await,
            Self::Draft(args) => args.run(context).await,
            Self::List(args) => args.run(context).await,
            Self::Info(args) => args.run(context).await,
            Self::Log(args) => args.run(context).await,
            Self::Diff(args) => args.run(context).await,
            Self::Blame(args) => args.run(context).await,
            Self::Get(args) => args.run(context).await,
            Self::Verify(args) => args.run(context).await,
            Self::Yank(args) => args.run(context).await,
            Self::Redact(args) => args.run(context).await,
            Self::Heal(args) => args.run(context).await,
            Self::Branch(args) => args.run(context).await,
            Self::Tag(args) => args.run(context).await,
            Self::Channel(args) => args.run(context).await,
            Self::Role(args) => args.run(context).await,
            Self::Endorse(args) => args.run(context).await,
            Self::Transfer(args) => args.run(context).await,
            Self::Export(args) => args.run(context).await,
            Self::Import(args) => args.run(context).await,
            Self::Id(args) => args.run(context).await,
            Self::Devices(args) => args.run(context).await,
            Self::Pair(args) => args.run(context).await,
            Self::Doctor(args) => args.run(context).await,
            Self::Add(args) => args.run(context).await,
            Self::Update(args) => args.run(context).await,
            Self::Outdated(args) => args.run(context).await,
            Self::Remove(args) => args.run(context).await,
            Self::Rollback(args) => args.run(context).await,
            Self::Why(args) => args.run(context).await,
            Self::Follow(args) => args.run(context).await,
            Self::Trust(args) => args.run(context).await,
            Self::Block(args) => args.run(context).await,
            Self::Search(args) => args.run(context).await,
            Self::Share(args) => args.run(context).await,
            Self::Open(args) => args.run(context).await,
            Self::Gc(args) => args.run(context).await,
            Self::Status(args) => args.run(context).await,
            Self::Down(args) => args.run(context).await,
            Self::Connect(args) => args.run(context).await,
            Self::Demo(args) => args.run(context).await,
            Self::Peers(args) => args.run(context).await,
            Self::Events(args) => args.run(context).await,
            Self::Witness(args) => args.run(context).await,
            Self::Token(args) => args.run(context).await,
            Self::Config(args) => args.run(context).await,
            Self::Explain(args) => args.run(context),
            Self::Completions(args) => args.run(context),
        }
    }

    /// The verb that stays in the foreground stops in its own order when it is interrupted.
    fn handles_interrupt(&self) -> bool {
        match self {
            Self::Up(_) => true,
            Self::Draft(args) => args.goes_on(),
            _ => false,
        }
    }

    /// How much is logged without `-v`: a node in the foreground as the settings say, a command only what is wrong.
    fn log_level(&self, context: &Context) -> LogLevel {
        match self {
            // Settings that cannot be read are told when the node opens its home.
            Self::Up(_) => context.config().map(|config| config.log).unwrap_or_default(),
            // Lies are part of its story, which tells them itself.
            Self::Demo(_) => LogLevel::Error,
            _ => LogLevel::Warn,
        }
    }
}

/// Runs the program with these arguments, the first of which is its own name; returns the exit code.
pub fn main(args: impl IntoIterator<Item = OsString>) -> u8 {
    let args: Vec<OsString> = args.into_iter().collect();
    let cli = match usage::parse(&args) {
        Parsed::Run(cli) => cli,
        Parsed::Text { ui, text } => return finish(&ui, ui.text(&text)),
        Parsed::Wrong { ui, problem } => return finish(&ui, Err(problem)),
    };
    let context = Context::resolve(cli.globals);
    let ui = context.ui().clone();
    // A panic is our bug, and still an answer: the caller gets an exit code and, if asked for, JSON.
    let result = catch_unwind(AssertUnwindSafe(|| run(cli.verb, &context)));
    finish(&ui, result.unwrap_or_else(|_| Err(Problem::new(Code::Bug, "syncra stopped at a bug of its own"))))
}

fn run(verb: Verb, context: &Context) -> Result<(), Problem> {
    context.init_logging(verb.log_level(context));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Problem::io("cannot start the runtime", &error))?;
    let handles_interrupt = verb.handles_interrupt();
    let result = runtime.block_on(async {
        let work = Box::pin(verb.run(context));
        if handles_interrupt {
            return work.await;
        }
        let result = tokio::select! {
            result = work => result,
            _ = tokio::signal::ctrl_c() => Err(Problem::new(Code::Interrupted, "interrupted")),
        };
        if tokio::time::timeout(CLOSE_TIMEOUT, context.close()).await.is_err() {
            tracing::warn!("the home was not closed in time; the next start checks more");
        }
        result
    });
    // Not waiting for threads: one may sit in a read of the terminal that nobody answers any more.
    runtime.shutdown_background();
    result
}

fn finish(ui: &Ui, result: Result<(), Problem>) -> u8 {
    match result {
        Ok(()) => 0,
        // Whoever reads our output has seen enough, like `head`: nothing is wrong.
        Err(_) if ui.reader_left() => 0,
        Err(problem) => {
            ui.problem(&problem);
            problem.kind().exit_code()
        }
    }
}
