//! The command line as scripts and people meet it: the real program, exit codes, JSON, bad input.

#[path = "cli/bad_input.rs"]
mod bad_input;
#[path = "cli/care.rs"]
mod care;
#[path = "cli/changes.rs"]
mod changes;
#[path = "cli/daemon.rs"]
mod daemon;
#[path = "cli/devices.rs"]
mod devices;
#[path = "cli/doctor.rs"]
mod doctor;
#[path = "cli/drafts.rs"]
mod drafts;
#[path = "cli/full_disk.rs"]
mod full_disk;
#[path = "cli/git.rs"]
mod git;
#[path = "cli/git_cache.rs"]
mod git_cache;
#[path = "cli/heal.rs"]
mod heal;
#[path = "cli/homes.rs"]
mod homes;
#[path = "cli/install.rs"]
mod install;
#[path = "cli/integrity.rs"]
mod integrity;
#[path = "cli/live.rs"]
mod live;
#[path = "cli/merge.rs"]
mod merge;
#[path = "cli/needs.rs"]
mod needs;
#[path = "cli/network.rs"]
mod network;
#[path = "cli/packages.rs"]
mod packages;
#[path = "cli/redact.rs"]
mod redact;
#[path = "cli/releases.rs"]
mod releases;
#[path = "cli/roles.rs"]
mod roles;
#[path = "cli/settings.rs"]
mod settings;
#[path = "cli/tiles.rs"]
mod tiles;
#[path = "cli/usage.rs"]
mod usage;
