//! The caller's own profile.

use crate::{Client, Result};
use http::Method;
use ogel_api::users::{UpdateUser, User};

impl Client {
    /// `GET users/me`
    pub async fn get_me(&self) -> Result<User> {
        self.get(&["users", "me"], &[]).await
    }

    /// `PATCH users/me`
    pub async fn update_me(&self, change: &UpdateUser) -> Result<User> {
        self.patch(&["users", "me"], change).await
    }

    /// `POST users/me/sessions/revoke-all`: ends every login of the caller's; API keys stay.
    pub async fn revoke_all_sessions(&self) -> Result<()> {
        self.done(Method::POST, &["users", "me", "sessions", "revoke-all"]).await
    }
}
