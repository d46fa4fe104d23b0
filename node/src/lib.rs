//! The Syncra node.

pub mod api;
pub mod blobs;
pub mod cli;
pub mod clock;
pub mod config;
pub mod demo;
pub mod descriptors;
pub mod durable;
pub mod event;
pub mod flow;
pub mod history;
pub mod home;
pub mod incident;
pub mod index;
pub mod installed;
pub mod journal;
mod log_file;
pub mod logs;
pub mod net;
pub mod node;
pub mod problem;
pub mod progress;
pub mod proposals;
mod redial;
pub mod serve;
pub mod sync;
pub mod witness;
