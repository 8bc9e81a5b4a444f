//! Namespaces that an existing Studio backend still answers: passed on as they are, both ways, as they come.
//!
//! Nothing is held but what is on its way. What passes is on the two lists below; who the caller is, Studio finds out by
//! the cookie or token that we pass on to it and to nobody else.

use crate::{
    edge::Switch,
    error::{Failure, Result},
    extract::is_json,
    header_text::HeaderText,
    pipeline::{self, RequestContext},
};
use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Uri, header, request::Parts},
    response::IntoResponse as _,
};
use ogel_api::error::{Error, ErrorCode, Source};
use ogel_proxy::{
    ForwardRules, OutgoingBody, Passing, RelayLimits, Replay, Sending, Upstream, UpstreamError, WebSocketLimits,
    accept_key, accept_websocket, dial_websocket, relay,
};
use std::{sync::LazyLock, time::Duration};

/// What Studio gets of a request; `Host`, framing, `X-Forwarded-*`, ids and trace are ours. And what the caller gets of its answer.
static RULES: LazyLock<ForwardRules> = LazyLock::new(|| ForwardRules::new(REQUEST, RESPONSE));

const REQUEST: &[&str] = &[
    "accept",
    "accept-encoding",
    "accept-language",
    "authorization",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-type",
    "cookie",
    "idempotency-key",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "last-event-id",
    "origin",
    "prefer",
    "range",
    "referer",
    "sec-fetch-dest",
    "sec-fetch-mode",
    "sec-fetch-site",
    "tracestate",
    "user-agent",
    "x-csrf-token",
    "x-requested-with",
];

const RESPONSE: &[&str] = &[
    "accept-ranges",
    "age",
    "allow",
    "cache-control",
    "clear-site-data",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-range",
    "content-security-policy",
    "content-type",
    "date",
    "deprecation",
    "etag",
    "expires",
    "last-modified",
    "link",
    "location",
    "retry-after",
    "set-cookie",
    "sunset",
    "vary",
    "www-authenticate",
    "x-accel-buffering",
];

/// Called by the pipeline itself: of what is passed on as it is, a router has nothing to find out.
pub(crate) async fn forward(context: &RequestContext, request: &mut Request) -> Result<Response<Body>> {
    let studio = context.core.studio.as_ref().ok_or_else(|| Error::internal("no backend to forward to"))?;
    if request.headers().contains_key(header::COOKIE) {
        pipeline::refuse_foreign(&context.core.app, request)?;
    }
    if request.headers().contains_key(header::UPGRADE) && accept_key(request.headers()).is_some() {
        return Box::pin(upgrade(context, studio, std::mem::take(request).into_parts().0)).await;
    }
    if http_body::Body::size_hint(request.body()).lower() > context.body_limit as u64 {
        return Err(Failure::body_too_large(context.body_limit as u64));
    }
    let hint = |status, headers: HeaderMap| {
        if status == StatusCode::EARLY_HINTS {
            let mut passed = HeaderMap::new();
            RULES.response.copy(&headers, &mut passed);
            context.peer.hint(passed);
        }
    };
    let sending = Sending {
        deadline: context.deadline,
        replay: Replay::BySafety,
        log: Some(&context.attempts),
        informational: Some(&hint),
    };
    let body = OutgoingBody::limited(std::mem::take(request.body_mut()), context.body_limit as u64);
    let (target, forwarded) = (target(studio, request.uri())?, context.peer.forwarded(context.client));
    let passing = Passing {
        method: request.method(),
        uri: request.uri(),
        target: &target,
        headers: request.headers(),
        forwarded: &forwarded,
        ours: &[("traceparent", &context.ids.traceparent), ("x-request-id", &context.ids.request)],
    };
    let answer = RULES.pass(studio, passing, body, sending).await?;
    if is_page_of_a_failure(answer.status(), answer.headers()) {
        let message = "Studio's backend failed without saying why; try again in a moment";
        return Err(Error::new(ErrorCode::UpstreamError, message).from_source(Source::Studio).into());
    }
    Ok(answer.map(Body::new))
}

