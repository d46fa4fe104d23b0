//! Events over a WebSocket: the same frames as the event stream, one text message each. Nothing is read from the client
//! but its answers to pings and its goodbye.

use std::sync::Arc;

use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{FromRequestParts as _, Request};
use axum::http::HeaderMap;
use axum::http::header::UPGRADE;
use axum::response::Response;
use tokio::sync::OwnedSemaphorePermit;

use super::answer;
use super::service::Service;
use super::stream::{KEEP_ALIVE, Reader};
use crate::problem::{Code, Problem};

/// WebSockets at a time; more wait for their answer, as connections of a door do.
pub(super) const SOCKETS: usize = 64;
/// Bytes of a message from a client: a ping's answer has at most 125.
const MESSAGE_BYTES: usize = 1 << 10;

/// Whether the caller asked for a WebSocket.
pub(super) fn wants_socket(headers: &HeaderMap) -> bool {
    headers.get(UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Answers a handshake; then `reader` feeds the socket.
pub(super) async fn upgrade(service: &Arc<Service>, reader: Reader, request: Request) -> Response {
    let (mut parts, _) = request.into_parts();
    let upgrade = match WebSocketUpgrade::from_request_parts(&mut parts, service).await {
        Ok(upgrade) => upgrade,
        Err(refused) => return answer::failure(Problem::new(Code::BadRequest, refused.body_text())),
    };
    let place = service.socket_place().await;
    let upgrade = upgrade.max_message_size(MESSAGE_BYTES).max_frame_size(MESSAGE_BYTES);
    upgrade.on_upgrade(move |socket| serve(socket, reader, place))
}

/// Until the node stops, the token is revoked or the client leaves.
async fn serve(mut socket: WebSocket, mut reader: Reader, place: OwnedSemaphorePermit) {
    let mut alive = tokio::time::interval(KEEP_ALIVE);
    loop {
        let message = tokio::select! {
            biased;
            frame = reader.next() => match frame {
                Some(frame) => Message::text(serde_json::to_string(&frame).expect("events are plain text and numbers")),
                None => break,
            },
            said = socket.recv() => match said {
                // Pings are answered below us; whatever else a client says is not for us.
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Text(_) | Message::Binary(_))) => continue,
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
            },
            _ = alive.tick() => Message::Ping(bytes::Bytes::new()),
        };
        if socket.send(message).await.is_err() {
            return;
        }
    }
    let goodbye = CloseFrame { code: close_code::AWAY, reason: "no more events".into() };
    // A client that is gone already misses nothing.
    drop(socket.send(Message::Close(Some(goodbye))).await);
    drop(place);
}
