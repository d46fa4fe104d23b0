//! Progress bars, one for each stage, gone when the work is done.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::text::printable;
use crate::progress::{ProgressFrame, Unit};

/// How often a spinner turns while nothing is reported.
const TICK: Duration = Duration::from_millis(120);

/// The bars of one piece of work. Dropping clears them.
#[derive(Debug)]
pub(in crate::cli) struct Bars {
    screen: Option<MultiProgress>,
    stages: Mutex<BTreeMap<String, ProgressBar>>,
}

impl Bars {
    pub(super) fn new(visible: bool) -> Self {
        Self { screen: visible.then(MultiProgress::new), stages: Mutex::default() }
    }

    /// Shows what was reported.
    pub(in crate::cli) fn show(&self, frame: &ProgressFrame) {
        let Some(screen) = &self.screen else { return };
        let mut stages = self.stages.lock().expect("nothing panics while it holds the bars");
        let bar = stages.entry(frame.stage.clone()).or_insert_with(|| screen.add(bar(frame)));
        if let Some(total) = frame.total {
            bar.set_length(total);
        }
        bar.set_position(frame.done);
        if let Some(note) = &frame.note {
            bar.set_message(printable(note));
        }
        if frame.total == Some(frame.done) {
            bar.finish();
        }
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        if let Some(screen) = &self.screen {
            // A terminal that is gone needs no clearing.
            drop(screen.clear());
        }
    }
}

fn bar(frame: &ProgressFrame) -> ProgressBar {
    let template = match (frame.total, frame.unit) {
        (Some(_), Unit::Bytes) => "{prefix:>10} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {msg}",
        (Some(_), Unit::Items) => "{prefix:>10} [{bar:30}] {pos}/{len} {msg}",
        (None, Unit::Bytes) => "{prefix:>10} {spinner} {bytes} {bytes_per_sec} {msg}",
        (None, Unit::Items) => "{prefix:>10} {spinner} {pos} {msg}",
    };
    let style = ProgressStyle::with_template(template).expect("the template is fixed").progress_chars("=> ");
    let bar = ProgressBar::no_length().with_style(style).with_prefix(printable(&frame.stage));
    bar.enable_steady_tick(TICK);
    bar
}
