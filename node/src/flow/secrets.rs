//! A last look before bytes leave for ever: does a file hold what looks like a secret?
//!
//! Few patterns, each of a form that is practically never something else; a false alarm costs one flag, a miss costs a key.

use std::io::Read as _;
use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, Input, MatchKind};

use super::walk::{ReadError, SourceFile};

/// Bytes at the beginning of a file that are looked at: keys stand in small text files.
pub const SCANNED_BYTES: usize = 1 << 20;

/// What was found, and on which line (from 1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it looks like.
    pub what: &'static str,
    /// The line, from 1.
    pub line: usize,
}

/// The first thing in the beginning of a file that looks like a secret.
///
/// # Errors
/// [`ReadError`].
pub fn scan_file(file: &SourceFile) -> Result<Option<Finding>, ReadError> {
    let mut beginning = Vec::new();
    let read = file.open()?.take(SCANNED_BYTES as u64).read_to_end(&mut beginning);
    read.map_err(|error| file.unreadable(error))?;
    Ok(scan(&beginning))
}

/// The first thing in the beginning of `bytes` that looks like a secret. One pass, whatever the number of forms.
#[must_use]
pub fn scan(bytes: &[u8]) -> Option<Finding> {
    let bytes = &bytes[..bytes.len().min(SCANNED_BYTES)];
    let mut from = 0;
    // `find_overlapping_iter` would do the same without the fast search for beginnings that `find` has.
    while let Some(hit) = PREFIXES.find(Input::new(bytes).range(from..)) {
        let form = &FORMS[hit.pattern().as_usize()];
        let tail = &bytes[hit.end()..];
        if tail.len() >= form.tail && tail[..form.tail].iter().all(|byte| (form.tail_kind)(*byte)) {
            let line = bytes[..hit.start()].iter().filter(|byte| **byte == b'\n').count() + 1;
            return Some(Finding { what: form.what, line });
        }
        from = hit.start() + 1;
    }
    None
}

static PREFIXES: LazyLock<AhoCorasick> = LazyLock::new(|| {
    let prefixes = FORMS.iter().map(|form| form.prefix);
    AhoCorasick::builder().match_kind(MatchKind::LeftmostFirst).build(prefixes).expect("a few short patterns")
});

struct Form {
    what: &'static str,
    prefix: &'static [u8],
    /// How many characters must follow the prefix, and of which kind.
    tail: usize,
    tail_kind: fn(u8) -> bool,
}

const FORMS: &[Form] = &[
    Form { what: "a private key", prefix: b"-----BEGIN PRIVATE KEY-----", tail: 0, tail_kind: any },
    Form { what: "a private key", prefix: b"-----BEGIN RSA PRIVATE KEY-----", tail: 0, tail_kind: any },
    Form { what: "a private key", prefix: b"-----BEGIN EC PRIVATE KEY-----", tail: 0, tail_kind: any },
    Form { what: "a private key", prefix: b"-----BEGIN ENCRYPTED PRIVATE KEY-----", tail: 0, tail_kind: any },
    Form { what: "an OpenSSH private key", prefix: b"-----BEGIN OPENSSH PRIVATE KEY-----", tail: 0, tail_kind: any },
    Form { what: "a PGP private key", prefix: b"-----BEGIN PGP PRIVATE KEY BLOCK-----", tail: 0, tail_kind: any },
    Form { what: "an age secret key", prefix: b"AGE-SECRET-KEY-1", tail: 40, tail_kind: upper_or_digit },
    Form { what: "an AWS access key", prefix: b"AKIA", tail: 16, tail_kind: upper_or_digit },
    Form { what: "a GitHub token", prefix: b"ghp_", tail: 36, tail_kind: alphanumeric },
    Form { what: "a GitHub token", prefix: b"github_pat_", tail: 40, tail_kind: word },
    Form { what: "a GitLab token", prefix: b"glpat-", tail: 20, tail_kind: word },
    Form { what: "a Slack token", prefix: b"xoxb-", tail: 20, tail_kind: word },
    Form { what: "a Stripe secret key", prefix: b"sk_live_", tail: 20, tail_kind: alphanumeric },
    Form { what: "an npm token", prefix: b"npm_", tail: 36, tail_kind: alphanumeric },
];

fn any(_: u8) -> bool {
    true
}

fn upper_or_digit(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit()
}

fn alphanumeric(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}

fn word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_secrets_and_leaves_prose_alone() {
        // Put together at run time, so that this file is clean itself.
        let token = format!("gh{}_{}", "p", "a1B2".repeat(9));
        assert_eq!(
            scan(format!("x = 1\nkey = \"{token}\"\n").as_bytes()),
            Some(Finding { what: "a GitHub token", line: 2 })
        );
        let pem = format!("-----BEGIN {} KEY-----", "OPENSSH PRIVATE");
        assert_eq!(scan(pem.as_bytes()).map(|f| f.what), Some("an OpenSSH private key"));
        // A beginning inside what only looked like one.
        assert_eq!(scan(format!("npm_{token}").as_bytes()).map(|f| f.what), Some("a GitHub token"));
        assert_eq!(scan(b"AKIA is a prefix, ghp_ too, and npm_install is a word"), None);
        assert_eq!(scan(&[0xff; 100]), None);
        let behind = |n: usize| [vec![b' '; n], token.clone().into_bytes()].concat();
        assert!(scan(&behind(SCANNED_BYTES - token.len())).is_some());
        assert_eq!(scan(&behind(SCANNED_BYTES)), None, "only the beginning is looked at");
    }
}
