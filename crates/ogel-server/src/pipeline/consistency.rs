//! Every change answers with a token, `X-Ogel-Consistency`, and a read that brings it sees the change: kept answers from
//! before it are passed over, and so is a copy of the database that may be behind.

use crate::{responses, state::App};
use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderValue, Response},
    middleware::Next,
    response::IntoResponse as _,
};

pub(crate) async fn consistent(State(app): State<App>, request: Request, next: Next) -> Response<Body> {
    let is_read = request.method().is_safe();
    let token = match responses::token_of(request.headers()) {
        Ok(token) => token,
        Err(failure) => return failure.into_response(),
    };
    if is_read {
        return match token {
            // Whoever has changed something reads where it was written.
            Some(_) => ogel_store::from_primary(next.run(request)).await,
            None => next.run(request).await,
        };
    }
    let mut response = next.run(request).await;
    if response.status().is_success() && !response.headers().contains_key(responses::CONSISTENCY) {
        let value = HeaderValue::from_str(&responses::database_token(&app).to_string());
        if let Ok(value) = value {
            response.headers_mut().insert(responses::CONSISTENCY, value);
        }
    }
    response
}
