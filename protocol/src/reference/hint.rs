//! Guesses what somebody meant by a text that is no reference. A hint always parses.

use super::{Selector, parse_reference};
use crate::limits::REFERENCE_BYTES;
use crate::name::{Handle, PackageName, RefName};

/// Characters of an id in base32.
const ID_CHARS: usize = 52;

/// The nearest valid reference to `text`, `owner` standing for an owner who is not named.
pub(super) fn nearest(text: &str) -> Option<String> {
    if text.len() > REFERENCE_BYTES {
        return None;
    }
    let text = text.trim();
    let guess = match text.strip_prefix("syncra:").unwrap_or(text) {
        rest if rest.starts_with("b3:") => format!("syncra:{}", cut_selector(rest).0.to_lowercase()),
        rest if cut_selector(rest).0.len() == ID_CHARS => by_id(rest),
        rest => by_name(rest)?,
    };
    parse_reference(&guess).is_ok().then_some(guess)
}

fn by_id(text: &str) -> String {
    let (id, selector) = cut_selector(text);
    format!("syncra:{}{}", id.to_lowercase(), nearest_selector(selector))
}

fn by_name(text: &str) -> Option<String> {
    let text = text.strip_prefix('@').unwrap_or(text);
    let (path, selector) = cut_selector(text);
    let (owner, name) = path.rsplit_once('/').unwrap_or(("owner", path));
    let (handle, key) = owner.split_once('~').unwrap_or((owner, ""));
    let handle = Handle::parse(handle).ok().or_else(|| Handle::nearest(handle))?;
    let key = if key.is_empty() { String::new() } else { format!("~{}", key.to_lowercase()) };
    let name = PackageName::parse(name).ok().or_else(|| PackageName::nearest(name))?;
    Some(format!("@{handle}{key}/{name}{}", nearest_selector(selector)))
}

fn cut_selector(text: &str) -> (&str, &str) {
    text.split_once('@').unwrap_or((text, ""))
}

/// `selector` with its `@` where it can be kept or repaired, else nothing.
fn nearest_selector(selector: &str) -> String {
    let is_good = |text: &str| Selector::parse(text).is_ok();
    let unprefixed = selector.strip_prefix(['v', 'V']).filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    match (selector, unprefixed) {
        ("", _) => String::new(),
        (_, Some(version)) if is_good(version) => format!("@{version}"),
        (text, _) if is_good(text) => format!("@{text}"),
        (text, _) => RefName::nearest(text).map_or_else(String::new, |name| format!("@{name}")),
    }
}
