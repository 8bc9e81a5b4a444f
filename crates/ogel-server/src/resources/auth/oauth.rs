//! Login on another device (RFC 8628), and the tokens that follow from it: issued, renewed (RFC 6749), exchanged for
//! a session of Studio's (RFC 8693), revoked (RFC 7009),
//! and asked about (RFC 7662).
//!
//! These operations speak as their RFCs do: forms or JSON come in, names have underscores, failures are
//! `{"error":"authorization_pending",…}`. Tokens are as opaque as every other session's.

use crate::{
    caller::{Allowed, scope},
    error::Failure,
    extract::{is_json, read_body},
    pipeline::RequestContext,
    router::{Routes, routes},
    secrets,
    state::App,
    studio::{self, Opened},
    uses::session_lasts,
};
use axum::{
    body::Body,
    extract::{FromRequest, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use chrono::TimeDelta;
use ogel_api::{
    auth::{
        DeviceCode, DeviceCodeRequest, IntrospectRequest, Introspection, OAuthError, RevokeRequest, Scope, SessionKind,
        Token, TokenRequest,
    },
    error::Error,
    id::SessionId,
};
use ogel_store::{Actor, DeviceLogin, DeviceStatus, NextTokens, Poll, Refreshed, Session, StoreError};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

/// Where the confirmation page is.
pub(crate) const DEVICE_PAGE: &str = "/device";
const EXCHANGE_GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const TOKEN_TYPES: [&str; 2] = ["urn:ietf:params:oauth:token-type:jwt", ACCESS_TOKEN];
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

pub(super) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(start_device_login))
        .routes(routes!(issue_token))
        .routes(routes!(revoke_token))
        .routes(routes!(introspect_token))
}

/// What goes wrong: in the RFCs' words, or in ours where they have none.
pub(super) enum OAuthFailure {
    Said(&'static str, &'static str),
    Ours(Failure),
}
use OAuthFailure::Said;

impl<E: Into<Failure>> From<E> for OAuthFailure {
    fn from(error: E) -> Self {
        Self::Ours(error.into())
    }
}

impl IntoResponse for OAuthFailure {
    fn into_response(self) -> Response {
        match self {
            Self::Ours(failure) => failure.into_response(),
            Self::Said(error, description) => {
                let body = OAuthError { error: error.to_owned(), error_description: description.to_owned() };
                secret(StatusCode::BAD_REQUEST, &body)
            }
        }
    }
}

/// JSON that nobody may keep.
fn secret(status: StatusCode, body: &impl serde::Serialize) -> Response {
    (status, [(header::CACHE_CONTROL, "no-store")], axum::Json(body)).into_response()
}

/// A form or a JSON object; each parameter once.
pub(super) struct Parameters<T>(T);

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for Parameters<T> {
    type Rejection = OAuthFailure;

    async fn from_request(request: Request<Body>, _: &S) -> Result<Self, OAuthFailure> {
        const LARGEST: usize = 16 << 10;
        let json = request.headers().get(header::CONTENT_TYPE).is_some_and(is_json);
        let bytes = read_body(request.into_body(), LARGEST).await?;
        let value = if json {
            serde_json::from_slice(&bytes).map_err(|_| Said("invalid_request", "the body is not a JSON object"))?
        } else {
            let mut fields = Map::new();
            for (name, value) in url::form_urlencoded::parse(&bytes) {
                if fields.insert(name.into_owned(), Value::String(value.into_owned())).is_some() {
                    return Err(Said("invalid_request", "a parameter stands twice; send each once"));
                }
            }
            Value::Object(fields)
        };
        let parameters = serde_json::from_value(value);
        parameters.map(Self).map_err(|_| Said("invalid_request", "a parameter is missing, or is no text"))
    }
}

/// How people and programs reach this server, without a path.
pub(crate) fn base_url(app: &App, context: &RequestContext, headers: &HeaderMap, uri: &Uri) -> String {
    let config = app.config();
    let public = config.server.public_url.trim_end_matches('/');
    if !public.is_empty() {
        return public.to_owned();
    }
    let host = headers.get(header::HOST).and_then(|value| value.to_str().ok());
    let host = host.or_else(|| uri.authority().map(http::uri::Authority::as_str)).unwrap_or_default();
    let scheme = if super::cookie::is_https(&config, headers, context.peer.is_tls()) { "https" } else { "http" };
    format!("{scheme}://{host}")
}

