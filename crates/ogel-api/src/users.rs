//! People.

use crate::{
    audit::AuditEntry,
    auth::{ApiKey, Session},
    deployments::Deployment,
    id::{OrganizationId, UserId},
    operations::Operation,
    organizations::{Invitation, Role},
    time::Timestamp,
    webhooks::Webhook,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A person, as they and their colleagues see them.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct User {
    pub id: UserId,
    pub email: String,
    pub name: String,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// What a person may change about themselves; a field left out stays as it is.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UpdateUser {
    /// 1 to 100 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Proof that it is still the person who deletes the account.
#[derive(Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeleteAccount {
    /// Not needed with a login that is a few minutes old at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
}

/// Everything that is kept about a person. Secrets are kept as hashes or sealed, and are not among it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccountExport {
    pub exported_at: Timestamp,
    pub user: User,
    /// Whether the person can log in with a password.
    pub has_password: bool,
    /// What Studio's own login calls the person.
    pub studio_subjects: Vec<String>,
    /// What the deployment backend calls the person.
    #[schema(required)]
    pub backend_account: Option<String>,
    pub memberships: Vec<Membership>,
    pub sessions: Vec<Session>,
    pub api_keys: Vec<ApiKey>,
    /// Open ones, and those that have lapsed lately.
    pub invitations_sent: Vec<Invitation>,
    pub deployments: Vec<Deployment>,
    pub operations: Vec<Operation>,
    /// Of the organizations in which the person may see them.
    pub webhooks: Vec<Webhook>,
    /// What the person did, in any organization and to their own account.
    pub audit_entries: Vec<AuditEntry>,
}

/// That a person belongs to an organization.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Membership {
    pub organization_id: OrganizationId,
    pub name: String,
    pub slug: String,
    pub role: Role,
    pub joined_at: Timestamp,
}
