//! The caller's own profile.

use crate::{Client, PageQuery, Result, transport::Download};
use http::Method;
use ogel_api::{
    audit::AuditLog,
    users::{DeleteAccount, UpdateUser, User},
};

impl Client {
    /// `GET users/me`
    pub async fn get_me(&self) -> Result<User> {
        self.get(&["users", "me"], &[]).await
    }

    /// `PATCH users/me`
    pub async fn update_me(&self, change: &UpdateUser) -> Result<User> {
        self.patch(&["users", "me"], change).await
    }

    /// `GET users/me/audit-log`: what was done to the caller's own account, newest first.
    pub async fn own_audit_log(&self, page: &PageQuery) -> Result<AuditLog> {
        self.get(&["users", "me", "audit-log"], &page.pairs()).await
    }

    /// `GET users/me/export`: everything kept about the caller, as a JSON document that arrives in pieces.
    pub async fn export_account(&self) -> Result<Download> {
        self.download(&["users", "me", "export"]).await
    }

    /// `DELETE users/me`: the account ends for good. Without the password, the login must be a few minutes old at most.
    pub async fn delete_account(&self, proof: &DeleteAccount) -> Result<()> {
        self.send_and_forget(Method::DELETE, &["users", "me"], proof).await
    }

    /// `POST users/me/sessions/revoke-all`: ends every login of the caller's; API keys stay.
    pub async fn revoke_all_sessions(&self) -> Result<()> {
        self.done(Method::POST, &["users", "me", "sessions", "revoke-all"]).await
    }
}
