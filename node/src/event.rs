//! What happens in the node, for the engine, the API and the command line: a numbered stream with a bounded memory.
//!
//! Readers hold a cursor, not a queue: one that falls behind the ring gets [`Event::Resync`] and reads the state anew.
//! So a slow reader costs nothing, and nobody waits for it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use serde::{Deserialize, Serialize};
use syncra_protocol::Timestamp;
use syncra_protocol::id::{IdentityId, PackageId, ReleaseId};
use syncra_protocol::version::Version;
use tokio::sync::watch;
use utoipa::ToSchema;

/// Events remembered for readers that come late or come back.
const REMEMBERED: usize = 1_024;

/// Ids as people and other verbs write them, not as lists of numbers.
mod as_text {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<T: Display, S: Serializer>(id: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(id)
    }

    pub(super) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// The node is up and its doors are open.
    NodeStarted,
    /// The node is shutting down; the stream ends after this.
    NodeStopping,
    /// Events were missed: read the state anew. Only the reader concerned gets it.
    Resync,
    /// A peer is connected.
    PeerConnected {
        /// Its device key.
        peer: String,
    },
    /// The last connection with a peer ended.
    PeerDisconnected {
        /// Its device key.
        peer: String,
    },
    /// A peer did something that it may not; what it sent was refused.
    PeerFault {
        /// The package concerned; empty for content.
        package_id: String,
        /// Its device key.
        peer: String,
        /// What it did.
        fault: String,
    },
    /// Verified news of a package is stored.
    PackageUpdated {
        /// The package.
        package_id: String,
        /// Releases that were not known before.
        n_releases: usize,
    },
    /// An API token was made.
    TokenCreated {
        /// Its id; never the secret.
        id: String,
    },
    /// An API token was revoked.
    TokenRevoked {
        /// Its id.
        id: String,
    },
    /// A release was published from here.
    Published {
        /// Its reference.
        #[serde(rename = "ref")]
        reference: String,
        /// Its id.
        release_id: String,
    },
    /// A release was installed, or another one than before. One event for each package, before `generation_changed`.
    Installed {
        /// The package.
        #[serde(rename = "package_id")]
        #[serde(with = "as_text")]
        #[schema(value_type = String)]
        package: PackageId,
        /// The release.
        #[serde(rename = "release_id")]
        #[serde(with = "as_text")]
        #[schema(value_type = String)]
        release: ReleaseId,
        /// Its version.
        #[schema(value_type = String)]
        version: Version,
        /// The directory with its files. Never changed; it goes only after the release is no longer installed.
        path: String,
    },
    /// A package is no longer installed.
    Removed {
        /// The package.
        #[serde(rename = "package_id")]
        #[serde(with = "as_text")]
        #[schema(value_type = String)]
        package: PackageId,
    },
    /// A package is followed from now on, or along another channel.
    Followed {
        /// The package.
        #[serde(rename = "package_id")]
        #[serde(with = "as_text")]
        #[schema(value_type = String)]
        package: PackageId,
        /// The channel; none for what `add` was told, else the default one.
        channel: Option<String>,
    },
    /// A package is followed no more.
    Unfollowed {
        /// The package.
        #[serde(rename = "package_id")]
        #[serde(with = "as_text")]
        #[schema(value_type = String)]
        package: PackageId,
    },
    /// A newer release of a followed package is not installed unasked. Told once for a release and reason; what is
    /// installed stays.
    FollowRefused {
        /// The package.
        #[serde(rename = "package_id")]
        #[serde(with = "as_text")]
        #[schema(value_type = String)]
        package: PackageId,
        /// How people name it.
        #[serde(rename = "ref")]
        reference: String,
        /// The version, if one is meant at all.
        #[schema(value_type = Option<String>)]
        version: Option<Version>,
        /// Why.
        reason: String,
        /// What to do.
        hint: String,
    },
    /// A newer release of a followed package could not be installed; it is tried again.
    FollowFailed {
        /// The package.
        #[serde(rename = "package_id")]
        #[serde(with = "as_text")]
        #[schema(value_type = String)]
        package: PackageId,
        /// Why.
        reason: String,
    },
    /// Somebody proposes something to a package that is held here.
    Proposed {
        /// The package.
        #[serde(rename = "package_id")]
        #[serde(with = "as_text")]
        #[schema(value_type = String)]
        package: PackageId,
        /// What is proposed, a package of its own.
        #[serde(rename = "proposal_id")]
        #[serde(with = "as_text")]
        #[schema(value_type = String)]
        proposal: PackageId,
        /// In a line.
        title: String,
    },
    /// Another generation is in force.
    GenerationChanged {
        /// Its number; zero when nothing is installed.
        generation: u64,
    },
    /// The user said something else of an identity: trust, a block or a name.
    RegardChanged {
        /// Who.
        #[serde(with = "as_text")]
        #[schema(value_type = String)]
        identity: IdentityId,
    },
    /// A setting was changed in `config.toml`; it counts from the next start.
    ConfigChanged {
        /// Its key.
        key: String,
    },
}

/// One event with its place in the stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventFrame {
    /// Grows by one from event to event. The first of a run is its start time in milliseconds, so that numbers of
    /// different runs of one home do not meet.
    pub seq: u64,
    /// When, in milliseconds since the Unix epoch, by this node's clock.
    pub at_ms: u64,
    /// What.
    pub event: Event,
}

/// The stream's memory: who emits, and where readers subscribe.
#[derive(Debug)]
pub struct Events {
    ring: Mutex<VecDeque<EventFrame>>,
    next: watch::Sender<u64>,
}

impl Events {
    /// An empty stream of a node that started at `now`.
    #[must_use]
    pub fn new(now: Timestamp) -> Arc<Self> {
        Arc::new(Self { ring: Mutex::default(), next: watch::Sender::new(now.0.max(1)) })
    }

