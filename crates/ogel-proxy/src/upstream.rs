//! One HTTP/1.1 upstream: sends a request on a kept connection or a fresh one, under a deadline.
//!
//! Make one per data-plane thread and one for the control plane, and clone it within: connections, and the tasks that
//! drive them, then stay on the runtime that opened them. It refuses to judge answers (a 500 is a response) and to
//! retry, with one exception: a kept connection may turn out to have been closed by the other side, and then a request
//! that can be repeated is sent once more on a fresh one. Dropping a future closes its connection.
//! Next: `pool.rs`, `retry.rs`.

use crate::{
    body::{UpstreamBody, read_to_end},
    connector::Connector,
    error::UpstreamError,
    pool::Pool,
};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, Uri, header};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::time::{Instant, timeout_at};

pub(crate) type Sender = http1::SendRequest<Full<Bytes>>;

/// What one upstream may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For name resolution, TCP and TLS together.
    pub connect_timeout: Duration,
    /// From the request to the head of its response, and between two pieces of a body.
    pub first_byte_timeout: Duration,
    /// How long an idle connection is kept: below what the upstream keeps it, or requests meet closed connections.
    pub idle_timeout: Duration,
    pub max_idle_per_thread: usize,
    /// For [`Upstream::send_buffered`].
    pub max_response_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(3),
            first_byte_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(45),
            max_idle_per_thread: 64,
            max_response_bytes: 4 << 20,
        }
    }
}

/// Whether a request may be sent a second time when a kept connection dies under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replay {
    /// GET and HEAD may, others not.
    BySafety,
    /// It may: the upstream recognises the repetition (a caller-chosen id, an idempotent method).
    Keyed,
    /// It may not, whatever its method.
    Never,
}

/// One upstream and its connections; a clone is a reference count.
#[derive(Clone)]
pub struct Upstream {
    base: Arc<Uri>,
    host: HeaderValue,
    connector: Connector,
    pool: Arc<Pool>,
}

impl Upstream {
    /// Errors: `base` has no scheme and host.
    pub fn new(base: Uri, connector: Connector, limits: Limits) -> Result<Self, UpstreamError> {
        let host = base.authority().map(|a| a.as_str().rsplit('@').next().unwrap_or_default().to_owned());
        let host = host.filter(|_| base.scheme().is_some()).unwrap_or_default();
        if host.is_empty() {
            return Err(UpstreamError::protocol("the upstream's address has no scheme and host"));
        }
        let host = HeaderValue::try_from(host).map_err(UpstreamError::protocol)?;
        Ok(Self { base: Arc::new(base), host, connector, pool: Arc::new(Pool::new(limits)) })
    }

    /// The address it was made with, for [`crate::uri::join`].
    pub fn base(&self) -> &Uri {
        &self.base
    }

    pub fn connector(&self) -> &Connector {
        &self.connector
    }

    /// How many connections it ever opened.
    pub fn connections_opened(&self) -> u64 {
        self.pool.opened.load(Ordering::Relaxed)
    }

    /// How many connections wait for use.
    pub fn idle_connections(&self) -> usize {
        self.pool.idle_connections()
    }

