//! The body of a request on its way to an upstream: bytes at hand, or a stream that is read as fast as the upstream
//! takes it and no faster. Refuses to keep what it has passed on: a streamed body is sent once or not at all.
//! Next: `upstream.rs`, which watches its progress through the [`Gate`].

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use std::{
    error::Error,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};
use tokio::time::Instant;

/// Why a request's body ended early; shared, because the connection and the caller both are told.
pub type BodyCause = Arc<dyn Error + Send + Sync>;
type Boxed = Box<dyn Error + Send + Sync>;
type Stream = Pin<Box<dyn Body<Data = Bytes, Error = Boxed> + Send>>;

/// The request's body is larger than it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request's body is larger than {limit} bytes")]
pub struct BodyTooLarge {
    pub limit: u64,
}

/// The request's body stopped coming.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request's body stopped coming for {0:?}")]
pub struct BodyStalled(pub Duration);

#[derive(Debug, thiserror::Error)]
#[error("the response has ended, so the rest of the request is of no use")]
struct NoLongerWanted;

/// What a request carries.
pub struct OutgoingBody(Kind);

enum Kind {
    Buffered(Bytes),
    /// Behind a pointer: requests are moved often, and most carry nothing.
    Streamed(Box<Streamed>),
}

struct Streamed {
    stream: Stream,
    left: u64,
    limit: u64,
    gate: Arc<Gate>,
}

impl OutgoingBody {
    pub const fn empty() -> Self {
        Self(Kind::Buffered(Bytes::new()))
    }

    /// Passes `body` on piece by piece. Known its exact length, the request has a `Content-Length`.
    pub fn streamed<B>(body: B) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Boxed>,
    {
        Self::limited(body, u64::MAX)
    }

    /// [`Self::streamed`], of which more than `limit` bytes break the request off: [`BodyTooLarge`] is then the source
    /// of [`crate::UpstreamError::RequestBody`].
    pub fn limited<B>(body: B, limit: u64) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Boxed>,
    {
        if body.is_end_stream() {
            return Self::empty();
        }
        let stream = Box::pin(http_body_util::BodyExt::map_err(body, Into::into));
        Self(Kind::Streamed(Box::new(Streamed { stream, left: limit, limit, gate: Arc::new(Gate::new()) })))
    }

    pub(crate) fn gate(&self) -> Option<Arc<Gate>> {
        match &self.0 {
            Kind::Buffered(_) => None,
            Kind::Streamed(streamed) => Some(streamed.gate.clone()),
        }
    }

    /// A second copy, if there can be one.
    pub(crate) fn copy(&self) -> Option<Self> {
        match &self.0 {
            Kind::Buffered(bytes) => Some(Self(Kind::Buffered(bytes.clone()))),
            Kind::Streamed(_) => None,
        }
    }
}

impl Drop for OutgoingBody {
    fn drop(&mut self) {
        // hyper lets go of a body once its length is reached, without asking whether more comes.
        if let Kind::Streamed(streamed) = &self.0 {
            streamed.gate.finish_if_sending();
        }
    }
}

impl From<Bytes> for OutgoingBody {
    fn from(bytes: Bytes) -> Self {
        Self(Kind::Buffered(bytes))
    }
}

impl Default for OutgoingBody {
    fn default() -> Self {
        Self::empty()
    }
}

impl fmt::Debug for OutgoingBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Buffered(bytes) => write!(f, "OutgoingBody({} bytes)", bytes.len()),
            Kind::Streamed(_) => f.write_str("OutgoingBody(streamed)"),
        }
    }
}

