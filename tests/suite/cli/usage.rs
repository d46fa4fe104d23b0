//! Wrong calls, help, output.

use std::process::Stdio;

use syncra_tests::{Home, Output};

#[test]
fn wrong_calls_exit_2_with_a_hint_and_nothing_on_stdout() {
    let home = Home::new();
    for (args, code, hint) in [
        (&["--nonsense"][..], "E0200", ""),
        (&["status", "--jsom"], "E0200", "--json"),
        (&["doctr"], "E0201", "`doctor`"),
        (&["publsih"], "E0201", ""),
        (&[], "E0200", "--help"),
        (&["status", "--timeout", "-1"], "E0200", ""),
        (&["status", "--timeout", "soon"], "E0202", ""),
        (&["new", "wrold", "x"], "E0202", "world"),
        (&["token"], "E0200", ""),
        (&["token", "create"], "E0200", ""),
        (&["token", "create", "--scope", "root"], "E0202", "admin"),
        (&["status", "extra"], "E0200", ""),
        (&["status", "-q", "-v"], "E0200", ""),
    ] {
        let (exit, error) = home.fails(args);
        assert_eq!((exit, error["code"].as_str(), error["kind"].as_str()), (2, Some(code), Some("usage")), "{args:?}");
        assert!(error["hint"].as_str().unwrap_or_default().contains(hint), "{args:?}: {error}");
    }
    assert!(!home.path().exists(), "a wrong call makes no home");
}

#[test]
fn people_get_words_and_scripts_get_json() {
    let home = Home::new();
    let people = home.run(["doctr"]);
    assert_eq!((people.code, people.stdout.as_str()), (2, ""));
    assert_eq!(people.stderr, "error: there is no verb `doctr` [E0201]\nhint: did you mean `doctor`?\n");
    let (_, error) = home.fails(["doctr"]);
    assert_eq!(error["message"], "there is no verb `doctr`");
    assert_eq!(error["retryable"], false);
}

#[test]
fn help_and_version_are_data() {
    let home = Home::new();
    let help = home.run(["--help"]);
    assert_eq!((help.code, help.stderr.as_str()), (0, ""));
    assert!(help.stdout.contains("syncra") && help.stdout.contains("130 interrupted"));
    let version = home.run(["--version"]);
    assert_eq!((version.code, version.stdout), (0, format!("syncra {}\n", env!("CARGO_PKG_VERSION"))));
    let manual = home.run(["token", "create", "--help"]);
    assert!(manual.stdout.contains("Examples:\n  syncra token create"), "{}", manual.stdout);
}

#[test]
fn colours_are_off_without_a_terminal_and_on_when_asked_for() {
    let home = Home::new();
    assert!(!home.run(["doctr"]).stderr.contains('\x1b'));
    assert!(home.run(["--color", "always", "doctr"]).stderr.starts_with("\x1b[1;31merror:"));
    assert!(!home.run(["--color=never", "doctr"]).stderr.contains('\x1b'));
}

#[test]
fn errors_can_be_explained() {
    let home = Home::new();
    let row = home.json(["explain", "e0702"]);
    assert_eq!((row["code"].as_str(), row["exit_code"].as_u64()), (Some("E0702"), Some(7)));
    assert!(home.json(["explain"]).as_array().is_some_and(|rows| rows.len() > 30));
    assert_eq!(home.fails(["explain", "E9999"]).0, 3);
    assert!(home.run(["explain", "702"]).stdout.contains("exit code 7"));
}

#[test]
fn completions_know_the_verbs() {
    let home = Home::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = home.run(["completions", shell]);
        assert!(script.code == 0 && script.stdout.contains("status"), "{shell}");
    }
}

/// `syncra … | head` ends quietly: the reader has seen enough.
#[test]
fn a_reader_that_leaves_is_no_error() {
    let home = Home::new();
    let mut command = home.command(["completions", "bash"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("ends");
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}

#[cfg(target_os = "linux")]
#[test]
fn output_that_cannot_be_written_is_an_error() {
    let home = Home::new();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("the device");
    let output = home.command(["explain", "--json"]).stdout(full).output().expect("runs");
    assert_eq!(output.status.code(), Some(9));
    assert!(String::from_utf8_lossy(&output.stderr).contains("E0901"));
}

#[test]
fn not_every_argument_is_text() {
    let home = Home::new();
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt as _;
        let odd = std::ffi::OsStr::from_bytes(b"\xff\xfe");
        assert_eq!(Output::of(home.command([odd])).code, 2);
    }
    assert_eq!(home.run([""]).code, 2);
}
