//! What the verbs do, one file each: free functions over the node's [`Parts`], none of which keeps state of its own.

pub mod adopt;
pub mod backup;
pub mod blame;
pub mod catalogue;
pub mod checkout;
pub mod contact;
pub mod content;
pub mod devices;
pub mod diff;
pub mod doctor;
pub mod draft;
#[cfg(test)]
pub(crate) mod fixture;
pub mod follow;
pub mod fork;
pub mod gc;
pub mod get;
pub mod git;
pub mod heal;
pub mod identity;
pub mod install;
pub mod integrity;
pub mod manifest;
pub mod merge;
pub mod own;
pub mod pack;
pub mod pair;
pub mod peek;
pub mod propose;
pub mod publish;
pub mod reach;
pub mod redact;
pub mod refs;
pub mod regard;
pub mod release;
pub mod resolve;
pub mod roles;
pub mod search;
pub mod secrets;
pub mod seek;
pub mod share;
pub mod syncpack;
pub mod tiles;
pub mod unpack;
pub mod verify;
pub mod walk;
pub mod yank;

mod lines;
mod parts;
mod stage;

pub use parts::{Parts, StartError};
