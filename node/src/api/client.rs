//! The other side of the doors: typed calls over the Unix socket or loopback TCP, with progress. A problem of the
//! node arrives as the same [`Problem`].

use std::path::Path;
use std::time::Duration;

use axum::body::Body;
use bytes::{Buf, Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;

use super::doors::{DoorFile, DoorPaths};
use super::stream::{EVENTS_PATH, EventsRequest, NDJSON};
use super::types::Frame;
use super::verb::{Method, PREFIX, Verb};
use crate::event::EventFrame;
use crate::home::Layout;
use crate::problem::{Code, Failure, Problem};
use crate::progress::ProgressFrame;

/// How long the node may take to accept a connection: it is on this machine.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of one answer or one line: above any list the node makes, below what would hurt.
const ANSWER_BYTES: usize = 256 << 20;

/// Where a node's API is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A Unix socket.
    #[cfg(unix)]
    Socket(std::path::PathBuf),
    /// `host:port` on TCP.
    Tcp(String),
}

impl Address {
    /// Reads `unix:PATH`, a path with a slash, `http://host:port` or `host:port`.
    ///
    /// # Errors
    /// [`Code::BadArgument`].
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let wrong = |why: &str| {
            Problem::new(Code::BadArgument, format!("`{text}` is not an API address: {why}"))
                .with_hint("it is `unix:PATH` or `HOST:PORT`, as `syncra status` shows it")
        };
        if let Some(path) = text.strip_prefix("unix:").or_else(|| text.starts_with(['/', '.']).then_some(text)) {
            #[cfg(unix)]
            return Ok(Self::Socket(path.into()));
            #[cfg(not(unix))]
            return Err(wrong(&format!("there are no Unix sockets here for `{path}`")));
        }
        let host = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
        let uri: Uri = format!("http://{host}/").parse().map_err(|_| wrong("it cannot be read"))?;
        match (uri.host(), uri.port_u16()) {
            (Some(_), Some(_)) if uri.path() == "/" => Ok(Self::Tcp(host.to_owned())),
            _ => Err(wrong("the port is missing")),
        }
    }

    fn host(&self) -> &str {
        match self {
            #[cfg(unix)]
            Self::Socket(_) => "localhost",
            Self::Tcp(host) => host,
        }
    }
}

/// A client of one node.
#[derive(Debug, Clone)]
pub struct Client {
    address: Address,
    token: Option<String>,
}

trait Pipe: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Pipe for T {}

impl Client {
    /// A client of the node at `address`; over TCP a token is needed.
    #[must_use]
    pub fn new(address: Address, token: Option<String>) -> Self {
        Self { address, token }
    }

    /// The client of the node that runs on the home at `home`, if one answers there.
    pub async fn find(home: &Path) -> Option<Self> {
        let paths = DoorPaths::of(&Layout::new(home));
        #[cfg(unix)]
        if let Some(socket) = paths.socket() {
            let client = Self::new(Address::Socket(socket), None);
            return client.connect().await.is_ok().then_some(client);
        }
        let file: DoorFile = serde_json::from_slice(&std::fs::read(paths.file()).ok()?).ok()?;
        let client = Self::new(Address::Tcp(file.address.to_string()), Some(file.token));
        client.connect().await.is_ok().then_some(client)
    }

    /// Calls a verb; `on_progress` gets what it reports meanwhile.
    ///
    /// # Errors
    /// The node's [`Problem`], or [`Code::Unreachable`], [`Code::Timeout`], [`Code::NodeGone`].
    pub async fn call<V: Verb>(
        &self,
        request: &V::Request,
        on_progress: impl FnMut(ProgressFrame) + Send,
    ) -> Result<V::Response, Problem> {
        let (path, body) = match V::METHOD {
            Method::Get => (format!("{}{}", V::PATH, query(request)?), None),
            Method::Post => (V::PATH.to_owned(), Some(json(request)?)),
        };
        let lines = self.send(&path, body).await?;
        lines.result(on_progress).await
    }

