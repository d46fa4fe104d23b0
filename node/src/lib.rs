//! The Syncra node.

pub mod blobs;
pub mod flow;
pub mod net;
