//! One request on one connection, until the head of its response: the task that asks writes and reads by itself, with
//! one timer for all its waits. What comes before the final answer (103) is told to whoever asked for it.
//! Refuses to choose connections and to try again. Next: `body.rs`, the rest of the response.

use crate::{
    connection::Connection,
    error::UpstreamError,
    http1::{BodyLength, HeadError, Keep, ResponseHead, head::may_be_whole_now},
    outgoing::{BodyStalled, OutgoingBody},
    upload::{Head, Upload, UploadError},
    upstream::{Limits, OnInformational, Sending},
};
use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderValue, Method, StatusCode};
use std::{
    future::poll_fn,
    io,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::Instant;

/// Answers before the final one, to one request.
const MAX_INFORMATIONAL: usize = 16;

/// A connection with a request on it.
pub(crate) struct Exchange {
    connection: Connection,
    /// Until all of the request was sent.
    upload: Option<Box<Upload>>,
    /// Why the upstream takes no more of the request: nothing else can be said on this connection then.
    refusal: Option<io::Error>,
    /// Since when the upstream says nothing, if we wait for it.
    silent_since: Option<Instant>,
    /// Read and not looked at.
    pub(crate) unread: Bytes,
}

/// Who has been silent for too long.
pub(crate) enum Silence {
    Sender,
    Upstream,
    Deadline,
}

/// Why there is no response.
pub(crate) struct Failure {
    pub(crate) error: UpstreamError,
    /// Whether nothing came back, so that asking again cannot bring a second answer.
    pub(crate) is_unanswered: bool,
}

impl Exchange {
    /// Sends the request, whose body it takes if it streams, and waits for the head of the response.
    pub(crate) async fn run(
        connection: Connection,
        request: &Head<'_>,
        body: &mut OutgoingBody,
        host: &HeaderValue,
        started: Instant,
        limits: &Limits,
        how: &Sending<'_>,
    ) -> Result<(ResponseHead, BodyLength, Self), Failure> {
        let to_head = *request.method == Method::HEAD;
        let keep = request.keep;
        let upload = Upload::new(*request, body, host, started);
        let (silent_since, unread) = (Some(started), Bytes::new());
        let mut exchange = Self { connection, upload: None, refusal: None, silent_since, unread };
        let mut heads = Heads { keep, partial: BytesMut::new(), informational: 0, has_begun: false };
        let mut first = Some(upload);
        let head = poll_fn(|cx| {
            if let Some(upload) = first.take() {
                exchange.begin(upload, cx)?;
            }
            exchange.poll_head(&mut heads, limits, how, cx)
        });
        let head = head.await.and_then(|head| {
            let length = head.framing.response_body(head.is_11, head.status, to_head);
            length.map(|length| (head, length)).map_err(UpstreamError::protocol)
        });
        match head {
            Ok((head, length)) => Ok((head, length, exchange)),
            Err(error) => Err(Failure { error, is_unanswered: !heads.has_begun }),
        }
    }

    /// Most requests are sent at once: only one that is not is kept.
    fn begin(&mut self, mut upload: Upload, cx: &mut Context<'_>) -> Result<(), UpstreamError> {
        match upload.poll(&mut self.connection.stream, cx) {
            Poll::Ready(outcome) => self.sent(outcome, upload.has_begun),
            Poll::Pending => {
                self.upload = Some(Box::new(upload));
                Ok(())
            }
        }
    }

    /// Sends what can be sent of the request. Errors: its body is at fault.
    pub(crate) fn send_on(&mut self, cx: &mut Context<'_>) -> Result<(), UpstreamError> {
        let Some(upload) = &mut self.upload else { return Ok(()) };
        let Poll::Ready(outcome) = upload.poll(&mut self.connection.stream, cx) else { return Ok(()) };
        let has_begun = upload.has_begun;
        (self.upload, self.silent_since) = (None, None);
        self.sent(outcome, has_begun)
    }

    /// An upstream that takes no more may have answered before: what it said is read first.
    fn sent(&mut self, outcome: Result<(), UploadError>, has_begun: bool) -> Result<(), UpstreamError> {
        match outcome {
            Ok(()) => {}
            Err(UploadError::Body(source)) => return Err(UpstreamError::RequestBody { source }),
            Err(UploadError::Write(error)) if has_begun => self.refusal = Some(error),
            Err(UploadError::Write(error)) => return Err(UpstreamError::Reset { sent: false, source: error.into() }),
        }
        Ok(())
    }

    fn poll_head(
        &mut self,
        heads: &mut Heads<'_>,
        limits: &Limits,
        how: &Sending<'_>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<ResponseHead, UpstreamError>> {
        self.send_on(cx)?;
        while let Poll::Ready(piece) = self.connection.poll_read(false, cx) {
            let piece = piece.and_then(|piece| if piece.is_empty() { Err(closed()) } else { Ok(piece) });
            let piece = piece.map_err(|error| UpstreamError::reset(self.refusal.take().unwrap_or(error)))?;
            if let Some((head, rest)) = heads.take(piece, limits.max_head_bytes, how.informational)? {
                (self.unread, self.silent_since) = (rest, None);
                return Poll::Ready(Ok(head));
            }
        }
        let (sender, upstream) = (limits.request_idle_timeout, limits.first_byte_timeout);
        Poll::Ready(Err(match ready!(self.poll_silence(sender, upstream, Some(how.deadline), cx)) {
            Silence::Deadline => UpstreamError::Deadline { sent: true },
            Silence::Sender => UpstreamError::RequestBody { source: Arc::new(BodyStalled(sender)) },
            Silence::Upstream => UpstreamError::FirstByteTimeout,
        }))
    }

    /// The next piece of the body; an empty one is the end of the connection.
    pub(crate) fn poll_read(&mut self, much: bool, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let piece = ready!(self.connection.poll_read(much, cx));
        self.silent_since = None;
        Poll::Ready(piece)
    }

    /// Ready when a silence has lasted too long. `sender` and `upstream`: how long each may be silent. Asked when there
    /// is nothing to read.
    pub(crate) fn poll_silence(
        &mut self,
        sender: Duration,
        upstream: Duration,
        deadline: Option<Instant>,
        cx: &mut Context<'_>,
    ) -> Poll<Silence> {
        let mut until = *self.silent_since.get_or_insert_with(Instant::now) + upstream;
        let mut silence = Silence::Upstream;
        if let Some(upload) = &self.upload {
            // The request still moves: who is waited for is whoever keeps it from moving.
            until = until.max(upload.moved + if upload.waits { sender } else { upstream });
            silence = if upload.waits { Silence::Sender } else { Silence::Upstream };
        }
        let deadline = deadline.filter(|deadline| *deadline <= until);
        ready!(self.connection.alarm.poll(deadline.unwrap_or(until), cx));
        Poll::Ready(if deadline.is_some() { Silence::Deadline } else { silence })
    }

    /// The connection, if another request can be sent on it.
    pub(crate) fn into_reusable(self) -> Option<Connection> {
        let is_clean = self.upload.is_none() && self.refusal.is_none() && self.unread.is_empty();
        is_clean.then_some(self.connection)
    }
}

fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the connection was closed before the answer was whole")
}

