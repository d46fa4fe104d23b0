//! The doors from outside: every route against every token, host and origin; bodies; streams; the client.

use axum::body::Body;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Method as HttpMethod, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::client::Address;
use super::doors::Doors;
use super::types::Empty;
use super::verb::{Method, PREFIX, routes};
use super::verbs::status::Status;
use super::verbs::token::{CreateToken, CreateTokenRequest, ListTokens, RevokeToken, RevokeTokenRequest};
use super::{Client, Scope, Service, Verb};
use crate::clock;
use crate::event::Event;
use crate::home::Home;
use crate::problem::{Code, Failure, Problem};
use crate::progress::Progress;
use std::sync::Arc;

mod socket;

/// A node with a TCP door.
struct Node {
    service: Arc<Service>,
    doors: Doors,
    port: u16,
    _dir: tempfile::TempDir,
}

impl Node {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let service = Service::open(Home::open(&dir.path().join("a home")).unwrap()).await.unwrap();
        let doors = Doors::open(&service, Some(([127, 0, 0, 1], 0).into())).await.unwrap();
        let port = doors.addresses().tcp.as_ref().unwrap().rsplit(':').next().unwrap().parse().unwrap();
        Self { service, doors, port, _dir: dir }
    }

    fn token(&self, scope: Scope) -> String {
        self.service.tokens().create("test", &[scope], clock::now(), clock::random(), false).unwrap().1
    }

    async fn send(&self, request: Request<Body>) -> Response<Incoming> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(async move { drop(connection.await) });
        sender.send_request(request).await.unwrap()
    }

    fn request(&self, method: HttpMethod, path: &str) -> hyper::http::request::Builder {
        let host = format!("127.0.0.1:{}", self.port);
        Request::builder().method(method).uri(format!("{PREFIX}{path}")).header("host", host)
    }

    fn client(&self, token: String) -> Client {
        Client::new(Address::Tcp(format!("127.0.0.1:{}", self.port)), Some(token))
    }
}

async fn problem(response: Response<Incoming>) -> Problem {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    serde_json::from_slice::<Failure>(&body).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&body))).error
}

/// What a request carries besides its path.
#[derive(Debug, Clone, Copy)]
struct Case {
    method: Method,
    needs: Scope,
    token: Option<&'static str>,
    has: Option<Scope>,
    host: &'static str,
    origin: Option<&'static str>,
}

impl Case {
    /// What has to come out, by the rules alone; `None` stands for "whatever the verb says, but not a refusal".
    fn expected(self) -> Option<(StatusCode, Code)> {
        match self {
            Self { host: "foreign", .. } => Some((StatusCode::FORBIDDEN, Code::ForeignHost)),
            Self { origin: Some("foreign" | "null"), .. } => Some((StatusCode::FORBIDDEN, Code::ForeignOrigin)),
            Self { has: None, .. } => Some((StatusCode::UNAUTHORIZED, Code::TokenNeeded)),
            Self { has: Some(has), needs, .. } if !has.grants(needs) => {
                Some((StatusCode::FORBIDDEN, Code::ScopeTooSmall))
            }
            _ => None,
        }
    }
}

fn cases() -> Vec<(&'static str, Case)> {
    let tokens = [None, Some("wrong"), Some("revoked"), Some("read"), Some("publish"), Some("admin"), Some("runner")];
    let mut cases = Vec::new();
    for route in routes() {
        for token in tokens {
            for host in ["ours", "localhost", "foreign"] {
                for origin in [None, Some("ours"), Some("foreign"), Some("null")] {
                    let has = Scope::ALL.into_iter().find(|scope| token == Some(&scope.to_string()));
                    let (method, needs) = (route.method, route.scope);
                    cases.push((route.path, Case { method, needs, token, has, host, origin }));
                }
            }
        }
    }
    cases
}

