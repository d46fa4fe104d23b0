//! The Syncra node.

pub mod flow;
