//! Deployments: created here, built by `queue.rs`, served by `preview.rs`. Ids are unique over all projects because they
//! are host names. An answer never carries the credentials of `repoUrl` nor the values of `env`.
//! Refuses arguments that git or a path could misread (`repo.rs`). Next: `queue.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::SqlitePool;

use crate::auth::Caller;
use crate::body::{Args, checked_host_id};
use crate::db;
use crate::error::{ApiError, ApiResult, is_taken};
use crate::repo::{self, RepoUrl};
use crate::state::{App, PreviewBase};

/// What the caller asked for beyond the repository.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Spec {
    pub(crate) framework: Option<String>,
    pub(crate) root_directory: Option<String>,
    pub(crate) install_command: Option<String>,
    pub(crate) build_command: Option<String>,
    pub(crate) output_directory: Option<String>,
    pub(crate) env: BTreeMap<String, String>,
}

/// A row of the table.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct Deployment {
    pub(crate) seq: i64,
    pub(crate) id: String,
    pub(crate) project_id: String,
    pub(crate) build_id: String,
    pub(crate) status: String,
    repo_url: String,
    branch: String,
    commit_sha: Option<String>,
    commit_message: Option<String>,
    commit_author: Option<String>,
    framework: Option<String>,
    error: Option<String>,
    created_at: String,
    updated_at: String,
    started_at: Option<String>,
    completed_at: Option<String>,
    is_active: bool,
}

impl Deployment {
    pub(crate) async fn find(db: &SqlitePool, id: &str) -> Result<Option<Deployment>, sqlx::Error> {
        sqlx::query_as(
            "SELECT d.*, p.active_deployment_id IS d.id AS is_active FROM deployments d \
             JOIN projects p ON p.id = d.project_id WHERE d.id = $1",
        )
        .bind(id)
        .fetch_optional(db)
        .await
    }

    pub(crate) async fn find_by_build(db: &SqlitePool, build_id: &str) -> Result<Option<Deployment>, sqlx::Error> {
        sqlx::query_as(
            "SELECT d.*, p.active_deployment_id IS d.id AS is_active FROM deployments d \
             JOIN projects p ON p.id = d.project_id WHERE d.build_id = $1",
        )
        .bind(build_id)
        .fetch_optional(db)
        .await
    }

    pub(crate) fn is_finished(&self) -> bool {
        !matches!(self.status.as_str(), "pending" | "building")
    }

    /// Whether this very update is the end of the build, not a later change such as being activated.
    pub(crate) fn announces_end(&self) -> bool {
        self.completed_at.as_ref() == Some(&self.updated_at)
    }

    /// Seconds the build took, rounded; none before it ended.
    pub(crate) fn duration(&self) -> Option<i64> {
        let started = db::parse_stamp(self.started_at.as_deref()?)?;
        let completed = db::parse_stamp(self.completed_at.as_deref()?)?;
        Some(((completed - started).num_milliseconds().max(0) + 500) / 1000)
    }

    pub(crate) fn to_json(&self, preview: &PreviewBase) -> Value {
        let repo_url = RepoUrl::parse(&self.repo_url, true, true).map_or_else(|_| String::new(), |url| url.redacted());
        json!({
            "$id": self.id,
            "projectId": self.project_id,
            "buildId": self.build_id,
            "status": self.status,
            "repoUrl": repo_url,
            "branch": self.branch,
            "commitSha": self.commit_sha,
            "commitMessage": self.commit_message,
            "commitAuthor": self.commit_author,
            "framework": self.framework,
            "previewUrl": (self.status == "success").then(|| preview.url(&format!("d-{}", self.id))),
            "active": self.is_active,
            "buildDuration": self.duration(),
            "error": self.error,
            "$createdAt": self.created_at,
            "$updatedAt": self.updated_at,
            "completedAt": self.completed_at,
        })
    }

    pub(crate) fn build_json(&self, steps: &[Value]) -> Value {
        json!({
            "$id": self.build_id,
            "deploymentId": self.id,
            "projectId": self.project_id,
            "status": self.status,
            "steps": steps,
            "buildDuration": self.duration(),
            "error": self.error,
            "$createdAt": self.created_at,
            "$updatedAt": self.updated_at,
            "startedAt": self.started_at,
            "completedAt": self.completed_at,
        })
    }
}

