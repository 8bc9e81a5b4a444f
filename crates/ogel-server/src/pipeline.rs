//! The life of a request, as a list: read it from top to bottom.
//!
//! Each step is a function in `pipeline/`. Order matters and is explained where it does.

mod conditional;
mod context;
mod control;
mod cross_site;
mod deadline;
mod idempotency;
mod identify;
mod path;

pub(crate) use context::{method_not_allowed, route_not_found};

use crate::state::App;
use axum::{Router, middleware};

/// Wraps what every request passes, whatever its route.
pub(crate) fn around_all(routes: Router<App>, app: &App) -> Router<App> {
    // axum runs the layer added last first, so the list is read here from the inside out.
    routes
        // 6. Who is calling; a credential that does not hold is kept for the handler to refuse.
        .layer(middleware::from_fn_with_state(app.clone(), identify::identify))
        // 5. Nothing takes longer than its deadline to begin an answer.
        .layer(middleware::from_fn_with_state(app.clone(), deadline::deadline))
        // 4. Paths that could mean two things are refused before anything is routed by them.
        .layer(middleware::from_fn(path::refuse_ambiguous))
        // 3. A panic is a 500 in our envelope and costs other requests nothing.
        .layer(middleware::from_fn(context::recover_panics))
        // 1 and 2. Ids for the request, one line in the log, the envelope around failures.
        .layer(middleware::from_fn_with_state(app.clone(), context::request_context))
}

/// Wraps routes that live on the control plane: Studio's own resources and what combines them with Ghost's.
pub(crate) fn around_control(routes: Router<App>, app: &App) -> Router<App> {
    routes
        // 10. From here on the control plane's runtime.
        .layer(middleware::from_fn_with_state(app.clone(), control::on_control_plane))
        // 9. `ETag` and `If-None-Match` on what is read.
        .layer(middleware::from_fn(conditional::conditional))
        // 8. The same `Idempotency-Key` twice is one request with two answers.
        .layer(middleware::from_fn_with_state(app.clone(), idempotency::idempotent))
        // 7. A cookie is no proof of intent: other sites' pages may not use it to change things.
        .layer(middleware::from_fn_with_state(app.clone(), cross_site::refuse_cross_site))
}

/// Wraps log streams, which stay on the data-plane thread that accepted them.
pub(crate) fn around_streams(routes: Router<App>, app: &App) -> Router<App> {
    routes.layer(middleware::from_fn_with_state(app.clone(), cross_site::refuse_cross_site))
}
