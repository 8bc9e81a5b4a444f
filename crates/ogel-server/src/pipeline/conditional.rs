//! JSON that is read carries a strong `ETag`; a client that has it already gets 304. Where the answer is one row that can
//! be changed, the tag names its version too, and an update with that tag in `If-Match` changes that version only.

use crate::header_text::HeaderText;
use arrayvec::ArrayString;
use axum::{
    body::{Body, to_bytes},
    extract::{FromRequestParts, Request},
    http::{HeaderValue, Method, Response, StatusCode, header, request::Parts},
    response::IntoResponse as _,
};
use ogel_store::Expected;
use sha2::{Digest as _, Sha256};
use std::convert::Infallible;

/// Answers larger than this are sent without a tag rather than held in memory.
const LARGEST: u64 = 4 << 20;

/// The version of the row that an answer shows; handlers leave it in the answer's extensions.
#[derive(Clone, Copy)]
pub(crate) struct Version(pub(crate) i64);

/// The versions in `If-Match`, for the statement that changes the row. A tag of another form matches none.
pub(crate) struct IfMatch(pub(crate) Expected);

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let mut values = parts.headers.get_all(header::IF_MATCH).iter().peekable();
        if values.peek().is_none() {
            return Ok(Self(Expected::any()));
        }
        let tags = values.filter_map(|value| value.to_str().ok()).flat_map(|list| list.split(',').map(str::trim));
        let mut versions = Vec::new();
        for tag in tags {
            if tag == "*" {
                return Ok(Self(Expected::any()));
            }
            // Weak tags never match here (RFC 9110 13.1.1).
            let version: Option<i64> = tag.strip_prefix("\"v").and_then(|rest| rest.split('.').next()?.parse().ok());
            versions.extend(version);
        }
        Ok(Self(Expected::one_of(&versions)))
    }
}

/// As many letters as a body's hash has in a tag.
const HASH: usize = 32;

fn hash_of(body: &[u8]) -> ArrayString<HASH> {
    let mut letters = [0; HASH];
    let hash = Sha256::digest(body);
    let whole = hex::encode_to_slice(&hash[..HASH / 2], &mut letters).is_ok();
    ArrayString::from_byte_string(&letters).ok().filter(|_| whole).unwrap_or_default()
}

/// The strong tag of a body, quotes included.
pub(crate) fn tag_of(body: &[u8]) -> String {
    format!("\"{}\"", hash_of(body))
}

pub(super) async fn conditional<F>(request: Request, next: impl FnOnce(Request) -> F) -> Response<Body>
where
    F: Future<Output = Response<Body>>,
{
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let wanted = request.headers().get(header::IF_NONE_MATCH).cloned();
    let response = next(request).await;
    let version = response.extensions().get::<Version>().copied();
    if !is_read && version.is_none() {
        return response;
    }
    let size = http_body::Body::size_hint(response.body()).exact();
    let is_json = response.headers().get(header::CONTENT_TYPE).is_some_and(|value| value == "application/json");
    let may_be_kept = response.headers().get(header::CACHE_CONTROL).is_none_or(|value| value != "no-store");
    if !matches!(response.status(), StatusCode::OK | StatusCode::CREATED)
        || !is_json
        || !may_be_kept
        || size.is_none_or(|size| size > LARGEST)
    {
        return response;
    }
    let (mut parts, mut body) = response.into_parts();
    let tag = match parts.headers.get(header::ETAG) {
        // What was kept has been hashed before.
        Some(known) => known.clone(),
        None => {
            let Ok(bytes) = to_bytes(body, LARGEST as usize).await else {
                let lost = ogel_api::error::Error::internal("an answer in memory could not be read");
                return crate::error::Failure::from(lost).into_response();
            };
            let tag = match version {
                Some(Version(version)) => format!("\"v{version}.{}\"", hash_of(&bytes)),
                None => tag_of(&bytes),
            };
            body = Body::from(bytes);
            HeaderText::default().add(&tag).value()
        }
    };
    let matches = is_read
        && wanted.as_ref().and_then(|value| value.to_str().ok()).is_some_and(|list| {
            let mut asked = list.split(',').map(|one| one.trim().trim_start_matches("W/"));
            asked.any(|one| one == "*" || one == tag)
        });
    parts.headers.insert(header::ETAG, tag);
    // What one caller may see is nobody else's to keep.
    parts.headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("private, no-cache"));
    if matches {
        parts.status = StatusCode::NOT_MODIFIED;
        parts.headers.remove(header::CONTENT_TYPE);
        parts.headers.remove(header::CONTENT_LENGTH);
        return Response::from_parts(parts, Body::empty());
    }
    Response::from_parts(parts, body)
}
