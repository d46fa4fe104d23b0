//! The verbs, one file for each family: what is asked, what is answered, and the work.

pub mod config;
pub mod devices;
pub mod diff;
pub mod doctor;
mod find;
pub mod follow;
pub mod gc;
pub mod get;
pub mod git;
pub mod identity;
pub mod install;
pub mod network;
pub mod open;
pub mod packages;
pub mod pair;
pub mod publish;
pub mod refs;
pub mod search;
pub mod share;
pub mod status;
pub mod syncpack;
pub mod tiles;
pub mod token;
pub mod trace;
pub mod verify;
pub mod witness;
pub mod yank;
