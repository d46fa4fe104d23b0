//! Stock libp2p nodes and garbage.
