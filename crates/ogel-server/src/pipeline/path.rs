//! Step 4: a path that a router and a backend could read differently is refused, never repaired.

use crate::error::Failure;
use axum::{body::Body, extract::Request, http::Response, middleware::Next, response::IntoResponse as _};
use ogel_api::error::ErrorCode;

pub(crate) async fn refuse_ambiguous(request: Request, next: Next) -> Response<Body> {
    match ogel_proxy::uri::canonical_path(request.uri().path()) {
        Ok(_) => next.run(request).await,
        Err(error) => Failure::new(ErrorCode::InvalidPath, format!("the path is refused: {error}; send it plainly"))
            .into_response(),
    }
}
