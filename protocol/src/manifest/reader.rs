//! Reads TOML tables key by key, so that every complaint can name the key and the place.

use core::fmt::Display;
use core::ops::Range;
use core::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::nearest::nearest;
use crate::limits::MANIFEST_BYTES;

/// Characters of what the author wrote that an error repeats.
const QUOTED_CHARS: usize = 64;

/// Why a `syncra.toml` was not understood, and where (both from 1; the column counts characters).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {fault}")]
pub struct ManifestError {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
    /// What is wrong there.
    pub fault: ManifestFault,
}

/// What is wrong with a manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestFault {
    /// More bytes than a manifest may have.
    #[error("the manifest has {len} bytes, at most {MANIFEST_BYTES} are allowed")]
    TooLong {
        /// Bytes of the text.
        len: usize,
    },
    /// Not TOML.
    #[error("{0}")]
    Syntax(String),
    /// A key that means nothing.
    #[error("unknown key `{key}` in {table}; {advice}")]
    UnknownKey {
        /// The key.
        key: String,
        /// The table, for people.
        table: String,
        /// The nearest known key.
        nearest: Option<&'static str>,
        /// What to write instead.
        advice: String,
    },
    /// A key that has to be there.
    #[error("{table} has no `{key}`")]
    Missing {
        /// The key.
        key: &'static str,
        /// The table, for people.
        table: String,
    },
    /// A value of the wrong TOML type.
    #[error("`{key}` must be {wanted}, this is {found}")]
    Type {
        /// The key.
        key: String,
        /// What it must be.
        wanted: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// A value that breaks a rule.
    #[error("`{key}`: {why}")]
    Value {
        /// The key.
        key: String,
        /// The rule.
        why: String,
    },
    /// A longer list than allowed.
    #[error("`{key}` lists {len}, at most {max} are allowed")]
    TooMany {
        /// The key.
        key: String,
        /// Elements of the list.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// The same element twice.
    #[error("`{key}` names `{value}` twice")]
    Twice {
        /// The key.
        key: String,
        /// The element.
        value: String,
    },
}

/// A table of the document, with what is needed to complain about it.
pub(super) struct Reader<'a> {
    text: &'a str,
    /// How people call the table: `[package]`.
    label: String,
    span: Range<usize>,
    table: &'a DeTable<'a>,
    is_root: bool,
}

