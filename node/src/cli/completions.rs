//! `syncra completions`

use clap::CommandFactory;
use clap_complete::Shell;

use super::context::Context;
use crate::problem::{Code, Problem};

/// Print a completion script for a shell
///
/// Examples:
///   syncra completions bash > ~/.local/share/bash-completion/completions/syncra
///   syncra completions zsh > ~/.zfunc/_syncra
///   syncra completions fish > ~/.config/fish/completions/syncra.fish
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// Which shell
    #[arg(value_name = "SHELL", value_enum)]
    shell: Shell,
}

impl Args {
    pub(super) fn run(self, context: &Context) -> Result<(), Problem> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut super::Cli::command(), "syncra", &mut script);
        let script = String::from_utf8(script).map_err(|error| Problem::from_error(Code::Bug, &error))?;
        context.ui().data("completions", &script, Clone::clone)
    }
}
