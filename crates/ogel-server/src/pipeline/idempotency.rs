//! `Idempotency-Key` on POST. The first request with a key does the work, later ones get its answer, those that come
//! meanwhile wait for it. Whoever does the work holds a lease: when its process dies, the next one does the work again.
//! What would then be there twice keeps its answer in the transaction that makes it ([`Made::answered`]).
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
    extract::{FromRequestParts, Request},
    http::{HeaderValue, Method, Response, StatusCode, header, request::Parts},
    response::IntoResponse as _,
};
use chrono::TimeDelta;
use ogel_api::error::{Error, ErrorCode};
use ogel_store::{Act, Begin, IdempotentUse, KeptAnswer, KeyHold};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use std::{convert::Infallible, sync::Arc, time::Duration};
use tokio::time::Instant;
use uuid::Uuid;

const HEADER: &str = "idempotency-key";
/// Between two looks at whether the request that holds the key has an answer.
const FIRST_LOOK: Duration = Duration::from_millis(20);
const LAST_LOOK: Duration = Duration::from_millis(250);
/// Time to answer in, after waiting in vain.
const MARGIN: Duration = Duration::from_millis(500);
/// Answers larger than this are not recorded; no POST has one.
const LARGEST: usize = 1 << 20;

pub(super) async fn idempotent<F>(
    context: &RequestContext,
    request: Request,
    next: impl FnOnce(Request) -> F + Send + 'static,
) -> Response<Body>
where
    F: Future<Output = Response<Body>> + Send,
{
    let key = request.headers().get(HEADER).cloned();
    let (Some(key), &Method::POST, Some(caller)) = (key, request.method(), context.identity.caller()) else {
        return next(request).await;
    };
    match once(context, &key, caller, request, next).await {
        Ok(response) => response,
        Err(failure) => failure.into_response(),
    }
}

async fn once<F>(
    context: &RequestContext,
    key: &HeaderValue,
    caller: &Arc<Caller>,
    request: Request,
    next: impl FnOnce(Request) -> F + Send + 'static,
) -> Result<Response<Body>>
where
    F: Future<Output = Response<Body>> + Send,
{
    let valid = (1..=255).contains(&key.len()) && key.as_bytes().iter().all(|byte| (0x21..=0x7e).contains(byte));
    if !valid {
        let message = "`Idempotency-Key` takes 1 to 255 visible ASCII characters; a UUID will do";
        return Err(Failure::new(ErrorCode::InvalidValue, message));
    }
    let (parts, body) = request.into_parts();
    let bytes = read_body(body, context.body_limit).await?;
    let body_hash: [u8; 32] = Sha256::digest(&bytes).into();
    let scope = scope_hash(caller, parts.uri.path(), key.as_bytes());

    let (there, caller_there) = (context.clone(), caller.clone());
    let request = Request::from_parts(parts, Body::from(bytes));
    // One piece of work on the control plane: if the client goes away, the answer is still recorded for its retry.
    context
        .core
        .app
        .on_control(async move { run(&there, &caller_there, scope, body_hash, request, next).await })
        .await?
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

async fn run<F: Future<Output = Response<Body>>>(
    asked: &RequestContext,
    caller: &Caller,
    scope: [u8; 32],
    body_hash: [u8; 32],
    mut request: Request,
    next: impl FnOnce(Request) -> F,
) -> Result<Response<Body>> {
    let (app, context) = (&asked.core.app, answer_context(&scope));
    let hold = match take(app, &scope, &body_hash, asked.deadline - MARGIN).await? {
        Begin::Fresh(hold) => hold,
        Begin::Running { same_body: false, .. } | Begin::Done { same_body: false, .. } => {
            let message = "this `Idempotency-Key` was used with another body; use a fresh key";
            return Err(Failure::new(ErrorCode::IdempotencyKeyReused, message));
        }
        Begin::Running { .. } => {
            let message = "a request with this `Idempotency-Key` is still running; ask again in a moment";
            return Err(Error::new(ErrorCode::IdempotencyKeyInUse, message).retry_after(Duration::from_secs(1)).into());
        }
        Begin::Done { status, body, content_type, .. } => return replay(app, &context, status, &body, &content_type),
    };
    let key = Some(Key { scope, fence: hold.fence });
    request.extensions_mut().insert(Made { id: hold.made_id, again: hold.fence > 1, key });
    let response = renewing(app, &scope, hold, next(request)).await;
    // A refusal would be the same again; nothing was done that a retry could double. What broke may have been half done.
    if response.status().is_server_error() {
        app.store.release_idempotent(&scope, hold.fence, app.world.now()).await?;
        return Ok(response);
    }
    if response.extensions().get::<Arc<Error>>().is_some() {
        app.store.forget_idempotent(&scope, hold.fence).await?;
        return Ok(response);
    }
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, LARGEST).await.map_err(Error::internal)?;
    let sealed = app.sealer.seal(&context, &bytes).map_err(Error::internal)?;
    let content_type =
        parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kept =
        app.store.finish_idempotent(&scope, hold.fence, parts.status.as_u16(), sealed.as_bytes(), content_type).await;
    if let Err(error) = kept {
        // Whoever comes again finds what was made, and need not wait for the lease to end.
        app.store.release_idempotent(&scope, hold.fence, app.world.now()).await?;
        return Err(error.into());
    }
    tracing::debug!(user.id = %caller.user.id, "answer recorded under its idempotency key");
    Ok(Response::from_parts(parts, Body::from(bytes)))
}

