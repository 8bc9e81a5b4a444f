//! Webhooks of the platform's users: where they go, and what they are signed with. Secrets come in sealed.
//!
//! `outbox.rs`: what happened, written with it; `deliveries.rs`: what became of telling it.

use crate::{
    Act, Entry, Expected, Outcome, Page, PageRequest, Refusal, Result, Store, Viewer,
    audit::audited,
    change::is_expected,
    organizations::HOLD,
    pool::on_read,
    viewer::seen_by,
    words::{Seen, row},
};
use chrono::{DateTime, Utc};
use ogel_api::{
    audit::AuditAction,
    id::{OrganizationId, ProjectId, WebhookId},
    organizations::Role,
    webhooks::{WebhookDisabledReason, WebhookEventType},
};

#[derive(Clone, PartialEq, Eq)]
pub struct Webhook {
    pub id: WebhookId,
    pub organization_id: OrganizationId,
    /// `None`: all projects of the organization.
    pub project_id: Option<ProjectId>,
    pub url: String,
    pub description: String,
    /// `None`: everything.
    pub events: Option<Vec<WebhookEventType>>,
    /// Sealed.
    pub secret: String,
    /// Sealed; signs as well until it expires.
    pub previous_secret: Option<String>,
    pub previous_secret_expires_at: Option<DateTime<Utc>>,
    pub is_enabled: bool,
    pub disabled_reason: Option<WebhookDisabledReason>,
    /// Since when no attempt succeeded.
    pub failing_since: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    /// One more with every change.
    pub row_version: i64,
}
row!(Webhook, columns of "webhooks" {
    id,
    organization_id,
    project_id,
    url,
    description,
    events,
    secret,
    previous_secret,
    previous_secret_expires_at,
    is_enabled,
    disabled_reason,
    failing_since,
    created_at,
    updated_at,
    row_version,
});

// Here, because they use `columns!`.
mod deliveries;
pub(crate) mod outbox;

pub use deliveries::{Attempt, Attempted, NewDelivery, Verdict, WebhookDelivery};
pub use outbox::OutboxEvent;
pub(crate) use outbox::{Emission, EmissionScope};

impl Webhook {
    fn entry(&self, action: AuditAction) -> Entry {
        Entry::new(self.organization_id, action, self.id)
    }

    /// Where it goes, without what may be a secret: some receivers know their senders by the path.
    fn host(&self) -> &str {
        let rest = self.url.split_once("://").map_or(&*self.url, |(_, rest)| rest);
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        host.rsplit('@').next().unwrap_or_default()
    }
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhook").field("id", &self.id).field("is_enabled", &self.is_enabled).finish_non_exhaustive()
    }
}

impl Webhook {
    /// Whether it wants to be told of this.
    pub fn wants(&self, kind: WebhookEventType) -> bool {
        self.events.as_ref().is_none_or(|events| events.contains(&kind))
    }
}

/// What to change of one. `None` leaves it.
#[derive(Clone, Debug, Default)]
pub struct WebhookChange {
    pub url: Option<String>,
    pub description: Option<String>,
    pub events: Option<Option<Vec<WebhookEventType>>>,
    pub enabled: Option<bool>,
}

/// Joins the viewer's membership `m` to `webhooks`. A key bound to a project sees that project's own only.
macro_rules! sees_webhook {
    () => {
        " JOIN organization_members m ON m.organization_id = webhooks.organization_id AND m.user_id = $1 \
         AND ($2 IS NULL OR webhooks.organization_id = $2) AND ($3 IS NULL OR webhooks.project_id = $3) "
    };
}

fn json(events: Option<&Vec<WebhookEventType>>) -> Option<String> {
    events.map(|events| serde_json::to_string(events).expect("a list of words is JSON"))
}

