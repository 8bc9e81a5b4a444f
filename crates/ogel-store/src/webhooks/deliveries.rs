//! What is to be told to whom, and what became of it. A webhook with something to tell is a job of the queue `webhooks`,
//! under the webhook's id: one replica at a time is at it, and a slow receiver holds up nobody's deliveries but its own.

use super::{Emission, EmissionScope, Webhook, outbox::emit};
use crate::{
    Page, PageRequest, Result, Store,
    pool::{on_read, on_write},
    words::{Column, row},
};
use chrono::{DateTime, Utc};
use ogel_api::{
    id::{EventId, WebhookDeliveryId, WebhookId},
    webhooks::{WebhookDeliveryStatus, WebhookDisabledReason, WebhookEventType},
};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// One try.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    pub at: DateTime<Utc>,
    pub duration_ms: u64,
    pub status: Option<u16>,
    pub error: Option<String>,
    pub response: Option<String>,
}

impl Column for Vec<Attempt> {
    type Raw = String;
    fn read(raw: String) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(serde_json::from_str(&raw)?)
    }
}

#[derive(Clone, PartialEq, Eq)]
pub struct WebhookDelivery {
    pub id: WebhookDeliveryId,
    pub webhook_id: WebhookId,
    pub event_id: EventId,
    pub kind: WebhookEventType,
    /// The bytes that are signed and posted.
    pub payload: String,
    pub status: WebhookDeliveryStatus,
    /// Oldest first.
    pub attempts: Vec<Attempt>,
    /// `None` once it has ended.
    pub next_attempt_at: Option<DateTime<Utc>>,
    pub redelivery_of: Option<WebhookDeliveryId>,
    pub created_at: DateTime<Utc>,
    pub completed_at: Option<DateTime<Utc>>,
}
row!(WebhookDelivery, delivery_columns of "webhook_deliveries" {
    id,
    webhook_id,
    event_id,
    kind,
    payload,
    status,
    attempts,
    next_attempt_at,
    redelivery_of,
    created_at,
    completed_at,
});

impl std::fmt::Debug for WebhookDelivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebhookDelivery").field("id", &self.id).field("status", &self.status).finish_non_exhaustive()
    }
}

/// One about to be tried.
#[derive(Clone)]
pub struct NewDelivery {
    pub id: WebhookDeliveryId,
    pub webhook_id: WebhookId,
    pub event_id: EventId,
    pub kind: WebhookEventType,
    pub payload: String,
    pub redelivery_of: Option<WebhookDeliveryId>,
    pub created_at: DateTime<Utc>,
}

/// How an attempt ended.
#[derive(Clone, Debug)]
pub struct Attempted {
    /// All there were, this one the last.
    pub attempts: Vec<Attempt>,
    pub verdict: Verdict,
    pub at: DateTime<Utc>,
}

/// What an attempt means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Succeeded,
    /// It is tried again then.
    Again(DateTime<Utc>),
    /// It was the last one. If the webhook is to be told nothing more, why.
    GivenUp(Option<WebhookDisabledReason>),
}

pub(super) const INSERT: &str = "INSERT INTO webhook_deliveries \
     (id, webhook_id, event_id, kind, payload, status, attempts, next_attempt_at, redelivery_of, created_at) \
     VALUES ($1, $2, $3, $4, $5, 'pending', '[]', $7, $6, $7)";
/// The webhook `$1` has something to tell at `$2`. Also while somebody is at it: they may have looked before.
pub(super) const WAKE: &str = "INSERT INTO work (queue, id, due_at, attempts, fence, created_at) VALUES ('webhooks', $1, $2, 0, 0, $2) \
     ON CONFLICT (queue, id) DO UPDATE SET hastened = TRUE, \
       due_at = CASE WHEN work.due_at < excluded.due_at THEN work.due_at ELSE excluded.due_at END";
/// The webhook `$1` is told nothing more.
pub(super) const END_ALL: &str = "UPDATE webhook_deliveries SET status = 'failed', next_attempt_at = NULL, completed_at = $2 \
     WHERE webhook_id = $1 AND status = 'pending'";

/// Writes a [`NewDelivery`] and wakes whoever delivers, in the transaction `$tx`.
macro_rules! add_delivery {
    ($tx:expr, $new:expr) => {{
        let new: &$crate::webhooks::NewDelivery = $new;
        sqlx::query($crate::webhooks::deliveries::INSERT)
            .bind(new.id.0)
            .bind(new.webhook_id.0)
            .bind(new.event_id.0)
            .bind(new.kind.as_str())
            .bind(&new.payload)
            .bind(new.redelivery_of.map(|id| id.0))
            .bind(new.created_at)
            .execute(&mut *$tx)
            .await?;
        sqlx::query($crate::webhooks::deliveries::WAKE)
            .bind(new.webhook_id.0)
            .bind(new.created_at)
            .execute(&mut *$tx)
            .await?;
    }};
}
pub(super) use add_delivery;

impl Store {
    /// Of a webhook whose reader may see it, by the caller's own look.
    pub async fn webhook_deliveries(&self, id: WebhookId, request: &PageRequest) -> Result<Page<WebhookDelivery>> {
        let rows = on_read!(self, db => sqlx::query_as(concat!(
            "SELECT ", delivery_columns!(), " FROM webhook_deliveries WHERE webhook_id = $1 AND (created_at, id) < ($2, $3) \
             ORDER BY created_at DESC, id DESC LIMIT $4"))
            .bind(id.0).bind(request.after_time()).bind(request.after_id()).bind(request.fetch())
            .fetch_all(db).await?);
        Ok(request.page(rows, |row: &WebhookDelivery| (row.created_at, row.id.0)))
    }

