//! Webhooks: what the deployment backend tells us, and what we tell the platform's users, as Standard Webhooks has it.

use crate::{
    id::{EventId, OrganizationId, ProjectId, WebhookDeliveryId, WebhookId},
    page::Pagination,
    sites::named,
    string_enum::string_enum,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

string_enum! {
    /// What became of an event of the deployment backend.
    pub enum GhostEventOutcome {
        /// The deployment was looked at again, and what changed is written down.
        Applied = "applied",
        /// It was received before.
        Duplicate = "duplicate",
        /// It concerns nothing that can still change here, or is of a type that means nothing here.
        Ignored = "ignored",
    }
}

/// The answer to an event of the deployment backend; sent once its effect is kept.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct GhostEventReceipt {
    pub outcome: GhostEventOutcome,
}

string_enum! {
    /// What a webhook may be told.
    pub enum WebhookEventType {
        DeploymentCreated = "deployment.created",
        DeploymentBuilding = "deployment.building",
        /// It succeeded, and its preview is served.
        DeploymentReady = "deployment.ready",
        DeploymentFailed = "deployment.failed",
        DeploymentCanceled = "deployment.canceled",
        DeploymentPromoted = "deployment.promoted",
        DeploymentRolledBack = "deployment.rolled_back",
        DeploymentDeleted = "deployment.deleted",
        BuildStarted = "build.started",
        /// It ended, in whatever way; `data.status` says in which.
        BuildCompleted = "build.completed",
        DomainAdded = "domain.added",
        DomainVerified = "domain.verified",
        DomainRemoved = "domain.removed",
        ProjectCreated = "project.created",
        ProjectUpdated = "project.updated",
        ProjectDeleted = "project.deleted",
        ProjectRestored = "project.restored",
        /// It went to another organization. Told in both, to the webhooks of the organization as a whole.
        ProjectTransferred = "project.transferred",
        /// Somebody accepted an invitation.
        MemberAdded = "member.added",
        /// They have another role.
        MemberUpdated = "member.updated",
        MemberRemoved = "member.removed",
        /// Of keys that are bound to the organization or to a project of its; a person's other keys are their own matter.
        ApiKeyCreated = "api_key.created",
        ApiKeyUpdated = "api_key.updated",
        /// It has another secret.
        ApiKeyRotated = "api_key.rotated",
        ApiKeyDeleted = "api_key.deleted",
        InvoiceCreated = "invoice.created",
        InvoicePaid = "invoice.paid",
        /// A payment was tried and failed.
        InvoiceFailed = "invoice.failed",
        /// The month costs as many percent of the budget as one of its alerts names.
        BudgetAlert = "budget.alert",
        /// Another webhook of the organization was switched off, because it was gone or failed for days.
        WebhookDisabled = "webhook.disabled",
        /// Sent by `POST webhooks/{id}/test` only, whatever was chosen.
        WebhookTest = "webhook.test",
    }
}

string_enum! {
    /// Why a webhook is told nothing.
    pub enum WebhookDisabledReason {
        /// Somebody switched it off.
        Asked = "asked",
        /// Its receiver answered 410.
        Gone = "gone",
        /// It failed for days.
        Failing = "failing",
    }
}

string_enum! {
    /// How far a delivery is.
    pub enum WebhookDeliveryStatus {
        /// It was not tried yet, or will be tried again.
        Pending = "pending",
        /// The receiver answered with 2xx.
        Succeeded = "succeeded",
        /// It will not be tried again.
        Failed = "failed",
    }
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewWebhook {
    /// Where events are posted: `https://`, with a host on the public internet.
    pub url: String,
    /// Tells what happens in all projects of the organization. Not needed when `projectId` is there, or when there is only
    /// one organization.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization_id: Option<OrganizationId>,
    /// Tells what happens in this project only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_id: Option<ProjectId>,
    /// At most 200 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What it is told; everything when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<Vec<WebhookEventType>>,
}

/// What to change: a field that is left out stays.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UpdateWebhook {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// `null` is everything.
    #[serde(default, deserialize_with = "named", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<WebhookEventType>>)]
    pub events: Option<Option<Vec<WebhookEventType>>>,
    /// `true` also forgives what went wrong before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Webhook {
    pub id: WebhookId,
    pub organization_id: OrganizationId,
    /// `null`: all of the organization's.
    #[schema(required)]
    pub project_id: Option<ProjectId>,
    pub url: String,
    pub description: String,
    /// `null`: everything.
    #[schema(required)]
    pub events: Option<Vec<WebhookEventType>>,
    pub enabled: bool,
    /// Set while it is not enabled.
    #[schema(required)]
    pub disabled_reason: Option<WebhookDisabledReason>,
    /// Since when no attempt succeeded; `null` while they do.
    #[schema(required)]
    pub failing_since: Option<Timestamp>,
    /// Until when deliveries carry a signature of the secret before, too.
    #[schema(required)]
    pub previous_secret_expires_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// A fresh webhook; the secret is shown here only.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WebhookCreated {
    pub webhook: Webhook,
    /// `whsec_…`, as Standard Webhooks libraries take it.
    pub secret: String,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct WebhookList {
    pub webhooks: Vec<Webhook>,
    pub pagination: Pagination,
}

/// One try at a delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WebhookAttempt {
    /// Counted from 1.
    pub n: u64,
    pub at: Timestamp,
    pub duration_ms: u64,
    /// The answer's HTTP status; `null` when there was none.
    #[schema(required)]
    pub status: Option<u16>,
    /// Why it counts as failed.
    #[schema(required)]
    pub error: Option<String>,
    /// The beginning of the answer's body.
    #[schema(required)]
    pub response: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WebhookDelivery {
    pub id: WebhookDeliveryId,
    pub webhook_id: WebhookId,
    /// What receivers know the event by (`webhook-id`): the same for every delivery of it.
    pub event_id: EventId,
    #[serde(rename = "type")]
    pub kind: WebhookEventType,
    pub status: WebhookDeliveryStatus,
    /// Oldest first.
    pub attempts: Vec<WebhookAttempt>,
    #[schema(required)]
    pub next_attempt_at: Option<Timestamp>,
    /// The delivery it repeats, where somebody asked for that.
    #[schema(required)]
    pub redelivery_of: Option<WebhookDeliveryId>,
    pub created_at: Timestamp,
    #[schema(required)]
    pub completed_at: Option<Timestamp>,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct WebhookDeliveryList {
    pub deliveries: Vec<WebhookDelivery>,
    pub pagination: Pagination,
}

/// A delivery with what is posted.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct WebhookDeliveryDetail {
    pub delivery: WebhookDelivery,
    /// The exact bytes that are signed and posted.
    pub payload: String,
}
