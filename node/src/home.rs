//! The data directory of one node: where things are, who may use it, and which version it has.
//!
//! A [`Home`] holds the directory's lock as long as it lives, so two nodes never write one home. First start is a
//! state of its own ([`Home::is_new`]): until [`Home::finish_first_start`] a missing key or an empty journal is
//! normal, afterwards it is a loss that must not be papered over with a new one.

mod key;
mod layout;
mod origin;
mod reserve;

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use syncra_protocol::key::DeviceSecret;

pub use key::KeyError;
pub use layout::Layout;
pub use origin::Fingerprint;

use crate::durable::{self, WriteError};

/// The version of the whole data directory that this program reads and writes.
pub const SCHEMA: u32 = 1;
/// The environment variable that names the home.
pub const HOME_VARIABLE: &str = "SYNCRA_HOME";

const SCHEMA_WORD: &str = "syncra-home";
const SCHEMA_NEW: &str = "new";
/// More than any schema file has; a larger one is not ours.
const SCHEMA_FILE_BYTES: u64 = 64;

/// Why a home cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// Neither `--home` nor `SYNCRA_HOME` is set, and the system names no directory for the user's data.
    #[error("the system names no data directory for this user; set SYNCRA_HOME")]
    NoDirectory,
    /// Something else is where the directory should be.
    #[error("{path} is not a directory")]
    NotADirectory {
        /// The home.
        path: PathBuf,
    },
    /// Another process has it.
    #[error("{path} is in use by {}", pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}")))]
    InUse {
        /// The home.
        path: PathBuf,
        /// Who has it, if it said so.
        pid: Option<u32>,
    },
    /// Written by a newer program.
    #[error("{path} has schema {found}, this program knows {SCHEMA}: it was used by a newer version")]
    Newer {
        /// The home.
        path: PathBuf,
        /// Its schema.
        found: u32,
    },
    /// There are things of a home, but no readable schema file.
    #[error("{path} holds data, but its schema file is missing or unreadable")]
    UnknownSchema {
        /// The home.
        path: PathBuf,
    },
    /// It cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It cannot be written: full, read-only, no permission.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// An open home. Dropping it releases the lock.
#[derive(Debug)]
pub struct Home {
    layout: Layout,
    is_new: bool,
    /// Holds the lock; the system releases it however the process ends.
    _lock: File,
}

impl Home {
    /// The directory to use: `explicit` (from `--home`), else `SYNCRA_HOME`, else the platform's place for data.
    ///
    /// # Errors
    /// [`HomeError::NoDirectory`].
    pub fn locate(explicit: Option<&Path>) -> Result<PathBuf, HomeError> {
        let from_environment = || std::env::var_os(HOME_VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from);
        let from_platform = || {
            directories::ProjectDirs::from("", "", "syncra").map(|directories| directories.data_local_dir().to_owned())
        };
        let path = explicit.map(Path::to_owned).or_else(from_environment).or_else(from_platform);
        let path = path.ok_or(HomeError::NoDirectory)?;
        std::path::absolute(&path).map_err(|source| HomeError::Read { path, source })
    }

    /// Opens the home at `root`, making it if there is none, and takes its lock.
    ///
    /// # Errors
    /// [`HomeError`]; nothing is changed in a directory that is refused, but for its lock file.
    pub fn open(root: &Path) -> Result<Self, HomeError> {
        let layout = Layout::new(root);
        match fs::metadata(root) {
            Ok(found) if !found.is_dir() => return Err(HomeError::NotADirectory { path: root.to_owned() }),
            Ok(_) => {}
            Err(source) if source.kind() == io::ErrorKind::NotFound => {
                durable::make_dir(root)?;
                warn_of_others(root);
            }
            Err(source) if source.kind() == io::ErrorKind::NotADirectory => {
                return Err(HomeError::NotADirectory { path: root.to_owned() });
            }
            Err(source) => return Err(HomeError::Read { path: root.to_owned(), source }),
        }
        let lock = lock(&layout)?;
        let is_new = match read_schema(&layout)? {
            Schema::Ready => false,
            Schema::New => true,
            Schema::Absent => {
                write_schema(&layout, true)?;
                true
            }
        };
        for dir in layout.directories() {
            durable::make_dir(&dir)?;
        }
        Ok(Self { layout, is_new, _lock: lock })
    }

