//! The public gateway: a listener of its own, off unless asked for, that shows everybody what this node serves anyway.
//!
//! Plain HTTP, GET and HEAD only, no tokens and nothing to change. So far it has logs, as C2SP tlog-tiles
//! (<https://c2sp.org/tlog-tiles>): below `/<origin>/` what [`tiles::LogFile`] names, made from the entries when it is asked
//! for, and at `/syncra/pkg/<package id>/vkeys` the verifier keys of all logs that speak for a package.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderName, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use syncra_protocol::id::PackageId;
use syncra_protocol::log::tiles::Row;
use syncra_protocol::origin::Origin;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::listener::{Bounds, Listeners};
use super::service::Service;
use crate::flow::tiles::{self, LogFile, PublicLog};
use crate::problem::Problem;

/// What the listener bears. A connection ends before whoever holds many of them gains by it.
const BOUNDS: Bounds = Bounds { connections: 64, life: Some(Duration::from_secs(120)) };
/// Connections of one address at a time; more of it are closed at once. Programs on this machine may be a proxy in front of
/// many, and are not counted.
const CONNECTIONS_PER_ADDRESS: usize = 8;
/// Requests that read histories at a time: one that is not in memory is read and verified from disk.
const READS_AT_ONCE: usize = 8;
/// Entries of a bundle that are in memory at a time, of one answer: a megabyte at most.
const ENTRIES_AT_ONCE: u64 = 16;

/// What never changes may be kept for a year.
const FOR_EVER: &str = "public, max-age=31536000, immutable";
/// "its headers SHOULD prevent caching beyond a few seconds"
const BRIEFLY: &str = "public, max-age=5";
/// Errors: what is missing now may be there in a moment.
const NEVER: &str = "no-store";

const TEXT: &str = "text/plain; charset=utf-8";
const BYTES: &str = "application/octet-stream";

/// An open gateway. Dropping it without [`Gateway::close`] cuts all connections.
#[derive(Debug)]
pub struct Gateway {
    address: SocketAddr,
    listeners: Listeners,
}

impl Gateway {
    /// Opens the gateway at `address`.
    ///
    /// # Errors
    /// A [`Problem`] when the address cannot be listened on.
    pub async fn open(service: &Arc<Service>, address: SocketAddr) -> Result<Self, Problem> {
        let failed = |error| Problem::io(format!("cannot listen on `{address}`"), &error);
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let mut listeners = Listeners::default();
        let crowd = Crowd::default();
        listeners.listen(BOUNDS, router(service), listener, move |listener| {
            let crowd = crowd.clone();
            async move {
                loop {
                    let (stream, from) = listener.accept().await?;
                    if let Some(place) = crowd.enter(from.ip()) {
                        stream.set_nodelay(true)?;
                        return Ok((stream, place));
                    }
                }
            }
        });
        service.gateway_opened(address);
        tracing::info!("the gateway is open");
        Ok(Self { address, listeners })
    }

    /// Where it is.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets answers that are under way end, for a few seconds, then cuts the rest.
    pub async fn close(self) {
        self.listeners.close().await;
    }
}