    /// As above.
    pub async fn webhook_delivery(&self, webhook: WebhookId, id: WebhookDeliveryId) -> Result<Option<WebhookDelivery>> {
        Ok(on_read!(self, db => sqlx::query_as(concat!(
            "SELECT ", delivery_columns!(), " FROM webhook_deliveries WHERE webhook_id = $1 AND id = $2"))
            .bind(webhook.0).bind(id.0).fetch_optional(db).await?))
    }

    /// One that somebody asked for.
    pub async fn create_webhook_delivery(&self, new: &NewDelivery) -> Result<()> {
        on_write!(self, db => {
            let mut tx = db.begin_with(BEGIN).await?;
            add_delivery!(tx, new);
            tx.commit().await?;
        });
        Ok(())
    }

    /// What is due of a webhook's, those that wait longest first.
    pub async fn due_webhook_deliveries(
        &self,
        webhook: WebhookId,
        now: DateTime<Utc>,
        limit: u32,
    ) -> Result<Vec<WebhookDelivery>> {
        Ok(on_read!(self, db => sqlx::query_as(concat!(
            "SELECT ", delivery_columns!(), " FROM webhook_deliveries WHERE webhook_id = $1 AND next_attempt_at <= $2 \
             ORDER BY next_attempt_at, id LIMIT $3"))
            .bind(webhook.0).bind(now).bind(i64::from(limit)).fetch_all(db).await?))
    }

    /// When the webhook has the next thing to tell.
    pub async fn next_webhook_attempt(&self, webhook: WebhookId) -> Result<Option<DateTime<Utc>>> {
        Ok(on_read!(self, db => sqlx::query_scalar(
            "SELECT MIN(next_attempt_at) FROM webhook_deliveries WHERE webhook_id = $1 AND next_attempt_at IS NOT NULL")
            .bind(webhook.0).fetch_one(db).await?))
    }

    /// Writes down how an attempt ended, and what that means for its webhook. One that ended meanwhile stays as it ended.
    pub async fn record_webhook_attempt(
        &self,
        webhook: &Webhook,
        delivery: WebhookDeliveryId,
        attempted: &Attempted,
    ) -> Result<()> {
        let attempts = serde_json::to_string(&attempted.attempts).expect("attempts are plain values");
        let (status, next) = match attempted.verdict {
            Verdict::Succeeded => (WebhookDeliveryStatus::Succeeded, None),
            Verdict::Again(at) => (WebhookDeliveryStatus::Pending, Some(at)),
            Verdict::GivenUp(_) => (WebhookDeliveryStatus::Failed, None),
        };
        let completed_at = next.is_none().then_some(attempted.at);
        on_write!(self, db => {
            let mut tx = db.begin_with(BEGIN).await?;
            sqlx::query(
                "UPDATE webhook_deliveries SET attempts = $2, status = $3, next_attempt_at = $4, completed_at = $5 \
                 WHERE id = $1 AND status = 'pending'")
                .bind(delivery.0).bind(&attempts).bind(status.as_str()).bind(next).bind(completed_at)
                .execute(&mut *tx).await?;
            if attempted.verdict == Verdict::Succeeded {
                sqlx::query("UPDATE webhooks SET failing_since = NULL WHERE id = $1 AND failing_since IS NOT NULL")
                    .bind(webhook.id.0).execute(&mut *tx).await?;
            } else {
                sqlx::query("UPDATE webhooks SET failing_since = $2 WHERE id = $1 AND failing_since IS NULL")
                    .bind(webhook.id.0).bind(attempted.at).execute(&mut *tx).await?;
            }
            if let Verdict::GivenUp(Some(reason)) = attempted.verdict {
                let disabled = sqlx::query(
                    "UPDATE webhooks SET is_enabled = FALSE, disabled_reason = $2, updated_at = $3, row_version = row_version + 1 \
                     WHERE id = $1 AND is_enabled")
                    .bind(webhook.id.0).bind(reason.as_str()).bind(attempted.at).execute(&mut *tx).await?.rows_affected();
                if disabled > 0 {
                    sqlx::query(END_ALL).bind(webhook.id.0).bind(attempted.at).execute(&mut *tx).await?;
                    let scope = webhook.project_id
                        .map_or(EmissionScope::Organization(webhook.organization_id), EmissionScope::Project);
                    let data = json!({ "webhookId": webhook.id, "projectId": webhook.project_id, "reason": reason });
                    let kind = WebhookEventType::WebhookDisabled;
                    emit!(tx, &Emission { scope, kind, data, at: attempted.at });
                }
            }
            tx.commit().await?;
        });
        Ok(())
    }

    /// Removes at most `limit` that ended before then; answers how many.
    pub async fn delete_old_webhook_deliveries(&self, before: DateTime<Utc>, limit: u32) -> Result<u64> {
        Ok(on_write!(self, db => sqlx::query(
            "DELETE FROM webhook_deliveries WHERE id IN (SELECT id FROM webhook_deliveries WHERE completed_at < $1 LIMIT $2)")
            .bind(before).bind(i64::from(limit)).execute(db).await?.rows_affected()))
    }
}
