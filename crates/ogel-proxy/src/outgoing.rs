//! The body of a request on its way to an upstream: bytes at hand, or a stream that is read as fast as the upstream
//! takes it and no faster. Refuses to keep what it has passed on: a streamed body is sent once or not at all.
//! Next: `upload.rs`, which writes it.

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use std::{
    error::Error,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

/// Why a request's body ended early; shared, because the connection and the caller both are told.
pub type BodyCause = Arc<dyn Error + Send + Sync>;
type Boxed = Box<dyn Error + Send + Sync>;
pub(crate) type Streamed = Pin<Box<dyn Body<Data = Bytes, Error = BodyCause> + Send>>;

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

/// What a request carries.
pub struct OutgoingBody(pub(crate) Kind);

pub(crate) enum Kind {
    Buffered(Bytes),
    Streamed(Streamed),
}

impl OutgoingBody {
    pub const fn empty() -> Self {
        Self(Kind::Buffered(Bytes::new()))
    }

    /// Passes `body` on piece by piece; known its exact length, the request has a `Content-Length`. More than `limit` bytes
    /// break the request off: [`BodyTooLarge`] is then the source of [`crate::UpstreamError::RequestBody`].
    pub fn limited<B>(body: B, limit: u64) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Boxed>,
    {
        if body.is_end_stream() {
            return Self::empty();
        }
        Self(Kind::Streamed(Box::pin(Limited { body, left: limit, limit })))
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

pin_project! {
    struct Limited<B> {
        #[pin]
        body: B,
        left: u64,
        limit: u64,
    }
}

impl<B> Body for Limited<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Boxed>,
{
    type Data = Bytes;
    type Error = BodyCause;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyCause>>> {
        let this = self.project();
        let frame = match ready!(this.body.poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => return Poll::Ready(Some(Err(error.into().into()))),
            None => return Poll::Ready(None),
        };
        let length = frame.data_ref().map_or(0, |data| data.len() as u64);
        let Some(left) = this.left.checked_sub(length) else {
            return Poll::Ready(Some(Err(Arc::new(BodyTooLarge { limit: *this.limit }))));
        };
        *this.left = left;
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
