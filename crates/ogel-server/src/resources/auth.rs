//! Accounts, logins and API keys.

use super::shared::{self, Paged};
use crate::{
    caller::{Allowed, Caller, scope},
    error::{Failure, Result},
    extract::{Json, NoParameters, Path, Query, invalid_field},
    secrets,
    state::App,
};
use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::IntoResponse,
};
use ogel_api::{
    auth::{
        ApiKey, ApiKeyCreated, ApiKeyList, CurrentSession, LoggedIn, Login, NewApiKey, Scope, SessionToken, Signup,
    },
    error::{Error, ErrorCode},
    id::{ApiKeyId, OrganizationId, SessionId, UserId},
    organizations::Plan,
};
use ogel_store::{Organization, Session, StoreError, User};
use utoipa_axum::{router::OpenApiRouter, routes};

/// Our cookie's name, with and without the prefix that ties it to one https host.
pub(crate) const COOKIE_NAMES: [&str; 2] = ["__Host-ogel_session", "ogel_session"];

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(signup))
        .routes(routes!(login))
        .routes(routes!(logout))
        .routes(routes!(get_session))
        .routes(routes!(create_api_key, list_api_keys))
        .routes(routes!(get_api_key, delete_api_key))
}

/// Makes an account, with an organization of its own, and logs it in.
#[utoipa::path(post, path = "/auth/signup", operation_id = "signup", tag = "auth", request_body = Signup,
    responses((status = 201, body = LoggedIn)))]
async fn signup(State(app): State<App>, headers: HeaderMap, Json(body): Json<Signup>) -> Result<impl IntoResponse> {
    if !app.config().auth.open_signup {
        return Err(Failure::new(
            ErrorCode::Forbidden,
            "this server does not take new accounts; ask its operators for one",
        ));
    }
    let user = create_account(&app, &body, Plan::Free).await?.0;
    let (cookie, session) = start_session(&app, user.id, &headers).await?;
    Ok((StatusCode::CREATED, [(header::SET_COOKIE, cookie)], Json(LoggedIn { user: wire_user(&user), session })))
}

/// The account and its organization. Also how `ogeld dev` makes its first one.
pub(crate) async fn create_account(app: &App, body: &Signup, plan: Plan) -> Result<(User, Organization)> {
    let email = email(&body.email)?;
    let name = shared::name(&body.name)?;
    if !(8..=256).contains(&body.password.chars().count()) {
        let message = "`password` must have 8 to 256 characters";
        return Err(invalid_field(
            ErrorCode::InvalidValue,
            "body.password",
            message,
            Some("a few words make a good one"),
        ));
    }
    let (password, entropy) = (body.password.clone(), app.world.entropy.clone());
    let _turn = login_turn(app).await?;
    let hash = app
        .blocking(move || secrets::hash_password(&password, &entropy))
        .await?
        .map_err(|error| Error::internal(error.to_string()))?;
    let now = app.world.now();
    let id = app.world.uuid();
    let user =
        User { id: UserId(id), email, name: name.clone(), password_hash: Some(hash), created_at: now, updated_at: now };
    let organization = app.world.uuid();
    let mut organization = Organization {
        id: OrganizationId(organization),
        slug: shared::slug_of(&name, organization),
        name,
        plan,
        created_at: now,
        updated_at: now,
    };
    match app.store.sign_up(&user, &organization, None).await {
        Err(StoreError::Unique { what: "organizations.slug" }) => {
            organization.slug = shared::another_slug(&organization.slug, organization.id.0);
            app.store.sign_up(&user, &organization, None).await?;
        }
        other => other?,
    }
    Ok((user, organization))
}

/// Logs in. The answer is the same for a wrong password and an unknown e-mail, and takes as long.
#[utoipa::path(post, path = "/auth/login", operation_id = "login", tag = "auth", request_body = Login,
    responses((status = 200, body = LoggedIn)))]
