//! The body of a response while its connection is on loan: it streams piece by piece, watches for silence, tells a cut
//! from an end, and gives the connection back at its end. Dropped earlier, it closes it. A request that is still being
//! sent goes on as the response is asked for. Refuses to buffer more than it is told to.
//! Next: `pool.rs`, where the connection goes.

use crate::{
    delivery::Ticket,
    error::UpstreamError,
    exchange::{Exchange, Silence},
    headers::HeaderRules,
    http1::{BodyLength, Chunk, ChunkDecoder},
    outgoing::BodyStalled,
    pool,
};
use bytes::{Buf, Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::time::Instant;

/// From here on a body is read in large pieces.
const MUCH: u64 = 64 << 10;

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
    left: Left,
    lease: Option<Lease>,
    /// Of the trailers, those that may pass.
    trailers: Option<HeaderRules>,
    /// For all of it, if it has to be whole by then.
    deadline: Option<Instant>,
    /// When the head came, until something is asked for: a body that came with it needs no other time.
    answered: Option<Instant>,
}

/// What has not been passed on yet.
enum Left {
    Bytes(u64),
    Chunks(ChunkDecoder),
    /// Whatever comes until the connection is closed.
    All,
}

struct Lease {
    exchange: Exchange,
    /// Whether the connection may be used again.
    persists: bool,
    ticket: Ticket,
}

impl UpstreamBody {
    pub(crate) fn new(
        exchange: Exchange,
        length: BodyLength,
        persists: bool,
        answered: Instant,
        ticket: Ticket,
    ) -> Self {
        let left = match length {
            BodyLength::Exact(length) => Left::Bytes(length),
            BodyLength::Chunked => Left::Chunks(ChunkDecoder::new()),
            BodyLength::UntilClose => Left::All,
        };
        let lease = Some(Lease { exchange, persists, ticket });
        let mut body = Self { left, lease, trailers: None, deadline: None, answered: Some(answered) };
        if matches!(body.left, Left::Bytes(0)) {
            body.give_back(Some(answered));
        }
        body
    }

    /// When the head came, if nothing of the body has been asked for since.
    pub(crate) fn answered(&self) -> Option<Instant> {
        self.answered
    }

    /// Lets only trailers pass that are on the list.
    pub(crate) fn filter_trailers(&mut self, rules: HeaderRules) {
        self.trailers = Some(rules);
    }

    /// All of it has to be there by then.
    pub(crate) fn set_deadline(&mut self, deadline: Instant) {
        self.deadline = Some(deadline);
    }

    /// What was sent of the request in vain (an early answer), or said after the end, is lost with the connection.
    fn give_back(&mut self, now: Option<Instant>) {
        self.left = Left::Bytes(0);
        let Some(Lease { exchange, persists, ticket }) = self.lease.take() else { return };
        if let Some(connection) = exchange.into_reusable().filter(|_| persists) {
            pool::put(&ticket.upstream, ticket.at, connection, now.unwrap_or_else(Instant::now));
        }
    }

    fn fail(&mut self, error: UpstreamError) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        self.left = Left::Bytes(0);
        if let Some(Lease { ticket, .. }) = self.lease.take() {
            ticket.upstream.broke_off(ticket.at, &error);
        }
        Poll::Ready(Some(Err(error)))
    }

    /// What of `unread` is the next frame, if any is.
    fn next_frame(&mut self) -> Result<Next, UpstreamError> {
        let Some(Lease { exchange, .. }) = &mut self.lease else { return Ok(Next::End(None)) };
        let unread = &mut exchange.unread;
        Ok(match &mut self.left {
            Left::Bytes(0) => Next::End(None),
            _ if unread.is_empty() => Next::Nothing,
            Left::All => Next::Data(std::mem::take(unread)),
            Left::Bytes(left) => {
                let length = usize::try_from(*left).unwrap_or(usize::MAX).min(unread.len());
                *left -= length as u64;
                if length == unread.len() {
                    Next::Data(std::mem::take(unread))
                } else {
                    Next::Data(unread.split_to(length))
                }
            }
            Left::Chunks(decoder) => {
                let (framing, chunk) = decoder.next(unread).map_err(UpstreamError::protocol)?;
                unread.advance(framing);
                match chunk {
                    Chunk::Incomplete => Next::Nothing,
                    Chunk::Data(length) => Next::Data(unread.split_to(length)),
                    Chunk::End(trailers) => Next::End(trailers),
                }
            }
        })
    }

    /// Whether the silence has lasted too long.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<UpstreamError> {
        let Some(Lease { exchange, ticket, .. }) = &mut self.lease else { return Poll::Pending };
        let limits = &ticket.upstream.limits;
        let (idle, sender) = (limits.body_idle_timeout, limits.request_idle_timeout.max(limits.body_idle_timeout));
        Poll::Ready(match ready!(exchange.poll_silence(sender, idle, self.deadline, cx)) {
            Silence::Deadline => UpstreamError::Deadline { sent: true },
            Silence::Sender => UpstreamError::RequestBody { source: Arc::new(BodyStalled(idle)) },
            Silence::Upstream => UpstreamError::BodyIdleTimeout,
        })
    }
}

enum Next {
    /// More has to be read.
    Nothing,
    Data(Bytes),
    End(Option<http::HeaderMap>),
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = UpstreamError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        let this = &mut *self;
        let Some(lease) = &mut this.lease else { return Poll::Ready(None) };
        if let Err(error) = lease.exchange.send_on(cx) {
            return this.fail(error);
        }
        let mut now = this.answered.take();
        loop {
            match this.next_frame() {
                Err(error) => return this.fail(error),
                Ok(Next::Data(data)) => {
                    if matches!(this.left, Left::Bytes(0)) {
                        this.give_back(now);
                    }
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Ok(Next::End(trailers)) => {
                    this.give_back(now);
                    let Some(mut trailers) = trailers else { return Poll::Ready(None) };
                    HeaderRules::retain_trailers(this.trailers.as_ref(), &mut trailers);
                    return Poll::Ready((!trailers.is_empty()).then(|| Ok(Frame::trailers(trailers))));
                }
                Ok(Next::Nothing) => {}
            }
            let much = match this.left {
                Left::Bytes(left) => left >= MUCH,
                Left::Chunks(_) | Left::All => false,
            };
            now = None;
            let Some(lease) = &mut this.lease else { return Poll::Ready(None) };
            match lease.exchange.poll_read(much, cx) {
                Poll::Ready(Ok(piece)) if !piece.is_empty() => lease.exchange.unread = piece,
                Poll::Ready(Ok(_)) if matches!(this.left, Left::All) => {
                    this.lease = None;
                    return Poll::Ready(None);
                }
                Poll::Ready(Ok(_)) => return this.fail(truncated(io::ErrorKind::UnexpectedEof.into())),
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return this.fail(truncated(error));
                }
                Poll::Ready(Err(error)) => return this.fail(UpstreamError::reset(error)),
                Poll::Pending => {
                    let error = ready!(this.poll_silence(cx));
                    return this.fail(error);
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.left, Left::Bytes(0))
    }

    fn size_hint(&self) -> SizeHint {
        match self.left {
            Left::Bytes(left) => SizeHint::with_exact(left),
            Left::Chunks(_) | Left::All => SizeHint::new(),
        }
    }
}

/// A body that did not come to its end.
fn truncated(error: io::Error) -> UpstreamError {
    UpstreamError::Truncated { source: error.into() }
}
