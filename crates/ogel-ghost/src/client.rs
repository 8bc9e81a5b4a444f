//! One call to Ghost: its URL, its headers with exactly one credential, its attempts. Refuses to send two credentials
//! by construction: a call has one [`Credential`], and nothing else sets those headers.
//! Next: `calls.rs`, which says what each call is.

use crate::{
    config::{CallContext, Credential, GhostConfig, SetupError, is_sendable},
    error::GhostError,
};
use arrayvec::ArrayVec;
use bytes::Bytes;
use http::{HeaderValue, Method, Response, Uri};
use ogel_proxy::{
    Connector, HeaderRules, Question, Random, Replay, Retrier, RetryBudget, Sending, Upstream, UpstreamConfig, Verdict,
    target,
};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;

const JSON: &str = "application/json";
/// Headers of one call at most.
const MOST_HEADERS: usize = 8;

/// The headers of a call: names in lower case, and values that can stand in one.
pub(crate) type Headers<'a> = ArrayVec<(&'static str, &'a str), MOST_HEADERS>;

/// A client of one Ghost; a clone is a reference count. Make one per data-plane thread and one for the control plane:
/// its connections stay on the runtime that opened them.
#[derive(Clone)]
pub struct Ghost(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) upstream: Upstream,
    pub(crate) config: GhostConfig,
    pub(crate) random: Random,
    retrier: Retrier,
    /// Of an answer's headers, those that are looked at.
    wanted: HeaderRules,
}

impl std::fmt::Debug for Ghost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ghost").field("config", &self.0.config).finish_non_exhaustive()
    }
}

impl Ghost {
    /// Opens nothing yet. `random` spreads the retries.
    pub fn new(config: GhostConfig, connector: Connector, random: Random) -> Result<Self, SetupError> {
        let urls = std::iter::once(&config.base_url).chain(&config.more_base_urls);
        let bases = urls.map(|url| base_uri(url)).collect::<Result<Vec<_>, _>>()?;
        let (limits, breaker, ejection) = (config.limits, config.breaker, config.ejection);
        let upstream_config = UpstreamConfig { limits, breaker, ejection, random: random.clone() };
        let upstream = Upstream::new(bases, connector, upstream_config).map_err(|_| SetupError::BaseUrlsDiffer)?;
        if !is_sendable(config.platform_key.expose()) {
            return Err(SetupError::PlatformKey);
        }
        if HeaderValue::from_str(&config.response_format).is_err() {
            return Err(SetupError::ResponseFormat);
        }
        let wanted = HeaderRules::new(&["content-type", "retry-after"]);
        let retrier = Retrier::new(config.retry, RetryBudget::default(), random.clone());
        Ok(Self(Arc::new(Inner { upstream, config, random, retrier, wanted })))
    }

    /// The connections, for metrics.
    pub fn upstream(&self) -> &Upstream {
        &self.0.upstream
    }

    /// The headers every request to Ghost carries, with at most this one credential.
    pub(crate) fn headers<'a>(&'a self, credential: Option<Credential<'a>>) -> Result<Headers<'a>, GhostError> {
        let mut headers = Headers::new();
        headers.push(("x-appwrite-project", "console"));
        headers.push(("x-appwrite-response-format", &self.0.config.response_format));
        headers.push(("user-agent", concat!("ogeld/", env!("CARGO_PKG_VERSION"))));
        let credential = credential.map(|credential| match credential {
            Credential::Platform => ("x-appwrite-key", self.0.config.platform_key.expose()),
            Credential::ProjectKey(key) => ("x-appwrite-key", key),
            Credential::Jwt(jwt) => ("x-appwrite-jwt", jwt),
        });
        if credential.is_some_and(|(_, secret)| !is_sendable(secret)) {
            return Err(GhostError::unsendable("the credential cannot stand in a header"));
        }
        headers.extend(credential);
        Ok(headers)
    }

    /// Makes the call, with its retries, and decodes what comes back.
    pub(crate) async fn fetch<T: DeserializeOwned>(
        &self,
        ctx: CallContext<'_>,
        call: Call<'_>,
    ) -> Result<T, GhostError> {
        let response = self.send(ctx, call).await?;
        serde_json::from_slice(response.body()).map_err(|error| {
            // The category and the place, not the text: it may hold secrets.
            let problem = format!("{:?} error at byte {} of the answer", error.classify(), error.column());
            GhostError::undecodable(response.status(), response.body(), &problem)
        })
    }

