//! What happened, for those who want to be told. [`emit!`] writes it in the transaction of what happens, so nothing is told
//! that did not happen, and nothing that did is forgotten. Where nobody listens nothing is written.
//!
//! [`Store::dispatch_events`] makes deliveries of it, on whichever replica comes first.

use super::{
    Webhook,
    deliveries::{NewDelivery, add_delivery},
};
use crate::{
    ApiKey, Deployment, Entry, Invoice, ObjectChange, Result, Store,
    pool::{on_read, on_write},
    words::row,
};
use chrono::{DateTime, Utc};
use ogel_api::{
    audit::AuditAction,
    billing::InvoiceStatus,
    deployments::DeploymentEventType,
    id::{DomainId, OrganizationId, ProjectId},
    webhooks::WebhookEventType,
};
use serde_json::{Value, json};

/// Whose webhooks are told.
#[derive(Clone, Copy, Debug)]
pub(crate) enum EmissionScope {
    /// Those of the organization as a whole.
    Organization(OrganizationId),
    /// The project's own, too. The project is still there.
    Project(ProjectId),
}

/// Something that happens.
#[derive(Clone, Debug)]
pub(crate) struct Emission {
    pub scope: EmissionScope,
    pub kind: WebhookEventType,
    /// Thin: ids and what changed. Everybody who may see the webhook may see it.
    pub data: Value,
    pub at: DateTime<Utc>,
}

/// `$1` the project or organization, `$2` the kind, `$3` the data, `$4` the time. Webhooks are found by their organization, one
/// index: where an OR inside of EXISTS takes two, SQLite 3.51 looks at the first row only, whether it is enabled or not.
pub(crate) const EMIT_FOR_PROJECT: &str = "INSERT INTO webhook_outbox (organization_id, project_id, kind, data, created_at) \
     SELECT p.organization_id, p.id, $2, $3, $4 FROM projects p WHERE p.id = $1 AND EXISTS (SELECT 1 FROM webhooks w \
       WHERE w.organization_id = p.organization_id AND w.is_enabled AND (w.project_id IS NULL OR w.project_id = p.id))";
pub(crate) const EMIT_FOR_ORGANIZATION: &str = "INSERT INTO webhook_outbox (organization_id, project_id, kind, data, created_at) \
     SELECT o.id, NULL, $2, $3, $4 FROM organizations o WHERE o.id = $1 AND EXISTS (SELECT 1 FROM webhooks w \
       WHERE w.organization_id = o.id AND w.is_enabled AND w.project_id IS NULL)";

impl Emission {
    pub(crate) fn statement(&self) -> (&'static str, uuid::Uuid) {
        match self.scope {
            EmissionScope::Organization(id) => (EMIT_FOR_ORGANIZATION, id.0),
            EmissionScope::Project(id) => (EMIT_FOR_PROJECT, id.0),
        }
    }

    /// What happened to a deployment, as it is now.
    pub(crate) fn of_deployment(row: &Deployment, kind: WebhookEventType, at: DateTime<Utc>) -> Self {
        let error = row.error.as_ref().map(|text| text.chars().take(500).collect::<String>());
        let data = json!({
            "deploymentId": row.id,
            "buildId": row.build_id,
            "projectId": row.project_id,
            "status": row.status,
            "branch": row.branch,
            "commitSha": row.commit_sha,
            "previewUrl": row.preview_url,
            "error": error,
        });
        Self { scope: EmissionScope::Project(row.project_id), kind, data, at }
    }

    /// What is written down in the audit log, if it is of a kind that webhooks are told.
    pub(crate) fn of_entry(entry: &Entry, at: DateTime<Utc>) -> Option<Self> {
        let (organization, action, target, [before, after]) = entry.told();
        let organization = organization?;
        let (kind, noun) = told_of_action(action)?;
        let project =
            target.parse().ok().filter(|_| noun == "projectId" && kind != WebhookEventType::ProjectTransferred);
        let scope = project.map_or(EmissionScope::Organization(organization), EmissionScope::Project);
        let mut data = json!({ "organizationId": organization, noun: target });
        for (name, fields) in [("before", before), ("after", after)] {
            if !fields.is_empty() {
                data[name] = Value::Object(fields.clone());
            }
        }
        Some(Self { scope, kind, data, at })
    }

    /// What happened to a key. `None` for one that is bound to nothing: it is its owner's own matter.
    pub(crate) fn of_key(key: &ApiKey, kind: WebhookEventType, at: DateTime<Utc>) -> Option<Self> {
        let scope = match (key.project_id, key.organization_id) {
            (Some(project), _) => EmissionScope::Project(project),
            (None, Some(organization)) => EmissionScope::Organization(organization),
            (None, None) => return None,
        };
        let data = json!({
            "apiKeyId": key.id,
            "userId": key.user_id,
            "name": key.name,
            "scopes": key.scopes,
            "projectId": key.project_id,
            "organizationId": key.organization_id,
            "expiresAt": key.expires_at,
        });
        Some(Self { scope, kind, data, at })
    }

    /// A domain that was added by this change.
    pub(crate) fn of_domain_added(change: &ObjectChange, at: DateTime<Utc>) -> Self {
        let name = change.after_fields.as_ref().and_then(|fields| fields.get("domain")?.as_str());
        Self::of_domain(change, name, WebhookEventType::DomainAdded, at)
    }

    pub(crate) fn of_domain_verified(change: &ObjectChange, domain: &str, at: DateTime<Utc>) -> Self {
        Self::of_domain(change, Some(domain), WebhookEventType::DomainVerified, at)
    }

    pub(crate) fn of_domain_removed(change: &ObjectChange, at: DateTime<Utc>) -> Self {
        Self::of_domain(change, None, WebhookEventType::DomainRemoved, at)
    }

