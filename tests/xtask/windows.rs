//! Does the program compile for Windows? Most who play are there, and this is not their machine.

use std::process::Command;

use crate::debian;
use crate::run::{root, say, succeeded};

/// What is compiled for: the C parts by the MinGW compiler, which Debian has.
const TARGET: &str = "x86_64-pc-windows-gnu";

/// Lints library and program for Windows; where the target or its compiler cannot be had, says so.
///
/// # Errors
/// A text for people: it does not compile, or with `required` it cannot be told.
pub(crate) fn check(required: bool) -> Result<(), String> {
    if let Err(why) = install_target().and_then(|()| debian::install(debian::WINDOWS)) {
        let said = format!("NOT CHECKED for Windows: {why}");
        if required {
            return Err(said);
        }
        say(&said);
        return Ok(());
    }
    // Lints see what stands behind `cfg(not(unix))`, too, and cost no more than the check that they include.
    let status = Command::new(env!("CARGO"))
        .args(["clippy", "--locked", "--package", "syncra-node", "--lib", "--bins", "--target", TARGET])
        .args(["--", "-D", "warnings"])
        .current_dir(root())
        .status();
    succeeded("cargo clippy for Windows", status)?;
    say("checked for Windows: it compiles");
    Ok(())
}

fn install_target() -> Result<(), String> {
    let rustup = |args: &[&str]| Command::new("rustup").args(args).current_dir(root()).output();
    let installed = rustup(&["target", "list", "--installed"]).map_err(|error| format!("no rustup: {error}"))?;
    if String::from_utf8_lossy(&installed.stdout).lines().any(|line| line == TARGET) {
        return Ok(());
    }
    match rustup(&["target", "add", TARGET]) {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default().trim().to_owned();
            Err(format!("`rustup target add {TARGET}` failed: {last}"))
        }
        Err(error) => Err(format!("no rustup: {error}")),
    }
}
