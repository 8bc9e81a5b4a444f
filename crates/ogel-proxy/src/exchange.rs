//! One request at one address: on a kept connection if there is one, else on a fresh one, with one timer for all its
//! waits. Refuses to choose addresses and to try again elsewhere. Next: `body.rs`, the body of its response.

use crate::{
    body::UpstreamBody,
    error::UpstreamError,
    outgoing::{BodyStalled, Gate, OutgoingBody, Progress},
    upstream::{Inner, Sending},
};
use http::{Request, Response, StatusCode, header};
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use std::{pin::pin, sync::Arc};
use tokio::time::{Instant, timeout_at};

pub(crate) type Sender = SendRequest<OutgoingBody>;

/// The request on its way: here until it is handed to a connection, and here again if not a byte of it was written.
/// Lent and not passed on, because it is large and would be copied at each step.
pub(crate) type Slot = Option<Request<OutgoingBody>>;

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

/// Sends what is in `slot`. After an error it is there again if it was certainly not sent.
pub(crate) async fn at_address(
    upstream: &Arc<Inner>,
    at: usize,
    slot: &mut Slot,
    may_replay: bool,
    how: Sending<'_>,
) -> Result<Response<UpstreamBody>, UpstreamError> {
    let address = &upstream.addresses.all()[at];
    address.begin();
    let ticket = Ticket { upstream: upstream.clone(), at };
    let Some(request) = slot.as_mut() else { return Err(UpstreamError::protocol("there is nothing to send")) };
    request.headers_mut().insert(header::HOST, address.host.clone());
    let gate = request.body().gate();
    let log = |result: Result<StatusCode, &UpstreamError>, started: Instant, reused| {
        if let Some(log) = how.log {
            log.push(&address.label, result, started.elapsed(), reused);
        }
    };

    let mut started = Instant::now();
    let kept = match address.pool.take_ready() {
        Some(sender) => Some(sender),
        // Nothing waits for its turn: no timer.
        None if address.pool.idle_connections() == 0 => None,
        None => timeout_at(how.deadline, address.pool.take()).await.map_err(before_sending)?,
    };
    if let Some(sender) = kept {
        let copy = if may_replay { slot.as_ref().and_then(copy) } else { None };
        match exchange(&ticket, sender, slot, gate.as_ref(), started, how.deadline).await {
            Ok((response, sender)) => {
                log(Ok(response.status()), started, true);
                upstream.addresses.worked(at);
                return Ok(whole(response, sender, gate, ticket));
            }
            Err(error) => {
                log(Err(&error), started, true);
                // The connection was closed while it was idle. A request that was never written comes back whole.
                if slot.is_none() {
                    // A fresh connection: if several were closed at once, the next kept one would be dead as well.
                    match (&error, copy) {
                        (UpstreamError::Reset { .. }, Some(copy)) => *slot = Some(copy),
                        _ => return Err(blamed(upstream, at, error)),
                    }
                }
            }
        }
        started = Instant::now();
    }
    let result = match timeout_at(how.deadline, open(upstream, at)).await {
        Ok(Ok(sender)) => exchange(&ticket, sender, slot, gate.as_ref(), Instant::now(), how.deadline).await,
        Ok(Err(error)) => Err(error),
        Err(elapsed) => Err(before_sending(elapsed)),
    };
    match result {
        Ok((response, sender)) => {
            log(Ok(response.status()), started, false);
            upstream.addresses.worked(at);
            Ok(whole(response, sender, gate, ticket))
        }
        Err(error) => {
            log(Err(&error), started, false);
            Err(blamed(upstream, at, error))
        }
    }
}

fn before_sending(_: tokio::time::error::Elapsed) -> UpstreamError {
    UpstreamError::Deadline { sent: false }
}

fn blamed(upstream: &Inner, at: usize, error: UpstreamError) -> UpstreamError {
    if error.is_upstreams_fault() {
        upstream.addresses.failed(at);
    }
    error
}

fn copy(request: &Request<OutgoingBody>) -> Option<Request<OutgoingBody>> {
    let mut copy = Request::new(request.body().copy()?);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    Some(copy)
}