/// How many connections each address has. At most [`BOUNDS`] of them, so it stays small.
#[derive(Debug, Default, Clone)]
struct Crowd(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One connection's place, given back when it ends.
#[derive(Debug)]
struct Place {
    crowd: Crowd,
    address: IpAddr,
}

impl Crowd {
    fn enter(&self, address: IpAddr) -> Option<Place> {
        // An IPv4 address is the same in both spellings; of IPv6 one customer has a whole /64.
        let address = match address.to_canonical() {
            IpAddr::V4(address) => IpAddr::V4(address),
            IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
        };
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        if *count >= CONNECTIONS_PER_ADDRESS && !address.is_loopback() {
            return None;
        }
        *count += 1;
        Some(Place { crowd: self.clone(), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.crowd.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

/// What answers work with.
#[derive(Debug, Clone)]
struct Shown {
    service: Arc<Service>,
    reads: Arc<Semaphore>,
}

fn router(service: &Arc<Service>) -> Router {
    let shown = Shown { service: Arc::clone(service), reads: Arc::new(Semaphore::new(READS_AT_ONCE)) };
    Router::new()
        .route("/{*path}", get(answer))
        .fallback(async || refusal(StatusCode::NOT_FOUND))
        .method_not_allowed_fallback(async || refusal(StatusCode::METHOD_NOT_ALLOWED))
        .with_state(shown)
}

/// Why there is no answer.
enum Refusal {
    NotFound,
    /// Of this node, which its log tells and a stranger does not hear.
    Fault(Problem),
}

impl<E: Into<Problem>> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self::Fault(error.into())
    }
}

async fn answer(State(shown): State<Shown>, uri: Uri) -> Response {
    match shown.look_up(uri.path()).await {
        Ok(response) => response,
        Err(Refusal::NotFound) => refusal(StatusCode::NOT_FOUND),
        Err(Refusal::Fault(problem)) => {
            tracing::warn!(%problem, "the gateway cannot answer");
            refusal(StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}

/// What a path names.
enum Named {
    Vkeys(PackageId),
    LogFile(Origin, LogFile),
}

/// `/syncra/pkg/<id>/vkeys`, `/<origin>/<file>`. As it stands: no other spelling of a path names the same.
fn named(path: &str) -> Option<Named> {
    let path = path.strip_prefix('/')?;
    if let Some(package) = path.strip_prefix("syncra/pkg/").and_then(|rest| rest.strip_suffix("/vkeys")) {
        return package.parse().ok().map(Named::Vkeys);
    }
    // An origin has four parts.
    let (end, _) = path.match_indices('/').nth(3)?;
    Some(Named::LogFile(path[..end].parse().ok()?, path[end + 1..].parse().ok()?))
}

impl Shown {
    async fn look_up(&self, path: &str) -> Result<Response, Refusal> {
        match named(path).ok_or(Refusal::NotFound)? {
            Named::Vkeys(package) => {
                let found = self.read(move |service| Ok(tiles::vkeys(service.parts(), package)?)).await?;
                Ok(whole(TEXT, BRIEFLY, found.ok_or(Refusal::NotFound)?))
            }
            Named::LogFile(origin, file) => {
                let found = self.read(move |service| Ok(PublicLog::find(service.parts(), &origin)?)).await?;
                self.file(&found.ok_or(Refusal::NotFound)?, file)
            }
        }
    }

    fn file(&self, log: &PublicLog, file: LogFile) -> Result<Response, Refusal> {
        Ok(match file {
            LogFile::Checkpoint => {
                let head = self.service.parts().witnesses.dress(log.head());
                whole(TEXT, BRIEFLY, head.note().to_vec())
            }
            LogFile::Vkey => whole(TEXT, FOR_EVER, log.vkey()),
            LogFile::Tile(tile) if tile.row() == Row::Entries => {
                let range = tile.entries(log.head().size()).ok_or(Refusal::NotFound)?;
                self.bundle(*log.head().origin(), range)
            }
            LogFile::Tile(tile) => whole(BYTES, FOR_EVER, log.hashes(tile).ok_or(Refusal::NotFound)?),
        })
    }

    /// A bundle of entries, read while it is sent: whole it could have 16 MiB.
    fn bundle(&self, origin: Origin, range: std::ops::Range<u64>) -> Response {
        let shown = self.clone();
        let starts = range.clone().step_by(usize::try_from(ENTRIES_AT_ONCE).unwrap_or(usize::MAX));
        let pieces = stream::iter(starts).then(move |from| {
            let (shown, to) = (shown.clone(), range.end.min(from + ENTRIES_AT_ONCE));
            async move {
                let read = move |service: &Service| {
                    Ok(tiles::entries(&service.parts().histories, &origin, from, to).map(Bytes::from)?)
                };
                shown.read(read).await.inspect_err(|problem| tracing::warn!(%problem, "the gateway cuts a bundle"))
            }
        });
        answer_with(BYTES, FOR_EVER, Body::from_stream(pieces))
    }

    /// Reads histories where waiting is allowed, a few requests at a time.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Service) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let _turn = self.reads.acquire().await.expect("the semaphore is never closed");
        self.service.blocking(work).await
    }
}

fn whole(content_type: &'static str, cache: &'static str, body: impl Into<Bytes>) -> Response {
    let body: Bytes = body.into();
    let length = body.len();
    ([(CONTENT_LENGTH, length)], answer_with(content_type, cache, Body::from(body))).into_response()
}

fn answer_with(content_type: &'static str, cache: &'static str, body: Body) -> Response {
    let headers = [
        (CONTENT_TYPE, content_type),
        (CACHE_CONTROL, cache),
        (HeaderName::from_static("x-content-type-options"), "nosniff"),
        (HeaderName::from_static("content-security-policy"), "default-src 'none'; frame-ancestors 'none'"),
    ];
    (headers, body).into_response()
}

fn refusal(status: StatusCode) -> Response {
    let reason = format!("{}\n", status.canonical_reason().unwrap_or_default().to_lowercase());
    (status, whole(TEXT, NEVER, reason)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_takes_no_more_than_its_places() {
        let crowd = Crowd::default();
        let places = |address: &str, n: usize| -> Vec<_> {
            (0..n).filter_map(|_| crowd.enter(address.parse().expect("an address"))).collect()
        };
        let held = places("192.0.2.1", 20);
        assert_eq!((held.len(), places("::ffff:192.0.2.1", 1).len()), (CONNECTIONS_PER_ADDRESS, 0));
        let sixth = places("2001:db8::1", 20);
        assert_eq!((sixth.len(), places("2001:db8::2", 1).len()), (CONNECTIONS_PER_ADDRESS, 0));
        assert_eq!(places("2001:db8:0:1::1", 1).len(), 1, "another network");
        assert_eq!(places("192.0.2.2", 3).len(), 3);
        assert_eq!(places("127.0.0.1", 40).len(), 40, "a proxy on this machine");
        drop((held, sixth));
        assert!(crowd.0.lock().expect("no panic").is_empty());
        assert_eq!(places("192.0.2.1", 1).len(), 1);
    }

    #[test]
    fn a_path_has_one_spelling() {
        let key = "rkeohxlubhyzl7ks3mwtzos5olfgocn7dwkbeg7toseadnapn5oa";
        let id = "beeqscijbeeqscijbeeqscijbeeqscijbeeqscijbeeqscijbeeq";
        for good in [
            format!("/syncra/pkg/{id}/vkeys"),
            format!("/syncra/pkg/{id}/{key}/checkpoint"),
            format!("/syncra/id/{id}/{key}/vkey"),
            format!("/syncra/pkg/{id}/{key}/tile/0/x001/234.p/5"),
            format!("/syncra/pkg/{id}/{key}/tile/entries/000"),
        ] {
            assert!(named(&good).is_some(), "{good}");
            assert!(named(&good.to_uppercase()).is_none());
            for wrong in [format!("/{good}"), format!("{good}/"), good.replace("/syncra", "/./syncra")] {
                assert!(named(&wrong).is_none(), "{wrong}");
            }
        }
        for wrong in ["", "/", "/syncra", "/syncra/pkg//vkeys", "/api/v1/status", "/syncra/priv/a/b/checkpoint"] {
            assert!(named(wrong).is_none(), "{wrong}");
        }
    }
}
