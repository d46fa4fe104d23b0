//! Real nodes and the wire between them: fetches that are interrupted, peers that lie, hosts of their own.

#[path = "network/blocks.rs"]
mod blocks;
#[path = "network/contact.rs"]
mod contact;
#[cfg(target_os = "linux")]
#[path = "network/crowd.rs"]
mod crowd;
#[path = "network/dht.rs"]
mod dht;
#[path = "network/diff.rs"]
mod diff;
#[path = "network/doors.rs"]
mod doors;
#[path = "network/endurance.rs"]
mod endurance;
#[path = "network/hosts.rs"]
mod hosts;
#[path = "network/interrupted.rs"]
mod interrupted;
#[path = "network/liar.rs"]
mod liar;
#[path = "network/lies.rs"]
mod lies;
#[path = "network/log.rs"]
mod log;
#[path = "network/nat.rs"]
mod nat;
#[path = "network/pairing.rs"]
mod pairing;
#[path = "network/people.rs"]
mod people;
#[path = "network/proposals.rs"]
mod proposals;
#[path = "network/redact.rs"]
mod redact;
#[path = "network/roaming.rs"]
mod roaming;
#[path = "network/roles.rs"]
mod roles;
#[path = "network/witnesses.rs"]
mod witnesses;