#[tokio::test]
async fn every_route_lets_in_whom_it_must_and_nobody_else() {
    let node = Node::start().await;
    let revoked = node.token(Scope::Admin);
    let id = node.service.tokens().list()[0].id.clone();
    node.service.tokens().revoke(&id, false).unwrap();
    let secrets: Vec<_> = Scope::ALL.iter().map(|scope| (scope.to_string(), node.token(*scope))).collect();
    let secret = |token: &str| match token {
        "wrong" => node.token_shaped(),
        "revoked" => revoked.clone(),
        scope => secrets.iter().find(|(name, _)| name == scope).unwrap().1.clone(),
    };
    let (mut n_refused, mut n_passed) = (0, 0);
    for (path, case) in cases() {
        let host = match case.host {
            "ours" => format!("127.0.0.1:{}", node.port),
            "localhost" => format!("localhost:{}", node.port),
            _ => format!("evil.example:{}", node.port),
        };
        let method = if case.method == Method::Get { HttpMethod::GET } else { HttpMethod::POST };
        let mut request = Request::builder().method(method).uri(format!("{PREFIX}{path}")).header("host", host);
        request = request.header("content-type", "application/json");
        match case.origin {
            Some("ours") => request = request.header("origin", format!("http://localhost:{}", node.port)),
            Some("foreign") => request = request.header("origin", format!("http://evil.example:{}", node.port)),
            Some(other) => request = request.header("origin", other),
            None => {}
        }
        if let Some(token) = case.token {
            request = request.header("authorization", format!("Bearer {}", secret(token)));
        }
        // An unknown field: the verb is reached, and does nothing.
        let response = node.send(request.body(Body::from("{\"nonsense\":1}")).unwrap()).await;
        let status = response.status();
        assert!(response.headers().get("access-control-allow-origin").is_none());
        match case.expected() {
            Some((expected, code)) => {
                assert_eq!((status, problem(response).await.code), (expected, code), "{path} {case:?}");
                n_refused += 1;
            }
            None => {
                let refused = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN, StatusCode::NOT_FOUND];
                assert!(!refused.contains(&status), "{path} {case:?}: {status}");
                n_passed += 1;
            }
        }
    }
    assert!(n_refused > 4 * n_passed && n_passed > 0, "{n_refused} refused, {n_passed} passed");
}

impl Node {
    /// A secret of the right form that nobody gave out.
    fn token_shaped(&self) -> String {
        self.service.tokens().create("x", &[Scope::Admin], clock::now(), clock::random(), true).unwrap().1
    }
}

#[tokio::test]
async fn paths_and_methods_that_do_not_exist_are_hidden_from_strangers() {
    let node = Node::start().await;
    let token = node.token(Scope::Read);
    let auth = format!("Bearer {token}");
    for (method, path, code) in [
        (HttpMethod::GET, "/nothing", Code::RouteNotFound),
        (HttpMethod::DELETE, "/status", Code::MethodNotAllowed),
        (HttpMethod::OPTIONS, "/status", Code::MethodNotAllowed),
        (HttpMethod::PUT, "/tokens", Code::MethodNotAllowed),
    ] {
        let stranger = node.send(node.request(method.clone(), path).body(Body::empty()).unwrap()).await;
        assert_eq!(problem(stranger).await.code, Code::TokenNeeded, "{method} {path}");
        let known = node.request(method.clone(), path).header("authorization", &auth).body(Body::empty()).unwrap();
        assert_eq!(problem(node.send(known).await).await.code, code, "{method} {path}");
    }
}

#[tokio::test]
async fn headers_that_stand_twice_do_not_count() {
    let node = Node::start().await;
    let auth = format!("Bearer {}", node.token(Scope::Admin));
    let twice = node.request(HttpMethod::GET, "/status").header("host", "evil.example").header("authorization", &auth);
    assert_eq!(problem(node.send(twice.body(Body::empty()).unwrap()).await).await.code, Code::ForeignHost);
    let twice = node.request(HttpMethod::GET, "/status").header("authorization", "Bearer x");
    let twice = twice.header("authorization", &auth).body(Body::empty()).unwrap();
    assert_eq!(problem(node.send(twice).await).await.code, Code::TokenNeeded);
}

