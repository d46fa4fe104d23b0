//! Reading the arguments; a wrong call becomes a [`Problem`] like any other, as JSON if the call asked for JSON.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, FromArgMatches};

use super::Cli;
use super::ui::{Color, Ui};
use crate::problem::{Code, Problem};

/// What the arguments turned out to be.
pub(super) enum Parsed {
    /// A verb to run.
    Run(Cli),
    /// Help or the version, to print.
    Text { ui: Ui, text: String },
    /// A wrong call.
    Wrong { ui: Ui, problem: Problem },
}

pub(super) fn parse(args: &[OsString]) -> Parsed {
    let ui = raw_ui(args);
    let command = Cli::command().color(ui.help_color());
    let parsed = command.try_get_matches_from(args).and_then(|matches| Cli::from_arg_matches(&matches));
    match parsed {
        Ok(cli) => Parsed::Run(cli),
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            let text = error.render();
            let text = if ui.has_color_on_stdout() { text.ansi().to_string() } else { text.to_string() };
            Parsed::Text { ui, text }
        }
        Err(error) => Parsed::Wrong { ui, problem: with_manual(problem(&error), args) },
    }
}

/// How to print before the arguments are understood: the flags that matter, read literally.
fn raw_ui(args: &[OsString]) -> Ui {
    let flags: Vec<_> = args.iter().skip(1).map(|arg| arg.to_string_lossy()).take_while(|arg| arg != "--").collect();
    let color = flags.iter().enumerate().find_map(|(at, flag)| match flag.strip_prefix("--color") {
        Some("") => flags.get(at + 1).map(|value| value.to_string()),
        Some(value) => value.strip_prefix('=').map(str::to_owned),
        None => None,
    });
    let color = match color.as_deref() {
        Some("always") => Color::Always,
        Some("never") => Color::Never,
        _ => Color::Auto,
    };
    Ui::new(flags.iter().any(|flag| flag == "--json"), false, false, color)
}

fn problem(error: &clap::Error) -> Problem {
    let context = |kind| error.get(kind).map(words).unwrap_or_default();
    let (arg, value) = (context(ContextKind::InvalidArg), context(ContextKind::InvalidValue));
    let verb = context(ContextKind::InvalidSubcommand);
    match error.kind() {
        ErrorKind::InvalidSubcommand => {
            let problem = Problem::new(Code::UnknownVerb, format!("there is no verb `{verb}`"));
            did_you_mean(problem, &context(ContextKind::SuggestedSubcommand))
        }
        ErrorKind::UnknownArgument => {
            let problem = Problem::new(Code::Usage, format!("unexpected argument `{arg}`"));
            did_you_mean(with_usage(problem, error), &context(ContextKind::SuggestedArg))
        }
        ErrorKind::InvalidValue if value.is_empty() => {
            with_usage(Problem::new(Code::Usage, format!("`{arg}` needs a value")), error)
        }
        ErrorKind::InvalidValue => {
            let problem = Problem::new(Code::BadArgument, format!("`{value}` is not a value of `{arg}`"));
            let allowed = context(ContextKind::ValidValue);
            if allowed.is_empty() { problem } else { problem.with_hint(format!("it is one of: {allowed}")) }
        }
        ErrorKind::ValueValidation => {
            let problem = Problem::new(Code::BadArgument, format!("`{value}` is not a value of `{arg}`"));
            match std::error::Error::source(error) {
                Some(source) => problem.with_cause(source.to_string()),
                None => problem,
            }
        }
        ErrorKind::MissingRequiredArgument => {
            with_usage(Problem::new(Code::Usage, format!("missing: `{}`", arg.replace(", ", "`, `"))), error)
        }
        ErrorKind::ArgumentConflict => {
            let other = context(ContextKind::PriorArg);
            with_usage(Problem::new(Code::Usage, format!("`{arg}` cannot be used together with `{other}`")), error)
        }
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            Problem::new(Code::Usage, "say what to do: the verb is missing")
        }
        _ => Problem::new(Code::Usage, first_line(&error.to_string())),
    }
}

/// Where nothing better is known, the manual of the verb that was meant, not of all.
fn with_manual(problem: Problem, args: &[OsString]) -> Problem {
    if problem.hint.as_deref() != Some(problem.code.hint()) || !matches!(problem.code, Code::Usage | Code::BadArgument)
    {
        return problem;
    }
    let (mut command, mut path) = (&Cli::command(), "syncra".to_owned());
    for arg in args.iter().skip(1).filter_map(|arg| arg.to_str()) {
        if let Some(below) = command.find_subcommand(arg) {
            path = format!("{path} {}", below.get_name());
            command = below;
        }
    }
    problem.with_hint(format!("see `{path} --help`"))
}

