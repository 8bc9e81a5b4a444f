//! The body of a response while its connection is on loan: it streams piece by piece, watches for silence, tells a cut
//! from an end, and gives the connection back at its end. Dropped earlier, it closes it. Refuses to buffer more than it
//! is told to.
//! Next: `pool.rs`, where the connection goes.

use crate::{
    error::UpstreamError,
    exchange::{Sender, Ticket, from_hyper},
    headers::HeaderRules,
    outgoing::{BodyStalled, Gate, Progress},
};
use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::{
    error::Error,
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::time::{Instant, Sleep, sleep_until};

pub(crate) async fn read_to_end(mut body: UpstreamBody, limit: usize) -> Result<Bytes, UpstreamError> {
    if body.size_hint().lower() > limit as u64 {
        return Err(UpstreamError::TooLarge { limit });
    }
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let Ok(data) = frame?.into_data() else { continue };
        if first.len() + rest.len() + data.len() > limit {
            return Err(UpstreamError::TooLarge { limit });
        }
        // Most answers are one piece, which is then not copied.
        if first.is_empty() {
            first = data;
        } else {
            rest.extend_from_slice(&data);
        }
    }
    if rest.is_empty() {
        return Ok(first);
    }
    let mut whole = BytesMut::with_capacity(first.len() + rest.len());
    whole.extend_from_slice(&first);
    whole.extend_from_slice(&rest);
    Ok(whole.freeze())
}

/// The body of a response, which holds its connection until it has been read to its end.
pub struct UpstreamBody {
    incoming: Incoming,
    lease: Option<Lease>,
    /// Of the trailers, those that may pass.
    trailers: Option<HeaderRules>,
    /// Armed while we wait, so that a body that keeps coming costs no timer.
    stall: Option<Pin<Box<Sleep>>>,
}

struct Lease {
    sender: Sender,
    /// Of a streamed request, whose body may still be on its way.
    gate: Option<Arc<Gate>>,
    ticket: Ticket,
}

impl UpstreamBody {
    pub(crate) fn new(incoming: Incoming, sender: Sender, gate: Option<Arc<Gate>>, ticket: Ticket) -> Self {
        let mut body = Self { incoming, lease: Some(Lease { sender, gate, ticket }), trailers: None, stall: None };
        if body.incoming.is_end_stream() {
            body.give_back();
        }
        body
    }

    /// Lets only trailers pass that are on the list.
    pub(crate) fn filter_trailers(&mut self, rules: HeaderRules) {
        self.trailers = Some(rules);
    }

    fn give_back(&mut self) {
        let Some(Lease { sender, gate, ticket }) = self.lease.take() else { return };
        match gate {
            // An early answer: the connection has half a request on it, and the upstream wants no more of it.
            Some(gate) if !gate.is_finished() => gate.shut(),
            _ => ticket.upstream.addresses.all()[ticket.at].pool.put(sender),
        }
    }

    fn fail(&mut self, error: UpstreamError) -> UpstreamError {
        let Some(Lease { gate, ticket, .. }) = self.lease.take() else { return error };
        let cause = gate.as_ref().and_then(|gate| gate.failure());
        let error = cause.map_or(error, |source| UpstreamError::RequestBody { source });
        if let Some(gate) = gate {
            gate.shut();
        }
        ticket.upstream.broke_off(ticket.at, &error);
        error
    }

    /// Whether the silence has lasted too long.
    fn poll_stall(&mut self, cx: &mut Context<'_>) -> Poll<UpstreamError> {
        let Some(lease) = &self.lease else { return Poll::Pending };
        let limits = &lease.ticket.upstream.limits;
        let idle = limits.body_idle_timeout;
        let stall = self.stall.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + idle)));
        loop {
            std::task::ready!(stall.as_mut().poll(cx));
            let request = lease.gate.as_ref().filter(|gate| !gate.is_finished());
            match request.map(|gate| gate.progress(limits.request_idle_timeout.max(idle), idle)) {
                // The upstream answers as it reads, and the request still moves.
                Some(Progress::PatientUntil(later)) => stall.as_mut().reset(later),
                Some(Progress::SenderStalled) => {
                    return Poll::Ready(UpstreamError::RequestBody { source: Arc::new(BodyStalled(idle)) });
                }
                Some(Progress::UpstreamStalled) | None => return Poll::Ready(UpstreamError::BodyIdleTimeout),
            }
        }
    }
}

impl Drop for UpstreamBody {
    fn drop(&mut self) {
        if let Some(Lease { gate: Some(gate), .. }) = &self.lease {
            gate.shut();
        }
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = UpstreamError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        let this = &mut *self;
        match Pin::new(&mut this.incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(mut frame))) => {
                this.stall = None;
                if let Some(trailers) = frame.trailers_mut() {
                    HeaderRules::retain_trailers(this.trailers.as_ref(), trailers);
                    this.give_back();
                } else if this.incoming.is_end_stream() {
                    this.give_back();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => {
                this.give_back();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(this.fail(broken(error))))),
            Poll::Pending => {
                let error = std::task::ready!(this.poll_stall(cx));
                Poll::Ready(Some(Err(this.fail(error))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

/// A body that did not come to its end: cut off, or not what chunks look like.
fn broken(error: hyper::Error) -> UpstreamError {
    match error.source().and_then(|source| source.downcast_ref::<io::Error>()).map(io::Error::kind) {
        Some(io::ErrorKind::UnexpectedEof) => UpstreamError::Truncated { source: error.into() },
        Some(io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::Other) => {
            UpstreamError::protocol(error)
        }
        _ => from_hyper(error),
    }
}