/// The key, or the answer of the request that has it. Waits for that one as long as this one's own deadline lets it: then
/// all who come with the key at once get the same answer, on whatever replica.
async fn take(app: &App, scope: &[u8; 32], body_hash: &[u8; 32], until: Instant) -> Result<Begin> {
    let mut pause = FIRST_LOOK;
    let made_id = app.world.uuid();
    loop {
        let now = app.world.now();
        let key = IdempotentUse {
            scope_hash: scope,
            body_hash,
            made_id,
            now,
            lease: lease(app),
            expires_at: now + TimeDelta::hours(24),
        };
        let begun = app.store.begin_idempotent(&key).await?;
        let Begin::Running { same_body: true, .. } = begun else { return Ok(begun) };
        // Reading costs less than trying to take it.
        loop {
            if Instant::now() + pause >= until {
                return Ok(begun);
            }
            tokio::time::sleep(pause).await;
            pause = LAST_LOOK.min(pause * 2);
            if !app.store.is_idempotent_running(scope, app.world.now()).await? {
                break;
            }
        }
    }
}

fn lease(app: &App) -> TimeDelta {
    TimeDelta::seconds(i64::try_from(app.config().work.lease_seconds.max(1)).unwrap_or(10))
}

/// Does the work, and keeps the key meanwhile.
async fn renewing<T>(app: &App, scope: &[u8; 32], hold: KeyHold, work: impl Future<Output = T>) -> T {
    tokio::pin!(work);
    loop {
        let lease = lease(app);
        tokio::select! {
            done = &mut work => return done,
            () = tokio::time::sleep(lease.to_std().unwrap_or_default() / 3) => {}
        }
        // Whoever took it over makes the same thing, so nothing is gained by stopping.
        if let Err(error) = app.store.renew_idempotent(scope, hold.fence, app.world.now() + lease).await {
            tracing::warn!(%error, "an idempotency key could not be kept");
        }
    }
}

/// What this request makes. Its id is the key's, so that a request repeated after any failure finds what the first one
/// made; a fresh one without a key.
#[derive(Clone, Copy)]
pub(crate) struct Made {
    pub(crate) id: Uuid,
    /// Whether it may be there already.
    pub(crate) again: bool,
    key: Option<Key>,
}

/// The key, as this request holds it.
#[derive(Clone, Copy)]
struct Key {
    scope: [u8; 32],
    fence: i64,
}

impl Made {
    pub(crate) fn without_key(app: &App) -> Self {
        Self { id: app.world.uuid(), again: false, key: None }
    }

    /// Has the answer to this request kept by `act` itself: a crash afterwards does not lose it, a crash before has made
    /// nothing, and of two who believe to hold the key one does it.
    pub(crate) fn answered(&self, app: &App, act: Act, status: StatusCode, answer: &impl Serialize) -> Result<Act> {
        let Some(Key { scope, fence }) = self.key else { return Ok(act) };
        let body = serde_json::to_vec(answer).map_err(Error::internal)?;
        let body = app.sealer.seal(&answer_context(&scope), &body).map_err(Error::internal)?.into_bytes();
        let kept =
            KeptAnswer { scope_hash: scope, fence, status: status.as_u16(), body, content_type: "application/json" };
        Ok(Act { answer: Some(kept), ..act })
    }
}

impl FromRequestParts<RequestContext> for Made {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, context: &RequestContext) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Self>().copied().unwrap_or_else(|| Self::without_key(&context.core.app)))
    }
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
