//! Logins that are confirmed on another device, and the tokens that renew them. Codes and tokens are kept as SHA-256 only.

use crate::{
    Act, Entry, Result, Session, Store,
    audit::write_down,
    pool::{on_read, on_write},
    sessions::{INSERT as INSERT_SESSION, bind_session, session_columns},
    words::{row, scopes_text},
};
use chrono::{DateTime, TimeDelta, Utc};
use ogel_api::{
    audit::AuditAction,
    auth::Scope,
    error::UnknownWord,
    id::{SessionId, UserId},
};
use std::{net::IpAddr, str::FromStr};
use uuid::Uuid;

/// How far a login on another device has come. Approved ones end with their token, which removes the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceStatus {
    Pending,
    Approved,
    Denied,
}

impl DeviceStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Denied => "denied",
        }
    }
}

impl FromStr for DeviceStatus {
    type Err = UnknownWord;
    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        match word {
            "pending" => Ok(Self::Pending),
            "approved" => Ok(Self::Approved),
            "denied" => Ok(Self::Denied),
            _ => Err(UnknownWord { word: word.to_owned(), known: vec!["pending", "approved", "denied"] }),
        }
    }
}

#[derive(Clone, PartialEq, Eq)]
pub struct DeviceLogin {
    pub id: Uuid,
    pub device_code_hash: [u8; 32],
    /// What the person types; no dash.
    pub user_code: String,
    pub client_id: Option<String>,
    pub scopes: Vec<Scope>,
    pub ip: Option<IpAddr>,
    pub user_agent: Option<String>,
    pub status: DeviceStatus,
    /// Who decided.
    pub user_id: Option<UserId>,
    pub interval_seconds: i64,
    pub next_poll_at: DateTime<Utc>,
    pub created_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
}
row!(DeviceLogin, columns of "device_logins" {
    id,
    device_code_hash,
    user_code,
    client_id,
    scopes,
    ip,
    user_agent,
    status,
    user_id,
    interval_seconds,
    next_poll_at,
    created_at,
    expires_at
});

impl std::fmt::Debug for DeviceLogin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeviceLogin").field("id", &self.id).field("status", &self.status).finish_non_exhaustive()
    }
}

/// What a device is told when it asks.
#[derive(Debug)]
pub enum Poll {
    Unknown,
    Expired,
    Pending,
    /// It asked before its time; from now on it is to wait longer.
    TooEarly,
    Denied,
    Approved(Box<DeviceLogin>),
}

/// What became of a refresh token.
#[derive(Debug)]
pub enum Refreshed {
    Unknown,
    Expired,
    /// It was used before: one of the two who have it stole it, so the whole login has ended.
    Reused(SessionId),
    Done(Box<Session>),
}

/// The next pair of tokens, and until when they hold.
#[derive(Clone)]
pub struct NextTokens {
    pub token_hash: [u8; 32],
    pub token_expires_at: DateTime<Utc>,
    pub refresh_hash: [u8; 32],
    pub expires_at: DateTime<Utc>,
}

/// A refresh token as it is kept.
struct RefreshToken {
    session_id: SessionId,
    user_id: UserId,
    client_id: Option<String>,
    expires_at: DateTime<Utc>,
}
row!(RefreshToken { session_id, user_id, client_id, expires_at });

const INSERT_REFRESH: &str =
    "INSERT INTO refresh_tokens (token_hash, session_id, created_at, expires_at) VALUES ($1, $2, $3, $4)";

/// Seconds a device that asks too often has to wait longer from then on (RFC 8628, 3.5).
const SLOW_DOWN_SECONDS: i64 = 5;

impl Store {
    pub async fn create_device_login(&self, login: &DeviceLogin) -> Result<()> {
        on_write!(self, db => sqlx::query(
            "INSERT INTO device_logins (id, device_code_hash, user_code, client_id, scopes, ip, user_agent, status, user_id, \
             interval_seconds, next_poll_at, created_at, expires_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)")
            .bind(login.id).bind(&login.device_code_hash[..]).bind(&login.user_code).bind(&login.client_id)
            .bind(scopes_text(&login.scopes)).bind(login.ip.map(|ip| ip.to_string())).bind(&login.user_agent)
            .bind(login.status.as_str()).bind(login.user_id.map(|id| id.0)).bind(login.interval_seconds)
            .bind(login.next_poll_at).bind(login.created_at).bind(login.expires_at)
            .execute(db).await?.rows_affected());
        Ok(())
    }

