//! One record per `Idempotency-Key`: who holds it, of which body, and the answer once there is one.

use crate::{
    Result, Store, StoreError,
    pool::{on_read, on_write},
    words::row,
};
use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

/// What a request with a key is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begin {
    /// The work; nobody else will, as long as the lease is prolonged.
    Fresh(KeyHold),
    /// Come back later: another request is at it.
    Running { since: DateTime<Utc>, same_body: bool },
    /// Answer with this.
    Done { same_body: bool, status: u16, body: Vec<u8>, content_type: String },
}

/// A key, held by the request that does the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyHold {
    /// Raised each time the key is taken; who comes with an old one has lost it, and changes nothing.
    pub fence: i64,
    /// The id of what the request makes. Stays the same when the key is taken over, so that whoever does the work again
    /// finds what was made before.
    pub made_id: Uuid,
}
row!(KeyHold { fence, made_id });

struct Record {
    body_hash: [u8; 32],
    finished: bool,
    status: i64,
    body: Vec<u8>,
    content_type: String,
    created_at: DateTime<Utc>,
}
row!(Record, columns of "idempotency_keys" { body_hash, finished, status, body, content_type, created_at });

/// A request with a key, as it comes in.
#[derive(Clone, Copy, Debug)]
pub struct IdempotentUse<'a> {
    pub scope_hash: &'a [u8; 32],
    pub body_hash: &'a [u8; 32],
    /// For what it makes, unless the key was used before.
    pub made_id: Uuid,
    pub now: DateTime<Utc>,
    pub lease: TimeDelta,
    pub expires_at: DateTime<Utc>,
}

/// The answer to a request with a key, for the transaction of what the request does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptAnswer {
    pub scope_hash: [u8; 32],
    /// Of the hold.
    pub fence: i64,
    pub status: u16,
    /// Sealed.
    pub body: Vec<u8>,
    pub content_type: &'static str,
}

pub(crate) const FINISH: &str = "UPDATE idempotency_keys SET finished = $2, status = $3, body = $4, content_type = $5 \
     WHERE scope_hash = $1 AND fence = $6 AND NOT finished";

/// Keeps the answer of `$act`, if it has one, in the transaction `$tx`; `KeyLost` when another request has the key by now.
macro_rules! keep_answer {
    ($tx:expr, $act:expr) => {
        if let Some(answer) = &$act.answer {
            let kept = sqlx::query($crate::idempotency::FINISH)
                .bind(&answer.scope_hash[..])
                .bind(true)
                .bind(i64::from(answer.status))
                .bind(&answer.body)
                .bind(answer.content_type)
                .bind(answer.fence)
                .execute(&mut *$tx)
                .await?
                .rows_affected();
            if kept == 0 {
                $tx.rollback().await?;
                return Err($crate::StoreError::KeyLost);
            }
        }
    };
}
pub(crate) use keep_answer;

impl Store {
    /// Takes the key, or says who has it. An expired record is taken over, and so is one without an answer whose lease is
    /// over: its process died, or gave up.
    pub async fn begin_idempotent(&self, key: &IdempotentUse<'_>) -> Result<Begin> {
        let IdempotentUse { scope_hash, body_hash, made_id, now, lease, expires_at } = *key;
        for _ in 0..3 {
            let taken: Option<KeyHold> = on_write!(self, db => sqlx::query_as(
                "INSERT INTO idempotency_keys (scope_hash, body_hash, finished, status, body, content_type, created_at, expires_at, \
                   made_id, fence, leased_until) \
                 VALUES ($1, $2, $3, 0, $4, '', $5, $6, $7, 1, $8) \
                 ON CONFLICT (scope_hash) DO UPDATE SET body_hash = excluded.body_hash, finished = excluded.finished, \
                   status = excluded.status, body = excluded.body, content_type = excluded.content_type, \
                   created_at = excluded.created_at, expires_at = excluded.expires_at, \
                   fence = idempotency_keys.fence + 1, leased_until = excluded.leased_until, \
                   made_id = CASE WHEN idempotency_keys.expires_at <= $5 OR idempotency_keys.made_id IS NULL \
                     THEN excluded.made_id ELSE idempotency_keys.made_id END \
                 WHERE idempotency_keys.expires_at <= $5 \
                    OR (NOT idempotency_keys.finished AND idempotency_keys.body_hash = excluded.body_hash \
                        AND COALESCE(idempotency_keys.leased_until, idempotency_keys.expires_at) <= $5) \
                 RETURNING fence, made_id")
                .bind(&scope_hash[..]).bind(&body_hash[..]).bind(false).bind(&[][..] as &[u8]).bind(now).bind(expires_at)
                .bind(made_id).bind(now + lease)
                .fetch_all(db).await?.pop());
            if let Some(hold) = taken {
                return Ok(Begin::Fresh(hold));
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

    /// Whether somebody is at it still, for those who wait.
    pub async fn is_idempotent_running(&self, scope_hash: &[u8; 32], now: DateTime<Utc>) -> Result<bool> {
        Ok(on_read!(self, db => sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM idempotency_keys WHERE scope_hash = $1 AND NOT finished AND expires_at > $2 \
             AND COALESCE(leased_until, expires_at) > $2)")
            .bind(&scope_hash[..]).bind(now).fetch_one(db).await?))
    }

    /// Prolongs the lease. Whether the key was still held.
    pub async fn renew_idempotent(&self, scope_hash: &[u8; 32], fence: i64, until: DateTime<Utc>) -> Result<bool> {
        let done = on_write!(self, db => sqlx::query(
            "UPDATE idempotency_keys SET leased_until = $3 WHERE scope_hash = $1 AND fence = $2 AND NOT finished")
            .bind(&scope_hash[..]).bind(fence).bind(until).execute(db).await?.rows_affected());
        Ok(done > 0)
    }

    /// Keeps the answer for those who come with the key again. One who lost the key to another by being slow changes
    /// nothing.
    pub async fn finish_idempotent(
        &self,
        scope_hash: &[u8; 32],
        fence: i64,
        status: u16,
        body: &[u8],
        content_type: &str,
    ) -> Result<()> {
        on_write!(self, db => sqlx::query(FINISH)
            .bind(&scope_hash[..]).bind(true).bind(i64::from(status)).bind(body).bind(content_type).bind(fence)
            .execute(db).await?.rows_affected());
        Ok(())
    }

    /// Gives the key back: nothing was done. A kept answer stays, and so does what another one holds.
    pub async fn forget_idempotent(&self, scope_hash: &[u8; 32], fence: i64) -> Result<()> {
        on_write!(self, db => sqlx::query("DELETE FROM idempotency_keys WHERE scope_hash = $1 AND fence = $2 AND NOT finished")
            .bind(&scope_hash[..]).bind(fence).execute(db).await?.rows_affected());
        Ok(())
    }

    /// Ends the lease: something broke, and nobody knows how much was done before. Whoever takes the key next gets the
    /// same `made_id`.
    pub async fn release_idempotent(&self, scope_hash: &[u8; 32], fence: i64, now: DateTime<Utc>) -> Result<()> {
        self.renew_idempotent(scope_hash, fence, now).await.map(drop)
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
