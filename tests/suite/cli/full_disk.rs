//! A full disk: nothing is lost, the answer is exit 9, and collection frees space at 0 bytes.
#![cfg(target_os = "linux")]

use std::process::Command;

use syncra_tests::crash::{fail_from, is_permitted};
use syncra_tests::{Home, Output, skip, syncra_bin};

use crate::releases::{package, publish};

/// What every story begins with, inside a mount namespace: the home is on a tmpfs of 120 MiB at `$disk`.
const BEGIN: &str = r#"
set -u
disk=$WORK/disk
mkdir -p "$disk"
mount -t tmpfs -o size=120m tmpfs "$disk" || exit 99
export SYNCRA_HOME=$disk/home SYNCRA_LAN_PORT=0
say() { echo "$@"; }
run() { "$SYNCRA" "$@" >"$WORK/out" 2>"$WORK/err"; code=$?; say "$1 $code"; [ $code = 0 ] || cat "$WORK/err" >&2; }
pkg() { # name version bytes
  mkdir -p "$WORK/$1"
  printf '[package]\nname = "%s"\nversion = "%s"\nkind = "asset"\n' "$1" "$2" >"$WORK/$1/syncra.toml"
  head -c "$3" /dev/urandom >"$WORK/$1/data"
}
free() { df --output=avail -B1 "$disk" | tail -1; }
fill() { # bytes to leave free
  head -c $(($(free) - $1)) /dev/zero >"$disk/filler"
}
# To the last byte: also what a page more would take.
fill_all() { cat /dev/zero >"$disk/filler" 2>/dev/null; }
reserve() { [ -e "$SYNCRA_HOME/reserve" ] && say reserve "$1" there || say reserve "$1" gone; }
"#;

/// Tells a story; its lines, or none where that cannot be done.
fn tell(name: &str, story: &str) -> Option<Vec<String>> {
    let home = Home::new();
    let mut shell = Command::new("unshare");
    shell.args(["-Urm", "sh", "-c", &format!("{BEGIN}{story}")]);
    shell.env("WORK", home.work()).env("SYNCRA", syncra_bin());
    if !Command::new("unshare").args(["-Urm", "true"]).status().is_ok_and(|status| status.success()) {
        skip(name, "no user namespaces here");
        return None;
    }
    let told = Output::of(shell);
    if told.code == 99 {
        skip(name, "no tmpfs can be mounted here");
        return None;
    }
    assert_eq!(told.code, 0, "{} {}", told.stdout, told.stderr);
    let mut lines: Vec<String> = told.stdout.lines().map(str::to_owned).collect();
    lines.push(told.stderr);
    Some(lines)
}

/// The story went exactly so.
fn assert_story(lines: Option<Vec<String>>, expected: &str) {
    let Some(mut lines) = lines else { return };
    let said = lines.pop().unwrap_or_default();
    let expected: Vec<&str> = expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    assert_eq!(lines, expected, "{said}");
}

#[test]
fn a_full_disk_is_told_loses_nothing_and_is_freed_by_gc() {
    let story = r#"
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
say free $(free)
pkg other 1.0.0 1000
run publish "$WORK/other" --yes
run rollback
run gc
run publish "$WORK/other" --yes
run add "$small"
run get "$small" -o "$WORK/got"
cmp "$WORK/got/data" "$WORK/small/data" && say same
run verify
"#;
    assert_story(
        tell("a_full_disk_is_told_loses_nothing_and_is_freed_by_gc", story),
        "publish 0
        add 0
        publish 9
        list 0
        free 0
        publish 9
        rollback 9
        gc 0
        publish 0
        add 0
        get 0
        same
        verify 0",
    );
}

#[test]
fn fetching_and_importing_on_a_full_disk_lose_nothing_and_go_on_when_there_is_room() {
    // Somebody else's node, on another disk; here a node too, whose reserve is made when it starts.
    let story = r#"
start() { # home; the ready line goes to out.home
  "$SYNCRA" up --listen /ip4/127.0.0.1/tcp/0 --json --home "$1" >"$WORK/ready" 2>>"$WORK/log" &
  pid=$!
  while ! [ -s "$WORK/ready" ]; do kill -0 $pid || exit 98; done
}
pkg small 1.0.0 100000
pkg large 1.0.0 20000000
alice=$WORK/alice
for name in small large; do
  "$SYNCRA" publish "$WORK/$name" --yes --home "$alice" >"$WORK/out" || exit 97
  export "$name=$(sed -n 's/^published: //p' "$WORK/out")"
done
"$SYNCRA" export "$large" -o "$WORK/large.syncpack" --home "$alice" >"$WORK/out" || exit 96
start "$alice"
alice_pid=$pid address=$(sed 's/.*"listen":\["\([^"]*\)".*/\1/' "$WORK/ready")
trap 'kill $alice_pid $bob_pid 2>/dev/null' EXIT
rm "$WORK/ready"
start "$SYNCRA_HOME"
bob_pid=$pid
reserve "at first"
run connect "$address"
run add "$small"
# Room, but what is to be left alone.
fill 45000000
run get "$large" -o "$WORK/got"
run add "$large"
run import "$WORK/large.syncpack"
reserve "while there is room"
# No room at all.
fill_all
run get "$large" -o "$WORK/got"
reserve "on a full disk"
fill_all
say free $(free)
run add "$large"
run import "$WORK/large.syncpack"
run list
run get "$small" -o "$WORK/small-got"
rm "$disk/filler"
run add "$large"
run get "$large" -o "$WORK/got"
cmp "$WORK/got/data" "$WORK/large/data" && say same
run import "$WORK/large.syncpack"
run verify
run doctor
kill -TERM $bob_pid; wait $bob_pid; say bob $?
run list
run verify
kill -TERM $alice_pid; wait $alice_pid; say alice $?
trap - EXIT
"#;
    assert_story(
        tell("fetching_and_importing_on_a_full_disk", story),
        "reserve at first there
        connect 0
        add 0
        get 9
        add 9
        import 9
        reserve while there is room there
        get 9
        reserve on a full disk gone
        free 0
        add 9
        import 9
        list 0
        get 0
        add 0
        get 0
        same
        import 0
        verify 0
        doctor 1
        bob 0
        list 0
        verify 0
        alice 0",
    );
}

