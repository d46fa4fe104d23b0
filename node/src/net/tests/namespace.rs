//! Tests that run themselves again in network namespaces of their own.

#![cfg(target_os = "linux")]

use std::process::Command;

/// Says inside a namespace which part of the test a process plays.
pub(super) const ROLE: &str = "SYNCRA_TEST_ROLE";

/// Runs `test` again in new namespaces with loopback up, as `first`; `false` inside, where the test goes on.
pub(super) fn ran_in_a_namespace(test: &str) -> bool {
    if std::env::var_os(ROLE).is_some() {
        return false;
    }
    let may = Command::new("unshare").args(["-Urn", "ip", "link", "set", "lo", "up"]).output();
    if !may.as_ref().is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: no user namespaces here ({may:?})");
        return true;
    }
    let me = std::env::current_exe().expect("this test's program");
    let script = r#"ip link set lo up && exec "$0" --exact "$1" --nocapture --test-threads 1"#;
    let status = Command::new("unshare")
        .args(["-Urn", "sh", "-c", script])
        .arg(me)
        .arg(test)
        .env(ROLE, "first")
        .status()
        .expect("runs");
    assert!(status.success(), "failed inside the namespace");
    true
}

/// Runs `ip` with these arguments.
pub(super) fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split(' ')).output().expect("`ip` runs");
    assert!(output.status.success(), "ip {arguments}: {output:?}");
}
