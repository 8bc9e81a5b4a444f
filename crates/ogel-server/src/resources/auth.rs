//! Accounts, logins and API keys.

mod attempts;
pub(crate) mod cookie;
mod device;
pub(crate) mod device_page;
mod keys;
pub(crate) mod oauth;
pub(crate) mod sessions;

use super::shared::{self, Paged};
use crate::{
    caller::{Allowed, Caller, scope},
    error::{Failure, Result},
    extract::{Json, NoParameters, Path, Query, invalid_field},
    pipeline::{Made, RequestContext},
    router::{Routes, routes},
    secrets,
    state::App,
    uses::session_lasts,
};
use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use ogel_api::{
    auth::{
        ApiKey, ApiKeyCreated, ApiKeyList, CurrentSession, LoggedIn, Login, NewApiKey, Scope, SessionKind,
        SessionToken, Signup,
    },
    error::{Error, ErrorCode},
    id::{ApiKeyId, OrganizationId, SessionId, UserId},
    organizations::Plan,
};
use ogel_store::{Act, Actor, Organization, Refusal, Session, StoreError, User};

/// No password is longer; hashing more would only cost.
const LONGEST_PASSWORD: usize = 1024;

pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(signup))
        .routes(routes!(login))
        .routes(routes!(logout))
        .routes(routes!(get_session))
        .routes(routes!(create_api_key, list_api_keys))
        .routes(routes!(get_api_key, delete_api_key))
        .merge(device::routes())
        .merge(keys::routes())
        .merge(oauth::routes())
        .merge(sessions::routes())
}

/// Makes an account, with an organization of its own, and logs it in.
#[utoipa::path(post, path = "/auth/signup", operation_id = "signup", tag = "auth", request_body = Signup,
    responses((status = 201, body = LoggedIn)))]
async fn signup(
    State(app): State<App>,
    context: RequestContext,
    headers: HeaderMap,
    Json(body): Json<Signup>,
) -> Result<impl IntoResponse> {
    if !app.config().auth.open_signup {
        return Err(Failure::new(
            ErrorCode::Forbidden,
            "this server does not take new accounts; ask its operators for one",
        ));
    }
    let act = |user| context.act(&app.world, Actor::User(user));
    let user = create_account(&app, act, &body, Plan::Free).await?.0;
    let (cookie, session) = start_session(&app, user.id, &context, &headers).await?;
    Ok((StatusCode::CREATED, [(header::SET_COOKIE, cookie)], Json(LoggedIn { user: wire_user(&user), session })))
}

/// The account and its organization. Also how `ogeld dev` makes its first one.
pub(crate) async fn create_account(
    app: &App,
    act: impl FnOnce(UserId) -> Act,
    body: &Signup,
    plan: Plan,
) -> Result<(User, Organization)> {
    let email = email(&body.email)?;
    let name = shared::name(&body.name)?;
    check_password("password", &body.password)?;
    let hash = app.passwords.hash(body.password.clone(), &app.world.entropy).await?;
    let now = app.world.now();
    let id = app.world.uuid();
    let user = User {
        id: UserId(id),
        email,
        name: name.clone(),
        password_hash: Some(hash),
        created_at: now,
        updated_at: now,
        row_version: 1,
    };
    let organization = app.world.uuid();
    let mut organization = Organization {
        id: OrganizationId(organization),
        slug: shared::slug_of(&name, organization),
        name,
        plan,
        created_at: now,
        updated_at: now,
        row_version: 1,
        deleted_at: None,
    };
    let act = act(user.id);
    match app.store.sign_up(&act, &user, &organization, None).await {
        Err(StoreError::Unique { what: "organizations.slug" }) | Ok(Err(Refusal::SlugHeld)) => {
            organization.slug = shared::another_slug(&organization.slug, organization.id.0);
            app.store.sign_up(&act, &user, &organization, None).await?
        }
        other => other?,
    }
    .map_err(|refusal| shared::refused(refusal, "organization", organization.id))?;
    Ok((user, organization))
}

/// 8 to 256 characters.
fn check_password(field: &str, password: &str) -> Result<()> {
    if (8..=256).contains(&password.chars().count()) {
        return Ok(());
    }
    let message = format!("`{field}` must have 8 to 256 characters");
    let fix = Some("a few words make a good one");
    Err(invalid_field(ErrorCode::InvalidValue, &format!("body.{field}"), &message, fix))
}

