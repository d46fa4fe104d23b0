//! Opening: the database is checked, what it says is compared with the files, and blobs that it does not know are
//! imported again. Blobs prove themselves by their name, so losing the database loses nothing complete.

use std::collections::HashSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use futures::StreamExt as _;
use iroh_blobs::api::blobs::{AddPathOptions, BlobStatus, ImportMode};
use iroh_blobs::store::fs::FsStore;
use iroh_blobs::{BlobFormat, Hash};
use syncra_protocol::id::BlobId;

use super::database::{self, DatabaseState};
use super::error::{BlobError, OpenError};
use super::files::{self, Layout};
use super::gc::{self, Sweeper};
use super::{Blobs, Inner, hash, id, room};

/// Bytes imported again between two syncs: bounds the disk space that salvage takes on top.
const SALVAGE_BATCH_BYTES: u64 = 256 << 20;

/// What opening found and mended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// How the database was found.
    pub database: DatabaseState,
    /// Complete blobs imported again because the database did not know them.
    pub reimported: u64,
    /// Blobs not yet complete whose parts were imported again for the same reason.
    pub resumed: u64,
    /// Complete blobs that the disk has no room to import again; the next opening tries.
    pub postponed: u64,
    /// Files without value that went: parts of blobs, or bytes that are not what their name says.
    pub dropped: u64,
    /// Blobs that the database knew and whose files were gone or wrong; they are to be fetched again.
    pub lost: u64,
}

/// Opens the store in `dir`, mending what a crash or foreign hands left.
pub(super) async fn open(dir: &Path) -> Result<(Blobs, Opened), OpenError> {
    let layout = Layout::new(dir);
    let prepared = blocking({
        let layout = layout.clone();
        move || prepare(&layout)
    })
    .await?;
    let (mut database, unsynced_since) = prepared;
    let (store, sweeper) = match load(&layout).await {
        Ok(loaded) => loaded,
        // Checksums held and still the library stumbles over what is inside: as good as damaged.
        Err(OpenError::Library(reason)) if database == DatabaseState::Good => {
            tracing::warn!(%reason, "blob database cannot be used: set aside");
            let aside = database::set_aside(&layout).map_err(BlobError::io("setting the blob database aside"))?;
            database = DatabaseState::Damaged(aside);
            load_new(&layout).await?
        }
        // A full disk or one that fails says nothing about the database.
        Err(error) if database == DatabaseState::Good => return Err(error),
        Err(error) => return Err(give_up(&layout, error)),
    };
    let blobs = Blobs(Arc::new(Inner::new(store, layout, sweeper)));
    let mut opened = Opened { database, reimported: 0, resumed: 0, postponed: 0, dropped: 0, lost: 0 };
    match blobs.mend(unsynced_since, &mut opened).await {
        Ok(()) => Ok((blobs, opened)),
        Err(error) => {
            blobs.shutdown().await;
            Err(error.into())
        }
    }
}

/// Runs blocking work away from the async threads.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Only a runtime that is going away cancels; then nobody polls this any further.
            Err(_) => std::future::pending().await,
        },
    }
}

