//! Logins. A token is kept as its SHA-256 only.

use crate::{
    Act, Entry, Page, PageRequest, Result, Store, User,
    audit::write_down,
    pool::{on_read, on_write},
    words::row,
};
use chrono::{DateTime, Utc};
use ogel_api::{
    audit::AuditAction,
    auth::{Scope, SessionKind},
    id::{SessionId, UserId},
};
use std::net::IpAddr;

#[derive(Clone, PartialEq, Eq)]
pub struct Session {
    pub id: SessionId,
    pub user_id: UserId,
    pub token_hash: [u8; 32],
    pub kind: SessionKind,
    /// What the program that logged in calls itself.
    pub client_id: Option<String>,
    /// None: all there are.
    pub scopes: Option<Vec<Scope>>,
    /// Where it was last seen.
    pub ip: Option<IpAddr>,
    pub user_agent: Option<String>,
    pub created_at: DateTime<Utc>,
    /// Moves on with use.
    pub expires_at: DateTime<Utc>,
    /// When the token alone ends; it is renewed by a refresh token.
    pub token_expires_at: Option<DateTime<Utc>>,
    pub last_seen_at: DateTime<Utc>,
}
row!(Session, columns of "sessions" {
    id,
    user_id,
    token_hash,
    kind,
    client_id,
    scopes,
    ip,
    user_agent,
    created_at,
    expires_at,
    token_expires_at,
    last_seen_at
});
pub(crate) use columns as session_columns;

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("id", &self.id).field("user_id", &self.user_id).finish_non_exhaustive()
    }
}

impl Session {
    /// In the log of its person.
    pub(crate) fn made(&self) -> Entry {
        Entry::new(None, AuditAction::SessionCreated, self.id)
            .after("kind", self.kind)
            .after("clientId", &self.client_id)
            .after("userAgent", &self.user_agent)
    }
}

/// That a login was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionUse {
    pub id: SessionId,
    pub at: DateTime<Utc>,
    pub ip: IpAddr,
    /// Until when the use prolongs it. Logins that are renewed by a refresh token are prolonged by that.
    pub expires_at: DateTime<Utc>,
}

pub(crate) const INSERT: &str = "INSERT INTO sessions (id, user_id, token_hash, kind, client_id, scopes, ip, user_agent, \
     created_at, expires_at, token_expires_at, last_seen_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";

/// Binds what [`INSERT`] takes.
macro_rules! bind_session {
    ($query:expr, $session:expr) => {
        $query
            .bind($session.id.0)
            .bind($session.user_id.0)
            .bind(&$session.token_hash[..])
            .bind($session.kind.as_str())
            .bind(&$session.client_id)
            .bind($session.scopes.as_deref().map($crate::words::scopes_text))
            .bind($session.ip.map(|ip| ip.to_string()))
            .bind(&$session.user_agent)
            .bind($session.created_at)
            .bind($session.expires_at)
            .bind($session.token_expires_at)
            .bind($session.last_seen_at)
    };
}
pub(crate) use bind_session;

/// Other writers wait for the transaction.
const USES_AT_ONCE: usize = 200;

impl Store {
    pub async fn create_session(&self, act: &Act, session: &Session) -> Result<()> {
        on_write!(self, db => {
            let mut tx = db.begin_with(BEGIN).await?;
            bind_session!(sqlx::query(INSERT), session).execute(&mut *tx).await?;
            write_down!(tx, act, [session.made()]);
            tx.commit().await?;
        });
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

    /// A person's logins that have not ended, newest first.
    pub async fn sessions(&self, user: UserId, now: DateTime<Utc>, request: &PageRequest) -> Result<Page<Session>> {
        let rows = on_read!(self, db => sqlx::query_as(concat!(
            "SELECT ", columns!(), " FROM sessions WHERE user_id = $1 AND expires_at > $2 AND (created_at, id) < ($3, $4) \
             ORDER BY created_at DESC, id DESC LIMIT $5"))
            .bind(user.0).bind(now).bind(request.after_time()).bind(request.after_id()).bind(request.fetch())
            .fetch_all(db).await?);
        Ok(request.page(rows, |session: &Session| (session.created_at, session.id.0)))
    }

    /// One that has not ended, of this person.
    pub async fn session(&self, id: SessionId, user: UserId, now: DateTime<Utc>) -> Result<Option<Session>> {
        Ok(on_read!(self, db => sqlx::query_as(concat!(
            "SELECT ", columns!(), " FROM sessions WHERE id = $1 AND user_id = $2 AND expires_at > $3"))
            .bind(id.0).bind(user.0).bind(now).fetch_optional(db).await?))
    }

    /// Whether the account with this e-mail address, if there is one, is logged in from there.
    pub async fn is_logged_in_from(&self, email: &str, ip: IpAddr, now: DateTime<Utc>) -> Result<bool> {
        let email = email.to_lowercase();
        Ok(on_read!(self, db => sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM sessions JOIN users ON users.id = sessions.user_id \
             WHERE lower(users.email) = $1 AND sessions.ip = $2 AND sessions.expires_at > $3)")
            .bind(&email).bind(ip.to_string()).bind(now).fetch_one(db).await?))
    }

