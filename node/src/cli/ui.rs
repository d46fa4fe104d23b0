//! The only printer. Data goes to stdout; talk, progress and errors go to stderr. Readable without colour; what came
//! from elsewhere cannot move the cursor or pretend to be us.

mod progress;
pub(super) mod qr;
pub(super) mod text;

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;
use zeroize::Zeroizing;

use crate::problem::{Code, Failure, Problem};
pub(super) use progress::Bars;
use text::printable;

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Color {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl Color {
    fn on(self, terminal: bool) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        }
    }
}

/// How this process talks.
#[derive(Debug, Clone)]
pub(super) struct Ui {
    json: bool,
    quiet: bool,
    yes: bool,
    color: Color,
    reader_left: Arc<AtomicBool>,
}

/// What a line is, for its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Bold,
    /// What was not there before.
    Came,
    /// What is not there any more.
    Went,
    /// Where in a file.
    Place,
    /// What should not be overlooked.
    Warn,
}

impl Style {
    const fn code(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Bold => Some("1"),
            Self::Came => Some("32"),
            Self::Went => Some("31"),
            Self::Place => Some("36"),
            Self::Warn => Some("33"),
        }
    }
}

/// A line for people.
#[derive(Debug, Clone)]
pub(super) struct Line {
    style: Style,
    text: String,
}

impl Line {
    pub(super) fn of(style: Style, text: &str) -> Self {
        // What comes from elsewhere is made harmless before there is any colour.
        Self { style, text: printable(text) }
    }

    pub(super) fn plain(text: &str) -> Self {
        Self::of(Style::Plain, text)
    }

    pub(super) fn bold(text: &str) -> Self {
        Self::of(Style::Bold, text)
    }

    fn print(&self, has_color: bool) -> String {
        match self.style.code().filter(|_| has_color) {
            Some(code) => format!("\x1b[{code}m{}\x1b[0m\n", self.text),
            None => format!("{}\n", self.text),
        }
    }
}

/// What scripts get: the name of the shape, then the data.
#[derive(Serialize)]
struct Envelope<'a, T> {
    schema: String,
    data: &'a T,
}

impl Ui {
    pub(super) fn new(json: bool, quiet: bool, yes: bool, color: Color) -> Self {
        Self { json, quiet, yes, color, reader_left: Arc::default() }
    }

    /// Prints what the verb found or did: `human` for people, an envelope of `data` for scripts. Called once, at the
    /// end, so that stdout is empty when the verb fails.
    ///
    /// # Errors
    /// [`Code::OutputFailed`] when stdout cannot be written.
    pub(super) fn data<T: Serialize>(
        &self,
        verb: &str,
        data: &T,
        human: impl FnOnce(&T) -> String,
    ) -> Result<(), Problem> {
        if self.json {
            return self.frame(&Envelope { schema: format!("syncra/v1/{verb}"), data }, |_| String::new());
        }
        self.out(&printable(&human(data)))
    }

    /// The same, line by line, each in the colour of its style where stdout gets colours.
    ///
    /// # Errors
    /// As [`Ui::data`].
    pub(super) fn lines<T: Serialize>(
        &self,
        verb: &str,
        data: &T,
        human: impl FnOnce(&T) -> Vec<Line>,
    ) -> Result<(), Problem> {
        if self.json {
            return self.data(verb, data, |_| String::new());
        }
        let has_color = self.has_color_on_stdout();
        self.out(&human(data).iter().map(|line| line.print(has_color)).collect::<String>())
    }

    /// Prints one item of a stream: a line of JSON for scripts.
    ///
    /// # Errors
    /// As [`Ui::data`].
    pub(super) fn frame<T: Serialize>(&self, item: &T, human: impl FnOnce(&T) -> String) -> Result<(), Problem> {
        if !self.json {
            return self.out(&printable(&human(item)));
        }
        let line = serde_json::to_string(item).map_err(|error| Problem::from_error(Code::Bug, &error))?;
        self.out(&line)
    }

    /// Prints a text of our own as it is.
    ///
    /// # Errors
    /// As [`Ui::data`].
    pub(super) fn text(&self, text: &str) -> Result<(), Problem> {
        self.out(text)
    }

    /// Says what was done or goes on; not with `-q` or `--json`.
    pub(super) fn note(&self, message: &str) {
        if !self.quiet && !self.json {
            self.say("", "", message);
        }
    }

    /// Says what somebody has to know before the verb can end; as JSON with `--json`.
    pub(super) fn announce(&self, name: &str, value: &impl serde::Serialize, message: &str) {
        match self.json {
            true => self.err(&serde_json::json!({ name: value }).to_string()),
            false => self.say("", "", message),
        }
    }

