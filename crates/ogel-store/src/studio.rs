//! People whom Studio's own login knows, and sessions that ended before their time.
//!
//! Studio's sessions are not ours to delete, so what ended is written down: one session by the hash of its id, all of a
//! person's by the time before which none counts.

use crate::{
    Act, ApiKey, Entry, Result, Store, User,
    api_keys::{api_key_columns, revoked},
    audit::write_down,
    pool::{on_read, on_write},
};
use chrono::{DateTime, Utc};
use ogel_api::{audit::AuditAction, id::UserId};
use uuid::Uuid;

const REVOKE: &str = "INSERT INTO revoked_sessions (id_hash, user_id, created_at, expires_at) VALUES ($1, $2, $3, $4) \
     ON CONFLICT (id_hash) DO NOTHING";

impl Store {
    /// The person whom Studio calls `subject`: by what was written down, else the one who has that very id here, as
    /// people of a Studio on the same database do.
    pub async fn studio_user(&self, subject: &str) -> Result<Option<User>> {
        let linked: Option<Uuid> = on_read!(self, db => sqlx::query_scalar(
            "SELECT user_id FROM studio_identities WHERE subject = $1").bind(subject).fetch_optional(db).await?);
        match linked.or_else(|| Uuid::try_parse(subject).ok()) {
            Some(id) => self.user(UserId(id)).await,
            None => Ok(None),
        }
    }

    /// Remembers whom `subject` stands for; the first answer stays, and everybody gets it.
    ///
    /// Nobody has shown that the e-mail address behind a password of ours is theirs, but Studio says that it is this
    /// person's. So whoever chose that password is shut out: it ends, and with it every login and API key.
    pub async fn link_studio_user(&self, act: &Act, subject: &str, user: UserId) -> Result<UserId> {
        on_write!(self, db => {
            let mut tx = db.begin_with(BEGIN).await?;
            let linked = sqlx::query(
                "INSERT INTO studio_identities (subject, user_id, created_at) VALUES ($1, $2, $3) \
                 ON CONFLICT (subject) DO NOTHING")
                .bind(subject).bind(user.0).bind(act.at).execute(&mut *tx).await?.rows_affected();
            if linked > 0 {
                let had_password = sqlx::query(
                    "UPDATE users SET password_hash = NULL, updated_at = $2 WHERE id = $1 AND password_hash IS NOT NULL")
                    .bind(user.0).bind(act.at).execute(&mut *tx).await?.rows_affected();
                let mut entries = vec![Entry::new(None, AuditAction::UserLinked, user)
                    .changed("hasPassword", had_password > 0, false).after("subject", subject)];
                if had_password > 0 {
                    sqlx::query("DELETE FROM sessions WHERE user_id = $1").bind(user.0).execute(&mut *tx).await?;
                    let keys: Vec<ApiKey> = sqlx::query_as(concat!(
                        "DELETE FROM api_keys WHERE user_id = $1 RETURNING ", api_key_columns!()))
                        .bind(user.0).fetch_all(&mut *tx).await?;
                    entries.extend(revoked!(tx, keys, act));
                }
                write_down!(tx, &act.by(user), entries);
            }
            let stayed: Uuid = sqlx::query_scalar("SELECT user_id FROM studio_identities WHERE subject = $1")
                .bind(subject).fetch_one(&mut *tx).await?;
            tx.commit().await?;
            Ok(UserId(stayed))
        })
    }

    /// The ids Studio knows the person by, if any was written down; at most `limit`.
    pub async fn studio_subjects(&self, user: UserId, limit: u32) -> Result<Vec<String>> {
        Ok(on_read!(self, db => sqlx::query_scalar(
            "SELECT subject FROM studio_identities WHERE user_id = $1 ORDER BY subject LIMIT $2")
            .bind(user.0).bind(i64::from(limit)).fetch_all(db).await?))
    }

