//! When and from where credentials were used: noted in memory once a minute for each, written in batches beside the
//! requests. A crash loses the notes of the last seconds, and nothing else.

use crate::{caller::Caller, error::Result, state::App};
use chrono::{DateTime, TimeDelta, Utc};
use ogel_api::id::{ApiKeyId, SessionId};
use ogel_store::{KeyUse, SessionUse};
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

/// How long notes wait to be written together.
const EVERY: Duration = Duration::from_secs(5);
/// Credentials noted at most between two writings; more go without a note this time.
const MOST: usize = 50_000;

/// The minute in which a caller's credential was last noted. Each thread that knows the caller may note it once more.
#[derive(Debug, Default)]
pub struct Noted(AtomicI64);

impl Noted {
    /// As the database has it.
    pub fn at(last: Option<DateTime<Utc>>) -> Self {
        Self(AtomicI64::new(last.map_or(0, minute)))
    }

    /// Whether this minute is a new one.
    fn is_new(&self, now: DateTime<Utc>) -> bool {
        let this = minute(now);
        // Read first: a word that is only read is every core's own.
        self.0.load(Ordering::Relaxed) < this && self.0.fetch_max(this, Ordering::Relaxed) < this
    }
}

fn minute(at: DateTime<Utc>) -> i64 {
    at.timestamp().div_euclid(60)
}

/// Notes that were not written yet.
#[derive(Default)]
pub struct Uses(Mutex<Pending>);

#[derive(Default)]
struct Pending {
    keys: HashMap<ApiKeyId, (DateTime<Utc>, IpAddr)>,
    sessions: HashMap<SessionId, (DateTime<Utc>, IpAddr)>,
}

impl Uses {
    /// On the thread of the request; takes the lock at most once a minute for a caller.
    pub(crate) fn note(&self, caller: &Caller, now: DateTime<Utc>, ip: IpAddr) {
        if !caller.noted.is_new(now) {
            return;
        }
        let mut pending = self.0.lock();
        if let Some(id) = caller.api_key_id
            && (pending.keys.len() < MOST || pending.keys.contains_key(&id))
        {
            pending.keys.insert(id, (now, ip));
        }
        if let Some(id) = caller.session_id
            && (pending.sessions.len() < MOST || pending.sessions.contains_key(&id))
        {
            pending.sessions.insert(id, (now, ip));
        }
    }

    /// Writes what was noted. What cannot be written is kept for the next time.
    pub async fn flush(&self, app: &App) -> Result<()> {
        let Pending { keys, sessions } = std::mem::take(&mut *self.0.lock());
        if keys.is_empty() && sessions.is_empty() {
            return Ok(());
        }
        let lasts = session_lasts(app);
        let key_uses: Vec<_> = keys.iter().map(|(id, (at, ip))| KeyUse { id: *id, at: *at, ip: *ip }).collect();
        let session_uses: Vec<_> = sessions
            .iter()
            .map(|(id, (at, ip))| SessionUse { id: *id, at: *at, ip: *ip, expires_at: *at + lasts })
            .collect();
        let mut outcome = app.store.touch_api_keys(&key_uses).await;
        if outcome.is_ok() {
            outcome = app.store.touch_sessions(&session_uses).await;
        }
        if outcome.is_err() {
            let mut pending = self.0.lock();
            // Newer notes win over those that come back.
            let newer = std::mem::replace(&mut *pending, Pending { keys, sessions });
            pending.keys.extend(newer.keys);
            pending.sessions.extend(newer.sessions);
        }
        Ok(outcome?)
    }
}

/// How long a login lasts without being used.
pub(crate) fn session_lasts(app: &App) -> TimeDelta {
    TimeDelta::days(i64::try_from(app.config().auth.session_days.min(36_500)).unwrap_or(30))
}

/// Writes until shutdown; the last notes are written by [`crate::run::stop`].
pub(crate) async fn write_behind(app: &App) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = app.shutdown.cancelled() => return,
        }
        if let Err(failure) = app.uses.flush(app).await {
            tracing::warn!(error = ?failure.0, "uses of credentials could not be written; they are kept");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_is_noted_once() {
        let at = |seconds: i64| DateTime::UNIX_EPOCH + TimeDelta::seconds(1_200_000 + seconds);
        let noted = Noted::at(Some(at(0)));
        assert_eq!(
            [0, 59, 60, 61, 119, 120, 30].map(|second| noted.is_new(at(second))),
            [false, false, true, false, false, true, false]
        );
        assert!(Noted::at(None).is_new(at(0)));
    }
}
