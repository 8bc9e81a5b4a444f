//! What became of telling a webhook: its deliveries, a test, and once more.

use super::{Nothing, allowed};
use crate::{
    caller::{Allowed, scope},
    error::{Failure, Result},
    extract::{Json, MaybeJson, NoParameters, Path, PathPair, Query},
    hooks::dispatch,
    permissions::rule,
    resources::shared::{self, Paged},
    router::{Routes, routes},
    state::App,
    work,
};
use axum::{extract::State, http::StatusCode};
use ogel_api::{
    admin::Queue,
    error::{Error, ErrorCode},
    id::{EventId, WebhookDeliveryId, WebhookId},
    webhooks::{
        WebhookAttempt, WebhookDelivery, WebhookDeliveryDetail, WebhookDeliveryList, WebhookDeliveryStatus,
        WebhookEventType,
    },
};
use ogel_store::NewDelivery;
use serde_json::json;

pub(super) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(test_webhook))
        .routes(routes!(list_webhook_deliveries))
        .routes(routes!(get_webhook_delivery))
        .routes(routes!(redeliver_webhook_delivery))
}

fn wire(row: &ogel_store::WebhookDelivery) -> WebhookDelivery {
    let attempts = (1..).zip(&row.attempts).map(|(n, attempt)| WebhookAttempt {
        n,
        at: attempt.at.into(),
        duration_ms: attempt.duration_ms,
        status: attempt.status,
        error: attempt.error.clone(),
        response: attempt.response.clone(),
    });
    WebhookDelivery {
        id: row.id,
        webhook_id: row.webhook_id,
        event_id: row.event_id,
        kind: row.kind,
        status: row.status,
        attempts: attempts.collect(),
        next_attempt_at: row.next_attempt_at.map(Into::into),
        redelivery_of: row.redelivery_of,
        created_at: row.created_at.into(),
        completed_at: row.completed_at.map(Into::into),
    }
}

async fn found(app: &App, webhook: WebhookId, id: WebhookDeliveryId) -> Result<ogel_store::WebhookDelivery> {
    let row = app.store.webhook_delivery(webhook, id).await?;
    Ok(row.ok_or_else(|| Error::not_found("webhook delivery", id))?)
}

/// Queues one delivery by itself, and shows it as it begins.
async fn queue(app: &App, webhook: &ogel_store::Webhook, new: NewDelivery) -> Result<Json<WebhookDelivery>> {
    if !webhook.is_enabled {
        let message = "the webhook is switched off; `PATCH` it with `enabled` true first";
        return Err(Failure::new(ErrorCode::Conflict, message));
    }
    app.store.create_webhook_delivery(&new).await?;
    work::notice(app, Queue::Webhooks);
    Ok(Json(WebhookDelivery {
        id: new.id,
        webhook_id: new.webhook_id,
        event_id: new.event_id,
        kind: new.kind,
        status: WebhookDeliveryStatus::Pending,
        attempts: Vec::new(),
        next_attempt_at: Some(new.created_at.into()),
        redelivery_of: new.redelivery_of,
        created_at: new.created_at.into(),
        completed_at: None,
    }))
}

/// Posts an event of the type `webhook.test`. Takes the role admin. The delivery says what became of it.
#[utoipa::path(post, path = "/webhooks/{id}/test", operation_id = "test_webhook", tag = "webhooks",
    params(("id" = WebhookId, Path)), responses((status = 202, body = WebhookDelivery)), security(("bearer" = [])))]
