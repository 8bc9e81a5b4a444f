//! Organizations: who owns projects, and on which plan.

use crate::{
    id::{InvitationId, OrganizationId, UserId},
    page::Pagination,
    string_enum::string_enum,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

string_enum! {
    /// What a member may do. Each role may do all that the ones after it may.
    pub enum Role {
        /// Everything, deleting the organization included.
        Owner = "owner",
        /// Everything but deleting the organization.
        Admin = "admin",
        /// Projects and deployments.
        Developer = "developer",
        /// Look, but not change.
        Viewer = "viewer",
    }
}

string_enum! {
    /// What an organization pays for; sets its limits.
    pub enum Plan {
        Free = "free",
        Pro = "pro",
        /// The highest limits.
        Team = "team",
    }
}

/// An organization as one of its members sees it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Organization {
    pub id: OrganizationId,
    pub name: String,
    pub slug: String,
    pub plan: Plan,
    /// The caller's own role.
    pub role: Role,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// Since when it is deleted; only in lists of deleted ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<Timestamp>,
    /// Until when a deleted one can be restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purge_at: Option<Timestamp>,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewOrganization {
    /// 1 to 100 characters.
    pub name: String,
    /// Lower-case letters, digits and hyphens, 1 to 48; made from `name` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slug: Option<String>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UpdateOrganization {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slug: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct OrganizationList {
    pub organizations: Vec<Organization>,
    pub pagination: Pagination,
}

/// A member of an organization.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    pub user_id: UserId,
    pub name: String,
    pub email: String,
    pub role: Role,
    pub joined_at: Timestamp,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct MemberList {
    pub members: Vec<Member>,
    pub pagination: Pagination,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UpdateMember {
    /// Only an owner makes owners, or makes an owner something else.
    pub role: Role,
}

/// One role, and what it allows.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoleDescription {
    pub role: Role,
    pub description: String,
    /// The operations that need it or less, by their `operationId`.
    pub operations: Vec<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RoleList {
    pub roles: Vec<RoleDescription>,
}

string_enum! {
    /// What became of the mail with the token.
    pub enum MailState {
        /// It waits to be sent, or to be tried again.
        Queued = "queued",
        /// The mail server has taken it.
        Sent = "sent",
        /// The mail server refuses it, or could not be reached for a day.
        Failed = "failed",
    }
}

/// Somebody who was asked to join.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Invitation {
    pub id: InvitationId,
    pub organization_id: OrganizationId,
    pub email: String,
    /// What they become.
    pub role: Role,
    /// `null` when the account is gone.
    #[schema(required)]
    pub invited_by: Option<UserId>,
    pub created_at: Timestamp,
    /// After this the token is good for nothing; `resend` makes another.
    pub expires_at: Timestamp,
    /// When the mail was last asked for.
    pub sent_at: Timestamp,
    pub mail: MailState,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct InvitationList {
    pub invitations: Vec<Invitation>,
    pub pagination: Pagination,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewInvitation {
    pub email: String,
    /// Only an owner invites owners.
    pub role: Role,
    /// 1 to 30 days; 7 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_days: Option<u32>,
}
