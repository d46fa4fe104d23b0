//! Events over a WebSocket, read by a client that knows RFC 6455 and nothing of ours.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

/// The key of the RFC's example, and the answer that it gives.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

struct Socket(TokioIo<hyper::upgrade::Upgraded>);

impl Socket {
    /// The next whole message: its opcode and payload. Servers do not mask.
    async fn read(&mut self) -> (u8, Vec<u8>) {
        let mut head = [0; 2];
        self.0.read_exact(&mut head).await.unwrap();
        assert_eq!((head[0] & 0x70, head[1] & 0x80), (0, 0), "no extension, no mask");
        assert_eq!(head[0] & 0x80, 0x80, "whole");
        let len = match head[1] {
            126 => self.0.read_u16().await.unwrap().into(),
            127 => usize::try_from(self.0.read_u64().await.unwrap()).unwrap(),
            len => len.into(),
        };
        let mut payload = vec![0; len];
        self.0.read_exact(&mut payload).await.unwrap();
        (head[0] & 0x0f, payload)
    }

    /// The next message that is no ping of the server.
    async fn message(&mut self) -> (u8, Vec<u8>) {
        loop {
            let (opcode, payload) = self.read().await;
            if opcode != PING {
                return (opcode, payload);
            }
        }
    }

    async fn event(&mut self) -> serde_json::Value {
        let (opcode, payload) = self.message().await;
        assert_eq!(opcode, TEXT);
        serde_json::from_slice(&payload).unwrap()
    }

    /// Sends a short message; clients mask, here with zeros.
    async fn send(&mut self, opcode: u8, payload: &[u8]) {
        let len = u8::try_from(payload.len()).unwrap();
        assert!(len < 126);
        let bytes = [&[0x80 | opcode, 0x80 | len, 0, 0, 0, 0], payload].concat();
        self.0.write_all(&bytes).await.unwrap();
    }
}

fn handshake(node: &Node, path: &str, token: Option<&str>, origin: Option<&str>) -> Request<Body> {
    let mut request = node.request(HttpMethod::GET, path).header("connection", "Upgrade");
    request = request.header("upgrade", "websocket").header("sec-websocket-version", "13");
    request = request.header("sec-websocket-key", KEY);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    if let Some(origin) = origin {
        request = request.header("origin", origin);
    }
    request.body(Body::empty()).unwrap()
}

async fn open(node: &Node, request: Request<Body>) -> Result<Socket, Problem> {
    let stream = TcpStream::connect(("127.0.0.1", node.port)).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(async move { drop(connection.with_upgrades().await) });
    let response = sender.send_request(request).await.unwrap();
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(problem(response).await);
    }
    assert_eq!(response.headers()["sec-websocket-accept"], ACCEPT);
    Ok(Socket(TokioIo::new(hyper::upgrade::on(response).await.unwrap())))
}

#[tokio::test]
async fn a_web_socket_carries_the_same_frames_as_the_event_stream() {
    let node = Node::start().await;
    node.service.emit(Event::NodeStarted);
    let token = node.token(Scope::Read);
    let first = node.service.events().subscribe(Some(0)).poll().unwrap().seq;
    let mut streamed = node.client(token.clone()).events(Some(0)).await.unwrap();
    let request = handshake(&node, "/events?since=0", Some(&token), Some(&format!("http://localhost:{}", node.port)));
    let mut socket = open(&node, request).await.unwrap();
    node.service.emit(Event::TokenCreated { id: "a".into() });
    for seq in [first, first + 1] {
        let frame = socket.event().await;
        assert_eq!(frame["seq"], seq);
        assert_eq!(frame, serde_json::to_value(streamed.next().await.unwrap().unwrap()).unwrap());
    }
    socket.send(PING, b"there?").await;
    assert_eq!(socket.message().await, (PONG, b"there?".to_vec()));
    node.service.stop();
    assert_eq!(socket.event().await["event"]["type"], "node_stopping");
    let (opcode, payload) = socket.message().await;
    assert_eq!((opcode, &payload[..2]), (CLOSE, &1001_u16.to_be_bytes()[..]));
}

#[tokio::test]
async fn a_web_socket_is_refused_and_ended_like_any_reader() {
    let node = Node::start().await;
    let (read, runner) = (node.token(Scope::Read), node.token(Scope::Runner));
    for (token, origin, code) in [
        (None, None, Code::TokenNeeded),
        (Some("wrong"), None, Code::TokenNeeded),
        (Some(&*runner), None, Code::ScopeTooSmall),
        (Some(&*read), Some("http://evil.example"), Code::ForeignOrigin),
        (Some(&*read), Some("null"), Code::ForeignOrigin),
    ] {
        let refused = open(&node, handshake(&node, "/events", token, origin)).await.err().unwrap();
        assert_eq!(refused.code, code, "{token:?} {origin:?}");
    }
    let mut foreign = handshake(&node, "/events", Some(&read), None);
    foreign.headers_mut().insert("host", "evil.example".parse().unwrap());
    assert_eq!(open(&node, foreign).await.err().unwrap().code, Code::ForeignHost);
    let mut old = handshake(&node, "/events", Some(&read), None);
    old.headers_mut().insert("sec-websocket-version", "8".parse().unwrap());
    assert_eq!(open(&node, old).await.err().unwrap().code, Code::BadRequest);

    let mut socket = open(&node, handshake(&node, "/events", Some(&read), None)).await.unwrap();
    let id = node.service.tokens().list()[0].id.clone();
    RevokeToken::run(&node.service, RevokeTokenRequest { id, dry_run: false }, &Progress::unwatched()).await.unwrap();
    assert_eq!(socket.message().await.0, CLOSE, "its token was revoked");
}
