//! Checks before routing, default deny. Over TCP: Host against DNS rebinding, Origin against foreign web pages, then
//! token, then scope. The Unix socket is the local user, but a web page behind some proxy is not.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri};
use axum::middleware::Next;
use axum::response::Response;

use super::service::Service;
use super::token::Scope;
use super::verb::{Method, PREFIX, Route};
use super::{answer, token};
use crate::problem::{Code, Problem};

/// The id of the token that a request came with.
#[derive(Debug, Clone)]
pub(super) struct CallerToken(pub(super) String);

/// Everything that a check needs.
pub(super) struct Guard {
    /// Loopback TCP at this address, by token; none: the Unix socket, for the local user with all scopes.
    tcp: Option<SocketAddr>,
    service: Arc<Service>,
    scopes: HashMap<(Method, String), Scope>,
    /// A token of this run only, for the door file of systems without Unix sockets.
    run_token: Option<blake3::Hash>,
}

impl Guard {
    pub(super) fn new(
        tcp: Option<SocketAddr>,
        service: Arc<Service>,
        routes: &[Route],
        run_token: Option<&str>,
    ) -> Self {
        let scopes = routes.iter().map(|route| ((route.method, format!("{PREFIX}{}", route.path)), route.scope));
        let run_token = run_token.map(|secret| blake3::hash(secret.as_bytes()));
        Self { tcp, service, scopes: scopes.collect(), run_token }
    }

    /// Who calls, if that is a token.
    fn check(&self, request: &Request) -> Result<Option<CallerToken>, Problem> {
        let Some(address) = self.tcp else {
            return match request.headers().contains_key(ORIGIN) {
                true => Err(Problem::new(Code::ForeignOrigin, "a web page cannot use the Unix socket")),
                false => Ok(None),
            };
        };
        check_host(request.uri(), request.headers(), address)?;
        check_origin(request.headers(), address)?;
        self.check_token(request)
    }

    fn check_token(&self, request: &Request) -> Result<Option<CallerToken>, Problem> {
        let missing = || Problem::new(Code::TokenNeeded, "no valid token was given");
        let secret = single(request.headers(), &AUTHORIZATION).and_then(bearer).ok_or_else(missing)?;
        if self.run_token.is_some_and(|hash| hash == blake3::hash(secret.as_bytes())) {
            return Ok(None);
        }
        let token = self.service.tokens().find(secret).ok_or_else(missing)?;
        match self.needed(request) {
            Some(scope) if !token.grants(scope) => Err(too_small(&token, scope)),
            // A path or method that does not exist: the token is good, routing will say so.
            _ => Ok(Some(CallerToken(token.id))),
        }
    }

    fn needed(&self, request: &Request) -> Option<Scope> {
        let method = match *request.method() {
            axum::http::Method::GET | axum::http::Method::HEAD => Method::Get,
            axum::http::Method::POST => Method::Post,
            _ => return None,
        };
        self.scopes.get(&(method, request.uri().path().to_owned())).copied()
    }
}

/// The middleware around all routes.
pub(super) async fn guard(State(guard): State<Arc<Guard>>, mut request: Request, next: Next) -> Response {
    let mut response = match guard.check(&request) {
        Ok(caller) => {
            if let Some(caller) = caller {
                request.extensions_mut().insert(caller);
            }
            next.run(request).await
        }
        Err(problem) => answer::failure(problem),
    };
    for (name, value) in [
        ("cache-control", "no-store"),
        ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
        ("x-content-type-options", "nosniff"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

fn too_small(token: &token::Token, needed: Scope) -> Problem {
    let has = token.scopes.iter().map(Scope::to_string).collect::<Vec<_>>().join(", ");
    Problem::new(Code::ScopeTooSmall, format!("this needs the scope `{needed}`, the token has `{has}`"))
}

/// The names under which this door may be asked for.
fn is_ours(host: &str, address: SocketAddr) -> bool {
    let port = address.port().to_string();
    ["127.0.0.1", "localhost", "[::1]"]
        .iter()
        .any(|name| host.strip_prefix(name).and_then(|rest| rest.strip_prefix(':')) == Some(port.as_str()))
}

fn check_host(uri: &Uri, headers: &HeaderMap, address: SocketAddr) -> Result<(), Problem> {
    let host = single(headers, &HOST);
    let ours = host.is_some_and(|host| is_ours(host, address))
        && uri.authority().is_none_or(|authority| is_ours(authority.as_str(), address));
    if ours { Ok(()) } else { Err(Problem::new(Code::ForeignHost, "the `Host` header does not name this API")) }
}

fn check_origin(headers: &HeaderMap, address: SocketAddr) -> Result<(), Problem> {
    if !headers.contains_key(ORIGIN) {
        return Ok(());
    }
    let origin = single(headers, &ORIGIN).and_then(|origin| origin.strip_prefix("http://"));
    match origin {
        Some(host) if is_ours(host, address) => Ok(()),
        _ => Err(Problem::new(Code::ForeignOrigin, "the `Origin` header names a foreign web page")),
    }
}

/// The value of a header that may stand only once.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, secret) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| secret.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_names_are_hosts() {
        let address = "127.0.0.1:4711".parse().unwrap();
        for ours in ["127.0.0.1:4711", "localhost:4711", "[::1]:4711"] {
            assert!(is_ours(ours, address), "{ours}");
        }
        for foreign in [
            "",
            "localhost",
            "127.0.0.1",
            "localhost:4712",
            "localhost:04711",
            "localhost:4711.",
            "localhost.:4711",
            "127.0.0.1:4711.evil.example",
            "evil.example:4711",
            "localhost:4711@evil.example",
            "127.1:4711",
            "0.0.0.0:4711",
            "2130706433:4711",
            "xlocalhost:4711",
            "[::ffff:127.0.0.1]:4711",
            "LOCALHOST.evil:4711",
        ] {
            assert!(!is_ours(foreign, address), "{foreign}");
        }
    }
}
