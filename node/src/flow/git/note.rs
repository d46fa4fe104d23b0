//! What a release's note keeps of the git object that it comes from: the message first, for people, and behind a line
//! `-- ` the headers, so that the very same object can be made again.

use super::object::{self, Oid};

/// What stands between message and headers: the separator of mail, which people know.
const SEPARATOR: &str = "\n-- \ngit ";
/// Bytes of headers that are kept in full: signatures and merged tags fit, and leave room for the message.
const HEADER_BYTES: usize = 32 << 10;
/// Bytes of a note's text.
const TEXT_BYTES: usize = syncra_protocol::limits::PROSE_BYTES - 16;

/// Which object a release comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// A commit.
    Commit(Object),
    /// An annotated tag: the release is its only parent once more, under another version.
    Tag(Object),
    /// A tag that is only a name for this commit.
    Name(Oid),
}

/// An object as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Object {
    pub(super) id: Oid,
    pub(super) headers: Vec<u8>,
    pub(super) message: Vec<u8>,
}

/// The note of the release of a commit.
pub(super) fn of_commit(id: Oid, raw: &[u8]) -> String {
    write("commit", id, raw)
}

/// The note of the release of a tag.
pub(super) fn of_tag(id: Oid, raw: &[u8]) -> String {
    write("tag", id, raw)
}

/// The note of a version that a tag without annotation names.
pub(super) fn of_name(tag: &[u8], commit: Oid) -> String {
    format!("{}\n{SEPARATOR}name {commit}\n", String::from_utf8_lossy(tag))
}

fn write(kind: &str, id: Oid, raw: &[u8]) -> String {
    let (headers, message) = object::split_message(raw);
    let headers = std::str::from_utf8(headers).ok().filter(|headers| headers.len() <= HEADER_BYTES);
    if let (Some(headers), Ok(message)) = (headers, std::str::from_utf8(message)) {
        let tail = format!("{SEPARATOR}{kind} {id}\n{headers}");
        return format!("{}{tail}", cut(message, TEXT_BYTES - tail.len()));
    }
    // Another encoding, or very much of it: readable for people, and whole for machines if there is room.
    let hex: String = raw.iter().map(|byte| format!("{byte:02x}")).collect();
    let tail = format!("{SEPARATOR}{kind} {id} hex\n{hex}\n");
    if tail.len() <= TEXT_BYTES / 2 {
        return format!("{}{tail}", cut(&String::from_utf8_lossy(message), TEXT_BYTES - tail.len()));
    }
    let people = object::headers(object::split_message(raw).0);
    let people = people.into_iter().filter(|(key, _)| [&b"author"[..], b"committer", b"tagger"].contains(key));
    let people: String = people
        .map(|(key, value)| format!("{} {}\n", String::from_utf8_lossy(key), String::from_utf8_lossy(value)))
        .collect();
    let tail = format!("{SEPARATOR}{kind} {id}\n{}", cut(&people, HEADER_BYTES));
    format!("{}{tail}", cut(&String::from_utf8_lossy(message), TEXT_BYTES - tail.len()))
}

fn cut(text: &str, len: usize) -> &str {
    &text[..text.floor_char_boundary(len)]
}

/// What a note says, if it is one of ours.
pub(super) fn parse(text: &str) -> Option<Source> {
    let (message, tail) = text.rsplit_once(SEPARATOR)?;
    let (first, headers) = tail.split_once('\n')?;
    let mut words = first.split(' ');
    let (kind, id) = (words.next()?, Oid::parse_hex(words.next()?.as_bytes())?);
    if kind == "name" {
        return Some(Source::Name(id));
    }
    let object = match words.next() {
        None => Object { id, headers: headers.into(), message: message.into() },
        Some("hex") => {
            let raw = object::from_hex(headers.trim_end().as_bytes())?;
            let (headers, message) = object::split_message(&raw);
            Object { id, headers: headers.into(), message: message.into() }
        }
        Some(_) => return None,
    };
    match kind {
        "commit" => Some(Source::Commit(object)),
        "tag" => Some(Source::Tag(object)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> Oid {
        Oid::parse_hex(&[b'b'; 40]).unwrap()
    }

    fn back(raw: &[u8]) -> Vec<u8> {
        let note = of_commit(id(), raw);
        assert!(note.len() <= TEXT_BYTES);
        let Some(Source::Commit(object)) = parse(&note) else { panic!("{note}") };
        [&object.headers[..], b"\n", &object.message].concat()
    }

    #[test]
    fn what_a_note_keeps_is_the_object() {
        let plain = "tree 1\nauthor A <a> 0 +0000\n\nhello\n-- \ngit commit 0\n\ntail".as_bytes();
        assert_eq!(back(plain), plain);
        let latin = b"tree 1\nencoding latin1\n\ngr\xfcn\n";
        assert_eq!(back(latin), latin);
        assert!(of_commit(id(), latin).starts_with("gr\u{fffd}n\n"));
        assert_eq!(back(b"tree 1\nauthor A <a> 0 +0000\n\n"), b"tree 1\nauthor A <a> 0 +0000\n\n");
    }

    /// A note is whatever its author wrote: damaged it is no note of ours, or says of another object.
    #[test]
    fn every_cut_and_every_changed_byte_is_read_or_is_no_note() {
        let raw = b"tree 1\nauthor A <a> 0 +0000\n\nhello\n";
        let notes = [of_commit(id(), raw), of_tag(id(), raw), of_commit(id(), b"tree 1\n\n\xff"), of_name(b"v1", id())];
        let mut n_ours = 0;
        for (n, note) in notes.into_iter().enumerate() {
            let whole = parse(&note);
            assert!(whole.is_some());
            for at in 0..note.len() {
                n_ours += usize::from(note.get(..at).and_then(parse).is_some());
                let mut bytes = note.clone().into_bytes();
                bytes[at] ^= 1;
                // What people read of the other two is no part of the object.
                let other = String::from_utf8(bytes).ok().and_then(|text| parse(&text));
                assert!(n > 1 || other != whole, "byte {at} of {note:?} says nothing");
            }
        }
        assert!(n_ours > 0, "headers may be cut: git says then whether it takes them");
    }

    #[test]
    fn what_is_too_long_is_cut_and_still_a_note() {
        let message = "x".repeat(100_000);
        let raw = format!("tree 1\nauthor A <a> 0 +0000\n\n{message}");
        assert!(back(raw.as_bytes()).len() < raw.len());
        let raw = format!("tree 1\nauthor A <a> 0 +0000\nmergetag {}\n\n{message}", "y\n ".repeat(30_000));
        assert!(back(raw.as_bytes()).starts_with(b"author A <a> 0 +0000\n"));
        assert_eq!(parse("only a note"), None);
        assert_eq!(parse("a\n-- \ngit what 00\n"), None);
        assert_eq!(parse(&of_name(b"v1.0.0", id())), Some(Source::Name(id())));
    }
}
