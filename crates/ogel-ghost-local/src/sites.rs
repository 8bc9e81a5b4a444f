//! Sites: the settings of what a project publishes (name, repository, branch, commands). Kept for the platform; a
//! deployment carries its own settings. Next: `domains.rs`, which names a site.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::auth::Caller;
use crate::body::Args;
use crate::error::{ApiError, ApiResult, is_taken};
use crate::page::{Page, PageQuery};
use crate::repo::{self, RepoUrl};
use crate::state::App;

const TEXTS: &[&str] =
    &["framework", "repoUrl", "productionBranch", "rootDirectory", "installCommand", "buildCommand", "outputDirectory"];

#[derive(sqlx::FromRow)]
struct Site {
    seq: i64,
    id: String,
    project_id: String,
    name: String,
    settings: String,
    created_at: String,
    updated_at: String,
}

impl Site {
    fn to_json(&self) -> ApiResult<Value> {
        let mut body: Map<String, Value> = serde_json::from_str(&self.settings)?;
        for name in TEXTS {
            body.entry(*name).or_insert(Value::Null);
        }
        body.insert("$id".to_owned(), json!(self.id));
        body.insert("projectId".to_owned(), json!(self.project_id));
        body.insert("name".to_owned(), json!(self.name));
        body.insert("$createdAt".to_owned(), json!(self.created_at));
        body.insert("$updatedAt".to_owned(), json!(self.updated_at));
        Ok(Value::Object(body))
    }
}

/// `POST /v1/projects/{p}/sites` `{siteId?, name, …}`
pub(crate) async fn create_site(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(project_id): Path<String>,
    args: Args,
) -> ApiResult<(StatusCode, Json<Value>)> {
    caller.may(&app, &project_id, "sites.write").await?;
    let id = args.id("siteId")?;
    let name = args.required("name", 128)?;
    let settings = read_settings(&app, &args, Map::new())?;
    sqlx::query(
        "INSERT INTO sites (id, project_id, name, settings, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $5)",
    )
    .bind(&id)
    .bind(&project_id)
    .bind(&name)
    .bind(Value::Object(settings).to_string())
    .bind(app.stamp())
    .execute(&app.db)
    .await
    .map_err(|error| {
        if is_taken(&error) {
            return ApiError::conflict("site_already_exists", "Site with the requested ID already exists.");
        }
        error.into()
    })?;
    Ok((StatusCode::CREATED, Json(find(&app, &project_id, &id).await?.to_json()?)))
}

/// `GET /v1/projects/{p}/sites?limit&cursor`: newest first.
pub(crate) async fn list_sites(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(project_id): Path<String>,
    Query(query): Query<PageQuery>,
) -> ApiResult<Json<Value>> {
    caller.may(&app, &project_id, "sites.read").await?;
    let cursor = match query.cursor() {
        Some(cursor) => Some(find(&app, &project_id, cursor).await.map_err(|_| query.unknown_cursor())?.seq),
        None => None,
    };
    let Page { limit, before } = query.page(cursor)?;
    let total: i64 = sqlx::query_scalar("SELECT count(*) FROM sites WHERE project_id = $1")
        .bind(&project_id)
        .fetch_one(&app.db)
        .await?;
    let rows: Vec<Site> =
        sqlx::query_as("SELECT * FROM sites WHERE project_id = $1 AND seq < $2 ORDER BY seq DESC LIMIT $3")
            .bind(&project_id)
            .bind(before)
            .bind(limit)
            .fetch_all(&app.db)
            .await?;
    let documents = rows.iter().map(Site::to_json).collect::<ApiResult<Vec<Value>>>()?;
    Ok(Json(json!({ "total": total, "documents": documents })))
}

/// `GET /v1/projects/{p}/sites/{s}`
pub(crate) async fn get_site(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((project_id, id)): Path<(String, String)>,
) -> ApiResult<Json<Value>> {
    caller.may(&app, &project_id, "sites.read").await?;
    Ok(Json(find(&app, &project_id, &id).await?.to_json()?))
}

/// `PATCH /v1/projects/{p}/sites/{s}`: what is not named stays, `null` clears.
pub(crate) async fn update_site(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((project_id, id)): Path<(String, String)>,
    args: Args,
) -> ApiResult<Json<Value>> {
    caller.may(&app, &project_id, "sites.write").await?;
    let name = args.text("name", 128)?;
    if name.as_deref().is_some_and(|name| name.trim().is_empty()) {
        return Err(ApiError::argument("name", "Value must not be empty"));
    }
    let mut tx = crate::db::write(&app.db).await?;
    let stored: Option<String> = sqlx::query_scalar("SELECT settings FROM sites WHERE project_id = $1 AND id = $2")
        .bind(&project_id)
        .bind(&id)
        .fetch_optional(&mut *tx)
        .await?;
    let stored = serde_json::from_str(&stored.ok_or_else(missing)?)?;
    let settings = read_settings(&app, &args, stored)?;
    sqlx::query(
        "UPDATE sites SET name = coalesce($3, name), settings = $4, updated_at = $5 WHERE project_id = $1 AND id = $2",
    )
    .bind(&project_id)
    .bind(&id)
    .bind(name)
    .bind(Value::Object(settings).to_string())
    .bind(app.stamp())
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(Json(find(&app, &project_id, &id).await?.to_json()?))
}

/// `DELETE /v1/projects/{p}/sites/{s}`
pub(crate) async fn delete_site(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((project_id, id)): Path<(String, String)>,
) -> ApiResult<StatusCode> {
    caller.may(&app, &project_id, "sites.write").await?;
    let gone = sqlx::query("DELETE FROM sites WHERE project_id = $1 AND id = $2")
        .bind(&project_id)
        .bind(&id)
        .execute(&app.db)
        .await?;
    if gone.rows_affected() == 0 { Err(missing()) } else { Ok(StatusCode::NO_CONTENT) }
}

/// Puts the named settings over what is stored.
fn read_settings(app: &App, args: &Args, mut settings: Map<String, Value>) -> ApiResult<Map<String, Value>> {
    for name in TEXTS.iter().copied().filter(|name| args.0.contains_key(*name)) {
        let text = args.text(name, 8192)?;
        if let Some(text) = text.as_deref().filter(|text| !text.is_empty()) {
            let checked = match name {
                "repoUrl" => {
                    RepoUrl::parse(text, app.config.allow_file_urls, app.config.allow_private_hosts).map(|_| ())
                }
                "productionBranch" => repo::check_branch(text).map_err(str::to_owned),
                "rootDirectory" | "outputDirectory" => repo::check_relative_path(text).map_err(str::to_owned),
                _ => Ok(()),
            };
            checked.map_err(|reason| ApiError::argument(name, reason))?;
        }
        settings.insert(name.to_owned(), json!(text));
    }
    Ok(settings)
}

async fn find(app: &App, project_id: &str, id: &str) -> ApiResult<Site> {
    sqlx::query_as("SELECT * FROM sites WHERE project_id = $1 AND id = $2")
        .bind(project_id)
        .bind(id)
        .fetch_optional(&app.db)
        .await?
        .ok_or_else(missing)
}

fn missing() -> ApiError {
    ApiError::not_found("site_not_found", "Site")
}
