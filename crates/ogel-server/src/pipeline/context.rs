//! The outermost steps: a request gets its ids, its line in the log, and, should it fail, our envelope.

use crate::{error, extract::BodyLimit, state::App};
use axum::{
    body::Body,
    extract::{MatchedPath, Request, State},
    http::{HeaderName, HeaderValue, Response},
    middleware::Next,
    response::IntoResponse as _,
};
use futures_util::FutureExt as _;
use ogel_api::{
    error::{Error, ErrorCode},
    id::RequestId,
};
use std::{panic::AssertUnwindSafe, sync::Arc, time::Instant};

/// What is known of a request from its first byte on; in its extensions.
#[derive(Clone)]
pub(crate) struct RequestContext {
    pub request_id: Arc<str>,
    /// 32 hexadecimal digits: the caller's, if they sent a `traceparent`.
    pub trace_id: Arc<str>,
}

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Step 1 and 2, and the last step on the way out.
pub(crate) async fn request_context(State(app): State<App>, mut request: Request, next: Next) -> Response<Body> {
    let started = Instant::now();
    let trace_id = request
        .headers()
        .get("traceparent")
        .and_then(|value| value.to_str().ok())
        .and_then(trace_id_of)
        .map_or_else(|| hex::encode(app.world.entropy.bytes::<16>()), str::to_owned);
    let context =
        RequestContext { request_id: RequestId(app.world.uuid()).to_string().into(), trace_id: trace_id.into() };
    let limit = usize::try_from(app.config.server.max_body_bytes).unwrap_or(usize::MAX);
    request.extensions_mut().insert(BodyLimit(limit));
    request.extensions_mut().insert(context.clone());
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();

    let mut response = next.run(request).await;

    let failure = response.extensions_mut().remove::<Arc<Error>>();
    if let Some(failure) = &failure {
        error::render(&mut response, failure, &context.request_id, &context.trace_id);
    }
    if let Ok(value) = HeaderValue::from_str(&context.request_id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    // Browsers must not guess that an answer is something to run or to frame.
    response.headers_mut().insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    log(&method, route.as_ref(), &response, &context, failure.as_deref(), started);
    response
}

/// One line per request. The route's pattern, never its path or query: those can hold what must not be logged.
fn log(
    method: &axum::http::Method,
    route: Option<&MatchedPath>,
    response: &Response<Body>,
    context: &RequestContext,
    failure: Option<&Error>,
    started: Instant,
) {
    let route = route.map_or("-", MatchedPath::as_str);
    let status = response.status().as_u16();
    let duration_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
    let (request_id, trace_id) = (&*context.request_id, &*context.trace_id);
    let code = failure.map_or("-", |failure| failure.code.as_str());
    match failure {
        Some(failure) if failure.code.status().is_server_error() => {
            let cause = failure.cause.as_deref().map(chain).unwrap_or_default();
            tracing::error!(%method, route, status, code, duration_us, request_id, trace_id, cause, "request failed");
        }
        _ => tracing::info!(%method, route, status, code, duration_us, request_id, trace_id, "request"),
    }
}

/// An error and all it was caused by, in one line.
fn chain(error: &(dyn std::error::Error + Send + Sync + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// The trace id of a W3C `traceparent`, if it is a valid one.
fn trace_id_of(traceparent: &str) -> Option<&str> {
    let mut parts = traceparent.split('-');
    let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_hex = |text: &str, length| {
        text.len() == length && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let valid = is_hex(version, 2)
        && version != "ff"
        && is_hex(trace, 32)
        && is_hex(parent, 16)
        && is_hex(flags, 2)
        && trace.bytes().any(|b| b != b'0');
    valid.then_some(trace)
}

/// Step 3.
pub(crate) async fn recover_panics(request: Request, next: Next) -> Response<Body> {
    match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => response,
        Err(panic) => {
            let text = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("panic without a message");
            crate::error::Failure::from(Error::internal(text.to_owned())).into_response()
        }
    }
}

/// The answer for a path that no operation has.
pub(crate) async fn route_not_found(request: Request) -> Response<Body> {
    let path = request.uri().path();
    let segment = path.strip_prefix(ogel_api::BASE_PATH).unwrap_or(path).trim_start_matches('/');
    let segment = segment.split('/').next().unwrap_or_default();
    let known = crate::resources::RESOURCES.iter().map(|resource| resource.name);
    let hint = match crate::config::nearest(segment, known) {
        _ if !path.starts_with(ogel_api::BASE_PATH) => format!("every path starts with `{}`", ogel_api::BASE_PATH),
        Some(known) if known != segment => format!("did you mean `{known}`?"),
        _ => format!("`{}/openapi.json` lists every operation", ogel_api::BASE_PATH),
    };
    crate::error::Failure::new(ErrorCode::RouteNotFound, format!("no operation has this path; {hint}")).into_response()
}

/// The answer for a path that exists with other methods; the router adds `Allow`.
pub(crate) async fn method_not_allowed(request: Request) -> Response<Body> {
    let message = format!("this path has no `{}`; the `Allow` header lists what it has", request.method());
    crate::error::Failure::new(ErrorCode::MethodNotAllowed, message).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_valid_trace_parents_are_followed() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        assert_eq!(trace_id_of(&format!("00-{trace}-00f067aa0ba902b7-01")), Some(trace));
        for bad in ["", "00", "00-xyz-00f067aa0ba902b7-01", "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"] {
            assert_eq!(trace_id_of(bad), None, "{bad}");
        }
        assert_eq!(trace_id_of(&format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32))), None);
    }
}