/// The heads that come before a body.
struct Heads<'a> {
    keep: Keep<'a>,
    /// Of a head that came in several pieces.
    partial: BytesMut,
    informational: usize,
    has_begun: bool,
}

impl Heads<'_> {
    /// The final head, if `piece` completes it, and what follows it.
    fn take(
        &mut self,
        piece: Bytes,
        max_bytes: usize,
        tell: Option<OnInformational<'_>>,
    ) -> Result<Option<(ResponseHead, Bytes)>, UpstreamError> {
        self.has_begun = true;
        let mut text = piece;
        if !self.partial.is_empty() {
            let before = self.partial.len();
            self.partial.extend_from_slice(&text);
            if self.partial.len() < max_bytes && !may_be_whole_now(&self.partial, before) {
                return Ok(None);
            }
            text = self.partial.split().freeze();
        }
        while !text.is_empty() {
            let Some(head) = ResponseHead::parse(&text, max_bytes, self.keep).map_err(protocol)? else {
                self.partial.extend_from_slice(&text);
                break;
            };
            text.advance(head.length);
            if !head.status.is_informational() {
                return Ok(Some((head, text)));
            }
            self.informational += 1;
            if head.status == StatusCode::SWITCHING_PROTOCOLS {
                return Err(UpstreamError::protocol("the upstream switched protocols without being asked"));
            }
            if self.informational > MAX_INFORMATIONAL {
                return Err(UpstreamError::protocol("the upstream gives one answer after the other and none is final"));
            }
            // We ask for no 100: `Expect` is not sent.
            if head.status != StatusCode::CONTINUE
                && let Some(tell) = tell
            {
                tell(head.status, head.headers);
            }
        }
        Ok(None)
    }
}

fn protocol(error: HeadError) -> UpstreamError {
    UpstreamError::protocol(error)
}
