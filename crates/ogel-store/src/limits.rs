//! Limits that operators set for somebody until a certain time.

use crate::{
    Result, Store,
    pool::{on_read, on_write},
};
use chrono::{DateTime, Utc};

/// More than anybody sets by hand; those that end first are dropped from a list that is longer.
const MOST: i64 = 10_000;

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitOverride {
    /// `key`, `user`, `organization`, `project` or `address`.
    pub kind: String,
    pub holder: String,
    /// Which limit, as `RateLimit-Policy` names it.
    pub policy: String,
    pub max_requests: u64,
    pub expires_at: DateTime<Utc>,
}

type Row = (String, String, String, i64, DateTime<Utc>);

impl Store {
    /// Those that hold at `now`.
    pub async fn limit_overrides(&self, now: DateTime<Utc>) -> Result<Vec<LimitOverride>> {
        const SQL: &str = "SELECT holder_kind, holder, policy, max_requests, expires_at FROM limit_overrides \
             WHERE expires_at > $1 ORDER BY expires_at DESC, holder_kind, holder, policy LIMIT $2";
        let rows: Vec<Row> = on_read!(self, db => sqlx::query_as(SQL).bind(now).bind(MOST).fetch_all(db).await?);
        let row = |(kind, holder, policy, max, expires_at): Row| LimitOverride {
            kind,
            holder,
            policy,
            max_requests: u64::try_from(max).unwrap_or(0),
            expires_at,
        };
        Ok(rows.into_iter().map(row).collect())
    }

    /// Sets one, in the place of an earlier one.
    pub async fn set_limit_override(&self, row: &LimitOverride, now: DateTime<Utc>) -> Result<()> {
        const SQL: &str = "INSERT INTO limit_overrides (holder_kind, holder, policy, max_requests, expires_at, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (holder_kind, holder, policy) DO UPDATE \
             SET max_requests = excluded.max_requests, expires_at = excluded.expires_at, created_at = excluded.created_at";
        let max = i64::try_from(row.max_requests).unwrap_or(i64::MAX);
        on_write!(self, db => sqlx::query(SQL).bind(&row.kind).bind(&row.holder).bind(&row.policy).bind(max)
            .bind(row.expires_at).bind(now).execute(db).await?.rows_affected());
        Ok(())
    }

    /// Takes one back; false when there was none.
    pub async fn delete_limit_override(&self, kind: &str, holder: &str, policy: &str) -> Result<bool> {
        const SQL: &str = "DELETE FROM limit_overrides WHERE holder_kind = $1 AND holder = $2 AND policy = $3";
        let gone = on_write!(self, db => sqlx::query(SQL).bind(kind).bind(holder).bind(policy).execute(db).await?.rows_affected());
        Ok(gone > 0)
    }

    /// Removes those that have ended.
    pub async fn delete_expired_limit_overrides(&self, now: DateTime<Utc>, at_most: u32) -> Result<u64> {
        const SQL: &str = "DELETE FROM limit_overrides WHERE (holder_kind, holder, policy) IN \
             (SELECT holder_kind, holder, policy FROM limit_overrides WHERE expires_at <= $1 LIMIT $2)";
        Ok(
            on_write!(self, db => sqlx::query(SQL).bind(now).bind(i64::from(at_most)).execute(db).await?.rows_affected()),
        )
    }
}
