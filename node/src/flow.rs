//! What the verbs do, one file each.

pub mod secrets;
pub mod walk;
