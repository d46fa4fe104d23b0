//! The Debian packages that the tests call, installed when they are missing and we may.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::run::say;

/// (program or file looked for, Debian package, what needs it)
type Needed = (&'static str, &'static str, &'static str);

const TESTS: &[Needed] = &[
    ("python3", "python3", "the independent decoders and the path oracle"),
    ("ip", "iproute2", "hosts in network namespaces"),
    ("nft", "nftables", "the firewalls of those hosts"),
    ("miniupnpd", "miniupnpd-nftables", "a router that forwards ports to those who ask"),
    ("strace", "strace", "kills at the n-th event and the recorder of writes"),
    ("git", "git", "repositories that are imported and exported"),
    ("go", "golang-go", "the auditor of logs that is not ours"),
    ("/usr/share/gocode/src/golang.org/x/mod/sumdb/tlog/tlog.go", "golang-golang-x-mod-dev", "the same"),
];
/// What compiling for Windows needs.
pub(crate) const WINDOWS: &[Needed] =
    &[("x86_64-w64-mingw32-gcc", "gcc-mingw-w64-x86-64", "C parts of libraries, compiled for Windows")];
/// What trying it there needs.
pub(crate) const WINE: &[Needed] = &[("wine", "wine", "Windows, as far as it goes"), ("wine", "wine64", "the same")];

/// Installs what the tests need and is missing, or says what to install.
///
/// # Errors
/// A text that names the packages when they are missing and cannot be installed from here.
pub(crate) fn install_missing() -> Result<(), String> {
    install(TESTS)
}

/// Installs what of these is missing, or says what to install.
///
/// # Errors
/// A text that names the packages when they are missing and cannot be installed from here.
pub(crate) fn install(needed: &[Needed]) -> Result<(), String> {
    let missing: Vec<_> = needed.iter().filter(|(program, ..)| !on_path(program)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = missing.iter().map(|(_, package, _)| *package).collect();
    for (program, package, why) in &missing {
        say(&format!("`{program}` is missing: it is in the package {package}, needed for {why}"));
    }
    let by_hand = format!("install them, then try again: apt-get install {}", packages.join(" "));
    if !on_path("apt-get") || !is_root() {
        return Err(by_hand);
    }
    let apt = |args: &[&str]| {
        Command::new("apt-get").args(args).env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null()).status()
    };
    // The lists may be absent on a fresh machine; a failed update only matters if the install then fails.
    let _ = apt(&["update", "-qq"]);
    let mut install = vec!["install", "-y", "-qq", "--no-install-recommends"];
    install.extend(&packages);
    match apt(&install) {
        Ok(status) if status.success() => Ok(()),
        _ => Err(by_hand),
    }
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // `ip` lives in sbin, which is not on everybody's PATH.
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(Into::into))
        .any(|dir| Path::new(&dir).join(program).is_file())
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|out| out.stdout == b"0\n")
}