    fn of_domain(change: &ObjectChange, domain: Option<&str>, kind: WebhookEventType, at: DateTime<Utc>) -> Self {
        let project = change.project_id;
        let data = json!({ "domainId": DomainId(change.object_id), "projectId": project, "domain": domain });
        Self { scope: EmissionScope::Project(project), kind, data, at }
    }

    pub(crate) fn of_invoice(row: &Invoice, at: DateTime<Utc>) -> Self {
        let kind = match row.status {
            InvoiceStatus::Paid => WebhookEventType::InvoicePaid,
            InvoiceStatus::Failed => WebhookEventType::InvoiceFailed,
            InvoiceStatus::Open | InvoiceStatus::Unrecognized => WebhookEventType::InvoiceCreated,
        };
        let data = json!({
            "invoiceId": row.id,
            "organizationId": row.organization_id,
            "number": row.number,
            "status": row.status,
            "total": row.total,
            "currency": row.currency,
        });
        Self { scope: EmissionScope::Organization(row.organization_id), kind, data, at }
    }
}

/// What webhooks are told when this is written down, and what they know its target as.
fn told_of_action(action: AuditAction) -> Option<(WebhookEventType, &'static str)> {
    use WebhookEventType as Told;
    match action {
        AuditAction::ProjectCreated => Some((Told::ProjectCreated, "projectId")),
        AuditAction::ProjectUpdated => Some((Told::ProjectUpdated, "projectId")),
        AuditAction::ProjectDeleted => Some((Told::ProjectDeleted, "projectId")),
        AuditAction::ProjectRestored => Some((Told::ProjectRestored, "projectId")),
        AuditAction::ProjectTransferred => Some((Told::ProjectTransferred, "projectId")),
        AuditAction::MemberAdded => Some((Told::MemberAdded, "userId")),
        AuditAction::MemberUpdated => Some((Told::MemberUpdated, "userId")),
        AuditAction::MemberRemoved => Some((Told::MemberRemoved, "userId")),
        _ => None,
    }
}

/// What webhooks are told when this happens to a deployment.
pub(crate) fn told_of(kind: DeploymentEventType) -> &'static [WebhookEventType] {
    use WebhookEventType as Told;
    match kind {
        DeploymentEventType::Created => &[Told::DeploymentCreated],
        DeploymentEventType::Building => &[Told::DeploymentBuilding, Told::BuildStarted],
        DeploymentEventType::Success => &[Told::DeploymentReady, Told::BuildCompleted],
        DeploymentEventType::Failed => &[Told::DeploymentFailed, Told::BuildCompleted],
        DeploymentEventType::Canceled => &[Told::DeploymentCanceled, Told::BuildCompleted],
        DeploymentEventType::Promoted => &[Told::DeploymentPromoted],
        DeploymentEventType::RolledBack => &[Told::DeploymentRolledBack],
        DeploymentEventType::CancelRequested
        | DeploymentEventType::Redeployed
        | DeploymentEventType::Replaced
        | DeploymentEventType::Unrecognized => &[],
    }
}

/// Writes an [`Emission`] in the transaction `$tx`.
macro_rules! emit {
    ($tx:expr, $emission:expr) => {{
        let emission: &$crate::webhooks::Emission = $emission;
        let (statement, scope) = emission.statement();
        sqlx::query(statement)
            .bind(scope)
            .bind(emission.kind.as_str())
            .bind(emission.data.to_string())
            .bind(emission.at)
            .execute(&mut *$tx)
            .await?;
    }};
}
pub(crate) use emit;

/// One that waits to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxEvent {
    pub seq: i64,
    pub organization_id: OrganizationId,
    pub project_id: Option<ProjectId>,
    pub kind: WebhookEventType,
    /// JSON.
    pub data: String,
    pub created_at: DateTime<Utc>,
}
row!(OutboxEvent, outbox_columns of "webhook_outbox" { seq, organization_id, project_id, kind, data, created_at });

impl Store {
    /// Makes deliveries of at most `limit` events, in one transaction; answers how many events there were. `make` gives the
    /// delivery of an event to a webhook.
    pub async fn dispatch_events(
        &self,
        limit: u32,
        make: impl Fn(&OutboxEvent, &Webhook) -> NewDelivery + Send,
    ) -> Result<usize> {
        // Most often there is nothing, and then nothing is locked.
        let any: bool = on_read!(self, db => sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM webhook_outbox)")
            .fetch_one(db).await?);
        if !any {
            return Ok(0);
        }
        Ok(on_write!(self, db => {
            let mut tx = db.begin_with(BEGIN).await?;
            // Of two replicas one gets each row: who deletes it.
            let mut events: Vec<OutboxEvent> = sqlx::query_as(concat!(
                "DELETE FROM webhook_outbox WHERE seq IN (SELECT seq FROM webhook_outbox ORDER BY seq LIMIT $1) RETURNING ",
                outbox_columns!()))
                .bind(i64::from(limit)).fetch_all(&mut *tx).await?;
            events.sort_unstable_by_key(|event| event.seq);
            for event in &events {
                // A project's own are told wherever it is by now: it may have moved since this happened.
                let webhooks: Vec<Webhook> = sqlx::query_as(concat!(
                    "SELECT ", columns!(), " FROM webhooks WHERE is_enabled \
                     AND (project_id = $2 OR project_id IS NULL AND organization_id = $1) ORDER BY id"))
                    .bind(event.organization_id.0).bind(event.project_id.map(|id| id.0)).fetch_all(&mut *tx).await?;
                for webhook in webhooks.iter().filter(|webhook| webhook.wants(event.kind)) {
                    add_delivery!(tx, &make(event, webhook));
                }
            }
            tx.commit().await?;
            events.len()
        }))
    }
}
