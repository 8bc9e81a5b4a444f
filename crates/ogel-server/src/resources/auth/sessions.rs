//! A person's logins, in browsers and in programs: looked at, and ended.

use crate::{
    caller::{Allowed, Caller, scope},
    error::{Failure, Result},
    extract::{Json, NoParameters, Path, Query},
    pipeline::RequestContext,
    resources::shared::{self, Paged},
    router::{Routes, routes},
    state::App,
};
use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
};
use ogel_api::{
    auth::{ChangePassword, Scope, Session, SessionList},
    error::{Error, ErrorCode},
    id::{IdError, SessionId},
};
use std::str::FromStr;

pub(super) fn routes() -> Routes {
    Routes::new().routes(routes!(list_sessions, delete_sessions)).routes(routes!(get_a_session, delete_session))
}

/// The caller's logins that have not ended, newest first.
#[utoipa::path(get, path = "/auth/sessions", operation_id = "list_sessions", tag = "auth",
    params(("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = SessionList)), security(("bearer" = [])))]
async fn list_sessions(
    State(app): State<App>,
    caller: Allowed<scope::UsersRead>,
    Query(Paged(query)): Query<Paged>,
) -> Result<Json<SessionList>> {
    caller.caller.refuse_bound_key()?;
    // What this process has noted but not written yet belongs to the answer.
    app.uses.flush(&app).await?;
    let caller = &caller.caller;
    let page = app.store.sessions(caller.user.id, app.world.now(), &query.request("")?).await?;
    let pagination = shared::pagination(&page, "");
    Ok(Json(SessionList { sessions: page.rows.iter().map(|session| wire(session, caller)).collect(), pagination }))
}

/// One of the caller's logins.
#[utoipa::path(get, path = "/auth/sessions/{id}", operation_id = "get_session_by_id", tag = "auth",
    params(("id" = SessionId, Path)), responses((status = 200, body = Session)), security(("bearer" = [])))]
async fn get_a_session(
    State(app): State<App>,
    caller: Allowed<scope::UsersRead>,
    Path(id): Path<SessionId>,
    _: Query<NoParameters>,
) -> Result<Json<Session>> {
    caller.caller.refuse_bound_key()?;
    app.uses.flush(&app).await?;
    let session = app.store.session(id, caller.caller.user.id, app.world.now()).await?;
    Ok(Json(wire(&session.ok_or_else(|| Error::not_found("session", id))?, &caller.caller)))
}

/// How a path names a login.
enum SessionRef {
    Id(SessionId),
    /// The one the request came with.
    Current,
}

impl FromStr for SessionRef {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if text == "current" { Ok(Self::Current) } else { text.parse().map(Self::Id) }
    }
}

/// Ends one of the caller's logins at once. `current` is the one this is sent with, a session of Studio's included: it stops
/// working here.
#[utoipa::path(delete, path = "/auth/sessions/{id}", operation_id = "delete_session", tag = "auth",
    params(("id" = String, Path, description = "A session id, or `current`")),
    responses((status = 204, description = "Ended")), security(("bearer" = [])))]
async fn delete_session(
    State(app): State<App>,
    context: RequestContext,
    headers: HeaderMap,
    caller: Allowed<scope::UsersWrite>,
    Path(id): Path<SessionRef>,
    _: Query<NoParameters>,
) -> Result<Response> {
    caller.caller.refuse_bound_key()?;
    let SessionRef::Id(id) = id else {
        return super::end_own_login(&app, &context, &headers, &caller.caller).await;
    };
    if !app.store.delete_session(&caller.act(&app), id, caller.caller.user.id).await? {
        return Err(Error::not_found("session", id).into());
    }
    app.callers.forget(caller.caller.user.id);
    app.bridge.drop_token(caller.caller.user.id).await;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Ends all of the caller's logins at once, except the one this is sent with.
#[utoipa::path(delete, path = "/auth/sessions", operation_id = "delete_sessions", tag = "auth",
    responses((status = 204, description = "Ended")), security(("bearer" = [])))]
async fn delete_sessions(
    State(app): State<App>,
    caller: Allowed<scope::UsersWrite>,
    _: Query<NoParameters>,
) -> Result<StatusCode> {
    caller.caller.refuse_bound_key()?;
    let (act, id) = (caller.act(&app), caller.caller.user.id);
    app.store.delete_other_sessions(&act, id, caller.caller.session_id).await?;
    app.callers.forget(caller.caller.user.id);
    app.bridge.drop_token(caller.caller.user.id).await;
    Ok(StatusCode::NO_CONTENT)
}

/// Another password; every other login of the account ends. API keys stay: they are no logins.
#[utoipa::path(post, path = "/users/me/password", operation_id = "change_password", tag = "users",
    request_body = ChangePassword, responses((status = 204, description = "Changed")), security(("bearer" = [])))]
pub(crate) async fn change_password(
    State(app): State<App>,
    context: RequestContext,
    caller: Allowed<scope::UsersWrite>,
    Json(body): Json<ChangePassword>,
) -> Result<StatusCode> {
    caller.caller.refuse_bound_key()?;
    let Caller { user, session_id, .. } = &*caller.caller;
    super::check_password("newPassword", &body.new_password)?;
    let user = app.store.user(user.id).await?.ok_or_else(|| Error::not_found("user", user.id))?;
    check_own_password(&app, &user, body.current_password, &context, "currentPassword").await?;
    let hash = app.passwords.hash(body.new_password, &app.world.entropy).await?;
    app.store.change_password(&caller.act(&app), user.id, &hash, *session_id).await?;
    app.callers.forget(user.id);
    app.bridge.drop_token(user.id).await;
    Ok(StatusCode::NO_CONTENT)
}

/// 400 for `field` unless it is the account's password; 403 where it has none.
pub(crate) async fn check_own_password(
    app: &App,
    user: &ogel_store::User,
    password: String,
    context: &RequestContext,
    field: &str,
) -> Result<()> {
    let Some(hash) = user.password_hash.clone() else {
        let message = "this account has no password; it logs in elsewhere";
        return Err(Failure::new(ErrorCode::Forbidden, message));
    };
    // Whoever has stolen a session must not find the password out with it.
    let attempt = super::attempts::Attempt::begin(app, &user.email, context.client).await?;
    if password.len() > super::LONGEST_PASSWORD || !app.passwords.verify(password, Some(hash)).await? {
        let message = format!("`{field}` is not the account's password");
        let location = format!("body.{field}");
        return Err(crate::extract::invalid_field(ErrorCode::InvalidValue, &location, &message, None));
    }
    attempt.was_right();
    Ok(())
}

pub(crate) fn wire(session: &ogel_store::Session, caller: &Caller) -> Session {
    Session {
        id: session.id,
        kind: session.kind,
        current: caller.session_id == Some(session.id),
        client_id: session.client_id.clone(),
        scopes: session.scopes.clone().unwrap_or_else(|| Scope::ALL.to_vec()),
        ip: session.ip.map(|ip| ip.to_string()),
        user_agent: session.user_agent.clone(),
        created_at: session.created_at.into(),
        last_seen_at: session.last_seen_at.into(),
        expires_at: session.expires_at.into(),
    }
}
