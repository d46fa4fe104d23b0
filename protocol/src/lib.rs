//! The Syncra protocol: ids, names, packages, signed Merkle logs, folds and the sync machines.
//!
//! This crate decides and never performs: it has no sockets, files, tasks, clock or randomness.
//! Time comes in as [`Timestamp`], random bytes as arguments, effects go out as values.
//! A test over the dependency list and clippy's disallowed types keep it so.
//!
//! | start here | for |
//! |---|---|
//! | [`id`], [`name`], [`path`], [`version`], [`mod@reference`], [`link`] | what things are called |
//! | [`manifest`] | what the author wrote about a package |
//! | [`limits`] | every bound, with the attack or cost that it stops |
//! | [`codec`], [`key`] | canonical bytes, Ed25519 |
//! | [`entry`] | what logs consist of |
//! | [`tree`] | what a release's files are, how they are packed, fetched and spliced |
//! | [`log`], [`log::checkpoint`], [`log::fork`] | one writer's Merkle log, its verified heads, evidence against it |
//! | [`evidence`], [`fold`] | which logs speak for a package, what they say together |
//! | [`message`], [`record`] | what nodes say to each other, and through the distributed hash table |
//! | [`proposal`] | what anybody proposes to a package, and thinks of that |
//! | [`sync`] | the machines that ask, verify and fetch |

pub mod bounded;
pub mod codec;
pub mod entry;
pub mod evidence;
pub mod fold;
pub mod id;
pub mod key;
pub mod limits;
pub mod link;
pub mod log;
pub mod manifest;
pub mod message;
pub mod name;
pub mod origin;
pub mod path;
pub mod proposal;
pub mod record;
pub mod reference;
pub mod sync;
mod text;
pub mod time;
pub mod tree;
pub mod version;

pub use time::Timestamp;
