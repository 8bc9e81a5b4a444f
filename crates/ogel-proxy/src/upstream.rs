//! One HTTP/1.1 upstream at one or several addresses: sends a request on a kept connection or a fresh one, under a
//! deadline.
//!
//! Make one per data-plane thread and one for the control plane, and clone it within: connections then stay on the
//! runtime that opened them. It refuses to judge answers (a 500 is a response) and to
//! retry, with two exceptions that no upstream can notice or mind: a kept connection may turn out to have been closed
//! by the other side, and then a request that can be repeated is sent once more on a fresh one; and an address that
//! cannot be connected to is replaced by another one, once. Dropping a future closes its connection.
//! Next: `delivery.rs`, one request at one address; `addresses.rs`, `breaker.rs`, `retry.rs`.

use crate::{
    addresses::{Address, Addresses, EjectionConfig},
    attempts::AttemptLog,
    body::{UpstreamBody, read_to_end},
    breaker::{Breaker, BreakerConfig, BreakerState, Judgement},
    connector::Connector,
    delivery::{self, Ticket, Undelivered},
    error::UpstreamError,
    headers::HeaderRules,
    http1::Keep,
    outgoing::OutgoingBody,
    retry::Random,
    upload::{Fields, Head},
};
use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode, Uri};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// What one upstream may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For name resolution, TCP and TLS together.
    pub connect_timeout: Duration,
    /// From the end of the request to the head of its response; also how long the upstream may leave a piece of a
    /// streamed request untaken.
    pub first_byte_timeout: Duration,
    /// Between two pieces of the response's body.
    pub body_idle_timeout: Duration,
    /// Between two pieces of a streamed request's body, while the upstream waits for them.
    pub request_idle_timeout: Duration,
    /// How long an idle connection is kept: below what the upstream keeps it, or requests meet closed connections.
    pub idle_timeout: Duration,
    /// How long a connection is used at most, up to a quarter less by chance: the next one goes to where the name points by
    /// then. A request under way on it is not cut off.
    pub max_age: Duration,
    /// For each address.
    pub max_idle_per_thread: usize,
    /// Of what [`Upstream::ask`] reads.
    pub max_response_bytes: usize,
    /// For the head of a response; at least 8 KiB.
    pub max_head_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(3),
            first_byte_timeout: Duration::from_secs(30),
            body_idle_timeout: Duration::from_secs(60),
            request_idle_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(45),
            max_age: Duration::from_secs(300),
            max_idle_per_thread: 64,
            max_response_bytes: 4 << 20,
            max_head_bytes: 32 << 10,
        }
    }
}

/// Whether a request may be sent a second time when a kept connection dies under it. A streamed body never is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replay {
    /// GET and HEAD may, others not.
    BySafety,
    /// It may: the upstream recognises the repetition (a caller-chosen id, an idempotent method).
    Keyed,
    /// It may not, whatever its method.
    Never,
}

/// Told of each answer that comes before the final one: 103 Early Hints, with those of its headers that are wanted of the
/// final one. At most 16 for each attempt; 100 is not told, because no request of ours asks for it. Has to return at once.
pub type OnInformational<'a> = &'a (dyn Fn(StatusCode, HeaderMap) + Send + Sync);

/// How one request is sent.
#[derive(Clone, Copy)]
pub struct Sending<'a> {
    /// For the head of the response.
    pub deadline: Instant,
    pub replay: Replay,
    /// Where each attempt is noted.
    pub log: Option<&'a AttemptLog>,
    /// `None`: such answers are read and dropped.
    pub informational: Option<OnInformational<'a>>,
}

/// A request of ours, not a client's.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    pub method: &'a Method,
    /// Path and query, as [`crate::uri::target`] builds them.
    pub target: &'a str,
    /// Names in lower case; a value that cannot stand in a header is left out.
    pub headers: &'a [(&'static str, &'a str)],
    /// Of the answer's headers.
    pub wanted: &'a HeaderRules,
}

/// What an upstream with several addresses or a breaker needs.
#[derive(Clone)]
pub struct UpstreamConfig {
    pub limits: Limits,
    /// `None`: it is never left alone.
    pub breaker: Option<BreakerConfig>,
    pub ejection: EjectionConfig,
    pub random: Random,
}

/// One address in use, beside requests. What is said of it here counts for its ejection as an answer would.
pub struct Place(Ticket);

impl Place {
    pub fn base(&self) -> &Uri {
        &self.0.upstream.addresses.all()[self.0.at].base
    }

    pub fn worked(&self) {
        self.0.upstream.addresses.worked(self.0.at);
    }

    /// Counts if it is the upstream's fault.
    pub fn failed(&self, error: &UpstreamError) {
        if error.is_upstreams_fault() {
            self.0.upstream.addresses.failed(self.0.at);
        }
    }
}

/// One upstream and its connections; a clone is a reference count.
#[derive(Clone)]
pub struct Upstream(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) addresses: Addresses,
    pub(crate) connector: Connector,
    pub(crate) limits: Limits,
    breaker: Option<Breaker>,
}

impl Inner {
    /// A response that had begun well did not end so.
    pub(crate) fn broke_off(&self, at: usize, error: &UpstreamError) {
        if error.is_upstreams_fault() {
            self.addresses.failed(at);
            if let Some(breaker) = &self.breaker {
                breaker.blame(|| self.addresses.random());
            }
        }
    }
}

