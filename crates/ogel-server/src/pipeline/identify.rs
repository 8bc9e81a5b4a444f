//! Step 6: who is calling. From memory when they called within the last second, else from the database.

use crate::{
    caller::{Caller, Identity},
    error::{Failure, Result},
    secrets::{self, API_KEY_PREFIX},
    state::App,
};
use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, Response, header},
    middleware::Next,
    response::IntoResponse as _,
};
use ogel_api::{
    auth::{AuthMethod, Scope},
    error::ErrorCode,
};
use ogel_store::Viewer;
use std::sync::Arc;

/// Marks a request whose credential came by cookie, which other sites' pages can send too.
#[derive(Clone, Copy)]
pub(crate) struct ByCookie;

const UNKNOWN: &str = "this credential is not known or was revoked; log in again, or make a new API key";
const EXPIRED: &str = "this credential has expired; log in again, or make a new API key";

pub(crate) async fn identify(State(app): State<App>, mut request: Request, next: Next) -> Response<Body> {
    let (resolved, by_cookie) = match credential(request.headers()) {
        None => (Ok(Identity::Anonymous), false),
        Some((token, by_cookie)) => (resolve(&app, token).await, by_cookie),
    };
    let identity = match resolved {
        Ok(identity) => identity,
        Err(failure) => return failure.into_response(),
    };
    if by_cookie {
        request.extensions_mut().insert(ByCookie);
    }
    request.extensions_mut().insert(identity);
    next.run(request).await
}

/// The token of `Authorization: Bearer`, or else of our cookie.
fn credential(headers: &HeaderMap) -> Option<(&str, bool)> {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        // A header that is there but makes no sense is a wrong credential, not none.
        let text = value.to_str().unwrap_or_default();
        let token = text.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        return Some((token.map_or("", |(_, token)| token.trim()), false));
    }
    let mut cookies =
        headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(';'));
    cookies.find_map(|cookie| {
        let (name, value) = cookie.trim().split_once('=')?;
        crate::resources::auth::COOKIE_NAMES.contains(&name).then_some((value, true))
    })
}

async fn resolve(app: &App, token: &str) -> Result<Identity> {
    if !secrets::is_well_formed(token) {
        return Ok(Identity::Refused(ErrorCode::InvalidCredential, UNKNOWN));
    }
    let hash = secrets::token_hash(token);
    let now = app.world.now();
    if let Some(caller) = app.callers.get(&hash)
        && caller.expires_at.is_none_or(|at| at > now)
    {
        return Ok(Identity::Known(caller));
    }
    let is_key = token.starts_with(API_KEY_PREFIX);
    let state = app.clone();
    let found = app.on_control(async move { look_up(&state, is_key, &hash).await }).await??;
    Ok(match found {
        None => Identity::Refused(ErrorCode::InvalidCredential, UNKNOWN),
        Some(caller) if caller.expires_at.is_some_and(|at| at <= now) => {
            Identity::Refused(ErrorCode::CredentialExpired, EXPIRED)
        }
        Some(caller) => {
            let caller = Arc::new(caller);
            app.callers.insert(hash, caller.clone());
            Identity::Known(caller)
        }
    })
}

/// Runs on the control plane. Also notes that the credential was used; no more than once a minute.
async fn look_up(app: &App, is_key: bool, hash: &[u8; 32]) -> Result<Option<Caller>, Failure> {
    let now = app.world.now();
    let stale =
        |last: Option<chrono::DateTime<chrono::Utc>>| last.is_none_or(|at| now - at >= chrono::TimeDelta::minutes(1));
    if is_key {
        let Some((key, user)) = app.store.api_key_by_secret(hash).await? else { return Ok(None) };
        let expired = key.expires_at.is_some_and(|at| at <= now);
        if !expired && stale(key.last_used_at) {
            app.store.touch_api_key(key.id, now).await?;
        }
        let viewer = Viewer { user: user.id, organization: key.organization_id, project: key.project_id };
        return Ok(Some(Caller {
            user,
            method: AuthMethod::ApiKey,
            scopes: key.scopes,
            viewer,
            session_id: None,
            api_key_id: Some(key.id),
            expires_at: key.expires_at,
        }));
    }
    let Some((session, user)) = app.store.session_by_token(hash).await? else { return Ok(None) };
    let mut expires_at = session.expires_at;
    if expires_at > now && stale(Some(session.last_seen_at)) {
        expires_at = now + chrono::TimeDelta::days(i64::try_from(app.config.auth.session_days).unwrap_or(30));
        app.store.touch_session(session.id, now, expires_at).await?;
    }
    let viewer = Viewer { user: user.id, organization: None, project: None };
    Ok(Some(Caller {
        user,
        method: AuthMethod::Session,
        scopes: Scope::ALL.to_vec(),
        viewer,
        session_id: Some(session.id),
        api_key_id: None,
        expires_at: Some(expires_at),
    }))
}