pub(super) fn document(text: &str) -> Result<Spanned<DeTable<'_>>, ManifestError> {
    if text.len() > MANIFEST_BYTES {
        return Err(error(text, 0, ManifestFault::TooLong { len: text.len() }));
    }
    DeTable::parse(text).map_err(|cause| {
        let at = cause.span().map_or(text.len(), |span| span.start);
        error(text, at, ManifestFault::Syntax(cause.message().to_owned()))
    })
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str, table: &'a Spanned<DeTable<'a>>) -> Self {
        Self { text, label: "the manifest".to_owned(), span: table.span(), table: table.get_ref(), is_root: true }
    }

    /// Refuses every key but these.
    pub(super) fn only(&self, known: &[&'static str]) -> Result<(), ManifestError> {
        match self.table.keys().find(|key| !known.contains(&&**key.get_ref())) {
            Some(key) => Err(self.unknown(key, known)),
            None => Ok(()),
        }
    }

    fn unknown(&self, key: &Spanned<impl AsRef<str>>, known: &[&'static str]) -> ManifestError {
        let nearest = nearest(key.get_ref().as_ref(), known);
        let words = || known.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
        let misplaced = self.is_root && super::parse::PACKAGE.contains(&key.get_ref().as_ref());
        let advice = match nearest {
            _ if misplaced => "it belongs below `[package]`".to_owned(),
            Some(word) => format!("did you mean `{word}`?"),
            None => format!("known are {}", words()),
        };
        let key_text = quoted(key.get_ref().as_ref());
        let fault = ManifestFault::UnknownKey { key: key_text, table: self.label.clone(), nearest, advice };
        error(self.text, key.span().start, fault)
    }

    /// The table below `key`, if there is one.
    pub(super) fn table(&self, key: &'static str) -> Result<Option<Self>, ManifestError> {
        let Some(value) = self.table.get(key) else { return Ok(None) };
        self.as_table(key, format!("[{key}]"), value).map(Some)
    }

    /// Every key of the table with its value.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'a str, usize, &'a Spanned<DeValue<'a>>)> + use<'a> {
        self.table.iter().map(|(key, value)| (&**key.get_ref(), key.span().start, value))
    }

    pub(super) fn as_table(
        &self,
        key: &str,
        label: String,
        value: &'a Spanned<DeValue<'a>>,
    ) -> Result<Self, ManifestError> {
        match value.get_ref() {
            DeValue::Table(table) => Ok(Self { text: self.text, label, span: value.span(), table, is_root: false }),
            other => Err(self.wrong_type(key, "a table", value.span(), other)),
        }
    }

    pub(super) fn required<T: FromStr<Err: Display>>(&self, key: &'static str) -> Result<T, ManifestError> {
        self.optional(key)?.ok_or_else(|| self.missing(key))
    }

    pub(super) fn missing(&self, key: &'static str) -> ManifestError {
        error(self.text, self.span.start, ManifestFault::Missing { key, table: self.label.clone() })
    }

    pub(super) fn optional<T: FromStr<Err: Display>>(&self, key: &'static str) -> Result<Option<T>, ManifestError> {
        self.table.get(key).map(|value| self.value(key, value)).transpose()
    }

    pub(super) fn boolean(&self, key: &'static str) -> Result<Option<bool>, ManifestError> {
        let Some(value) = self.table.get(key) else { return Ok(None) };
        match value.get_ref() {
            DeValue::Boolean(it) => Ok(Some(*it)),
            other => Err(self.wrong_type(key, "`true` or `false`", value.span(), other)),
        }
    }

    /// A list of texts, empty if the key is absent; no element twice.
    pub(super) fn list<T>(&self, key: &'static str, max: usize) -> Result<Vec<T>, ManifestError>
    where
        T: FromStr<Err: Display> + PartialEq + Display,
    {
        let mut out: Vec<T> = Vec::new();
        for value in self.array(key, max)? {
            let item = self.value(key, value)?;
            if out.contains(&item) {
                let fault = ManifestFault::Twice { key: key.to_owned(), value: item.to_string() };
                return Err(error(self.text, value.span().start, fault));
            }
            out.push(item);
        }
        Ok(out)
    }

    /// The elements of a list, none if the key is absent.
    pub(super) fn array(&self, key: &'static str, max: usize) -> Result<&'a [Spanned<DeValue<'a>>], ManifestError> {
        let Some(value) = self.table.get(key) else { return Ok(&[]) };
        match value.get_ref() {
            DeValue::Array(items) if items.len() > max => {
                let fault = ManifestFault::TooMany { key: key.to_owned(), len: items.len(), max };
                Err(error(self.text, value.span().start, fault))
            }
            DeValue::Array(items) => Ok(items),
            other => Err(self.wrong_type(key, "a list", value.span(), other)),
        }
    }

    /// A text that parses.
    pub(super) fn value<T>(&self, key: &str, value: &Spanned<DeValue<'_>>) -> Result<T, ManifestError>
    where
        T: FromStr<Err: Display>,
    {
        match value.get_ref() {
            DeValue::String(text) => text.parse().map_err(|why| self.bad_value(key, value.span().start, &why)),
            other => Err(self.wrong_type(key, "a text in quotes", value.span(), other)),
        }
    }

    pub(super) fn bad_value(&self, key: &str, at: usize, why: &dyn Display) -> ManifestError {
        error(self.text, at, ManifestFault::Value { key: quoted(key), why: why.to_string() })
    }

    pub(super) fn too_many(&self, max: usize) -> ManifestError {
        let fault = ManifestFault::TooMany { key: self.label.clone(), len: self.table.len(), max };
        error(self.text, self.span.start, fault)
    }

    pub(super) fn wrong_type(
        &self,
        key: &str,
        wanted: &'static str,
        span: Range<usize>,
        found: &DeValue<'_>,
    ) -> ManifestError {
        let found = match found {
            DeValue::String(_) => "a text",
            DeValue::Integer(_) | DeValue::Float(_) => "a number",
            DeValue::Boolean(_) => "`true` or `false`",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        error(self.text, span.start, ManifestFault::Type { key: quoted(key), wanted, found })
    }
}

/// What the author wrote, short and without control characters.
fn quoted(text: &str) -> String {
    text.chars().take(QUOTED_CHARS).flat_map(char::escape_debug).collect()
}

fn error(text: &str, at: usize, fault: ManifestFault) -> ManifestError {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |rest| rest.chars().count()) + 1;
    ManifestError { line, column, fault }
}