async fn login(State(app): State<App>, headers: HeaderMap, Json(body): Json<Login>) -> Result<impl IntoResponse> {
    let wrong = || Failure::new(ErrorCode::InvalidLogin, "`email` or `password` is wrong");
    let Ok(email) = email(&body.email) else { return Err(wrong()) };
    if body.password.len() > 1024 {
        return Err(wrong());
    }
    let _turn = login_turn(&app).await?;
    let user = app.store.user_by_email(&email).await?;
    let hash = user.as_ref().and_then(|user| user.password_hash.clone());
    let verified = app.blocking(move || secrets::verify_password(&body.password, hash.as_deref())).await?;
    let Some(user) = user.filter(|_| verified) else { return Err(wrong()) };
    let (cookie, session) = start_session(&app, user.id, &headers).await?;
    Ok(([(header::SET_COOKIE, cookie)], Json(LoggedIn { user: wire_user(&user), session })))
}

/// A place among the few password checks that run at a time; 503 rather than an endless queue.
async fn login_turn(app: &App) -> Result<tokio::sync::SemaphorePermit<'_>> {
    let wait = std::time::Duration::from_secs(5);
    match tokio::time::timeout(wait, app.logins.acquire()).await {
        Ok(Ok(permit)) => Ok(permit),
        _ => Err(Error::new(ErrorCode::Overloaded, "too many logins at once; try again in a moment")
            .retry_after(wait)
            .into()),
    }
}

/// Ends the login that sent this; a session of Studio's stops working here, and its cookie stays.
#[utoipa::path(post, path = "/auth/logout", operation_id = "logout", tag = "auth",
    responses((status = 204, description = "Logged out")), security(("bearer" = [])))]
async fn logout(
    State(app): State<App>,
    headers: HeaderMap,
    caller: Allowed<scope::Any>,
    _: Query<NoParameters>,
) -> Result<impl IntoResponse> {
    if let Some(studio) = &caller.caller.studio {
        // Studio's cookie is Studio's to remove: it just stops working here.
        let user = caller.caller.user.id;
        app.store.revoke_session(&studio.revocation_id, user, app.world.now(), studio.expires_at).await?;
        app.callers.forget(user);
        app.bridge.drop_token(caller.caller.user.id).await;
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let Some(session) = caller.caller.session_id else {
        let message = "an API key is not a login; delete it with `DELETE auth/api-keys/{id}` instead";
        return Err(Failure::new(ErrorCode::Forbidden, message));
    };
    app.store.delete_session(session, caller.caller.user.id).await?;
    app.callers.forget(caller.caller.user.id);
    app.bridge.drop_token(caller.caller.user.id).await;
    let [secure, plain] = COOKIE_NAMES;
    let name = if is_https(&app, &headers) { secure } else { plain };
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie(name, "", 0))]).into_response())
}

/// Who is calling, how, and what they may do.
#[utoipa::path(get, path = "/auth/session", operation_id = "get_session", tag = "auth",
    responses((status = 200, body = CurrentSession)), security(("bearer" = [])))]
