//! An engine whose disk becomes full, for tests.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::Pair;
use super::engine::{Engine, EngineError, Write};

/// Another engine that takes so many more batches and then nothing.
#[derive(Debug)]
pub(super) struct Full<E> {
    pub(super) engine: E,
    pub(super) room: AtomicUsize,
}

impl<E: Engine> Full<E> {
    fn room(&self) -> Result<(), EngineError> {
        let less = self.room.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |room| room.checked_sub(1));
        less.map(drop).map_err(|_| EngineError::DiskFull)
    }
}

impl<E: Engine> Engine for Full<E> {
    fn read(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        self.engine.read(key)
    }

    fn range(&self, start: &[u8], more: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), EngineError> {
        self.engine.range(start, more)
    }

    fn last_at_or_before(&self, key: &[u8]) -> Result<Option<Pair>, EngineError> {
        self.engine.last_at_or_before(key)
    }

    fn write(&self, writes: Vec<Write>) -> Result<(), EngineError> {
        self.room()?;
        self.engine.write(writes)
    }

    fn flush(&self, n_batches: u64) -> Result<(), EngineError> {
        self.room()?;
        self.engine.flush(n_batches)
    }

    fn flushed(&self) -> Option<u64> {
        self.engine.flushed()
    }

    fn mark_ready(&self) -> Result<(), EngineError> {
        self.room()?;
        self.engine.mark_ready()
    }

    fn unmark_ready(&self) {
        self.engine.unmark_ready();
    }
}
