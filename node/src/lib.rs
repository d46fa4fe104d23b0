//! The Syncra node.