    /// One that waits for its person.
    pub async fn pending_device_login(&self, user_code: &str, now: DateTime<Utc>) -> Result<Option<DeviceLogin>> {
        Ok(on_read!(self, db => sqlx::query_as(concat!(
            "SELECT ", columns!(), " FROM device_logins WHERE user_code = $1 AND status = 'pending' AND expires_at > $2"))
            .bind(user_code).bind(now).fetch_optional(db).await?))
    }

    /// The person's word, which is given once. Whether it still counted.
    pub async fn decide_device_login(
        &self,
        id: Uuid,
        user: UserId,
        decision: DeviceStatus,
        now: DateTime<Utc>,
    ) -> Result<bool> {
        let done = on_write!(self, db => sqlx::query(
            "UPDATE device_logins SET status = $3, user_id = $2 WHERE id = $1 AND status = 'pending' AND expires_at > $4")
            .bind(id).bind(user.0).bind(decision.as_str()).bind(now).execute(db).await?.rows_affected());
        Ok(done > 0)
    }

    /// The device asks how far it is. A code belongs to the program that asked for it, where both say who they are.
    pub async fn poll_device_login(
        &self,
        device_code_hash: &[u8; 32],
        client_id: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<Poll> {
        let login: Option<DeviceLogin> = on_read!(self, db => sqlx::query_as(concat!(
            "SELECT ", columns!(), " FROM device_logins WHERE device_code_hash = $1"))
            .bind(&device_code_hash[..]).fetch_optional(db).await?);
        let Some(login) = login.filter(|login| is_same_client(login.client_id.as_deref(), client_id)) else {
            return Ok(Poll::Unknown);
        };
        match login.status {
            _ if login.expires_at <= now => return Ok(Poll::Expired),
            DeviceStatus::Denied => return Ok(Poll::Denied),
            DeviceStatus::Approved => return Ok(Poll::Approved(Box::new(login))),
            DeviceStatus::Pending => {}
        }
        let too_early = now < login.next_poll_at;
        let interval = login.interval_seconds + if too_early { SLOW_DOWN_SECONDS } else { 0 };
        on_write!(self, db => sqlx::query(
            "UPDATE device_logins SET interval_seconds = $2, next_poll_at = $3 WHERE id = $1 AND next_poll_at = $4")
            .bind(login.id).bind(interval).bind(now + TimeDelta::seconds(interval)).bind(login.next_poll_at)
            .execute(db).await?.rows_affected());
        Ok(if too_early { Poll::TooEarly } else { Poll::Pending })
    }

    /// Turns an approved login into a session, once. Whether this was the once.
    pub async fn redeem_device_login(
        &self,
        act: &Act,
        login: &DeviceLogin,
        session: &Session,
        refresh_hash: &[u8; 32],
    ) -> Result<bool> {
        Ok(on_write!(self, db => {
            let mut tx = db.begin_with(BEGIN).await?;
            let there = sqlx::query("DELETE FROM device_logins WHERE id = $1 AND status = 'approved'")
                .bind(login.id).execute(&mut *tx).await?.rows_affected();
            if there > 0 {
                bind_session!(sqlx::query(INSERT_SESSION), session).execute(&mut *tx).await?;
                sqlx::query(INSERT_REFRESH).bind(&refresh_hash[..]).bind(session.id.0).bind(session.created_at)
                    .bind(session.expires_at).execute(&mut *tx).await?;
                write_down!(tx, &act.by(session.user_id), [session.made()]);
            }
            tx.commit().await?;
            there > 0
        }))
    }

    /// Takes a refresh token for the next pair. It may be used once: whoever comes second ends the login for both.
    pub async fn refresh_session(
        &self,
        refresh_hash: &[u8; 32],
        client_id: Option<&str>,
        next: &NextTokens,
        act: &Act,
    ) -> Result<Refreshed> {
        let now = act.at;
        Ok(on_write!(self, db => {
            let mut tx = db.begin_with(BEGIN).await?;
            let token: Option<RefreshToken> = sqlx::query_as(
                "SELECT r.session_id, s.user_id, s.client_id, r.expires_at FROM refresh_tokens r \
                 JOIN sessions s ON s.id = r.session_id WHERE r.token_hash = $1")
                .bind(&refresh_hash[..]).fetch_optional(&mut *tx).await?;
            let token = token.filter(|token| is_same_client(token.client_id.as_deref(), client_id));
            let Some(token) = token else { return Ok(Refreshed::Unknown) };
            // The condition is asked under the row's lock: of two at once, one finds it used.
            let first = sqlx::query("UPDATE refresh_tokens SET used_at = $2 WHERE token_hash = $1 AND used_at IS NULL")
                .bind(&refresh_hash[..]).bind(now).execute(&mut *tx).await?.rows_affected();
            if first == 0 {
                sqlx::query("DELETE FROM sessions WHERE id = $1").bind(token.session_id.0).execute(&mut *tx).await?;
                let entry = Entry::new(None, AuditAction::SessionEnded, token.session_id)
                    .after("reason", "a refresh token was used twice");
                write_down!(tx, &act.by(token.user_id), [entry]);
                tx.commit().await?;
                return Ok(Refreshed::Reused(token.session_id));
            }
            if token.expires_at <= now {
                return Ok(Refreshed::Expired);
            }
            let mut sessions: Vec<Session> = sqlx::query_as(concat!(
                "UPDATE sessions SET token_hash = $2, token_expires_at = $3, expires_at = $4, last_seen_at = $5 \
                 WHERE id = $1 RETURNING ", session_columns!()))
                .bind(token.session_id.0).bind(&next.token_hash[..]).bind(next.token_expires_at).bind(next.expires_at)
                .bind(now).fetch_all(&mut *tx).await?;
            let Some(session) = sessions.pop() else { return Ok(Refreshed::Unknown) };
            sqlx::query(INSERT_REFRESH).bind(&next.refresh_hash[..]).bind(session.id.0).bind(now).bind(next.expires_at)
                .execute(&mut *tx).await?;
            tx.commit().await?;
            Refreshed::Done(Box::new(session))
        }))
    }

    /// Ends the login that has this token, be it the one it is used with or one that renews it. Whether there was one.
    pub async fn revoke_token(&self, act: &Act, token_hash: &[u8; 32]) -> Result<bool> {
        Ok(on_write!(self, db => {
            let mut tx = db.begin_with(BEGIN).await?;
            let gone: Option<Session> = sqlx::query_as(concat!(
                "DELETE FROM sessions WHERE token_hash = $1 \
                 OR id IN (SELECT session_id FROM refresh_tokens WHERE refresh_tokens.token_hash = $1) RETURNING ", session_columns!()))
                .bind(&token_hash[..]).fetch_all(&mut *tx).await?.pop();
            if let Some(session) = &gone {
                write_down!(tx, &act.by(session.user_id), [Entry::new(None, AuditAction::SessionEnded, session.id)]);
            }
            tx.commit().await?;
            gone.is_some()
        }))
    }

    /// Removes at most `limit` of each kind; answers how many.
    pub async fn delete_expired_device_logins(&self, now: DateTime<Utc>, limit: u32) -> Result<u64> {
        let logins = on_write!(self, db => sqlx::query(
            "DELETE FROM device_logins WHERE id IN (SELECT id FROM device_logins WHERE expires_at <= $1 LIMIT $2)")
            .bind(now).bind(i64::from(limit)).execute(db).await?.rows_affected());
        let tokens = on_write!(self, db => sqlx::query(
            "DELETE FROM refresh_tokens WHERE token_hash IN (SELECT token_hash FROM refresh_tokens WHERE expires_at <= $1 LIMIT $2)")
            .bind(now).bind(i64::from(limit)).execute(db).await?.rows_affected());
        Ok(logins + tokens)
    }
}

/// A program that does not say who it is is not held to it.
fn is_same_client(known: Option<&str>, said: Option<&str>) -> bool {
    match (known, said) {
        (Some(known), Some(said)) => known == said,
        _ => true,
    }
}