/// Logs in. The answer is the same for a wrong password and an unknown e-mail, and takes as long.
#[utoipa::path(post, path = "/auth/login", operation_id = "login", tag = "auth", request_body = Login,
    responses((status = 200, body = LoggedIn)))]
async fn login(
    State(app): State<App>,
    context: RequestContext,
    headers: HeaderMap,
    Json(body): Json<Login>,
) -> Result<impl IntoResponse> {
    let user = user_with_password(&app, &body.email, body.password, &context).await?;
    let (cookie, session) = start_session(&app, user.id, &context, &headers).await?;
    Ok(([(header::SET_COOKIE, cookie)], Json(LoggedIn { user: wire_user(&user), session })))
}

/// Whose password this is. Errors: 401, the same for all that is wrong; 429 after too many tries.
async fn user_with_password(app: &App, given: &str, password: String, context: &RequestContext) -> Result<User> {
    let wrong = || Failure::new(ErrorCode::InvalidLogin, "`email` or `password` is wrong");
    let Ok(email) = email(given) else { return Err(wrong()) };
    if password.len() > LONGEST_PASSWORD {
        return Err(wrong());
    }
    let attempt = attempts::Attempt::begin(app, &email, context.client).await?;
    let user = app.store.user_by_email(&email).await?;
    let hash = user.as_ref().and_then(|user| user.password_hash.clone());
    let verified = app.passwords.verify(password, hash).await?;
    let Some(user) = user.filter(|_| verified) else { return Err(wrong()) };
    attempt.was_right();
    Ok(user)
}

/// Ends the login that sent this; a session of Studio's stops working here, and its cookie stays.
#[utoipa::path(post, path = "/auth/logout", operation_id = "logout", tag = "auth",
    responses((status = 204, description = "Logged out")), security(("bearer" = [])))]
async fn logout(
    State(app): State<App>,
    context: RequestContext,
    headers: HeaderMap,
    caller: Allowed<scope::Any>,
    _: Query<NoParameters>,
) -> Result<impl IntoResponse> {
    end_own_login(&app, &context, &headers, &caller.caller).await
}

/// Ends the login that a request came with, whosever session it is.
pub(super) async fn end_own_login(
    app: &App,
    context: &RequestContext,
    headers: &HeaderMap,
    caller: &Caller,
) -> Result<Response> {
    let act = context.act(&app.world, caller.actor());
    if let Some(studio) = &caller.studio {
        // Studio's cookie is Studio's to remove: it just stops working here.
        crate::studio::end(app, &act, caller.user.id, studio).await?;
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let Some(session) = caller.session_id else {
        let message = "an API key is not a login; delete it with `DELETE auth/api-keys/{id}` instead";
        return Err(Failure::new(ErrorCode::Forbidden, message));
    };
    app.store.delete_session(&act, session, caller.user.id).await?;
    app.callers.forget(caller.user.id);
    app.bridge.drop_token(caller.user.id).await;
    let name = cookie::name(&app.config(), headers, context.peer.is_tls());
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie::set(name, "", 0))]).into_response())
}

/// Who is calling, how, and what they may do.
#[utoipa::path(get, path = "/auth/session", operation_id = "get_session", tag = "auth",
    responses((status = 200, body = CurrentSession)), security(("bearer" = [])))]
async fn get_session(
    State(app): State<App>,
    caller: Allowed<scope::Any>,
    _: Query<NoParameters>,
) -> Result<Json<CurrentSession>> {
    let Caller { user, method, scopes, viewer, session_id, session_kind, api_key_id, expires_at, .. } = &*caller.caller;
    let page = ogel_store::PageRequest { limit: ogel_api::page::MAX_LIMIT, after: None };
    let organizations = app.store.organizations(viewer, &page).await?;
    Ok(Json(CurrentSession {
        user: wire_user(user),
        method: *method,
        scopes: scopes.clone(),
        organizations: organizations.rows.iter().map(super::organizations::wire).collect(),
        session_id: *session_id,
        session_kind: *session_kind,
        api_key_id: *api_key_id,
        expires_at: expires_at.map(Into::into),
    }))
}

/// Makes an API key; its secret is in this answer only.
#[utoipa::path(post, path = "/auth/api-keys", operation_id = "create_api_key", tag = "auth", request_body = NewApiKey,
    responses((status = 201, body = ApiKeyCreated)), security(("bearer" = [])))]