    /// Sends `request` and waits for the head of the response, at most until `deadline`. Only path and query of its
    /// URI are used, and `Host` is ours. The body streams, each piece within `first_byte_timeout`; read to its end, it
    /// gives the connection back, dropped before, it closes it.
    pub async fn send(
        &self,
        request: Request<Bytes>,
        deadline: Instant,
        replay: Replay,
    ) -> Result<Response<UpstreamBody>, UpstreamError> {
        let mut request = self.prepare(request)?;
        let may_replay = match replay {
            Replay::Keyed => true,
            Replay::Never => false,
            Replay::BySafety => matches!(*request.method(), Method::GET | Method::HEAD),
        };
        let before_sending = |_| UpstreamError::Deadline { sent: false };
        if let Some(sender) = timeout_at(deadline, self.pool.take()).await.map_err(before_sending)? {
            let copy = may_replay.then(|| request.clone());
            match self.exchange(sender, request, deadline).await {
                Ok(response) => return Ok(response),
                // The connection was closed while it was idle. A request that was never written comes back whole.
                Err(Failure { unsent: Some(unsent), .. }) => request = *unsent,
                Err(Failure { error: UpstreamError::Reset { .. }, .. }) if copy.is_some() => {
                    // A fresh connection: if several were closed at once, the next kept one would be dead as well.
                    request = copy.unwrap_or_default();
                }
                Err(failure) => return Err(failure.error),
            }
        }
        let sender = timeout_at(deadline, self.open()).await.map_err(before_sending)??;
        self.exchange(sender, request, deadline).await.map_err(|failure| failure.error)
    }

    /// [`Self::send`], and reads the body as well, at most `max_response_bytes` of it, until `deadline`.
    pub async fn send_buffered(
        &self,
        request: Request<Bytes>,
        deadline: Instant,
        replay: Replay,
    ) -> Result<Response<Bytes>, UpstreamError> {
        let limit = self.pool.limits().max_response_bytes;
        let (head, body) = self.send(request, deadline, replay).await?.into_parts();
        let read = timeout_at(deadline, read_to_end(body, limit));
        let body = read.await.map_err(|_| UpstreamError::Deadline { sent: true })??;
        Ok(Response::from_parts(head, body))
    }

    fn prepare(&self, request: Request<Bytes>) -> Result<Request<Full<Bytes>>, UpstreamError> {
        let (mut head, body) = request.into_parts();
        let target = head.uri.path_and_query().cloned();
        head.uri = target.map(Uri::from).unwrap_or_else(|| Uri::from_static("/"));
        head.version = http::Version::HTTP_11;
        head.headers.insert(header::HOST, self.host.clone());
        Ok(Request::from_parts(head, Full::new(body)))
    }

    async fn open(&self) -> Result<Sender, UpstreamError> {
        let io = self.connector.open(&self.base, self.pool.limits().connect_timeout).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(io)).await.map_err(from_hyper)?;
        self.pool.count_opened();
        // Ends when the sender is dropped or the other side closes; its errors reach the request that meets them.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "upstream connection ended");
            }
        });
        Ok(sender)
    }

    async fn exchange(
        &self,
        mut sender: Sender,
        request: Request<Full<Bytes>>,
        deadline: Instant,
    ) -> Result<Response<UpstreamBody>, Failure> {
        let first_byte = Instant::now() + self.pool.limits().first_byte_timeout;
        let response = match timeout_at(first_byte.min(deadline), sender.try_send_request(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(mut failed)) => {
                let unsent = failed.take_message().map(Box::new);
                let error = match (from_hyper(failed.into_error()), &unsent) {
                    (UpstreamError::Reset { source, .. }, Some(_)) => UpstreamError::Reset { sent: false, source },
                    (error, _) => error,
                };
                return Err(Failure { error, unsent });
            }
            Err(_) if deadline <= first_byte => return Err(UpstreamError::Deadline { sent: true }.into()),
            Err(_) => return Err(UpstreamError::FirstByteTimeout.into()),
        };
        let (head, incoming) = response.into_parts();
        Ok(Response::from_parts(head, UpstreamBody::new(incoming, sender, self.pool.clone())))
    }
}

struct Failure {
    error: UpstreamError,
    /// The request, when it is certain that no byte of it was written.
    unsent: Option<Box<Request<Full<Bytes>>>>,
}

impl From<UpstreamError> for Failure {
    fn from(error: UpstreamError) -> Self {
        Self { error, unsent: None }
    }
}

pub(crate) fn from_hyper(error: hyper::Error) -> UpstreamError {
    if error.is_parse() || error.is_user() { UpstreamError::protocol(error) } else { UpstreamError::reset(error) }
}
