//! What a power cut, a kill and a damaged disk leave of a home, tried on the real program from outside.
//!
//! `cargo xtask faults --trials N` runs N trials of each kind; without it a share that takes a few minutes.
#![cfg(target_os = "linux")]

#[path = "faults/check.rs"]
mod check;
#[path = "faults/damage.rs"]
mod damage;
#[path = "faults/kill.rs"]
mod kill;
#[path = "faults/lab.rs"]
mod lab;
#[path = "faults/merge.rs"]
mod merge;
#[path = "faults/model.rs"]
mod model;
#[path = "faults/power_cut.rs"]
mod power_cut;
#[path = "faults/scenario.rs"]
mod scenario;
#[path = "faults/state.rs"]
mod state;
