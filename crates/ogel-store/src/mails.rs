//! Mail that waits to be sent, written in the transaction of what it tells about. Whoever takes some of it moves its next
//! attempt into the future first: if they die, somebody else tries then. It is removed once it is sent.

use crate::{Result, Store, pool::on_write, words::row};
use chrono::{DateTime, Utc};
use uuid::Uuid;

#[derive(Clone, PartialEq, Eq)]
pub struct Mail {
    pub id: Uuid,
    pub recipient: String,
    pub subject: String,
    /// Can hold a token.
    pub sealed_text: String,
    /// How often it was taken.
    pub attempts: i64,
}
row!(Mail { id, recipient, subject, sealed_text, attempts });

impl std::fmt::Debug for Mail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mail").field("id", &self.id).field("attempts", &self.attempts).finish_non_exhaustive()
    }
}

/// Queues `$mail` in the transaction `$tx`.
macro_rules! queue {
    ($tx:expr, $mail:expr, $invitation:expr, $now:expr) => {{
        let mail: &$crate::Mail = $mail;
        sqlx::query(
            "INSERT INTO mails (id, invitation_id, recipient, subject, sealed_text, next_attempt_at, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $6)",
        )
        .bind(mail.id)
        .bind($invitation)
        .bind(&mail.recipient)
        .bind(&mail.subject)
        .bind(&mail.sealed_text)
        .bind($now)
        .execute(&mut *$tx)
        .await?;
    }};
}
pub(crate) use queue;

impl Store {
    /// Takes at most `limit` that are due; nobody else gets them before `until`.
    pub async fn take_due_mails(&self, now: DateTime<Utc>, until: DateTime<Utc>, limit: u32) -> Result<Vec<Mail>> {
        Ok(on_write!(self, db => sqlx::query_as(
            // The outer condition is asked again if another process took the row while the statement waited for it.
            "UPDATE mails SET next_attempt_at = $2, attempts = attempts + 1 \
             WHERE next_attempt_at <= $1 AND failed_at IS NULL \
             AND id IN (SELECT id FROM mails WHERE next_attempt_at <= $1 AND failed_at IS NULL ORDER BY next_attempt_at LIMIT $3) \
             RETURNING id, recipient, subject, sealed_text, attempts")
            .bind(now).bind(until).bind(i64::from(limit)).fetch_all(db).await?))
    }

    pub async fn mail_is_sent(&self, id: Uuid) -> Result<()> {
        on_write!(self, db => sqlx::query("DELETE FROM mails WHERE id = $1").bind(id).execute(db).await?.rows_affected());
        Ok(())
    }

    /// Not sent: again at `next`, or never.
    pub async fn mail_is_not_sent(&self, id: Uuid, next: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Result<()> {
        let failed = next.is_none().then_some(now);
        on_write!(self, db => sqlx::query(
            "UPDATE mails SET next_attempt_at = COALESCE($2, next_attempt_at), failed_at = $3 WHERE id = $1")
            .bind(id).bind(next).bind(failed).execute(db).await?.rows_affected());
        Ok(())
    }

    /// Removes at most `limit` that were given up before then.
    pub async fn delete_failed_mails(&self, before: DateTime<Utc>, limit: u32) -> Result<u64> {
        Ok(on_write!(self, db => sqlx::query(
            "DELETE FROM mails WHERE failed_at < $1 AND id IN (SELECT id FROM mails WHERE failed_at < $1 LIMIT $2)")
            .bind(before).bind(i64::from(limit)).execute(db).await?.rows_affected()))
    }
}
