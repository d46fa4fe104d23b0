//! `.syncpack` files: packages on a stick. The bytes are in `docs/spec/syncpack.md`.
//!
//! A file proves nothing by itself: histories in it are verified like those of a peer, blobs by their hashes, and all of
//! that before anything is kept. So it does not matter who carried it.

pub mod export;
pub mod frame;
pub mod import;
mod learnt;
mod survey;

pub use export::{ExportError, Exported, export};
pub use import::{ImportError, Imported, import};
pub use learnt::LearntFork;
pub use survey::SurveyError;
