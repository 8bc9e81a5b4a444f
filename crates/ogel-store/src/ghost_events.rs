//! Which of Ghost's events were received. An id is kept until its copies can no longer come.

use crate::{
    Result, Store,
    pool::{on_read, on_write},
};
use chrono::{DateTime, Utc};

impl Store {
    /// Whether the event was received before.
    pub async fn knows_ghost_event(&self, id_hash: &[u8; 32]) -> Result<bool> {
        Ok(on_read!(self, db => sqlx::query_scalar::<_, i64>("SELECT COUNT(*) FROM ghost_events WHERE id_hash = $1")
            .bind(&id_hash[..]).fetch_one(db).await?)
            > 0)
    }

    /// Notes that the event was received. Whether it is the first time: of two at once one only is told so.
    pub async fn note_ghost_event(
        &self,
        id_hash: &[u8; 32],
        now: DateTime<Utc>,
        expires_at: DateTime<Utc>,
    ) -> Result<bool> {
        Ok(on_write!(self, db => sqlx::query(
            "INSERT INTO ghost_events (id_hash, received_at, expires_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
            .bind(&id_hash[..]).bind(now).bind(expires_at).execute(db).await?.rows_affected())
            > 0)
    }

    /// Removes at most `limit`; answers how many.
    pub async fn delete_expired_ghost_events(&self, now: DateTime<Utc>, limit: u32) -> Result<u64> {
        Ok(on_write!(self, db => sqlx::query(
            "DELETE FROM ghost_events WHERE id_hash IN (SELECT id_hash FROM ghost_events WHERE expires_at <= $1 LIMIT $2)")
            .bind(now).bind(i64::from(limit)).execute(db).await?.rows_affected()))
    }
}
