//! A node among peers that only cost: it stays within its bounds, and who is honest is served. How much slower that is,
//! `tests/bench/crowd.rs` measures.
#![cfg(target_os = "linux")]

use std::process::Command;

use serde_json::json;

use crate::crowd;

/// Memory of a node in a crowd: with room for a debug build on a machine that does other things.
const RSS_KIB: u64 = 1 << 20;
/// Open files: connections, and what a node has open anyway.
const FILES: usize = 512 + 256;

fn assert_bounded(figures: &crowd::Figures) {
    let crowd::Figures { rss_kib, n_files, status, gathering, .. } = figures;
    assert!(!gathering.is_zero(), "nobody came");
    assert!(*rss_kib < RSS_KIB && *n_files < FILES, "{figures:?}");
    // Nothing broke.
    assert_eq!(status.get("troubles").unwrap_or(&json!([])), &json!([]), "{figures:?}");
}

#[test]
fn two_hundred_peers_that_never_answer_stop_no_fetch() {
    let figures = crowd::tarpits(200, 24 << 20, 1);
    eprintln!("{:?} without, {:?} with, {} KiB", figures.clean[0], figures.crowded[0], figures.rss_kib);
    // All were there when the fetch began; on a busy machine some are sent away before it ends, as they should be.
    assert_bounded(&figures);
}

#[test]
fn idle_connections_stop_no_fetch() {
    let helper = || {
        let mut command = Command::new(std::env::current_exe().expect("this test is a file"));
        command.args(["--exact", "endurance::is_a_crowd", "--nocapture", "--test-threads", "1"]);
        command
    };
    let figures = crowd::idle(500, 2 << 20, 2, helper);
    eprintln!("{:?} without, {:?} with, {} KiB", figures.clean, figures.crowded, figures.rss_kib);
    assert_bounded(&figures);
}

/// Only where a test above has started this again.
#[test]
fn is_a_crowd() {
    crowd::was_crowd();
}
