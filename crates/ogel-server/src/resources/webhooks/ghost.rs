//! Ghost's events. Whoever has the shared secret may send them, and nobody else may anything with them: an event is a
//! hint to look at Ghost again, so lost, doubled, old and reordered ones change nothing but when we look.

use crate::{
    error::{Failure, Result},
    extract::{Json, NoParameters, Query, read_body},
    hooks::{
        Received,
        signature::{self, Refused},
    },
    responses::{self, SITES_AND_DOMAINS},
    router::{Routes, routes},
    state::App,
    tracker,
};
use axum::{
    extract::{Request, State},
    http::HeaderMap,
};
use chrono::{DateTime, TimeDelta, Utc};
use ogel_api::{
    error::ErrorCode,
    webhooks::{GhostEventOutcome, GhostEventReceipt},
};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use std::time::Duration;

/// Events are some hundred bytes.
const LARGEST: usize = 64 << 10;
/// How long an event's id is remembered. After that its copy is looked at like a new one, which changes nothing either.
const REMEMBERED: TimeDelta = TimeDelta::days(7);
/// How long one event may wait for Ghost; it gives up on us after ten seconds.
const PATIENCE: Duration = Duration::from_secs(8);

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(receive_ghost_event))
}

/// What Ghost says, as far as it is used: what became of the deployment is asked, not believed.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    deployment_id: Option<String>,
    #[serde(default)]
    timestamp: Option<DateTime<Utc>>,
}

/// Takes an event of the deployment backend. Needs no login but its signature, in one of two forms:
/// `X-Appwrite-Webhook-Signature`, or the headers of Standard Webhooks. 200 once what it brings is kept.
#[utoipa::path(post, path = "/webhooks/ghost", operation_id = "receive_ghost_event", tag = "webhooks",
    request_body(content = String, content_type = "application/json", description = "At most 64 KiB"),
    responses((status = 200, body = GhostEventReceipt)), security(()))]
async fn receive_ghost_event(
    State(app): State<App>,
    _: Query<NoParameters>,
    request: Request,
) -> Result<Json<GhostEventReceipt>> {
    let (parts, body) = request.into_parts();
    let body = read_body(body, LARGEST).await?;
    let event = match authentic(&app, &parts.headers, &body) {
        Ok(event) => event,
        Err(failure) => {
            app.hooks.count_received(Received::Refused);
            return Err(failure);
        }
    };
    let Some((event, id)) = event else {
        app.hooks.count_received(Received::UnknownType);
        return Ok(receipt(Received::UnknownType));
    };
    let received = take(&app, &event, &id).await;
    app.hooks.count_received(*received.as_ref().unwrap_or(&Received::Failed));
    Ok(receipt(received?))
}

fn receipt(received: Received) -> Json<GhostEventReceipt> {
    let outcome = match received {
        Received::Applied => GhostEventOutcome::Applied,
        Received::Duplicate => GhostEventOutcome::Duplicate,
        _ => GhostEventOutcome::Ignored,
    };
    Json(GhostEventReceipt { outcome })
}

/// The event and how it is remembered; none for what is signed but has another form.
fn authentic(app: &App, headers: &HeaderMap, body: &[u8]) -> Result<Option<(Event, [u8; 32])>> {
    let config = app.config();
    let secrets: Vec<&str> = [&config.ghost.webhook_secret, &config.ghost.webhook_other_secret]
        .into_iter()
        .filter(|secret| !secret.is_empty())
        .map(|secret| secret.expose())
        .collect();
    let now = app.world.now();
    let refuse = |why: &str| Failure::new(ErrorCode::InvalidSignature, why.to_owned());
    let signed = signature::check(headers, body, &secrets, &config.ghost_webhook_url(), now).map_err(|refused| {
        refuse(match refused {
            Refused::Unsigned => {
                "the webhook is not signed; send `webhook-signature` or `X-Appwrite-Webhook-Signature`"
            }
            Refused::Mismatch => "the signature was not made with `ghost.webhook_secret` for `ghost.webhook_url`",
            Refused::Stale => "the webhook was signed more than five minutes ago, or a clock is wrong",
        })
    })?;
    let Ok(event) = serde_json::from_slice::<Event>(body) else { return Ok(None) };
    // The older form has no time of its own, but what it signs may hold one.
    if !signed.timed && event.timestamp.is_some_and(|at| !signature::is_near(at, now)) {
        return Err(refuse("the webhook was made more than five minutes ago, or a clock is wrong"));
    }
    // Only what was signed: headers beside it could be changed to make a copy look new.
    let id_hash = match event.id.as_deref().or(signed.id.as_deref()) {
        Some(id) => Sha256::new().chain_update(b"id ").chain_update(id).finalize(),
        None => Sha256::new().chain_update(b"body ").chain_update(body).finalize(),
    };
    Ok(Some((event, id_hash.into())))
}

/// Looks at Ghost again where that may bring something, and then notes the event: one that fails may come again.
async fn take(app: &App, event: &Event, id_hash: &[u8; 32]) -> Result<Received> {
    if app.store.knows_ghost_event(id_hash).await? {
        return Ok(Received::Duplicate);
    }
    let known = matches!(&*event.kind, "deployment.created" | "deployment.updated" | "build.completed");
    let row = match &event.deployment_id {
        Some(id) if known => app.store.deployment_at_ghost(id).await?,
        _ => None,
    };
    let received = match row {
        Some(row) if !row.status.is_terminal() => {
            let project = row.project_id;
            let looked = tokio::time::timeout(PATIENCE, tracker::look(app, row)).await;
            looked.map_err(|_| {
                Failure::new(ErrorCode::UpstreamTimeout, "the deployment backend did not answer about its own event")
            })??;
            // What the project shows may have changed with it.
            responses::changed(app, project, SITES_AND_DOMAINS).await;
            Received::Applied
        }
        _ if !known => Received::UnknownType,
        _ => Received::Irrelevant,
    };
    let now = app.world.now();
    let first = app.store.note_ghost_event(id_hash, now, now + REMEMBERED).await?;
    Ok(if first { received } else { Received::Duplicate })
}
