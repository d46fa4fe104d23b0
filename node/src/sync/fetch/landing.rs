//! What has come of a fetch so far, for whoever uses it while the rest is on its way.

use std::sync::Arc;

use syncra_protocol::tree::ContentIndex;
use tokio::sync::watch;

/// The sending half: the fetch says what is here. When it is dropped, nothing more comes.
#[derive(Debug)]
pub struct Landing(watch::Sender<State>);

/// The receiving half.
#[derive(Debug, Clone)]
pub struct Landed(watch::Receiver<State>);

#[derive(Debug, Default)]
struct State {
    index: Option<Arc<ContentIndex>>,
    /// By number of the segment.
    is_here: Vec<bool>,
}

/// Both halves of a fetch of which nothing has come.
#[must_use]
pub fn landing() -> (Landing, Landed) {
    let (sender, receiver) = watch::channel(State::default());
    (Landing(sender), Landed(receiver))
}

impl Landing {
    /// For whoever waits until all is here.
    #[must_use]
    pub fn unheard() -> Self {
        landing().0
    }

    /// The content was found to be what was declared, and this much of it is here.
    pub fn begin(&self, index: &Arc<ContentIndex>, is_here: Vec<bool>) {
        self.0.send_replace(State { index: Some(Arc::clone(index)), is_here });
    }

    /// A segment is complete, and its hash is right.
    pub fn segment(&self, number: usize) {
        self.0.send_if_modified(|state| {
            state.is_here.get_mut(number).is_some_and(|is_here| !std::mem::replace(is_here, true))
        });
    }
}

impl Landed {
    /// Content that is here already.
    #[must_use]
    pub fn all(index: &Arc<ContentIndex>) -> Self {
        let (landing, landed) = landing();
        landing.begin(index, vec![true; index.segments().len()]);
        landed
    }

    /// What the content is made of; none when it never came.
    pub async fn index(&mut self) -> Option<Arc<ContentIndex>> {
        let state = self.0.wait_for(|state| state.index.is_some()).await.ok()?;
        state.index.clone()
    }

    /// Waits until a segment is here; false when it never comes.
    pub async fn segment(&mut self, number: usize) -> bool {
        self.0.wait_for(|state| state.is_here.get(number).copied().unwrap_or(false)).await.is_ok()
    }
}
