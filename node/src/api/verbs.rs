//! The verbs, one file for each family: what is asked, what is answered, and the work.

pub mod config;
pub mod get;
pub mod packages;
pub mod publish;
pub mod status;
pub mod token;