    /// Warns; as JSON with `--json`.
    pub(super) fn warning(&self, message: &str) {
        match self.json {
            true => self.err(&serde_json::json!({ "warning": { "message": message } }).to_string()),
            false => self.say("warning", "33", message),
        }
    }

    /// Tells a failure: the message with its causes, then what to do.
    pub(super) fn problem(&self, problem: &Problem) {
        if self.json {
            let failure = Failure { error: problem.clone() };
            return self.err(&serde_json::to_string(&failure).unwrap_or_else(|_| problem.to_string()));
        }
        self.say("error", "31", &format!("{} [{}]", problem.message, problem.code.number()));
        for cause in &problem.causes {
            self.say("", "", &format!("  because: {cause}"));
        }
        if let Some(hint) = &problem.hint {
            self.say("hint", "36", hint);
        }
    }

    /// Progress bars on stderr, if a person looks at it.
    pub(super) fn bars(&self) -> Bars {
        Bars::new(!self.json && !self.quiet && io::stderr().is_terminal())
    }

    /// Asks before something that cannot be taken back; `--yes` answers. Without a terminal nobody can.
    ///
    /// # Errors
    /// [`Code::NotConfirmed`], or [`Code::Interrupted`] when the answer is no.
    pub(super) async fn confirm(&self, question: &str) -> Result<(), Problem> {
        if self.yes {
            return Ok(());
        }
        if self.json || !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            return Err(Problem::new(Code::NotConfirmed, format!("not confirmed: {question}")));
        }
        write!(io::stderr(), "{} [y/N] ", printable(question)).map_err(|error| output_failed(&error))?;
        // On a thread of its own, so that Ctrl-C still works.
        let line = tokio::task::spawn_blocking(|| {
            let mut line = String::new();
            io::stdin().read_line(&mut line).map(|_| line)
        });
        let line = line.await.map_err(|error| Problem::from_error(Code::Bug, &error))?;
        match line.unwrap_or_default().trim().to_ascii_lowercase().as_str() {
            "y" | "yes" => Ok(()),
            _ => Err(Problem::new(Code::Interrupted, "not confirmed")),
        }
    }

    /// Whether somebody can be asked.
    pub(super) fn has_terminal(&self) -> bool {
        io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    /// Asks for something that is not shown while it is typed.
    ///
    /// # Errors
    /// [`Code::OutputFailed`] when the terminal fails.
    pub(super) async fn secret(&self, question: &'static str) -> Result<Zeroizing<String>, Problem> {
        let ask = move || {
            let terminal = console::Term::stderr();
            terminal.write_str(question).and_then(|()| terminal.read_secure_line()).map(Zeroizing::new)
        };
        let line = tokio::task::spawn_blocking(ask).await.map_err(|error| Problem::from_error(Code::Bug, &error))?;
        line.map_err(|error| output_failed(&error))
    }

    /// Whether scripts listen, and nobody is asked.
    pub(super) fn speaks_json(&self) -> bool {
        self.json
    }

    /// Whether questions are answered before they are asked.
    pub(super) fn answers_yes(&self) -> bool {
        self.yes
    }

    /// Whether stdout was closed by its reader, as `head` does.
    pub(super) fn reader_left(&self) -> bool {
        self.reader_left.load(Ordering::Relaxed)
    }

    /// Whether stderr gets colours.
    pub(super) fn has_color(&self) -> bool {
        self.color.on(io::stderr().is_terminal())
    }

    /// Whether stdout gets colours, which only help texts have.
    pub(super) fn has_color_on_stdout(&self) -> bool {
        self.color.on(io::stdout().is_terminal())
    }

    /// The same for the writer of help texts.
    pub(super) fn help_color(&self) -> clap::ColorChoice {
        if self.has_color_on_stdout() { clap::ColorChoice::Always } else { clap::ColorChoice::Never }
    }

    fn say(&self, word: &str, color: &str, message: &str) {
        let mut line = String::new();
        if !word.is_empty() && self.has_color() {
            let _ = write!(line, "\x1b[1;{color}m{word}:\x1b[0m ");
        } else if !word.is_empty() {
            let _ = write!(line, "{word}: ");
        }
        line.push_str(&printable(message));
        self.err(&line);
    }

    fn err(&self, line: &str) {
        // Nobody is left to be told that stderr is closed.
        drop(writeln!(io::stderr(), "{line}"));
    }

    fn out(&self, text: &str) -> Result<(), Problem> {
        let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        let mut stdout = io::stdout().lock();
        let written = write!(stdout, "{text}{end}").and_then(|()| stdout.flush());
        written.map_err(|error| {
            self.reader_left.store(error.kind() == io::ErrorKind::BrokenPipe, Ordering::Relaxed);
            output_failed(&error)
        })
    }
}

fn output_failed(error: &io::Error) -> Problem {
    Problem::new(Code::OutputFailed, "cannot write the output").with_cause(error.to_string())
}
