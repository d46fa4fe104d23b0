//! What the suites share.

#[cfg(target_os = "linux")]
pub mod crash;
#[cfg(target_os = "linux")]
pub mod hosts;
pub mod program;
pub mod proxy;
pub mod zone;

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU8, Ordering};

pub use program::{Home, Node, Output, syncra_bin};
pub use proxy::{Proxy, Trip};

/// An address of this machine that nobody else listens on: a port of it that is given up stays free, and can be had again. Of
/// `127.0.0.1` it goes to whoever asks for any.
#[must_use]
pub fn own_ip() -> Ipv4Addr {
    static NEXT: AtomicU8 = AtomicU8::new(128);
    // Elsewhere loopback has this one address only.
    if !cfg!(any(target_os = "linux", windows)) {
        return Ipv4Addr::LOCALHOST;
    }
    let [.., high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, NEXT.fetch_add(1, Ordering::Relaxed), high, low)
}

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
