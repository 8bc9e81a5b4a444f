//! Projects, their keys and their members. A user sees a project it made, or one the platform granted it with
//! `POST /v1/projects/{p}/members {userId}` (our extension to the contract: 201, and the same again is 201 too;
//! `DELETE …/members/{userId}` takes it back). Secrets of keys are shown once and stored hashed.
//! Next: `deployments.rs`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use http::StatusCode;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::auth::{Caller, SCOPES};
use crate::body::{Args, checked_host_id};
use crate::db;
use crate::error::{ApiError, ApiResult, is_taken};
use crate::state::App;

/// Rounds of ending builds before a deletion gives up against somebody who keeps creating them.
const DELETE_ATTEMPTS: usize = 20;

#[derive(sqlx::FromRow)]
struct Project {
    id: String,
    name: String,
    region: String,
    active_deployment_id: Option<String>,
    created_at: String,
    updated_at: String,
}

impl Project {
    fn to_json(&self, app: &App) -> Value {
        json!({
            "$id": self.id,
            "name": self.name,
            "region": self.region,
            "activeDeploymentId": self.active_deployment_id,
            "url": app.preview.url(&format!("p-{}", self.id)),
            "$createdAt": self.created_at,
            "$updatedAt": self.updated_at,
        })
    }
}

/// `POST /v1/projects`
pub(crate) async fn create_project(
    State(app): State<Arc<App>>,
    caller: Caller,
    args: Args,
) -> ApiResult<(StatusCode, Json<Value>)> {
    if matches!(caller, Caller::Key { .. }) {
        return Err(ApiError::scope("app.key", "projects.write"));
    }
    let id = checked_host_id("projectId", args.required("projectId", 36)?, false)?;
    let name = args.required("name", 128)?;
    let region = args.text("region", 64)?.unwrap_or_else(|| "default".to_owned());
    let now = app.stamp();
    let mut tx = db::write(&app.db).await?;
    sqlx::query("INSERT INTO projects (id, name, region, created_at, updated_at) VALUES ($1, $2, $3, $4, $4)")
        .bind(&id)
        .bind(&name)
        .bind(&region)
        .bind(&now)
        .execute(&mut *tx)
        .await
        .map_err(|error| {
            if is_taken(&error) {
                let message = "Project with the requested ID already exists. Try again with a different ID.";
                return ApiError::conflict("project_already_exists", message);
            }
            error.into()
        })?;
    if let Caller::User { id: user_id, .. } = &caller {
        sqlx::query("INSERT INTO project_members (project_id, user_id, created_at) VALUES ($1, $2, $3)")
            .bind(&id)
            .bind(user_id)
            .bind(&now)
            .execute(&mut *tx)
            .await?;
    }
    tx.commit().await?;
    let project = Project { id, name, region, active_deployment_id: None, created_at: now.clone(), updated_at: now };
    Ok((StatusCode::CREATED, Json(project.to_json(&app))))
}

/// `GET /v1/projects/{p}`
pub(crate) async fn get_project(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
) -> ApiResult<Json<Value>> {
    caller.may(&app, &id, "projects.read").await?;
    Ok(Json(find(&app, &id).await?.to_json(&app)))
}

/// `PATCH /v1/projects/{p}`
pub(crate) async fn update_project(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
    args: Args,
) -> ApiResult<Json<Value>> {
    caller.must_be_platform("projects.write")?;
    let name = args.text("name", 128)?;
    if name.as_deref().is_some_and(|name| name.trim().is_empty()) {
        return Err(ApiError::argument("name", "Value must not be empty"));
    }
    let region = args.text("region", 64)?;
    sqlx::query(
        "UPDATE projects SET name = coalesce($2, name), region = coalesce($3, region), updated_at = $4 WHERE id = $1",
    )
    .bind(&id)
    .bind(name)
    .bind(region)
    .bind(app.stamp())
    .execute(&app.db)
    .await?;
    Ok(Json(find(&app, &id).await?.to_json(&app)))
}

