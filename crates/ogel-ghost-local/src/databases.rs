//! Databases of a project and the collections in them. A collection has no fixed attributes: documents are JSON objects.
//! Refuses nothing but wrong names; removing takes along what is inside. Next: `documents.rs`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use http::StatusCode;
use serde_json::{Value, json};

use crate::auth::Caller;
use crate::body::Args;
use crate::error::{ApiError, ApiResult, is_taken};
use crate::query::{self, Row, Source};
use crate::state::App;

#[derive(sqlx::FromRow)]
struct Named {
    seq: i64,
    id: String,
    name: String,
    enabled: bool,
    created_at: String,
    updated_at: String,
}

impl Named {
    fn to_json(&self, parent: (&str, &str)) -> Value {
        json!({
            "$id": self.id,
            parent.0: parent.1,
            "name": self.name,
            "enabled": self.enabled,
            "$createdAt": self.created_at,
            "$updatedAt": self.updated_at,
        })
    }
}

fn listed(total: i64, rows: Vec<Row>, parent: (&str, &str)) -> ApiResult<Json<Value>> {
    let show = |row: Row| -> ApiResult<Value> {
        let mut body: Value = serde_json::from_str(&row.data)?;
        body["$id"] = json!(row.id);
        body[parent.0] = json!(parent.1);
        body["$createdAt"] = json!(row.created_at);
        body["$updatedAt"] = json!(row.updated_at);
        Ok(body)
    };
    let documents = rows.into_iter().map(show).collect::<ApiResult<Vec<Value>>>()?;
    Ok(Json(json!({ "total": total, "documents": documents })))
}

/// A new name for a change; absent means that it stays.
fn new_name(args: &Args) -> ApiResult<Option<String>> {
    if args.0.get("name").is_some_and(|name| !name.is_null()) { args.required("name", 128).map(Some) } else { Ok(None) }
}

/// `POST …/databases` `{databaseId?, name, enabled?}`
pub(crate) async fn create_database(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(project_id): Path<String>,
    args: Args,
) -> ApiResult<(StatusCode, Json<Value>)> {
    caller.may(&app, &project_id, "databases.write").await?;
    let id = args.id("databaseId")?;
    sqlx::query(
        "INSERT INTO data_databases (id, project_id, name, enabled, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $5)",
    )
    .bind(&id)
    .bind(&project_id)
    .bind(args.required("name", 128)?)
    .bind(args.flag("enabled")?.unwrap_or(true))
    .bind(app.stamp())
    .execute(&app.db)
    .await
    .map_err(taken("database_already_exists", "Database"))?;
    let database = find_database(&app, &project_id, &id).await?;
    Ok((StatusCode::CREATED, Json(database.to_json(("projectId", &project_id)))))
}

/// `GET …/databases?queries[]`
pub(crate) async fn list_databases(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(project_id): Path<String>,
    RawQuery(raw): RawQuery,
) -> ApiResult<Json<Value>> {
    caller.may(&app, &project_id, "databases.read").await?;
    let (total, rows) = query::list(&app, Source::Databases { project_id: &project_id }, raw.as_deref()).await?;
    listed(total, rows, ("projectId", &project_id))
}

/// `GET …/databases/{x}`
pub(crate) async fn get_database(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((project_id, id)): Path<(String, String)>,
) -> ApiResult<Json<Value>> {
    caller.may(&app, &project_id, "databases.read").await?;
    Ok(Json(find_database(&app, &project_id, &id).await?.to_json(("projectId", &project_id))))
}

/// `PATCH …/databases/{x}` `{name?, enabled?}`
pub(crate) async fn update_database(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((project_id, id)): Path<(String, String)>,
    args: Args,
) -> ApiResult<Json<Value>> {
    caller.may(&app, &project_id, "databases.write").await?;
    sqlx::query(
        "UPDATE data_databases SET name = coalesce($3, name), enabled = coalesce($4, enabled), updated_at = $5 \
         WHERE project_id = $1 AND id = $2",
    )
    .bind(&project_id)
    .bind(&id)
    .bind(new_name(&args)?)
    .bind(args.flag("enabled")?)
    .bind(app.stamp())
    .execute(&app.db)
    .await?;
    Ok(Json(find_database(&app, &project_id, &id).await?.to_json(("projectId", &project_id))))
}

