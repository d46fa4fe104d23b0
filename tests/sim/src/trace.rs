//! Everything that happens, hashed in order: equal seeds have equal traces.

use syncra_protocol::Timestamp;

/// See the [module](self).
#[derive(Debug)]
pub struct Trace(blake3::Hasher);

impl Trace {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self(blake3::Hasher::new())
    }

    /// Something happens to a node: its kind, a number, and bytes.
    pub fn event(&mut self, at: Timestamp, kind: u8, who: usize, number: u64, bytes: &[u8]) {
        let mut head = [0; 33];
        head[..8].copy_from_slice(&at.0.to_le_bytes());
        head[8] = kind;
        head[9..17].copy_from_slice(&(who as u64).to_le_bytes());
        head[17..25].copy_from_slice(&number.to_le_bytes());
        head[25..].copy_from_slice(&(bytes.len() as u64).to_le_bytes());
        self.0.update(&head).update(bytes);
    }

    /// The hash.
    #[must_use]
    pub fn finish(&self) -> [u8; 32] {
        *self.0.finalize().as_bytes()
    }
}

impl Default for Trace {
    fn default() -> Self {
        Self::new()
    }
}