impl Upstream {
    /// One or several addresses of the same service. Errors: none given, one without scheme and host, or two that differ in
    /// scheme or path.
    pub fn new(bases: Vec<Uri>, connector: Connector, config: UpstreamConfig) -> Result<Self, UpstreamError> {
        let differs = |base: &Uri| base.scheme() != bases[0].scheme() || base.path() != bases[0].path();
        if bases.is_empty() || bases.iter().any(differs) {
            return Err(UpstreamError::protocol("an upstream needs addresses that share one scheme and path"));
        }
        let all: Result<Vec<_>, _> = bases.into_iter().map(|base| Address::new(base, config.limits)).collect();
        Ok(Self(Arc::new(Inner {
            addresses: Addresses::new(all?, config.ejection, config.random),
            connector,
            limits: config.limits,
            breaker: config.breaker.map(Breaker::new),
        })))
    }

    /// The first address it was made with, for [`crate::uri::join`]: of what that builds only path and query count.
    pub fn base(&self) -> &Uri {
        &self.0.addresses.all()[0].base
    }

    /// An address that is well and not busy, for a connection of the caller's own (a WebSocket). It counts as busy with
    /// it until the place is dropped.
    pub fn pick(&self) -> Place {
        let at = self.0.addresses.pick(None);
        self.0.addresses.all()[at].begin();
        Place(Ticket { upstream: self.0.clone(), at })
    }

    pub fn connector(&self) -> &Connector {
        &self.0.connector
    }

    /// How many connections it ever opened.
    pub fn connections_opened(&self) -> u64 {
        self.0.addresses.all().iter().map(|address| address.pool.opened()).sum()
    }

    /// How many connections wait for use.
    pub fn idle_connections(&self) -> usize {
        self.0.addresses.all().iter().map(|address| address.pool.idle_connections()).sum()
    }

    /// How many requests are under way, until the end of their response.
    pub fn pending_requests(&self) -> usize {
        self.0.addresses.all().iter().map(Address::pending).sum()
    }

    /// How many addresses are left out at this moment.
    pub fn ejected_addresses(&self) -> usize {
        self.0.addresses.ejected()
    }

    /// `Closed` if there is no breaker.
    pub fn breaker_state(&self) -> BreakerState {
        self.0.breaker.as_ref().map_or(BreakerState::Closed, Breaker::state)
    }

    /// Sends a request and waits for the head of the response, at most until the deadline. `Host`, the framing of the body
    /// and `Expect` are ours. The body of the response streams, each piece within `body_idle_timeout`; read to its end, it
    /// gives the connection back, dropped before, it closes it. A response may come before a streamed request was sent in
    /// full; the rest of it is sent until the response ends.
    pub(crate) async fn send_head(
        &self,
        head: Head<'_>,
        body: OutgoingBody,
        how: Sending<'_>,
    ) -> Result<Response<UpstreamBody>, UpstreamError> {
        if *head.method == Method::CONNECT {
            // It asks for a tunnel, and what comes back is not HTTP any more.
            return Err(UpstreamError::protocol("CONNECT is not sent to an upstream"));
        }
        let started = Instant::now();
        let Some(breaker) = &self.0.breaker else { return self.attempts(&head, body, started, &how).await };
        let permit = breaker.admit().map_err(|retry_after| UpstreamError::BreakerOpen { retry_after })?;
        let result = self.attempts(&head, body, started, &how).await;
        let config = breaker.config();
        let ended = result.as_ref().ok().and_then(|response| response.body().answered()).unwrap_or_else(Instant::now);
        let judgement = match &result {
            Ok(response) if (config.is_failure)(response.status()) => Judgement::Failure,
            Ok(_) => Judgement::Success,
            Err(UpstreamError::Deadline { sent: true }) if ended - started >= config.deadline_counts_after => {
                Judgement::Failure
            }
            Err(error) if error.is_upstreams_fault() => Judgement::Failure,
            Err(_) => Judgement::Neither,
        };
        permit.judge(judgement, ended, || self.0.addresses.random());
        result
    }

    /// A request of ours, and all of its answer, at most `max_response_bytes` of it, until the deadline. Its headers are
    /// written from where they lie; of the answer's, only the wanted ones are kept.
    pub async fn ask(
        &self,
        question: Question<'_>,
        body: Bytes,
        how: Sending<'_>,
    ) -> Result<Response<Bytes>, UpstreamError> {
        let Question { method, target, headers, wanted } = question;
        let keep = Keep { rules: wanted, to_head: *method == Method::HEAD, room: 0 };
        let head = Head { method, target, fields: Fields::Ours(headers), keep };
        let (head, mut body) = self.send_head(head, body.into(), how).await?.into_parts();
        body.set_deadline(how.deadline);
        let body = read_to_end(body, self.0.limits.max_response_bytes).await?;
        Ok(Response::from_parts(head, body))
    }

    async fn attempts(
        &self,
        head: &Head<'_>,
        mut body: OutgoingBody,
        mut started: Instant,
        how: &Sending<'_>,
    ) -> Result<Response<UpstreamBody>, UpstreamError> {
        let may_replay = match how.replay {
            Replay::Keyed => true,
            Replay::Never => false,
            Replay::BySafety => matches!(*head.method, Method::GET | Method::HEAD),
        };
        let mut at = self.0.addresses.pick(None);
        let mut goes_elsewhere = self.0.addresses.all().len() > 1;
        loop {
            match delivery::at_address(&self.0, at, head, &mut body, may_replay, started, how).await {
                Ok(response) => return Ok(response),
                Err(Undelivered { error, is_unsent: true }) if goes_elsewhere && leaves_time(&error) => {
                    goes_elsewhere = false;
                    at = self.0.addresses.pick(Some(at));
                    started = Instant::now();
                }
                Err(Undelivered { error, .. }) => return Err(error),
            }
        }
    }
}

fn leaves_time(error: &UpstreamError) -> bool {
    !matches!(error, UpstreamError::Deadline { .. })
}
