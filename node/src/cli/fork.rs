//! Fork proofs as files: writing, checking and telling them.

use std::io::Write as _;
use std::path::Path;

use syncra_protocol::id::from_base32;

use super::context::Context;
use crate::api::types::ForkInfo;
use crate::flow::fork;
use crate::problem::{Code, Problem};

/// Writes a proof to a file that is not there yet.
pub(super) fn write(file: &Path, fork: &ForkInfo) -> Result<(), Problem> {
    let bytes = from_base32(&fork.proof);
    let bytes = bytes.map_err(|_| Problem::new(Code::Bug, "the node's answer holds no fork proof"))?;
    let opened = std::fs::OpenOptions::new().write(true).create_new(true).open(file);
    let written = opened.and_then(|mut out| out.write_all(&bytes).and_then(|()| out.sync_all()));
    written.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => Problem::new(Code::AlreadyExists, format!("`{}` exists", file.display())),
        _ => Problem::io(format!("cannot write `{}`", file.display()), &error),
    })
}

/// Checks a file. Needs nothing but the file.
pub(super) fn verify(context: &Context, file: &Path) -> Result<(), Problem> {
    let proof = fork::read_file(file).map_err(|error| {
        let problem = Problem::from(error);
        Problem { message: format!("{}: {}", file.display(), problem.message), ..problem }
    })?;
    context.ui().data("fork-proof", &ForkInfo::from(&proof), human)
}

/// Whose key signed what.
pub(super) fn human(fork: &ForkInfo) -> String {
    let ForkInfo { origin, key, older, newer, .. } = fork;
    let says = |what: &str, size: u64, root: &str| format!("{what} {size} entries, root {root}");
    [
        format!("the key {key} has signed two histories"),
        format!("log:  {origin}"),
        says("one: ", older.size, &older.root),
        says("other:", newer.size, &newer.root),
    ]
    .join("\n")
}