/// Makes the directories, checks the database, marks the store as open. Tells since when files may be unsynced.
fn prepare(layout: &Layout) -> Result<(DatabaseState, Option<SystemTime>), OpenError> {
    let io = BlobError::io("preparing the blob directory");
    let made = || -> std::io::Result<()> {
        fs::create_dir_all(layout.data())?;
        fs::create_dir_all(layout.temp())
    };
    made().map_err(io)?;
    let database = database::check(layout)?;
    let marked = || -> std::io::Result<Option<SystemTime>> {
        // Only now: until the database was free, these could have been another process's.
        for stale in files::list(layout.temp())? {
            files::remove(&stale)?;
        }
        let marker = layout.unclean();
        let since = match fs::metadata(&marker) {
            Ok(metadata) => Some(metadata.modified()?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if since.is_none() {
            File::create(&marker)?.sync_all()?;
        }
        files::sync_dir(layout.root())?;
        Ok(since)
    };
    Ok((database, marked().map_err(BlobError::io("marking the blob directory as open"))?))
}

async fn load(layout: &Layout) -> Result<(FsStore, Sweeper), OpenError> {
    const DOING: &str = "opening the blob database";
    let (config, sweeper) = gc::sweeper();
    let options = layout.options(config);
    let store = FsStore::load_with_opts(layout.database(), options).await.map_err(|error| {
        let own = error.downcast_ref::<std::io::Error>().and_then(|error| database::refusal(error));
        let mut below = std::iter::successors(std::error::Error::source(&error), |error| error.source());
        match own.or_else(|| below.find_map(database::refusal)) {
            Some(refusal) => room::why(layout.root(), BlobError::io(DOING)(refusal), DOING).into(),
            None => OpenError::Library(format!("{error:#}")),
        }
    })?;
    Ok((store, sweeper))
}

/// With a database that does not exist yet.
async fn load_new(layout: &Layout) -> Result<(FsStore, Sweeper), OpenError> {
    load(layout).await.map_err(|error| give_up(layout, error))
}

/// Takes away what was begun of a new database that the disk has refused: half of one would be found damaged at the next
/// start, and push out older ones.
fn give_up(layout: &Layout, error: OpenError) -> OpenError {
    if let OpenError::Blob(_) = error
        && let Err(error) = files::remove(&layout.database())
    {
        tracing::warn!(%error, "half of a new blob database stays");
    }
    error
}

impl Blobs {
    /// Brings database and files together again.
    async fn mend(&self, unsynced_since: Option<SystemTime>, opened: &mut Opened) -> Result<(), BlobError> {
        let known = self.known().await?;
        let layout = self.0.layout.clone();
        let on_disk = blocking(move || survey(&layout, &known)).await.map_err(BlobError::io("comparing blobs"))?;
        opened.dropped += on_disk.dropped;
        let mut lost = on_disk.without_file;
        if let Some(since) = unsynced_since {
            let (hollow, sound) = self.check_recent(&on_disk.known, since).await?;
            lost.extend(hollow);
            // Read from memory perhaps, not from the disk: the next stop may be a power cut.
            self.sync(&sound).await?;
        }
        if !lost.is_empty() {
            opened.lost = lost.len() as u64;
            tracing::warn!(lost = opened.lost, "blobs without their bytes: forgotten, to be fetched again");
            self.forget(&lost).await?;
        }
        self.salvage(opened).await?;
        let layout = self.0.layout.clone();
        // The names of a new database and its directories.
        let named = blocking(move || {
            files::sync_dir(layout.root())?;
            layout.root().parent().map_or(Ok(()), files::sync_dir)
        });
        named.await.map_err(BlobError::io("syncing the blob directory"))?;
        self.mark_synced().await
    }

    /// Every blob in the database, complete or not.
    pub(super) async fn known(&self) -> Result<HashSet<BlobId>, BlobError> {
        let doing = "listing the blob database";
        let mut stream = self.0.store.blobs().list().stream().await.map_err(|_| self.stopped(doing))?;
        let mut known = HashSet::new();
        while let Some(item) = stream.next().await {
            known.insert(id(item.map_err(BlobError::api(doing))?));
        }
        // A store that died ends the list without a word; any question tells.
        self.status(BlobId::from_bytes([0; 32])).await?;
        Ok(known)
    }

    /// Of the complete blobs written since `since`, those without the right bytes and those with them; of the older
    /// ones those of a wrong size. After a power cut the database may be ahead of the files: only [`Blobs::sync`]
    /// orders them.
    async fn check_recent(
        &self,
        known: &HashSet<BlobId>,
        since: SystemTime,
    ) -> Result<(Vec<BlobId>, Vec<BlobId>), BlobError> {
        let mut sizes = Vec::with_capacity(known.len());
        for id in known {
            if let BlobStatus::Complete { size } = self.status(*id).await? {
                sizes.push((*id, size));
            }
        }
        let layout = self.0.layout.clone();
        let check = move || -> std::io::Result<_> {
            let (mut hollow, mut sound) = (Vec::new(), Vec::new());
            for (id, size) in sizes {
                match condition(&layout, id, size, since)? {
                    Condition::Settled => {}
                    Condition::Sound => sound.push(id),
                    Condition::Hollow => hollow.push(id),
                }
            }
            Ok((hollow, sound))
        };
        blocking(check).await.map_err(BlobError::io("checking blobs after an unclean stop"))
    }

    /// Imports what stands in the salvage directory; every batch is synced before its sources go.
    async fn salvage(&self, opened: &mut Opened) -> Result<(), BlobError> {
        let io = || BlobError::io("importing blobs again");
        let salvage = self.0.layout.salvage();
        let listed = salvage.clone();
        let sources = blocking(move || files::list(&listed)).await.map_err(io())?;
        let (sources, strays): (Vec<_>, Vec<_>) = sources.into_iter().partition(|path| files::data_id(path).is_some());
        if sources.is_empty() {
            let clear = move || {
                strays.iter().try_for_each(|path| files::remove(path))?;
                remove_empty(&salvage)
            };
            return blocking(clear).await.map_err(io());
        }
        let mut batch: Vec<(BlobId, PathBuf)> = Vec::new();
        let mut batch_bytes = 0;
        for source in sources {
            let path = source.clone();
            let checked = blocking(move || proven(&path)).await.map_err(io())?;
            if let Some((id, bytes)) = checked {
                if self.mending_room(bytes).is_err() {
                    // Importing copies; the sources of what is imported by now make room.
                    self.settle(std::mem::take(&mut batch)).await?;
                    batch_bytes = 0;
                }
                if let Err(full) = self.mending_room(bytes) {
                    tracing::warn!(%full, "a blob waits to be imported again until there is room");
                    opened.postponed += 1;
                    continue;
                }
                self.import_file(id, &source).await?;
                batch.push((id, source));
                batch_bytes += bytes;
                opened.reimported += 1;
            } else {
                let resumed = self.import_part(&source).await?;
                blocking(move || remove_source(&source)).await.map_err(io())?;
                if resumed { opened.resumed += 1 } else { opened.dropped += 1 }
            }
            if batch_bytes >= SALVAGE_BATCH_BYTES {
                self.settle(std::mem::take(&mut batch)).await?;
                batch_bytes = 0;
            }
        }
        self.settle(batch).await?;
        if opened.postponed > 0 {
            return Ok(());
        }
        blocking(move || remove_empty(&salvage)).await.map_err(io())
    }

    fn mending_room(&self, bytes: u64) -> Result<(), BlobError> {
        room::check(self.0.layout.root(), bytes, room::MEND_RESERVE_BYTES, "importing blobs again")
    }

    async fn import_file(&self, id: BlobId, source: &Path) -> Result<(), BlobError> {
        let options = AddPathOptions { path: source.to_owned(), mode: ImportMode::Copy, format: BlobFormat::Raw };
        let tag = self.0.store.blobs().add_path_with_opts(options).temp_tag().await;
        let tag = tag.map_err(self.failed("importing a blob again"))?;
        if tag.hash() == hash(id) { Ok(()) } else { Err(BlobError::Damaged(id)) }
    }

    /// Takes in what the files of a blob that is not complete prove; says whether that is anything. Not synced: parts
    /// never are.
    async fn import_part(&self, source: &Path) -> Result<bool, BlobError> {
        let Some(id) = files::data_id(source) else { return Ok(false) };
        let path = source.to_owned();
        let part =
            blocking(move || files::proven_part(&path)).await.map_err(BlobError::io("reading parts of blobs"))?;
        let Some((ranges, encoded)) = part.filter(|(_, encoded)| self.mending_room(encoded.len() as u64).is_ok())
        else {
            return Ok(false);
        };
        match self.0.store.blobs().import_bao_bytes(hash(id), ranges, encoded).await {
            Ok(()) => Ok(true),
            // It can be fetched again; a store that died says so at the next call.
            Err(error) => {
                tracing::warn!(%error, "part of a blob was not taken in again");
                Ok(false)
            }
        }
    }

    async fn settle(&self, batch: Vec<(BlobId, PathBuf)>) -> Result<(), BlobError> {
        let ids: Vec<BlobId> = batch.iter().map(|(id, _)| *id).collect();
        self.sync(&ids).await?;
        let clear = move || batch.iter().try_for_each(|(_, source)| remove_source(source));
        blocking(clear).await.map_err(BlobError::io("clearing the salvage directory"))
    }
}

/// What lies in the data directory, compared with what the database knows.
struct Survey {
    known: HashSet<BlobId>,
    without_file: Vec<BlobId>,
    dropped: u64,
}

/// Moves data files that the database does not know to the salvage directory, with what proves parts of them, and removes
/// what else it does not know.
fn survey(layout: &Layout, known: &HashSet<BlobId>) -> std::io::Result<Survey> {
    let mut present = HashSet::with_capacity(known.len());
    let mut dropped = 0;
    let (data, others): (Vec<_>, Vec<_>) =
        files::list(layout.data())?.into_iter().partition(|path| files::data_id(path).is_some());
    for path in data {
        match files::data_id(&path).filter(|id| known.contains(id)) {
            Some(id) => drop(present.insert(id)),
            None => set_apart(layout, &path)?,
        }
    }
    for path in others {
        let owner = files::owner(&path);
        if owner.is_none_or(|id| !known.contains(&id)) {
            files::remove(&path)?;
            dropped += u64::from(owner.is_none());
        }
    }
    let empty = id(Hash::EMPTY);
    let without_file = known.iter().copied().filter(|id| !present.contains(id) && *id != empty).collect();
    Ok(Survey { known: known.clone(), without_file, dropped })
}

/// Moves a data file and its companions to the salvage directory; itself last, so that a kill in between is mended.
fn set_apart(layout: &Layout, data: &Path) -> std::io::Result<()> {
    fs::create_dir_all(layout.salvage())?;
    let target = |path: &Path| layout.salvage().join(path.file_name().unwrap_or_default());
    for companion in files::companions(data) {
        match fs::rename(&companion, target(&companion)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs::rename(data, target(data))
}

/// Removes a salvaged data file and its companions; itself last.
fn remove_source(data: &Path) -> std::io::Result<()> {
    files::companions(data).iter().try_for_each(|companion| files::remove(companion))?;
    files::remove(data)
}

/// What a complete blob's files look like after an unclean stop.
enum Condition {
    /// Of the right size and synced before.
    Settled,
    /// Written after the last sync, with the right bytes.
    Sound,
    /// Gone, of a wrong size, or with wrong bytes.
    Hollow,
}

fn condition(layout: &Layout, id: BlobId, size: u64, since: SystemTime) -> std::io::Result<Condition> {
    let data = layout.data_file(id);
    let Ok(metadata) = fs::metadata(&data) else { return Ok(Condition::Hollow) };
    let outboard = files::outboard_bytes(size);
    let outboard_held =
        outboard == 0 || fs::metadata(layout.outboard_file(id)).is_ok_and(|file| file.len() == outboard);
    if metadata.len() != size || !outboard_held {
        return Ok(Condition::Hollow);
    }
    if metadata.modified()? < since {
        return Ok(Condition::Settled);
    }
    Ok(if files::proves(layout, id, size)? { Condition::Sound } else { Condition::Hollow })
}

/// The id and size of a salvaged file whose bytes are what its name says.
fn proven(path: &Path) -> std::io::Result<Option<(BlobId, u64)>> {
    let Some(id) = files::data_id(path) else { return Ok(None) };
    let bytes = fs::metadata(path)?.len();
    Ok((files::hash_file(path)? == id).then_some((id, bytes)))
}

fn remove_empty(dir: &Path) -> std::io::Result<()> {
    match fs::remove_dir(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
