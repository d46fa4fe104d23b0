//! What a power cut or a kill leaves of a home, found out from outside: the program itself knows nothing of this.
//!
//! [`Recording::of`] runs a command under `strace` and keeps every change below one directory as an [`Event`]: bytes,
//! lengths, names, syncs, and what was said on stdout. [`Recording::after_cut`] then builds the [`Disk`] as it may look
//! after a power cut behind any event: what was synced is there, of the rest a seeded choice ([`Loss`]).
//!
//! The model is stricter than most file systems: a synced file without its synced name is gone, names and bytes reach
//! the disk in any order, a rename happens whole or not at all. Calls that it does not know end the test, and the full
//! recording must give exactly what is on the real disk, so it cannot be wrong unnoticed.

mod disk;
mod loss;
mod record;
mod stage;
mod strace;

pub use disk::{Change, Disk, Inode, Kind, Node};
pub use loss::{Loss, Rng};
pub use record::{Event, Recording, What};
pub use stage::Stage;
pub use strace::{Call, KillPoint, fail_from, is_permitted, kill_at, run};
