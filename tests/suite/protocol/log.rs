//! The log's vectors, read by a decoder that knows RFC 6962, C2SP and `docs/spec/log.md` only.

use std::path::PathBuf;

#[test]
fn an_independent_decoder_reads_the_log_vectors() {
    let vectors = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors");
    let run = std::process::Command::new("python3").arg("check_log.py").current_dir(&vectors).output();
    let Ok(run) = run else { return syncra_tests::skip("an_independent_decoder_reads_the_log_vectors", "no python3") };
    let said = String::from_utf8_lossy(&run.stdout).into_owned() + &String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{said}");
    assert_eq!(said.trim(), "log.json: 11 leaves, 12 roots, 3 proofs, 4 notes, 1 fork proof, 1 fork point");
}
