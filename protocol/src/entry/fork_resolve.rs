//! Saying which of two histories of one log goes on.

use serde::{Deserialize, Serialize};

use super::Cut;
use crate::key::DeviceKey;

/// Says up to where, and in which of two histories that its key signed, a log of the package counts. Nothing newer of the log
/// is ever accepted: whose log it is goes on with another key.
///
/// The word of another device of the same identity, or of as many owners as must agree. The forked key has none: whoever
/// signed the other history has it too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForkResolve {
    /// The log's key.
    pub log: DeviceKey,
    /// How far it counts, and of which history that is.
    pub cut: Cut,
}

impl ForkResolve {
    pub(super) const fn check(&self) -> Result<(), &'static str> {
        if self.cut.size == 0 { Err("a cut names an empty log") } else { Ok(()) }
    }
}