    /// Makes the call, with its retries. Only a success is an `Ok`.
    pub(crate) async fn send(&self, ctx: CallContext<'_>, call: Call<'_>) -> Result<Response<Bytes>, GhostError> {
        let target = target(self.0.upstream.base(), call.segments, call.query)
            .map_err(|error| GhostError::unsendable(&format!("no URL for the call: {error}")))?;
        let mut headers = self.headers(call.credential)?;
        headers.push(("accept", JSON));
        headers.extend(ctx.headers());
        if call.body.is_some() {
            headers.push(("content-type", JSON));
        }
        let body = call.body.transpose()?.unwrap_or_default();
        let question = Question { method: &call.method, target: &target, headers: &headers, wanted: &self.0.wanted };
        let earlier_uncertain = AtomicBool::new(false);

        let attempt = |number| {
            let body = body.clone();
            let deadline = ctx.deadline.min(Instant::now() + self.0.config.call_timeout);
            let earlier_uncertain = &earlier_uncertain;
            async move {
                let how = Sending { deadline, replay: call.repeat.replay(), log: ctx.attempts, informational: None };
                let mut error = match self.0.upstream.ask(question, body, how).await {
                    Ok(response) if response.status().is_success() => return Ok(response),
                    Ok(response) => GhostError::from_response(&response),
                    Err(error) => GhostError::from(error),
                };
                tracing::debug!(ghost.kind = %error.kind, ghost.message = %error.message, attempt = number, "ghost call failed");
                error.attempts = number;
                error.may_have_been_processed |= earlier_uncertain.load(Ordering::Relaxed);
                earlier_uncertain.store(error.may_have_been_processed, Ordering::Relaxed);
                Err(error)
            }
        };
        let judge = |error: &GhostError| match call.repeat {
            Repeat::IfUnsent if error.may_have_been_processed => Verdict::Stop,
            _ if error.is_transient() => Verdict::Retry { after: error.retry_after },
            _ => Verdict::Stop,
        };
        self.0.retrier.run(ctx.deadline, attempt, judge).await
    }

    pub(crate) fn next_backoff(&self, attempt: u32, cap: Duration) -> Duration {
        let policy = ogel_proxy::RetryPolicy { max_attempts: u32::MAX, base: Duration::from_millis(200), cap };
        // Never at once: a Ghost that accepts and closes would be asked as fast as the network allows.
        policy.backoff(attempt, (self.0.random)()).max(Duration::from_millis(20))
    }
}

fn base_uri(url: &str) -> Result<Uri, SetupError> {
    let wrong = || SetupError::BaseUrl(url.to_owned());
    let base: Uri = url.parse().map_err(|_| wrong())?;
    let is_plain = matches!(base.scheme_str(), Some("http" | "https")) && base.query().is_none();
    let has_host = base.host().is_some_and(|host| !host.is_empty());
    if !is_plain || !has_host || base.path().trim_end_matches('/').ends_with("/v1") {
        return Err(wrong());
    }
    Ok(base)
}

/// One call, as `calls.rs` describes it.
pub(crate) struct Call<'a> {
    pub(crate) method: Method,
    pub(crate) segments: &'a [&'a str],
    pub(crate) query: &'a [(&'a str, &'a str)],
    pub(crate) body: Option<Result<Bytes, GhostError>>,
    pub(crate) credential: Option<Credential<'a>>,
    pub(crate) repeat: Repeat,
}

impl<'a> Call<'a> {
    pub(crate) fn new(method: Method, segments: &'a [&'a str], credential: Credential<'a>, repeat: Repeat) -> Self {
        Self { method, segments, query: &[], body: None, credential: Some(credential), repeat }
    }

    pub(crate) fn get(segments: &'a [&'a str], credential: Credential<'a>) -> Self {
        Self::new(Method::GET, segments, credential, Repeat::Freely)
    }

    pub(crate) fn with_body(mut self, body: &impl Serialize) -> Self {
        let encoded = serde_json::to_vec(body).map(Bytes::from);
        self.body = Some(encoded.map_err(|_| GhostError::unsendable("the body cannot be written as JSON")));
        self
    }
}

/// What a second time does.
#[derive(Clone, Copy)]
pub(crate) enum Repeat {
    /// The same as the first.
    Freely,
    /// The second time is refused if the first got through. It is retried, but never behind our back: the call has to
    /// know that it was, to tell "done" from "taken".
    Detectably,
    /// Makes another one: repeated only when the first certainly never left.
    IfUnsent,
}

impl Repeat {
    fn replay(self) -> Replay {
        match self {
            Self::Freely => Replay::Keyed,
            Self::Detectably | Self::IfUnsent => Replay::Never,
        }
    }
}
