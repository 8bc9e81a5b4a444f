//! Every route of the API on one screen. Unknown paths and methods are `general_route_not_found`, as in Appwrite.
//! Next: the file named after the noun.

use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, patch, post};
use axum::{Json, Router};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde_json::{Value, json};

use crate::body::MAX_BODY_BYTES;
use crate::error::{ApiError, VERSION};
use crate::state::App;
use crate::{builds, control, databases, deployments, documents, domains, projects, realtime, sites, users};

pub(crate) fn api(app: Arc<App>) -> Router {
    let project = Router::new()
        .route("/", get(projects::get_project).patch(projects::update_project).delete(projects::delete_project))
        .route("/keys", post(projects::create_key))
        .route("/members", post(projects::add_member))
        .route("/members/{u}", delete(projects::remove_member))
        .route("/deployments", get(deployments::list_deployments).post(deployments::create_deployment))
        .route("/deployments/{d}", get(deployments::get_deployment).delete(deployments::delete_deployment))
        .route("/deployments/{d}/status", patch(deployments::cancel_deployment))
        .route("/deployments/{d}/activate", patch(deployments::activate_deployment))
        .route("/sites", get(sites::list_sites).post(sites::create_site))
        .route(
            "/sites/{s}",
            get(sites::get_site).patch(sites::update_site).put(sites::update_site).delete(sites::delete_site),
        )
        .route("/domains", get(domains::list_domains).post(domains::create_domain))
        .route("/domains/{x}", get(domains::get_domain).patch(domains::update_domain).delete(domains::delete_domain))
        .route("/domains/{x}/verify", post(domains::verify_domain))
        .route("/databases", get(databases::list_databases).post(databases::create_database))
        .nest("/databases/{x}", database());
    let control = match app.config.fault_control {
        true => Router::new().route("/v1/faults", post(control::set_faults)),
        false => Router::new(),
    };
    control
        .route("/v1/health", get(health))
        .route("/v1/health/version", get(version))
        .route("/v1/users", post(users::create_user))
        .route("/v1/users/{user_id}", delete(users::delete_user))
        .route("/v1/account/sessions/jwt", post(users::create_jwt))
        .route("/v1/projects", post(projects::create_project))
        .nest("/v1/projects/{p}", project)
        .route("/v1/builds/{b}", get(builds::get_build))
        .route("/v1/builds/{b}/logs", get(builds::list_lines))
        .route("/v1/realtime", get(realtime::open_realtime))
        .fallback(unknown)
        .method_not_allowed_fallback(unknown)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(map_response(in_our_form))
        .with_state(app)
}

fn database() -> Router<Arc<App>> {
    use databases as db;
    use documents as doc;
    Router::new()
        .route(
            "/",
            get(db::get_database).patch(db::update_database).put(db::update_database).delete(db::delete_database),
        )
        .route("/collections", get(db::list_collections).post(db::create_collection))
        .route(
            "/collections/{c}",
            get(db::get_collection)
                .patch(db::update_collection)
                .put(db::update_collection)
                .delete(db::delete_collection),
        )
        .route("/collections/{c}/documents", get(doc::list_documents).post(doc::create_document))
        .route(
            "/collections/{c}/documents/{i}",
            get(doc::get_document).patch(doc::update_document).delete(doc::delete_document),
        )
}

/// Refusals of the framework itself (a query sent twice, a path that is not text) are plain text; callers read JSON.
async fn in_our_form(response: Response) -> Response {
    let is_json = response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == "application/json");
    if response.status().is_client_error() && !is_json {
        let message = "The request is not valid: check its path and its query.";
        return ApiError::new(response.status(), "general_bad_request", message).into_response();
    }
    response
}

async fn health() -> Json<Value> {
    Json(json!({ "name": "http", "status": "pass", "ping": 0 }))
}

async fn version() -> Json<Value> {
    Json(json!({ "version": VERSION }))
}

async fn unknown() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "general_route_not_found", "Not Found")
}
