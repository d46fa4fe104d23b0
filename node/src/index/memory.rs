//! An index in memory, for tests and for a disk that takes nothing.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use super::engine::{Engine, EngineError, Write};

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Debug, Default)]
pub(super) struct Memory {
    map: RwLock<Map>,
}

impl Memory {
    fn map(&self) -> RwLockReadGuard<'_, Map> {
        self.map.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine for Memory {
    fn read(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        Ok(self.map().get(key).cloned())
    }

    fn range(&self, start: &[u8], more: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), EngineError> {
        self.map().range(start.to_vec()..).all(|(key, value)| more(key, value));
        Ok(())
    }

    fn last_at_or_before(&self, key: &[u8]) -> Result<Option<super::Pair>, EngineError> {
        Ok(self.map().range(..=key.to_vec()).next_back().map(|(key, value)| (key.clone(), value.clone())))
    }

    fn write(&self, writes: Vec<Write>) -> Result<(), EngineError> {
        let mut map = self.map.write().unwrap_or_else(PoisonError::into_inner);
        for Write { key, value } in writes {
            match value {
                Some(value) => drop(map.insert(key, value)),
                None => drop(map.remove(&key)),
            }
        }
        Ok(())
    }

    /// Memory has nothing to flush.
    fn flush(&self, _n_batches: u64) -> Result<(), EngineError> {
        Ok(())
    }

    fn flushed(&self) -> Option<u64> {
        None
    }

    /// Memory is always whole and never there at the next start.
    fn mark_ready(&self) -> Result<(), EngineError> {
        Ok(())
    }

    fn unmark_ready(&self) {}
}
