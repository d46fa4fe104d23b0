//! The `syncra` program: arguments in, exit code out. Everything else is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(syncra_node::cli::main(std::env::args_os()))
}
