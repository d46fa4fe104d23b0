//! sled 0.34.7 behind six rules. As shipped it lost acknowledged writes in half of the simulated power cuts and did
//! not open after a sixth of them; with the first five 520 of 520 were clean.
//!
//! 1. After `flush` the file `db` is synced through a second handle before anything is acknowledged.
//! 2. Files, directory and parent are synced once after the first open; a `READY` marker is written last. No marker:
//!    rebuild.
//! 3. Half-made snapshots (`snap.*.generating`) are deleted before every open.
//! 4. Opening and a first scan of everything happen on a thread with a deadline, and panics are caught. Any error:
//!    set aside, rebuild.
//! 5. Values stay small, bulk work is flushed every thousand changes ([`super::Index::write`]), and a bloated database
//!    is built anew.
//! 6. Found by flipping bits: sled takes damage in its newest segments for a torn write and shows an older state, whole
//!    in itself. So each flush leaves a number outside (`FLUSHED`) that the content must reach.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::engine::{self, Engine, EngineError, Seal, Write};
use super::{RebuildReason, SCHEMA};
use crate::durable;

/// Time for opening and the first scan: a gigabyte from a slow disk.
const OPEN_DEADLINE: Duration = Duration::from_secs(30);
/// Time for an earlier handle of this process to let go of the file lock.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
/// Memory for pages. The index is small and the system caches its file anyway.
const CACHE_BYTES: u64 = 16 << 20;
/// Files above this size are looked at for garbage.
const BLOAT_BYTES: u64 = 64 << 20;
/// Disk bytes per live byte from which a rebuild pays.
const BLOAT_FACTOR: u64 = 6;

#[derive(Debug)]
pub(super) struct Sled {
    db: ::sled::Db,
    /// The second handle of rule 1.
    file: File,
    place: Place,
}

/// What the number in the file `FLUSHED` is checked with.
const FLUSHED: &[u8] = b"flushed";

/// Where things are.
#[derive(Debug, Clone)]
struct Place {
    dir: PathBuf,
}

impl Place {
    fn database(&self) -> PathBuf {
        self.dir.join("sled")
    }

    fn set_aside(&self) -> PathBuf {
        self.dir.join("set-aside")
    }

    fn marker(&self) -> PathBuf {
        self.database().join("READY")
    }

    fn flushed(&self) -> PathBuf {
        self.database().join("FLUSHED")
    }

    fn marker_text() -> String {
        format!("sled 0.34.7, schema {SCHEMA}\n")
    }
}

/// Opens what is there, if all of it is whole.
pub(super) fn open(dir: &Path) -> Result<(Sled, Seal), RebuildReason> {
    let place = Place { dir: dir.to_owned() };
    if !place.database().join("db").exists() {
        return Err(RebuildReason::Missing);
    }
    if fs::read(place.marker()).ok() != Some(Place::marker_text().into_bytes()) {
        return Err(RebuildReason::NotReady);
    }
    within(OPEN_DEADLINE, || open_and_scan(place))?
}

/// Rule 4: what `work` says, if it comes back in time and does not panic. Otherwise its thread is left to itself.
pub(super) fn within<T: Send + 'static>(
    deadline: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, RebuildReason> {
    let (sender, receiver) = mpsc::sync_channel(1);
    let thread = std::thread::Builder::new().name("index-open".to_owned()).spawn(move || {
        let done = engine::catch(work);
        // After the deadline nobody listens, and what was opened is dropped here.
        drop(engine::catch(|| sender.send(done)));
    });
    thread.map_err(|error| RebuildReason::Unusable(error.to_string()))?;
    match receiver.recv_timeout(deadline) {
        Ok(done) => done.map_err(RebuildReason::Panicked),
        Err(_) => Err(RebuildReason::Stuck),
    }
}

fn open_and_scan(place: Place) -> Result<(Sled, Seal), RebuildReason> {
    let damaged = |error: EngineError| match error {
        // Nothing is wrong with what is there.
        EngineError::DiskFull => RebuildReason::Unusable(error.to_string()),
        EngineError::Damaged(_) | EngineError::Failed(_) => RebuildReason::Damaged(error.to_string()),
    };
    let sled = open_files(place).map_err(damaged)?;
    let (seal, live_bytes) = engine::first_scan(&sled).map_err(damaged)?;
    let disk_bytes = sled.db.size_on_disk().map_err(EngineError::from).map_err(damaged)?;
    if disk_bytes > BLOAT_BYTES && disk_bytes / BLOAT_FACTOR > live_bytes {
        return Err(RebuildReason::Bloated { disk_bytes, live_bytes });
    }
    Ok((sled, seal))
}