async fn create_api_key(
    State(app): State<App>,
    caller: Allowed<scope::KeysWrite>,
    made: Made,
    Json(body): Json<NewApiKey>,
) -> Result<impl IntoResponse> {
    let act = |created: &_| made.answered(&app, caller.act(&app), StatusCode::CREATED, created);
    let created = new_api_key(&app, act, &caller.caller, &body).await?;
    Ok((StatusCode::CREATED, Json(created)))
}

/// Also how `ogeld dev` makes its first key. `act` is told what is about to be answered.
pub(crate) async fn new_api_key(
    app: &App,
    act: impl Fn(&ApiKeyCreated) -> Result<Act>,
    caller: &Caller,
    body: &NewApiKey,
) -> Result<ApiKeyCreated> {
    let name = shared::name(&body.name)?;
    let now = app.world.now();
    let unasked = || caller.scopes.iter().copied().filter(|scope| *scope != Scope::Admin).collect();
    let scopes = body.scopes.clone().unwrap_or_else(unasked);
    check_scopes(caller, &scopes)?;
    check_end(body.expires_at.map(Into::into), now)?;
    let mut organization_id = body.organization_id;
    if let Some(id) = body.project_id {
        let (project, _) =
            app.store.project(&caller.viewer, id).await?.ok_or_else(|| Error::not_found("project", id))?;
        if organization_id.is_some_and(|organization| organization != project.organization_id) {
            let message = format!("the project `{id}` does not belong to that organization");
            return Err(invalid_field(ErrorCode::InvalidValue, "body.organizationId", &message, Some("leave it out")));
        }
    } else if let Some(id) = organization_id {
        app.store.organization(&caller.viewer, id).await?.ok_or_else(|| Error::not_found("organization", id))?;
    }
    // A bound key makes keys bound in the same way.
    organization_id = organization_id.or(caller.viewer.organization);
    let project_id = body.project_id.or(caller.viewer.project);
    let secret = secrets::new_api_key(&app.world.entropy);
    let row = ogel_store::ApiKey {
        id: ApiKeyId(app.world.uuid()),
        user_id: caller.user.id,
        name,
        prefix: secrets::shown_prefix(&secret),
        secret_hash: secrets::token_hash(&secret),
        scopes,
        project_id,
        organization_id,
        created_at: now,
        expires_at: body.expires_at.map(Into::into),
        last_used_at: None,
        last_used_ip: None,
        old_secret_hash: None,
        old_secret_expires_at: None,
    };
    let created = ApiKeyCreated { api_key: wire_key(&row), secret };
    app.store.create_api_key(&act(&created)?, &row).await?;
    Ok(created)
}

/// Scopes that the caller may give: some, all of them known, none that they lack. A key must not be a way to more than
/// its maker has.
fn check_scopes(caller: &Caller, scopes: &[Scope]) -> Result<()> {
    if scopes.is_empty() || scopes.contains(&Scope::Unrecognized) {
        let known = Scope::ALL.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join("`, `");
        let message = format!("`scopes` takes one or more of `{known}`");
        let fix = Some("leave it out for all of yours");
        return Err(invalid_field(ErrorCode::InvalidValue, "body.scopes", &message, fix));
    }
    match scopes.iter().find(|scope| !caller.scopes.contains(scope)) {
        Some(missing) => Err(caller.lacks(*missing, "you cannot give what you do not have")),
        None => Ok(()),
    }
}

/// A key's end lies ahead.
fn check_end(at: Option<chrono::DateTime<chrono::Utc>>, now: chrono::DateTime<chrono::Utc>) -> Result<()> {
    if at.is_none_or(|at| at > now) {
        return Ok(());
    }
    let fix = Some("leave it out for a key without end");
    Err(invalid_field(ErrorCode::InvalidValue, "body.expiresAt", "`expiresAt` is in the past", fix))
}

/// The caller's API keys, newest first.
#[utoipa::path(get, path = "/auth/api-keys", operation_id = "list_api_keys", tag = "auth",
    params(("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = ApiKeyList)), security(("bearer" = [])))]
async fn list_api_keys(
    State(app): State<App>,
    caller: Allowed<scope::KeysRead>,
    Query(Paged(query)): Query<Paged>,
) -> Result<Json<ApiKeyList>> {
    // What this process has noted but not written yet belongs to the answer.
    app.uses.flush(&app).await?;
    let page = app.store.list_api_keys(&caller.caller.viewer, &query.request("")?).await?;
    let pagination = shared::pagination(&page, "");
    Ok(Json(ApiKeyList { api_keys: page.rows.iter().map(wire_key).collect(), pagination }))
}

/// One API key, without its secret.
#[utoipa::path(get, path = "/auth/api-keys/{id}", operation_id = "get_api_key", tag = "auth",
    params(("id" = ApiKeyId, Path)), responses((status = 200, body = ApiKey)), security(("bearer" = [])))]
