//! Signing up, logging in, sessions and API keys.

use crate::{Client, PageQuery, Result};
use http::Method;
use ogel_api::{
    auth::{ApiKey, ApiKeyCreated, ApiKeyList, CurrentSession, LoggedIn, Login, NewApiKey, Signup},
    id::ApiKeyId,
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
}