    /// Whether a process has the home at `root` open now.
    ///
    /// # Errors
    /// [`HomeError::Read`].
    pub fn is_in_use(root: &Path) -> Result<bool, HomeError> {
        let path = Layout::new(root).lock();
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(source) => return Err(HomeError::Read { path, source }),
        };
        match file.try_lock() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(source)) => Err(HomeError::Read { path, source }),
        }
    }

    /// Where things are.
    #[must_use]
    pub const fn layout(&self) -> &Layout {
        &self.layout
    }

    /// True until [`Home::finish_first_start`]: key and journal may still be missing.
    #[must_use]
    pub const fn is_new(&self) -> bool {
        self.is_new
    }

    /// Says that key and journal are there; from now on their absence is an error.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn finish_first_start(&mut self) -> Result<(), WriteError> {
        if self.is_new {
            write_schema(&self.layout, false)?;
            self.is_new = false;
        }
        Ok(())
    }

    /// The device's key: read, or made when the home is new.
    ///
    /// # Errors
    /// [`KeyError`]; a missing or damaged key of a used home is never replaced.
    pub fn device_secret(&self) -> Result<DeviceSecret, KeyError> {
        key::device_secret(&self.layout.device_key(), self.is_new)
    }

    /// The key that is to be written to `path`.
    ///
    /// # Errors
    /// [`KeyError`] if these bytes are none.
    pub fn device_secret_in(path: &Path, bytes: &[u8]) -> Result<DeviceSecret, KeyError> {
        key::decode(path, bytes)
    }

    /// What tells this directory on this machine from a copy of it: see [`Fingerprint`].
    ///
    /// # Errors
    /// [`HomeError::Read`].
    pub fn origin_fingerprint(&self) -> Result<Fingerprint, HomeError> {
        let dir = self.layout.journal();
        origin::fingerprint(&dir).map_err(|source| HomeError::Read { path: dir, source })
    }

    /// Makes the reserve file if it is missing and there is ample room. `true` if it is there afterwards.
    ///
    /// # Errors
    /// [`WriteError`] other than a full disk, which is no error here.
    pub fn ensure_reserve(&self) -> Result<bool, WriteError> {
        reserve::ensure(&self.layout.reserve())
    }

    /// Gives the reserve back to a full disk, so that journal and clean-up have room to work. `true` if there was one.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn free_reserve(&self) -> Result<bool, WriteError> {
        reserve::free(&self.layout.reserve())
    }
}

/// The modes of the home keep other users of this machine out.
#[cfg(unix)]
fn warn_of_others(_root: &Path) {}

/// Windows has access lists instead of modes, and new directories inherit them: below the user's profile nobody else
/// may read, on another drive mostly everybody.
#[cfg(not(unix))]
fn warn_of_others(root: &Path) {
    let profile = std::env::var_os("USERPROFILE").and_then(|profile| std::path::absolute(profile).ok());
    if profile.is_none_or(|profile| !root.starts_with(profile)) {
        tracing::warn!("this home is not in your profile: other users of this machine may be able to read your keys");
    }
}

fn lock(layout: &Layout) -> Result<File, HomeError> {
    let path = layout.lock();
    let file = durable::private_options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(|source| WriteError::from_io(&path, source))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let pid = fs::read_to_string(layout.pid()).ok().and_then(|text| text.trim().parse().ok());
            return Err(HomeError::InUse { path: layout.root().to_owned(), pid });
        }
        Err(TryLockError::Error(source)) => return Err(HomeError::Read { path, source }),
    }
    // Only a courtesy for the message above, in its own file because Windows hides a locked file's content.
    if let Err(error) = fs::write(layout.pid(), std::process::id().to_string()) {
        tracing::debug!(%error, "the process id was not noted");
    }
    Ok(file)
}

enum Schema {
    Absent,
    New,
    Ready,
}

fn read_schema(layout: &Layout) -> Result<Schema, HomeError> {
    let unknown = || HomeError::UnknownSchema { path: layout.root().to_owned() };
    let path = layout.schema();
    match fs::metadata(&path) {
        Ok(found) if found.len() > SCHEMA_FILE_BYTES => return Err(unknown()),
        Ok(_) => {}
        Err(source) if source.kind() == io::ErrorKind::NotFound => {
            // Without its schema nobody knows how to read what is there.
            let holds_data = layout.directories().iter().any(|dir| dir.exists());
            return if holds_data { Err(unknown()) } else { Ok(Schema::Absent) };
        }
        Err(source) => return Err(HomeError::Read { path, source }),
    }
    let text = fs::read(&path).map_err(|source| HomeError::Read { path, source })?;
    let text = String::from_utf8(text).map_err(|_| unknown())?;
    let mut words = text.split_ascii_whitespace();
    let (word, number, state, more) = (words.next(), words.next(), words.next(), words.next());
    let found = number.and_then(|number| number.parse::<u32>().ok()).ok_or_else(unknown)?;
    match (word, state, more) {
        (Some(SCHEMA_WORD), _, _) if found > SCHEMA => Err(HomeError::Newer { path: layout.root().to_owned(), found }),
        (Some(SCHEMA_WORD), None, _) if found == SCHEMA => Ok(Schema::Ready),
        (Some(SCHEMA_WORD), Some(SCHEMA_NEW), None) if found == SCHEMA => Ok(Schema::New),
        _ => Err(unknown()),
    }
}

