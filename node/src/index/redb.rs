//! The same engine over redb: the second opinion of the differential test, and what a large mirror could use.

use std::path::Path;

use ::redb::{Database, ReadableDatabase as _, TableDefinition};

use super::engine::{Engine, EngineError, Write};

const PAIRS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("pairs");

#[derive(Debug)]
pub(super) struct Redb {
    database: Database,
}

fn failed(error: impl ToString) -> EngineError {
    EngineError::Failed(error.to_string())
}

impl Redb {
    pub(super) fn open(path: &Path) -> Self {
        let database = Database::create(path).expect("opens");
        let write = database.begin_write().expect("begins");
        write.open_table(PAIRS).expect("opens");
        write.commit().expect("commits");
        Self { database }
    }
}

impl Engine for Redb {
    fn read(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        let table = self.database.begin_read().map_err(failed)?.open_table(PAIRS).map_err(failed)?;
        Ok(table.get(key).map_err(failed)?.map(|value| value.value().to_vec()))
    }

    fn range(&self, start: &[u8], more: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), EngineError> {
        let table = self.database.begin_read().map_err(failed)?.open_table(PAIRS).map_err(failed)?;
        for pair in table.range(start..).map_err(failed)? {
            let (key, value) = pair.map_err(failed)?;
            if !more(key.value(), value.value()) {
                break;
            }
        }
        Ok(())
    }

    fn last_at_or_before(&self, key: &[u8]) -> Result<Option<super::Pair>, EngineError> {
        let table = self.database.begin_read().map_err(failed)?.open_table(PAIRS).map_err(failed)?;
        let last = table.range(..=key).map_err(failed)?.next_back().transpose().map_err(failed)?;
        Ok(last.map(|(key, value)| (key.value().to_vec(), value.value().to_vec())))
    }

    fn write(&self, writes: Vec<Write>) -> Result<(), EngineError> {
        let transaction = self.database.begin_write().map_err(failed)?;
        {
            let mut table = transaction.open_table(PAIRS).map_err(failed)?;
            for Write { key, value } in writes {
                match value {
                    Some(value) => drop(table.insert(key.as_slice(), value.as_slice()).map_err(failed)?),
                    None => drop(table.remove(key.as_slice()).map_err(failed)?),
                }
            }
        }
        transaction.commit().map_err(failed)
    }

    /// Every commit is durable.
    fn flush(&self, _n_batches: u64) -> Result<(), EngineError> {
        Ok(())
    }

    fn flushed(&self) -> Option<u64> {
        None
    }

    /// Only tests open it, and they know.
    fn mark_ready(&self) -> Result<(), EngineError> {
        Ok(())
    }

    fn unmark_ready(&self) {}
}
