//! Every change answers with a token, `X-Ogel-Consistency`, and a read that brings it sees the change: kept answers from
//! before it are passed over, and so is a copy of the database that may be behind.

use super::RequestContext;
use crate::{responses, router::Call};
use axum::{
    body::Body,
    extract::Request,
    http::{HeaderValue, Response},
    response::IntoResponse as _,
};

pub(super) async fn consistent(context: RequestContext, request: Request, call: Call) -> Response<Body> {
    let is_read = request.method().is_safe();
    let token = match responses::token_of(request.headers()) {
        Ok(token) => token,
        Err(failure) => return failure.into_response(),
    };
    if is_read && token.is_none() {
        return call(request, context).await;
    }
    // Whoever has changed something, or is about to, reads where it is written.
    let app = context.core.app.clone();
    let mut response = ogel_store::from_primary(call(request, context)).await;
    if is_read {
        return response;
    }
    if response.status().is_success() && !response.headers().contains_key(responses::CONSISTENCY) {
        let value = HeaderValue::from_str(&responses::database_token(&app).to_string());
        if let Ok(value) = value {
            response.headers_mut().insert(responses::CONSISTENCY, value);
        }
    }
    response
}