async fn get_session(
    State(app): State<App>,
    caller: Allowed<scope::Any>,
    _: Query<NoParameters>,
) -> Result<Json<CurrentSession>> {
    let Caller { user, method, scopes, viewer, session_id, api_key_id, expires_at, .. } = &*caller.caller;
    let page = ogel_store::PageRequest { limit: ogel_api::page::MAX_LIMIT, after: None };
    let organizations = app.store.organizations(viewer, &page).await?;
    Ok(Json(CurrentSession {
        user: wire_user(user),
        method: *method,
        scopes: scopes.clone(),
        organizations: organizations.rows.iter().map(super::organizations::wire).collect(),
        session_id: *session_id,
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
    Json(body): Json<NewApiKey>,
) -> Result<impl IntoResponse> {
    let created = new_api_key(&app, &caller.caller, &body).await?;
    Ok((StatusCode::CREATED, Json(created)))
}

/// Also how `ogeld dev` makes its first key.
pub(crate) async fn new_api_key(app: &App, caller: &Caller, body: &NewApiKey) -> Result<ApiKeyCreated> {
    let name = shared::name(&body.name)?;
    let now = app.world.now();
    let unasked = || caller.scopes.iter().copied().filter(|scope| *scope != Scope::Admin).collect();
    let scopes = body.scopes.clone().unwrap_or_else(unasked);
    if scopes.is_empty() || scopes.contains(&Scope::Unrecognized) {
        let known = Scope::ALL.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join("`, `");
        let message = format!("`scopes` takes one or more of `{known}`");
        return Err(invalid_field(
            ErrorCode::InvalidValue,
            "body.scopes",
            &message,
            Some("leave it out for all of yours"),
        ));
    }
    // A key must not be a way to more than its maker has.
    if let Some(missing) = scopes.iter().find(|scope| !caller.scopes.contains(scope)) {
        return Err(Error::new(
            ErrorCode::MissingScope,
            format!("you cannot give the scope `{missing}`, which you do not have"),
        )
        .into());
    }
    if let Some(at) = body.expires_at
        && chrono::DateTime::from(at) <= now
    {
        let message = "`expiresAt` is in the past";
        return Err(invalid_field(
            ErrorCode::InvalidValue,
            "body.expiresAt",
            message,
            Some("leave it out for a key without end"),
        ));
    }
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
        prefix: secret.chars().take(secrets::API_KEY_PREFIX.len() + 6).collect(),
        secret_hash: secrets::token_hash(&secret),
        scopes,
        project_id,
        organization_id,
        created_at: now,
        expires_at: body.expires_at.map(Into::into),
        last_used_at: None,
    };
    app.store.create_api_key(&row).await?;
    Ok(ApiKeyCreated { api_key: wire_key(&row), secret })
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
    let page = app.store.list_api_keys(caller.caller.user.id, &query.request("")?).await?;
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
    let key = app.store.api_key(id, caller.caller.user.id).await?.ok_or_else(|| Error::not_found("API key", id))?;
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
    if !app.store.delete_api_key(id, caller.caller.user.id).await? {
        return Err(Error::not_found("API key", id).into());
    }
    app.callers.forget(caller.caller.user.id);
    Ok(StatusCode::NO_CONTENT)
}

/// A new login: its row, its token, its cookie.
async fn start_session(app: &App, user_id: UserId, headers: &HeaderMap) -> Result<(HeaderValue, SessionToken)> {
    let token = secrets::new_session_token(&app.world.entropy);
    let now = app.world.now();
    let days = i64::try_from(app.config().auth.session_days).unwrap_or(30);
    let expires_at = now + chrono::TimeDelta::days(days);
    let session = Session {
        id: SessionId(app.world.uuid()),
        user_id,
        token_hash: secrets::token_hash(&token),
        created_at: now,
        expires_at,
        last_seen_at: now,
    };
    app.store.create_session(&session).await?;
    let [secure, plain] = COOKIE_NAMES;
    let name = if is_https(app, headers) { secure } else { plain };
    Ok((cookie(name, &token, days * 86_400), SessionToken { token, expires_at: expires_at.into() }))
}

/// `__Host-` cookies exist on https only; everything but a loopback server is expected to be behind it.
fn is_https(app: &App, headers: &HeaderMap) -> bool {
    if !app.config().server.public_url.is_empty() {
        return app.config().server.public_url.starts_with("https://");
    }
    let host = headers.get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    !(host == "localhost" || host.ends_with(".localhost") || host == "[::1]" || host.starts_with("127."))
}

fn cookie(name: &str, value: &str, max_age_seconds: i64) -> HeaderValue {
    let secure = if name.starts_with("__Host-") { "; Secure" } else { "" };
    let text = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={max_age_seconds}{secure}");
    HeaderValue::from_str(&text).expect("names and tokens are plain ASCII")
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

fn wire_key(key: &ogel_store::ApiKey) -> ApiKey {
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
    }
}
