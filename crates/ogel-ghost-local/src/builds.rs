//! Builds and their logs, read only. A build that the caller may not see is `build_not_found`.
//! Next: `log.rs`, which writes what is read here.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::auth::Caller;
use crate::deployments::{Deployment, read_number};
use crate::error::{ApiError, ApiResult};
use crate::state::App;

/// Lines per answer at most, and by default.
const MAX_LINES: i64 = 10_000;
const DEFAULT_LINES: i64 = 1_000;

/// The deployment of a build the caller may read.
pub(crate) async fn readable(app: &App, caller: &Caller, build_id: &str) -> ApiResult<Deployment> {
    let missing = || ApiError::not_found("build_not_found", "Build");
    let deployment = Deployment::find_by_build(&app.db, build_id).await?.ok_or_else(missing)?;
    match caller.may(app, &deployment.project_id, "builds.read").await {
        Ok(()) => Ok(deployment),
        // Somebody else's build looks like no build.
        Err(error) if error.status == StatusCode::NOT_FOUND => Err(missing()),
        Err(error) => Err(error),
    }
}

#[derive(sqlx::FromRow)]
struct Step {
    name: String,
    status: String,
    started_at: String,
    completed_at: Option<String>,
}

/// `GET /v1/builds/{b}`
pub(crate) async fn get_build(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
) -> ApiResult<Json<Value>> {
    let deployment = readable(&app, &caller, &id).await?;
    let steps: Vec<Step> = sqlx::query_as(
        "SELECT name, status, started_at, completed_at FROM build_steps WHERE build_id = $1 ORDER BY position",
    )
    .bind(&id)
    .fetch_all(&app.db)
    .await?;
    let show = |step: &Step| {
        json!({
            "name": step.name, "status": step.status, "startedAt": step.started_at, "completedAt": step.completed_at,
        })
    };
    Ok(Json(deployment.build_json(&steps.iter().map(show).collect::<Vec<_>>())))
}

/// Query of the log.
#[derive(Debug, Deserialize)]
pub(crate) struct LogQuery {
    after: Option<String>,
    limit: Option<String>,
}

/// `GET /v1/builds/{b}/logs?after=N&limit`: lines after number N, oldest first; `total` counts the whole log.
pub(crate) async fn list_lines(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
    Query(query): Query<LogQuery>,
) -> ApiResult<Json<Value>> {
    readable(&app, &caller, &id).await?;
    let after = read_number("after", query.after.as_deref(), 0, i64::MAX)?;
    let limit = read_number("limit", query.limit.as_deref(), DEFAULT_LINES, MAX_LINES)?;
    // Lines are numbered without gaps, so the last number is the count.
    let total: i64 = sqlx::query_scalar("SELECT coalesce(max(n), 0) FROM build_lines WHERE build_id = $1")
        .bind(&id)
        .fetch_one(&app.db)
        .await?;
    let rows: Vec<(i64, String, String, String)> = sqlx::query_as(
        "SELECT n, at, stream, text FROM build_lines WHERE build_id = $1 AND n > $2 ORDER BY n LIMIT $3",
    )
    .bind(&id)
    .bind(after)
    .bind(limit)
    .fetch_all(&app.db)
    .await?;
    let lines: Vec<Value> =
        rows.iter().map(|(n, at, stream, text)| json!({ "n": n, "at": at, "stream": stream, "text": text })).collect();
    Ok(Json(json!({ "total": total, "lines": lines })))
}