    /// Whether there was one of this person's.
    pub async fn delete_session(&self, act: &Act, id: SessionId, user: UserId) -> Result<bool> {
        let done = on_write!(self, db => {
            let mut tx = db.begin_with(BEGIN).await?;
            let done = sqlx::query("DELETE FROM sessions WHERE id = $1 AND user_id = $2")
                .bind(id.0).bind(user.0).execute(&mut *tx).await?.rows_affected();
            if done > 0 {
                write_down!(tx, act, [Entry::new(None, AuditAction::SessionEnded, id)]);
            }
            tx.commit().await?;
            done
        });
        Ok(done > 0)
    }

    /// All of a person's but `kept`; answers how many.
    pub async fn delete_other_sessions(&self, act: &Act, user: UserId, kept: Option<SessionId>) -> Result<u64> {
        Ok(on_write!(self, db => {
            let mut tx = db.begin_with(BEGIN).await?;
            let ended = sqlx::query("DELETE FROM sessions WHERE user_id = $1 AND ($2 IS NULL OR id <> $2)")
                .bind(user.0).bind(kept.map(|id| id.0)).execute(&mut *tx).await?.rows_affected();
            if ended > 0 {
                let entry = Entry::new(None, AuditAction::UserSessionsEnded, user).before("sessions", ended);
                write_down!(tx, act, [entry]);
            }
            tx.commit().await?;
            ended
        }))
    }

    /// A new password. Whoever logged in with the old one is out, but for `kept`; so is whatever waits to be let in.
    pub async fn change_password(
        &self,
        act: &Act,
        user: UserId,
        password_hash: &str,
        kept: Option<SessionId>,
    ) -> Result<u64> {
        Ok(on_write!(self, db => {
            let mut tx = db.begin_with(BEGIN).await?;
            sqlx::query("UPDATE users SET password_hash = $2, updated_at = $3 WHERE id = $1")
                .bind(user.0).bind(password_hash).bind(act.at).execute(&mut *tx).await?;
            sqlx::query("DELETE FROM device_logins WHERE user_id = $1").bind(user.0).execute(&mut *tx).await?;
            let ended = sqlx::query("DELETE FROM sessions WHERE user_id = $1 AND ($2 IS NULL OR id <> $2)")
                .bind(user.0).bind(kept.map(|id| id.0)).execute(&mut *tx).await?.rows_affected();
            let entry = Entry::new(None, AuditAction::UserPasswordChanged, user).before("sessions", ended);
            write_down!(tx, act, [entry]);
            tx.commit().await?;
            ended
        }))
    }

    /// Notes that logins were used, in few transactions. Never turns a note back, and wakes none that has ended.
    pub async fn touch_sessions(&self, uses: &[SessionUse]) -> Result<()> {
        let mut uses = uses.to_vec();
        // All replicas take the rows in one order, so that none waits for another in a circle.
        uses.sort_unstable();
        for chunk in uses.chunks(USES_AT_ONCE) {
            on_write!(self, db => {
                let mut tx = db.begin_with(BEGIN).await?;
                for used in chunk {
                    sqlx::query(
                        "UPDATE sessions SET last_seen_at = $2, ip = $3, \
                         expires_at = CASE WHEN token_expires_at IS NULL AND expires_at < $4 THEN $4 ELSE expires_at END \
                         WHERE id = $1 AND last_seen_at < $2 AND expires_at > $2")
                        .bind(used.id.0).bind(used.at).bind(used.ip.to_string()).bind(used.expires_at)
                        .execute(&mut *tx).await?;
                }
                tx.commit().await?;
            });
        }
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
