//! A JSON body of an operation that needs none, and the reading of any.

use super::{parse, read_body};
use crate::{error::Failure, pipeline::RequestContext};
use axum::{
    extract::{FromRequest, Request},
    http::{HeaderValue, header},
};
use ogel_api::error::ErrorCode;
use serde::de::DeserializeOwned;
use utoipa::PartialSchema;

/// A JSON body that may be left out or `null`, which is the same as `{}`.
pub(crate) struct MaybeJson<T>(pub T);

impl<T: DeserializeOwned + PartialSchema + Default> FromRequest<RequestContext> for MaybeJson<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, context: &RequestContext) -> Result<Self, Failure> {
        let bytes = json_bytes(request, context.body_limit).await?;
        match bytes.trim_ascii() {
            b"" | b"null" => Ok(Self(T::default())),
            text => parse(text).map(Self),
        }
    }
}

/// The whole body, unless it says that it is something else than JSON.
pub(super) async fn json_bytes(request: Request, limit: usize) -> Result<bytes::Bytes, Failure> {
    let (parts, body) = request.into_parts();
    let is_json = parts.headers.get(header::CONTENT_TYPE).is_none_or(is_json);
    let bytes = read_body(body, limit).await?;
    if !is_json {
        return Err(Failure::new(
            ErrorCode::UnsupportedMediaType,
            "the body must be JSON; send `Content-Type: application/json`",
        ));
    }
    Ok(bytes)
}

/// Whether a media type is JSON or made of it, whatever its parameters.
pub(crate) fn is_json(media: &HeaderValue) -> bool {
    let essence = media.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || essence.ends_with("+json")
}