fn whole(
    response: Response<Incoming>,
    sender: Sender,
    gate: Option<Arc<Gate>>,
    ticket: Ticket,
) -> Response<UpstreamBody> {
    response.map(|incoming| UpstreamBody::new(incoming, sender, gate, ticket))
}

async fn open(upstream: &Inner, at: usize) -> Result<Sender, UpstreamError> {
    let address = &upstream.addresses.all()[at];
    let limits = &upstream.limits;
    let io = upstream.connector.open(&address.base, limits.connect_timeout).await?;
    let mut builder = http1::Builder::new();
    // hyper reads a head into one buffer and sends from another of the same size: this bounds what a slow upstream
    // makes us hold of a streamed request, too.
    builder.max_header_size(limits.max_head_bytes).max_buf_size(limits.max_head_bytes.max(64 << 10));
    let (sender, connection) = builder.handshake(TokioIo::new(io)).await.map_err(from_hyper)?;
    address.pool.count_opened();
    // Ends when the sender is dropped or the other side closes; its errors reach the request that meets them.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "upstream connection ended");
        }
    });
    Ok(sender)
}

async fn exchange(
    ticket: &Ticket,
    mut sender: Sender,
    slot: &mut Slot,
    gate: Option<&Arc<Gate>>,
    started: Instant,
    deadline: Instant,
) -> Result<(Response<Incoming>, Sender), UpstreamError> {
    let limits = &ticket.upstream.limits;
    let mut until = started + limits.first_byte_timeout;
    let mut answer = pin!(sender.try_send_request(slot.take().unwrap_or_default()));
    let response = loop {
        match timeout_at(until.min(deadline), answer.as_mut()).await {
            Ok(Ok(response)) => break response,
            Ok(Err(mut failed)) => {
                *slot = failed.take_message();
                return Err(failure(failed.into_error(), slot.is_some(), gate));
            }
            Err(_) if deadline <= until => return Err(UpstreamError::Deadline { sent: true }),
            Err(_) => match gate.map(|gate| gate.progress(limits.request_idle_timeout, limits.first_byte_timeout)) {
                Some(Progress::PatientUntil(later)) => until = later,
                Some(Progress::SenderStalled) => {
                    let source = Arc::new(BodyStalled(limits.request_idle_timeout));
                    return Err(UpstreamError::RequestBody { source });
                }
                Some(Progress::UpstreamStalled) | None => return Err(UpstreamError::FirstByteTimeout),
            },
        }
    };
    match check_framing(&response) {
        Ok(()) => Ok((response, sender)),
        Err(problem) => Err(UpstreamError::protocol(problem)),
    }
}

fn failure(error: hyper::Error, is_unsent: bool, gate: Option<&Arc<Gate>>) -> UpstreamError {
    if is_unsent {
        return match from_hyper(error) {
            UpstreamError::Reset { source, .. } => UpstreamError::Reset { sent: false, source },
            error => error,
        };
    }
    match gate {
        // The stream's own error if there is one; else it was shorter than it had said.
        Some(gate) => match gate.failure() {
            Some(source) => UpstreamError::RequestBody { source },
            None if error.is_user() => UpstreamError::RequestBody { source: Arc::new(error) },
            None => from_hyper(error),
        },
        None => from_hyper(error),
    }
}

/// What hyper lets pass, but two readers may read in two ways.
fn check_framing(response: &Response<Incoming>) -> Result<(), &'static str> {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Err("the upstream switched protocols without being asked");
    }
    let mut encodings = response.headers().get_all(header::TRANSFER_ENCODING).iter();
    if let Some(encoding) = encodings.next() {
        if encodings.next().is_some() || !encoding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") {
            return Err("the response has a transfer encoding that is not `chunked`");
        }
        if response.headers().contains_key(header::CONTENT_LENGTH) {
            return Err("the response has a length and a transfer encoding");
        }
    }
    Ok(())
}

pub(crate) fn from_hyper(error: hyper::Error) -> UpstreamError {
    if error.is_parse() || error.is_user() { UpstreamError::protocol(error) } else { UpstreamError::reset(error) }
}