impl Store {
    /// `TooMany`: the organization has `most` already.
    pub async fn create_webhook(&self, act: &Act, new: &Webhook, most: u32) -> Result<Outcome<()>> {
        Ok(audited!(self, act, tx => {
            // Who counts next sees what is made now.
            let held = sqlx::query(HOLD).bind(new.organization_id.0).execute(&mut *tx).await?.rows_affected();
            let there: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM webhooks WHERE organization_id = $1")
                .bind(new.organization_id.0).fetch_one(&mut *tx).await?;
            if held == 0 {
                Err(Refusal::NotFound)
            } else if there >= i64::from(most) {
                Err(Refusal::TooMany)
            } else {
                sqlx::query("INSERT INTO webhooks (id, organization_id, project_id, url, description, events, secret, \
                               is_enabled, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, TRUE, $8, $8)")
                    .bind(new.id.0).bind(new.organization_id.0).bind(new.project_id.map(|id| id.0)).bind(&new.url)
                    .bind(&new.description).bind(json(new.events.as_ref())).bind(&new.secret).bind(new.created_at)
                    .execute(&mut *tx).await?;
                let entry = new.entry(AuditAction::WebhookCreated).after("host", new.host())
                    .after("projectId", new.project_id).after("events", &new.events);
                Ok(((), vec![entry]))
            }
        }))
    }

    /// Those the viewer may look at: it takes the role developer. Narrowed to an organization or a project.
    pub async fn webhooks(
        &self,
        viewer: &Viewer,
        organization: Option<OrganizationId>,
        project: Option<ProjectId>,
        request: &PageRequest,
    ) -> Result<Page<Webhook>> {
        let rows = on_read!(self, db => seen_by!(sqlx::query_as(concat!(
            "SELECT ", columns!(), " FROM webhooks", sees_webhook!(),
            "WHERE m.role IN ('owner', 'admin', 'developer') AND ($4 IS NULL OR webhooks.organization_id = $4) \
             AND ($5 IS NULL OR webhooks.project_id = $5) AND (webhooks.created_at, webhooks.id) < ($6, $7) \
             ORDER BY webhooks.created_at DESC, webhooks.id DESC LIMIT $8")), viewer)
            .bind(organization.map(|id| id.0)).bind(project.map(|id| id.0))
            .bind(request.after_time()).bind(request.after_id()).bind(request.fetch())
            .fetch_all(db).await?);
        Ok(request.page(rows, |row: &Webhook| (row.created_at, row.id.0)))
    }

    pub async fn webhook(&self, viewer: &Viewer, id: WebhookId) -> Result<Option<(Webhook, Role)>> {
        let found: Option<Seen<Webhook>> = on_read!(self, db => seen_by!(sqlx::query_as(concat!(
            "SELECT ", columns!(), ", m.role FROM webhooks", sees_webhook!(), "WHERE webhooks.id = $4")), viewer)
            .bind(id.0).fetch_optional(db).await?);
        Ok(found.map(Into::into))
    }

    /// For whoever delivers, which acts for nobody: not to be answered to a caller.
    pub async fn webhook_for_delivery(&self, id: WebhookId) -> Result<Option<Webhook>> {
        Ok(on_read!(self, db => sqlx::query_as(concat!("SELECT ", columns!(), " FROM webhooks WHERE id = $1"))
            .bind(id.0).fetch_optional(db).await?))
    }

