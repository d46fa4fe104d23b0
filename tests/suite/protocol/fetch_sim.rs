//! One fetcher and its providers in virtual time: each with a rate, what it has, and a way to fail.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use syncra_protocol::Timestamp;
use syncra_protocol::key::DeviceSecret;
use syncra_protocol::sync::Peer;
use syncra_protocol::sync::fetch::{
    BATCH_PARTS, BatchId, Effect, Failure, Fetcher, Haves, Input, Part, Reach, SOLO_BATCH_BYTES,
};

use syncra_sim::net::Queue;
use syncra_sim::rng::Rng;

/// How a provider behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    Honest,
    /// Sends a wrong byte in every part from this one on, counted over all that it sends.
    Corrupt(usize),
    /// Sends nothing any more after so many parts.
    Stall(usize),
    /// Sends a few bytes a second after so many parts.
    Trickle(usize),
    /// Says not found after so many parts, whatever it said to have.
    Lack(usize),
    /// Leaves after so many parts and comes back after so many milliseconds.
    Leave(usize, u64),
    /// Ends its answer early, as if all were well.
    Cut(usize),
    /// Too busy for the first so many batches.
    Busy(usize),
}

pub(crate) struct Provider {
    pub(crate) peer: Peer,
    pub(crate) reach: Reach,
    pub(crate) haves: Haves,
    pub(crate) bytes_per_ms: u64,
    pub(crate) manner: Manner,
    pub(crate) n_sent: usize,
    pub(crate) n_batches: usize,
    free_at: u64,
}

enum Event {
    Input(Input),
    /// A part of a batch leaves the provider; the rest of the batch follows.
    Send {
        provider: usize,
        batch: BatchId,
        parts: Vec<u32>,
    },
    Return(usize),
}

pub(crate) struct FetchSim {
    pub(crate) fetcher: Fetcher,
    queue: Queue<Event>,
    pub(crate) providers: Vec<Provider>,
    sizes: BTreeMap<u32, u64>,
    open: BTreeMap<BatchId, (Peer, BTreeSet<u32>)>,
    pub(crate) got: BTreeSet<u32>,
    pub(crate) fetches: Vec<(Peer, Vec<u32>)>,
    pub(crate) faults: Vec<(Peer, Failure)>,
    /// Who is let in no more.
    pub(crate) banned: Vec<Peer>,
    pub(crate) n_cancelled: usize,
    /// Parts asked of a second provider while the first was still to send them.
    pub(crate) n_copied: usize,
    pub(crate) starved: Vec<(usize, Option<Timestamp>)>,
    pub(crate) n_bytes_received: u64,
    pub(crate) done_at: Option<Timestamp>,
    started: Timestamp,
}

/// Until the first byte of an answer comes.
const fn latency_ms(reach: Reach) -> u64 {
    match reach {
        Reach::Lan => 1,
        Reach::Direct | Reach::Relayed => 20,
    }
}

impl FetchSim {
    pub(crate) fn new(sizes: &[u64], seed: u64) -> Self {
        let sizes: BTreeMap<u32, u64> = (0..).zip(sizes.iter().copied()).collect();
        Self::resume(&sizes, sizes.clone(), seed)
    }

    /// A fetch of `missing`, of all parts `sizes`.
    pub(crate) fn resume(missing: &BTreeMap<u32, u64>, sizes: BTreeMap<u32, u64>, seed: u64) -> Self {
        let parts = missing.iter().map(|(index, n_bytes)| Part { index: *index, n_bytes: *n_bytes });
        let queue = Queue::new();
        Self {
            fetcher: Fetcher::new(parts, seed),
            started: queue.now,
            queue,
            providers: vec![],
            got: sizes.keys().filter(|part| !missing.contains_key(part)).copied().collect(),
            sizes,
            open: BTreeMap::new(),
            fetches: vec![],
            faults: vec![],
            banned: vec![],
            n_cancelled: 0,
            n_copied: 0,
            starved: vec![],
            n_bytes_received: 0,
            done_at: None,
        }
    }

