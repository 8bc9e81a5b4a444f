//! Organizations.

use crate::{Client, PageQuery, Result};
use http::Method;
use ogel_api::{
    audit::AuditLog,
    id::{InvitationId, OrganizationId},
    organizations::{
        Invitation, InvitationList, Member, MemberList, NewInvitation, NewOrganization, Organization, OrganizationList,
        RoleList, UpdateMember, UpdateOrganization,
    },
};

impl Client {
    /// `POST organizations`; the caller becomes its owner.
    pub async fn create_organization(&self, new: &NewOrganization) -> Result<Organization> {
        self.post(&["organizations"], new).await
    }

    /// `GET organizations`: those the caller belongs to.
    pub async fn list_organizations(&self, page: &PageQuery) -> Result<OrganizationList> {
        self.get(&["organizations"], &page.pairs()).await
    }

    /// `GET organizations/{id}`
    pub async fn get_organization(&self, id: OrganizationId) -> Result<Organization> {
        self.get(&["organizations", &id.to_string()], &[]).await
    }

    /// `PATCH organizations/{id}`
    pub async fn update_organization(&self, id: OrganizationId, change: &UpdateOrganization) -> Result<Organization> {
        self.patch(&["organizations", &id.to_string()], change).await
    }

    /// `DELETE organizations/{id}`
    pub async fn delete_organization(&self, id: OrganizationId) -> Result<()> {
        self.done(Method::DELETE, &["organizations", &id.to_string()]).await
    }

    /// `GET organizations/{id}/members`
    pub async fn list_members(&self, id: OrganizationId, page: &PageQuery) -> Result<MemberList> {
        self.get(&["organizations", &id.to_string(), "members"], &page.pairs()).await
    }

    /// `PATCH organizations/{id}/members/{user}`; `me` is the caller.
    pub async fn update_member(&self, id: OrganizationId, user: &str, change: &UpdateMember) -> Result<Member> {
        self.patch(&["organizations", &id.to_string(), "members", user], change).await
    }

    /// `DELETE organizations/{id}/members/{user}`; `me` leaves.
    pub async fn remove_member(&self, id: OrganizationId, user: &str) -> Result<()> {
        self.done(Method::DELETE, &["organizations", &id.to_string(), "members", user]).await
    }

    /// `GET organizations/{id}/roles`
    pub async fn list_roles(&self, id: OrganizationId) -> Result<RoleList> {
        self.get(&["organizations", &id.to_string(), "roles"], &[]).await
    }

    /// `GET organizations/{id}/audit-log`, newest first.
    pub async fn audit_log(&self, id: OrganizationId, page: &PageQuery) -> Result<AuditLog> {
        self.get(&["organizations", &id.to_string(), "audit-log"], &page.pairs()).await
    }

    /// `POST organizations/{id}/restore`
    pub async fn restore_organization(&self, id: OrganizationId) -> Result<Organization> {
        self.post(&["organizations", &id.to_string(), "restore"], &serde_json::json!({})).await
    }

    /// `GET organizations/{id}/invitations`
    pub async fn list_invitations(&self, id: OrganizationId, page: &PageQuery) -> Result<InvitationList> {
        self.get(&["organizations", &id.to_string(), "invitations"], &page.pairs()).await
    }

    /// `POST organizations/{id}/invitations`
    pub async fn invite(&self, id: OrganizationId, new: &NewInvitation) -> Result<Invitation> {
        self.post(&["organizations", &id.to_string(), "invitations"], new).await
    }

    /// `POST organizations/{id}/invitations/{invitation}/resend`
    pub async fn resend_invitation(&self, id: OrganizationId, invitation: InvitationId) -> Result<Invitation> {
        let path = ["organizations", &id.to_string(), "invitations", &invitation.to_string(), "resend"];
        self.post(&path, &serde_json::json!({})).await
    }

    /// `DELETE organizations/{id}/invitations/{invitation}`
    pub async fn revoke_invitation(&self, id: OrganizationId, invitation: InvitationId) -> Result<()> {
        let path = ["organizations", &id.to_string(), "invitations", &invitation.to_string()];
        self.done(Method::DELETE, &path).await
    }

    /// `POST invitations/{token}/accept`, with the token of the mail.
    pub async fn accept_invitation(&self, token: &str) -> Result<Organization> {
        self.post(&["invitations", token, "accept"], &serde_json::json!({})).await
    }
}
