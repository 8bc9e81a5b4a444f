//! What the service says about itself. Open to everybody, and cheap: load balancers ask every second.

use crate::{
    extract::{Json, NoParameters, Query},
    router::{Routes, routes},
    state::App,
};
use axum::{
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};
use ogel_api::meta::{Check, Health, Ready, Version};
use std::{
    sync::{LazyLock, atomic::Ordering},
    time::Duration,
};

pub(crate) fn health_routes() -> Routes {
    Routes::new().routes(routes!(get_health))
}

pub(crate) fn ready_routes() -> Routes {
    Routes::new().routes(routes!(get_ready))
}

/// It is known without asking anybody.
pub(crate) fn version_data_plane() -> Routes {
    Routes::new().routes(routes!(get_version))
}

pub(crate) fn openapi_routes() -> Routes {
    Routes::new().routes(routes!(get_openapi))
}

/// The process is alive.
#[utoipa::path(get, path = "/health", operation_id = "get_health", tag = "health", responses((status = 200, body = Health)))]
pub(crate) async fn get_health(_: Query<NoParameters>) -> Json<Health> {
    Json(Health { status: "ok".to_owned() })
}

/// Whether to send requests here: 200, or 503 when the database is away or the process is shutting down. Ghost being
/// away is told but does not count: Studio's own resources work without it.
#[utoipa::path(get, path = "/ready", operation_id = "get_ready", tag = "ready",
    responses((status = 200, body = Ready), (status = 503, body = Ready)))]
pub(crate) async fn get_ready(State(app): State<App>, _: Query<NoParameters>) -> impl IntoResponse {
    const PATIENCE: Duration = Duration::from_secs(1);
    let (database, ghost) = tokio::join!(
        tokio::time::timeout(PATIENCE, app.store.ping()),
        tokio::time::timeout(PATIENCE, app.ghost.health(ogel_ghost::CallContext::within(PATIENCE))),
    );
    let mut checks = vec![
        Check {
            name: "accepting".to_owned(),
            ok: !app.leaving.load(Ordering::Relaxed) && !app.shutdown.is_cancelled(),
            required: true,
        },
        Check { name: "database".to_owned(), ok: matches!(database, Ok(Ok(_))), required: true },
        Check { name: "ghost".to_owned(), ok: matches!(ghost, Ok(Ok(_))), required: false },
    ];
    if let Some(redis) = app.shared.as_redis() {
        let (answers, hears) = redis.health();
        checks.push(Check { name: "redis".to_owned(), ok: answers && hears, required: false });
    }
    let ready = checks.iter().all(|check| check.ok || !check.required);
    let (status, word) =
        if ready { (StatusCode::OK, "ready") } else { (StatusCode::SERVICE_UNAVAILABLE, "unavailable") };
    (status, [(header::CACHE_CONTROL, "no-store")], Json(Ready { status: word.to_owned(), checks }))
}

/// Which build this is.
#[utoipa::path(get, path = "/version", operation_id = "get_version", tag = "version", responses((status = 200, body = Version)))]
async fn get_version(_: Query<NoParameters>) -> Json<Version> {
    Json(Version { version: env!("CARGO_PKG_VERSION").to_owned(), api: ogel_api::BASE_PATH.to_owned() })
}

/// This description of the API.
#[utoipa::path(get, path = "/openapi.json", operation_id = "get_openapi", tag = "openapi.json",
    responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json")))]
async fn get_openapi(_: Query<NoParameters>) -> impl IntoResponse {
    static DOCUMENT: LazyLock<String> = LazyLock::new(crate::openapi::json);
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT.as_str())
}
