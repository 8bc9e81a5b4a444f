//! Which pages of other origins may use the API (the Fetch standard's CORS protocol). Outside the limiters, so that a
//! page can read a 429 as well.

use crate::{error::Failure, settings::Settings};
use axum::{body::Body, response::IntoResponse as _};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use ogel_api::error::ErrorCode;

const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PATCH, PUT, DELETE");
const HEADERS: HeaderValue = HeaderValue::from_static(
    "authorization, content-type, accept, idempotency-key, if-match, if-none-match, last-event-id, traceparent, \
     tracestate, x-request-timeout, cache-control",
);
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "x-request-id, retry-after, ratelimit, ratelimit-policy, x-ratelimit-limit, x-ratelimit-remaining, \
     x-ratelimit-reset, etag, location, idempotent-replayed, server-timing, deprecation, sunset",
);
/// Seconds a browser may remember a preflight; browsers take less.
const REMEMBER: HeaderValue = HeaderValue::from_static("7200");

/// The page's origin, if it is one that may.
pub(crate) fn allowed_origin(headers: &HeaderMap, settings: &Settings) -> Option<HeaderValue> {
    let origin = headers.get(header::ORIGIN)?;
    settings.server.allowed_origins.iter().any(|known| known.as_bytes() == origin.as_bytes()).then(|| origin.clone())
}

/// The answer to a browser that asks before it sends.
pub(crate) fn preflight<B>(request: &Request<B>, origin: Option<&HeaderValue>) -> Option<Response<Body>> {
    let asks = request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ORIGIN)
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    if !asks {
        return None;
    }
    if origin.is_none() {
        let message = "pages of this origin may not use the API; an operator can add it to `server.allowed_origins`";
        return Some(Failure::new(ErrorCode::CrossSiteRequest, message).into_response());
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HEADERS);
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, REMEMBER);
    Some(response)
}

/// Tells the browser that the page may read this answer. `Vary`, because another origin gets another one.
pub(crate) fn write(headers: &mut HeaderMap, origin: Option<HeaderValue>) {
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }
}
