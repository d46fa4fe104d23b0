//! Git's objects as bytes: ids, trees, the headers of commits and tags.

use std::fmt;

use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use super::{Bad, GitError};

/// The id of a git object: SHA-1, or SHA-256 in newer repositories.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Oid {
    bytes: [u8; 32],
    len: u8,
}

impl Oid {
    /// From hexadecimal digits.
    #[must_use]
    pub fn parse_hex(hex: &[u8]) -> Option<Self> {
        let raw = from_hex(hex)?;
        Self::from_raw(&raw)
    }

    /// From its bytes.
    pub(super) fn from_raw(raw: &[u8]) -> Option<Self> {
        if raw.len() != 20 && raw.len() != 32 {
            return None;
        }
        let mut bytes = [0; 32];
        bytes[..raw.len()].copy_from_slice(raw);
        Some(Self { bytes, len: raw.len() as u8 })
    }

    fn raw(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// How many bytes ids of its repository have.
    pub(super) fn width(&self) -> usize {
        self.len.into()
    }
}

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.raw().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Oid({self})")
    }
}

/// The bytes that hexadecimal digits spell.
pub(super) fn from_hex(hex: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pair = |pair: &[u8]| Some((digit(pair[0])? << 4 | digit(*pair.get(1)?)?) as u8);
    hex.chunks(2).map(pair).collect()
}

/// The types of objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// A file.
    Blob,
    /// A directory.
    Tree,
    /// A commit.
    Commit,
    /// An annotated tag.
    Tag,
}

impl Type {
    /// As git spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Blob => "blob",
            Self::Tree => "tree",
            Self::Commit => "commit",
            Self::Tag => "tag",
        }
    }
}

/// Computes the id of an object from its bytes: git itself answers a loose object without looking whether they are its.
pub(super) enum Hasher {
    Sha1(Sha1),
    Sha256(Sha256),
}

impl Hasher {
    /// For an object in a repository whose ids are like `id`.
    pub(super) fn new(id: Oid, kind: Type, size: u64) -> Self {
        let mut hasher = match id.width() {
            20 => Self::Sha1(Sha1::new()),
            _ => Self::Sha256(Sha256::new()),
        };
        hasher.update(format!("{} {size}\0", kind.as_str()).as_bytes());
        hasher
    }

    /// More of it.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha1(hasher) => hasher.update(bytes),
            Self::Sha256(hasher) => hasher.update(bytes),
        }
    }

    /// Whether that was `id`.
    pub(super) fn check(self, id: Oid) -> Result<(), GitError> {
        let is_it = match self {
            Self::Sha1(hasher) => hasher.finalize().as_slice() == id.raw(),
            Self::Sha256(hasher) => hasher.finalize().as_slice() == id.raw(),
        };
        if is_it { Ok(()) } else { Err(GitError::Malformed { id, how: Bad::Bytes }) }
    }
}

/// What an entry of a tree is, by its mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    File { executable: bool },
    Directory,
    Link,
    Module,
    Unknown,
}

/// One entry of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TreeEntry<'a> {
    pub(super) mode: Mode,
    pub(super) name: &'a [u8],
    pub(super) id: Oid,
}

/// The entries of a tree object, in git's order.
pub(super) fn tree_entries(bytes: &[u8], tree: Oid) -> Result<Vec<TreeEntry<'_>>, GitError> {
    let mut entries = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (entry, after) = tree_entry(rest, tree.width()).ok_or(GitError::Malformed { id: tree, how: Bad::Form })?;
        entries.push(entry);
        rest = after;
    }
    Ok(entries)
}

fn tree_entry(bytes: &[u8], width: usize) -> Option<(TreeEntry<'_>, &[u8])> {
    let space = bytes.iter().position(|byte| *byte == b' ')?;
    let (mode, rest) = (&bytes[..space], &bytes[space + 1..]);
    let end = rest.iter().position(|byte| *byte == 0)?;
    let (name, rest) = (&rest[..end], &rest[end + 1..]);
    let (id, rest) = rest.split_at_checked(width)?;
    let mode = match mode {
        b"100644" | b"100664" => Mode::File { executable: false },
        b"100755" => Mode::File { executable: true },
        b"40000" | b"040000" => Mode::Directory,
        b"120000" => Mode::Link,
        b"160000" => Mode::Module,
        _ => Mode::Unknown,
    };
    Some((TreeEntry { mode, name, id: Oid::from_raw(id)? }, rest))
}

/// Headers and message of a commit or tag.
pub(super) fn split_message(raw: &[u8]) -> (&[u8], &[u8]) {
    match raw.windows(2).position(|pair| pair == b"\n\n") {
        Some(at) => (&raw[..=at], &raw[at + 2..]),
        None => (raw, b""),
    }
}

