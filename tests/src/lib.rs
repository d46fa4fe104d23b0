//! What the suites share.

#[cfg(target_os = "linux")]
pub mod crash;
#[cfg(target_os = "linux")]
pub mod hosts;
pub mod program;
pub mod proxy;
pub mod zone;

pub use program::{Home, Node, Output, syncra_bin};
pub use proxy::{Proxy, Trip};

/// Notes that a test could not run here, and why; `cargo xtask test` counts these.
///
/// # Panics
/// When the runner's list cannot be written: a skip that nobody counts would be a silent pass.
#[expect(clippy::print_stderr, reason = "seen by who runs one test by hand")]
pub fn skip(test: &str, why: &str) {
    use std::io::Write as _;
    eprintln!("SKIPPED {test}: {why}");
    if let Some(list) = std::env::var_os("SYNCRA_SKIPPED") {
        let mut list = std::fs::OpenOptions::new().create(true).append(true).open(list).expect("the list of skips");
        writeln!(list, "{test}: {why}").expect("the list of skips");
    }
}