/// `POST /v1/projects/{p}/deployments`
pub(crate) async fn create_deployment(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(project_id): Path<String>,
    args: Args,
) -> ApiResult<(StatusCode, Json<Value>)> {
    caller.may(&app, &project_id, "deployments.write").await?;
    let id = checked_host_id("deploymentId", args.id("deploymentId")?, true)?;
    let repo_url = args.required("repoUrl", 2048)?;
    RepoUrl::parse(&repo_url, app.config.allow_file_urls, app.config.allow_private_hosts)
        .map_err(|reason| ApiError::argument("repoUrl", reason))?;
    let branch = args.text("branch", 255)?.unwrap_or_default();
    repo::check_branch(&branch).map_err(|reason| ApiError::argument("branch", reason))?;
    let commit_sha = args.text("commitSha", 64)?.filter(|sha| !sha.is_empty());
    if let Some(sha) = &commit_sha {
        repo::check_commit(sha).map_err(|reason| ApiError::argument("commitSha", reason))?;
    }
    let spec = read_spec(&args)?;
    let build_id = format!("b{}", db::random_id()?);
    let order = app.queue.order.lock().await;
    let created = sqlx::query(
        "INSERT INTO deployments (id, project_id, build_id, status, repo_url, branch, commit_sha, framework, spec, created_at, updated_at) \
         VALUES ($1, $2, $3, 'pending', $4, $5, $6, $7, $8, $9, $9)",
    )
    .bind(&id)
    .bind(&project_id)
    .bind(&build_id)
    .bind(&repo_url)
    .bind(&branch)
    .bind(commit_sha.map(|sha| sha.to_ascii_lowercase()))
    .bind(&spec.framework)
    .bind(serde_json::to_string(&spec)?)
    .bind(app.stamp())
    .execute(&app.db)
    .await;
    created.map_err(|error| {
        let refused = error.as_database_error();
        if is_taken(&error) {
            ApiError::conflict("deployment_already_exists", "Deployment with the requested ID already exists.")
        } else if refused.is_some_and(sqlx::error::DatabaseError::is_foreign_key_violation) {
            ApiError::not_found("project_not_found", "Project")
        } else {
            error.into()
        }
    })?;
    let deployment = Deployment::find(&app.db, &id).await?.ok_or_else(missing)?;
    app.announce(&deployment, "create");
    drop(order);
    app.queue.ring();
    Ok((StatusCode::ACCEPTED, Json(deployment.to_json(&app.preview))))
}

fn read_spec(args: &Args) -> ApiResult<Spec> {
    let framework = args.text("framework", 64)?.filter(|name| !name.is_empty());
    if let Some(name) = &framework
        && !name.bytes().all(|c| c.is_ascii_alphanumeric() || b"._-".contains(&c))
    {
        return Err(ApiError::argument("framework", "it must be the name of a framework"));
    }
    let path = |name: &str| -> ApiResult<Option<String>> {
        let path = args.text(name, 1024)?.filter(|path| !path.is_empty());
        if let Some(path) = &path {
            repo::check_relative_path(path).map_err(|reason| ApiError::argument(name, reason))?;
        }
        Ok(path)
    };
    Ok(Spec {
        framework,
        root_directory: path("rootDirectory")?,
        install_command: args.text("installCommand", 8192)?,
        build_command: args.text("buildCommand", 8192)?,
        output_directory: path("outputDirectory")?,
        env: read_env(args.0.get("env"))?,
    })
}

fn read_env(given: Option<&Value>) -> ApiResult<BTreeMap<String, String>> {
    let refuse = |reason: String| ApiError::argument("env", reason);
    let map = match given {
        None | Some(Value::Null) => return Ok(BTreeMap::new()),
        Some(Value::Object(map)) if map.len() <= 500 => map,
        Some(_) => return Err(refuse("Value must be an object of at most 500 texts".to_owned())),
    };
    let mut env = BTreeMap::new();
    for (name, value) in map {
        let mut bytes = name.bytes();
        let starts = bytes.next().is_some_and(|c| c.is_ascii_alphabetic() || c == b'_');
        if !starts || name.len() > 255 || !bytes.all(|c| c.is_ascii_alphanumeric() || c == b'_') {
            return Err(refuse(format!("{} is not a variable name", json!(name))));
        }
        match value {
            Value::String(text) if text.len() <= 32 << 10 && !text.contains('\0') => {
                env.insert(name.clone(), text.clone())
            }
            _ => return Err(refuse(format!("`{name}` must be a text of at most 32 KiB"))),
        };
    }
    Ok(env)
}

/// Query of a list.
#[derive(Debug, Deserialize)]
pub(crate) struct ListQuery {
    limit: Option<String>,
    cursor: Option<String>,
    status: Option<String>,
    branch: Option<String>,
}

/// `GET /v1/projects/{p}/deployments?limit&cursor&status&branch`: newest first, `cursor` is the last id of the page before.
pub(crate) async fn list_deployments(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(project_id): Path<String>,
    Query(query): Query<ListQuery>,
) -> ApiResult<Json<Value>> {
    caller.may(&app, &project_id, "deployments.read").await?;
    let limit = read_number("limit", query.limit.as_deref(), 25, 100)?.max(1);
    let before = match query.cursor.as_deref().filter(|cursor| !cursor.is_empty()) {
        None => i64::MAX,
        Some(cursor) => Deployment::find(&app.db, cursor)
            .await?
            .filter(|deployment| deployment.project_id == project_id)
            .map(|deployment| deployment.seq)
            .ok_or_else(|| {
                let message = format!("Cursor '{cursor}' could not be found");
                ApiError::new(StatusCode::BAD_REQUEST, "general_cursor_not_found", message)
            })?,
    };
    let total: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM deployments \
         WHERE project_id = $1 AND ($2 IS NULL OR status = $2) AND ($3 IS NULL OR branch = $3)",
    )
    .bind(&project_id)
    .bind(&query.status)
    .bind(&query.branch)
    .fetch_one(&app.db)
    .await?;
    let rows: Vec<Deployment> = sqlx::query_as(
        "SELECT d.*, p.active_deployment_id IS d.id AS is_active FROM deployments d JOIN projects p ON p.id = d.project_id \
         WHERE d.project_id = $1 AND ($2 IS NULL OR d.status = $2) AND ($3 IS NULL OR d.branch = $3) AND d.seq < $4 \
         ORDER BY d.seq DESC LIMIT $5",
    )
    .bind(&project_id)
    .bind(&query.status)
    .bind(&query.branch)
    .bind(before)
    .bind(limit)
    .fetch_all(&app.db)
    .await?;
    let documents: Vec<Value> = rows.iter().map(|row| row.to_json(&app.preview)).collect();
    Ok(Json(json!({ "total": total, "documents": documents })))
}

