//! One call to Ghost: its URL, its headers with exactly one credential, its attempts. Refuses to send two credentials
//! by construction: a call has one [`Credential`], and nothing else sets those headers.
//! Next: `calls.rs`, which says what each call is.

use crate::{
    config::{CallContext, Credential, GhostConfig, SetupError, secret_header},
    error::GhostError,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri, header};
use ogel_proxy::{
    Connector, OutgoingBody, Random, Replay, Retrier, RetryBudget, Sending, Upstream, UpstreamConfig, Verdict, join,
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

const PROJECT: HeaderName = HeaderName::from_static("x-appwrite-project");
const RESPONSE_FORMAT: HeaderName = HeaderName::from_static("x-appwrite-response-format");
const KEY: HeaderName = HeaderName::from_static("x-appwrite-key");
const JWT: HeaderName = HeaderName::from_static("x-appwrite-jwt");

/// A client of one Ghost; a clone is a reference count. Make one per data-plane thread and one for the control plane:
/// its connections stay on the runtime that opened them.
#[derive(Clone)]
pub struct Ghost(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) upstream: Upstream,
    pub(crate) config: GhostConfig,
    pub(crate) random: Random,
    retrier: Retrier,
    platform_key: HeaderValue,
    response_format: HeaderValue,
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
        let upstream = Upstream::with(bases, connector, upstream_config).map_err(|_| SetupError::BaseUrlsDiffer)?;
        let platform_key = secret_header(config.platform_key.expose()).ok_or(SetupError::PlatformKey)?;
        let response_format = HeaderValue::from_str(&config.response_format).map_err(|_| SetupError::ResponseFormat)?;
        let retrier = Retrier::new(config.retry, RetryBudget::default(), random.clone());
        Ok(Self(Arc::new(Inner { upstream, config, random, retrier, platform_key, response_format })))
    }

    /// The connections, for metrics.
    pub fn upstream(&self) -> &Upstream {
        &self.0.upstream
    }

    /// The headers every request to Ghost carries, with at most this one credential.
    pub(crate) fn headers(&self, credential: Option<Credential<'_>>) -> Result<HeaderMap, GhostError> {
        let mut headers = HeaderMap::with_capacity(10);
        headers.insert(PROJECT, HeaderValue::from_static("console"));
        headers.insert(RESPONSE_FORMAT, self.0.response_format.clone());
        headers.insert(header::USER_AGENT, HeaderValue::from_static(concat!("ogeld/", env!("CARGO_PKG_VERSION"))));
        let secret = |text: &str| {
            secret_header(text).ok_or_else(|| GhostError::unsendable("the credential cannot stand in a header"))
        };
        match credential {
            None => {}
            Some(Credential::Platform) => drop(headers.insert(KEY, self.0.platform_key.clone())),
            Some(Credential::ProjectKey(key)) => drop(headers.insert(KEY, secret(key)?)),
            Some(Credential::Jwt(jwt)) => drop(headers.insert(JWT, secret(jwt)?)),
            Some(Credential::PreparedKey(key)) => drop(headers.insert(KEY, key.clone())),
            Some(Credential::PreparedJwt(jwt)) => drop(headers.insert(JWT, jwt.clone())),
        }
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
        let uri = join(self.0.upstream.base(), call.segments, call.query)
            .map_err(|error| GhostError::unsendable(&format!("no URL for the call: {error}")))?;
        let has_body = call.body.is_some();
        let body = call.body.transpose()?.unwrap_or_default();
        // Written anew for each attempt, which costs a retry more and the one attempt that most calls are no copy.
        let request = || {
            let mut headers = self.headers(call.credential)?;
            headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
            headers.extend(ctx.headers().map(|(name, value)| (HeaderName::from_static(name), value)));
            if has_body {
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            }
            let mut request = Request::new(OutgoingBody::from(body.clone()));
            *request.method_mut() = call.method.clone();
            *request.uri_mut() = uri.clone();
            *request.headers_mut() = headers;
            Ok::<_, GhostError>(request)
        };
        let earlier_uncertain = AtomicBool::new(false);

        let attempt = |number| {
            let request = request();
            let deadline = ctx.deadline.min(Instant::now() + self.0.config.call_timeout);
            let earlier_uncertain = &earlier_uncertain;
            async move {
                let how = Sending { deadline, replay: call.repeat.replay(), log: ctx.attempts, informational: None };
                let mut error = match self.0.upstream.send_buffered_with(request?, how).await {
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