/// `DELETE /v1/projects/{p}`: ends its builds first, and answers once they are gone.
pub(crate) async fn delete_project(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
) -> ApiResult<StatusCode> {
    caller.must_be_platform("projects.write")?;
    find(&app, &id).await?;
    for _ in 0..DELETE_ATTEMPTS {
        let open: Vec<String> = sqlx::query_scalar(
            "SELECT id FROM deployments WHERE project_id = $1 AND status IN ('pending', 'building')",
        )
        .bind(&id)
        .fetch_all(&app.db)
        .await?;
        for deployment_id in &open {
            crate::queue::cancel(&app, deployment_id).await?;
        }
        // A deployment may have been created meanwhile: the check and the removal are one transaction.
        let mut tx = db::write(&app.db).await?;
        let busy: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM deployments WHERE project_id = $1 AND status IN ('pending', 'building')",
        )
        .bind(&id)
        .fetch_one(&mut *tx)
        .await?;
        if busy > 0 {
            tx.rollback().await?;
            continue;
        }
        let outputs: Vec<String> = sqlx::query_scalar("SELECT id FROM deployments WHERE project_id = $1")
            .bind(&id)
            .fetch_all(&mut *tx)
            .await?;
        sqlx::query("DELETE FROM projects WHERE id = $1").bind(&id).execute(&mut *tx).await?;
        tx.commit().await?;
        for deployment_id in outputs {
            crate::publish::remove_dir(app.output_dir(&deployment_id)).await;
        }
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(ApiError::conflict("general_resource_locked", "Deployments keep being created; try again later."))
}

/// `POST /v1/projects/{p}/keys`
pub(crate) async fn create_key(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(project_id): Path<String>,
    args: Args,
) -> ApiResult<(StatusCode, Json<Value>)> {
    caller.must_be_platform("keys.write")?;
    find(&app, &project_id).await?;
    let name = args.required("name", 128)?;
    let scopes = match args.0.get("scopes") {
        None | Some(Value::Null) => return Err(ApiError::missing_argument("scopes")),
        Some(Value::Array(items)) if items.len() <= 100 => items,
        Some(_) => return Err(ApiError::argument("scopes", "Value must a valid array no longer than 100 items")),
    };
    if let Some(wrong) = scopes.iter().find(|scope| !scope.as_str().is_some_and(|scope| SCOPES.contains(&scope))) {
        return Err(ApiError::argument("scopes", format!("{wrong} is not one of ({})", SCOPES.join(", "))));
    }
    let id = db::random_id()?;
    let secret = format!("standard_{}", db::random_secret()?);
    let now = app.stamp();
    sqlx::query(
        "INSERT INTO project_keys (id, project_id, name, scopes, secret_hash, created_at) VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(&id)
    .bind(&project_id)
    .bind(&name)
    .bind(serde_json::to_string(scopes)?)
    .bind(hex::encode(Sha256::digest(secret.as_bytes())))
    .bind(&now)
    .execute(&app.db)
    .await?;
    let body = json!({ "$id": id, "name": name, "scopes": scopes, "secret": secret, "$createdAt": now });
    Ok((StatusCode::CREATED, Json(body)))
}

/// `POST /v1/projects/{p}/members`
pub(crate) async fn add_member(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(project_id): Path<String>,
    args: Args,
) -> ApiResult<(StatusCode, Json<Value>)> {
    caller.must_be_platform("projects.write")?;
    find(&app, &project_id).await?;
    let user_id = args.required("userId", 36)?;
    crate::users::must_exist(&app, &user_id).await?;
    sqlx::query(
        "INSERT INTO project_members (project_id, user_id, created_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
    )
    .bind(&project_id)
    .bind(&user_id)
    .bind(app.stamp())
    .execute(&app.db)
    .await?;
    Ok((StatusCode::CREATED, Json(json!({ "projectId": project_id, "userId": user_id }))))
}

/// `DELETE /v1/projects/{p}/members/{u}`
pub(crate) async fn remove_member(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((project_id, user_id)): Path<(String, String)>,
) -> ApiResult<StatusCode> {
    caller.must_be_platform("projects.write")?;
    find(&app, &project_id).await?;
    sqlx::query("DELETE FROM project_members WHERE project_id = $1 AND user_id = $2")
        .bind(&project_id)
        .bind(&user_id)
        .execute(&app.db)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn find(app: &App, id: &str) -> ApiResult<Project> {
    sqlx::query_as("SELECT id, name, region, active_deployment_id, created_at, updated_at FROM projects WHERE id = $1")
        .bind(id)
        .fetch_optional(&app.db)
        .await?
        .ok_or_else(|| ApiError::not_found("project_not_found", "Project"))
}
