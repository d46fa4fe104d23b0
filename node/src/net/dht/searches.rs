//! Queries under way and who waits for them. Each caller is told the end exactly once: by an answer, or by its channel
//! being dropped with the network.

use std::collections::{BTreeSet, HashMap, VecDeque};

use libp2p::PeerId;
use libp2p::kad::{GetProvidersOk, QueryId, QueryResult};
use syncra_protocol::key::DeviceKey;
use syncra_protocol::record::ProviderKey;
use tokio::sync::{mpsc, oneshot};

use crate::net::limits;

/// What a caller asks of the table.
#[derive(Debug)]
pub(in crate::net) enum Wanted {
    /// Connected providers of a key, one after the other; the end of the channel is the end of the look-up.
    Providers(mpsc::Sender<DeviceKey>),
    /// That the key's nearest nodes know us as a provider: whether they could be asked.
    Provided(oneshot::Sender<bool>),
}

/// What a query has brought so far.
#[derive(Debug, Default)]
pub(in crate::net) struct News {
    /// Providers that were not named before, each with the channel of who wants to hear of it.
    pub(in crate::net) named: Vec<(PeerId, mpsc::Sender<DeviceKey>)>,
    /// Nobody waits for the rest.
    pub(in crate::net) is_given_up: bool,
    /// There is room for another query.
    pub(in crate::net) is_last: bool,
}

/// All queries.
#[derive(Debug, Default)]
pub(in crate::net) struct Searches {
    running: HashMap<QueryId, Search>,
    waiting: VecDeque<(ProviderKey, Wanted)>,
}

#[derive(Debug)]
struct Search {
    wanted: Wanted,
    named: BTreeSet<PeerId>,
}

impl Wanted {
    fn is_given_up(&self) -> bool {
        match self {
            Self::Providers(found) => found.is_closed(),
            Self::Provided(done) => done.is_closed(),
        }
    }
}

impl Searches {
    /// Puts a caller in line; one too many is told the end at once.
    pub(in crate::net) fn want(&mut self, key: ProviderKey, wanted: Wanted) {
        if self.waiting.len() < limits::DHT_WAITERS {
            self.waiting.push_back((key, wanted));
        }
    }

    /// The next query to begin, if there is room for one.
    pub(in crate::net) fn next(&mut self) -> Option<(ProviderKey, Wanted)> {
        if self.running.len() >= limits::DHT_QUERIES {
            return None;
        }
        while let Some((key, wanted)) = self.waiting.pop_front() {
            if !wanted.is_given_up() {
                return Some((key, wanted));
            }
        }
        None
    }

    /// Notes that one has begun.
    pub(in crate::net) fn began(&mut self, query: QueryId, wanted: Wanted) {
        self.running.insert(query, Search { wanted, named: BTreeSet::new() });
    }

    /// Takes in what a query reports.
    pub(in crate::net) fn progressed(&mut self, query: QueryId, result: &QueryResult, is_last: bool) -> News {
        // Queries that the library begins by itself are not in the books.
        let Some(search) = self.running.get_mut(&query) else { return News::default() };
        let mut news = News { is_given_up: search.wanted.is_given_up(), is_last, ..News::default() };
        if let (
            Wanted::Providers(found),
            QueryResult::GetProviders(Ok(GetProvidersOk::FoundProviders { providers, .. })),
        ) = (&search.wanted, result)
        {
            for provider in providers {
                if search.named.len() < limits::DHT_PROVIDERS && search.named.insert(*provider) {
                    news.named.push((*provider, found.clone()));
                }
            }
        }
        if is_last && let Some(Search { wanted: Wanted::Provided(done), .. }) = self.running.remove(&query) {
            // Whoever gave up waiting needs no answer.
            let _ = done.send(matches!(result, QueryResult::StartProviding(Ok(_))));
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u8) -> ProviderKey {
        ProviderKey::from_slice(&[n; 32]).expect("32 bytes")
    }

    #[test]
    fn queries_are_bounded_and_whoever_gave_up_costs_none() {
        let mut searches = Searches::default();
        let mut waiting = Vec::new();
        for n in 0..=limits::DHT_WAITERS {
            let (found, providers) = mpsc::channel(1);
            searches.want(key(u8::try_from(n % 256).expect("small")), Wanted::Providers(found));
            waiting.push(providers);
        }
        assert_eq!(waiting.pop().expect("the last").try_recv(), Err(mpsc::error::TryRecvError::Disconnected));
        drop(waiting.drain(1..));
        assert_eq!(searches.next().map(|(key, _)| key), Some(key(0)));
        assert!(searches.next().is_none(), "nobody waits for the others");
    }
}
