//! Global flags, raw and resolved.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, fmt};

use super::ui::{Color, Ui};
use crate::api::Service;
use crate::config::{Config, LogLevel};
use crate::home::{Home, Layout};
use crate::log_file::LogFile;
use crate::problem::{Code, Problem};

/// Flags that every verb takes.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Global options")]
pub(super) struct Globals {
    /// Directory with keys, packages and settings [env: SYNCRA_HOME] [default: the platform's place for data]
    #[arg(long, global = true, value_name = "DIR")]
    home: Option<PathBuf>,

    /// API of the node to talk to: `unix:PATH` or `HOST:PORT`; for `up`: also listen on this loopback address
    ///
    /// Over TCP the token stands in the environment variable SYNCRA_TOKEN.
    #[arg(long, global = true, value_name = "ADDR")]
    api: Option<String>,

    /// Print data as JSON on stdout, errors as JSON on stderr
    #[arg(long, global = true)]
    json: bool,

    /// Say nothing but data and errors
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    quiet: bool,

    /// Say more about what is done; twice for everything
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    verbose: u8,

    /// Do not use the network
    #[arg(long, global = true)]
    offline: bool,

    /// Answer yes to every question
    #[arg(long, short, global = true)]
    yes: bool,

    /// When to use colours; NO_COLOR is honoured too
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t = Color::Auto)]
    color: Color,

    /// How long to wait for the network
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 60,
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,
}

/// A path as the node needs it, which works elsewhere.
///
/// # Errors
/// When there is no working directory, or the path is not text.
pub(super) fn absolute(path: &Path) -> Result<String, Problem> {
    let absolute = std::path::absolute(path)
        .map_err(|error| Problem::io(format!("cannot find out where `{}` is", path.display()), &error))?;
    absolute
        .into_os_string()
        .into_string()
        .map_err(|path| Problem::new(Code::BadArgument, format!("the path `{}` is not UTF-8 text", path.display())))
}

/// What the flags mean here and now.
#[derive(Debug)]
pub(super) struct Context {
    globals: Globals,
    ui: Ui,
    /// The home that this process opened itself, to close at the end.
    opened: Mutex<Option<Arc<Service>>>,
    /// Where a node's log goes besides stderr.
    log: Arc<LogFile>,
}

/// The blob library's collector runs only when we ask, and reports the end of the store as an error. Whoever wants to hear it
/// has to name it.
const NO_COLLECTOR: &str = "iroh_blobs::store::gc=off";
/// Warnings of libraries, but for what gossip has said already, which is what it is asked for when two neighbours bring it.
const QUIET: &str = "warn,libp2p_gossipsub=error";
/// In the file, which people show around, libraries do not speak: some name addresses of peers.
const SILENT: &str = "off";

impl Context {
    pub(super) fn resolve(globals: Globals) -> Self {
        let ui = Ui::new(globals.json, globals.quiet, globals.yes, globals.color);
        Self { globals, ui, opened: Mutex::default(), log: Arc::default() }
    }

    pub(super) fn ui(&self) -> &Ui {
        &self.ui
    }

    /// Remembers the service that works in this process, for [`Context::close`].
    pub(super) fn keep(&self, service: Arc<Service>) {
        *self.opened.lock().unwrap_or_else(PoisonError::into_inner) = Some(service);
    }

    /// Closes the home that this process opened, however the verb ended.
    pub(super) async fn close(&self) {
        let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(service) = opened {
            service.close().await;
        }
    }

    /// The home's directory; it need not exist.
    pub(super) fn home(&self) -> Result<PathBuf, Problem> {
        Ok(Home::locate(self.globals.home.as_deref().filter(|path| *path != Path::new("")))?)
    }

    /// The home's settings.
    pub(super) fn config(&self) -> Result<Config, Problem> {
        Ok(Config::load(&Layout::new(&self.home()?).config())?)
    }

    /// Where the user says that the API is.
    pub(super) fn api(&self) -> Option<&str> {
        self.globals.api.as_deref()
    }

    /// Whether the network is off limits.
    pub(super) fn offline(&self) -> bool {
        self.globals.offline
    }

    /// How long to wait for the network.
    pub(super) fn timeout(&self) -> Duration {
        Duration::from_secs(self.globals.timeout)
    }

    /// From now on what goes to stderr also goes to the log in the home, which this process has locked.
    pub(super) fn log_into(&self, layout: &Layout) {
        if let Err(error) = self.log.open(&layout.log()) {
            tracing::warn!(%error, "the log is not kept in the home");
        }
    }

    /// Sends diagnostics to stderr: what `SYNCRA_LOG` says, else what `-q` and `-v` say, else `level` for our own
    /// modules and warnings for the rest.
    pub(super) fn init_logging(&self, level: LogLevel) {
        let spoken = match (self.globals.quiet, self.globals.verbose) {
            (true, _) => LogLevel::Error,
            (false, 0) => level,
            (false, 1) => LogLevel::Debug,
            (false, _) => LogLevel::Trace,
        };
        // Silence on the terminal is no reason to know nothing afterwards.
        let kept = if self.globals.quiet { level } else { spoken };
        let filter = |others: &str, level| {
            let asked = std::env::var("SYNCRA_LOG").ok().filter(|asked| !asked.is_empty());
            let asked = asked.and_then(|asked| EnvFilter::try_new(format!("{NO_COLLECTOR},{asked}")).ok());
            let ours = || format!("{others},{NO_COLLECTOR},syncra_node={0},syncra_protocol={0}", word(level));
            asked.unwrap_or_else(|| EnvFilter::new(ours()))
        };
        let stderr = fmt::layer().with_ansi(self.ui.has_color()).with_writer(std::io::stderr);
        let file = fmt::layer().with_ansi(false).with_writer(Arc::clone(&self.log));
        let log = tracing_subscriber::registry().with(stderr.with_filter(filter(QUIET, spoken)));
        let set = log.with(file.with_filter(filter(SILENT, kept))).try_init();
        // Set already: this process embeds the program, and its own log is the better one.
        drop(set);
    }
}

/// A level as filters spell it.
const fn word(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    }
}
