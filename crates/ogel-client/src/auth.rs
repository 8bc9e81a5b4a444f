//! Signing up, logging in, sessions and API keys.

use crate::{Client, PageQuery, Result};
use http::Method;
use ogel_api::{
    auth::{
        ApiKey, ApiKeyCreated, ApiKeyList, ChangePassword, CurrentSession, DeviceCode, DeviceCodeRequest,
        IntrospectRequest, Introspection, LoggedIn, Login, NewApiKey, OAuthError, RevokeRequest, RotateApiKey, Session,
        SessionList, Signup, Token, TokenRequest, UpdateApiKey,
    },
    id::{ApiKeyId, SessionId},
};

impl Client {
    /// `POST auth/signup`. The answer's token is not taken over: make another client with it.
    pub async fn signup(&self, new: &Signup) -> Result<LoggedIn> {
        self.post(&["auth", "signup"], new).await
    }

    /// `POST auth/login`. The answer's token is not taken over: make another client with it.
    pub async fn login(&self, login: &Login) -> Result<LoggedIn> {
        self.post(&["auth", "login"], login).await
    }

    /// `POST auth/logout`: ends the session whose token this client has.
    pub async fn logout(&self) -> Result<()> {
        self.done(Method::POST, &["auth", "logout"]).await
    }

    /// `GET auth/session`: who the token belongs to and what it allows.
    pub async fn session(&self) -> Result<CurrentSession> {
        self.get(&["auth", "session"], &[]).await
    }

    /// `POST auth/api-keys`. The secret is in this answer only.
    pub async fn create_api_key(&self, new: &NewApiKey) -> Result<ApiKeyCreated> {
        self.post(&["auth", "api-keys"], new).await
    }

    /// `GET auth/api-keys`
    pub async fn list_api_keys(&self, page: &PageQuery) -> Result<ApiKeyList> {
        self.get(&["auth", "api-keys"], &page.pairs()).await
    }

    /// `GET auth/api-keys/{id}`
    pub async fn get_api_key(&self, id: ApiKeyId) -> Result<ApiKey> {
        self.get(&["auth", "api-keys", &id.to_string()], &[]).await
    }

    /// `DELETE auth/api-keys/{id}`: it stops working at once.
    pub async fn delete_api_key(&self, id: ApiKeyId) -> Result<()> {
        self.done(Method::DELETE, &["auth", "api-keys", &id.to_string()]).await
    }

    /// `POST auth/device/code`: begins a login that somebody confirms on another device.
    pub async fn start_device_login(&self, asked: &DeviceCodeRequest) -> Result<DeviceCode> {
        self.post(&["auth", "device", "code"], asked).await
    }

    /// `POST auth/token`, once: a refresh token must not be sent again blindly. What the server says in the words of the
    /// RFCs (`authorization_pending`, `invalid_grant`, …) is the inner error.
    pub async fn token(&self, asked: &TokenRequest) -> Result<std::result::Result<Token, OAuthError>> {
        self.once(&["auth", "token"], asked).await
    }

    /// `POST auth/revoke`: ends the login that a token belongs to.
    pub async fn revoke(&self, asked: &RevokeRequest) -> Result<()> {
        self.send_and_forget(Method::POST, &["auth", "revoke"], asked).await
    }

    /// `POST auth/introspect`: whether a token of the caller's own works, and for what.
    pub async fn introspect(&self, asked: &IntrospectRequest) -> Result<Introspection> {
        self.post(&["auth", "introspect"], asked).await
    }

    /// `GET auth/api-keys/self`: the key this client calls with.
    pub async fn get_own_api_key(&self) -> Result<ApiKey> {
        self.get(&["auth", "api-keys", "self"], &[]).await
    }

    /// `PATCH auth/api-keys/{id}`
    pub async fn update_api_key(&self, id: ApiKeyId, change: &UpdateApiKey) -> Result<ApiKey> {
        self.patch(&["auth", "api-keys", &id.to_string()], change).await
    }

    /// `POST auth/api-keys/{id}/rotate`. The new secret is in this answer only; the old one works for a while longer.
    pub async fn rotate_api_key(&self, id: ApiKeyId, how: &RotateApiKey) -> Result<ApiKeyCreated> {
        self.post(&["auth", "api-keys", &id.to_string(), "rotate"], how).await
    }

    /// `GET auth/sessions`
    pub async fn list_sessions(&self, page: &PageQuery) -> Result<SessionList> {
        self.get(&["auth", "sessions"], &page.pairs()).await
    }

    /// `GET auth/sessions/{id}`
    pub async fn get_session(&self, id: SessionId) -> Result<Session> {
        self.get(&["auth", "sessions", &id.to_string()], &[]).await
    }

    /// `DELETE auth/sessions/{id}`: it ends at once.
    pub async fn delete_session(&self, id: SessionId) -> Result<()> {
        self.done(Method::DELETE, &["auth", "sessions", &id.to_string()]).await
    }

    /// `DELETE auth/sessions`: all end at once but the one this client has.
    pub async fn delete_other_sessions(&self) -> Result<()> {
        self.done(Method::DELETE, &["auth", "sessions"]).await
    }

    /// `POST users/me/password`: every other session ends.
    pub async fn change_password(&self, change: &ChangePassword) -> Result<()> {
        self.send_and_forget(Method::POST, &["users", "me", "password"], change).await
    }
}
