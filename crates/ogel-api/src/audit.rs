//! The audit log: who changed what in an organization, when and from where.

use crate::{
    id::{ApiKeyId, AuditEntryId, OrganizationId, UserId},
    page::Pagination,
    string_enum::string_enum,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

string_enum! {
    /// What was done. The part before the point says what kind of thing `target` is.
    pub enum AuditAction {
        OrganizationCreated = "organization.created",
        OrganizationUpdated = "organization.updated",
        /// What is paid for.
        OrganizationPlanChanged = "organization.plan_changed",
        BudgetSet = "budget.set",
        BudgetRemoved = "budget.removed",
        OrganizationDeleted = "organization.deleted",
        OrganizationRestored = "organization.restored",
        InvitationCreated = "invitation.created",
        InvitationResent = "invitation.resent",
        InvitationRevoked = "invitation.revoked",
        InvitationAccepted = "invitation.accepted",
        MemberAdded = "member.added",
        MemberUpdated = "member.updated",
        MemberRemoved = "member.removed",
        /// Written down in both organizations.
        ProjectTransferred = "project.transferred",
        ProjectCreated = "project.created",
        ProjectUpdated = "project.updated",
        ProjectDeleted = "project.deleted",
        ProjectRestored = "project.restored",
        /// Removed for good, at Ghost too.
        ProjectPurged = "project.purged",
        UserUpdated = "user.updated",
        UserDeleted = "user.deleted",
        UserPasswordChanged = "user.password_changed",
        /// Several logins ended at once: all others, or all.
        UserSessionsEnded = "user.sessions_ended",
        /// Studio's own login stands for this account from now on.
        UserLinked = "user.linked",
        /// Somebody logged in.
        SessionCreated = "session.created",
        SessionEnded = "session.ended",
        ApiKeyCreated = "api_key.created",
        ApiKeyUpdated = "api_key.updated",
        /// Another secret.
        ApiKeyRotated = "api_key.rotated",
        ApiKeyRevoked = "api_key.revoked",
        DeploymentCreated = "deployment.created",
        DeploymentRedeployed = "deployment.redeployed",
        /// It may have ended before that reached it.
        DeploymentCancelRequested = "deployment.cancel_requested",
        DeploymentPromoted = "deployment.promoted",
        DeploymentRolledBack = "deployment.rolled_back",
        DeploymentDeleted = "deployment.deleted",
        SiteCreated = "site.created",
        SiteUpdated = "site.updated",
        SiteDeleted = "site.deleted",
        DomainCreated = "domain.created",
        DomainUpdated = "domain.updated",
        /// DNS was asked; the entry says what came of it.
        DomainChecked = "domain.checked",
        DomainDeleted = "domain.deleted",
        WebhookCreated = "webhook.created",
        WebhookUpdated = "webhook.updated",
        WebhookSecretRotated = "webhook.secret_rotated",
        WebhookDeleted = "webhook.deleted",
    }
}

string_enum! {
    /// What kind of caller it was.
    pub enum ActorType {
        /// A person with a login.
        User = "user",
        /// An API key of a person's.
        ApiKey = "api_key",
        /// The platform itself, when something is due.
        System = "system",
    }
}

/// Who did it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditActor {
    pub r#type: ActorType,
    #[schema(required)]
    pub user_id: Option<UserId>,
    #[schema(required)]
    pub api_key_id: Option<ApiKeyId>,
    /// As the person is called today; `null` when the account is gone.
    #[schema(required)]
    pub name: Option<String>,
}

/// One change. Secrets are never among the fields.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditEntry {
    pub id: AuditEntryId,
    /// `null` for what concerns a person only.
    #[schema(required)]
    pub organization_id: Option<OrganizationId>,
    pub created_at: Timestamp,
    pub actor: AuditActor,
    pub action: AuditAction,
    /// The id of the thing that was changed.
    pub target: String,
    /// The fields that changed, as they were; `null` for what was made.
    #[schema(required, value_type = Option<Object>)]
    pub before: Option<Map<String, Value>>,
    /// The same fields as they are since; `null` for what was removed.
    #[schema(required, value_type = Option<Object>)]
    pub after: Option<Map<String, Value>>,
    #[schema(required)]
    pub ip: Option<String>,
    /// Of the request that did it.
    #[schema(required)]
    pub request_id: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditLog {
    pub entries: Vec<AuditEntry>,
    pub pagination: Pagination,
}
