//! Answers that come in pieces: progress frames of a long operation (NDJSON), and the event stream (SSE or NDJSON; a
//! WebSocket in [`socket`]).

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Query, Request, State};
use axum::http::header::ACCEPT;
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{KeepAlive, Sse};
use axum::response::{IntoResponse, Response, sse};
use axum::routing::get;
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use utoipa::ToSchema;

use super::answer;
use super::guard::CallerToken;
use super::openapi::Shape;
use super::service::Service;
use super::socket::{self, wants_socket};
use super::token::Scope;
use super::types::Frame;
use super::verb::{Method, Route, Verb};
use crate::event::{Event, EventFrame, Subscription};
use crate::problem::{Code, Problem};
use crate::progress::{Progress, ProgressFrame};

/// The media type of one JSON value a line.
pub(super) const NDJSON: &str = "application/x-ndjson";

/// How often an idle event stream says that it is alive, so that both sides notice a dead connection.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Whether the caller asked for frames.
pub(super) fn wants_ndjson(headers: &HeaderMap) -> bool {
    headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).any(|value| value.contains(NDJSON))
}

/// Runs a verb and answers with its progress, then its result. The verb runs inside the body: when the caller goes
/// away the body is dropped, and the work with it.
pub(super) fn frames<V: Verb>(service: Arc<Service>, input: V::Request) -> Response {
    let (progress, reader) = Progress::watched();
    let work = Box::pin(async move { service.run::<V>(input, &progress).await });
    let lines = stream::unfold(Some(Run::<V::Response> { work, reader }), |run| async move {
        let mut run = run?;
        let (frame, done) = run.next().await;
        Some((line(&frame), (!done).then_some(run)))
    });
    ndjson(lines)
}

type Work<T> = Pin<Box<dyn Future<Output = Result<T, Problem>> + Send>>;

/// A verb at work and what it reports.
struct Run<T> {
    work: Work<T>,
    reader: mpsc::Receiver<ProgressFrame>,
}

impl<T> Run<T> {
    /// The next frame, and whether it is the last.
    async fn next(&mut self) -> (Frame<T>, bool) {
        tokio::select! {
            biased;
            Some(frame) = self.reader.recv() => (Frame::Progress(frame), false),
            result = &mut self.work => match result {
                Ok(value) => (Frame::Result(value), true),
                Err(problem) => (Frame::Error(problem), true),
            },
        }
    }
}

fn line<T: Serialize>(value: &T) -> Bytes {
    let mut line = serde_json::to_vec(value).unwrap_or_else(|error| {
        let bug: Frame<()> = Frame::Error(Problem::from_error(Code::Bug, &error));
        serde_json::to_vec(&bug).expect("a problem is plain text and numbers")
    });
    line.push(b'\n');
    line.into()
}

fn ndjson(lines: impl Stream<Item = Bytes> + Send + 'static) -> Response {
    answer::with_type(StatusCode::OK, NDJSON, Body::from_stream(lines.map(Ok::<_, Infallible>)))
}

/// Where a reader of events wants to begin.
#[derive(Debug, Default, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EventsRequest {
    /// The number of the last event already seen: 0 for all that is remembered, left out for what comes from now on.
    /// The header `Last-Event-ID` goes before it.
    pub(super) since: Option<u64>,
}

/// The path of the event stream, below the prefix.
pub(super) const EVENTS_PATH: &str = "/events";

pub(super) fn events_route() -> Route {
    Route {
        name: "events",
        method: Method::Get,
        path: EVENTS_PATH,
        scope: Scope::Read,
        about: "What happens, as server-sent events, as one JSON object a line for `Accept: application/x-ndjson`, or as one \
            text message each when a WebSocket is asked for.",
        handler: get(events),
        shape: Shape::stream::<EventsRequest, EventFrame>("text/event-stream"),
    }
}

