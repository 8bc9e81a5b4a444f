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

/// Begins a login on another device (RFC 8628, 3.1).
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct DeviceCodeRequest {
    /// What the program calls itself; shown to the person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// Scopes, separated by blanks; all but `admin` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
}

/// What the program shows, and what it asks with (RFC 8628, 3.2).
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct DeviceCode {
    pub device_code: String,
    pub user_code: String,
    pub verification_uri: String,
    pub verification_uri_complete: String,
    /// Seconds.
    pub expires_in: u64,
    /// Seconds between two questions.
    pub interval: u64,
}

#[derive(Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct TokenRequest {
    /// `urn:ietf:params:oauth:grant-type:device_code`, `refresh_token`, or `urn:ietf:params:oauth:grant-type:token-exchange`.
    pub grant_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_code: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<String>,
    /// A session of Studio's, as its cookie holds it (RFC 8693).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject_token: Option<String>,
    /// `urn:ietf:params:oauth:token-type:jwt` or `…:access_token`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject_token_type: Option<String>,
}

/// A token, and mostly one to renew it with (RFC 6749, 5.1).
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct Token {
    pub access_token: String,
    pub token_type: String,
    /// Seconds.
    pub expires_in: u64,
    /// Works once; the answer has the next one. None where the token stands for a session that somebody else keeps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<String>,
    /// What an exchange answers with (RFC 8693, 2.2.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued_token_type: Option<String>,
    pub scope: String,
}

#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct RevokeRequest {
    pub token: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_type_hint: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
}

/// A token that is asked about (RFC 7662, 2.1).
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct IntrospectRequest {
    pub token: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_type_hint: Option<String>,
}

/// Whether a token works, and for what (RFC 7662, 2.2). The rest is left out where it does not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Introspection {
    pub active: bool,
    /// Scopes, separated by blanks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// What the program that logged in calls itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// The person's e-mail address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// `Bearer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_type: Option<String>,
    /// When it ends, in seconds since 1970; left out for what has no end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exp: Option<i64>,
    /// When the login or the key was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iat: Option<i64>,
    /// The person's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub: Option<String>,
}

/// What is wrong, in the words of RFC 6749 and RFC 8628.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct OAuthError {
    /// `authorization_pending`, `slow_down`, `access_denied`, `expired_token`, `invalid_grant`, …
    pub error: String,
    #[serde(default)]
    pub error_description: String,
}

/// A device that waits to be let in.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PendingDeviceLogin {
    pub user_code: String,
    /// What the program calls itself; nobody checks it.
    #[schema(required)]
    pub client_id: Option<String>,
    pub scopes: Vec<Scope>,
    /// From where it asked.
    #[schema(required)]
    pub ip: Option<String>,
    #[schema(required)]
    pub user_agent: Option<String>,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeviceDecision {
    pub user_code: String,
}

/// Another password. Every other session of the account ends.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChangePassword {
    pub current_password: String,
    /// 8 to 256 characters.
    pub new_password: String,
}
