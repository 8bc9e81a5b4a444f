//! Users and the tokens they act with. Only the platform makes them; there are no passwords and no sign-up here.
//! Next: `jwt.rs`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use http::StatusCode;
use serde_json::{Value, json};

use crate::auth::Caller;
use crate::body::Args;
use crate::error::{ApiError, ApiResult, is_taken};
use crate::state::App;

/// `POST /v1/users`
pub(crate) async fn create_user(
    State(app): State<Arc<App>>,
    caller: Caller,
    args: Args,
) -> ApiResult<(StatusCode, Json<Value>)> {
    caller.must_be_platform("users.write")?;
    let id = args.id("userId")?;
    let email = args.required("email", 320)?;
    if !looks_like_an_address(&email) {
        return Err(ApiError::argument("email", "Value must be a valid email address"));
    }
    let name = args.text("name", 128)?.unwrap_or_default();
    let created_at = app.stamp();
    sqlx::query("INSERT INTO users (id, email, name, created_at) VALUES ($1, $2, $3, $4)")
        .bind(&id)
        .bind(&email)
        .bind(&name)
        .bind(&created_at)
        .execute(&app.db)
        .await
        .map_err(|error| {
            if is_taken(&error) {
                let message = "A user with the same id, email, or phone already exists in this project.";
                return ApiError::conflict("user_already_exists", message);
            }
            error.into()
        })?;
    Ok((StatusCode::CREATED, Json(json!({ "$id": id, "email": email, "name": name, "$createdAt": created_at }))))
}

/// `DELETE /v1/users/{userId}`
pub(crate) async fn delete_user(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
) -> ApiResult<StatusCode> {
    caller.must_be_platform("users.write")?;
    // Memberships go with it.
    let deleted = sqlx::query("DELETE FROM users WHERE id = $1").bind(&id).execute(&app.db).await?.rows_affected();
    if deleted == 0 {
        return Err(ApiError::not_found("user_not_found", "User"));
    }
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /v1/account/sessions/jwt`
pub(crate) async fn create_jwt(
    State(app): State<Arc<App>>,
    caller: Caller,
    args: Args,
) -> ApiResult<(StatusCode, Json<Value>)> {
    caller.must_be_platform("users.write")?;
    let id = args.required("userId", 36)?;
    must_exist(&app, &id).await?;
    let jwt = crate::jwt::mint(&app.jwt_secret, &id, app.now().timestamp());
    Ok((StatusCode::CREATED, Json(json!({ "jwt": jwt }))))
}

pub(crate) async fn must_exist(app: &App, user_id: &str) -> ApiResult<()> {
    let known: Option<i64> =
        sqlx::query_scalar("SELECT 1 FROM users WHERE id = $1").bind(user_id).fetch_optional(&app.db).await?;
    known.map(|_| ()).ok_or_else(|| ApiError::not_found("user_not_found", "User"))
}

fn looks_like_an_address(email: &str) -> bool {
    let Some((local, domain)) = email.rsplit_once('@') else { return false };
    !local.is_empty() && !domain.is_empty() && !email.chars().any(|c| c.is_whitespace() || c.is_control())
}
