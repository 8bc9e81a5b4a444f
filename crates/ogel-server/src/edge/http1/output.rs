//! Answers on their way out: the head written by hand into a buffer that the first piece of the body shares, larger pieces
//! beside it, and all of it in one write where the socket takes it.

use super::buffers;
use crate::{pipeline::Stamp, world::World};
use bytes::{Buf as _, Bytes};
use http::{HeaderMap, HeaderName, StatusCode, header};
use ogel_proxy::http1::{ChunkHead, chunks};
use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::io::AsyncWrite;

/// Pieces up to this size are copied behind the head; others are written from where they are.
const COPIED: usize = 8 << 10;
/// With so much in the buffer, it is written before more is asked for.
const FULL: usize = 16 << 10;
const LAST_OF_ALL: &[u8] = b"\r\n0\r\n\r\n";

/// How the end of an answer's body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// It has none, whatever its headers say.
    None,
    /// So many bytes are still to come.
    Length(u64),
    Chunked,
    UntilClose,
}

/// What is said of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Persistence {
    /// Nothing: it goes on.
    Usual,
    /// To a client of HTTP/1.0, which would else expect its end.
    KeepAlive,
    Close,
}

/// What waits to be written.
#[derive(Default)]
pub(super) struct Output {
    buffer: Vec<u8>,
    /// So much of it is written.
    at: usize,
    data: Bytes,
    tail: &'static [u8],
}

impl Output {
    pub(super) fn is_empty(&self) -> bool {
        self.buffer.is_empty() && self.data.is_empty() && self.tail.is_empty()
    }

    /// Whether more may be added before it is written.
    pub(super) fn has_room(&self) -> bool {
        self.data.is_empty() && self.tail.is_empty() && self.buffer.len() < FULL
    }

    fn buffer(&mut self) -> &mut Vec<u8> {
        if self.buffer.capacity() == 0 {
            self.buffer = buffers::output();
        }
        &mut self.buffer
    }

    pub(super) fn text(&mut self, text: &[u8]) {
        self.buffer().extend_from_slice(text);
    }

    /// An informational answer, such as 103.
    pub(super) fn interim(&mut self, status: StatusCode, headers: &HeaderMap) {
        self.status_line(status);
        for (name, value) in headers {
            self.header(name, value.as_bytes());
        }
        self.text(b"\r\n");
    }

    /// The head of an answer. Its framing is written by us and by nobody else.
    pub(super) fn head(
        &mut self,
        status: StatusCode,
        headers: &HeaderMap,
        stamp: &Stamp,
        framing: Framing,
        persistence: Persistence,
        world: &World,
    ) {
        self.status_line(status);
        let is_switching = status == StatusCode::SWITCHING_PROTOCOLS;
        let mut has_date = false;
        for (name, value) in headers {
            if name == header::CONNECTION && !is_switching || name == header::TRANSFER_ENCODING {
                continue;
            }
            // A length stays where no body tells it: in the answer to a HEAD, and in a 304.
            if name == header::CONTENT_LENGTH && (framing != Framing::None || has_no_length(status)) {
                continue;
            }
            has_date |= name == header::DATE;
            self.header(name, value.as_bytes());
        }
        stamp.each(|name, text, _| {
            debug_assert!(!headers.contains_key(name), "`{name}` is the stamp's to write");
            text.read(|value| self.header(name, value));
        });
        match framing {
            Framing::None | Framing::UntilClose => {}
            Framing::Length(length) => {
                let mut digits = itoa::Buffer::new();
                self.header(&header::CONTENT_LENGTH, digits.format(length).as_bytes());
            }
            Framing::Chunked => self.text(b"transfer-encoding: chunked\r\n"),
        }
        match persistence {
            Persistence::Usual => {}
            Persistence::KeepAlive => self.text(b"connection: keep-alive\r\n"),
            Persistence::Close => self.text(b"connection: close\r\n"),
        }
        if !has_date && !is_switching {
            self.text(b"date: ");
            buffers::append_date(world.now(), self.buffer());
            self.text(b"\r\n");
        }
        self.text(b"\r\n");
    }

    fn status_line(&mut self, status: StatusCode) {
        let buffer = self.buffer();
        buffer.extend_from_slice(b"HTTP/1.1 ");
        buffer.extend_from_slice(status.as_str().as_bytes());
        buffer.push(b' ');
        buffer.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
        buffer.extend_from_slice(b"\r\n");
    }

    fn header(&mut self, name: &HeaderName, value: &[u8]) {
        let buffer = self.buffer();
        buffer.extend_from_slice(name.as_str().as_bytes());
        buffer.extend_from_slice(b": ");
        buffer.extend_from_slice(value);
        buffer.extend_from_slice(b"\r\n");
    }

    /// A piece of the body, not empty.
    pub(super) fn piece(&mut self, data: Bytes, is_chunk: bool) {
        if is_chunk {
            self.text(ChunkHead::new(data.len()).as_bytes());
        }
        if data.len() > COPIED {
            self.data = data;
            self.tail = if is_chunk { chunks::END_OF_CHUNK } else { b"" };
            return;
        }
        self.text(&data);
        if is_chunk {
            self.text(chunks::END_OF_CHUNK);
        }
    }

    /// The end of a chunked body.
    pub(super) fn last_chunk(&mut self, trailers: Option<&HeaderMap>) {
        match trailers {
            None if self.tail.is_empty() => self.text(chunks::LAST),
            None => self.tail = LAST_OF_ALL,
            Some(trailers) => chunks::write_last(trailers, self.buffer()),
        }
    }

    /// Writes what waits, until all of it is written.
    pub(super) fn poll_write<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let stream = &mut *stream;
        while !self.is_empty() {
            let head = &self.buffer[self.at..];
            let written = if self.data.is_empty() && self.tail.is_empty() {
                ready!(Pin::new(&mut *stream).poll_write(cx, head))?
            } else {
                let pieces = [head, &self.data[..], self.tail].map(IoSlice::new);
                ready!(Pin::new(&mut *stream).poll_write_vectored(cx, &pieces))?
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(written);
        }
        // A TLS session may hold some of it.
        Pin::new(stream).poll_flush(cx)
    }

    fn advance(&mut self, mut written: usize) {
        let of_buffer = written.min(self.buffer.len() - self.at);
        self.at += of_buffer;
        written -= of_buffer;
        if self.at == self.buffer.len() {
            buffers::give_output(std::mem::take(&mut self.buffer));
            self.at = 0;
        }
        let of_data = written.min(self.data.len());
        self.data.advance(of_data);
        if self.data.is_empty() {
            // Even empty it would hold what it is a part of.
            self.data = Bytes::new();
        }
        self.tail = &self.tail[(written - of_data).min(self.tail.len())..];
    }
}

/// Answers that say nothing of a length (RFC 9110 8.6).
pub(super) fn has_no_length(status: StatusCode) -> bool {
    status.is_informational() || status == StatusCode::NO_CONTENT
}
