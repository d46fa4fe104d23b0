//! The command line as scripts and people meet it: the real program, exit codes, JSON, bad input.

#[path = "cli/care.rs"]
mod care;
#[path = "cli/daemon.rs"]
mod daemon;
#[path = "cli/homes.rs"]
mod homes;
#[path = "cli/packages.rs"]
mod packages;
#[path = "cli/releases.rs"]
mod releases;
#[path = "cli/settings.rs"]
mod settings;
#[path = "cli/usage.rs"]
mod usage;