/// How the verb is called, as its manual says.
fn with_usage(problem: Problem, error: &clap::Error) -> Problem {
    let Some(usage) = error.get(ContextKind::Usage).map(ToString::to_string) else { return problem };
    let calls: Vec<&str> = usage.lines().map(|line| line.trim().trim_start_matches("Usage:").trim()).collect();
    let is_verb = |word: &&str| !word.starts_with(['[', '<', '-']);
    let verb: Vec<&str> = calls.first().into_iter().flat_map(|call| call.split(' ').take_while(is_verb)).collect();
    problem.with_hint(format!("it is `{}`; see `{} --help`", calls.join("` or `"), verb.join(" ")))
}

fn did_you_mean(problem: Problem, near: &str) -> Problem {
    // Of several the nearest comes last.
    let nearest = near.rsplit(", ").next().unwrap_or_default();
    if nearest.is_empty() { problem } else { problem.with_hint(format!("did you mean `{nearest}`?")) }
}

fn words(value: &ContextValue) -> String {
    match value {
        ContextValue::String(text) => text.clone(),
        ContextValue::Strings(texts) => texts.join(", "),
        other => other.to_string(),
    }
}

/// clap's own sentence without its `error: ` and usage block.
fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(line: &str) -> Problem {
        match parse(&std::iter::once("syncra").chain(line.split(' ')).map(OsString::from).collect::<Vec<_>>()) {
            Parsed::Wrong { problem, .. } => problem,
            Parsed::Run(cli) => panic!("`{line}` was taken for {cli:?}"),
            Parsed::Text { text, .. } => panic!("`{line}` printed {text}"),
        }
    }

    #[test]
    fn the_declaration_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn wrong_calls_name_what_is_wrong_and_the_nearest_right_thing() {
        let cases = [
            ("statsu", Code::UnknownVerb, "there is no verb `statsu`", "did you mean `status`?"),
            ("status --jsno", Code::Usage, "unexpected argument `--jsno`", "did you mean `--json`?"),
            ("status --timeout x", Code::BadArgument, "`x` is not a value of `--timeout <SECONDS>`", ""),
            ("status --timeout 0", Code::BadArgument, "`0` is not a value of `--timeout <SECONDS>`", ""),
            ("status --color red", Code::BadArgument, "`red` is not a value of `--color <WHEN>`", "always"),
            ("status -q -v", Code::Usage, "cannot be used together", ""),
            ("status --home", Code::Usage, "`--home <DIR>` needs a value", "see `syncra status --help`"),
            ("yank @a/b@1.0.0 --reason", Code::Usage, "needs a value", "see `syncra yank --help`"),
            ("token revoke", Code::Usage, "missing: `<ID>`", "see `syncra token revoke --help`"),
            ("blame", Code::Usage, "missing: `<PKG[@V]>`, `<PATH>`", "`syncra blame <PKG[@V]> <PATH>`"),
            (
                "yank @a/b@1.0.0",
                Code::Usage,
                "missing: `--reason <TEXT>`",
                "or `syncra yank [OPTIONS] --undo <PKG@VERSION>`",
            ),
            ("yank @a/b@1.0.0 --undo --reason x", Code::Usage, "cannot be used together", "see `syncra yank --help`"),
            ("--json", Code::Usage, "the verb is missing", "syncra --help"),
            ("frobnicate", Code::UnknownVerb, "there is no verb `frobnicate`", "syncra --help"),
        ];
        for (line, code, message, hint) in cases {
            let problem = wrong(line);
            assert_eq!(problem.code, code, "{line}");
            assert!(problem.message.contains(message), "{line}: {}", problem.message);
            assert!(problem.hint.unwrap_or_default().contains(hint), "{line}");
        }
    }

    #[test]
    fn every_verb_has_a_manual_with_examples() {
        fn visit(command: &clap::Command, path: &str) {
            let about = command.get_about().unwrap_or_else(|| panic!("{path} has no help")).to_string();
            assert!(about.lines().count() == 1 && !about.is_empty(), "{path}: {about}");
            let leaves = command.get_subcommands().count() == 0;
            let manual = command.get_long_about().map(ToString::to_string).unwrap_or_default();
            assert!(!leaves || manual.contains("Examples:\n"), "{path} has no examples");
            for below in command.get_subcommands() {
                visit(below, &format!("{path} {}", below.get_name()));
            }
        }
        Cli::command().get_subcommands().for_each(|verb| visit(verb, verb.get_name()));
    }
}
