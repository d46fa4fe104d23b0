//! What broke in tasks that may never end, and how they go on: each is begun anew after a pause, and counted.
//!
//! A panic is a mistake of ours, but a peer may have found out how to provoke it. So it costs the task its state and
//! nobody else anything, and the user is told, by `status` and by `doctor`.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use syncra_protocol::Timestamp;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::clock;

/// Before a task is begun anew; doubled with each panic that follows soon. Below a second: one panic is hardly noticed.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause. A peer that can provoke panics at will costs a task a minute each time, never the task.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A task that lived so long since its last panic begins with the first pause again.
const SOUND: Duration = Duration::from_secs(120);
/// Characters kept of what a panic says: it may contain what a peer sent.
const REASON_CHARS: usize = 200;

/// What broke in one kind of task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incident {
    /// The task.
    pub task: &'static str,
    /// How often.
    pub n: u64,
    /// When last.
    pub at: Timestamp,
    /// What the last panic said.
    pub reason: String,
}

impl fmt::Display for Incident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { task, n, at: Timestamp(at), reason } = self;
        write!(f, "the task `{task}` broke {n} times and was begun anew, last at {}: {reason}", clock::utc(*at))
    }
}

/// Everything that broke since the process started. A handle: cheap to clone. There are as many kinds of tasks as names
/// in the source, so it is bounded.
#[derive(Debug, Clone, Default)]
pub struct Incidents(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    by_task: Mutex<BTreeMap<&'static str, Incident>>,
    #[cfg(test)]
    traps: Mutex<BTreeMap<&'static str, u64>>,
    #[cfg(test)]
    trapped: tokio::sync::Notify,
}

impl Incidents {
    /// Notes a panic and tells the log.
    pub fn note(&self, task: &'static str, panic: &(dyn Any + Send)) {
        let reason = reason(panic);
        tracing::error!(task, reason, "a task panicked");
        let mut by_task = self.0.by_task.lock().unwrap_or_else(PoisonError::into_inner);
        let incident =
            by_task.entry(task).or_insert_with(|| Incident { task, n: 0, at: Timestamp(0), reason: String::new() });
        (incident.n, incident.at, incident.reason) = (incident.n.saturating_add(1), clock::now(), reason);
    }

    /// What broke, by name of the task.
    #[must_use]
    pub fn list(&self) -> Vec<Incident> {
        self.0.by_task.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// How often anything broke.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.list().iter().map(|incident| incident.n).fold(0, u64::saturating_add)
    }

    /// `work`, or none when it panicked, which is noted.
    pub async fn guard<T>(&self, task: &'static str, work: impl Future<Output = T>) -> Option<T> {
        let noted = |panic: Box<dyn Any + Send>| self.note(task, panic.as_ref());
        AssertUnwindSafe(self.trapped(task, work)).catch_unwind().await.map_err(noted).ok()
    }

    /// Runs what `begin` begins until it ends by itself or `stop`. What panics is noted and begun anew after a pause.
    pub async fn keep_running<F>(self, task: &'static str, stop: CancellationToken, mut begin: impl FnMut() -> F)
    where
        F: Future<Output = ()>,
    {
        let mut pause = FIRST_PAUSE;
        loop {
            let began = Instant::now();
            if self.guard(task, begin()).await.is_some() || stop.is_cancelled() {
                return;
            }
            if began.elapsed() >= SOUND {
                pause = FIRST_PAUSE;
            }
            tracing::warn!(task, ?pause, "it is begun anew");
            if timeout(pause, stop.cancelled()).await.is_ok() {
                return;
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    #[cfg(not(test))]
    async fn trapped<T>(&self, _: &'static str, work: impl Future<Output = T>) -> T {
        work.await
    }
}

#[cfg(test)]
impl Incidents {
    /// Lets the task of this name panic wherever it is, once.
    pub(crate) fn trap(&self, task: &'static str) {
        *self.0.traps.lock().expect("no poison").entry(task).or_default() += 1;
        self.0.trapped.notify_waiters();
    }

    async fn trapped<T>(&self, task: &'static str, work: impl Future<Output = T>) -> T {
        let trap = async {
            loop {
                let notified = self.0.trapped.notified();
                tokio::pin!(notified);
                notified.as_mut().enable();
                if let Some(n @ 1..) = self.0.traps.lock().expect("no poison").get_mut(task) {
                    *n -= 1;
                    return;
                }
                notified.await;
            }
        };
        tokio::select! {
            biased;
            () = trap => panic!("asked to by a test"),
            done = work => done,
        }
    }
}

fn reason(panic: &(dyn Any + Send)) -> String {
    let text = match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (_, Some(text)) => text.as_str(),
        _ => "it did not say why",
    };
    text.chars().filter(|c| !c.is_control()).take(REASON_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_panics_is_begun_anew_with_growing_pauses_and_counted() {
        let (incidents, stop) = (Incidents::default(), CancellationToken::new());
        let began = Instant::now();
        let mut at = Vec::new();
        incidents
            .clone()
            .keep_running("test", stop, || {
                at.push(began.elapsed());
                let n = at.len();
                async move { assert!(n > 12, "{}{}", '\u{1b}', "x".repeat(1_000)) }
            })
            .await;
        let pauses: Vec<Duration> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(pauses[0] < Duration::from_secs(1), "{pauses:?}");
        assert!(pauses.windows(2).all(|pair| pair[0] <= pair[1]), "{pauses:?}");
        assert_eq!(pauses.last().map(Duration::as_secs), Some(LONGEST_PAUSE.as_secs()), "{pauses:?}");
        let [incident] = &incidents.list()[..] else { panic!("one kind of task") };
        assert_eq!((incident.task, incident.n, incidents.count()), ("test", 12, 12));
        assert_eq!(incident.reason, "x".repeat(REASON_CHARS));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_ends_the_pause() {
        let (incidents, stop) = (Incidents::default(), CancellationToken::new());
        stop.cancel();
        incidents.clone().keep_running("test", stop, || async { panic!("on purpose") }).await;
        assert_eq!(incidents.count(), 1);
    }
}