    /// Adds an event. Never waits for a reader.
    pub fn emit(&self, now: Timestamp, event: Event) {
        let mut ring = self.ring();
        let seq = *self.next.borrow();
        if ring.len() == REMEMBERED {
            ring.pop_front();
        }
        ring.push_back(EventFrame { seq, at_ms: now.0, event });
        self.next.send_replace(seq.saturating_add(1));
    }

    /// A reader of what happens after event `since`; from now on if it is `None`; of all that is remembered if it is 0.
    #[must_use]
    pub fn subscribe(self: &Arc<Self>, since: Option<u64>) -> Subscription {
        let watch = self.next.subscribe();
        let cursor = match since {
            None => *watch.borrow(),
            Some(0) => self.oldest(),
            Some(since) => since.saturating_add(1),
        };
        Subscription { events: self.clone(), cursor, watch }
    }

    fn oldest(&self) -> u64 {
        self.ring().front().map_or_else(|| *self.next.borrow(), |frame| frame.seq)
    }

    fn ring(&self) -> MutexGuard<'_, VecDeque<EventFrame>> {
        self.ring.lock().expect("nothing panics while it holds the ring")
    }
}

/// One reader's place in the stream.
#[derive(Debug)]
pub struct Subscription {
    events: Arc<Events>,
    cursor: u64,
    watch: watch::Receiver<u64>,
}

impl Subscription {
    /// The next event, as soon as there is one; never ends by itself. Safe to cancel: an event is only passed over
    /// when it is returned.
    pub async fn next(&mut self) -> EventFrame {
        loop {
            self.watch.mark_unchanged();
            if let Some(frame) = self.poll() {
                return frame;
            }
            // The sender lives in `self.events`, so this cannot fail.
            drop(self.watch.changed().await);
        }
    }

    /// The next event if there is one already.
    pub fn poll(&mut self) -> Option<EventFrame> {
        let ring = self.events.ring();
        let end = *self.events.next.borrow();
        let start = ring.front().map_or(end, |frame| frame.seq);
        if !(start..=end).contains(&self.cursor) {
            // Fell off the ring, or the number is of another run.
            self.cursor = start;
            let at_ms = ring.front().map_or(0, |frame| frame.at_ms);
            return Some(EventFrame { seq: start.saturating_sub(1), at_ms, event: Event::Resync });
        }
        let index = usize::try_from(self.cursor - start).ok()?;
        let frame = ring.get(index).cloned()?;
        self.cursor += 1;
        Some(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn emit(events: &Events, n: u64) {
        (0..n).for_each(|i| events.emit(Timestamp(i), Event::TokenCreated { id: i.to_string() }));
    }

    fn drain(reader: &mut Subscription) -> Vec<EventFrame> {
        std::iter::from_fn(|| reader.poll()).collect()
    }

    /// As every other answer writes them, and as the schema says.
    #[test]
    fn ids_are_text() {
        let [package, proposal] = [7, 8].map(|byte| PackageId::from_bytes([byte; 32]));
        let (release, identity) = (ReleaseId::from_bytes([9; 32]), IdentityId::from_bytes([6; 32]));
        let (version, path) = (Version::new(1, 0, 0), "store/it".to_owned());
        let all = [
            (Event::Proposed { package, proposal, title: "Fins".to_owned() }, "proposal_id", proposal.to_string()),
            (Event::Installed { package, release, version, path }, "release_id", release.to_string()),
            (Event::RegardChanged { identity }, "identity", identity.to_string()),
        ];
        for (event, field, is) in all {
            let json = serde_json::to_value(&event).expect("JSON");
            assert_eq!(json[field], is);
            assert!(json.get("package_id").is_none_or(|id| *id == package.to_string()), "{json}");
            assert_eq!(serde_json::from_value::<Event>(json).expect("read again"), event);
        }
    }

    #[test]
    fn readers_start_where_they_say() {
        let events = Events::new(Timestamp(1_000));
        emit(&events, 3);
        assert_eq!(drain(&mut events.subscribe(None)), []);
        let all = drain(&mut events.subscribe(Some(0)));
        assert_eq!(all.iter().map(|f| f.seq).collect::<Vec<_>>(), [1_000, 1_001, 1_002]);
        assert_eq!(drain(&mut events.subscribe(Some(1_001))), all[2..]);
        assert_eq!(drain(&mut events.subscribe(Some(1_002))), []);
    }

    #[test]
    fn a_slow_reader_gets_resync_and_memory_stays_bounded() {
        let events = Events::new(Timestamp(1));
        let mut slow = events.subscribe(None);
        emit(&events, 3 * REMEMBERED as u64);
        let seen = drain(&mut slow);
        assert_eq!(seen[0].event, Event::Resync);
        assert_eq!(seen.len(), REMEMBERED + 1);
        assert_eq!(seen[0].seq + 1, seen[1].seq, "reading on after the resync frame's number misses nothing");
    }

    #[test]
    fn a_number_of_another_run_is_a_resync() {
        let events = Events::new(Timestamp(5_000));
        emit(&events, 1);
        for foreign in [17, 9_999] {
            assert_eq!(drain(&mut events.subscribe(Some(foreign)))[0].event, Event::Resync);
        }
    }

    #[tokio::test]
    async fn a_waiting_reader_is_woken() {
        let events = Events::new(Timestamp(1));
        let mut reader = events.subscribe(None);
        let waiting = tokio::spawn(async move { reader.next().await });
        emit(&events, 1);
        // Either order of the two tasks must deliver: the cursor was taken before the event.
        assert_eq!(waiting.await.unwrap().event, Event::TokenCreated { id: "0".into() });
    }
}
