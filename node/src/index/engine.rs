//! What an index asks of a storage engine, and the checks that do not trust it.

use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Bytes of the check behind every value.
pub(super) const CHECK_BYTES: usize = 8;

/// The key of the seal: table [`super::Table::Meta`].
const SEAL_KEY: &[u8] = b"\x00seal";

/// Why an engine failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum EngineError {
    /// It says itself that its files are not what it wrote.
    #[error("{0}")]
    Damaged(String),
    /// There is no space left.
    #[error("no space left on the disk")]
    DiskFull,
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

/// One change; no value takes the key away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Write {
    pub(super) key: Vec<u8>,
    pub(super) value: Option<Vec<u8>>,
}

/// An ordered map from bytes to bytes on a disk or in memory.
pub(super) trait Engine: Debug + Send + Sync {
    fn read(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError>;

    /// Shows pairs from `start` on, ascending, as long as `more` wants them.
    fn range(&self, start: &[u8], more: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), EngineError>;

    fn last_at_or_before(&self, key: &[u8]) -> Result<Option<super::Pair>, EngineError>;

    /// All or nothing, also after a crash.
    fn write(&self, writes: Vec<Write>) -> Result<(), EngineError>;

    /// What was written is on the disk when this returns. `n_batches` is the seal's count, kept beside the content: an
    /// engine that later shows an older state, whole in itself, is found out.
    fn flush(&self, n_batches: u64) -> Result<(), EngineError>;

    /// What the last flush was told, if that is still known.
    fn flushed(&self) -> Option<u64>;

    /// Notes durably that the content is whole.
    fn mark_ready(&self) -> Result<(), EngineError>;

    /// Takes that back, as well as it can.
    fn unmark_ready(&self);
}

fn check(key: &[u8], value: &[u8]) -> [u8; CHECK_BYTES] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(key);
    hasher.update(value);
    *hasher.finalize().as_bytes().first_chunk().expect("BLAKE3 has 32 bytes")
}

/// A value with its check, as it is stored.
pub(super) fn checked(key: &[u8], value: &[u8]) -> Vec<u8> {
    [value, &check(key, value)].concat()
}

/// The value of what was stored; `None` if it is not what was written.
pub(super) fn unchecked(key: &[u8], mut stored: Vec<u8>) -> Option<Vec<u8>> {
    let (value, found) = stored.split_last_chunk::<CHECK_BYTES>()?;
    if check(key, value) != *found {
        return None;
    }
    stored.truncate(stored.len() - CHECK_BYTES);
    Some(stored)
}

/// Count and sum of all checks: a key that vanished leaves every other value in order, but not the seal. And the number
/// of batches so far.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seal {
    n_keys: u64,
    sum: u64,
    pub(super) n_batches: u64,
}

impl Seal {
    /// One key got another stored value.
    pub(super) fn replace(&mut self, before: Option<&[u8]>, after: Option<&[u8]>) {
        let sum = |stored: &[u8]| u64::from_le_bytes(*stored.last_chunk().unwrap_or(&[0; CHECK_BYTES]));
        if let Some(before) = before {
            self.n_keys = self.n_keys.wrapping_sub(1);
            self.sum = self.sum.wrapping_sub(sum(before));
        }
        if let Some(after) = after {
            self.n_keys = self.n_keys.wrapping_add(1);
            self.sum = self.sum.wrapping_add(sum(after));
        }
    }

    pub(super) fn to_write(self) -> Write {
        let value = [self.n_keys, self.sum, self.n_batches].map(u64::to_le_bytes).concat();
        Write { key: SEAL_KEY.to_vec(), value: Some(checked(SEAL_KEY, &value)) }
    }

    fn parse(stored: &[u8]) -> Option<Self> {
        let value = unchecked(SEAL_KEY, stored.to_vec())?;
        let [n_keys, sum, n_batches] = value.as_chunks::<8>().0 else { return None };
        let [n_keys, sum, n_batches] = [n_keys, sum, n_batches].map(|number| u64::from_le_bytes(*number));
        Some(Self { n_keys, sum, n_batches })
    }
}

/// Reads everything once: each value against its check, all of them against the seal. Also tells the bytes of it.
pub(super) fn first_scan(engine: &dyn Engine) -> Result<(Seal, u64), EngineError> {
    let damaged = |why: &str| EngineError::Damaged(why.to_owned());
    let (mut found, mut seal, mut live_bytes, mut bad) = (Seal::default(), Seal::default(), 0, false);
    engine.range(&[], &mut |key, stored| {
        live_bytes += (key.len() + stored.len()) as u64;
        bad = unchecked(key, stored.to_vec()).is_none();
        if key == SEAL_KEY {
            seal = Seal::parse(stored).unwrap_or_default();
        } else {
            found.replace(None, Some(stored));
        }
        !bad
    })?;
    found.n_batches = seal.n_batches;
    if bad || found != seal {
        return Err(damaged("the first scan found something else than was written"));
    }
    if engine.flushed().is_some_and(|flushed| flushed > seal.n_batches) {
        return Err(damaged("what was flushed is gone"));
    }
    Ok((seal, live_bytes))
}

/// Runs something that may panic on damaged files; the text is what it said.
pub(super) fn catch<T>(operation: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(operation)).map_err(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic".to_owned())
    })
}
