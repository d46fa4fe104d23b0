//! The machines: they decide what to ask of whom, and never do it themselves.
//!
//! Each is driven the same way, by the node's tasks and by the simulator of the tests: `handle(now, input)`,
//! `handle_timeout(now)` once `next_timeout()` has come, and after each of them `poll_effect()` until there is none.
//! Times come in and go out as [`Timestamp`]; every count and duration that a peer names is clamped before it is used.
//!
//! | machine | for one |
//! |---|---|
//! | [`follow::Follower`] | package: keeps its evidence set up to date |
//! | [`fetch::Fetcher`] | content root: chooses who sends which parts |
//! | [`gossip::Notices`] | node: which head notices it believes and passes on |
//! | [`score::Scores`] | node: what peers did, and what follows from it |
//! | [`omission::Omissions`] | node: who leaves out newer heads |

use core::time::Duration;

use crate::Timestamp;
use crate::key::DeviceKey;

pub mod fetch;
pub mod follow;
pub mod gossip;
pub mod omission;
pub mod score;

/// A node on the network: its device key is its address there.
pub type Peer = DeviceKey;

/// How long to leave somebody alone after failures in a row: doubling from one second to five minutes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Backoff {
    n_failures: u32,
}

impl Backoff {
    const FIRST: Duration = Duration::from_secs(1);
    const LAST: Duration = Duration::from_secs(300);

    /// One more failure: the time until when to rest.
    fn fail(&mut self, now: Timestamp) -> Timestamp {
        let rest = Self::FIRST * 2_u32.pow(self.n_failures.min(16));
        self.n_failures = self.n_failures.saturating_add(1);
        now.after(rest.min(Self::LAST))
    }

    /// A time that the other side asked for, within our own bounds.
    fn asked(now: Timestamp, retry_after: Duration) -> Timestamp {
        now.after(retry_after.clamp(Self::FIRST, Self::LAST))
    }

    const fn succeed(&mut self) {
        self.n_failures = 0;
    }
}
