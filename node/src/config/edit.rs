//! One setting of a text changed; everything else, comments too, stays as people wrote it.

use toml_edit::{DocumentMut, Item, TableLike, Value};

/// `text` with `key` (`name` or `table.name`) set to `value`, or without it. `None`: the text is no TOML.
///
/// Whether there is such a key, and whether it takes the value, is for [`super::Config::parse`] to say.
pub(super) fn with(text: &str, key: &str, value: Option<&str>) -> Option<String> {
    let mut document: DocumentMut = text.parse().ok()?;
    let (top, value) = (document.as_table_mut(), value.map(toml_value));
    match key.split_once('.') {
        None => put(top, key, value),
        Some((outer, _)) if value.is_none() && !top.contains_key(outer) => {}
        Some((outer, inner)) => {
            let entry = top.entry(outer).or_insert_with(toml_edit::table);
            if entry.as_table_like().is_none() {
                // A key below a plain value: the strict parser says that it does not exist.
                *entry = toml_edit::table();
            }
            // Not split again: no setting lies deeper, and each level would be a table printed with all its parents.
            put(entry.as_table_like_mut().expect("made one above"), inner, value);
        }
    }
    Some(document.to_string())
}

fn put(table: &mut dyn TableLike, key: &str, value: Option<Value>) {
    let Some(mut value) = value else { return drop(table.remove(key)) };
    match table.get_mut(key) {
        Some(Item::Value(old)) => {
            // What stands around a value is a comment about it.
            *value.decor_mut() = old.decor().clone();
            *old = value;
        }
        _ => drop(table.insert(key, value.into())),
    }
}

/// What the user wrote: TOML if it is, else a plain text.
fn toml_value(text: &str) -> Value {
    text.trim().parse().unwrap_or_else(|_| text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_toml_or_plain_text() {
        for (text, toml) in [
            ("7", "x = 7\n"),
            (" true ", "x = true\n"),
            ("[\"a\"]", "x = [\"a\"]\n"),
            ("lan", "x = \"lan\"\n"),
            ("1\ny = 2", "x = \"\"\"\n1\ny = 2\"\"\"\n"),
        ] {
            assert_eq!(with("", "x", Some(text)).as_deref(), Some(toml));
        }
    }

    #[test]
    fn comments_and_order_stay() {
        let text = "# mine\nprofile = \"lan\" # at home\n\n[limits] # tight\n# few\npeers = 7\n";
        let set = with(text, "limits.peers", Some("9")).expect("TOML");
        assert_eq!(set, text.replace('7', "9"));
        let set = with(&set, "profile", Some("mirror")).expect("TOML");
        assert!(set.starts_with("# mine\nprofile = \"mirror\" # at home\n"), "{set}");
        let set = with(&set, "api.listen", Some("127.0.0.1:1")).expect("TOML");
        assert!(set.ends_with("[limits] # tight\n# few\npeers = 9\n\n[api]\nlisten = \"127.0.0.1:1\"\n"), "{set}");
        assert_eq!(with("profile = \"lan\"\n", "limits.peers", None).as_deref(), Some("profile = \"lan\"\n"));
        assert_eq!(with("log = ", "log", None), None);
    }

    /// Found by the fuzzer: a key of a thousand parts became a text of a million bytes.
    #[test]
    fn a_deep_key_makes_no_long_text() {
        let key = ["limits"; 1_000].join(".");
        let edited = with("", &key, Some("1")).expect("TOML");
        assert!(edited.len() < 2 * key.len(), "{} bytes", edited.len());
        assert_eq!(with("limits.peers = 1\n", &key, None).as_deref(), Some("limits.peers = 1\n"));
    }
}