fn write_schema(layout: &Layout, new: bool) -> Result<(), WriteError> {
    let state = if new { format!(" {SCHEMA_NEW}") } else { String::new() };
    durable::replace(&layout.schema(), format!("{SCHEMA_WORD} {SCHEMA}{state}\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(root: &Path) -> Result<Home, HomeError> {
        Home::open(root)
    }

    #[test]
    fn a_home_in_an_awkward_place_opens_and_opens_again() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let root = dir.path().join("Mein Ordner ü 日本").join("home");
        let mut home = open(&root).expect("made");
        assert!(home.is_new());
        let key = home.device_secret().expect("made").public();
        home.finish_first_start().expect("written");
        drop(home);
        let home = open(&root).expect("opens");
        assert!(!home.is_new());
        assert_eq!(home.device_secret().expect("read").public(), key);
    }

    #[test]
    fn a_second_opener_learns_who_has_it() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let home = open(dir.path()).expect("made");
        let error = open(dir.path()).expect_err("in use");
        assert!(matches!(error, HomeError::InUse { pid: Some(pid), .. } if pid == std::process::id()), "{error}");
        drop(home);
        open(dir.path()).expect("free again");
    }

    #[test]
    fn of_many_concurrent_openers_one_wins() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let barrier = std::sync::Barrier::new(8);
        let homes: Vec<_> = std::thread::scope(|scope| {
            let open = || {
                barrier.wait();
                open(dir.path())
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        assert_eq!(homes.iter().filter(|home| home.is_ok()).count(), 1);
        assert!(homes.iter().flat_map(|home| home.as_ref().err()).all(|e| matches!(e, HomeError::InUse { .. })));
    }

    #[test]
    fn foreign_schemas_are_refused_and_left_alone() {
        let cases = [
            ("syncra-home 2\n", true),
            ("syncra-home 4000000000 whatever else\n", true),
            ("syncra-home 0\n", false),
            ("syncra-home 1 old\n", false),
            ("syncra-home 1 new and more\n", false),
            ("syncra-home\n", false),
            ("syncra-home 99999999999\n", false),
            ("", false),
            ("\u{0}\u{0}", false),
        ];
        for (text, newer) in cases {
            let dir = tempfile::tempdir().expect("temporary directory");
            fs::write(dir.path().join("schema"), text).expect("written");
            let error = open(dir.path()).expect_err(text);
            assert_eq!(matches!(error, HomeError::Newer { .. }), newer, "{text}: {error}");
            assert_eq!(matches!(error, HomeError::UnknownSchema { .. }), !newer, "{text}: {error}");
            assert_eq!(fs::read_to_string(dir.path().join("schema")).expect("there"), text);
            assert!(!dir.path().join("journal").exists());
        }
    }

    #[test]
    fn a_home_that_lost_its_schema_is_not_taken_for_a_new_one() {
        let dir = tempfile::tempdir().expect("temporary directory");
        drop(open(dir.path()).expect("made"));
        fs::remove_file(dir.path().join("schema")).expect("removed");
        assert!(matches!(open(dir.path()), Err(HomeError::UnknownSchema { .. })));
    }

    #[test]
    fn a_prepared_config_does_not_hinder_the_first_start() {
        let dir = tempfile::tempdir().expect("temporary directory");
        fs::write(dir.path().join("config.toml"), "").expect("written");
        assert!(open(dir.path()).expect("opens").is_new());
    }

    #[test]
    fn a_file_is_not_a_home() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let file = dir.path().join("file");
        fs::write(&file, "x").expect("written");
        assert!(matches!(open(&file), Err(HomeError::NotADirectory { .. })));
        assert!(matches!(open(&file.join("below")), Err(HomeError::NotADirectory { .. })));
    }

    #[cfg(unix)]
    #[test]
    fn a_home_without_permission_says_so() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().expect("temporary directory");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o500)).expect("set");
        match open(&dir.path().join("home")) {
            Err(HomeError::Write(WriteError::Permission { .. })) => {}
            // The superuser may write anywhere.
            Ok(_) => assert!(fs::write(dir.path().join("probe"), "x").is_ok()),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn explicit_place_wins_and_is_made_absolute() {
        let path = Home::locate(Some(Path::new("some/where"))).expect("located");
        assert!(path.is_absolute() && path.ends_with("some/where"));
    }
}
