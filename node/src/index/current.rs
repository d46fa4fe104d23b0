//! The engine in use: the one on the disk until it fails, from then on one in memory.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::IndexError;
use super::engine::{self, Engine, EngineError};
use super::memory::Memory;

/// The engine in use. An engine that failed once is not asked again in this process: after a full disk sled answers
/// nothing more, and what was damaged lies. Everything in it can be derived again, so the node goes on without it.
#[derive(Debug)]
pub(super) struct Current {
    engine: RwLock<Arc<dyn Engine>>,
    given_up: Mutex<Option<GivenUp>>,
    epoch: AtomicU64,
}

/// Why the index is not on the disk.
#[derive(Debug)]
struct GivenUp {
    why: String,
    /// Held to the end of the process: what sled does when it is closed after a failure need not be known before.
    _engine: Option<Arc<dyn Engine>>,
}

impl Current {
    pub(super) fn new(engine: Arc<dyn Engine>) -> Self {
        Self { engine: RwLock::new(engine), given_up: Mutex::default(), epoch: AtomicU64::new(0) }
    }

    /// In memory from the beginning, because the disk takes none.
    pub(super) fn without_disk(why: String) -> Self {
        let given_up = Mutex::new(Some(GivenUp { why, _engine: None }));
        Self { given_up, ..Self::new(Arc::new(Memory::default())) }
    }

    /// How often everything in it was lost since it was opened.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::SeqCst)
    }

    /// Why it is kept in memory, if it is and should not be.
    pub(super) fn trouble(&self) -> Option<String> {
        self.given_up.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|given_up| given_up.why.clone())
    }

    /// Runs an operation. After one that failed the engine is another, empty one.
    pub(super) fn run<T>(
        &self,
        operation: impl FnOnce(&dyn Engine) -> Result<T, EngineError>,
    ) -> Result<T, IndexError> {
        let engine = Arc::clone(&self.engine.read().unwrap_or_else(PoisonError::into_inner));
        let error = match engine::catch(|| operation(engine.as_ref())) {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(EngineError::Damaged(why))) | Err(why) => IndexError::Damaged(why),
            Ok(Err(EngineError::DiskFull)) => IndexError::DiskFull,
            Ok(Err(EngineError::Failed(why))) => IndexError::Engine(why),
        };
        self.give_up(&error);
        Err(error)
    }

    /// Goes on in memory; the next start finds no marker on the disk and builds the index anew.
    pub(super) fn give_up(&self, error: &IndexError) {
        let mut engine = self.engine.write().unwrap_or_else(PoisonError::into_inner);
        let mut given_up = self.given_up.lock().unwrap_or_else(PoisonError::into_inner);
        if given_up.is_some() {
            return;
        }
        tracing::error!(%error, "the index is kept in memory from now on; the next start builds it anew");
        engine.unmark_ready();
        let failed = std::mem::replace(&mut *engine, Arc::new(Memory::default()));
        *given_up = Some(GivenUp { why: error.to_string(), _engine: Some(failed) });
        self.epoch.fetch_add(1, Ordering::SeqCst);
    }
}
