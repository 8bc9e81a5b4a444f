//! Makes deliveries of what happened. Every replica looks; the store gives each event to one of them.

use crate::{state::App, work};
use ogel_api::{
    admin::Queue,
    id::{EventId, WebhookDeliveryId},
    time::Timestamp,
    webhooks::WebhookEventType,
};
use ogel_store::{NewDelivery, OutboxEvent, Webhook};
use serde::Serialize;
use serde_json::Value;
use std::time::Duration;
use uuid::Uuid;

/// How long after something happened it is looked for, at most.
const LOOK: Duration = Duration::from_millis(500);
/// Events taken with one transaction.
const BATCH: u32 = 100;

/// What is posted, as Standard Webhooks has it.
#[derive(Serialize)]
struct Payload {
    #[serde(rename = "type")]
    kind: WebhookEventType,
    timestamp: Timestamp,
    data: Value,
}

pub(crate) fn payload(kind: WebhookEventType, at: chrono::DateTime<chrono::Utc>, data: &str) -> String {
    // What is in the outbox was written as JSON; were it none, an event without data is better than none.
    let data = serde_json::from_str(data).unwrap_or_default();
    serde_json::to_string(&Payload { kind, timestamp: at.into(), data }).expect("a payload is plain values")
}

/// Until the process ends.
pub(crate) async fn run(app: &App) {
    loop {
        let pause = match dispatch(app).await {
            // There may be more.
            Ok(count) if count >= BATCH as usize => continue,
            Ok(_) => LOOK,
            Err(error) => {
                tracing::warn!(%error, "what happened could not be made known to webhooks; it will be");
                LOOK * 4
            }
        };
        // Replicas must not all look in the same moment.
        let pause = pause.mul_f64(0.75 + 0.25 * (app.world.entropy.next() % 1000) as f64 / 1000.0);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = app.shutdown.cancelled() => return,
        }
    }
}

async fn dispatch(app: &App) -> Result<usize, ogel_store::StoreError> {
    let now = app.world.now();
    // Every delivery of one event carries the event's id, by which receivers tell copies.
    let base = app.world.uuid().as_u128();
    let make = |event: &OutboxEvent, webhook: &Webhook| NewDelivery {
        id: WebhookDeliveryId(app.world.uuid()),
        webhook_id: webhook.id,
        event_id: EventId(Uuid::from_u128(base.wrapping_add(u128::from(event.seq.unsigned_abs())))),
        kind: event.kind,
        payload: payload(event.kind, event.created_at, &event.data),
        redelivery_of: None,
        created_at: now,
    };
    let count = app.store.dispatch_events(BATCH, make).await?;
    if count > 0 {
        work::notice(app, Queue::Webhooks);
    }
    Ok(count)
}
