//! Finding what nobody connected has: the distributed hash table names providers, who are then asked like everybody.
//!
//! The table is a hint. Who is connected is asked at once, the table beside them or a little later; the first answer that
//! verifies serves, wherever it came from.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::future::{BoxFuture, Either, select};
use futures::{FutureExt as _, Stream, StreamExt as _, stream};
use syncra_protocol::id::PackageId;
use syncra_protocol::key::DeviceKey;
use syncra_protocol::origin::Origin;
use syncra_protocol::record::ProviderKey;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Parts;
use crate::net::{Net, limits};
use crate::node::Online;
use crate::sync::Wait;
use crate::sync::fetch::{self, Cost, FetchError, Terms, Want};

/// How long those who are connected have for their first answers before others are looked for.
const HEAD_START: Duration = Duration::from_millis(500);

/// What it takes at most to be told what was heard until nobody waits any more.
const LAST_WORD: Duration = Duration::from_secs(2);

/// How long a node that has just connected waits for its first place in the table.
const FIRST_PLACE: Duration = Duration::from_secs(2);

/// Providers that are asked at the same time: as many as one look-up brings, so that no number of them that never answer
/// keeps one who would from being asked.
const PROVIDERS_AT_ONCE: usize = limits::DHT_PROVIDERS;

/// Takes in the history of a package that is not known here, from whoever is connected or provides it. True once it is
/// known; false when nobody is left to ask.
pub async fn history(parts: &Parts, online: &Online, package: PackageId) -> bool {
    until(online, package, || matches!(parts.histories.package(package), Ok(Some(_)))).await
}

/// Takes in news of a package, from whoever is connected or provides it, until that is enough. False when nobody is left
/// to ask.
pub async fn until(online: &Online, package: PackageId, is_enough: impl Fn() -> bool) -> bool {
    // A network that ends brings nothing.
    let connected = async { drop(online.sync.refresh(package, None).await) };
    let ask = |peer| async move { drop(online.sync.refresh(package, Some(vec![peer])).await) }.boxed();
    providers(online, package.into(), connected, ask, is_enough).await
}

/// What everybody who could be asked has said of a package.
#[derive(Debug, Default)]
pub struct Heard {
    /// Somebody has it, and nobody has shown more of this device's own logs than what came.
    pub is_whole: bool,
    /// Who was asked and has not answered.
    pub silent: BTreeSet<DeviceKey>,
}

/// Takes in news of a package, from everybody who is connected or provides it, for as long as `within`.
pub async fn everybody(parts: &Parts, online: &Online, package: PackageId, within: Duration) -> Heard {
    let until = Instant::now() + within;
    let heard = Mutex::new((BTreeSet::new(), BTreeMap::<Origin, u64>::new(), BTreeSet::new()));
    let ask = |peers| async {
        // A network that ends brings nothing.
        let Ok(told) = online.sync.ask(package, peers, Wait::ForAll { until }).await else { return };
        let (answered, own, silent) = &mut *heard.lock().unwrap_or_else(PoisonError::into_inner);
        answered.extend(told.answered);
        silent.extend(told.silent);
        for (log, size) in told.own {
            let shown = own.entry(log).or_default();
            *shown = size.max(*shown);
        }
    };
    let asking = providers(online, package.into(), ask(None), |peer| ask(Some(vec![peer])).boxed(), || false);
    drop(tokio::time::timeout_at(until + LAST_WORD, Box::pin(asking)).await);
    let (answered, own, mut silent) = heard.into_inner().unwrap_or_else(PoisonError::into_inner);
    // Somebody may have been asked by two ways.
    silent.retain(|peer| !answered.contains(peer));
    let is_whole = !answered.is_empty() && own.iter().all(|(log, size)| parts.histories.n_known(log) >= *size);
    Heard { is_whole, silent }
}

/// Asks those who are connected, and beside them everybody who provides `key`, until that is enough. False when nobody is
/// left to ask.
pub async fn providers<'a>(
    online: &Online,
    key: ProviderKey,
    connected: impl Future<Output = ()>,
    ask: impl Fn(DeviceKey) -> BoxFuture<'a, ()>,
    is_enough: impl Fn() -> bool,
) -> bool {
    let connected = Box::pin(connected);
    let providers = Box::pin(ask_each(Seek::of(&online.net, key).all(), ask, &is_enough));
    match select(connected, providers).await {
        _ if is_enough() => true,
        Either::Left(((), providers)) => {
            providers.await;
            is_enough()
        }
        Either::Right(((), connected)) => {
            connected.await;
            is_enough()
        }
    }
}

