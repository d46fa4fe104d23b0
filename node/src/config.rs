//! `config.toml`: what the user may decide, read strictly, changed a setting at a time.
//!
//! An unknown key is an error that names the nearest known one: a misspelt limit that is silently ignored is worse than
//! a node that does not start. A missing file means every default. The command line lays its own values over these.

mod edit;
mod strict;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use libp2p::Multiaddr;
use serde::{Deserialize, Serialize};
use syncra_protocol::limits::WITNESSES;

use crate::durable::{self, WriteError};
use crate::net::limits::CONNECTIONS;
use crate::witness;

/// Bytes of a configuration file.
const FILE_BYTES: u64 = 256 << 10;

/// What kind of node this is: the defaults that go together.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// A person's machine: LAN and internet.
    #[default]
    Desktop,
    /// Never leaves the local links.
    Lan,
    /// Keeps a chosen set whole and always on.
    Mirror,
    /// Runs worlds without a person.
    Headless,
}

/// How much a node tells in its log.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// An operator must act.
    Error,
    /// Degraded but healing.
    Warn,
    /// Lifecycle.
    #[default]
    Info,
    /// Decisions.
    Debug,
    /// Frames.
    Trace,
}

/// The doors of the API besides the Unix socket.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Api {
    /// Loopback address for HTTP with tokens; none: the Unix socket only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,
}

/// The public, read-only listener: what this node serves, for tools that speak HTTP.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gateway {
    /// Address for HTTP, any; none: off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,
}

/// What the node may use of this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Connections with peers at the same time, at most [`CONNECTIONS`]. A quarter is kept for those that this node opens.
    pub peers: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { peers: CONNECTIONS }
    }
}

/// What must be so before a release is installed, unasked or not. Releases that are installed already stay.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// How many of the listed witnesses must have seen it; 0: none. Freshness too is believed only when so many say it;
    /// with 0, when more than half do.
    pub min_witnesses: u64,
    /// For how many hours so many of them must have seen it: time for others to notice what is wrong.
    pub min_witnessed_hours: u64,
}

/// All settings of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The kind of node.
    pub profile: Profile,
    /// Addresses to listen on; empty: all interfaces, on a port that follows from the device's key.
    pub listen: Vec<Multiaddr>,
    /// Nodes to be connected to: IP addresses, host names (`/dns/…`) or lists of nodes (`/dnsaddr/…`), with or without
    /// `/p2p/…`.
    pub bootstrap: Vec<Multiaddr>,
    /// Whether to take part in the distributed hash table: it finds packages beyond who is connected, and shows others
    /// which packages are here.
    pub dht: bool,
    /// Whether to be a relay: to let nodes that nobody can dial be reached through this one, within limits. Only of use
    /// on a machine that others can dial.
    pub relay: bool,
    /// Whether to ask the router to forward the node's ports (UPnP); in the profile `desktop` it is asked unless this
    /// says no.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upnp: Option<bool>,
    /// Whether to be a witness: to sign, for others, which heads this node has seen and when.
    pub witness: bool,
    /// Whose word counts for how new things are, and for `policy`: verifier keys, or peer ids of nodes that witness.
    pub witnesses: Vec<String>,
    /// What must be so before something is installed.
    pub policy: Policy,
    /// How much is logged.
    pub log: LogLevel,
    /// The API's doors.
    pub api: Api,
    /// The public listener.
    pub gateway: Gateway,
    /// What the node may use.
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            profile: Profile::default(),
            listen: Vec::new(),
            bootstrap: Vec::new(),
            dht: true,
            relay: false,
            upnp: None,
            witness: false,
            witnesses: Vec::new(),
            policy: Policy::default(),
            log: LogLevel::default(),
            api: Api::default(),
            gateway: Gateway::default(),
            limits: Limits::default(),
        }
    }
}

/// What a running node takes over when it changes: whether to witness, whose word counts, and what must be so before an install.
/// Everything else counts from the next start.
const TAKEN_OVER: [&str; 4] = ["witness", "witnesses", "policy.min_witnesses", "policy.min_witnessed_hours"];

