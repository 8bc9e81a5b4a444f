//! Logins. A token is kept as its SHA-256 only.

use crate::{
    Result, Store, User,
    pool::{on_read, on_write},
    words::row,
};
use chrono::{DateTime, Utc};
use ogel_api::id::{SessionId, UserId};

#[derive(Clone, PartialEq, Eq)]
pub struct Session {
    pub id: SessionId,
    pub user_id: UserId,
    pub token_hash: [u8; 32],
    pub created_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
    pub last_seen_at: DateTime<Utc>,
}
row!(Session, columns of "sessions" { id, user_id, token_hash, created_at, expires_at, last_seen_at });

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("id", &self.id).field("user_id", &self.user_id).finish_non_exhaustive()
    }
}

impl Store {
    pub async fn create_session(&self, session: &Session) -> Result<()> {
        on_write!(self, db => sqlx::query(
            "INSERT INTO sessions (id, user_id, token_hash, created_at, expires_at, last_seen_at) VALUES ($1, $2, $3, $4, $5, $6)")
            .bind(session.id.0).bind(session.user_id.0).bind(&session.token_hash[..])
            .bind(session.created_at).bind(session.expires_at).bind(session.last_seen_at)
            .execute(db).await?.rows_affected());
        Ok(())
    }

    /// The login, expired or not, and whose it is.
    pub async fn session_by_token(&self, token_hash: &[u8; 32]) -> Result<Option<(Session, User)>> {
        let session: Option<Session> = on_read!(self, db => sqlx::query_as(concat!(
            "SELECT ", columns!(), " FROM sessions WHERE token_hash = $1"))
            .bind(&token_hash[..]).fetch_optional(db).await?);
        let Some(session) = session else { return Ok(None) };
        Ok(self.user(session.user_id).await?.map(|user| (session, user)))
    }

    /// Whether there was one of this person's.
    pub async fn delete_session(&self, id: SessionId, user: UserId) -> Result<bool> {
        let done = on_write!(self, db => sqlx::query("DELETE FROM sessions WHERE id = $1 AND user_id = $2")
            .bind(id.0).bind(user.0).execute(db).await?.rows_affected());
        Ok(done > 0)
    }

    /// Sliding expiry.
    pub async fn touch_session(
        &self,
        id: SessionId,
        last_seen_at: DateTime<Utc>,
        expires_at: DateTime<Utc>,
    ) -> Result<()> {
        on_write!(self, db => sqlx::query("UPDATE sessions SET last_seen_at = $2, expires_at = $3 WHERE id = $1")
            .bind(id.0).bind(last_seen_at).bind(expires_at).execute(db).await?.rows_affected());
        Ok(())
    }

    /// Removes at most `limit`; answers how many.
    pub async fn delete_expired_sessions(&self, now: DateTime<Utc>, limit: u32) -> Result<u64> {
        Ok(on_write!(self, db => sqlx::query(
            // The outer condition is asked again if the row is prolonged while the statement waits for it.
            "DELETE FROM sessions WHERE expires_at <= $1 AND id IN (SELECT id FROM sessions WHERE expires_at <= $1 LIMIT $2)")
            .bind(now).bind(i64::from(limit)).execute(db).await?.rows_affected()))
    }
}
