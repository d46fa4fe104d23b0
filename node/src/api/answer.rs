//! Requests in, answers out: JSON with a size limit, problems with their HTTP status.

use axum::body::Body;
use axum::extract::{Query, Request};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Serialize;

use super::verb::{Method, Verb};
use crate::problem::{Code, Failure, Kind, Problem};

/// Bytes of a request body: stops memory floods; uploads have doors of their own.
const BODY_BYTES: usize = 1 << 20;

/// Reads a verb's request from the query (GET) or the JSON body (POST).
pub(super) async fn read_request<V: Verb>(request: Request) -> Result<V::Request, Problem> {
    match V::METHOD {
        Method::Get => Query::try_from_uri(request.uri())
            .map(|Query(input)| input)
            .map_err(|error| Problem::from_error(Code::BadRequest, &error)),
        Method::Post => {
            let body = read_body(request).await?;
            serde_json::from_slice(&body).map_err(|error| Problem::from_error(Code::BadRequest, &error))
        }
    }
}

async fn read_body(request: Request) -> Result<bytes::Bytes, Problem> {
    if !is_json(request.headers()) {
        return Err(Problem::new(Code::NotJson, "the content type is not `application/json`"));
    }
    let too_large = || Problem::new(Code::RequestTooLarge, format!("the request has more than {BODY_BYTES} bytes"));
    let declared = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|length| length > BODY_BYTES) {
        return Err(too_large());
    }
    match Limited::new(request.into_body(), BODY_BYTES).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(error) => Err(Problem::from_error(Code::BadRequest, &*error)),
    }
}

/// Whether the body is JSON. Exactly: a browser's form cannot send it without asking first.
fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
}

/// An answer in JSON.
pub(super) fn json<T: Serialize>(value: &T) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => with_type(StatusCode::OK, "application/json", Body::from(body)),
        Err(error) => failure(Problem::from_error(Code::Bug, &error)),
    }
}

/// A problem as an answer.
pub(super) fn failure(problem: Problem) -> Response {
    let status = status(&problem);
    let body = serde_json::to_vec(&Failure { error: problem }).expect("a problem is plain text and numbers");
    let mut response = with_type(status, "application/json", Body::from(body));
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert("www-authenticate", HeaderValue::from_static("Bearer"));
    }
    response
}

pub(super) fn with_type(status: StatusCode, content_type: &'static str, body: Body) -> Response {
    (status, [(CONTENT_TYPE, content_type)], body).into_response()
}

/// The HTTP status of a problem. Clients of ours go by the code; this is for everybody else.
pub(super) fn status(problem: &Problem) -> StatusCode {
    match problem.code {
        Code::TokenNeeded => StatusCode::UNAUTHORIZED,
        Code::RequestTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::NotJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Code::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Code::Timeout => StatusCode::GATEWAY_TIMEOUT,
        code => match code.kind() {
            Kind::Failed => StatusCode::INTERNAL_SERVER_ERROR,
            Kind::Usage => StatusCode::BAD_REQUEST,
            Kind::NotFound => StatusCode::NOT_FOUND,
            Kind::Permission | Kind::Policy => StatusCode::FORBIDDEN,
            Kind::Verification => StatusCode::UNPROCESSABLE_ENTITY,
            Kind::Unreachable => StatusCode::BAD_GATEWAY,
            Kind::Conflict => StatusCode::CONFLICT,
            Kind::Disk => StatusCode::INSUFFICIENT_STORAGE,
            Kind::NotRunning | Kind::Interrupted => StatusCode::SERVICE_UNAVAILABLE,
        },
    }
}