    /// Being switched off ends what it was still to be told; being switched on forgives.
    pub async fn update_webhook(
        &self,
        act: &Act,
        viewer: &Viewer,
        id: WebhookId,
        change: &WebhookChange,
        expected: &Expected,
    ) -> Result<Outcome<Webhook>> {
        let now = act.at;
        let events = change.events.as_ref().map(|events| json(events.as_ref()));
        let outcome = audited!(self, act, tx => {
            // Answers with the row as it was, and keeps it until the end.
            let before: Option<Webhook> = seen_by!(sqlx::query_as(concat!(
                "UPDATE webhooks SET url = url WHERE id IN (SELECT webhooks.id FROM webhooks", sees_webhook!(),
                "WHERE webhooks.id = $4) RETURNING ", columns!())), viewer)
                .bind(id.0).fetch_all(&mut *tx).await?.pop();
            let after: Option<Webhook> = seen_by!(sqlx::query_as(concat!(
                "UPDATE webhooks SET url = COALESCE($5, url), description = COALESCE($6, description), \
                   events = CASE WHEN $7 THEN $8 ELSE events END, is_enabled = COALESCE($9, is_enabled), \
                   disabled_reason = CASE WHEN $9 IS NULL OR (is_enabled = $9 AND NOT $9) THEN disabled_reason WHEN $9 THEN NULL ELSE 'asked' END, \
                   failing_since = CASE WHEN $9 THEN NULL ELSE failing_since END, updated_at = $10, row_version = row_version + 1 \
                 WHERE id IN (SELECT webhooks.id FROM webhooks", sees_webhook!(), "WHERE webhooks.id = $4) AND ",
                is_expected!("webhooks", "$11"), " RETURNING ", columns!())), viewer)
                .bind(id.0).bind(change.url.as_deref()).bind(change.description.as_deref())
                .bind(events.is_some()).bind(events.flatten()).bind(change.enabled).bind(now)
                .bind(expected.text())
                .fetch_all(&mut *tx).await?.pop();
            match (before, after) {
                (Some(before), Some(after)) => {
                    if change.enabled == Some(false) {
                        sqlx::query(deliveries::END_ALL).bind(id.0).bind(now).execute(&mut *tx).await?;
                    }
                    let mut entry = after.entry(AuditAction::WebhookUpdated)
                        .changed("host", before.host(), after.host()).changed("description", &before.description, &after.description)
                        .changed("events", &before.events, &after.events).changed("enabled", before.is_enabled, after.is_enabled);
                    if before.url != after.url && before.host() == after.host() {
                        entry = entry.after("host", after.host());
                    }
                    Ok((after, vec![entry]))
                }
                _ => Err(Refusal::Stale),
            }
        });
        self.stale_or_gone_webhook(viewer, id, outcome).await
    }

    async fn stale_or_gone_webhook<T>(
        &self,
        viewer: &Viewer,
        id: WebhookId,
        outcome: Outcome<T>,
    ) -> Result<Outcome<T>> {
        if matches!(outcome, Err(Refusal::Stale)) && self.webhook(viewer, id).await?.is_none() {
            return Ok(Err(Refusal::NotFound));
        }
        Ok(outcome)
    }

    /// A new secret; the one there was signs until `previous_expires_at`.
    pub async fn rotate_webhook_secret(
        &self,
        act: &Act,
        viewer: &Viewer,
        id: WebhookId,
        secret: &str,
        previous_expires_at: DateTime<Utc>,
    ) -> Result<Outcome<()>> {
        Ok(audited!(self, act, tx => {
            let row: Option<Webhook> = seen_by!(sqlx::query_as(concat!(
                "UPDATE webhooks SET secret = $5, previous_secret = secret, previous_secret_expires_at = $6, updated_at = $7, row_version = row_version + 1 \
                 WHERE id IN (SELECT webhooks.id FROM webhooks", sees_webhook!(), "WHERE webhooks.id = $4) RETURNING ", columns!())), viewer)
                .bind(id.0).bind(secret).bind(previous_expires_at).bind(act.at).fetch_all(&mut *tx).await?.pop();
            let entry = |row: Webhook| {
                row.entry(AuditAction::WebhookSecretRotated).after("previousSecretExpiresAt", previous_expires_at)
            };
            row.map(|row| ((), vec![entry(row)])).ok_or(Refusal::NotFound)
        }))
    }

    /// With its deliveries.
    pub async fn delete_webhook(
        &self,
        act: &Act,
        viewer: &Viewer,
        id: WebhookId,
        expected: &Expected,
    ) -> Result<Outcome<()>> {
        let outcome = audited!(self, act, tx => {
            let gone: Option<Webhook> = seen_by!(sqlx::query_as(concat!(
                "DELETE FROM webhooks WHERE id IN (SELECT webhooks.id FROM webhooks", sees_webhook!(), "WHERE webhooks.id = $4) AND ",
                is_expected!("webhooks", "$5"), " RETURNING ", columns!())), viewer)
                .bind(id.0).bind(expected.text()).fetch_all(&mut *tx).await?.pop();
            let entry = |row: Webhook| row.entry(AuditAction::WebhookDeleted).before("host", row.host());
            gone.map(|row| ((), vec![entry(row)])).ok_or(Refusal::Stale)
        });
        self.stale_or_gone_webhook(viewer, id, outcome).await
    }
}
