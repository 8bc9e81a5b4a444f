//! `Idempotency-Key` on POST. The first request with a key does the work, later ones get its answer.
//!
//! A record belongs to one caller, method and path for 24 hours. The answer is kept sealed: it can hold a secret that
//! is shown once. Requests without a caller (sign-up, login) are not recorded: there is nobody the record could belong to.

use crate::{
    caller::Caller,
    error::{Failure, Result},
    extract::read_body,
    pipeline::RequestContext,
    state::App,
};
use axum::{
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderValue, Method, Response, StatusCode, header},
    middleware::Next,
    response::IntoResponse as _,
};
use ogel_api::error::{Error, ErrorCode};
use ogel_store::Begin;
use sha2::{Digest as _, Sha256};
use std::{sync::Arc, time::Duration};

const HEADER: &str = "idempotency-key";
/// Longer than any operation may take: a record still running after that was left behind by a process that died.
const LEASE_SECONDS: i64 = 120;
/// Answers larger than this are not recorded; no POST has one.
const LARGEST: usize = 1 << 20;

pub(crate) async fn idempotent(State(app): State<App>, request: Request, next: Next) -> Response<Body> {
    let key = request.headers().get(HEADER).cloned();
    let caller = request.extensions().get::<RequestContext>().and_then(|context| context.identity.caller().cloned());
    let (Some(key), &Method::POST, Some(caller)) = (key, request.method(), caller) else {
        return next.run(request).await;
    };
    match once(&app, &key, &caller, request, next).await {
        Ok(response) => response,
        Err(failure) => failure.into_response(),
    }
}

async fn once(
    app: &App,
    key: &HeaderValue,
    caller: &Arc<Caller>,
    request: Request,
    next: Next,
) -> Result<Response<Body>> {
    let valid = (1..=255).contains(&key.len()) && key.as_bytes().iter().all(|byte| (0x21..=0x7e).contains(byte));
    if !valid {
        let message = "`Idempotency-Key` takes 1 to 255 visible ASCII characters; a UUID will do";
        return Err(Failure::new(ErrorCode::InvalidValue, message));
    }
    let (parts, body) = request.into_parts();
    let limit = parts.extensions.get::<RequestContext>().map_or(LARGEST, |context| context.body_limit);
    let bytes = read_body(body, limit).await?;
    let body_hash: [u8; 32] = Sha256::digest(&bytes).into();
    let scope = scope_hash(caller, parts.uri.path(), key.as_bytes());

    let app_there = app.clone();
    let caller_there = caller.clone();
    let request = Request::from_parts(parts, Body::from(bytes));
    // One piece of work on the control plane: if the client goes away, the answer is still recorded for its retry.
    app.on_control(async move { run(&app_there, &caller_there, scope, body_hash, request, next).await }).await?
}

/// Of whom and what the record is. Two callers may choose the same key.
fn scope_hash(caller: &Caller, path: &str, key: &[u8]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in [caller.user.id.to_string().as_bytes(), b"POST", path.as_bytes(), key] {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

async fn run(
    app: &App,
    caller: &Caller,
    scope: [u8; 32],
    body_hash: [u8; 32],
    request: Request,
    next: Next,
) -> Result<Response<Body>> {
    let now = app.world.now();
    let context = answer_context(&scope);
    let reused = || {
        Failure::new(
            ErrorCode::IdempotencyKeyReused,
            "this `Idempotency-Key` was used with another body; use a fresh key",
        )
    };
    let lease = chrono::TimeDelta::seconds(LEASE_SECONDS);
    match app.store.begin_idempotent(&scope, &body_hash, now, now + chrono::TimeDelta::hours(24), lease).await? {
        Begin::Fresh => {}
        Begin::Running { same_body: false, .. } | Begin::Done { same_body: false, .. } => return Err(reused()),
        Begin::Running { .. } => {
            return Err(Error::new(
                ErrorCode::IdempotencyKeyInUse,
                "a request with this `Idempotency-Key` is still running; ask again in a moment",
            )
            .retry_after(Duration::from_secs(1))
            .into());
        }
        Begin::Done { status, body, content_type, .. } => return replay(app, &context, status, &body, &content_type),
    }
    let response = next.run(request).await;
    // Nothing was done that a retry could double: a refusal would be the same again, and what broke may work next time.
    if response.extensions().get::<Arc<Error>>().is_some() || response.status().is_server_error() {
        app.store.forget_idempotent(&scope).await?;
        return Ok(response);
    }
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, LARGEST).await.map_err(Error::internal)?;
    let sealed = app.sealer.seal(&context, &bytes).map_err(Error::internal)?;
    let content_type =
        parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    app.store.finish_idempotent(&scope, parts.status.as_u16(), sealed.as_bytes(), content_type).await?;
    tracing::debug!(user.id = %caller.user.id, "answer recorded under its idempotency key");
    Ok(Response::from_parts(parts, Body::from(bytes)))
}

fn replay(app: &App, context: &str, status: u16, sealed: &[u8], content_type: &str) -> Result<Response<Body>> {
    let sealed = std::str::from_utf8(sealed).map_err(Error::internal)?;
    let body = app.sealer.open(context, sealed).map_err(Error::internal)?;
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).map_err(Error::internal)?;
    let headers = response.headers_mut();
    headers.insert("idempotent-replayed", HeaderValue::from_static("true"));
    if let Ok(value) = HeaderValue::from_str(content_type)
        && !content_type.is_empty()
    {
        headers.insert(header::CONTENT_TYPE, value);
    }
    Ok(response)
}

/// What a kept answer is sealed as.
pub(crate) fn answer_context(scope: &[u8]) -> String {
    format!("idempotency {}", hex::encode(scope))
}