async fn get_api_key(
    State(app): State<App>,
    caller: Allowed<scope::KeysRead>,
    Path(id): Path<ApiKeyId>,
    _: Query<NoParameters>,
) -> Result<Json<ApiKey>> {
    app.uses.flush(&app).await?;
    let key = app.store.api_key(&caller.caller.viewer, id).await?.ok_or_else(|| Error::not_found("API key", id))?;
    Ok(Json(wire_key(&key)))
}

/// Revokes an API key at once.
#[utoipa::path(delete, path = "/auth/api-keys/{id}", operation_id = "delete_api_key", tag = "auth",
    params(("id" = ApiKeyId, Path)), responses((status = 204, description = "Revoked")), security(("bearer" = [])))]
async fn delete_api_key(
    State(app): State<App>,
    caller: Allowed<scope::KeysWrite>,
    Path(id): Path<ApiKeyId>,
    _: Query<NoParameters>,
) -> Result<StatusCode> {
    if !app.store.delete_api_key(&caller.act(&app), &caller.caller.viewer, id).await? {
        return Err(Error::not_found("API key", id).into());
    }
    app.callers.forget(caller.caller.user.id);
    Ok(StatusCode::NO_CONTENT)
}

/// A new login: its row, its token, its cookie. The token is always a fresh one, and the login that the browser came
/// with ends: whoever planted or kept its cookie gets nothing from what follows.
async fn start_session(
    app: &App,
    user_id: UserId,
    context: &RequestContext,
    headers: &HeaderMap,
) -> Result<(HeaderValue, SessionToken)> {
    let token = secrets::new_session_token(&app.world.entropy);
    let now = app.world.now();
    let lasts = session_lasts(app);
    let session = Session {
        id: SessionId(app.world.uuid()),
        user_id,
        token_hash: secrets::token_hash(&token),
        kind: SessionKind::Browser,
        client_id: None,
        scopes: None,
        ip: Some(context.client),
        user_agent: user_agent(headers),
        created_at: now,
        expires_at: now + lasts,
        token_expires_at: None,
        last_seen_at: now,
    };
    app.store.create_session(&context.act(&app.world, Actor::User(user_id)), &session).await?;
    if context.by_cookie
        && let Some(before) = context.identity.caller()
        && let Some(id) = before.session_id
    {
        app.store.delete_session(&context.act(&app.world, before.actor()), id, before.user.id).await?;
        app.callers.forget(before.user.id);
    }
    let name = cookie::name(&app.config(), headers, context.peer.is_tls());
    let expires_at = session.expires_at.into();
    Ok((cookie::set(name, &token, lasts.num_seconds()), SessionToken { token, expires_at }))
}

/// What the program says it is, cut to what a list can show.
fn user_agent(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(header::USER_AGENT)?.to_str().ok()?;
    Some(text.chars().take(300).collect())
}

/// An e-mail address in lower case: one `@` with something on both sides, at most 254 characters.
pub(crate) fn email(given: &str) -> Result<String> {
    let email = given.trim().to_lowercase();
    let plausible = email.len() <= 254
        && !email.chars().any(|c| c.is_whitespace() || c.is_control())
        && email
            .split_once('@')
            .is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty() && !domain.contains('@'));
    if plausible {
        return Ok(email);
    }
    let message = "`email` must look like `name@example.com`";
    Err(invalid_field(ErrorCode::InvalidValue, "body.email", message, None))
}

pub(crate) fn wire_user(user: &User) -> ogel_api::users::User {
    ogel_api::users::User {
        id: user.id,
        email: user.email.clone(),
        name: user.name.clone(),
        created_at: user.created_at.into(),
        updated_at: user.updated_at.into(),
    }
}

pub(crate) fn wire_key(key: &ogel_store::ApiKey) -> ApiKey {
    ApiKey {
        id: key.id,
        name: key.name.clone(),
        prefix: key.prefix.clone(),
        scopes: key.scopes.clone(),
        project_id: key.project_id,
        organization_id: key.organization_id,
        created_at: key.created_at.into(),
        expires_at: key.expires_at.map(Into::into),
        last_used_at: key.last_used_at.map(Into::into),
        last_used_ip: key.last_used_ip.map(|ip| ip.to_string()),
        old_secret_expires_at: key.old_secret_expires_at.map(Into::into),
    }
}
