//! The pure protocol from outside: frozen bytes, damaged input, histories in every order, machines in virtual time.
#![expect(clippy::unwrap_used, reason = "a test that unwraps nothing is a failed test")]

#[path = "protocol/decoders.rs"]
mod decoders;
#[path = "protocol/entries.rs"]
mod entries;
#[path = "protocol/entry_samples.rs"]
mod entry_samples;
#[path = "protocol/messages.rs"]
mod messages;