/// The request for an upgrade as Studio gets it.
fn outgoing<B>(context: &RequestContext, studio: &Upstream, request: http::Request<B>) -> Result<http::Request<B>> {
    let target = target(studio, request.uri())?;
    let forwarded = context.peer.forwarded(context.client);
    let mut outgoing = RULES.request(request, target, &forwarded);
    let mut text = HeaderText::default();
    let headers = outgoing.headers_mut();
    headers.insert(HeaderName::from_static("traceparent"), text.add(&context.ids.traceparent).value());
    headers.insert(HeaderName::from_static("x-request-id"), text.add(&context.ids.request).value());
    Ok(outgoing)
}

/// The same path below Studio's address. It was checked to mean one thing only, so it is passed on as it is.
fn target(studio: &Upstream, uri: &Uri) -> Result<Uri> {
    let below = studio.base().path().trim_end_matches('/');
    let asked = uri.path_and_query().ok_or_else(|| Error::internal("a routed request has a path"))?;
    if below.is_empty() {
        return Ok(Uri::from(asked.clone()));
    }
    format!("{below}{asked}").parse().map_err(|error: http::uri::InvalidUri| Error::internal(error).into())
}

/// A 5xx that is no JSON was written by something that crashed, or by a proxy in between: for people who run it, not
/// for callers.
fn is_page_of_a_failure(status: StatusCode, headers: &HeaderMap) -> bool {
    status.is_server_error() && !headers.get(header::CONTENT_TYPE).is_some_and(is_json)
}

/// A WebSocket: Studio's side is opened first, so that a refusal is an ordinary answer.
async fn upgrade(context: &RequestContext, studio: &Upstream, request: Parts) -> Result<Response<Body>> {
    let app = &context.core.app;
    let accept = accept_key(&request.headers).ok_or_else(|| Error::internal("no handshake"))?;
    let protocols = request.headers.get(header::SEC_WEBSOCKET_PROTOCOL).cloned();
    let mut outgoing = outgoing(context, studio, http::Request::from_parts(request, ()))?;
    if let Some(protocols) = protocols {
        outgoing.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, protocols);
    }
    let place = studio.pick();
    let base = place.base();
    let scheme = if base.scheme_str() == Some("https") { "wss" } else { "ws" };
    let authority = base.authority().map_or("", |authority| authority.as_str());
    let uri: Uri = format!("{scheme}://{authority}{}", outgoing.uri()).parse().map_err(Error::internal)?;
    let limits = WebSocketLimits { max_message_bytes: 1 << 20, max_frame_bytes: 1 << 20, ..WebSocketLimits::default() };
    let dialed = dial_websocket(studio.connector(), &uri, outgoing.headers(), &limits).await;
    match &dialed {
        Ok(_) => place.worked(),
        Err(error) => place.failed(error),
    }
    let (upstream, answered) = dialed.map_err(|error| match error {
        UpstreamError::UpgradeRefused { status } if status.is_client_error() => {
            let message = format!("Studio's backend refused the WebSocket with status {}", status.as_u16());
            Failure::from(Error::new(ErrorCode::Forbidden, message).from_source(Source::Studio))
        }
        other => other.into(),
    })?;
    let idle_timeout = Duration::from_secs(app.config().studio.idle_seconds.max(1));
    let shutdown = app.shutdown.clone();
    let switch = Switch::to(move |client| async move {
        let client = accept_websocket(client, &limits).await;
        let limits = RelayLimits { idle_timeout, ..RelayLimits::default() };
        let relayed = relay(client, upstream, &limits, shutdown.cancelled()).await;
        tracing::debug!(?relayed, "a WebSocket ended");
        drop(place);
    });
    let mut response = (StatusCode::SWITCHING_PROTOCOLS, Body::empty()).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    if let Some(protocol) = answered.get(header::SEC_WEBSOCKET_PROTOCOL) {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol.clone());
    }
    response.extensions_mut().insert(switch);
    Ok(response)
}