    pub(crate) fn provider(&mut self, reach: Reach, haves: Haves, bytes_per_ms: u64, manner: Manner) -> Peer {
        let seed = u8::try_from(self.providers.len()).unwrap() + 100;
        let peer = DeviceSecret::from_seed(&[seed; 32]).public();
        let provider =
            Provider { peer, reach, haves: haves.clone(), bytes_per_ms, manner, n_sent: 0, n_batches: 0, free_at: 0 };
        self.providers.push(provider);
        self.input(Input::Provider { peer, reach, haves });
        peer
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.done_at.expect("done").since(self.started)
    }

    pub(crate) fn n_bytes(&self) -> u64 {
        self.sizes.values().sum()
    }

    pub(crate) fn later(&mut self, in_ms: u64, input: Input) {
        self.queue.schedule(in_ms, Event::Input(input));
    }

    pub(crate) fn input(&mut self, input: Input) {
        // As the node does: a peer that is banned cannot come again.
        if matches!(&input, Input::Provider { peer, .. } if self.banned.contains(peer)) {
            return;
        }
        self.fetcher.handle(self.queue.now, input);
        self.perform();
    }

    pub(crate) fn run_for(&mut self, ms: u64) {
        let end = Timestamp(self.queue.now.0 + ms);
        for _ in 0..200_000 {
            let (timeout, event) = (self.fetcher.next_timeout(), self.queue.next_at());
            match (timeout, event) {
                (Some(at), _) if event.is_none_or(|event| at < event) && at <= end => {
                    self.queue.now = at.max(self.queue.now);
                    self.fetcher.handle_timeout(self.queue.now);
                    self.perform();
                }
                (_, Some(at)) if at <= end => {
                    let event = self.queue.pop().unwrap();
                    self.happen(event);
                }
                _ => return self.queue.now = end,
            }
        }
        panic!("the simulation does not come to rest");
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Input(input) => self.input(input),
            Event::Send { provider, batch, parts } => self.send(provider, batch, parts),
            Event::Return(provider) => {
                let Provider { peer, reach, .. } = self.providers[provider];
                let haves = self.providers[provider].haves.clone();
                self.input(Input::Provider { peer, reach, haves });
            }
        }
    }

    fn end(&mut self, batch: BatchId, result: Result<(), Failure>) {
        self.open.remove(&batch);
        self.input(Input::Ended { batch, result });
    }

    /// The next part of a batch has crossed the wire.
    fn send(&mut self, n: usize, batch: BatchId, mut parts: Vec<u32>) {
        if !self.open.contains_key(&batch) {
            return; // cancelled
        }
        let provider = &mut self.providers[n];
        match provider.manner {
            Manner::Corrupt(after) if provider.n_sent >= after => return self.end(batch, Err(Failure::Corrupt)),
            Manner::Stall(after) if provider.n_sent >= after => return,
            Manner::Trickle(after) if provider.n_sent >= after => {
                self.queue.schedule(1_000, Event::Input(Input::Progress { batch, n_bytes: 100 }));
                return self.queue.schedule(1_000, Event::Send { provider: n, batch, parts });
            }
            Manner::Lack(after) if provider.n_sent >= after => return self.end(batch, Err(Failure::NotFound)),
            Manner::Cut(after) if provider.n_sent >= after => return self.end(batch, Ok(())),
            Manner::Leave(after, ms) if provider.n_sent >= after => {
                provider.manner = Manner::Honest;
                let peer = provider.peer;
                self.open.retain(|_, (other, _)| *other != peer);
                self.queue.schedule(ms, Event::Return(n));
                return self.input(Input::Gone(peer));
            }
            _ => {}
        }
        let part = parts.remove(0);
        provider.n_sent += 1;
        self.n_bytes_received += self.sizes[&part];
        self.got.insert(part);
        if parts.is_empty() {
            self.open.remove(&batch);
            self.input(Input::Got { batch, part });
            return self.input(Input::Ended { batch, result: Ok(()) });
        }
        self.input(Input::Got { batch, part });
        if self.open.contains_key(&batch) {
            self.schedule_next(n, batch, parts);
        }
    }

    fn schedule_next(&mut self, n: usize, batch: BatchId, parts: Vec<u32>) {
        let provider = &mut self.providers[n];
        let n_bytes = parts.first().map_or(0, |part| self.sizes[part]);
        let (now, takes) = (self.queue.now.0, n_bytes / provider.bytes_per_ms);
        provider.free_at = provider.free_at.max(now) + takes;
        let in_ms = provider.free_at - now;
        for second in 1..=in_ms / 1_000 {
            let n_bytes = provider.bytes_per_ms * 1_000;
            self.queue.schedule(second * 1_000, Event::Input(Input::Progress { batch, n_bytes }));
        }
        self.queue.schedule(in_ms, Event::Send { provider: n, batch, parts });
    }

    fn perform(&mut self) {
        let mut started = Vec::new();
        while let Some(effect) = self.fetcher.poll_effect() {
            match effect {
                Effect::Fetch { batch, peer, parts } => started.push((batch, peer, parts)),
                Effect::Cancel { batch, peer } => {
                    if let Some((by, _)) = self.open.remove(&batch) {
                        assert_eq!(by, peer);
                        self.n_cancelled += 1;
                        let n = self.index(peer);
                        self.providers[n].free_at = self.queue.now.0;
                    }
                }
                Effect::Ban(peer) => self.banned.push(peer),
                Effect::Fault { peer, fault } => {
                    assert!(!matches!(fault, Failure::Busy { .. }), "being busy is no fault");
                    self.faults.push((peer, fault));
                }
                Effect::Starved { n_missing, retry_at } => {
                    assert!(n_missing > 0 && retry_at.is_none_or(|at| at > self.queue.now));
                    self.starved.push((n_missing, retry_at));
                }
                Effect::Done => {
                    assert!(self.done_at.is_none(), "done once");
                    assert_eq!(self.got.len(), self.sizes.len());
                    self.done_at = Some(self.queue.now);
                }
            }
        }
        for (batch, peer, parts) in started {
            self.start(batch, peer, parts);
        }
    }

    fn index(&self, peer: Peer) -> usize {
        self.providers.iter().position(|provider| provider.peer == peer).unwrap()
    }

    fn start(&mut self, batch: BatchId, peer: Peer, parts: Vec<u32>) {
        assert!(self.done_at.is_none() && !parts.is_empty() && parts.len() <= BATCH_PARTS);
        assert!(parts.is_sorted_by(|a, b| a < b));
        assert!(parts.iter().all(|part| !self.got.contains(part)), "what is here is not fetched");
        assert!(!self.banned.contains(&peer), "a banned peer is not asked");
        let n_bytes: u64 = parts.iter().map(|part| self.sizes[part]).sum();
        assert!(n_bytes <= SOLO_BATCH_BYTES || parts.len() == 1, "batches are bounded");
        self.open.insert(batch, (peer, parts.iter().copied().collect()));
        let of_peer = self.open.values().filter(|(other, _)| *other == peer).count();
        let n = self.index(peer);
        assert!(of_peer <= self.providers[n].reach.batches(), "a peer has {of_peer} batches");
        for part in &parts {
            let n_copies = self.open.values().filter(|(_, parts)| parts.contains(part)).count();
            assert!(n_copies <= 2 || self.got.contains(part), "{n_copies} copies of a part are under way");
            self.n_copied += usize::from(n_copies == 2);
        }
        self.fetches.push((peer, parts.clone()));
        let provider = &mut self.providers[n];
        provider.n_batches += 1;
        if matches!(provider.manner, Manner::Busy(n_batches) if provider.n_batches <= n_batches) {
            let failure = Failure::Busy { retry_after: Duration::from_secs(1_000_000) };
            let ended = Input::Ended { batch, result: Err(failure) };
            self.open.remove(&batch);
            return self.queue.schedule(latency_ms(provider.reach), Event::Input(ended));
        }
        provider.free_at = provider.free_at.max(self.queue.now.0 + latency_ms(provider.reach));
        self.schedule_next(n, batch, parts);
    }

    pub(crate) fn random_manner(rng: &mut Rng) -> Manner {
        let after = rng.below(12);
        match rng.below(8) {
            0 => Manner::Honest,
            1 => Manner::Corrupt(after),
            2 => Manner::Stall(after),
            3 => Manner::Trickle(after),
            4 => Manner::Lack(after),
            5 => Manner::Leave(after, rng.between(1..60_000)),
            6 => Manner::Cut(after),
            _ => Manner::Busy(after % 3 + 1),
        }
    }
}