/// Begins a login that somebody confirms on another device.
#[utoipa::path(post, path = "/auth/device/code", operation_id = "start_device_login", tag = "auth",
    request_body(content((DeviceCodeRequest = "application/x-www-form-urlencoded"), (DeviceCodeRequest = "application/json"))),
    responses((status = 200, body = DeviceCode), (status = 400, body = OAuthError)))]
async fn start_device_login(
    State(app): State<App>,
    context: RequestContext,
    headers: HeaderMap,
    uri: Uri,
    Parameters(asked): Parameters<DeviceCodeRequest>,
) -> Result<Response, OAuthFailure> {
    let base = base_url(&app, &context, &headers, &uri);
    let client_id = client_id(asked.client_id)?;
    let scopes = match asked.scope.as_deref().map(str::trim) {
        None | Some("") => Scope::ALL.iter().copied().filter(|scope| *scope != Scope::Admin).collect(),
        Some(text) => {
            let scopes: Result<Vec<Scope>, _> = text.split_whitespace().map(str::parse).collect();
            scopes
                .map_err(|_| Said("invalid_scope", "one of the scopes does not exist; the documentation lists them"))?
        }
    };
    let (now, auth) = (app.world.now(), app.config().auth.clone());
    let seconds = |value: u64| i64::try_from(value.min(86_400)).unwrap_or(86_400);
    let lasts = seconds(auth.device_code_minutes.clamp(1, 60) * 60);
    let interval = seconds(auth.device_poll_seconds.clamp(1, 60));
    let device_code = secrets::new_device_code(&app.world.entropy);
    let mut login = DeviceLogin {
        id: app.world.uuid(),
        device_code_hash: secrets::token_hash(&device_code),
        user_code: secrets::new_user_code(&app.world.entropy),
        client_id,
        scopes,
        ip: Some(context.client),
        user_agent: super::user_agent(&headers),
        status: DeviceStatus::Pending,
        user_id: None,
        interval_seconds: interval,
        // The first question may come at once.
        next_poll_at: now,
        created_at: now,
        expires_at: now + TimeDelta::seconds(lasts),
    };
    let mut tries = 0;
    while let Err(error) = app.store.create_device_login(&login).await {
        match error {
            StoreError::Unique { what: "device_logins.user_code" } if tries < 5 => {
                login.user_code = secrets::new_user_code(&app.world.entropy);
                tries += 1;
            }
            error => return Err(error.into()),
        }
    }
    let user_code = shown(&login.user_code);
    let body = DeviceCode {
        device_code,
        verification_uri: format!("{base}{DEVICE_PAGE}"),
        verification_uri_complete: format!("{base}{DEVICE_PAGE}?user_code={user_code}"),
        user_code,
        expires_in: lasts.unsigned_abs(),
        interval: interval.unsigned_abs(),
    };
    Ok(secret(StatusCode::OK, &body))
}

/// A user code as people read it: `WDJB-MJHT`.
pub(super) fn shown(user_code: &str) -> String {
    match user_code.split_at_checked(4) {
        Some((one, two)) => format!("{one}-{two}"),
        None => user_code.to_owned(),
    }
}

fn client_id(given: Option<String>) -> Result<Option<String>, OAuthFailure> {
    match given.filter(|text| !text.is_empty()) {
        Some(text) if text.len() > 100 || !text.bytes().all(|byte| (0x20..=0x7e).contains(&byte)) => {
            Err(Said("invalid_request", "`client_id` takes up to 100 visible ASCII characters"))
        }
        other => Ok(other),
    }
}

/// Tokens for a confirmed login (`device_code`), or the next ones (`refresh_token`).
#[utoipa::path(post, path = "/auth/token", operation_id = "issue_token", tag = "auth",
    request_body(content((TokenRequest = "application/x-www-form-urlencoded"), (TokenRequest = "application/json"))),
    responses((status = 200, body = Token), (status = 400, body = OAuthError)))]
