//! A request on its way out: its head and, of its body, one piece at a time, written together where both are there. The
//! headers that frame and address it are ours. Refuses to read ahead of what the upstream takes, and to let a body end
//! that is shorter or longer than its head said. Next: `exchange.rs`, which waits for the answer meanwhile.

use crate::{
    connector::Stream,
    forward::{ForwardRules, Passing},
    headers::may_trail,
    http1::{ChunkHead, Keep, chunks},
    outgoing::{BodyCause, Kind, OutgoingBody, Streamed},
};
use bytes::{Buf, Bytes};
use http::{HeaderMap, HeaderValue, Method};
use http_body::Body as _;
use std::{
    cell::Cell,
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::{io::AsyncWrite, time::Instant};

/// A head larger than this is not what the next request will need.
const KEPT_ROOM: usize = 16 << 10;

thread_local! {
    /// What heads are written into. Most are sent at once, so that one is enough for a thread.
    static LEAD: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The head of a request before it is text.
#[derive(Clone, Copy)]
pub(crate) struct Head<'a> {
    pub(crate) method: &'a Method,
    /// Path and query.
    pub(crate) target: &'a str,
    pub(crate) fields: Fields<'a>,
    /// Of the response's headers, those that are wanted.
    pub(crate) keep: Keep<'a>,
}

#[derive(Clone, Copy)]
pub(crate) enum Fields<'a> {
    /// Names in lower case; a value that cannot stand in a header is left out.
    Ours(&'a [(&'static str, &'a str)]),
    Passed(&'a ForwardRules, &'a Passing<'a>),
}

impl Fields<'_> {
    /// Which trailers may follow the body.
    fn trailers(&self) -> Option<HeaderValue> {
        match self {
            Self::Ours(_) => None,
            Self::Passed(rules, passing) => rules.request.announced(passing.headers),
        }
    }
}

/// Why it ended early.
pub(crate) enum UploadError {
    /// The upstream takes no more.
    Write(io::Error),
    /// The body broke off, or was not as long as announced.
    Body(BodyCause),
}

/// The body of a request was not as long as its head had announced.
#[derive(Debug, thiserror::Error)]
#[error("the request's body is {0} than its length")]
struct WrongLength(&'static str);

pub(crate) struct Upload {
    /// The head, and then what stands before each piece.
    lead: Vec<u8>,
    written: usize,
    data: Bytes,
    tail: &'static [u8],
    rest: Rest,
    /// Whether any of it has left us.
    pub(crate) has_begun: bool,
    /// When a piece last went through.
    pub(crate) moved: Instant,
    /// Whether one has since.
    has_moved: bool,
    /// Whether it is the sender of the request we wait for, and not the upstream.
    pub(crate) waits: bool,
}

/// What of the body has not come yet.
enum Rest {
    Nothing,
    Length {
        stream: Streamed,
        left: u64,
    },
    /// `trailers`: which of them were announced.
    Chunks {
        stream: Streamed,
        trailers: Option<HeaderValue>,
    },
}

impl Upload {
    /// Takes `body` if it streams; else it can be sent again.
    pub(crate) fn new(head: Head<'_>, body: &mut OutgoingBody, host: &HeaderValue, now: Instant) -> Self {
        let mut lead = LEAD.take();
        lead.clear();
        write_head(head, host, &mut lead);
        let mut data = Bytes::new();
        let (length, rest) = match std::mem::take(body).0 {
            Kind::Buffered(bytes) => {
                let says_so = !bytes.is_empty() || matches!(*head.method, Method::POST | Method::PUT | Method::PATCH);
                if !bytes.is_empty() {
                    *body = bytes.clone().into();
                }
                data = bytes;
                (says_so.then_some(data.len() as u64), Rest::Nothing)
            }
            Kind::Streamed(stream) => {
                let trailers = head.fields.trailers();
                // Trailers have no place behind a length.
                match stream.size_hint().exact().filter(|_| trailers.is_none()) {
                    Some(left) => (Some(left), Rest::Length { stream, left }),
                    None => (None, Rest::Chunks { stream, trailers }),
                }
            }
        };
        match (length, &rest) {
            (Some(length), _) => {
                lead.extend_from_slice(b"content-length: ");
                lead.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
                lead.extend_from_slice(b"\r\n");
            }
            (None, Rest::Chunks { trailers, .. }) => {
                if let Some(trailers) = trailers {
                    write_field("trailer", trailers.as_bytes(), &mut lead);
                }
                lead.extend_from_slice(b"transfer-encoding: chunked\r\n");
            }
            (None, _) => {}
        }
        lead.extend_from_slice(b"\r\n");
        let (written, tail, has_begun, has_moved, waits) = (0, &b""[..], false, false, false);
        Self { lead, written, data, tail, rest, has_begun, moved: now, has_moved, waits }
    }

    /// Sends what can be sent. Ready when all of it was, or no more can be.
    pub(crate) fn poll(&mut self, to: &mut Stream, cx: &mut Context<'_>) -> Poll<Result<(), UploadError>> {
        let outcome = self.poll_all(to, cx);
        if outcome.is_pending() && std::mem::take(&mut self.has_moved) {
            self.moved = Instant::now();
        }
        outcome
    }

    fn poll_all(&mut self, to: &mut Stream, cx: &mut Context<'_>) -> Poll<Result<(), UploadError>> {
        loop {
            let is_between = self.is_written();
            // The first piece goes with the head, if it is there; each later one when the one before is gone.
            if is_between || !self.has_begun && self.data.is_empty() {
                match self.poll_piece(cx) {
                    Poll::Ready(Err(cause)) => return Poll::Ready(Err(UploadError::Body(cause))),
                    Poll::Ready(Ok(false)) if is_between => return flush(to, cx),
                    Poll::Pending if is_between => {
                        self.waits = true;
                        // What was written must not wait in a buffer for what may be waiting for its answer.
                        ready!(flush(to, cx))?;
                        return Poll::Pending;
                    }
                    Poll::Ready(Ok(_)) | Poll::Pending => {}
                }
            }
            ready!(self.poll_write(to, cx)).map_err(UploadError::Write)?;
        }
    }

    fn is_written(&self) -> bool {
        self.written == self.lead.len() && self.data.is_empty() && self.tail.is_empty()
    }

    fn poll_write(&mut self, to: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.is_written() {
            let lead = &self.lead[self.written..];
            let to = Pin::new(&mut *to);
            let written = if self.data.is_empty() && self.tail.is_empty() {
                to.poll_write(cx, lead)
            } else {
                to.poll_write_vectored(cx, &[lead, &self.data[..], self.tail].map(IoSlice::new))
            };
            let mut length = match ready!(written)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                length => length,
            };
            (self.has_begun, self.has_moved, self.waits) = (true, true, false);
            let of_lead = length.min(lead.len());
            self.written += of_lead;
            length -= of_lead;
            let of_data = length.min(self.data.len());
            self.data.advance(of_data);
            self.tail = &self.tail[length - of_data..];
        }
        self.lead.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }

    /// Whether there is another piece.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, BodyCause>> {
        loop {
            let frame = match &mut self.rest {
                Rest::Nothing => return Poll::Ready(Ok(false)),
                Rest::Length { stream, .. } | Rest::Chunks { stream, .. } => {
                    ready!(stream.as_mut().poll_frame(cx)).transpose()?
                }
            };
            match (frame.map(http_body::Frame::into_data), &mut self.rest) {
                (_, Rest::Nothing) => return Poll::Ready(Ok(false)),
                (Some(Ok(data)), _) if data.is_empty() => continue,
                (Some(Ok(data)), Rest::Length { left, .. }) => {
                    let Some(rest) = left.checked_sub(data.len() as u64) else {
                        return Poll::Ready(Err(Arc::new(WrongLength("longer"))));
                    };
                    *left = rest;
                    if *left == 0 {
                        self.rest = Rest::Nothing;
                    }
                    self.data = data;
                }
                (_, Rest::Length { left: 0, .. }) => {
                    self.rest = Rest::Nothing;
                    continue;
                }
                (_, Rest::Length { .. }) => return Poll::Ready(Err(Arc::new(WrongLength("shorter")))),
                (Some(Ok(data)), Rest::Chunks { .. }) => {
                    self.lead.extend_from_slice(ChunkHead::new(data.len()).as_bytes());
                    (self.data, self.tail) = (data, chunks::END_OF_CHUNK);
                }
                (None, Rest::Chunks { .. }) => {
                    self.lead.extend_from_slice(chunks::LAST);
                    self.rest = Rest::Nothing;
                }
                (Some(Err(frame)), Rest::Chunks { trailers, .. }) => {
                    let announced = announced(trailers.as_ref(), &frame.into_trailers().unwrap_or_default());
                    chunks::write_last(&announced, &mut self.lead);
                    self.rest = Rest::Nothing;
                }
            }
            return Poll::Ready(Ok(true));
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if self.lead.capacity() <= KEPT_ROOM {
            // Fails only while the thread ends.
            let _ = LEAD.try_with(|lead| lead.set(std::mem::take(&mut self.lead)));
        }
    }
}

fn flush(to: &mut Stream, cx: &mut Context<'_>) -> Poll<Result<(), UploadError>> {
    Pin::new(to).poll_flush(cx).map_err(UploadError::Write)
}

/// The request line and every header that is not ours to write.
fn write_head(head: Head<'_>, host: &HeaderValue, to: &mut Vec<u8>) {
    to.extend_from_slice(head.method.as_str().as_bytes());
    to.push(b' ');
    if !head.target.starts_with('/') {
        to.push(b'/');
    }
    to.extend_from_slice(head.target.as_bytes());
    to.extend_from_slice(b" HTTP/1.1\r\n");
    write_field("host", host.as_bytes(), to);
    match head.fields {
        Fields::Passed(rules, passing) => {
            rules.each(passing, |name, value| write_field(name.as_str(), value.as_bytes(), to));
            write_ours(passing.ours, to);
        }
        Fields::Ours(fields) => write_ours(fields, to),
    }
}

fn write_ours(fields: &[(&'static str, &str)], to: &mut Vec<u8>) {
    for (name, value) in fields {
        if !value.bytes().any(|byte| byte.is_ascii_control()) {
            write_field(name, value.as_bytes(), to);
        }
    }
}

fn write_field(name: &str, value: &[u8], to: &mut Vec<u8>) {
    to.extend_from_slice(name.as_bytes());
    to.extend_from_slice(b": ");
    to.extend_from_slice(value);
    to.extend_from_slice(b"\r\n");
}

/// Of the trailers those that the head named and that may stand there.
fn announced(names: Option<&HeaderValue>, trailers: &HeaderMap) -> HeaderMap {
    let is_named = |name: &str| {
        let names = names.map_or(&b""[..], HeaderValue::as_bytes);
        names.split(|byte| *byte == b',').any(|named| named.trim_ascii().eq_ignore_ascii_case(name.as_bytes()))
    };
    let passing = trailers.iter().filter(|(name, _)| is_named(name.as_str()) && may_trail(name.as_str()));
    passing.map(|(name, value)| (name.clone(), value.clone())).collect()
}
