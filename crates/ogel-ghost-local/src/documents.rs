//! Documents: JSON objects in a collection, `{documentId?, data}` in, the fields themselves out, as in Appwrite.
//! Refuses fields that start with `$`: those are Ghost's. Next: `query.rs` for lists.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::auth::Caller;
use crate::body::Args;
use crate::databases::{collection_seq, taken};
use crate::db;
use crate::error::{ApiError, ApiResult};
use crate::query::{self, Row, Source};
use crate::state::App;

fn show(row: &Row, database_id: &str, collection_id: &str) -> ApiResult<Value> {
    let mut body: Value = serde_json::from_str(&row.data)?;
    body["$id"] = json!(row.id);
    body["$databaseId"] = json!(database_id);
    body["$collectionId"] = json!(collection_id);
    body["$permissions"] = json!([]);
    body["$createdAt"] = json!(row.created_at);
    body["$updatedAt"] = json!(row.updated_at);
    Ok(body)
}

fn read_data(args: &Args) -> ApiResult<Map<String, Value>> {
    let data = match args.0.get("data") {
        Some(Value::Object(data)) => data,
        Some(Value::Null) | None => return Err(ApiError::missing_argument("data")),
        Some(_) => return Err(ApiError::argument("data", "Value must be a valid object")),
    };
    let wrong = |name: &&String| name.starts_with('$') || name.is_empty() || name.contains(['"', '\\', '\0']);
    if let Some(name) = data.keys().find(wrong) {
        let message = format!("Invalid document structure: Unknown attribute: {}", json!(name));
        return Err(ApiError::new(StatusCode::BAD_REQUEST, "document_invalid_structure", message));
    }
    Ok(data.clone())
}

/// `POST …/documents` `{documentId?, data}`
pub(crate) async fn create_document(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((project_id, database_id, collection_id)): Path<(String, String, String)>,
    args: Args,
) -> ApiResult<(StatusCode, Json<Value>)> {
    caller.may(&app, &project_id, "documents.write").await?;
    let collection = collection_seq(&app, &project_id, &database_id, &collection_id).await?;
    let id = args.id("documentId")?;
    let data = read_data(&args)?;
    sqlx::query(
        "INSERT INTO data_documents (id, collection_seq, data, created_at, updated_at) VALUES ($1, $2, $3, $4, $4)",
    )
    .bind(&id)
    .bind(collection)
    .bind(Value::Object(data).to_string())
    .bind(app.stamp())
    .execute(&app.db)
    .await
    .map_err(taken("document_already_exists", "Document"))?;
    let row = find(&app, collection, &id).await?;
    Ok((StatusCode::CREATED, Json(show(&row, &database_id, &collection_id)?)))
}

/// `GET …/documents?queries[]`
pub(crate) async fn list_documents(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((project_id, database_id, collection_id)): Path<(String, String, String)>,
    RawQuery(raw): RawQuery,
) -> ApiResult<Json<Value>> {
    caller.may(&app, &project_id, "documents.read").await?;
    let collection = collection_seq(&app, &project_id, &database_id, &collection_id).await?;
    let (total, rows) = query::list(&app, Source::Documents { collection }, raw.as_deref()).await?;
    let documents =
        rows.iter().map(|row| show(row, &database_id, &collection_id)).collect::<ApiResult<Vec<Value>>>()?;
    Ok(Json(json!({ "total": total, "documents": documents })))
}

type DocumentPath = Path<(String, String, String, String)>;

/// `GET …/documents/{i}`
pub(crate) async fn get_document(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((project_id, database_id, collection_id, id)): DocumentPath,
) -> ApiResult<Json<Value>> {
    caller.may(&app, &project_id, "documents.read").await?;
    let collection = collection_seq(&app, &project_id, &database_id, &collection_id).await?;
    Ok(Json(show(&find(&app, collection, &id).await?, &database_id, &collection_id)?))
}

/// `PATCH …/documents/{i}` `{data}`: named fields are replaced, the others stay.
pub(crate) async fn update_document(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((project_id, database_id, collection_id, id)): DocumentPath,
    args: Args,
) -> ApiResult<Json<Value>> {
    caller.may(&app, &project_id, "documents.write").await?;
    let collection = collection_seq(&app, &project_id, &database_id, &collection_id).await?;
    let change = read_data(&args)?;
    let mut tx = db::write(&app.db).await?;
    let stored: Option<String> =
        sqlx::query_scalar("SELECT data FROM data_documents WHERE collection_seq = $1 AND id = $2")
            .bind(collection)
            .bind(&id)
            .fetch_optional(&mut *tx)
            .await?;
    let mut data: Map<String, Value> = serde_json::from_str(&stored.ok_or_else(missing)?)?;
    data.extend(change);
    sqlx::query("UPDATE data_documents SET data = $3, updated_at = $4 WHERE collection_seq = $1 AND id = $2")
        .bind(collection)
        .bind(&id)
        .bind(Value::Object(data).to_string())
        .bind(app.stamp())
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(Json(show(&find(&app, collection, &id).await?, &database_id, &collection_id)?))
}

/// `DELETE …/documents/{i}`
pub(crate) async fn delete_document(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((project_id, database_id, collection_id, id)): DocumentPath,
) -> ApiResult<StatusCode> {
    caller.may(&app, &project_id, "documents.write").await?;
    let collection = collection_seq(&app, &project_id, &database_id, &collection_id).await?;
    let gone = sqlx::query("DELETE FROM data_documents WHERE collection_seq = $1 AND id = $2")
        .bind(collection)
        .bind(&id)
        .execute(&app.db)
        .await?;
    if gone.rows_affected() == 0 { Err(missing()) } else { Ok(StatusCode::NO_CONTENT) }
}

async fn find(app: &App, collection: i64, id: &str) -> ApiResult<Row> {
    sqlx::query_as("SELECT id, data, created_at, updated_at FROM data_documents WHERE collection_seq = $1 AND id = $2")
        .bind(collection)
        .bind(id)
        .fetch_optional(&app.db)
        .await?
        .ok_or_else(missing)
}

fn missing() -> ApiError {
    ApiError::not_found("document_not_found", "Document")
}
