//! Sessions of Studio's own login, recognised by the cookie that people have already: next-auth v4 and Auth.js v5, as
//! encrypted tokens (`jwt`) or as rows of Studio's database (`database`).
//!
//! Read only: Studio's cookie is never written, prolonged or removed here. What ends such a session at once is our
//! revocation list. Opening a token costs no database trip and happens on the thread that has the request; who it stands
//! for is asked on the control plane and remembered for a second, like every caller.
//!
//! # Layout
//! - `jwe.rs`: the two encryptions and their keys; `claims.rs`: what may stand inside
//! - `cookies.rs`: which cookie, in how many pieces; `person.rs`: which of our people it is
//! - `ending.rs`: ending sessions that others keep

mod claims;
mod cookies;
pub(crate) mod ending;
mod jwe;
mod person;

pub(crate) use claims::{Claims, Refusal};
pub(crate) use cookies::Candidate;
pub(crate) use ending::{end, end_all, end_rows};
pub(crate) use person::{NOT_LINKED, look_up, look_up_row};

use crate::{
    config::{Config, StudioSessions},
    run::{Doing as _, StartError},
};
use chrono::{DateTime, TimeDelta, Utc};
use http::HeaderMap;
use jwe::Keys;
use ogel_store::{Store, StoreError, StudioDatabase};
use sha2::{Digest as _, Sha256};
use std::borrow::Cow;

/// The names next-auth and Auth.js choose by themselves.
const COOKIE_NAMES: [&str; 4] = [
    "__Secure-authjs.session-token",
    "authjs.session-token",
    "__Secure-next-auth.session-token",
    "next-auth.session-token",
];
/// Cookie names and secrets that may be configured: each is one more attempt at a token.
pub(crate) const MOST_NAMES: usize = 8;
pub(crate) const MOST_SECRETS: usize = 8;

/// What happens to people whom Studio knows and we do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unknown {
    Refuse,
    /// Somebody here with the same verified e-mail is them.
    Link,
    /// And where nobody is, an account is made.
    Create,
}

impl Unknown {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "refuse" => Self::Refuse,
            "link" => Self::Link,
            "create" => Self::Create,
            _ => return None,
        })
    }
}

/// The configuration, with its keys derived once.
pub(crate) struct StudioAuth {
    names: Vec<String>,
    /// None where sessions are rows of Studio's database.
    keys: Option<Keys>,
    largest: usize,
    longest_days: u64,
    id_claim: String,
    login_time_claim: String,
    trust_emails: bool,
    pub(crate) unknown: Unknown,
}

/// What a candidate holds, as far as can be told without a database.
pub(crate) enum Opened {
    Claims(Box<Claims>),
    /// The token of a row of Studio's.
    Row(Box<str>),
}

/// Whom a revocation ends: the hash of the token's id, else of the token itself.
pub(crate) type RevocationId = [u8; 32];

/// What identifies one session of Studio's, for as long as it lasts.
#[derive(Clone, Debug)]
pub struct StudioSession {
    pub revocation_id: RevocationId,
    /// Whether it is a row of Studio's, which Studio may remove.
    pub is_row: bool,
    /// When a revocation of it may be forgotten.
    pub ends_at: DateTime<Utc>,
    /// As far as it says.
    pub began_at: Option<DateTime<Utc>>,
}

/// A Studio prolongs the row of a session that is in use, and nobody can say for how long.
const ROW_LASTS: TimeDelta = TimeDelta::days(400);

/// Studio's database, where sessions are rows of it. The error says what is there instead.
pub(crate) async fn database(config: &Config, store: &Store) -> Result<Option<StudioDatabase>, StartError> {
    let settings = &config.studio_sessions;
    if settings.strategy != "database" {
        return Ok(None);
    }
    let found = StudioDatabase::find(store, settings.database_url.expose(), &settings.tables()).await;
    let found = found.map_err(|error| match error {
        StoreError::Other(why) => why,
        other => other.into(),
    });
    let found = found.doing("cannot use Studio's sessions (`studio_sessions`)")?;
    tracing::info!(found = found.report(), "Studio's sessions were found");
    Ok(Some(found))
}