async fn events(State(service): State<Arc<Service>>, request: Request) -> Response {
    let since = match since(&request) {
        Ok(since) => since,
        Err(problem) => return answer::failure(problem),
    };
    let subscription = service.events().subscribe(since);
    let token = request.extensions().get::<CallerToken>().cloned();
    let reader = Reader { service: Arc::clone(&service), subscription, token };
    if wants_socket(request.headers()) {
        return socket::upgrade(&service, reader, request).await;
    }
    let frames = until_stopped(reader);
    if wants_ndjson(request.headers()) {
        return ndjson(frames.map(|frame| line(&frame)));
    }
    let events = frames.map(|frame| sse::Event::default().id(frame.seq.to_string()).json_data(&frame));
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}

fn since(request: &Request) -> Result<Option<u64>, Problem> {
    let Query(asked): Query<EventsRequest> =
        Query::try_from_uri(request.uri()).map_err(|error| Problem::from_error(Code::BadRequest, &error))?;
    match request.headers().get("last-event-id") {
        None => Ok(asked.since),
        Some(value) => match value.to_str().ok().and_then(|text| text.parse().ok()) {
            Some(seq) => Ok(Some(seq)),
            None => Err(Problem::new(Code::BadRequest, "`Last-Event-ID` is not a number")),
        },
    }
}

/// Someone who reads events.
pub(super) struct Reader {
    service: Arc<Service>,
    subscription: Subscription,
    token: Option<CallerToken>,
}

impl Reader {
    /// The next event; `None` when the node has stopped, or the reader's token was revoked.
    pub(super) async fn next(&mut self) -> Option<EventFrame> {
        let stopped = self.service.stopped();
        let frame = tokio::select! {
            biased;
            frame = self.subscription.next() => frame,
            () = stopped.cancelled() => return None,
        };
        // The revocation itself may be among the events that were missed.
        let doubtful = matches!(frame.event, Event::TokenRevoked { .. } | Event::Resync);
        let token = self.token.as_ref().filter(|_| doubtful);
        let valid = token.is_none_or(|CallerToken(id)| self.service.tokens().list().iter().any(|t| t.id == *id));
        valid.then_some(frame)
    }
}

/// All events, ending with the last one before the node stops.
fn until_stopped(reader: Reader) -> impl Stream<Item = EventFrame> + Send {
    stream::unfold(reader, |mut reader| async move { reader.next().await.map(|frame| (frame, reader)) })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// A verb at work that reports three times, and tells when it is dropped.
    fn run(result: Result<u32, Problem>) -> (Run<u32>, Arc<AtomicBool>) {
        struct Alive(Arc<AtomicBool>);
        impl Drop for Alive {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let dropped = Arc::new(AtomicBool::new(false));
        let alive = Alive(dropped.clone());
        let (progress, reader) = Progress::watched();
        let work: Work<u32> = Box::pin(async move {
            let _alive = alive;
            for done in 1..=3 {
                progress.bytes("fetch", done, Some(3));
                tokio::task::yield_now().await;
            }
            result
        });
        (Run { work, reader }, dropped)
    }

    #[tokio::test]
    async fn progress_comes_first_and_one_last_frame_ends_the_stream() {
        for (result, last) in [(Ok(7), "{\"result\":7}\n"), (Err(Problem::new(Code::Timeout, "late")), "{\"error\":")] {
            let (mut run, _) = run(result);
            for done in 1..=3 {
                let (frame, is_last) = run.next().await;
                let expected = format!(
                    "{{\"progress\":{{\"stage\":\"fetch\",\"done\":{done},\"total\":3,\"unit\":\"bytes\"}}}}\n"
                );
                assert_eq!((line(&frame), is_last), (Bytes::from(expected), false));
            }
            let (frame, is_last) = run.next().await;
            assert!(is_last && line(&frame).starts_with(last.as_bytes()));
        }
    }

    #[tokio::test]
    async fn work_that_nobody_waits_for_any_more_is_dropped() {
        let (mut run, dropped) = run(Ok(7));
        drop(run.next().await);
        assert!(!dropped.load(Ordering::Relaxed));
        drop(run);
        assert!(dropped.load(Ordering::Relaxed));
    }
}