impl Body for OutgoingBody {
    type Data = Bytes;
    type Error = BodyCause;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyCause>>> {
        let Streamed { stream, left, limit, gate } = match &mut self.0 {
            Kind::Buffered(bytes) if bytes.is_empty() => return Poll::Ready(None),
            Kind::Buffered(bytes) => return Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Kind::Streamed(streamed) => &mut **streamed,
        };
        if gate.is_shut(cx) {
            return Poll::Ready(Some(Err(Arc::new(NoLongerWanted))));
        }
        match stream.as_mut().poll_frame(cx) {
            Poll::Pending => {
                gate.waits();
                Poll::Pending
            }
            Poll::Ready(None) => {
                gate.end(Phase::Finished);
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(gate.fail(error.into())))),
            Poll::Ready(Some(Ok(frame))) => {
                let length = frame.data_ref().map_or(0, |data| data.len() as u64);
                let Some(rest) = left.checked_sub(length) else {
                    return Poll::Ready(Some(Err(gate.fail(Arc::new(BodyTooLarge { limit: *limit })))));
                };
                *left = rest;
                if frame.is_trailers() || stream.is_end_stream() {
                    gate.end(Phase::Finished);
                } else {
                    gate.moves();
                }
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Buffered(bytes) => bytes.is_empty(),
            Kind::Streamed(streamed) => streamed.stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Buffered(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Streamed(streamed) => streamed.stream.size_hint(),
        }
    }
}

/// What the two ends of a request know of its streamed body: how far it is, why it broke off, that nobody wants the
/// rest. Its mutex is held for a few instructions by one thread's tasks.
pub(crate) struct Gate(Mutex<State>);

struct State {
    phase: Phase,
    /// When a piece last went through.
    moved: Instant,
    /// Whether it is the sender of the request we wait for, and not the upstream.
    waits: bool,
    waker: Option<Waker>,
}

enum Phase {
    Sending,
    Finished,
    Failed(BodyCause),
    Shut,
}

/// What a body that has not been answered yet means.
pub(crate) enum Progress {
    /// It may stay silent until then.
    PatientUntil(Instant),
    /// Its sender has been silent for too long.
    SenderStalled,
    /// The upstream has been silent, or has taken nothing, for too long.
    UpstreamStalled,
}

impl Gate {
    fn new() -> Self {
        Self(Mutex::new(State { phase: Phase::Sending, moved: Instant::now(), waits: false, waker: None }))
    }

    fn is_shut(&self, cx: &Context<'_>) -> bool {
        let mut state = self.0.lock();
        if !state.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            state.waker = Some(cx.waker().clone());
        }
        matches!(state.phase, Phase::Shut)
    }

    fn waits(&self) {
        self.0.lock().waits = true;
    }

    fn moves(&self) {
        let mut state = self.0.lock();
        (state.moved, state.waits) = (Instant::now(), false);
    }

    fn end(&self, phase: Phase) {
        let mut state = self.0.lock();
        (state.moved, state.waits, state.phase) = (Instant::now(), false, phase);
    }

    fn fail(&self, cause: BodyCause) -> BodyCause {
        self.end(Phase::Failed(cause.clone()));
        cause
    }

    /// Why the body broke off, if it did.
    pub(crate) fn failure(&self) -> Option<BodyCause> {
        match &self.0.lock().phase {
            Phase::Failed(cause) => Some(cause.clone()),
            _ => None,
        }
    }

    pub(crate) fn is_finished(&self) -> bool {
        matches!(self.0.lock().phase, Phase::Finished)
    }

    fn finish_if_sending(&self) {
        let mut state = self.0.lock();
        if matches!(state.phase, Phase::Sending) {
            (state.moved, state.waits, state.phase) = (Instant::now(), false, Phase::Finished);
        }
    }

    /// Ends a body that is still being sent.
    pub(crate) fn shut(&self) {
        let mut state = self.0.lock();
        if matches!(state.phase, Phase::Sending) {
            state.phase = Phase::Shut;
            if let Some(waker) = state.waker.take() {
                drop(state);
                waker.wake();
            }
        }
    }

    /// `sender` and `upstream`: how long each may be silent.
    pub(crate) fn progress(&self, sender: Duration, upstream: Duration) -> Progress {
        let state = self.0.lock();
        let patience = if state.waits { sender } else { upstream };
        match state.moved + patience {
            until if until > Instant::now() => Progress::PatientUntil(until),
            _ if state.waits => Progress::SenderStalled,
            _ => Progress::UpstreamStalled,
        }
    }
}
