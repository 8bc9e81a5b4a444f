//! People: today, oneself.

mod account;

use super::{
    auth::{sessions::__path_change_password, sessions::change_password, wire_user},
    organizations::audit_log,
    shared::{self, refused},
};
use crate::{
    caller::{Allowed, scope},
    error::Result,
    extract::{Json, NoParameters, Parameters, Query, Versioned},
    pipeline::IfMatch,
    router::{Routes, routes},
    state::App,
};
use axum::{extract::State, http::StatusCode};
use ogel_api::{
    audit::AuditLog,
    error::Error,
    time::Timestamp,
    users::{UpdateUser, User},
};

pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(get_me, update_me, account::delete_account))
        .routes(routes!(account::export_account))
        .routes(routes!(get_own_audit_log))
        .routes(routes!(revoke_all_sessions))
        .routes(routes!(change_password))
}

/// The caller's own account.
#[utoipa::path(get, path = "/users/me", operation_id = "get_me", tag = "users",
    responses((status = 200, body = User)), security(("bearer" = [])))]
async fn get_me(
    State(app): State<App>,
    caller: Allowed<scope::UsersRead>,
    _: Query<NoParameters>,
) -> Result<Versioned<User>> {
    let id = caller.caller.user.id;
    let user = app.store.user(id).await?.ok_or_else(|| Error::not_found("user", id))?;
    Ok(Versioned(user.row_version, wire_user(&user)))
}

/// Changes the caller's own account.
#[utoipa::path(patch, path = "/users/me", operation_id = "update_me", tag = "users",
    params(("If-Match" = Option<String>, Header)), request_body = UpdateUser,
    responses((status = 200, body = User)), security(("bearer" = [])))]
async fn update_me(
    State(app): State<App>,
    caller: Allowed<scope::UsersWrite>,
    IfMatch(expected): IfMatch,
    Json(body): Json<UpdateUser>,
) -> Result<Versioned<User>> {
    caller.caller.refuse_bound_key()?;
    let name = body.name.as_deref().map(shared::name).transpose()?;
    let id = caller.caller.user.id;
    let user = app.store.update_user(&caller.act(&app), id, name.as_deref(), &expected).await?;
    let user = user.map_err(|refusal| refused(refusal, "user", id))?;
    // Callers carry the name they had when they were looked up.
    app.callers.forget(id);
    Ok(Versioned(user.row_version, wire_user(&user)))
}

/// Logs the caller out everywhere: every login and every session of Studio's that has begun by now. API keys stay.
#[utoipa::path(post, path = "/users/me/sessions/revoke-all", operation_id = "revoke_all_sessions", tag = "users",
    responses((status = 204, description = "Logged out everywhere")), security(("bearer" = [])))]
async fn revoke_all_sessions(
    State(app): State<App>,
    caller: Allowed<scope::UsersWrite>,
    _: Query<NoParameters>,
) -> Result<StatusCode> {
    caller.caller.refuse_bound_key()?;
    crate::studio::end_all(&app, &caller.act(&app), caller.caller.user.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What was done to the caller's own account, newest first: logins, API keys that are bound to no organization, the password. What
/// they did in organizations stands in the organizations' logs.
#[utoipa::path(get, path = "/users/me/audit-log", operation_id = "get_own_audit_log", tag = "users",
    params(("action" = Option<String>, Query), ("target" = Option<String>, Query, description = "The id of the thing that was changed"),
        ("createdAfter" = Option<Timestamp>, Query), ("createdBefore" = Option<Timestamp>, Query),
        ("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = AuditLog)), security(("bearer" = [])))]
async fn get_own_audit_log(
    State(app): State<App>,
    caller: Allowed<scope::UsersRead>,
    Query(OwnParts(query)): Query<OwnParts>,
) -> Result<Json<AuditLog>> {
    caller.caller.refuse_bound_key()?;
    let filters = format!("{:?}", query.filter);
    let request = query.page.request(&filters)?;
    let page = app.store.acted(caller.caller.user.id, false, &query.filter, &request).await?;
    let pagination = shared::pagination(&page, &filters);
    Ok(Json(AuditLog { entries: page.rows.iter().map(audit_log::wire).collect(), pagination }))
}

/// As for an organization's log, but one has only oneself here.
#[derive(Default)]
struct OwnParts(audit_log::Parts);

impl Parameters for OwnParts {
    const KNOWN: &'static [&'static str] = &["action", "target", "createdAfter", "createdBefore", "limit", "cursor"];
    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        self.0.set(name, value)
    }
}
