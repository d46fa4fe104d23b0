//! Where everything in a home is. One line per thing; nobody else joins paths onto the root.

use std::path::{Path, PathBuf};

use syncra_protocol::id::IdentityId;

/// The places inside a home. Only names: nothing is opened, made or locked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The layout of the home at `root`.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The home itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The version of the home, and whether its first start is finished.
    #[must_use]
    pub fn schema(&self) -> PathBuf {
        self.root.join("schema")
    }

    /// Locked while a process uses the home.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    /// Who has the lock, for messages.
    #[must_use]
    pub fn pid(&self) -> PathBuf {
        self.root.join("pid")
    }

    /// Space to give back when the disk is full.
    #[must_use]
    pub fn reserve(&self) -> PathBuf {
        self.root.join("reserve")
    }

    /// Keys. Truth.
    #[must_use]
    pub fn identity(&self) -> PathBuf {
        self.root.join("identity")
    }

    /// The device's secret key. Truth.
    #[must_use]
    pub fn device_key(&self) -> PathBuf {
        self.identity().join("device.key")
    }

    /// The recovery key, until the user has written it down. Truth.
    #[must_use]
    pub fn recovery_key(&self) -> PathBuf {
        self.identity().join("recovery.key")
    }

    /// A recovery key that nothing commits to yet. Truth, for the moment of a replacement.
    #[must_use]
    pub fn next_recovery_key(&self) -> PathBuf {
        self.identity().join("recovery.next")
    }

    /// The user's word that the recovery key is saved elsewhere, and of which key. Truth.
    #[must_use]
    pub fn recovery_saved(&self) -> PathBuf {
        self.identity().join("recovery.saved")
    }

    /// The recovery key of an identity that this device had before it joined another.
    #[must_use]
    pub fn abandoned_recovery_key(&self, identity: &IdentityId) -> PathBuf {
        self.identity().join(format!("recovery-of-{identity}.key"))
    }

    /// Whether a file is one of those.
    #[must_use]
    pub fn is_abandoned_recovery_key(path: &Path) -> bool {
        let name = path.file_name().and_then(std::ffi::OsStr::to_str);
        name.is_some_and(|name| name.starts_with("recovery-of-") && name.ends_with(".key"))
    }

    /// What only this device knows. Truth.
    #[must_use]
    pub fn journal(&self) -> PathBuf {
        self.root.join("journal")
    }

    /// From which directories own releases came. May be deleted: then it is warned about more.
    #[must_use]
    pub fn published(&self) -> PathBuf {
        self.root.join("published.json")
    }

    /// Other writers' entries. Fetchable again.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// The blob store. Fetchable again, but for the bytes of own releases.
    #[must_use]
    pub fn blobs(&self) -> PathBuf {
        self.root.join("blobs")
    }

    /// Derived state. May be deleted at any time while no node runs.
    #[must_use]
    pub fn index(&self) -> PathBuf {
        self.root.join("index")
    }

    /// How often the index was lost and built anew: a number for people who watch a node.
    #[must_use]
    pub fn index_rebuilds(&self) -> PathBuf {
        self.root.join("index-rebuilds")
    }

    /// Everything about installs.
    #[must_use]
    pub fn installed(&self) -> PathBuf {
        self.root.join("installed")
    }

    /// Unpacked releases, one directory per release id. Truth is the file system.
    #[must_use]
    pub fn installed_store(&self) -> PathBuf {
        self.installed().join("store")
    }

    /// Releases being unpacked. Leftovers may be deleted at any time while no node runs.
    #[must_use]
    pub fn installed_staging(&self) -> PathBuf {
        self.installed().join("staging")
    }

    /// What was set aside because it was not what it should be. Nothing of it goes by itself.
    #[must_use]
    pub fn installed_salvage(&self) -> PathBuf {
        self.installed().join("salvage")
    }

    /// What was installed together, one file per generation.
    #[must_use]
    pub fn generations(&self) -> PathBuf {
        self.installed().join("generations")
    }

    /// The pointer to the generation in force, switched by rename.
    #[must_use]
    pub fn current(&self) -> PathBuf {
        self.installed().join("current")
    }

    /// The highest number that was ever in `current`, as far as it was noted.
    #[must_use]
    pub fn reached(&self) -> PathBuf {
        self.installed().join("reached")
    }

    /// Settings.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.root.join("config.toml")
    }

    /// Hashed API tokens.
    #[must_use]
    pub fn tokens(&self) -> PathBuf {
        self.root.join("tokens.toml")
    }

    /// Records about proposals.
    #[must_use]
    pub fn proposals(&self) -> PathBuf {
        self.root.join("proposals")
    }

    /// What the running node tells; older parts stand beside it.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.root.join("log").join("node.log")
    }

    /// The Unix socket of the API.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.root.join("api.sock")
    }

    /// The directories that every home has.
    pub(super) fn directories(&self) -> [PathBuf; 8] {
        [
            self.identity(),
            self.journal(),
            self.logs(),
            self.blobs(),
            self.index(),
            self.installed(),
            self.installed_store(),
            self.generations(),
        ]
    }
}
