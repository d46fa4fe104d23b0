//! Scoped API tokens: 256 random bits, of which only the BLAKE3 hash is kept (`tokens.toml`).

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard};

use serde::{Deserialize, Serialize};
use syncra_protocol::Timestamp;
use syncra_protocol::id::base32;
use utoipa::ToSchema;

use crate::durable::{self, WriteError};

/// Bytes of `tokens.toml`: more than any list of [`MAX_TOKENS`] has.
const FILE_BYTES: u64 = 1 << 20;
/// Tokens of one home: each is compared at every call.
const MAX_TOKENS: usize = 256;
/// Begins every token, so that people and secret scanners know one when they see it.
const MARK: &str = "syncra_";

/// What a token allows. `admin` allows everything, `publish` also reading; `runner` allows only what runners do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[derive(clap::ValueEnum)]
pub enum Scope {
    /// See everything but secrets.
    Read,
    /// Publish, install and what else a person does at the command line.
    Publish,
    /// Tokens, configuration, stopping the node.
    Admin,
    /// What a machine needs that runs packages for this node.
    Runner,
}

impl Scope {
    /// All scopes.
    pub const ALL: [Self; 4] = [Self::Read, Self::Publish, Self::Admin, Self::Runner];

    /// Whether a token with this scope may do what needs `needed`.
    #[must_use]
    pub fn grants(self, needed: Self) -> bool {
        self == needed || self == Self::Admin || (self == Self::Publish && needed == Self::Read)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Publish => "publish",
            Self::Admin => "admin",
            Self::Runner => "runner",
        })
    }
}

/// A token as it is kept: everything but the secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// Names it in lists; no secret.
    pub id: String,
    /// What the user calls it.
    pub name: String,
    /// What it allows.
    pub scopes: Vec<Scope>,
    /// When it was made, in milliseconds since the Unix epoch.
    pub created_ms: u64,
    hash: TokenHash,
}

impl Token {
    /// Whether it may do what needs `needed`.
    #[must_use]
    pub fn grants(&self, needed: Scope) -> bool {
        self.scopes.iter().any(|scope| scope.grants(needed))
    }
}

/// BLAKE3 of a secret; compares in constant time, as `blake3::Hash` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct TokenHash(blake3::Hash);

impl TokenHash {
    fn of(secret: &str) -> Self {
        Self(blake3::hash(secret.as_bytes()))
    }
}

impl TryFrom<String> for TokenHash {
    type Error = blake3::HexError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        blake3::Hash::from_str(&text).map(Self)
    }
}

impl From<TokenHash> for String {
    fn from(hash: TokenHash) -> Self {
        hash.0.to_hex().to_string()
    }
}

/// Why the tokens of a home cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file cannot be read.
    #[error("cannot read `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not a list of tokens.
    #[error("`{path}` is not a list of tokens")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The place and reason.
        source: Box<toml::de::Error>,
    },
    /// There is no token with this id.
    #[error("there is no token `{0}`")]
    NotFound(String),
    /// A home has at most 256.
    #[error("there are {MAX_TOKENS} tokens already")]
    TooMany,
    /// The name is empty, longer than 64 characters, or has control characters.
    #[error("a token's name has 1 to 64 characters and no control characters")]
    BadName,
    /// The file cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

#[derive(Debug, Default, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenFile {
    #[serde(default, rename = "token")]
    tokens: Vec<Token>,
}

/// The tokens of one home. Changes are on disk before they are in memory.
#[derive(Debug)]
pub struct Tokens {
    path: PathBuf,
    file: Mutex<TokenFile>,
}

impl Tokens {
    /// Reads `path`; a missing file is an empty list.
    ///
    /// # Errors
    /// [`TokenError::Read`] and [`TokenError::Damaged`]: unlike derived files this one is never set aside by itself.
    pub fn open(path: &Path) -> Result<Self, TokenError> {
        let read_error = |source| TokenError::Read { path: path.to_owned(), source };
        let text = match std::fs::metadata(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(read_error(error)),
            Ok(meta) if meta.len() > FILE_BYTES => return Err(read_error(std::io::ErrorKind::FileTooLarge.into())),
            Ok(_) => std::fs::read_to_string(path).map_err(read_error)?,
        };
        let file = toml::from_str(&text)
            .map_err(|source| TokenError::Damaged { path: path.to_owned(), source: Box::new(source) })?;
        Ok(Self { path: path.to_owned(), file: Mutex::new(file) })
    }

