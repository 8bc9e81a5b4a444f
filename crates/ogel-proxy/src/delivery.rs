//! One request at one address: on a kept connection if there is one, else on a fresh one. Refuses to choose addresses and
//! to try again elsewhere. Next: `exchange.rs`, one request on one connection.

use crate::{
    body::UpstreamBody,
    connection::Connection,
    error::UpstreamError,
    exchange::{Exchange, Failure},
    http1::{BodyLength, ResponseHead},
    outgoing::{Kind, OutgoingBody},
    upload::Head,
    upstream::{Inner, Sending},
};
use http::{Response, StatusCode};
use std::sync::Arc;
use tokio::time::{Instant, timeout_at};

/// A request under way at an address, until its response has ended.
pub(crate) struct Ticket {
    pub(crate) upstream: Arc<Inner>,
    pub(crate) at: usize,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.upstream.addresses.all()[self.at].end();
    }
}

/// Why there is no response, and whether the request is whole and was certainly not sent.
pub(crate) struct Undelivered {
    pub(crate) error: UpstreamError,
    pub(crate) is_unsent: bool,
}

/// Sends the request, which is only lent: unless its body streams, it can be sent again.
pub(crate) async fn at_address(
    upstream: &Arc<Inner>,
    at: usize,
    head: &Head<'_>,
    body: &mut OutgoingBody,
    may_replay: bool,
    mut started: Instant,
    how: &Sending<'_>,
) -> Result<Response<UpstreamBody>, Undelivered> {
    let address = &upstream.addresses.all()[at];
    address.begin();
    let ticket = Ticket { upstream: upstream.clone(), at };
    let streams = matches!(body.0, Kind::Streamed(_));
    let log = |result: Result<StatusCode, &UpstreamError>, started: Instant, reused| {
        let ended = Instant::now();
        if let Some(log) = how.log {
            log.push(&address.label, result, (started.into_std(), ended - started), reused);
        }
        ended
    };

    if let Some(connection) = address.pool.take(started) {
        match Exchange::run(connection, head, body, &address.host, started, &upstream.limits, how).await {
            Ok(answer) => {
                let answered = log(Ok(answer.0.status), started, true);
                upstream.addresses.worked(at);
                return Ok(whole(answer, answered, ticket));
            }
            Err(Failure { error, is_unanswered }) => {
                log(Err(&error), started, true);
                // The connection was closed while it was idle. The next attempt is on a fresh one: if several were closed
                // at once, the next kept one would be dead as well.
                let goes_again = match &error {
                    UpstreamError::Reset { sent, .. } => !sent || (may_replay && is_unanswered),
                    _ => false,
                };
                if streams || !goes_again {
                    return Err(undelivered(upstream, at, error, false));
                }
            }
        }
        started = Instant::now();
    }
    // Boxed: most requests need none of its room.
    let connection = match Box::pin(timeout_at(how.deadline, open(upstream, at))).await {
        Ok(opened) => opened,
        Err(_) => Err(UpstreamError::Deadline { sent: false }),
    };
    let connection = match connection {
        Ok(connection) => connection,
        Err(error) => {
            log(Err(&error), started, false);
            return Err(undelivered(upstream, at, error, true));
        }
    };
    let opened = Instant::now();
    match Exchange::run(connection, head, body, &address.host, opened, &upstream.limits, how).await {
        Ok(answer) => {
            let answered = log(Ok(answer.0.status), started, false);
            upstream.addresses.worked(at);
            Ok(whole(answer, answered, ticket))
        }
        Err(Failure { error, .. }) => {
            log(Err(&error), started, false);
            let is_unsent = !streams && matches!(error, UpstreamError::Reset { sent: false, .. });
            Err(undelivered(upstream, at, error, is_unsent))
        }
    }
}

fn undelivered(upstream: &Inner, at: usize, error: UpstreamError, is_unsent: bool) -> Undelivered {
    if error.is_upstreams_fault() {
        upstream.addresses.failed(at);
    }
    Undelivered { error, is_unsent }
}

async fn open(upstream: &Inner, at: usize) -> Result<Connection, UpstreamError> {
    let address = &upstream.addresses.all()[at];
    let stream = upstream.connector.open(&address.base, upstream.limits.connect_timeout).await?;
    address.pool.count_opened();
    // Those that were opened together are not to end together.
    let spread = (upstream.addresses.random() >> 11) as f64 / (1_u64 << 53) as f64;
    Ok(Connection::new(stream, Instant::now() + upstream.limits.max_age.mul_f64(1.0 - 0.25 * spread)))
}

fn whole(
    (head, length, exchange): (ResponseHead, BodyLength, Exchange),
    answered: Instant,
    ticket: Ticket,
) -> Response<UpstreamBody> {
    let persists = head.framing.persists(head.is_11);
    let mut response = Response::new(UpstreamBody::new(exchange, length, persists, answered, ticket));
    (*response.status_mut(), *response.headers_mut()) = (head.status, head.headers);
    response
}
