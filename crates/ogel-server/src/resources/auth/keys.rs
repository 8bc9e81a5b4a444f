//! What becomes of an API key after it was made: changed, given another secret, asked about itself.

use super::{check_scopes, wire_key};
use crate::{
    caller::{Allowed, scope},
    error::{Failure, Result},
    extract::{Json, MaybeJson, NoParameters, Path, Query, invalid_field},
    pipeline::Made,
    resources::shared,
    router::{Routes, routes},
    secrets,
    state::App,
};
use axum::{extract::State, http::StatusCode};
use chrono::{DateTime, TimeDelta, Utc};
use ogel_api::{
    auth::{ApiKey, ApiKeyCreated, RotateApiKey, UpdateApiKey},
    error::{Error, ErrorCode},
    id::ApiKeyId,
    time::Timestamp,
};
use ogel_store::{KeyChange, NextSecret};

pub(super) fn routes() -> Routes {
    Routes::new().routes(routes!(get_own_api_key)).routes(routes!(update_api_key)).routes(routes!(rotate_api_key))
}

/// The API key this is sent with: what it is, and what it may do.
#[utoipa::path(get, path = "/auth/api-keys/self", operation_id = "get_own_api_key", tag = "auth",
    responses((status = 200, body = ApiKey)), security(("bearer" = [])))]
async fn get_own_api_key(
    State(app): State<App>,
    caller: Allowed<scope::Any>,
    _: Query<NoParameters>,
) -> Result<Json<ApiKey>> {
    let Some(id) = caller.caller.api_key_id else {
        let message = "this was not sent with an API key; `GET auth/session` says who calls";
        return Err(Failure::new(ErrorCode::NotFound, message));
    };
    app.uses.flush(&app).await?;
    // With its own eyes, and those see what is bound like it.
    let key = app.store.api_key(&caller.caller.viewer, id).await?.ok_or_else(|| Error::not_found("API key", id))?;
    Ok(Json(wire_key(&key)))
}

/// Changes an API key's name, scopes or end.
#[utoipa::path(patch, path = "/auth/api-keys/{id}", operation_id = "update_api_key", tag = "auth",
    params(("id" = ApiKeyId, Path)), request_body = UpdateApiKey,
    responses((status = 200, body = ApiKey)), security(("bearer" = [])))]
async fn update_api_key(
    State(app): State<App>,
    caller: Allowed<scope::KeysWrite>,
    Path(id): Path<ApiKeyId>,
    Json(body): Json<UpdateApiKey>,
) -> Result<Json<ApiKey>> {
    let act = caller.act(&app);
    let caller = &caller.caller;
    let name = body.name.as_deref().map(shared::name).transpose()?;
    if let Some(scopes) = &body.scopes {
        check_scopes(caller, scopes)?;
    }
    let expires_at: Option<Option<DateTime<Utc>>> = body.expires_at.map(|at| at.map(Timestamp::into));
    super::check_end(expires_at.flatten(), app.world.now())?;
    let change = KeyChange { name, scopes: body.scopes, expires_at };
    let key = app.store.update_api_key(&act, &caller.viewer, id, &change).await?;
    let key = key.ok_or_else(|| Error::not_found("API key", id))?;
    app.callers.forget(caller.user.id);
    Ok(Json(wire_key(&key)))
}

const DAY: u32 = 86_400;
const LONGEST_GRACE: u32 = 30 * DAY;

/// Gives an API key another secret; the old one works for a while longer, so that programs can be told the new one.
#[utoipa::path(post, path = "/auth/api-keys/{id}/rotate", operation_id = "rotate_api_key", tag = "auth",
    params(("id" = ApiKeyId, Path)), request_body = RotateApiKey,
    responses((status = 200, body = ApiKeyCreated)), security(("bearer" = [])))]
async fn rotate_api_key(
    State(app): State<App>,
    caller: Allowed<scope::KeysWrite>,
    Path(id): Path<ApiKeyId>,
    made: Made,
    MaybeJson(body): MaybeJson<RotateApiKey>,
) -> Result<Json<ApiKeyCreated>> {
    let act = caller.act(&app);
    let caller = &caller.caller;
    let grace = body.grace_period_seconds.unwrap_or(DAY);
    if grace > LONGEST_GRACE {
        let message = format!("`gracePeriodSeconds` takes 0 to {LONGEST_GRACE}");
        return Err(invalid_field(ErrorCode::InvalidValue, "body.gracePeriodSeconds", &message, None));
    }
    let key = app.store.api_key(&caller.viewer, id).await?.ok_or_else(|| Error::not_found("API key", id))?;
    // Whoever gets the new secret can do all that the key can.
    check_scopes(caller, &key.scopes)?;
    let secret = secrets::new_api_key(&app.world.entropy);
    let next = NextSecret {
        hash: secrets::token_hash(&secret),
        prefix: secrets::shown_prefix(&secret),
        old_expires_at: (grace > 0).then(|| app.world.now() + TimeDelta::seconds(grace.into())),
    };
    let rotated =
        ogel_store::ApiKey { prefix: next.prefix.clone(), old_secret_expires_at: next.old_expires_at, ..key.clone() };
    let rotated = ApiKeyCreated { api_key: wire_key(&rotated), secret };
    let act = made.answered(&app, act, StatusCode::OK, &rotated)?;
    if app.store.rotate_api_key(&act, &key, &next).await?.is_none() {
        let message = "the key was rotated or deleted by somebody else meanwhile; look at it again";
        return Err(Failure::new(ErrorCode::Conflict, message));
    }
    app.callers.forget(caller.user.id);
    Ok(Json(rotated))
}