#[test]
fn an_install_that_fills_the_disk_leaves_the_old_state_and_no_rest() {
    // Ten thousand files of one byte take a page each: more than is reckoned with.
    let story = r#"
pkg lamp 1.0.0 1000
run publish "$WORK/lamp" --yes
lamp=$(sed -n 's/^published: //p' "$WORK/out")
run add "${lamp%@*}"
pkg lamp 2.0.0 1000
for i in $(seq 100); do
  mkdir "$WORK/lamp/$i"
  for j in $(seq 100); do printf x >"$WORK/lamp/$i/$j"; done
done
run publish "$WORK/lamp" --yes
"$SYNCRA" gc >/dev/null
reserve "at first"
fill 20000000
run update
tail -1 "$WORK/err" >&2
say current $(cat "$SYNCRA_HOME/installed/current")
say staging $(find "$SYNCRA_HOME/installed/staging" -type f | wc -l)
run list
rm "$disk/filler"
run update
say current $(cat "$SYNCRA_HOME/installed/current")
run verify
"#;
    assert_story(
        tell("an_install_that_fills_the_disk", story),
        "publish 0
        add 0
        publish 0
        reserve at first there
        update 9
        current 1
        staging 0
        list 0
        update 0
        current 2
        verify 0",
    );
}

#[test]
fn a_home_on_a_full_or_read_only_disk_says_so_at_start() {
    let story = r#"
pkg lamp 1.0.0 100000
run publish "$WORK/lamp" --yes
lamp=$(sed -n 's/^published: //p' "$WORK/out")
fill_all
run list
run get "$lamp" -o "$WORK/got"
run doctor --offline
say $(sed -n 's/^BAD *\([a-z]*\):.*/bad \1/p' "$WORK/out")
export SYNCRA_HOME=$disk/new
run list
run doctor --offline
say $(sed -n 's/^BAD *\([a-z]*\):.*/bad \1/p' "$WORK/out")
export SYNCRA_HOME=$disk/home
rm -r "$disk/filler" "$disk/new"
run get "$lamp" -o "$WORK/again"
mount -o remount,ro "$disk" || exit 99
run list
run up
run publish "$WORK/lamp" --yes
export SYNCRA_HOME=$disk/new
run list
export SYNCRA_HOME=$disk/home
mount -o remount,rw "$disk"
run verify
"#;
    assert_story(
        tell("a_home_on_a_full_or_read_only_disk", story),
        "publish 0
        list 0
        get 0
        doctor 1
        bad index bad disk
        list 9
        doctor 1
        bad home
        get 0
        list 4
        up 4
        publish 4
        list 4
        verify 0",
    );
}

/// It says nothing about a database that no more can be written to it.
#[test]
fn a_disk_that_refuses_to_be_written_while_blobs_are_opened_sets_no_database_aside() {
    if !is_permitted() {
        return skip("a_disk_that_refuses_to_be_written", "processes may not be traced here");
    }
    let home = Home::new();
    package(&home, "lamp", "1.0.0", &"turn() ".repeat(10_000));
    publish(&home, "lamp");
    let database = home.path().join("blobs/blobs.db");
    let aside = || {
        let names = std::fs::read_dir(home.path().join("blobs")).expect("readable");
        let names = names.map(|name| name.expect("read").file_name().to_string_lossy().into_owned());
        names.filter(|name| name.contains("damaged")).collect::<Vec<_>>()
    };
    let verify = home.command(["verify", "--offline"]);
    let clean = std::fs::read(&database).expect("readable");
    for (error, exit) in [("ENOSPC", 9), ("EIO", 1)] {
        let mut refused = 0;
        for n in 1.. {
            // The check writes more to one that was not closed, and would be refused before the library is.
            std::fs::write(&database, &clean).expect("written");
            let output = fail_from(&verify, &database, "pwrite64", error, n);
            assert_eq!(aside(), Vec::<String>::new(), "{error} at write {n}");
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            match output.status.code() {
                Some(0) => break,
                code => assert_eq!(code, Some(exit), "{error} at write {n}: {said}"),
            }
            refused += 1;
        }
        assert!(refused > 4, "the check and the library write to it, {refused}");
        assert_eq!(home.run(["verify", "--offline"]).code, 0);
    }
}