/// `DELETE …/databases/{x}`
pub(crate) async fn delete_database(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((project_id, id)): Path<(String, String)>,
) -> ApiResult<StatusCode> {
    caller.may(&app, &project_id, "databases.write").await?;
    let database = find_database(&app, &project_id, &id).await?;
    sqlx::query("DELETE FROM data_databases WHERE seq = $1").bind(database.seq).execute(&app.db).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST …/collections` `{collectionId?, name, enabled?}`
pub(crate) async fn create_collection(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((project_id, database_id)): Path<(String, String)>,
    args: Args,
) -> ApiResult<(StatusCode, Json<Value>)> {
    caller.may(&app, &project_id, "collections.write").await?;
    let database = find_database(&app, &project_id, &database_id).await?;
    let id = args.id("collectionId")?;
    sqlx::query(
        "INSERT INTO data_collections (id, database_seq, name, enabled, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $5)",
    )
    .bind(&id)
    .bind(database.seq)
    .bind(args.required("name", 128)?)
    .bind(args.flag("enabled")?.unwrap_or(true))
    .bind(app.stamp())
    .execute(&app.db)
    .await
    .map_err(taken("collection_already_exists", "Collection"))?;
    let collection = find_collection(&app, &project_id, &database_id, &id).await?;
    Ok((StatusCode::CREATED, Json(collection.to_json(("databaseId", &database_id)))))
}

/// `GET …/collections?queries[]`
pub(crate) async fn list_collections(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((project_id, database_id)): Path<(String, String)>,
    RawQuery(raw): RawQuery,
) -> ApiResult<Json<Value>> {
    caller.may(&app, &project_id, "collections.read").await?;
    let database = find_database(&app, &project_id, &database_id).await?;
    let (total, rows) = query::list(&app, Source::Collections { database: database.seq }, raw.as_deref()).await?;
    listed(total, rows, ("databaseId", &database_id))
}

/// `GET …/collections/{c}`
pub(crate) async fn get_collection(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((project_id, database_id, id)): Path<(String, String, String)>,
) -> ApiResult<Json<Value>> {
    caller.may(&app, &project_id, "collections.read").await?;
    let collection = find_collection(&app, &project_id, &database_id, &id).await?;
    Ok(Json(collection.to_json(("databaseId", &database_id))))
}

/// `PATCH …/collections/{c}` `{name?, enabled?}`
pub(crate) async fn update_collection(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((project_id, database_id, id)): Path<(String, String, String)>,
    args: Args,
) -> ApiResult<Json<Value>> {
    caller.may(&app, &project_id, "collections.write").await?;
    let found = find_collection(&app, &project_id, &database_id, &id).await?;
    sqlx::query(
        "UPDATE data_collections SET name = coalesce($2, name), enabled = coalesce($3, enabled), updated_at = $4 WHERE seq = $1",
    )
    .bind(found.seq)
    .bind(new_name(&args)?)
    .bind(args.flag("enabled")?)
    .bind(app.stamp())
    .execute(&app.db)
    .await?;
    let collection = find_collection(&app, &project_id, &database_id, &id).await?;
    Ok(Json(collection.to_json(("databaseId", &database_id))))
}

/// `DELETE …/collections/{c}`
pub(crate) async fn delete_collection(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((project_id, database_id, id)): Path<(String, String, String)>,
) -> ApiResult<StatusCode> {
    caller.may(&app, &project_id, "collections.write").await?;
    let collection = find_collection(&app, &project_id, &database_id, &id).await?;
    sqlx::query("DELETE FROM data_collections WHERE seq = $1").bind(collection.seq).execute(&app.db).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The row number of a collection, by which its documents are found.
pub(crate) async fn collection_seq(app: &App, project_id: &str, database_id: &str, id: &str) -> ApiResult<i64> {
    Ok(find_collection(app, project_id, database_id, id).await?.seq)
}

/// Words for an insert that failed.
pub(crate) fn taken(kind: &'static str, noun: &'static str) -> impl FnOnce(sqlx::Error) -> ApiError {
    move |error| {
        if is_taken(&error) {
            return ApiError::conflict(kind, format!("{noun} with the requested ID already exists."));
        }
        error.into()
    }
}

async fn find_database(app: &App, project_id: &str, id: &str) -> ApiResult<Named> {
    sqlx::query_as("SELECT * FROM data_databases WHERE project_id = $1 AND id = $2")
        .bind(project_id)
        .bind(id)
        .fetch_optional(&app.db)
        .await?
        .ok_or_else(|| ApiError::not_found("database_not_found", "Database"))
}

async fn find_collection(app: &App, project_id: &str, database_id: &str, id: &str) -> ApiResult<Named> {
    let database = find_database(app, project_id, database_id).await?;
    sqlx::query_as("SELECT * FROM data_collections WHERE database_seq = $1 AND id = $2")
        .bind(database.seq)
        .bind(id)
        .fetch_optional(&app.db)
        .await?
        .ok_or_else(|| ApiError::not_found("collection_not_found", "Collection"))
}
