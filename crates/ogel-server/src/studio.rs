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

mod claims;
mod cookies;
mod jwe;
mod person;

pub(crate) use claims::{Claims, Refusal};
pub(crate) use cookies::Candidate;
pub(crate) use person::{NOT_LINKED, look_up};

use crate::config::{Config, StudioSessions};
use http::HeaderMap;
use jwe::Keys;
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
    keys: Keys,
    largest: usize,
    longest_days: u64,
    id_claim: String,
    trust_emails: bool,
    pub(crate) unknown: Unknown,
}

/// Whom a revocation ends: the hash of the token's id, else of the token itself.
pub(crate) type RevocationId = [u8; 32];

/// What identifies one session of Studio's, for as long as it lasts.
#[derive(Clone, Debug)]
pub struct StudioSession {
    pub revocation_id: RevocationId,
    pub expires_at: chrono::DateTime<chrono::Utc>,
}

impl StudioAuth {
    /// `None` where Studio's sessions mean nothing here.
    pub(crate) fn new(config: &Config) -> Option<Self> {
        let settings = &config.studio_sessions;
        if settings.strategy != "jwt" {
            return None;
        }
        let names = cookie_names(settings);
        Some(Self {
            keys: Keys::derive(settings.secrets.iter().map(crate::config::Secret::expose), &names),
            names,
            largest: usize::try_from(settings.max_token_bytes).unwrap_or(usize::MAX),
            longest_days: settings.longest_days,
            id_claim: settings.user_id_claim.clone(),
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
        (token.len() <= self.largest && jwe::looks_like_one(&token)).then_some(Candidate { token, name: None })
    }

    /// Opens a token and checks what it says of itself.
    pub(crate) fn open(
        &self,
        candidate: &Candidate<'_>,
        now: chrono::DateTime<chrono::Utc>,
    ) -> Result<Claims, Refusal> {
        if candidate.token.len() > self.largest {
            return Err(Refusal::Unreadable("it is larger than `studio_sessions.max_token_bytes`"));
        }
        let plain = self.keys.open(&candidate.token, candidate.name).map_err(Refusal::Unreadable)?;
        let rules = claims::Rules {
            now,
            longest_days: self.longest_days,
            id_claim: &self.id_claim,
            trust_emails: self.trust_emails,
        };
        claims::read(&plain, &candidate.token, &rules)
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

/// See [`RevocationId`]. The words in front keep ids and tokens apart.
fn revocation_id(kind: &str, text: &str) -> RevocationId {
    Sha256::new().chain_update(kind).chain_update(text).finalize().into()
}
