//! One call: its URL, its headers, its repetitions, and the decoding of its answer.

use crate::{ClientConfig, ClientError, Result, config::api_base, retry, tls};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};
use tokio::time::{Instant, sleep, timeout};
use url::Url;

/// No answer of this API comes near it; it keeps a wrong address from filling the memory.
const MAX_BODY_BYTES: usize = 64 * 1024 * 1024;
/// The same for an error.
const MAX_ERROR_BYTES: usize = 64 * 1024;
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A handle to the API; clones share its connections.
///
/// Every call may fail with [`ClientError`], and is safe to cancel by dropping it (the server may have done its part).
#[derive(Clone)]
pub struct Client {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    http: reqwest::Client,
    base: Url,
    /// Scheme, host and port, for messages.
    pub(crate) server: String,
    /// Replaced when the token is renewed.
    authorization: RwLock<Option<HeaderValue>>,
    pub(crate) config: ClientConfig,
}

/// What is sent.
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) body: Option<Bytes>,
}

/// What came back, whatever its status.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// A successful answer that is read piece by piece.
pub struct Download {
    client: Client,
    response: reqwest::Response,
}

impl std::fmt::Debug for Download {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Download").field("status", &self.response.status()).finish_non_exhaustive()
    }
}

impl Download {
    /// The next piece, `None` after the last. Errors: `Connect` where it was cut off, `Timeout` when nothing comes.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        let Inner { config, server, .. } = &*self.client.inner;
        match timeout(config.timeout, self.response.chunk()).await {
            Ok(piece) => piece.map_err(|error| self.client.broken(&error)),
            Err(_) => Err(ClientError::Timeout { server: server.clone(), after: config.timeout }),
        }
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("config", &self.inner.config).finish()
    }
}

impl Client {
    /// Connects to nothing yet. Errors: `InvalidUrl`, `InvalidToken`, `Setup`.
    pub fn new(config: ClientConfig) -> Result<Self> {
        let base = api_base(&config.base_url)?;
        let authorization = RwLock::new(config.token.as_deref().map(bearer).transpose()?);
        let mut builder = reqwest::Client::builder()
            .user_agent(&config.user_agent)
            .tls_backend_preconfigured(tls::config(base.scheme() == "https")?)
            .connect_timeout(config.timeout.min(Duration::from_secs(10)))
            // A redirected POST would turn into a GET, and a credential must not follow one.
            .redirect(reqwest::redirect::Policy::none())
            // The log stream upgrades its connection, which only this version can.
            .http1_only();
        if is_loopback(&base) {
            // A proxy elsewhere has another idea of what 127.0.0.1 is.
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|error| ClientError::Setup { reason: root_cause(&error) })?;
        let server = base.origin().ascii_serialization();
        Ok(Self { inner: Arc::new(Inner { http, base, server, authorization, config }) })
    }

    /// Where requests go: ends with `/api/v2/`.
    pub fn base_url(&self) -> &Url {
        &self.inner.base
    }

    /// The URL of an operation. A segment is a caller's text: it is escaped, and `..` is refused.
    pub(crate) fn url(&self, segments: &[&str], query: &[(&str, String)]) -> Result<Url> {
        let mut path = String::new();
        for segment in segments {
            if matches!(*segment, "" | "." | "..") {
                let reason = "it is not the name or id of anything".to_owned();
                return Err(ClientError::InvalidUrl { url: (*segment).to_owned(), reason });
            }
            path.extend(utf8_percent_encode(segment, SEGMENT));
            path.push('/');
        }
        let mut url = self.inner.base.clone();
        url.set_path(&format!("{}{}", url.path(), path.trim_end_matches('/')));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(url)
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, segments: &[&str], query: &[(&str, String)]) -> Result<T> {
        self.json(Call { method: Method::GET, url: self.url(segments, query)?, body: None }).await
    }

    pub(crate) async fn post<T: DeserializeOwned>(&self, segments: &[&str], body: &impl Serialize) -> Result<T> {
        self.json(Call { method: Method::POST, url: self.url(segments, &[])?, body: Some(encode(body)?) }).await
    }

    pub(crate) async fn put<T: DeserializeOwned>(&self, segments: &[&str], body: &impl Serialize) -> Result<T> {
        self.json(Call { method: Method::PUT, url: self.url(segments, &[])?, body: Some(encode(body)?) }).await
    }

