//! What a person decides about a login on another device: the rules, and the same as operations for Studio's own page.

use super::{attempts::Attempt, oauth::shown};
use crate::{
    caller::{Allowed, Caller, scope},
    error::{Failure, Result},
    extract::{Json, Query},
    router::{Routes, routes},
    secrets,
    state::App,
};
use axum::{extract::State, http::StatusCode};
use ogel_api::{
    auth::{AuthMethod, DeviceDecision, PendingDeviceLogin},
    error::{Error, ErrorCode},
};
use ogel_store::{DeviceLogin, DeviceStatus};

pub(super) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(get_device_login))
        .routes(routes!(approve_device_login))
        .routes(routes!(deny_device_login))
}

/// The login that waits under this code. Codes are short, so wrong ones are counted for each person.
pub(super) async fn find(app: &App, caller: &Caller, typed: &str) -> Result<DeviceLogin> {
    let attempt = Attempt::at_codes(app, caller.user.id).await?;
    let unknown = || {
        let message = "no device waits under this code; it may have expired, so look at what your device shows now";
        Failure::new(ErrorCode::NotFound, message)
    };
    let code = secrets::typed_user_code(typed).ok_or_else(unknown)?;
    let login = app.store.pending_device_login(&code, app.world.now()).await?.ok_or_else(unknown)?;
    attempt.was_right();
    Ok(login)
}

/// Nobody can let a device do what they may not do themselves; an API key lets nobody in.
pub(super) async fn decide(app: &App, caller: &Caller, typed: &str, decision: DeviceStatus) -> Result<()> {
    if caller.method == AuthMethod::ApiKey {
        return Err(Failure::new(ErrorCode::Forbidden, "an API key cannot decide this; log in as a person"));
    }
    let login = find(app, caller, typed).await?;
    if decision == DeviceStatus::Approved
        && let Some(missing) = login.scopes.iter().find(|scope| !caller.scopes.contains(scope))
    {
        return Err(caller.lacks(*missing, "you cannot give what you do not have"));
    }
    if !app.store.decide_device_login(login.id, caller.user.id, decision, app.world.now()).await? {
        let message = "this was decided already, or has expired; begin again on your device";
        return Err(Failure::new(ErrorCode::Conflict, message));
    }
    tracing::info!(user.id = %caller.user.id, decision = decision.as_str(), "a login on another device was decided");
    Ok(())
}

#[derive(Default)]
struct ByCode {
    user_code: Option<String>,
}

impl crate::extract::Parameters for ByCode {
    const KNOWN: &'static [&'static str] = &["userCode"];
    fn set(&mut self, _: &str, value: &str) -> std::result::Result<(), String> {
        self.user_code = Some(value.to_owned());
        Ok(())
    }
}

/// Who waits to be let in under a code, for a page that asks the person.
#[utoipa::path(get, path = "/auth/device", operation_id = "get_device_login", tag = "auth",
    params(("userCode" = String, Query)), responses((status = 200, body = PendingDeviceLogin)), security(("bearer" = [])))]
async fn get_device_login(
    State(app): State<App>,
    caller: Allowed<scope::Any>,
    Query(ByCode { user_code }): Query<ByCode>,
) -> Result<Json<PendingDeviceLogin>> {
    if caller.caller.method == AuthMethod::ApiKey {
        return Err(Failure::new(ErrorCode::Forbidden, "an API key cannot look at this; log in as a person"));
    }
    let code =
        user_code.ok_or_else(|| Error::new(ErrorCode::MissingField, "`userCode` is missing; add it to the query"))?;
    let login = find(&app, &caller.caller, &code).await?;
    Ok(Json(PendingDeviceLogin {
        user_code: shown(&login.user_code),
        client_id: login.client_id,
        scopes: login.scopes,
        ip: login.ip.map(|ip| ip.to_string()),
        user_agent: login.user_agent,
        created_at: login.created_at.into(),
        expires_at: login.expires_at.into(),
    }))
}

/// Lets the device in.
#[utoipa::path(post, path = "/auth/device/approve", operation_id = "approve_device_login", tag = "auth",
    request_body = DeviceDecision, responses((status = 204, description = "Let in")), security(("bearer" = [])))]
async fn approve_device_login(
    State(app): State<App>,
    caller: Allowed<scope::Any>,
    Json(body): Json<DeviceDecision>,
) -> Result<StatusCode> {
    decide(&app, &caller.caller, &body.user_code, DeviceStatus::Approved).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Refuses the device.
#[utoipa::path(post, path = "/auth/device/deny", operation_id = "deny_device_login", tag = "auth",
    request_body = DeviceDecision, responses((status = 204, description = "Refused")), security(("bearer" = [])))]
async fn deny_device_login(
    State(app): State<App>,
    caller: Allowed<scope::Any>,
    Json(body): Json<DeviceDecision>,
) -> Result<StatusCode> {
    decide(&app, &caller.caller, &body.user_code, DeviceStatus::Denied).await?;
    Ok(StatusCode::NO_CONTENT)
}
