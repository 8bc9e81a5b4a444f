//! JSON that is read carries a strong `ETag`; a client that has it already gets 304.

use axum::{
    body::{Body, to_bytes},
    extract::Request,
    http::{HeaderValue, Method, Response, StatusCode, header},
    middleware::Next,
    response::IntoResponse as _,
};
use sha2::{Digest as _, Sha256};

/// Answers larger than this are sent without a tag rather than held in memory.
const LARGEST: u64 = 4 << 20;

pub(crate) async fn conditional(request: Request, next: Next) -> Response<Body> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return next.run(request).await;
    }
    let wanted = request.headers().get(header::IF_NONE_MATCH).cloned();
    let response = next.run(request).await;
    let size = http_body::Body::size_hint(response.body()).exact();
    let is_json = response.headers().get(header::CONTENT_TYPE).is_some_and(|value| value == "application/json");
    let may_be_kept = response.headers().get(header::CACHE_CONTROL).is_none_or(|value| value != "no-store");
    if response.status() != StatusCode::OK || !is_json || !may_be_kept || size.is_none_or(|size| size > LARGEST) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(bytes) = to_bytes(body, LARGEST as usize).await else {
        let lost = ogel_api::error::Error::internal("an answer in memory could not be read");
        return crate::error::Failure::from(lost).into_response();
    };
    let tag = format!("\"{}\"", hex::encode(&Sha256::digest(&bytes)[..16]));
    let matches = wanted.as_ref().and_then(|value| value.to_str().ok()).is_some_and(|list| {
        list.split(',').map(|one| one.trim().trim_start_matches("W/")).any(|one| one == tag || one == "*")
    });
    if let Ok(value) = HeaderValue::from_str(&tag) {
        parts.headers.insert(header::ETAG, value);
    }
    // What one caller may see is nobody else's to keep.
    parts.headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("private, no-cache"));
    if matches {
        parts.status = StatusCode::NOT_MODIFIED;
        parts.headers.remove(header::CONTENT_TYPE);
        parts.headers.remove(header::CONTENT_LENGTH);
        return Response::from_parts(parts, Body::empty());
    }
    Response::from_parts(parts, Body::from(bytes))
}
