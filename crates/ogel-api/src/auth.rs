//! Signing up, logging in, and API keys.

use crate::{
    id::{ApiKeyId, OrganizationId, ProjectId, SessionId},
    organizations::Organization,
    page::Pagination,
    sites::named,
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
        WebhooksRead = "webhooks:read",
        WebhooksWrite = "webhooks:write",
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

string_enum! {
    /// What a session is used with.
    pub enum SessionKind {
        /// Made by a login with a password; lasts as long as it is used.
        Browser = "browser",
        /// A program that was let in on another device; its token is renewed by a refresh token.
        Cli = "cli",
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
    /// Set when `method` is `session`.
    #[serde(default)]
    #[schema(required)]
    pub session_kind: Option<SessionKind>,
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
    /// The address it was last used from.
    #[serde(default)]
    #[schema(required)]
    pub last_used_ip: Option<String>,
    /// Until when the secret before the last rotation works.
    #[serde(default)]
    #[schema(required)]
    pub old_secret_expires_at: Option<Timestamp>,
}

/// What of an API key may be changed; a field left out stays as it is.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UpdateApiKey {
    /// 1 to 100 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// All of them; no more than the caller has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<Scope>>,
    /// `null` for a key without end.
    #[serde(default, deserialize_with = "named", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Timestamp>)]
    pub expires_at: Option<Option<Timestamp>>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RotateApiKey {
    /// How long the old secret goes on working: 0 to 2592000 (30 days); a day when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_period_seconds: Option<u32>,
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

/// A login of the caller's, as they recognise it by.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    pub id: SessionId,
    pub kind: SessionKind,
    /// Whether it is the one this request was sent with.
    pub current: bool,
    /// What the program that logged in calls itself; nobody checks it.
    #[schema(required)]
    pub client_id: Option<String>,
    /// What it may be used for.
    pub scopes: Vec<Scope>,
    /// The address it was last used from.
    #[schema(required)]
    pub ip: Option<String>,
    #[schema(required)]
    pub user_agent: Option<String>,
    pub created_at: Timestamp,
    /// To the minute.
    pub last_seen_at: Timestamp,
    /// When it ends unless it is used.
    pub expires_at: Timestamp,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionList {
    pub sessions: Vec<Session>,
    pub pagination: Pagination,
}

/// Another password. Every other session of the account ends.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChangePassword {
    pub current_password: String,
    /// 8 to 256 characters.
    pub new_password: String,
}