/// Asks each provider as soon as it is found, whatever became of those before, until that is enough.
async fn ask_each<'a>(
    found: impl Stream<Item = DeviceKey>,
    ask: impl Fn(DeviceKey) -> BoxFuture<'a, ()>,
    is_enough: impl Fn() -> bool,
) {
    let answered = found.map(ask).buffer_unordered(PROVIDERS_AT_ONCE);
    tokio::pin!(answered);
    while answered.next().await.is_some() {
        if is_enough() {
            return;
        }
    }
}

/// Makes content complete here, from whoever is connected and, when that is nobody or takes long, from those who provide
/// `key`.
///
/// # Errors
/// [`FetchError`].
pub async fn content(
    parts: &Parts,
    net: &Net,
    want: &Want,
    key: ProviderKey,
    terms: Terms<'_>,
) -> Result<Cost, FetchError> {
    let mut seek = Seek::of(net, key);
    loop {
        let fetching = Box::pin(fetch::fetch(parts, net, want, terms));
        let done = tokio::select! {
            biased;
            done = fetching => done,
            // Whoever it finds is connected then, and the fetch asks everybody who connects.
            never = seek.go_on() => match never {},
        };
        let Err(error @ FetchError::NoProvider { .. }) = done else { return done };
        if !tokio::time::timeout(terms.patience, seek.found()).await.unwrap_or(false) {
            return Err(error);
        }
    }
}

/// A look-up that begins when it is needed.
struct Seek<'a> {
    net: &'a Net,
    key: ProviderKey,
    providers: Option<mpsc::Receiver<DeviceKey>>,
    is_over: bool,
    /// Found, and nobody has asked [`Seek::found`] since.
    has_found: bool,
}

impl<'a> Seek<'a> {
    fn of(net: &'a Net, key: ProviderKey) -> Self {
        Self { net, key, providers: None, is_over: false, has_found: false }
    }

    /// All providers, each when it is connected.
    fn all(self) -> impl Stream<Item = DeviceKey> {
        stream::unfold(self, |mut seek| async move { Some((seek.next().await?, seek)) })
    }

    /// The next provider, connected; none when there are no more. Safe to cancel.
    async fn next(&mut self) -> Option<DeviceKey> {
        if self.is_over {
            return None;
        }
        if self.providers.is_none() {
            let mut routing = self.net.routing();
            // Whoever takes no part in the table finds nothing, a little later.
            drop(tokio::time::timeout(FIRST_PLACE, routing.wait_for(|routing| routing.n_nodes > 0)).await);
            self.providers = self.net.find_providers(self.key).await.ok();
        }
        let next = match &mut self.providers {
            Some(providers) => providers.recv().await,
            None => None,
        };
        self.is_over = next.is_none();
        self.has_found |= next.is_some();
        next
    }

    /// Looks on after a head start of the others, for as long as it is polled.
    async fn go_on(&mut self) -> std::convert::Infallible {
        if self.providers.is_none() {
            tokio::time::sleep(HEAD_START).await;
        }
        while self.next().await.is_some() {}
        std::future::pending().await
    }

    /// Whether somebody was found since the last call, or is found now.
    async fn found(&mut self) -> bool {
        if !self.has_found {
            self.next().await;
        }
        std::mem::take(&mut self.has_found)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

    use super::*;

    /// A test that hangs fails here.
    const HUNG: Duration = Duration::from_secs(60);

    fn peers(n: usize) -> Vec<DeviceKey> {
        (0..n).map(|n| DeviceKey::from_bytes([u8::try_from(n).unwrap(); 32])).collect()
    }

    #[tokio::test]
    async fn providers_that_never_answer_keep_nobody_from_being_asked() {
        let all = peers(PROVIDERS_AT_ONCE);
        let (honest, has_it) = (all[PROVIDERS_AT_ONCE - 1], AtomicBool::new(false));
        let ask = |peer| match peer == honest {
            true => async { has_it.store(true, Relaxed) }.boxed(),
            false => std::future::pending().boxed(),
        };
        let asking = ask_each(stream::iter(all), ask, || has_it.load(Relaxed));
        tokio::time::timeout(HUNG, asking).await.expect("the honest one was asked beside the silent ones");
    }

    #[tokio::test]
    async fn only_so_many_are_asked_at_a_time_and_all_are_in_the_end() {
        let all = peers(3 * PROVIDERS_AT_ONCE);
        let (n_asked, n_waiting, most) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        let ask = |_| {
            async {
                most.fetch_max(n_waiting.fetch_add(1, Relaxed) + 1, Relaxed);
                tokio::task::yield_now().await;
                n_waiting.fetch_sub(1, Relaxed);
                n_asked.fetch_add(1, Relaxed);
            }
            .boxed()
        };
        ask_each(stream::iter(all), ask, || false).await;
        assert_eq!((n_asked.into_inner(), most.into_inner()), (3 * PROVIDERS_AT_ONCE, PROVIDERS_AT_ONCE));
    }
}