async fn issue_token(
    State(app): State<App>,
    context: RequestContext,
    headers: HeaderMap,
    Parameters(asked): Parameters<TokenRequest>,
) -> Result<Response, OAuthFailure> {
    let client = client_id(asked.client_id)?;
    match asked.grant_type.as_str() {
        DEVICE_GRANT | "device_code" => {
            let code = asked.device_code.ok_or(Said("invalid_request", "`device_code` is missing"))?;
            redeem(&app, &context, &headers, &code, client.as_deref()).await
        }
        "refresh_token" => {
            let token = asked.refresh_token.ok_or(Said("invalid_request", "`refresh_token` is missing"))?;
            refresh(&app, &context, &token, client.as_deref()).await
        }
        EXCHANGE_GRANT => {
            let token = asked.subject_token.ok_or(Said("invalid_request", "`subject_token` is missing"))?;
            if !asked.subject_token_type.is_some_and(|kind| TOKEN_TYPES.contains(&kind.as_str())) {
                return Err(Said(
                    "invalid_request",
                    "`subject_token_type` takes `urn:ietf:params:oauth:token-type:jwt`",
                ));
            }
            exchange(&app, &context, &headers, &token, client).await
        }
        _ => Err(Said(
            "unsupported_grant_type",
            "`grant_type` takes `urn:ietf:params:oauth:grant-type:device_code`, `refresh_token`, or `…:token-exchange`",
        )),
    }
}

async fn redeem(
    app: &App,
    context: &RequestContext,
    headers: &HeaderMap,
    code: &str,
    client: Option<&str>,
) -> Result<Response, OAuthFailure> {
    const UNKNOWN: OAuthFailure = Said("invalid_grant", "this `device_code` is not known, or was used; begin again");
    if !secrets::is_device_code(code) {
        return Err(UNKNOWN);
    }
    let now = app.world.now();
    let login = match app.store.poll_device_login(&secrets::token_hash(code), client, now).await? {
        Poll::Approved(login) => login,
        Poll::Unknown => return Err(UNKNOWN),
        Poll::Expired => return Err(Said("expired_token", "nobody confirmed the login in time; begin again")),
        Poll::Pending => return Err(Said("authorization_pending", "nobody has confirmed the login yet; ask again")),
        Poll::TooEarly => return Err(Said("slow_down", "you ask too often; wait five seconds longer from now on")),
        Poll::Denied => return Err(Said("access_denied", "the login was refused")),
    };
    let Some(user_id) = login.user_id else { return Err(Error::internal("approved by nobody").into()) };
    let next = Next::new(app);
    let session = Session {
        id: SessionId(app.world.uuid()),
        user_id,
        token_hash: next.hashes.token_hash,
        kind: SessionKind::Cli,
        client_id: login.client_id.clone(),
        scopes: Some(login.scopes.clone()),
        ip: Some(context.client),
        user_agent: super::user_agent(headers),
        created_at: now,
        expires_at: next.hashes.expires_at,
        token_expires_at: Some(next.hashes.token_expires_at),
        last_seen_at: now,
    };
    if !app
        .store
        .redeem_device_login(&context.act(&app.world, Actor::System), &login, &session, &next.hashes.refresh_hash)
        .await?
    {
        return Err(UNKNOWN);
    }
    Ok(next.answer(&session))
}

