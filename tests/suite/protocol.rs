//! The pure protocol from outside: frozen bytes, damaged input, histories in every order, machines in virtual time.
#![expect(clippy::unwrap_used, reason = "a test that unwraps nothing is a failed test")]

#[path = "protocol/content.rs"]
mod content;
#[path = "protocol/crowd.rs"]
mod crowd;
#[path = "protocol/decoders.rs"]
mod decoders;
#[path = "protocol/devices.rs"]
mod devices;
#[path = "protocol/entries.rs"]
mod entries;
#[path = "protocol/entry_samples.rs"]
mod entry_samples;
#[path = "protocol/fetch.rs"]
mod fetch;
#[path = "protocol/fetch_sim.rs"]
mod fetch_sim;
#[path = "protocol/fold.rs"]
mod fold;
#[path = "protocol/follow.rs"]
mod follow;
#[path = "protocol/follow_sim.rs"]
mod follow_sim;
#[path = "protocol/fork_points.rs"]
mod fork_points;
#[path = "protocol/forks.rs"]
mod forks;
#[path = "protocol/generated.rs"]
mod generated;
#[path = "protocol/heads.rs"]
mod heads;
#[path = "protocol/histories.rs"]
mod histories;
#[path = "protocol/lives.rs"]
mod lives;
#[path = "protocol/log.rs"]
mod log;
#[path = "protocol/made_up.rs"]
mod made_up;
#[path = "protocol/manifest_vectors.rs"]
mod manifest_vectors;
#[path = "protocol/messages.rs"]
mod messages;
#[path = "protocol/omission.rs"]
mod omission;
#[path = "protocol/oracle.rs"]
mod oracle;
#[path = "protocol/path_oracle.rs"]
mod path_oracle;
#[path = "protocol/path_vectors.rs"]
mod path_vectors;
#[path = "protocol/quorum.rs"]
mod quorum;
#[path = "protocol/record_vectors.rs"]
mod record_vectors;
#[path = "protocol/redact.rs"]
mod redact;
#[path = "protocol/roles.rs"]
mod roles;
#[path = "protocol/shared.rs"]
mod shared;
#[path = "protocol/team.rs"]
mod team;
#[path = "protocol/teams.rs"]
mod teams;
#[path = "protocol/text_decoders.rs"]
mod text_decoders;
