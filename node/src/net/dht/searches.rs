//! Queries under way and who waits for them. Each caller is told the end exactly once: by an answer, or by its channel
//! being dropped with the network.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

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
    /// What answers named besides the one that counts at once.
    others: Vec<PeerId>,
}

impl Search {
    /// Takes in one answer; the providers that are to be dialled now.
    ///
    /// That is one of each answer, and the others when all have answered: else the first liar with a long list would use up
    /// the places of all who tell the truth.
    fn take(&mut self, answer: &HashSet<PeerId>) -> Vec<PeerId> {
        let mut fresh = answer.iter().filter(|provider| !self.named.contains(provider)).copied();
        let first = fresh.next();
        let room = limits::DHT_PROVIDERS.saturating_sub(self.others.len());
        self.others.extend(fresh.take(room));
        first.into_iter().filter(|provider| self.name(*provider)).collect()
    }

    /// The others, as far as there is room.
    fn take_others(&mut self) -> Vec<PeerId> {
        std::mem::take(&mut self.others).into_iter().filter(|provider| self.name(*provider)).collect()
    }

    fn name(&mut self, provider: PeerId) -> bool {
        self.named.len() < limits::DHT_PROVIDERS && self.named.insert(provider)
    }
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
        self.running.insert(query, Search { wanted, named: BTreeSet::new(), others: Vec::new() });
    }

    /// Takes in what a query reports.
    pub(in crate::net) fn progressed(&mut self, query: QueryId, result: &QueryResult, is_last: bool) -> News {
        // Queries that the library begins by itself are not in the books.
        let Some(search) = self.running.get_mut(&query) else { return News::default() };
        let mut news = News { is_given_up: search.wanted.is_given_up(), is_last, ..News::default() };
        if let Wanted::Providers(found) = &search.wanted {
            let found = found.clone();
            let mut named = match result {
                QueryResult::GetProviders(Ok(GetProvidersOk::FoundProviders { providers, .. })) => {
                    search.take(providers)
                }
                _ => Vec::new(),
            };
            if is_last {
                named.extend(search.take_others());
            }
            news.named.extend(named.into_iter().map(|provider| (provider, found.clone())));
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
    use libp2p::kad::RecordKey;

    use super::super::{Dht, Records};
    use super::*;
    use crate::net::Part;

    fn key(n: u8) -> ProviderKey {
        ProviderKey::from_slice(&[n; 32]).expect("32 bytes")
    }

    /// A query, and how to report what an answer named.
    fn search() -> (Searches, QueryId, mpsc::Receiver<DeviceKey>) {
        let me = PeerId::random();
        let query = Dht::new(me, Records::new(me, &[7; 32]), Part::Asks).find(key(1));
        let (mut searches, (found, providers)) = (Searches::default(), mpsc::channel(1));
        searches.began(query, Wanted::Providers(found));
        (searches, query, providers)
    }

    fn answer(providers: impl IntoIterator<Item = PeerId>) -> QueryResult {
        let (key, providers) = (RecordKey::new(&[1; 32]), providers.into_iter().collect());
        QueryResult::GetProviders(Ok(GetProvidersOk::FoundProviders { key, providers }))
    }

    fn names(news: &News) -> Vec<PeerId> {
        news.named.iter().map(|(provider, _)| *provider).collect()
    }

    #[test]
    fn liars_with_long_lists_take_no_places_of_others() {
        let (mut searches, query, _providers) = search();
        for n in 0..limits::DHT_PROVIDERS - 1 {
            let lies = answer((0..20).map(|_| PeerId::random()));
            assert_eq!(names(&searches.progressed(query, &lies, false)).len(), 1, "liar {n}");
        }
        let provider = PeerId::random();
        assert_eq!(names(&searches.progressed(query, &answer([provider]), false)), [provider]);
        let too_many = answer([PeerId::random()]);
        assert_eq!(names(&searches.progressed(query, &too_many, true)), [], "there is a bound all the same");
    }

    #[test]
    fn all_that_one_node_names_are_tried_when_nobody_else_answers() {
        let (mut searches, query, _providers) = search();
        let providers: BTreeSet<PeerId> = (0..5).map(|_| PeerId::random()).collect();
        let named = names(&searches.progressed(query, &answer(providers.clone()), false));
        assert_eq!(named.len(), 1);
        let end =
            QueryResult::GetProviders(Ok(GetProvidersOk::FinishedWithNoAdditionalRecord { closest_peers: vec![] }));
        let others = names(&searches.progressed(query, &end, true));
        assert_eq!(named.into_iter().chain(others).collect::<BTreeSet<_>>(), providers);
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
