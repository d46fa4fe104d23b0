//! Many tables in one thread, in virtual time and from one seed: the real [`Dht`](super::Dht), [`Records`](super::Records)
//! and searches of each node, and of the library everything but its streams, for which [`carrier`] stands. A look-up among
//! 10,000 nodes costs milliseconds so, and everybody can go, or lie, at will.
//!
//! What it measures stands in `docs/PERFORMANCE.md`:
//! `SYNCRA_TABLE_NODES=100,1000 cargo test -p syncra-node --lib dht::sim::figures -- --nocapture --test-threads 1`.

mod carrier;
mod figures;
mod network;
mod node;
mod tests;

use super::Part;

/// Along how many paths a query goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lookups {
    /// As configured: no peer is on two of them.
    Disjoint,
    /// The library's own way, to compare.
    Joint,
}
