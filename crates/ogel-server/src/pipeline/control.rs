//! The rest of the request runs where the database's and Ghost's connections live.

use crate::state::App;
use axum::{
    body::Body,
    extract::{Request, State},
    http::Response,
    middleware::Next,
    response::IntoResponse as _,
};

pub(crate) async fn on_control_plane(State(app): State<App>, request: Request, next: Next) -> Response<Body> {
    match app.on_control(next.run(request)).await {
        Ok(response) => response,
        Err(failure) => failure.into_response(),
    }
}
