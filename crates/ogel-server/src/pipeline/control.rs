//! The rest of the request runs where the database's and Ghost's connections live.
//!
//! What only reads ends at the request's deadline there as well: nobody waits for the answer any more, and the store
//! gives up the statement with it. What changes something goes on: half of it would be worse.

use super::RequestContext;
use crate::error::Failure;
use axum::{body::Body, extract::Request, http::Response, response::IntoResponse as _};
use ogel_api::error::ErrorCode;

pub(super) async fn on_control_plane<F>(
    context: &RequestContext,
    request: Request,
    next: impl FnOnce(Request) -> F + Send + 'static,
) -> Response<Body>
where
    F: Future<Output = Response<Body>> + Send,
{
    let deadline = request.method().is_safe().then_some(context.deadline);
    let work = async move {
        let Some(deadline) = deadline else { return next(request).await };
        tokio::time::timeout_at(deadline, next(request)).await.unwrap_or_else(|_| {
            Failure::new(ErrorCode::DeadlineExceeded, "the time allowed for this request is over").into_response()
        })
    };
    match context.core.app.on_control(work).await {
        Ok(response) => response,
        Err(failure) => failure.into_response(),
    }
}