    pub(crate) async fn patch<T: DeserializeOwned>(&self, segments: &[&str], body: &impl Serialize) -> Result<T> {
        self.json(Call { method: Method::PATCH, url: self.url(segments, &[])?, body: Some(encode(body)?) }).await
    }

    /// For operations whose answer says nothing but that it is done.
    pub(crate) async fn done(&self, method: Method, segments: &[&str]) -> Result<()> {
        self.success(Call { method, url: self.url(segments, &[])?, body: None }).await.map(|_| ())
    }

    /// The same with a body.
    pub(crate) async fn send_and_forget(&self, method: Method, segments: &[&str], body: &impl Serialize) -> Result<()> {
        self.success(Call { method, url: self.url(segments, &[])?, body: Some(encode(body)?) }).await.map(|_| ())
    }

    pub(crate) async fn json<T: DeserializeOwned>(&self, call: Call) -> Result<T> {
        let answer = self.success(call).await?;
        serde_json::from_slice(&answer.body)
            .map_err(|error| ClientError::decode(&self.inner.server, answer.status, &error, &answer.body))
    }

    /// For what is read by people as it is.
    pub(crate) async fn text(&self, call: Call) -> Result<String> {
        let answer = self.success(call).await?;
        String::from_utf8(answer.body.to_vec())
            .map_err(|error| ClientError::decode(&self.inner.server, answer.status, &error, &answer.body))
    }

    async fn success(&self, call: Call) -> Result<Answer> {
        let answer = self.send(&call).await?;
        answer.into_success(&self.inner.server)
    }

    /// Sends `call`, again where that is safe and may help. An answer with an error status is returned like any other.
    pub(crate) async fn send(&self, call: &Call) -> Result<Answer> {
        let Inner { config, server, .. } = &*self.inner;
        let key = if call.method == Method::POST { Some(retry::fresh_key()?) } else { None };
        let repeatable = key.is_some() || call.method.is_idempotent();
        let deadline = Instant::now() + config.timeout * 2;
        let mut n_retries = 0;
        let mut was_renewed = false;
        loop {
            let sent = self.authorization();
            let allowed = config.timeout.min(deadline.saturating_duration_since(Instant::now()));
            let outcome = match timeout(allowed, self.attempt(call, key.as_deref())).await {
                Ok(outcome) => outcome,
                Err(_) => Err(ClientError::Timeout { server: server.clone(), after: allowed }),
            };
            let failure = match &outcome {
                Ok(answer) => answer.failure(server),
                Err(_) => None,
            };
            let error = match (&outcome, &failure) {
                (Err(error), _) | (_, Some(error)) => error,
                _ => return outcome,
            };
            // Refused before anything was done: with another token it may be sent again.
            if !was_renewed && matches!(error.code(), Some("CREDENTIAL_EXPIRED" | "INVALID_CREDENTIAL")) {
                was_renewed = true;
                if self.renew(sent).await {
                    continue;
                }
            }
            let wait = retry::wait(n_retries, error.retry_after());
            let in_time = Instant::now() + wait < deadline;
            if n_retries >= config.max_retries || !retry::is_worthwhile(error, repeatable) || !in_time {
                return outcome;
            }
            n_retries += 1;
            sleep(wait).await;
        }
    }

    /// For operations that answer 400 in the words of OAuth's RFCs. Not repeated, whatever happens.
    pub(crate) async fn once<T: DeserializeOwned, E: DeserializeOwned>(
        &self,
        segments: &[&str],
        body: &impl Serialize,
    ) -> Result<Result<T, E>> {
        let Inner { config, server, .. } = &*self.inner;
        let call = Call { method: Method::POST, url: self.url(segments, &[])?, body: Some(encode(body)?) };
        let Ok(answer) = timeout(config.timeout, self.attempt(&call, None)).await else {
            return Err(ClientError::Timeout { server: server.clone(), after: config.timeout });
        };
        let answer = answer?;
        if answer.status == StatusCode::BAD_REQUEST
            && let Ok(said) = serde_json::from_slice(&answer.body)
        {
            return Ok(Err(said));
        }
        let answer = answer.into_success(server)?;
        let value = serde_json::from_slice(&answer.body);
        value.map(Ok).map_err(|error| ClientError::decode(server, answer.status, &error, &answer.body))
    }