/// A token of ours for a session of Studio's, for programs that its cookie does not reach. It ends with that session at the
/// latest, and is not renewed: whoever needs another one shows that the session still holds.
async fn exchange(
    app: &App,
    context: &RequestContext,
    headers: &HeaderMap,
    token: &str,
    client_id: Option<String>,
) -> Result<Response, OAuthFailure> {
    const UNKNOWN: OAuthFailure = Said("invalid_grant", "this is no session of Studio's that holds here");
    let (now, opened) = {
        let settings = app.config();
        let Some(studio) = &settings.studio_auth else {
            return Err(Said(
                "unsupported_grant_type",
                "this server knows no sessions of Studio's (`studio_sessions`)",
            ));
        };
        let now = app.world.now();
        let opened = studio.open(&studio.handed_over(token), now).map_err(|_| UNKNOWN)?;
        (now, (opened, studio.unknown))
    };
    let caller = match opened {
        (Opened::Claims(claims), unknown) => studio::look_up(app, &claims, unknown).await?,
        (Opened::Row(token), unknown) => studio::look_up_row(app, &token, unknown).await?,
    };
    let caller = caller.filter(|caller| caller.expires_at.is_none_or(|at| at > now)).ok_or(UNKNOWN)?;
    let next = Next::new(app);
    let ends_at = caller.expires_at.into_iter().chain([next.hashes.token_expires_at]).min().unwrap_or(now);
    let session = Session {
        id: SessionId(app.world.uuid()),
        user_id: caller.user.id,
        token_hash: next.hashes.token_hash,
        kind: SessionKind::Cli,
        client_id,
        scopes: Some(Scope::ALL.iter().copied().filter(|scope| *scope != Scope::Admin).collect()),
        ip: Some(context.client),
        user_agent: super::user_agent(headers),
        created_at: now,
        expires_at: ends_at,
        token_expires_at: Some(ends_at),
        last_seen_at: now,
    };
    app.store.create_session(&context.act(&app.world, Actor::User(caller.user.id)), &session).await?;
    let body = Token {
        access_token: next.token,
        token_type: "Bearer".to_owned(),
        expires_in: (ends_at - now).num_seconds().unsigned_abs(),
        refresh_token: None,
        issued_token_type: Some(ACCESS_TOKEN.to_owned()),
        scope: words(session.scopes.as_deref().unwrap_or_default()),
    };
    Ok(secret(StatusCode::OK, &body))
}

async fn refresh(
    app: &App,
    context: &RequestContext,
    token: &str,
    client: Option<&str>,
) -> Result<Response, OAuthFailure> {
    const UNKNOWN: OAuthFailure =
        Said("invalid_grant", "this `refresh_token` is not known, was revoked, or was used; log in again");
    if !secrets::is_refresh_token(token) {
        return Err(UNKNOWN);
    }
    let (next, act) = (Next::new(app), context.act(&app.world, Actor::System));
    match app.store.refresh_session(&secrets::token_hash(token), client, &next.hashes, &act).await? {
        Refreshed::Done(session) => {
            // The token before is over.
            app.callers.forget(session.user_id);
            Ok(next.answer(&session))
        }
        Refreshed::Reused(session) => {
            tracing::warn!(session.id = %session, "a refresh token was used twice; the login has ended");
            app.callers.forget_all();
            Err(UNKNOWN)
        }
        Refreshed::Unknown | Refreshed::Expired => Err(UNKNOWN),
    }
}

/// A fresh pair of tokens.
struct Next {
    token: String,
    refresh: String,
    lasts: TimeDelta,
    hashes: NextTokens,
}

impl Next {
    fn new(app: &App) -> Self {
        let token = secrets::new_session_token(&app.world.entropy);
        let refresh = secrets::new_refresh_token(&app.world.entropy);
        let (now, minutes) = (app.world.now(), app.config().auth.access_token_minutes.clamp(1, 1440));
        let lasts = TimeDelta::minutes(i64::try_from(minutes).unwrap_or(60));
        let hashes = NextTokens {
            token_hash: secrets::token_hash(&token),
            token_expires_at: now + lasts,
            refresh_hash: secrets::token_hash(&refresh),
            expires_at: now + session_lasts(app),
        };
        Self { token, refresh, lasts, hashes }
    }

    fn answer(self, session: &Session) -> Response {
        let scopes = session.scopes.as_deref().unwrap_or(Scope::ALL);
        let scope = words(scopes);
        let body = Token {
            access_token: self.token,
            token_type: "Bearer".to_owned(),
            expires_in: self.lasts.num_seconds().unsigned_abs(),
            refresh_token: Some(self.refresh),
            issued_token_type: None,
            scope,
        };
        secret(StatusCode::OK, &body)
    }
}

fn words(scopes: &[Scope]) -> String {
    scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(" ")
}