#[tokio::test]
async fn bodies_are_json_and_small() {
    let node = Node::start().await;
    let auth = format!("Bearer {}", node.token(Scope::Admin));
    let long = format!("{{\"id\":\"{}\"}}", "x".repeat(1 << 20));
    for (content_type, body, code) in [
        ("text/plain", "{}", Code::NotJson),
        ("application/x-www-form-urlencoded", "id=1", Code::NotJson),
        ("application/json-patch+json", "{}", Code::NotJson),
        ("application/json", "", Code::BadRequest),
        ("application/json; charset=utf-8", "[", Code::BadRequest),
        ("application/json", "{\"id\":1}", Code::BadRequest),
        ("application/json", long.as_str(), Code::RequestTooLarge),
    ] {
        // Known length, then unknown: both are bounded.
        let chunks = futures::stream::iter([Ok::<_, std::convert::Infallible>(bytes::Bytes::from(body.to_owned()))]);
        for body in [Body::from(body.to_owned()), Body::from_stream(chunks)] {
            let request = node.request(HttpMethod::POST, "/tokens/revoke").header("authorization", &auth);
            let request = request.header("content-type", content_type).body(body).unwrap();
            assert_eq!(problem(node.send(request).await).await.code, code, "{content_type}");
        }
    }
}

#[tokio::test]
async fn problems_arrive_as_they_were_told_over_every_door() {
    let node = Node::start().await;
    let request = RevokeTokenRequest { id: "nobody".into(), dry_run: false };
    let here = RevokeToken::run(&node.service, request.clone(), &Progress::unwatched()).await.unwrap_err();
    assert_eq!(here.code, Code::TokenNotFound);
    let over_tcp = node.client(node.token(Scope::Admin));
    assert_eq!(over_tcp.call::<RevokeToken>(&request, drop).await.unwrap_err(), here);
    let local = Client::find(node.service.home()).await.expect("the local user's door");
    assert_eq!(local.call::<RevokeToken>(&request, drop).await.unwrap_err(), here);
}

#[tokio::test]
async fn the_client_calls_verbs_and_is_refused_like_anybody() {
    let node = Node::start().await;
    let local = Client::find(node.service.home()).await.expect("the local user's door");
    let request = CreateTokenRequest { name: "ü".into(), scopes: vec![Scope::Runner], dry_run: false };
    let made = local.call::<CreateToken>(&request, drop).await.unwrap();
    let status = local.call::<Status>(&Empty {}, drop).await.unwrap();
    assert!(status.running && status.n_tokens == 1);
    let runner = node.client(made.secret.unwrap());
    assert_eq!(runner.call::<ListTokens>(&Empty {}, drop).await.unwrap_err().code, Code::ScopeTooSmall);
    node.service.stop();
    node.doors.close().await;
    assert_eq!(runner.call::<Status>(&Empty {}, drop).await.unwrap_err().code, Code::NodeNotRunning);
    assert!(Client::find(node.service.home()).await.is_none());
}

#[tokio::test]
async fn frames_end_with_the_result_or_the_error() {
    let node = Node::start().await;
    let auth = format!("Bearer {}", node.token(Scope::Admin));
    for (body, last) in [("{\"id\":\"x\"}", "error"), ("{\"id\":\"ID\"}", "result")] {
        let body = body.replace("ID", &node.service.tokens().list()[0].id);
        let request = node.request(HttpMethod::POST, "/tokens/revoke").header("authorization", &auth);
        let request = request.header("content-type", "application/json").header("accept", "application/x-ndjson");
        let response = node.send(request.body(Body::from(body)).unwrap()).await;
        assert_eq!(
            (response.status(), response.headers()["content-type"].as_bytes()),
            (StatusCode::OK, &b"application/x-ndjson"[..])
        );
        let text = response.into_body().collect().await.unwrap().to_bytes();
        let lines: Vec<serde_json::Value> =
            text.split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(|l| serde_json::from_slice(l).unwrap()).collect();
        assert!(lines.last().unwrap().get(last).is_some(), "{lines:?}");
    }
}

