//! Names of branches and tags: git allows nearly everything, Syncra lower-case ASCII.
//!
//! A git name that is a ref name here keeps it. Any other begins with `git/` and is spelt so that it comes back exactly:
//! `zx` is the capital letter X, `qhh` the byte with this hexadecimal value; so `q` and `z` themselves are bytes.

use syncra_protocol::name::RefName;

/// What a name begins with that had to be spelt.
const PREFIX: &str = "git/";

/// The ref name for a name in git; none if it is too long.
pub(super) fn to_syncra(name: &[u8]) -> Option<RefName> {
    let plain = std::str::from_utf8(name).ok().filter(|text| !text.starts_with(PREFIX));
    if let Some(plain) = plain.and_then(|text| RefName::parse(text).ok()) {
        return Some(plain);
    }
    let mut text = PREFIX.to_owned();
    for (at, byte) in name.iter().enumerate() {
        // Parts begin and end with a letter or digit.
        let is_edge = |neighbour: Option<&u8>| neighbour.is_none_or(|byte| *byte == b'/');
        let edge = is_edge(at.checked_sub(1).and_then(|at| name.get(at))) || is_edge(name.get(at + 1));
        match byte {
            b'q' | b'z' => text.push_str(&format!("q{byte:02x}")),
            b'a'..=b'y' | b'0'..=b'9' | b'/' => text.push(char::from(*byte)),
            b'A'..=b'Z' => text.extend(['z', char::from(byte.to_ascii_lowercase())]),
            b'.' | b'_' | b'-' if !edge => text.push(char::from(*byte)),
            _ => text.push_str(&format!("q{byte:02x}")),
        }
    }
    RefName::parse(&text).ok()
}

/// The name in git of a ref, if git allows it: the inverse.
pub(super) fn to_git(name: &RefName) -> Option<Vec<u8>> {
    let text = name.as_str();
    let bytes = match text.strip_prefix(PREFIX) {
        // Who made this name did not spell a git name: it would be in the way of one that is.
        Some(spelt) => decode(spelt.as_bytes()).filter(|bytes| to_syncra(bytes).as_ref() == Some(name))?,
        None => text.as_bytes().to_vec(),
    };
    is_allowed(&bytes).then_some(bytes)
}

fn decode(spelt: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = spelt;
    while let Some((first, after)) = rest.split_first() {
        rest = match first {
            b'z' => {
                bytes.push(after.first()?.to_ascii_uppercase());
                &after[1..]
            }
            b'q' => {
                bytes.extend(super::object::from_hex(after.get(..2)?)?);
                &after[2..]
            }
            byte => {
                bytes.push(*byte);
                after
            }
        };
    }
    Some(bytes)
}

/// The rules of `git check-ref-format` for the part behind `refs/heads/`.
fn is_allowed(name: &[u8]) -> bool {
    let is_bad = |byte: &u8| *byte <= b' ' || *byte == 0x7f || b"~^:?*[\\".contains(byte);
    let has = |pair: &[u8; 2]| name.windows(2).any(|found| found == pair);
    let parts_ok = name.split(|byte| *byte == b'/').all(|part| {
        !part.is_empty() && !part.starts_with(b".") && !part.ends_with(b".lock") && !part.starts_with(b"-")
    });
    parts_ok && !name.iter().any(is_bad) && !has(b"..") && !has(b"@{") && !name.ends_with(b".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn git_names_come_back_and_ordinary_ones_stay() {
        for (git, syncra) in [
            ("main", "main"),
            ("feature/door", "feature/door"),
            ("v1.2.0", "v1.2.0"),
            ("2021.04", "git/2021.04"),
            ("JIRA-123", "git/zjzizrza-123"),
            ("Feature/Login_page", "git/zfeature/zlogin_page"),
            ("quiz/Zoo-", "git/q71uiq7a/zzooq2d"),
            ("git/main", "git/git/main"),
            ("grün", "git/grqc3qbcn"),
        ] {
            let name = to_syncra(git.as_bytes()).unwrap();
            assert_eq!(name.as_str(), syncra);
            assert_eq!(to_git(&name), Some(git.as_bytes().to_vec()));
        }
        let bytes = [b'a', 0xff, 0xfe];
        assert_eq!(to_git(&to_syncra(&bytes).unwrap()), Some(bytes.to_vec()));
        assert_eq!(to_syncra(&[b'A'; 40]), None);
    }

    /// Two refs that are one in git would be one too few.
    #[test]
    fn no_two_ref_names_are_one_name_in_git() {
        let letters = ["a", "q", "z", "4", "1", "/", "-", "2e"];
        let mut seen = std::collections::BTreeMap::new();
        let mut names = vec![String::new()];
        for _ in 0..4 {
            names = names.iter().flat_map(|name| letters.map(|letter| format!("{name}{letter}"))).collect();
            for name in names.iter().flat_map(|name| [name.clone(), format!("git/{name}")]) {
                let Ok(name) = RefName::parse(&name) else { continue };
                let Some(git) = to_git(&name) else { continue };
                if let Some(other) = seen.insert(git, name.clone()) {
                    panic!("{other} and {name}");
                }
            }
            names.truncate(2_000);
        }
        assert!(seen.len() > 1_000, "{}", seen.len());
    }

    #[test]
    fn damaged_spellings_are_nothing_or_another_name() {
        let letters = *b"azq0f./-";
        // Every text of up to five of them, and each byte in every place of a spelt one.
        let mut texts = vec![Vec::new()];
        for n in 0..5 {
            let longer = texts.iter().filter(|text: &&Vec<u8>| text.len() == n);
            let longer = longer.flat_map(|text| letters.map(|letter| [text.as_slice(), &[letter]].concat()));
            texts.extend(longer.collect::<Vec<_>>());
        }
        let spelt = b"grqc3qbcn/zx";
        for at in 0..spelt.len() {
            texts.extend((0..=u8::MAX).map(|byte| [&spelt[..at], &[byte], &spelt[at + 1..]].concat()));
            texts.push(spelt[..at].to_vec());
        }
        for text in texts {
            let Some(bytes) = decode(&text) else { continue };
            assert!(bytes.len() <= text.len(), "{text:?}");
            let name = RefName::parse(&format!("{PREFIX}{}", String::from_utf8_lossy(&text)));
            let Some((name, back)) = name.ok().and_then(|name| to_git(&name).map(|back| (name, back))) else {
                continue;
            };
            let again = to_syncra(&back);
            assert!(again.is_none_or(|again| again == name || back == name.as_str().as_bytes()), "{name}");
        }
    }

    #[test]
    fn a_name_that_git_refuses_and_one_that_only_looks_spelt_are_told_apart() {
        let name = |text: &str| RefName::parse(text).unwrap();
        assert_eq!(to_git(&name("a.lock")), None);
        assert_eq!(to_git(&name("git/q")), None);
        assert_eq!(to_git(&name("git/q2e")), None, "a dot alone is no name in git");
    }
}