/// Begins an empty database; what was there is set aside for whoever wants to look at it.
pub(super) fn begin(dir: &Path) -> Result<Sled, String> {
    let place = Place { dir: dir.to_owned() };
    let begin = || -> Result<Sled, EngineError> {
        if place.database().exists() {
            if place.set_aside().exists() {
                fs::remove_dir_all(place.set_aside())?;
            }
            durable::rename(&place.database(), &place.set_aside())?;
        }
        durable::make_dir(&place.database())?;
        let sled = open_files(place.clone())?;
        sled.sync_names()?;
        Ok(sled)
    };
    match engine::catch(begin) {
        Ok(Ok(sled)) => Ok(sled),
        Ok(Err(error)) => Err(error.to_string()),
        Err(panic) => Err(panic),
    }
}

fn open_files(place: Place) -> Result<Sled, EngineError> {
    delete_half_made_snapshots(&place.database())?;
    // Flushed by us: a flush in the background would not be followed by the second sync.
    let config = ::sled::Config::new().path(place.database()).cache_capacity(CACHE_BYTES).flush_every_ms(None);
    let patience = Instant::now();
    let db = loop {
        match config.open() {
            Err(::sled::Error::Io(error))
                if error.to_string().contains("acquire lock") && patience.elapsed() < LOCK_PATIENCE =>
            {
                std::thread::park_timeout(Duration::from_millis(5));
            }
            other => break other?,
        }
    };
    // Windows syncs only through a handle that may write.
    let file = OpenOptions::new().read(true).write(true).open(place.database().join("db"))?;
    Ok(Sled { db, file, place })
}

fn delete_half_made_snapshots(dir: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| name.starts_with("snap.") && name.ends_with(".generating")) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

impl From<::sled::Error> for EngineError {
    fn from(error: ::sled::Error) -> Self {
        match error {
            ::sled::Error::Corruption { .. } | ::sled::Error::ReportableBug(_) => Self::Damaged(error.to_string()),
            ::sled::Error::Io(error) => error.into(),
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<std::io::Error> for EngineError {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::DiskFull,
            _ => Self::Failed(error.to_string()),
        }
    }
}

impl From<durable::WriteError> for EngineError {
    fn from(error: durable::WriteError) -> Self {
        if error.is_disk_full() { Self::DiskFull } else { Self::Failed(error.to_string()) }
    }
}

impl Sled {
    /// Rule 2: the names and the configuration, which sled does not sync.
    fn sync_names(&self) -> Result<(), EngineError> {
        for name in ["conf", "db"] {
            let path = self.place.database().join(name);
            let file = OpenOptions::new().read(true).write(true).open(path)?;
            file.sync_all()?;
        }
        durable::sync_dir(&self.place.database())?;
        durable::sync_dir(&self.place.dir).map_err(EngineError::from)
    }
}

impl Engine for Sled {
    fn read(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        Ok(self.db.get(key)?.map(|value| value.to_vec()))
    }

    fn range(&self, start: &[u8], more: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), EngineError> {
        for pair in self.db.range(start..) {
            let (key, value) = pair?;
            if !more(&key, &value) {
                break;
            }
        }
        Ok(())
    }

    fn last_at_or_before(&self, key: &[u8]) -> Result<Option<super::Pair>, EngineError> {
        let last = self.db.range(..=key).next_back().transpose()?;
        Ok(last.map(|(key, value)| (key.to_vec(), value.to_vec())))
    }

    fn write(&self, writes: Vec<Write>) -> Result<(), EngineError> {
        let mut batch = ::sled::Batch::default();
        for Write { key, value } in writes {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        self.db.apply_batch(batch).map_err(EngineError::from)
    }

    fn flush(&self, n_batches: u64) -> Result<(), EngineError> {
        self.db.flush()?;
        self.file.sync_all()?;
        // After the sync and not synced itself, so it never says more than what is on disk.
        let number = n_batches.to_le_bytes();
        fs::write(self.place.flushed(), engine::checked(FLUSHED, &number)).map_err(EngineError::from)
    }

    fn flushed(&self) -> Option<u64> {
        let number = engine::unchecked(FLUSHED, fs::read(self.place.flushed()).ok()?)?;
        Some(u64::from_le_bytes(number.try_into().ok()?))
    }

    fn mark_ready(&self) -> Result<(), EngineError> {
        self.sync_names()?;
        durable::replace(&self.place.marker(), Place::marker_text().as_bytes()).map_err(EngineError::from)
    }

    fn unmark_ready(&self) {
        if let Err(error) = fs::remove_file(self.place.marker()) {
            tracing::warn!(%error, "the marker of the damaged index stays");
        }
    }
}