/// Ends the login that a token belongs to. A token that nobody knows is ended already.
#[utoipa::path(post, path = "/auth/revoke", operation_id = "revoke_token", tag = "auth",
    request_body(content((RevokeRequest = "application/x-www-form-urlencoded"), (RevokeRequest = "application/json"))),
    responses((status = 200, description = "It works no longer"), (status = 400, body = OAuthError)))]
async fn revoke_token(
    State(app): State<App>,
    context: RequestContext,
    Parameters(asked): Parameters<RevokeRequest>,
) -> Result<StatusCode, OAuthFailure> {
    if asked.token.starts_with(secrets::API_KEY_PREFIX) {
        return Err(Said("unsupported_token_type", "an API key is deleted with `DELETE auth/api-keys/{id}`"));
    }
    if app.store.revoke_token(&context.act(&app.world, Actor::System), &secrets::token_hash(&asked.token)).await? {
        app.callers.forget_all();
    }
    Ok(StatusCode::OK)
}

/// Whether an access token or API key of the caller's own works, and for what. What is somebody else's is as inactive as what
/// nobody has.
#[utoipa::path(post, path = "/auth/introspect", operation_id = "introspect_token", tag = "auth",
    request_body(content((IntrospectRequest = "application/x-www-form-urlencoded"), (IntrospectRequest = "application/json"))),
    responses((status = 200, body = Introspection), (status = 400, body = OAuthError)), security(("bearer" = [])))]
async fn introspect_token(
    State(app): State<App>,
    caller: Allowed<scope::UsersRead>,
    Parameters(asked): Parameters<IntrospectRequest>,
) -> Result<Response, OAuthFailure> {
    let (hash, now) = (secrets::token_hash(&asked.token), app.world.now());
    let found = if asked.token.starts_with(secrets::API_KEY_PREFIX) {
        app.store.api_key_by_secret(&hash).await?.map(|(key, user)| {
            let grace = key.old_secret_expires_at.filter(|_| key.secret_hash != hash);
            (user, None, key.scopes, key.created_at, key.expires_at.into_iter().chain(grace).min())
        })
    } else {
        app.store.session_by_token(&hash).await?.map(|(session, user)| {
            let ends_at = session.token_expires_at.unwrap_or(session.expires_at).min(session.expires_at);
            let scopes = session.scopes.unwrap_or_else(|| Scope::ALL.to_vec());
            (user, session.client_id, scopes, session.created_at, Some(ends_at))
        })
    };
    let body = match found {
        Some((user, client_id, scopes, began_at, ends_at))
            if user.id == caller.caller.user.id && ends_at.is_none_or(|at| at > now) =>
        {
            Introspection {
                active: true,
                scope: Some(words(&scopes)),
                client_id,
                username: Some(user.email),
                token_type: Some("Bearer".to_owned()),
                exp: ends_at.map(|at| at.timestamp()),
                iat: Some(began_at.timestamp()),
                sub: Some(user.id.to_string()),
            }
        }
        _ => Introspection::default(),
    };
    Ok(secret(StatusCode::OK, &body))
}

/// `/.well-known/oauth-authorization-server` (RFC 8414): where programs find all of this.
pub(crate) async fn metadata(
    State(app): State<App>,
    context: RequestContext,
    headers: HeaderMap,
    uri: Uri,
) -> impl IntoResponse {
    let issuer = base_url(&app, &context, &headers, &uri);
    let api = format!("{issuer}{}", ogel_api::BASE_PATH);
    let body = json!({
        "issuer": issuer,
        "device_authorization_endpoint": format!("{api}/auth/device/code"),
        "token_endpoint": format!("{api}/auth/token"),
        "revocation_endpoint": format!("{api}/auth/revoke"),
        "introspection_endpoint": format!("{api}/auth/introspect"),
        "grant_types_supported": [DEVICE_GRANT, "refresh_token", EXCHANGE_GRANT],
        "response_types_supported": [],
        "token_endpoint_auth_methods_supported": ["none"],
        "revocation_endpoint_auth_methods_supported": ["none"],
        // With a token of the caller's, as for every other call.
        "introspection_endpoint_auth_methods_supported": ["bearer"],
        "scopes_supported": Scope::ALL.iter().map(|scope| scope.as_str()).collect::<Vec<_>>(),
    });
    ([(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))], axum::Json(body))
}
