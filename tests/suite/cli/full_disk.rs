//! A full disk: nothing is lost, the answer is exit 9, and collection frees space at 0 bytes.
#![cfg(target_os = "linux")]

use std::process::Command;

use syncra_tests::{Home, Output, skip, syncra_bin};

/// A story on a small file system of its own, told by a shell inside a mount namespace.
///
/// `SYNCRA` is the program, the home is on a tmpfs of 120 MiB at `$disk`.
const STORY: &str = r#"
set -u
disk=$WORK/disk
mkdir -p "$disk"
mount -t tmpfs -o size=120m tmpfs "$disk" || exit 99
export SYNCRA_HOME=$disk/home
say() { echo "$@"; }
run() { "$SYNCRA" "$@" >"$WORK/out" 2>"$WORK/err"; say "$1 $?"; }
pkg() { # name version bytes
  mkdir -p "$WORK/$1"
  printf '[package]\nname = "%s"\nversion = "%s"\nkind = "asset"\n' "$1" "$2" >"$WORK/$1/syncra.toml"
  head -c "$3" /dev/urandom >"$WORK/$1/data"
}
pkg small 1.0.0 100000
run publish "$WORK/small" --yes
small=$(sed -n 's/^published: //p' "$WORK/out")
run add "$small"
# More than there is: refused before anything is written.
pkg large 1.0.0 100000000
run publish "$WORK/large" --yes
run list
# An old directory that nothing names takes what is left, to the last byte.
mkdir -p "$SYNCRA_HOME/installed/store/old"
cat /dev/zero >"$SYNCRA_HOME/installed/store/old/fill" 2>/dev/null
say free $(df --output=avail -B1 "$disk" | tail -1)
pkg other 1.0.0 1000
run publish "$WORK/other" --yes
run rollback
run gc
say freed $(df --output=avail -BM "$disk" | tail -1)
run publish "$WORK/other" --yes
run add "$small"
run get "$small" -o "$WORK/got"
cmp "$WORK/got/data" "$WORK/small/data" && say same
"#;

#[test]
fn a_full_disk_is_told_loses_nothing_and_is_freed_by_gc() {
    let home = Home::new();
    let mut story = Command::new("unshare");
    story.args(["-Urm", "sh", "-c", STORY]).env("WORK", home.work()).env("SYNCRA", syncra_bin());
    if !Command::new("unshare").args(["-Urm", "true"]).status().is_ok_and(|status| status.success()) {
        return skip("a_full_disk_is_told_loses_nothing_and_is_freed_by_gc", "no user namespaces here");
    }
    let told = Output::of(story);
    if told.code == 99 {
        return skip("a_full_disk_is_told_loses_nothing_and_is_freed_by_gc", "no tmpfs can be mounted here");
    }
    let error = std::fs::read_to_string(home.work().join("err")).unwrap_or_default();
    let lines: Vec<&str> = told.stdout.lines().collect();
    let expected = [
        "publish 0",
        "add 0",
        "publish 9",
        "list 0",
        "free 0",
        "publish 9",
        "gc 0",
        "publish 0",
        "add 0",
        "get 0",
        "same",
    ];
    for line in expected {
        assert!(lines.contains(&line), "no `{line}` in {lines:?}; {error} {}", told.stderr);
    }
}
