//! What an index asks of a storage engine, and the checks that do not trust it.

use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Bytes of the check behind every value.
pub(super) const CHECK_BYTES: usize = 8;

/// The key of the seal: table [`super::Table::Meta`].
const SEAL_KEY: &[u8] = b"\x00seal";

/// Why an engine failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum EngineError {
    /// It says itself that its files are not what it wrote.
    Damaged(String),
    /// Anything else, for instance a full disk.
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

    /// What was written is on the disk when this returns.
    fn flush(&self) -> Result<(), EngineError>;

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

/// Count and sum of all checks: a key that vanished leaves every other value in order, but not the seal.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seal {
    n_keys: u64,
    sum: u64,
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
        let value = [self.n_keys.to_le_bytes(), self.sum.to_le_bytes()].concat();
        Write { key: SEAL_KEY.to_vec(), value: Some(checked(SEAL_KEY, &value)) }
    }
}

/// Reads everything once: each value against its check, all of them against the seal. Also tells the bytes of it.
pub(super) fn first_scan(engine: &dyn Engine) -> Result<(Seal, u64), EngineError> {
    let (mut found, mut stored_seal, mut live_bytes, mut bad) = (Seal::default(), None, 0, false);
    engine.range(&[], &mut |key, stored| {
        live_bytes += (key.len() + stored.len()) as u64;
        bad = unchecked(key, stored.to_vec()).is_none();
        if key == SEAL_KEY {
            stored_seal = Some(stored.to_vec());
        } else {
            found.replace(None, Some(stored));
        }
        !bad
    })?;
    let empty_and_unsealed = stored_seal.is_none() && found == Seal::default();
    if bad || !(empty_and_unsealed || stored_seal == found.to_write().value) {
        return Err(EngineError::Damaged("the first scan found something else than was written".to_owned()));
    }
    Ok((found, live_bytes))
}

/// Runs something that may panic on damaged files; the text is what it said.
pub(super) fn catch<T>(operation: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(operation)).map_err(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic".to_owned())
    })
}
