//! Signing up, logging in, and API keys.

use crate::{
    id::{ApiKeyId, OrganizationId, ProjectId, SessionId},
    organizations::Organization,
    page::Pagination,
    string_enum::string_enum,
    time::Timestamp,
    users::User,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

string_enum! {
    /// What an API key may be used for; a login may do all of it.
    pub enum Scope {
        UsersRead = "users:read",
        UsersWrite = "users:write",
        OrganizationsRead = "organizations:read",
        OrganizationsWrite = "organizations:write",
        ProjectsRead = "projects:read",
        ProjectsWrite = "projects:write",
        DeploymentsRead = "deployments:read",
        DeploymentsWrite = "deployments:write",
        BuildsRead = "builds:read",
        SitesRead = "sites:read",
        SitesWrite = "sites:write",
        DomainsRead = "domains:read",
        DomainsWrite = "domains:write",
        KeysRead = "keys:read",
        KeysWrite = "keys:write",
        BillingRead = "billing:read",
        BillingWrite = "billing:write",
        /// What the platform's operators do; worth nothing to anybody else, and never in a key that does not ask for it.
        Admin = "admin",
    }
}

string_enum! {
    /// How the caller proved who they are.
    pub enum AuthMethod {
        /// A login of ours, by cookie or `Authorization: Bearer`.
        Session = "session",
        ApiKey = "apiKey",
        /// A session of Studio's own login, by its cookie or `Authorization: Bearer`.
        StudioSession = "studioSession",
    }
}

#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Signup {
    pub email: String,
    /// 8 to 256 characters.
    pub password: String,
    /// 1 to 100 characters.
    pub name: String,
}

#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Login {
    pub email: String,
    pub password: String,
}

/// A fresh login; the token is shown here only.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionToken {
    /// Goes into `Authorization: Bearer`.
    pub token: String,
    pub expires_at: Timestamp,
}

#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LoggedIn {
    pub user: User,
    pub session: SessionToken,
}

/// Who is calling, how, and what they may do.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CurrentSession {
    pub user: User,
    pub method: AuthMethod,
    pub scopes: Vec<Scope>,
    pub organizations: Vec<Organization>,
    /// Set when `method` is `session`.
    #[schema(required)]
    pub session_id: Option<SessionId>,
    /// Set when `method` is `apiKey`.
    #[schema(required)]
    pub api_key_id: Option<ApiKeyId>,
    #[schema(required)]
    pub expires_at: Option<Timestamp>,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewApiKey {
    /// 1 to 100 characters.
    pub name: String,
    /// All of the caller's when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<Scope>>,
    /// Limits the key to one project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_id: Option<ProjectId>,
    /// Limits the key to one organization.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization_id: Option<OrganizationId>,
    /// Never when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiKey {
    pub id: ApiKeyId,
    pub name: String,
    /// The secret's first characters, to recognise it by.
    pub prefix: String,
    pub scopes: Vec<Scope>,
    #[schema(required)]
    pub project_id: Option<ProjectId>,
    #[schema(required)]
    pub organization_id: Option<OrganizationId>,
    pub created_at: Timestamp,
    #[schema(required)]
    pub expires_at: Option<Timestamp>,
    /// To the minute.
    #[schema(required)]
    pub last_used_at: Option<Timestamp>,
}

/// A fresh key; the secret is shown here only.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiKeyCreated {
    pub api_key: ApiKey,
    /// `ogel_…`; goes into `Authorization: Bearer`.
    pub secret: String,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiKeyList {
    pub api_keys: Vec<ApiKey>,
    pub pagination: Pagination,
}