/// Tree and parents of a commit: git, too, takes them only from where they belong, at the beginning.
pub(super) fn links(raw: &[u8], commit: Oid, max: usize) -> Result<(Oid, Vec<Oid>), GitError> {
    let bad = || GitError::Malformed { id: commit, how: Bad::Form };
    let id = |hex: &[u8]| Oid::parse_hex(hex).filter(|id| id.width() == commit.width()).ok_or_else(bad);
    let mut lines = raw.split(|byte| *byte == b'\n');
    let tree = id(lines.next().and_then(|line| line.strip_prefix(b"tree ")).ok_or_else(bad)?)?;
    let mut parents = Vec::new();
    while let Some(parent) = lines.next().and_then(|line| line.strip_prefix(b"parent ")) {
        if parents.len() >= max {
            return Err(GitError::TooMany { what: "parents of a commit", max });
        }
        parents.push(id(parent)?);
    }
    Ok((tree, parents))
}

/// The headers, each with its continuation lines, without the end of the last line.
pub(super) fn headers(bytes: &[u8]) -> Vec<(&[u8], &[u8])> {
    let mut found: Vec<(usize, usize)> = Vec::new();
    let mut at = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        match found.last_mut() {
            Some((_, end)) if line.starts_with(b" ") => *end = at + line.len(),
            _ => found.push((at, at + line.len())),
        }
        at += line.len();
    }
    let header = |(from, to): (usize, usize)| {
        let line = bytes[from..to].strip_suffix(b"\n").unwrap_or(&bytes[from..to]);
        let space = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
        (&line[..space], line.get(space + 1..).unwrap_or(b""))
    };
    found.into_iter().map(header).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_are_read_and_cut_off_ones_refused() {
        let id = Oid::parse_hex(&[b'a'; 40]).unwrap();
        let mut tree = Vec::new();
        for (mode, name) in [("100644", "a"), ("100755", "b"), ("40000", "c"), ("120000", "d"), ("160000", "e")] {
            tree.extend_from_slice(format!("{mode} {name}\0").as_bytes());
            tree.extend_from_slice(&[0xaa; 20]);
        }
        let modes: Vec<Mode> = tree_entries(&tree, id).unwrap().iter().map(|entry| entry.mode).collect();
        let file = |executable| Mode::File { executable };
        assert_eq!(modes, [file(false), file(true), Mode::Directory, Mode::Link, Mode::Module]);
        let whole = [0, 29, 58, 86, 115, 144];
        for len in (0..tree.len()).filter(|len| !whole.contains(len)) {
            assert!(matches!(tree_entries(&tree[..len], id), Err(GitError::Malformed { .. })), "{len}");
        }
    }

    #[test]
    fn ids_follow_from_bytes() {
        let id = Oid::parse_hex(b"257cc5642cb1a054f08cc83f2d943e56fd3ebe99").unwrap();
        let of = |kind, bytes: &[u8]| {
            let mut hasher = Hasher::new(id, kind, bytes.len() as u64);
            bytes.iter().for_each(|byte| hasher.update(&[*byte]));
            hasher.check(id)
        };
        assert!(of(Type::Blob, b"foo\n").is_ok());
        for (kind, bytes) in [(Type::Blob, &b"foo"[..]), (Type::Tree, b"foo\n"), (Type::Blob, b"fop\n")] {
            assert!(matches!(of(kind, bytes), Err(GitError::Malformed { how: Bad::Bytes, .. })), "{bytes:?}");
        }
    }

    #[test]
    fn only_whole_ids_are_ids() {
        for len in 0..80 {
            let is_whole = len == 40 || len == 64;
            assert_eq!(Oid::parse_hex(&vec![b'7'; len]).is_some(), is_whole, "{len} digits");
        }
        for byte in 0..=u8::MAX {
            let mut digits = [b'7'; 40];
            digits[11] = byte;
            assert_eq!(Oid::parse_hex(&digits).is_some(), byte.is_ascii_hexdigit(), "{byte}");
        }
    }

    #[test]
    fn headers_keep_their_continuation_lines() {
        let raw = b"tree 1\ngpgsig -----\n line\n \n end\nauthor A <a> 0 +0000\n\nhello\n\nworld";
        let (head, message) = split_message(raw);
        assert_eq!(message, b"hello\n\nworld");
        let found = headers(head);
        assert_eq!(found[1], (&b"gpgsig"[..], &b"-----\n line\n \n end"[..]));
        assert_eq!(found[2], (&b"author"[..], &b"A <a> 0 +0000"[..]));
        assert_eq!(split_message(b"tree 1\n"), (&b"tree 1\n"[..], &b""[..]));
    }
}