    /// The events after `since`, see [`crate::event::Events::subscribe`].
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn events(&self, since: Option<u64>) -> Result<EventReader, Problem> {
        let path = format!("{EVENTS_PATH}{}", query(&EventsRequest { since })?);
        Ok(EventReader(self.send(&path, None).await?))
    }

    async fn send(&self, path: &str, body: Option<Vec<u8>>) -> Result<Lines, Problem> {
        let mut request =
            Request::builder().uri(format!("{PREFIX}{path}")).header(HOST, self.address.host()).header(ACCEPT, NDJSON);
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = match body {
            None => request.body(Body::empty()),
            Some(body) => request.method("POST").header(CONTENT_TYPE, "application/json").body(Body::from(body)),
        };
        let request = request.map_err(|error| Problem::from_error(Code::BadArgument, &error))?;
        let pipe = self.connect().await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(pipe)).await.map_err(|error| gone(&error))?;
        let task = Task(tokio::spawn(async move { drop(connection.await) }).abort_handle());
        let response = sender.send_request(request).await.map_err(|error| gone(&error))?;
        Lines::of(response, task).await
    }

    async fn connect(&self) -> Result<Box<dyn Pipe>, Problem> {
        let connect = async {
            Ok::<Box<dyn Pipe>, std::io::Error>(match &self.address {
                #[cfg(unix)]
                Address::Socket(path) => Box::new(tokio::net::UnixStream::connect(path).await?),
                Address::Tcp(host) => Box::new(TcpStream::connect(host).await?),
            })
        };
        let place = match &self.address {
            #[cfg(unix)]
            Address::Socket(path) => path.display().to_string(),
            Address::Tcp(host) => host.clone(),
        };
        match tokio::time::timeout(CONNECT_TIMEOUT, connect).await {
            Ok(Ok(pipe)) => Ok(pipe),
            Ok(Err(error)) => Err(Problem::new(Code::NodeNotRunning, format!("no node answers at `{place}`"))
                .with_cause(error.to_string())),
            Err(_) => Err(Problem::new(Code::Timeout, format!("the node at `{place}` does not answer"))),
        }
    }
}

fn gone(error: &hyper::Error) -> Problem {
    Problem::new(Code::NodeGone, "the node closed the connection").with_cause(error.to_string())
}

fn json<T: Serialize>(value: &T) -> Result<Vec<u8>, Problem> {
    serde_json::to_vec(value).map_err(|error| Problem::from_error(Code::Bug, &error))
}

/// The fields of a request as a query string. GET requests have plain fields only, so any other is a bug.
fn query<T: Serialize>(request: &T) -> Result<String, Problem> {
    use serde_json::Value;
    let value = serde_json::to_value(request).map_err(|error| Problem::from_error(Code::Bug, &error))?;
    let Value::Object(fields) = value else { return Ok(String::new()) };
    let mut query = String::new();
    for (name, value) in fields {
        let text = match value {
            Value::Null => continue,
            Value::String(text) => text,
            Value::Bool(_) | Value::Number(_) => value.to_string(),
            Value::Array(_) | Value::Object(_) => {
                return Err(Problem::new(Code::Bug, format!("the field `{name}` does not fit in a query")));
            }
        };
        query.push(if query.is_empty() { '?' } else { '&' });
        query.push_str(&name);
        query.push('=');
        push_escaped(&mut query, &text);
    }
    Ok(query)
}

/// RFC 3986 percent-encoding of everything but unreserved characters.
fn push_escaped(query: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => query.push(char::from(byte)),
            _ => query.push_str(&format!("%{byte:02X}")),
        }
    }
}

/// The connection's task, ended when the answer is dropped: so the node notices that nobody waits any more.
#[derive(Debug)]
struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The lines of an answer.
#[derive(Debug)]
struct Lines {
    body: Incoming,
    buffer: BytesMut,
    frames: bool,
    _task: Task,
}