/// Whether a running node takes a setting over when it changes; of a table, whether it takes over all of it.
#[must_use]
pub fn is_taken_over(key: &str) -> bool {
    TAKEN_OVER.contains(&key) || key == "policy"
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Far too large for settings.
    #[error("{path} has {bytes} bytes, at most {FILE_BYTES} are read")]
    TooLong {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// Something is wrong in the file.
    #[error("{}: {wrong}", path.display())]
    In {
        /// The file.
        path: PathBuf,
        /// What is wrong there.
        wrong: Box<ConfigError>,
    },
    /// Not TOML, or a value of the wrong kind.
    #[error("{message}")]
    Malformed {
        /// What and where.
        message: String,
    },
    /// A key that does not exist.
    #[error("unknown key `{key}`{}", nearest.as_ref().map_or_else(String::new, |known| format!(", did you mean `{known}`?")))]
    UnknownKey {
        /// The key with its table.
        key: String,
        /// A known one that looks like it.
        nearest: Option<String>,
    },
    /// A value that cannot work.
    #[error("`{key}` {problem}")]
    Value {
        /// The key with its table.
        key: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
}

impl Config {
    /// The settings in the file at `path`; the defaults if there is none.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = Self::read(path)?;
        Self::parse(&text).map_err(|wrong| ConfigError::In { path: path.to_owned(), wrong: Box::new(wrong) })
    }

    /// The text of the file at `path`; empty if there is none.
    ///
    /// # Errors
    /// [`ConfigError`], its `Read` and `TooLong`.
    pub fn read(path: &Path) -> Result<String, ConfigError> {
        let read_error = |source| ConfigError::Read { path: path.to_owned(), source };
        match fs::metadata(path) {
            Ok(found) if found.len() > FILE_BYTES => {
                Err(ConfigError::TooLong { path: path.to_owned(), bytes: found.len() })
            }
            Ok(_) => fs::read_to_string(path).map_err(read_error),
            Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            Err(source) => Err(read_error(source)),
        }
    }

    /// The settings of a text.
    ///
    /// # Errors
    /// [`ConfigError`], all but its `Read` and `TooLong`.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let malformed =
            |error: toml::de::Error| ConfigError::Malformed { message: error.to_string().trim().to_owned() };
        let table: toml::Table = toml::from_str(text).map_err(malformed)?;
        strict::known_keys(&table, &Self::every_key())?;
        let config: Self = toml::from_str(text).map_err(malformed)?;
        config.check()?;
        Ok(config)
    }

    /// `text` with one setting changed: `key` set to `value` (TOML, or a plain text), or back to its default. Comments
    /// and the order of settings stay.
    ///
    /// # Errors
    /// [`ConfigError`], as for [`Config::parse`] of the changed text.
    pub fn edit(text: &str, key: &str, value: Option<&str>) -> Result<String, ConfigError> {
        Self::parse(text)?;
        let edited = edit::with(text, key, value).expect("it was parsed above");
        Self::parse(&edited)?;
        Ok(edited)
    }

    /// Makes `text` the settings of the next start.
    ///
    /// # Errors
    /// [`WriteError`]; the old file is then still there.
    pub fn save(path: &Path, text: &str) -> Result<(), WriteError> {
        durable::replace(path, text.as_bytes())
    }

    /// Settings with every key set, so that their names can be listed.
    #[must_use]
    pub fn every_key() -> toml::Table {
        let config = Self {
            upnp: Some(true),
            api: Api { listen: Some(SocketAddr::from(([127, 0, 0, 1], 0))) },
            gateway: Gateway { listen: Some(SocketAddr::from(([127, 0, 0, 1], 0))) },
            ..Self::default()
        };
        toml::Table::try_from(config).expect("settings are plain tables")
    }

    fn check(&self) -> Result<(), ConfigError> {
        let problem = |key, problem| Err(ConfigError::Value { key, problem });
        if self.api.listen.is_some_and(|address| !address.ip().is_loopback()) {
            return problem(
                "api.listen",
                "must be a loopback address; other machines use `gateway.listen`, which is read-only",
            );
        }
        if self.profile == Profile::Lan && self.relay {
            return problem("relay", "is of no use with the profile `lan`, which stays on the local links");
        }
        if self.witnesses.len() > WITNESSES {
            return problem("witnesses", "has more than 16 witnesses");
        }
        let witnesses: Option<BTreeSet<_>> = self.witnesses.iter().map(|text| witness::named(text)).collect();
        match witnesses {
            None => return problem("witnesses", "has something that is neither a verifier key nor a peer id"),
            Some(witnesses) if witnesses.len() < self.witnesses.len() => {
                return problem("witnesses", "names a witness twice");
            }
            Some(_) => {}
        }
        if self.policy.min_witnesses > WITNESSES as u64 {
            return problem("policy.min_witnesses", "is more than a list may have, which is 16");
        }
        if !(1..=CONNECTIONS).contains(&self.limits.peers) {
            return problem("limits.peers", "must be from 1 to 512");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        Config::parse(text).expect_err(text).to_string()
    }

    #[test]
    fn defaults_and_full_settings_are_read() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("config.toml");
        assert_eq!(Config::load(&path).expect("defaults"), Config::default());
        let text = r#"
            profile = "lan"
            listen = ["/ip4/0.0.0.0/tcp/4001", "/ip6/::/udp/4001/quic-v1"]
            bootstrap = ["/dns4/mirror.example/tcp/4001"]
            log = "debug"
            [api]
            listen = "127.0.0.1:8080"
            [limits]
            peers = 40
        "#;
        let config = Config::parse(text).expect("good");
        assert_eq!((config.profile, config.limits.peers, config.listen.len()), (Profile::Lan, 40, 2));
        Config::save(&path, text).expect("saved");
        assert_eq!(Config::load(&path).expect("loaded"), config);
    }

    #[test]
    fn unknown_keys_name_the_nearest_known_one() {
        assert_eq!(error("profil = 'lan'"), "unknown key `profil`, did you mean `profile`?");
        assert_eq!(error("[limits]\npeer = 1"), "unknown key `limits.peer`, did you mean `limits.peers`?");
        assert_eq!(error("[apis]\nlisten = ''"), "unknown key `apis`, did you mean `api`?");
        assert_eq!(error("peers = 1"), "unknown key `peers`, did you mean `limits.peers`?");
        assert_eq!(error("something_else = 1"), "unknown key `something_else`");
    }

    #[test]
    fn wrong_values_are_errors() {
        for text in [
            "profile = 'server'",
            "profile = 1",
            "listen = '/ip4/0.0.0.0/tcp/1'",
            "listen = ['0.0.0.0:1']",
            "log = 'loud'",
            "api = 1",
            "limits.peers = -1",
            "limits.peers = 'many'",
            "profile = 'lan'\nprofile = 'lan'",
            "profile =",
            "\u{0}",
        ] {
            assert!(matches!(Config::parse(text), Err(ConfigError::Malformed { .. })), "{text}");
        }
        for text in [
            "profile = 'lan'\nrelay = true",
            "api.listen = '0.0.0.0:80'",
            "limits.peers = 0",
            "limits.peers = 513",
            "witnesses = ['nobody']",
            "policy.min_witnesses = 17",
        ] {
            assert!(matches!(Config::parse(text), Err(ConfigError::Value { .. })), "{text}");
        }
    }

    #[test]
    fn unreadable_and_huge_files_are_named() {
        let dir = tempfile::tempdir().expect("temporary directory");
        assert!(matches!(Config::load(dir.path()), Err(ConfigError::Read { .. })));
        let path = dir.path().join("config.toml");
        fs::write(&path, [0xff, 0xfe]).expect("written");
        assert!(matches!(Config::load(&path), Err(ConfigError::Read { .. })));
        fs::write(&path, vec![b'#'; 300 << 10]).expect("written");
        assert!(matches!(Config::load(&path), Err(ConfigError::TooLong { .. })));
    }
}
