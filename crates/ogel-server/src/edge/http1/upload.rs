//! The body of a request between the connection, which reads it, and the handler, which may run anywhere. One piece is on
//! its way at most, and none before it is asked for: a handler that does not read makes the client wait.

use super::READ_AHEAD;
use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use ogel_proxy::http1::{BodyLength, Chunk, ChunkDecoder, ChunkError};
use parking_lot::Mutex;
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

/// Pieces smaller than this are copied, so that a few bytes do not hold a whole buffer.
const COPIED: usize = 4 << 10;

/// Why a body did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    #[error("the connection ended in the middle of the body")]
    Left,
    #[error(transparent)]
    Chunk(#[from] ChunkError),
}

/// How much of a body is still to come.
enum Rest {
    Exact(u64),
    Chunked(Box<ChunkDecoder>),
    /// Where it ends nobody knows any more, whatever comes.
    Broken(ChunkError),
}

/// What is next in a body.
pub(super) enum Piece {
    Data(Bytes),
    Trailers(http::HeaderMap),
    End,
    /// More has to be read.
    Incomplete,
}

/// Takes a body out of what was read.
pub(super) struct Decoder(Rest);

impl Decoder {
    pub(super) fn new(length: BodyLength) -> Self {
        Self(match length {
            BodyLength::Chunked => Rest::Chunked(Box::default()),
            BodyLength::Exact(length) => Rest::Exact(length),
            BodyLength::UntilClose => Rest::Exact(0),
        })
    }

    pub(super) fn next(&mut self, read: &mut BytesMut) -> Result<Piece, ChunkError> {
        let count = match &mut self.0 {
            Rest::Exact(0) => return Ok(Piece::End),
            Rest::Exact(left) => {
                let count = usize::try_from(*left).unwrap_or(usize::MAX).min(read.len());
                *left -= count as u64;
                count
            }
            Rest::Broken(error) => return Err(*error),
            Rest::Chunked(decoder) => {
                let (framing, chunk) = match decoder.next(read) {
                    Ok(next) => next,
                    Err(error) => {
                        self.0 = Rest::Broken(error);
                        return Err(error);
                    }
                };
                // Not `advance`, which would keep the place.
                drop(read.split_to(framing));
                match chunk {
                    Chunk::Incomplete => 0,
                    Chunk::Data(count) => count,
                    Chunk::End(None) => return Ok(Piece::End),
                    Chunk::End(Some(trailers)) => return Ok(Piece::Trailers(trailers)),
                }
            }
        };
        if count == 0 {
            return Ok(Piece::Incomplete);
        }
        let data = read.split_to(count);
        Ok(Piece::Data(if count < COPIED { Bytes::copy_from_slice(&data) } else { data.freeze() }))
    }

    fn is_over(&self) -> bool {
        match &self.0 {
            Rest::Exact(left) => *left == 0,
            Rest::Chunked(decoder) => decoder.is_over(),
            Rest::Broken(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self.0 {
            Rest::Exact(left) => SizeHint::with_exact(left),
            Rest::Chunked(_) | Rest::Broken(_) => SizeHint::default(),
        }
    }
}

#[derive(Default)]
struct State {
    /// The handler waits for a piece.
    is_wanted: bool,
    next: Option<Result<Frame<Bytes>, BodyError>>,
    /// Nothing comes after `next`.
    is_over: bool,
    /// The handler will not ask again.
    is_dropped: bool,
    handler: Option<Waker>,
    connection: Option<Waker>,
}

/// The connection's end.
pub(super) struct Upload {
    shared: Arc<Mutex<State>>,
    pub(super) decoder: Decoder,
    /// The client waits to be told to go on (`Expect: 100-continue`).
    pub(super) awaits_continue: bool,
}

/// The handler's end.
pub(super) struct RequestBody {
    shared: Arc<Mutex<State>>,
    size: SizeHint,
    is_over: bool,
}

impl Upload {
    pub(super) fn new(length: BodyLength, awaits_continue: bool) -> (Self, RequestBody) {
        let shared = Arc::<Mutex<State>>::default();
        let decoder = Decoder::new(length);
        let body = RequestBody { shared: shared.clone(), size: decoder.size_hint(), is_over: false };
        (Self { shared, decoder, awaits_continue }, body)
    }

    /// Whether a piece is asked for; if not, the task is woken when one is.
    pub(super) fn is_wanted(&self, cx: &Context<'_>) -> bool {
        let mut state = self.shared.lock();
        let is_wanted = state.is_wanted && state.next.is_none();
        if !is_wanted && !state.connection.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            state.connection = Some(cx.waker().clone());
        }
        is_wanted
    }

    /// Whether the body has been read to its end.
    pub(super) fn is_over(&self) -> bool {
        self.decoder.is_over()
    }

    /// Whether the handler has let go of it. What it may still read is not ours to take.
    pub(super) fn is_dropped(&self) -> bool {
        self.shared.lock().is_dropped
    }

    pub(super) fn put(&self, frame: Option<Result<Frame<Bytes>, BodyError>>) {
        let mut state = self.shared.lock();
        if state.is_over {
            return;
        }
        // A length that is reached is the end, without asking what comes behind it.
        state.is_over = self.decoder.is_over() || !matches!(frame, Some(Ok(_)));
        state.is_wanted = false;
        state.next = frame.filter(|_| !state.is_dropped);
        if let Some(waker) = state.handler.take() {
            waker.wake();
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        // Said to a body that is over already it means nothing.
        self.put(Some(Err(BodyError::Left)));
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let mut state = this.shared.lock();
        if let Some(next) = state.next.take() {
            this.is_over = state.is_over;
            if let Ok(data) = next.as_ref().map(|frame| frame.data_ref().map_or(0, Bytes::len) as u64)
                && let Some(left) = this.size.exact()
            {
                this.size = SizeHint::with_exact(left.saturating_sub(data));
            }
            return Poll::Ready(Some(next));
        }
        if state.is_over {
            this.is_over = true;
            return Poll::Ready(None);
        }
        state.is_wanted = true;
        state.handler = Some(cx.waker().clone());
        if let Some(waker) = &state.connection {
            waker.wake_by_ref();
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.is_over
    }

    fn size_hint(&self) -> SizeHint {
        self.size
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        (state.is_dropped, state.is_wanted, state.next) = (true, false, None);
    }
}

/// A body that is all there already, in what was read behind its head. What is not, is left as it is.
pub(super) fn whole(length: BodyLength, read: &mut BytesMut) -> Option<Bytes> {
    let BodyLength::Exact(length) = length else { return None };
    let length = usize::try_from(length).ok().filter(|length| *length <= read.len().min(READ_AHEAD))?;
    match Decoder::new(BodyLength::Exact(length as u64)).next(read) {
        Ok(Piece::Data(data)) => Some(data),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The decoder below may have seen an end before it found the error.
    #[test]
    fn a_broken_body_has_no_end() {
        let mut decoder = Decoder::new(BodyLength::Chunked);
        assert!(matches!(decoder.next(&mut BytesMut::from(&b"0\r\n"[..])), Ok(Piece::Incomplete)));
        let mut rest = BytesMut::from(&b"GET /hidden HTTP/1.1\r\nhost: x\r\n\r\n"[..]);
        for _ in 0..3 {
            assert!(decoder.next(&mut rest).is_err() && !decoder.is_over());
        }
    }
}