impl Lines {
    async fn of(response: Response<Incoming>, task: Task) -> Result<Self, Problem> {
        let status = response.status();
        let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let frames = content_type == Some(NDJSON);
        let mut lines = Self { body: response.into_body(), buffer: BytesMut::new(), frames, _task: task };
        if status == StatusCode::OK {
            return Ok(lines);
        }
        let body = lines.rest().await?;
        match serde_json::from_slice::<Failure>(&body) {
            // Our own verbs exist in a node of our own version.
            Ok(failure) if failure.error.code == Code::RouteNotFound => Err(failure
                .error
                .with_hint("the running node is of another version than this program: stop it by `syncra down` or in its terminal, then start it anew by `syncra up`")),
            Ok(failure) => Err(failure.error),
            Err(_) => Err(Problem::new(Code::Failed, format!("this is not a syncra API: it answered {status}"))),
        }
    }

    /// Reads to the verb's result.
    async fn result<T: DeserializeOwned>(mut self, mut on_progress: impl FnMut(ProgressFrame)) -> Result<T, Problem> {
        if !self.frames {
            return parse(&self.rest().await?);
        }
        while let Some(line) = self.next().await? {
            match parse(&line)? {
                Frame::Progress(frame) => on_progress(frame),
                Frame::Result(value) => return Ok(value),
                Frame::Error(problem) => return Err(problem),
            }
        }
        Err(Problem::new(Code::NodeGone, "the node went away before it answered"))
    }

    /// The next line; `None` at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        let mut searched = 0;
        loop {
            if let Some(at) = self.buffer[searched..].iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(searched + at).freeze();
                self.buffer.advance(1);
                return Ok(Some(line));
            }
            searched = self.buffer.len();
            if !self.read().await? {
                return Ok(None);
            }
        }
    }

    async fn rest(&mut self) -> Result<Bytes, Problem> {
        while self.read().await? {}
        Ok(self.buffer.split().freeze())
    }

    async fn read(&mut self) -> Result<bool, Problem> {
        let Some(frame) = self.body.frame().await else { return Ok(false) };
        if let Ok(data) = frame.map_err(|error| gone(&error))?.into_data() {
            if self.buffer.len() + data.len() > ANSWER_BYTES {
                return Err(Problem::new(Code::Failed, format!("the answer has more than {ANSWER_BYTES} bytes")));
            }
            self.buffer.extend_from_slice(&data);
        }
        Ok(true)
    }
}

fn parse<T: DeserializeOwned>(json: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(json).map_err(|error| {
        Problem::from_error(Code::Failed, &error).with_hint("node and command line may be of different versions")
    })
}

/// The events of a node, one after the other.
#[derive(Debug)]
pub struct EventReader(Lines);

impl EventReader {
    /// The next event; `None` when the node has stopped.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn next(&mut self) -> Result<Option<EventFrame>, Problem> {
        match self.0.next().await? {
            Some(line) => parse(&line).map(Some),
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_sockets_or_hosts_with_ports() {
        for tcp in ["127.0.0.1:80", "http://localhost:4711/", "[::1]:1"] {
            assert!(matches!(Address::parse(tcp), Ok(Address::Tcp(_))), "{tcp}");
        }
        for wrong in
            ["", "localhost", "localhost:", "localhost:x", "localhost:1/x", "http://", "a b:1", "localhost:99999"]
        {
            assert_eq!(Address::parse(wrong).unwrap_err().code, Code::BadArgument, "{wrong}");
        }
        #[cfg(unix)]
        for socket in ["unix:api.sock", "/run/a b/api.sock", "./x"] {
            assert!(matches!(Address::parse(socket), Ok(Address::Socket(_))), "{socket}");
        }
    }

    #[test]
    fn query_strings_are_escaped_and_leave_out_what_is_not_said() {
        let fields = serde_json::json!({ "a": "x y&ü", "b": null, "c": 7, "d": true });
        assert_eq!(query(&fields).unwrap(), "?a=x%20y%26%C3%BC&c=7&d=true");
        assert_eq!(query(&EventsRequest { since: None }).unwrap(), "");
        assert_eq!(query(&serde_json::json!({ "a": [1] })).unwrap_err().code, Code::Bug);
    }
}
