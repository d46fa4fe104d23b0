//! Finding what nobody connected has: the distributed hash table names providers, who are then asked like everybody.
//!
//! The table is a hint. Who is connected is asked at once, the table beside them or a little later; the first answer that
//! verifies serves, wherever it came from.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::{BoxFuture, Either, select};
use syncra_protocol::id::PackageId;
use syncra_protocol::key::DeviceKey;
use syncra_protocol::origin::Origin;
use syncra_protocol::record::ProviderKey;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Parts;
use crate::net::Net;
use crate::node::Online;
use crate::sync::Wait;
use crate::sync::fetch::{self, Cost, FetchError, Terms, Want};

/// How long those who are connected have for their first answers before others are looked for.
const HEAD_START: Duration = Duration::from_millis(500);

/// What it takes at most to be told what was heard until nobody waits any more.
const LAST_WORD: Duration = Duration::from_secs(2);

/// How long a node that has just connected waits for its first place in the table.
const FIRST_PLACE: Duration = Duration::from_secs(2);

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
    let providers = Box::pin(async {
        let mut seek = Seek::of(&online.net, key);
        while let Some(peer) = seek.next().await {
            ask(peer).await;
            if is_enough() {
                return;
            }
        }
    });
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
