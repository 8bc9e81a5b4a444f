//! One record per `Idempotency-Key`: who holds it, of which body, and the answer once there is one.

use crate::{
    Result, Store, StoreError,
    pool::{on_read, on_write},
    words::row,
};
use chrono::{DateTime, TimeDelta, Utc};

/// What a request with a key is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begin {
    /// The work; nobody else will.
    Fresh,
    /// Come back later: another request is at it.
    Running { since: DateTime<Utc>, same_body: bool },
    /// Answer with this.
    Done { same_body: bool, status: u16, body: Vec<u8>, content_type: String },
}

struct Record {
    body_hash: [u8; 32],
    finished: bool,
    status: i64,
    body: Vec<u8>,
    content_type: String,
    created_at: DateTime<Utc>,
}
row!(Record, columns of "idempotency_keys" { body_hash, finished, status, body, content_type, created_at });

impl Store {
    /// Takes the key, or says who has it. An expired record is taken over, and so is one whose request began longer than
    /// `lease` ago without an answer: its process died.
    pub async fn begin_idempotent(
        &self,
        scope_hash: &[u8; 32],
        body_hash: &[u8; 32],
        now: DateTime<Utc>,
        expires_at: DateTime<Utc>,
        lease: TimeDelta,
    ) -> Result<Begin> {
        for _ in 0..3 {
            let taken = on_write!(self, db => sqlx::query(
                "INSERT INTO idempotency_keys (scope_hash, body_hash, finished, status, body, content_type, created_at, expires_at) \
                 VALUES ($1, $2, $3, 0, $4, '', $5, $6) \
                 ON CONFLICT (scope_hash) DO UPDATE SET body_hash = excluded.body_hash, finished = excluded.finished, \
                   status = excluded.status, body = excluded.body, content_type = excluded.content_type, \
                   created_at = excluded.created_at, expires_at = excluded.expires_at \
                 WHERE idempotency_keys.expires_at <= $5 \
                    OR (NOT idempotency_keys.finished AND idempotency_keys.created_at <= $7 \
                        AND idempotency_keys.body_hash = excluded.body_hash)")
                .bind(&scope_hash[..]).bind(&body_hash[..]).bind(false).bind(&[][..] as &[u8]).bind(now).bind(expires_at).bind(now - lease)
                .execute(db).await?.rows_affected());
            if taken > 0 {
                return Ok(Begin::Fresh);
            }
            let record: Option<Record> = on_read!(self, db => sqlx::query_as(concat!(
                "SELECT ", columns!(), " FROM idempotency_keys WHERE scope_hash = $1")).bind(&scope_hash[..]).fetch_optional(db).await?);
            // Gone between the two statements: its request failed and gave the key back.
            let Some(record) = record else { continue };
            let same_body = record.body_hash == *body_hash;
            if !record.finished {
                return Ok(Begin::Running { since: record.created_at, same_body });
            }
            let status = u16::try_from(record.status).map_err(|error| StoreError::Corrupt(Box::new(error)))?;
            return Ok(Begin::Done { same_body, status, body: record.body, content_type: record.content_type });
        }
        Ok(Begin::Running { since: now, same_body: true })
    }

    /// Keeps the answer for those who come with the key again. The first answer stays: one who lost the key to another
    /// by being slow must not change what was already replayed.
    pub async fn finish_idempotent(
        &self,
        scope_hash: &[u8; 32],
        status: u16,
        body: &[u8],
        content_type: &str,
    ) -> Result<()> {
        on_write!(self, db => sqlx::query(
            "UPDATE idempotency_keys SET finished = $2, status = $3, body = $4, content_type = $5 \
             WHERE scope_hash = $1 AND NOT finished")
            .bind(&scope_hash[..]).bind(true).bind(i64::from(status)).bind(body).bind(content_type)
            .execute(db).await?.rows_affected());
        Ok(())
    }

    /// Gives the key back: nothing was done. A kept answer stays.
    pub async fn forget_idempotent(&self, scope_hash: &[u8; 32]) -> Result<()> {
        on_write!(self, db => sqlx::query("DELETE FROM idempotency_keys WHERE scope_hash = $1 AND NOT finished")
            .bind(&scope_hash[..]).execute(db).await?.rows_affected());
        Ok(())
    }

    /// Removes at most `limit`; answers how many.
    pub async fn delete_expired_idempotency(&self, now: DateTime<Utc>, limit: u32) -> Result<u64> {
        Ok(on_write!(self, db => sqlx::query(
            // The outer condition is asked again if the key is taken anew while the statement waits for it.
            "DELETE FROM idempotency_keys WHERE expires_at <= $1 AND scope_hash IN \
             (SELECT scope_hash FROM idempotency_keys WHERE expires_at <= $1 LIMIT $2)")
            .bind(now).bind(i64::from(limit)).execute(db).await?.rows_affected()))
    }
}
