//! What a power cut, a kill and a damaged disk leave of a home, tried on the real program from outside.
#![cfg(target_os = "linux")]

#[path = "faults/model.rs"]
mod model;
