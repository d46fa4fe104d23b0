//! Progress of a long operation: flows report, a door or the command line shows. Reports are hints: when nobody
//! reads fast enough they are dropped, so reporting never waits and never grows.

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use utoipa::ToSchema;

/// Frames waiting for their reader; more are dropped.
const WAITING_FRAMES: usize = 64;

/// What the numbers of a [`ProgressFrame`] count.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Files, packages, entries: whatever the stage counts.
    #[default]
    Items,
}

/// How far one stage of an operation is.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProgressFrame {
    /// What is being done, for example `fetch`; a new name is a new stage.
    #[schema(example = "fetch")]
    pub stage: String,
    /// Units done.
    pub done: u64,
    /// Units in all, when known.
    pub total: Option<u64>,
    /// What `done` and `total` count.
    #[serde(default)]
    pub unit: Unit,
    /// What is worked on at the moment, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Where an operation reports to.
#[derive(Debug, Clone, Default)]
pub struct Progress(Option<mpsc::Sender<ProgressFrame>>);

impl Progress {
    /// Nobody is watching.
    #[must_use]
    pub fn unwatched() -> Self {
        Self(None)
    }

    /// A reporter and its bounded reader.
    #[must_use]
    pub fn watched() -> (Self, mpsc::Receiver<ProgressFrame>) {
        let (sender, reader) = mpsc::channel(WAITING_FRAMES);
        (Self(Some(sender)), reader)
    }

    /// Whether reports go anywhere: a costly note need not be made otherwise.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        self.0.is_some()
    }

    /// Says how far it is; dropped when the reader is behind.
    pub fn report(&self, frame: ProgressFrame) {
        if let Some(sender) = &self.0 {
            drop(sender.try_send(frame));
        }
    }

    /// Says that `done` of `total` bytes of a stage are done.
    pub fn bytes(&self, stage: &str, done: u64, total: Option<u64>) {
        self.report(ProgressFrame { stage: stage.to_owned(), done, total, unit: Unit::Bytes, note: None });
    }

    /// Says that `done` of `total` items of a stage are done.
    pub fn items(&self, stage: &str, done: u64, total: Option<u64>) {
        self.report(ProgressFrame { stage: stage.to_owned(), done, total, unit: Unit::Items, note: None });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_sleeps_costs_reports_and_nothing_else() {
        let (progress, mut reader) = Progress::watched();
        for done in 0..10_000 {
            progress.bytes("fetch", done, None);
        }
        drop(progress);
        let held = std::iter::from_fn(|| reader.try_recv().ok()).count();
        assert_eq!(held, WAITING_FRAMES);
    }
}
