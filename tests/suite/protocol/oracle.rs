//! Asks `tests/vectors/path_oracle.py`, all questions in one run.

use std::io::Write as _;
use std::process::{Command, Stdio};

use data_encoding::HEXLOWER;

pub(crate) const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors");

pub(crate) fn hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(bytes)
}

/// Whether Python 3 is there; a test that cannot run says so and is counted.
pub(crate) fn has_python(test: &str) -> bool {
    let found = Command::new("python3").arg("--version").output().is_ok_and(|output| output.status.success());
    if !found {
        syncra_tests::skip(test, "python3 is not installed");
    }
    found
}

/// One answer line for each question line.
pub(crate) fn ask(mode: &str, questions: &[String]) -> Vec<String> {
    let answers = run(&format!("{VECTORS}/path_oracle.py"), mode, questions.join("\n") + "\n");
    assert_eq!(answers.len(), questions.len(), "one answer for each question");
    answers
}

/// Code points assigned in the Unicode version of the judge, as ranges.
pub(crate) fn assigned() -> Vec<(u32, u32)> {
    let range = |line: String| {
        let (first, last) = line.split_once(' ').expect("two numbers");
        (first.parse().expect("a number"), last.parse().expect("a number"))
    };
    run(&format!("{VECTORS}/path_oracle.py"), "assigned", String::new()).into_iter().map(range).collect()
}

pub(crate) fn run(script: &str, mode: &str, input: String) -> Vec<String> {
    let mut child = Command::new("python3")
        .args([script, mode])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 starts");
    let mut stdin = child.stdin.take().expect("piped");
    // Written aside: the judge answers while it is asked, and both pipes are finite.
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().expect("python3 runs");
    writer.join().expect("the writer does not panic").expect("python3 reads everything");
    assert!(output.status.success(), "{script} {mode} failed");
    String::from_utf8(output.stdout).expect("text").lines().map(str::to_owned).collect()
}
