//! Does the program compile for Windows? Most who play are there, and this is not their machine.

use std::process::Command;

use crate::run::{root, say, succeeded, target_dir};
use crate::{debian, wine};

/// What is compiled for: the C parts by the MinGW compiler, which Debian has.
const TARGET: &str = "x86_64-pc-windows-gnu";

/// Lints library and program for Windows; where the target or its compiler cannot be had, says so.
///
/// # Errors
/// A text for people: it does not compile, or with `required` it cannot be told.
pub(crate) fn check(required: bool) -> Result<(), String> {
    if let Err(why) = install() {
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

/// Builds the program for Windows and tries it under Wine.
///
/// # Errors
/// A text for people: something is missing, it does not build, or it does not do what it should.
pub(crate) fn try_out() -> Result<(), String> {
    install()?;
    debian::install(debian::WINE)?;
    let status = Command::new(env!("CARGO"))
        .args(["build", "--locked", "--package", "syncra-node", "--bin", "syncra", "--target", TARGET])
        .current_dir(root())
        .status();
    succeeded("cargo build for Windows", status)?;
    let target = target_dir().parent().map(|dir| dir.join(TARGET).join("debug"));
    wine::try_out(&target.ok_or("no target directory")?.join("syncra.exe"))
}

fn install() -> Result<(), String> {
    install_target()?;
    debian::install(debian::WINDOWS)
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
