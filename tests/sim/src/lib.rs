//! Many nodes made of the real protocol, in virtual time, over a network that fails, with disks that fail, from one seed.
//!
//! Written down in `docs/design/sim.md`. The building blocks are shared with the simulations of single machines in
//! `tests/suite/protocol`.
//!
//! | file | holds |
//! |---|---|
//! | [`rng`] | seeded numbers |
//! | [`net`] | virtual time, and links that delay, lose, reorder and part |
//! | [`world`] | synthetic writers and what they say |
//! | [`disk`] | journal, entries and blobs, lost at a power cut unless synced |
//! | [`wire`] | frames of the real messages |
//! | [`node`] | the real machines, and the real node's steps around them |
//! | [`scenario`] | what goes wrong in a run |
//! | [`sim`] | the universe of one run |
//! | [`check`] | the oracle with its invariants |
//! | [`trace`] | the hash of everything that happens |
//! | [`hunt`] | many runs, and the smallest that still fails |
//! | [`gossip`] | notices in a crowd of which some mean harm: runs of their own |

pub mod check;
pub mod disk;
pub mod gossip;
pub mod hunt;
pub mod net;
pub mod node;
pub mod rng;
pub mod scenario;
pub mod sim;
pub mod trace;
pub mod wire;
pub mod world;
