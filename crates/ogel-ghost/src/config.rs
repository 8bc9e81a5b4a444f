//! What a Ghost client needs to know, and on whose behalf and how long a call runs. Refuses to read files or the
//! environment. Next: `client.rs`.

use ogel_proxy::{AttemptLog, BreakerConfig, EjectionConfig, Limits, RetryPolicy, WebSocketLimits};
use std::{fmt, time::Duration};
use tokio::time::Instant;

/// A credential; its `Debug` shows nothing.
#[derive(Clone, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// The credential itself, to be sealed or sent.
    pub fn expose(&self) -> &str {
        &self.0
    }

    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// Whether it can stand in a header as a credential, and as no other header besides.
pub(crate) fn is_sendable(secret: &str) -> bool {
    !secret.is_empty() && secret.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Where Ghost is and how patient we are with it.
#[derive(Clone, Debug)]
pub struct GhostConfig {
    /// `http(s)://host[:port]`, without `/v1`.
    pub base_url: String,
    /// Further addresses of the same Ghost, which share the load; they differ from `base_url` in nothing but host and
    /// port. Realtime connections go to the first.
    pub more_base_urls: Vec<String>,
    /// For provisioning and reconciling; never leaves the server.
    pub platform_key: Secret,
    /// The version whose shapes Ghost answers in.
    pub response_format: String,
    /// Longest time for one attempt; the call's own deadline holds over all attempts.
    pub call_timeout: Duration,
    pub limits: Limits,
    pub retry: RetryPolicy,
    /// When Ghost is left alone for a while; `None`: never.
    pub breaker: Option<BreakerConfig>,
    /// When one of several addresses is left out.
    pub ejection: EjectionConfig,
    pub realtime: RealtimeConfig,
}

impl GhostConfig {
    pub fn new(base_url: impl Into<String>, platform_key: Secret) -> Self {
        Self {
            base_url: base_url.into(),
            more_base_urls: Vec::new(),
            platform_key,
            response_format: "1.8.0".to_owned(),
            call_timeout: Duration::from_secs(10),
            limits: Limits::default(),
            retry: RetryPolicy::default(),
            breaker: Some(BreakerConfig::default()),
            ejection: EjectionConfig::default(),
            realtime: RealtimeConfig::default(),
        }
    }
}

/// How the realtime connections behave.
#[derive(Clone, Copy, Debug)]
pub struct RealtimeConfig {
    pub limits: WebSocketLimits,
    pub ping_every: Duration,
    /// Without any frame for this long the other side is taken for dead.
    pub dead_after: Duration,
    /// How long a connection without channels is kept.
    pub idle_close_after: Duration,
    /// Longest wait between two attempts to connect.
    pub reconnect_cap: Duration,
    /// Channels on one connection; further ones open another.
    pub channels_per_connection: usize,
    /// Events kept for a subscriber that is slower than Ghost; beyond them it gets `Lagged`. Each channel sets aside
    /// some 100 bytes for each.
    pub events_per_subscriber: usize,
}

impl Default for RealtimeConfig {
    fn default() -> Self {
        Self {
            limits: WebSocketLimits::default(),
            ping_every: Duration::from_secs(20),
            dead_after: Duration::from_secs(45),
            idle_close_after: Duration::from_secs(60),
            reconnect_cap: Duration::from_secs(5),
            channels_per_connection: 100,
            events_per_subscriber: 512,
        }
    }
}

/// On whose behalf a call is made. Exactly one travels with a call: a key next to a JWT would replace the user and
/// switch authorization off.
#[derive(Clone, Copy)]
pub enum Credential<'a> {
    /// The platform itself: provisioning and reconciling.
    Platform,
    /// The key of one project.
    ProjectKey(&'a str),
    /// One person.
    Jwt(&'a str),
}

impl Credential<'_> {
    pub(crate) fn to_owned(self) -> OwnedCredential {
        match self {
            Self::Platform => OwnedCredential::Platform,
            Self::ProjectKey(key) => OwnedCredential::ProjectKey(Secret::new(key)),
            Self::Jwt(jwt) => OwnedCredential::Jwt(Secret::new(jwt)),
        }
    }
}

impl fmt::Debug for Credential<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Platform => "Platform",
            Self::ProjectKey(_) => "ProjectKey(…)",
            Self::Jwt(_) => "Jwt(…)",
        })
    }
}

/// A [`Credential`] that a connection keeps.
#[derive(Clone, Debug)]
pub enum OwnedCredential {
    Platform,
    ProjectKey(Secret),
    Jwt(Secret),
}

impl From<Credential<'_>> for OwnedCredential {
    fn from(credential: Credential<'_>) -> Self {
        credential.to_owned()
    }
}

impl OwnedCredential {
    pub(crate) fn borrow(&self) -> Credential<'_> {
        match self {
            Self::Platform => Credential::Platform,
            Self::ProjectKey(key) => Credential::ProjectKey(key.expose()),
            Self::Jwt(jwt) => Credential::Jwt(jwt.expose()),
        }
    }
}

/// How long a call may take in all, and the trace it belongs to.
#[derive(Clone, Copy, Debug)]
pub struct CallContext<'a> {
    pub deadline: Instant,
    pub request_id: Option<&'a str>,
    pub traceparent: Option<&'a str>,
    /// Where each attempt is noted.
    pub attempts: Option<&'a AttemptLog>,
}

impl<'a> CallContext<'a> {
    /// A call that belongs to no request.
    pub fn within(limit: Duration) -> Self {
        Self { deadline: Instant::now() + limit, request_id: None, traceparent: None, attempts: None }
    }

    pub(crate) fn headers(&self) -> impl Iterator<Item = (&'static str, &'a str)> + use<'a> {
        let named = [("x-request-id", self.request_id), ("traceparent", self.traceparent)];
        named.into_iter().filter_map(|(name, value)| Some((name, value?)))
    }
}

/// Why no client could be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    #[error("`{0}` is not a base URL of Ghost; write it as `https://ghost.example.com`, without `/v1`")]
    BaseUrl(String),
    #[error("the base URLs of one Ghost have to share scheme and path")]
    BaseUrlsDiffer,
    #[error("the platform key is empty or cannot stand in a header")]
    PlatformKey,
    #[error("the response format cannot stand in a header")]
    ResponseFormat,
}