#[tokio::test]
async fn events_come_as_sse_from_where_the_reader_was() {
    let node = Node::start().await;
    node.service.emit(Event::NodeStarted);
    let auth = format!("Bearer {}", node.token(Scope::Read));
    node.service.emit(Event::TokenCreated { id: "a".into() });
    let first = node.service.events().subscribe(Some(0)).poll().unwrap().seq;
    let request = node.request(HttpMethod::GET, "/events?since=7").header("authorization", &auth);
    let request = request.header("last-event-id", first.to_string()).body(Body::empty()).unwrap();
    let response = node.send(request).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    node.service.stop();
    // The stream ends by itself, after the last event.
    let text = response.into_body().collect().await.unwrap().to_bytes();
    let text = String::from_utf8(text.to_vec()).unwrap();
    let ids: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("id: ")).collect();
    assert_eq!(ids, [(first + 1).to_string(), (first + 2).to_string()], "{text}");
    assert!(text.contains("\"type\":\"token_created\"") && text.contains("\"type\":\"node_stopping\""), "{text}");
    let bad = node.request(HttpMethod::GET, "/events").header("authorization", &auth).header("last-event-id", "x");
    assert_eq!(problem(node.send(bad.body(Body::empty()).unwrap()).await).await.code, Code::BadRequest);
}

#[tokio::test]
async fn a_revoked_token_reads_no_more_events() {
    let node = Node::start().await;
    let client = node.client(node.token(Scope::Read));
    let mut events = client.events(None).await.unwrap();
    node.service.emit(Event::NodeStarted);
    assert_eq!(events.next().await.unwrap().unwrap().event, Event::NodeStarted);
    let request = RevokeTokenRequest { id: node.service.tokens().list()[0].id.clone(), dry_run: false };
    RevokeToken::run(&node.service, request, &Progress::unwatched()).await.unwrap();
    node.service.emit(Event::NodeStarted);
    assert_eq!(events.next().await.unwrap(), None);
}

#[tokio::test]
async fn a_door_opens_on_loopback_only_and_says_when_the_port_is_taken() {
    let node = Node::start().await;
    let dir = tempfile::tempdir().unwrap();
    let service = Service::open(Home::open(dir.path()).unwrap()).await.unwrap();
    let taken = Doors::open(&service, Some(([127, 0, 0, 1], node.port).into())).await.unwrap_err();
    assert_eq!(taken.code, Code::AddressInUse);
    let open = Doors::open(&service, Some(([0, 0, 0, 0], 0).into())).await.unwrap_err();
    assert_eq!(open.code, Code::BadArgument);
    assert!(Client::find(dir.path()).await.is_none(), "nothing half open is left");
}

#[cfg(unix)]
#[tokio::test]
async fn the_socket_is_for_its_owner_and_not_for_web_pages() {
    use std::os::unix::fs::PermissionsExt as _;
    let node = Node::start().await;
    let socket = node.doors.addresses().socket.clone().unwrap();
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    let stream = tokio::net::UnixStream::connect(&socket).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(async move { drop(connection.await) });
    let request =
        Request::builder().uri(format!("{PREFIX}/status")).header("host", "x").header("origin", "http://localhost");
    let response = sender.send_request(request.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(problem(response).await.code, Code::ForeignOrigin);
}

#[tokio::test]
async fn a_home_with_a_long_path_gets_a_door_file() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("long".repeat(40));
    let service = Service::open(Home::open(&root).unwrap()).await.unwrap();
    let doors = Doors::open(&service, None).await.unwrap();
    assert_eq!(doors.addresses().socket, None);
    let client = Client::find(&root).await.expect("the local user's door");
    assert!(client.call::<Status>(&Empty {}, drop).await.unwrap().running);
    doors.close().await;
    assert!(Client::find(&root).await.is_none());
}
