//! Fork proofs as files: a key signed two histories, and whoever has these bytes can show it to anybody.

use std::io::Read as _;
use std::path::Path;

use syncra_protocol::limits::FORK_PROOF_BYTES;
use syncra_protocol::log::fork::{ForkError, ForkProof};

/// Why a file is no fork proof.
#[derive(Debug, thiserror::Error)]
pub enum ForkFileError {
    /// It cannot be read.
    #[error("the file cannot be read")]
    Read(#[from] std::io::Error),
    /// It proves nothing.
    #[error("it proves no fork")]
    Proof(#[from] ForkError),
}

/// Whether a file could be a fork proof: these are short and begin with their format's number. What begins with
/// [`super::syncpack::frame::MAGIC`] is none.
///
/// # Errors
/// [`std::io::Error`].
pub fn is_meant(file: &Path) -> Result<bool, std::io::Error> {
    let mut first = [0];
    let mut file = std::fs::File::open(file)?;
    Ok(file.read(&mut first)? == 1 && first[0] == 1 && file.metadata()?.len() <= FORK_PROOF_BYTES as u64)
}

/// Reads and verifies a file. Nothing but the file is needed: not a home, not a network.
///
/// # Errors
/// [`ForkFileError`].
pub fn read_file(file: &Path) -> Result<ForkProof, ForkFileError> {
    let mut bytes = Vec::new();
    // One byte more than there may be, so that what is too long is noticed.
    std::fs::File::open(file)?.take(FORK_PROOF_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(ForkProof::verify(&bytes)?)
}