    /// Ends one session of Studio's. `expires_at` is when it would have ended anyway.
    pub async fn revoke_session(
        &self,
        act: &Act,
        id_hash: &[u8; 32],
        user: UserId,
        expires_at: DateTime<Utc>,
    ) -> Result<()> {
        on_write!(self, db => {
            let mut tx = db.begin_with(BEGIN).await?;
            let done = sqlx::query(REVOKE).bind(&id_hash[..]).bind(user.0).bind(act.at).bind(expires_at)
                .execute(&mut *tx).await?.rows_affected();
            if done > 0 {
                // It has no id that means anything here.
                let entry = Entry::new(None, AuditAction::SessionEnded, user).before("kind", "studio");
                write_down!(tx, act, [entry]);
            }
            tx.commit().await?;
        });
        Ok(())
    }

    /// The same for one of many that end together, which are written down together.
    pub async fn revoke_session_too(
        &self,
        id_hash: &[u8; 32],
        user: UserId,
        now: DateTime<Utc>,
        expires_at: DateTime<Utc>,
    ) -> Result<()> {
        on_write!(self, db => sqlx::query(REVOKE)
            .bind(&id_hash[..]).bind(user.0).bind(now).bind(expires_at).execute(db).await?.rows_affected());
        Ok(())
    }

    /// Ends every session of the person's: ours go, Studio's that began up to now do not count any more.
    pub async fn revoke_all_sessions(&self, act: &Act, user: UserId) -> Result<()> {
        on_write!(self, db => {
            let mut tx = db.begin_with(BEGIN).await?;
            sqlx::query("INSERT INTO session_cutoffs (user_id, not_before) VALUES ($1, $2) \
                         ON CONFLICT (user_id) DO UPDATE SET not_before = excluded.not_before")
                .bind(user.0).bind(act.at).execute(&mut *tx).await?;
            let ended = sqlx::query("DELETE FROM sessions WHERE user_id = $1").bind(user.0).execute(&mut *tx).await?
                .rows_affected();
            let entry = Entry::new(None, AuditAction::UserSessionsEnded, user).before("sessions", ended);
            write_down!(tx, act, [entry]);
            tx.commit().await?;
        });
        Ok(())
    }

    /// Whether a session that began at `issued_at` has ended before its time: by itself, with all of its person's, or with
    /// an account that one of `closed` is a hash of.
    pub async fn is_session_revoked(
        &self,
        id_hash: &[u8; 32],
        user: Option<UserId>,
        closed: &[[u8; 32]; 2],
        issued_at: DateTime<Utc>,
    ) -> Result<bool> {
        let count: i64 = on_read!(self, db => sqlx::query_scalar(
            "SELECT (SELECT COUNT(*) FROM revoked_sessions WHERE id_hash = $1) \
                  + (SELECT COUNT(*) FROM session_cutoffs WHERE user_id = $2 AND not_before >= $3) \
                  + (SELECT COUNT(*) FROM closed_identities WHERE id_hash IN ($4, $5) AND closed_at >= $3)")
            .bind(&id_hash[..]).bind(user.map(|id| id.0)).bind(issued_at).bind(&closed[0][..]).bind(&closed[1][..])
            .fetch_one(db).await?);
        Ok(count > 0)
    }

    /// Whether one of `closed` is a hash of an account that was deleted, and a session from before may still be in use.
    pub async fn is_identity_closed(&self, closed: &[[u8; 32]; 2], now: DateTime<Utc>) -> Result<bool> {
        Ok(on_read!(self, db => sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM closed_identities WHERE id_hash IN ($1, $2) AND expires_at > $3)")
            .bind(&closed[0][..]).bind(&closed[1][..]).bind(now).fetch_one(db).await?))
    }

    /// Removes at most `limit` revocations of sessions that have ended anyway; answers how many.
    pub async fn delete_expired_revocations(&self, now: DateTime<Utc>, limit: u32) -> Result<u64> {
        Ok(on_write!(self, db => sqlx::query(
            "DELETE FROM revoked_sessions WHERE expires_at <= $1 AND id_hash IN \
             (SELECT id_hash FROM revoked_sessions WHERE expires_at <= $1 LIMIT $2)")
            .bind(now).bind(i64::from(limit)).execute(db).await?.rows_affected()))
    }
}