    /// Makes a token out of 32 random bytes and returns it with its secret, which is told once and kept nowhere.
    /// With `dry_run` nothing is kept, and the secret opens nothing.
    ///
    /// # Errors
    /// [`TokenError`]; nothing is changed then.
    pub fn create(
        &self,
        name: &str,
        scopes: &[Scope],
        now: Timestamp,
        random: [u8; 32],
        dry_run: bool,
    ) -> Result<(Token, String), TokenError> {
        if !(1..=64).contains(&name.chars().count()) || name.chars().any(char::is_control) {
            return Err(TokenError::BadName);
        }
        let secret = format!("{MARK}{}", base32(&random));
        let hash = TokenHash::of(&secret);
        let mut scopes = scopes.to_vec();
        scopes.sort_unstable();
        scopes.dedup();
        let id = base32(&hash.0.as_bytes()[..5]);
        let token = Token { id, name: name.to_owned(), scopes, created_ms: now.0, hash };
        let mut file = self.file();
        if file.tokens.len() >= MAX_TOKENS {
            return Err(TokenError::TooMany);
        }
        let mut changed = file.clone();
        changed.tokens.push(token.clone());
        if !dry_run {
            self.save(&changed)?;
            *file = changed;
        }
        Ok((token, secret))
    }

    /// All tokens, oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<Token> {
        self.file().tokens.clone()
    }

    /// Takes the token `id` back; from then on it opens nothing. With `dry_run` it only looks whether it is there.
    ///
    /// # Errors
    /// [`TokenError::NotFound`], [`TokenError::Write`].
    pub fn revoke(&self, id: &str, dry_run: bool) -> Result<Token, TokenError> {
        let mut file = self.file();
        let index = file.tokens.iter().position(|token| token.id == id);
        let index = index.ok_or_else(|| TokenError::NotFound(id.to_owned()))?;
        let mut changed = file.clone();
        let token = changed.tokens.remove(index);
        if !dry_run {
            self.save(&changed)?;
            *file = changed;
        }
        Ok(token)
    }

    /// The token whose secret this is. Every token is compared, each in constant time.
    #[must_use]
    pub fn find(&self, secret: &str) -> Option<Token> {
        let hash = TokenHash::of(secret);
        let file = self.file();
        file.tokens.iter().fold(None, |found, token| if token.hash == hash { Some(token) } else { found }).cloned()
    }

    fn save(&self, file: &TokenFile) -> Result<(), TokenError> {
        let text = toml::to_string(file).expect("a list of plain tables is TOML");
        Ok(durable::replace(&self.path, text.as_bytes())?)
    }

    fn file(&self) -> MutexGuard<'_, TokenFile> {
        self.file.lock().expect("nothing panics while it holds the tokens")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_open_once_made_and_never_after_revocation_also_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens.toml");
        let tokens = Tokens::open(&path).unwrap();
        let (token, secret) = tokens.create("ci", &[Scope::Read, Scope::Read], Timestamp(7), [9; 32], false).unwrap();
        assert_eq!(token.scopes, [Scope::Read]);
        let again = Tokens::open(&path).unwrap();
        assert_eq!(again.find(&secret), Some(token.clone()));
        assert_eq!(again.find(&secret[..secret.len() - 1]), None);
        assert!(!std::fs::read_to_string(&path).unwrap().contains(&secret[MARK.len()..]));
        again.revoke(&token.id, false).unwrap();
        assert_eq!(again.find(&secret), None);
        assert_eq!(Tokens::open(&path).unwrap().list(), []);
    }

    #[test]
    fn a_dry_run_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let tokens = Tokens::open(&dir.path().join("tokens.toml")).unwrap();
        let (_, secret) = tokens.create("x", &[Scope::Admin], Timestamp(1), [1; 32], true).unwrap();
        assert_eq!(tokens.find(&secret), None);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_damaged_file_is_told_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens.toml");
        std::fs::write(&path, "[[token]]\nid = 3\n").unwrap();
        assert!(matches!(Tokens::open(&path), Err(TokenError::Damaged { .. })));
        assert!(path.exists());
    }

    #[test]
    fn scopes_grant_no_more_than_they_say() {
        let table: Vec<Vec<bool>> =
            Scope::ALL.iter().map(|has| Scope::ALL.iter().map(|needs| has.grants(*needs)).collect()).collect();
        assert_eq!(
            table,
            [
                [true, false, false, false],
                [true, true, false, false],
                [true, true, true, true],
                [false, false, false, true],
            ]
        );
    }
}