/// A whole number of a query string, between 0 and `max`.
pub(crate) fn read_number(name: &str, text: Option<&str>, default: i64, max: i64) -> ApiResult<i64> {
    let Some(text) = text else { return Ok(default) };
    let number = text.parse::<i64>().ok().filter(|number| (0..=max).contains(number));
    number.ok_or_else(|| ApiError::argument(name, format!("Value must be a valid range between 0 and {max}")))
}

/// `GET /v1/projects/{p}/deployments/{d}`
pub(crate) async fn get_deployment(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((project_id, id)): Path<(String, String)>,
) -> ApiResult<Json<Value>> {
    caller.may(&app, &project_id, "deployments.read").await?;
    Ok(Json(find(&app, &project_id, &id).await?.to_json(&app.preview)))
}

/// `DELETE /v1/projects/{p}/deployments/{d}`: ends the build first, and answers once it is gone.
pub(crate) async fn delete_deployment(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((project_id, id)): Path<(String, String)>,
) -> ApiResult<StatusCode> {
    caller.may(&app, &project_id, "deployments.write").await?;
    let deployment = find(&app, &project_id, &id).await?;
    crate::queue::cancel(&app, &id).await?;
    let mut tx = db::write(&app.db).await?;
    sqlx::query("UPDATE projects SET active_deployment_id = NULL WHERE active_deployment_id = $1")
        .bind(&id)
        .execute(&mut *tx)
        .await?;
    sqlx::query("DELETE FROM deployments WHERE id = $1").bind(&id).execute(&mut *tx).await?;
    tx.commit().await?;
    crate::publish::remove_dir(app.output_dir(&id)).await;
    app.announce(&deployment, "delete");
    Ok(StatusCode::NO_CONTENT)
}

/// `PATCH /v1/projects/{p}/deployments/{d}/status`: cancels, and answers once no process is left.
pub(crate) async fn cancel_deployment(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((project_id, id)): Path<(String, String)>,
    args: Args,
) -> ApiResult<Json<Value>> {
    caller.may(&app, &project_id, "deployments.write").await?;
    if args.required("status", 32)? != "canceled" {
        return Err(ApiError::argument("status", "Value must be one of (canceled)"));
    }
    let before = find(&app, &project_id, &id).await?;
    if before.is_finished() || crate::queue::cancel(&app, &id).await? != "canceled" {
        let message = "The deployment has already ended and can no longer be canceled.";
        return Err(ApiError::conflict("deployment_not_cancelable", message));
    }
    Ok(Json(find(&app, &project_id, &id).await?.to_json(&app.preview)))
}

/// `PATCH /v1/projects/{p}/deployments/{d}/activate`
pub(crate) async fn activate_deployment(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((project_id, id)): Path<(String, String)>,
) -> ApiResult<Json<Value>> {
    caller.may(&app, &project_id, "deployments.write").await?;
    find(&app, &project_id, &id).await?;
    let now = app.stamp();
    let mut tx = db::write(&app.db).await?;
    let ready = sqlx::query("UPDATE deployments SET updated_at = $2 WHERE id = $1 AND status = 'success'")
        .bind(&id)
        .bind(&now)
        .execute(&mut *tx)
        .await?;
    if ready.rows_affected() == 0 {
        let message = "Build not ready: only a deployment that succeeded can be activated.";
        return Err(ApiError::new(StatusCode::BAD_REQUEST, "build_not_ready", message));
    }
    sqlx::query("UPDATE projects SET active_deployment_id = $2, updated_at = $3 WHERE id = $1")
        .bind(&project_id)
        .bind(&id)
        .bind(&now)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    let deployment = find(&app, &project_id, &id).await?;
    app.announce(&deployment, "update");
    Ok(Json(deployment.to_json(&app.preview)))
}

async fn find(app: &App, project_id: &str, id: &str) -> ApiResult<Deployment> {
    let found = Deployment::find(&app.db, id).await?;
    found.filter(|deployment| deployment.project_id == project_id).ok_or_else(missing)
}

fn missing() -> ApiError {
    ApiError::not_found("deployment_not_found", "Deployment")
}
