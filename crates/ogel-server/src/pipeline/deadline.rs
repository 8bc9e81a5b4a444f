//! Step 5: a request that has not begun to answer by its deadline gets 504.

use crate::{error::Failure, state::App};
use axum::{
    body::Body,
    extract::{Request, State},
    http::Response,
    middleware::Next,
    response::IntoResponse as _,
};
use ogel_api::error::ErrorCode;
use std::time::Duration;

pub(crate) async fn deadline(State(app): State<App>, request: Request, next: Next) -> Response<Body> {
    let limit = Duration::from_secs(app.config.server.request_timeout_seconds.max(1));
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Failure::new(
            ErrorCode::DeadlineExceeded,
            format!(
                "this took longer than {} seconds; what it began goes on, so look before you repeat it",
                limit.as_secs()
            ),
        )
        .into_response(),
    }
}