impl StudioAuth {
    /// `None` where Studio's sessions mean nothing here.
    pub(crate) fn new(config: &Config) -> Option<Self> {
        let settings = &config.studio_sessions;
        let names = cookie_names(settings);
        let keys = match settings.strategy.as_str() {
            "jwt" => Some(Keys::derive(settings.secrets.iter().map(crate::config::Secret::expose), &names)),
            "database" => None,
            _ => return None,
        };
        Some(Self {
            keys,
            names,
            largest: usize::try_from(settings.max_token_bytes).unwrap_or(usize::MAX),
            longest_days: settings.longest_days,
            id_claim: settings.user_id_claim.clone(),
            login_time_claim: settings.login_time_claim.clone(),
            trust_emails: settings.trust_emails,
            unknown: Unknown::parse(&settings.unknown_users).unwrap_or(Unknown::Refuse),
        })
    }

    /// What the request's cookies may hold, most likely first.
    pub(crate) fn in_cookies<'a>(&self, headers: &'a HeaderMap) -> Vec<Candidate<'a>> {
        cookies::candidates(headers, &self.names, self.largest)
    }

    /// A token of `Authorization: Bearer`, as next-auth's `getToken` takes it: perhaps URL-encoded.
    pub(crate) fn in_bearer<'a>(&self, token: &'a str) -> Option<Candidate<'a>> {
        let token = decoded(token);
        let may_be = self.keys.is_some() && token.len() <= self.largest && jwe::looks_like_one(&token);
        may_be.then_some(Candidate { token, name: None })
    }

    /// One that was handed over as such, in whatever form Studio keeps sessions.
    pub(crate) fn handed_over<'a>(&self, token: &'a str) -> Candidate<'a> {
        Candidate { token: decoded(token), name: None }
    }

    /// Opens a token and checks what it says of itself.
    pub(crate) fn open(&self, candidate: &Candidate<'_>, now: DateTime<Utc>) -> Result<Opened, Refusal> {
        let Some(keys) = &self.keys else {
            // No adapter makes longer ones, and a database need not be asked what cannot be there.
            let may_be = candidate.token.len() <= 512 && candidate.token.bytes().all(|byte| byte.is_ascii_graphic());
            return match may_be {
                true => Ok(Opened::Row(candidate.token.as_ref().into())),
                false => Err(Refusal::Unreadable("it is no token of a session row")),
            };
        };
        if candidate.token.len() > self.largest {
            return Err(Refusal::Unreadable("it is larger than `studio_sessions.max_token_bytes`"));
        }
        let plain = keys.open(&candidate.token, candidate.name).map_err(Refusal::Unreadable)?;
        let rules = claims::Rules {
            now,
            longest_days: self.longest_days,
            id_claim: &self.id_claim,
            login_time_claim: &self.login_time_claim,
            trust_emails: self.trust_emails,
        };
        claims::read(&plain, &candidate.token, &rules).map(|claims| Opened::Claims(Box::new(claims)))
    }
}

/// The configured names, or all that the libraries choose by themselves.
pub(crate) fn cookie_names(settings: &StudioSessions) -> Vec<String> {
    if settings.cookie_names.is_empty() {
        return COOKIE_NAMES.map(str::to_owned).to_vec();
    }
    settings.cookie_names.clone()
}

/// Without URL-encoding.
fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    percent_encoding::percent_decode_str(text).decode_utf8().unwrap_or(Cow::Borrowed(""))
}

/// What outlives a deleted account of Studio's names for its person, so that an old session does not bring it back.
pub(crate) fn closed_ids(subjects: impl Iterator<Item = String>, email: &str) -> Vec<[u8; 32]> {
    let email = revocation_id("email ", &email.to_lowercase());
    subjects.map(|subject| revocation_id("subject ", &subject)).chain([email]).collect()
}

/// See [`RevocationId`]. The words in front keep ids and tokens apart.
fn revocation_id(kind: &str, text: &str) -> RevocationId {
    Sha256::new().chain_update(kind).chain_update(text).finalize().into()
}