async fn test_webhook(
    State(app): State<App>,
    caller: Allowed<scope::WebhooksWrite>,
    Path(id): Path<WebhookId>,
    _: Query<NoParameters>,
    _: MaybeJson<Nothing>,
) -> Result<(StatusCode, Json<WebhookDelivery>)> {
    let webhook = allowed(&app, &caller.caller.viewer, id, rule::TEST_WEBHOOK).await?;
    let now = app.world.now();
    let kind = WebhookEventType::WebhookTest;
    let data = json!({ "webhookId": id, "projectId": webhook.project_id }).to_string();
    let new = NewDelivery {
        id: WebhookDeliveryId(app.world.uuid()),
        webhook_id: id,
        event_id: EventId(app.world.uuid()),
        kind,
        payload: dispatch::payload(kind, now, &data),
        redelivery_of: None,
        created_at: now,
    };
    Ok((StatusCode::ACCEPTED, queue(&app, &webhook, new).await?))
}

/// What a webhook was told, newest first, with every attempt. Takes the role developer.
#[utoipa::path(get, path = "/webhooks/{id}/deliveries", operation_id = "list_webhook_deliveries", tag = "webhooks",
    params(("id" = WebhookId, Path), ("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = WebhookDeliveryList)), security(("bearer" = [])))]
async fn list_webhook_deliveries(
    State(app): State<App>,
    caller: Allowed<scope::WebhooksRead>,
    Path(id): Path<WebhookId>,
    Query(Paged(query)): Query<Paged>,
) -> Result<Json<WebhookDeliveryList>> {
    allowed(&app, &caller.caller.viewer, id, rule::LIST_WEBHOOK_DELIVERIES).await?;
    let filters = id.to_string();
    let page = app.store.webhook_deliveries(id, &query.request(&filters)?).await?;
    let pagination = shared::pagination(&page, &filters);
    Ok(Json(WebhookDeliveryList { deliveries: page.rows.iter().map(wire).collect(), pagination }))
}

/// One delivery, with what is posted. Takes the role developer.
#[utoipa::path(get, path = "/webhooks/{id}/deliveries/{delivery}", operation_id = "get_webhook_delivery", tag = "webhooks",
    params(("id" = WebhookId, Path), ("delivery" = WebhookDeliveryId, Path)),
    responses((status = 200, body = WebhookDeliveryDetail)), security(("bearer" = [])))]
async fn get_webhook_delivery(
    State(app): State<App>,
    caller: Allowed<scope::WebhooksRead>,
    PathPair(id, delivery): PathPair<WebhookId, WebhookDeliveryId>,
    _: Query<NoParameters>,
) -> Result<Json<WebhookDeliveryDetail>> {
    allowed(&app, &caller.caller.viewer, id, rule::GET_WEBHOOK_DELIVERY).await?;
    let row = found(&app, id, delivery).await?;
    Ok(Json(WebhookDeliveryDetail { delivery: wire(&row), payload: row.payload }))
}

/// Posts the same event once more, under the same event id, as a delivery of its own. Takes the role admin.
#[utoipa::path(post, path = "/webhooks/{id}/deliveries/{delivery}/redeliver", operation_id = "redeliver_webhook_delivery",
    tag = "webhooks", params(("id" = WebhookId, Path), ("delivery" = WebhookDeliveryId, Path)),
    responses((status = 202, body = WebhookDelivery)), security(("bearer" = [])))]
async fn redeliver_webhook_delivery(
    State(app): State<App>,
    caller: Allowed<scope::WebhooksWrite>,
    PathPair(id, delivery): PathPair<WebhookId, WebhookDeliveryId>,
    _: Query<NoParameters>,
    _: MaybeJson<Nothing>,
) -> Result<(StatusCode, Json<WebhookDelivery>)> {
    let webhook = allowed(&app, &caller.caller.viewer, id, rule::REDELIVER_WEBHOOK_DELIVERY).await?;
    let row = found(&app, id, delivery).await?;
    let new = NewDelivery {
        id: WebhookDeliveryId(app.world.uuid()),
        webhook_id: id,
        event_id: row.event_id,
        kind: row.kind,
        payload: row.payload,
        redelivery_of: Some(row.id),
        created_at: app.world.now(),
    };
    Ok((StatusCode::ACCEPTED, queue(&app, &webhook, new).await?))
}
