//! Handshakes that others have begun: how one is ended from here, and which gives way to a newcomer.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt as _;
use futures::future::{AbortHandle, Aborted, BoxFuture, abortable};
use libp2p::swarm::ConnectionId;

use super::{Prefix, Refusal};
use crate::net::address::Block;

/// Between the transports and the gate. The swarm lets nobody end a handshake that it has taken on, so the outermost
/// transport wraps each in something that can be ended and leaves the handle here; the gate, which is asked about this
/// connection before the transport is polled again, takes it.
#[derive(Debug, Clone, Default)]
pub(in crate::net) struct Lobby(Arc<Mutex<Option<AbortHandle>>>);

impl Lobby {
    /// The handshake of somebody who has just come, which fails when the gate ends it.
    pub(in crate::net) fn hold<T: Send + 'static>(
        &self,
        handshake: impl Future<Output = io::Result<T>> + Send + 'static,
    ) -> BoxFuture<'static, io::Result<T>> {
        let (handshake, handle) = abortable(handshake);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(handle);
        let or_ended = |outcome: Result<io::Result<T>, Aborted>| {
            outcome.unwrap_or_else(|Aborted| Err(io::Error::new(io::ErrorKind::ConnectionAborted, Refusal::GaveWay)))
        };
        handshake.map(or_ended).boxed()
    }

    /// What ends the handshake of the newcomer.
    pub(super) fn take(&self) -> Option<AbortHandle> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A handshake that is not finished.
#[derive(Debug)]
pub(super) struct Handshake {
    pub(super) prefix: Prefix,
    pub(super) is_stranger: bool,
    /// Ends it; none in tests of the gate alone.
    pub(super) handle: Option<AbortHandle>,
}

/// All that are not finished. Ids of connections are given out in order: the first is the oldest.
#[derive(Debug, Default)]
pub(super) struct Handshakes {
    all: BTreeMap<ConnectionId, Handshake>,
    n_strangers: usize,
}

impl Handshakes {
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn n_strangers(&self) -> usize {
        self.n_strangers
    }

    pub(super) fn begin(&mut self, id: ConnectionId, handshake: Handshake) {
        self.n_strangers += usize::from(handshake.is_stranger);
        self.all.insert(id, handshake);
    }

    pub(super) fn take(&mut self, id: ConnectionId) -> Option<Handshake> {
        let taken = self.all.remove(&id)?;
        self.n_strangers -= usize::from(taken.is_stranger);
        Some(taken)
    }

    /// Ends a handshake; that it has failed is reported later, like every failure.
    pub(super) fn end(&self, id: ConnectionId) {
        if let Some(handle) = self.all.get(&id).and_then(|handshake| handshake.handle.as_ref()) {
            handle.abort();
        }
    }

    /// Which gives way: the oldest from the block with the most unfinished ones, where those that came to nothing lately
    /// from that very place count as well. Who comes again and again from many places is so told from who comes once, and
    /// who has many addresses of one block from who has one. Others need as many blocks that never came to nothing as there
    /// are places, within the time of one honest handshake.
    pub(super) fn least_worth(&self, only_strangers: bool, in_vain: impl Fn(&Prefix) -> u32) -> Option<ConnectionId> {
        let mut by_block: HashMap<Block, u32> = HashMap::new();
        for handshake in self.all.values() {
            *by_block.entry(handshake.prefix.block()).or_default() += 1;
        }
        let worth = |handshake: &Handshake| {
            let n_now = by_block.get(&handshake.prefix.block()).copied().unwrap_or_default();
            (n_now.saturating_add(in_vain(&handshake.prefix)), handshake.is_stranger)
        };
        let may_go = self.all.iter().filter(|(_, handshake)| handshake.is_stranger || !only_strangers);
        may_go.max_by_key(|(id, handshake)| (worth(handshake), Reverse(**id))).map(|(id, _)| *id)
    }
}