    fn authorization(&self) -> Option<HeaderValue> {
        self.inner.authorization.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether there is another token than the one that was sent.
    async fn renew(&self, sent: Option<HeaderValue>) -> bool {
        if self.authorization() != sent {
            // Another call was quicker.
            return true;
        }
        let Some(renew) = &self.inner.config.renew else { return false };
        let token = sent.as_ref().and_then(|value| value.to_str().ok()?.strip_prefix("Bearer ").map(str::to_owned));
        let Some(fresh) = renew(token.unwrap_or_default()).await else { return false };
        let Ok(value) = bearer(&fresh) else { return false };
        *self.inner.authorization.write().unwrap_or_else(PoisonError::into_inner) = Some(value);
        true
    }

    async fn attempt(&self, call: &Call, key: Option<&str>) -> Result<Answer> {
        let mut request = self.request(call.method.clone(), call.url.clone());
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        if let Some(body) = &call.body {
            request = request.header(header::CONTENT_TYPE, "application/json").body(body.clone());
        }
        let mut response = request.send().await.map_err(|error| self.broken(&error))?;
        let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.broken(&error))? {
            if body.len() + chunk.len() > MAX_BODY_BYTES {
                return Err(ClientError::decode(&self.inner.server, status, &"it does not end", &body[..200]));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, headers, body: body.freeze() })
    }

    /// An answer that may be larger than what should be held in memory. Sent once.
    pub(crate) async fn download(&self, segments: &[&str]) -> Result<Download> {
        let Inner { config, server, .. } = &*self.inner;
        let request = self.request(Method::GET, self.url(segments, &[])?);
        let Ok(response) = timeout(config.timeout, request.send()).await else {
            return Err(ClientError::Timeout { server: server.clone(), after: config.timeout });
        };
        let mut response = response.map_err(|error| self.broken(&error))?;
        if response.status().is_success() {
            return Ok(Download { client: self.clone(), response });
        }
        let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.broken(&error))?
            && body.len() < MAX_ERROR_BYTES
        {
            body.extend_from_slice(&chunk);
        }
        let failed = Answer { status, headers, body: body.freeze() }.into_success(server);
        Err(failed.err().unwrap_or_else(|| ClientError::decode(server, status, &"it is no success", b"")))
    }

    /// A request with the headers that all of them have.
    pub(crate) fn request(&self, method: Method, url: Url) -> reqwest::RequestBuilder {
        let request = self.inner.http.request(method, url);
        match self.authorization() {
            Some(value) => request.header(header::AUTHORIZATION, value),
            None => request,
        }
    }

    pub(crate) fn broken(&self, error: &reqwest::Error) -> ClientError {
        ClientError::Connect { server: self.inner.server.clone(), reason: root_cause(error) }
    }
}

impl Answer {
    /// The failure it stands for, if its status says so.
    pub(crate) fn failure(&self, server: &str) -> Option<ClientError> {
        if self.status.is_success() {
            return None;
        }
        if self.status.is_redirection() {
            let to = self.headers.get(header::LOCATION).and_then(|to| to.to_str().ok()).unwrap_or("elsewhere");
            let reason = format!("it redirects to `{to}`; use that address");
            return Some(ClientError::decode(server, self.status, &reason, &self.body));
        }
        Some(ClientError::from_answer(server, self.status, &self.body, retry_after(&self.headers)))
    }

    pub(crate) fn into_success(self, server: &str) -> Result<Self> {
        self.failure(server).map_or(Ok(self), Err)
    }
}

/// Whole seconds only: this API never sends the date form.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

fn encode(body: &impl Serialize) -> Result<Bytes> {
    serde_json::to_vec(body).map(Bytes::from).map_err(|error| ClientError::Setup { reason: error.to_string() })
}

fn bearer(token: &str) -> Result<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| ClientError::InvalidToken)?;
    value.set_sensitive(true);
    Ok(value)
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

/// The innermost sentence: the outer ones only say that a request failed.
fn root_cause(error: &reqwest::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    let text = innermost.to_string();
    // The operating system's number says nothing that its words do not.
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}
