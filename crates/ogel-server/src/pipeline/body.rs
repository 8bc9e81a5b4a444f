//! The request's body as handlers get it: as it comes, but not for ever.

use crate::settings::Settings;
use axum::{BoxError, body::Body};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{Sleep, sleep};

/// A body that fails once nothing of it has come for `server.stall_timeout_seconds`.
pub(crate) fn watched<B>(body: B, settings: &Settings) -> Body
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    if body.is_end_stream() {
        return Body::empty();
    }
    let stall_after = Duration::from_secs(settings.server.stall_timeout_seconds.max(1));
    Body::new(Watched { body, stall_after, stall: None })
}

/// The client stopped sending in the middle of the body.
#[derive(Debug, thiserror::Error)]
#[error("nothing of the request's body came for {} seconds", .0.as_secs())]
pub(crate) struct Stalled(Duration);

struct Watched<B> {
    body: B,
    stall_after: Duration,
    /// Armed while we wait, so that a body that keeps coming costs no timer.
    stall: Option<Pin<Box<Sleep>>>,
}

impl<B> http_body::Body for Watched<B>
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            this.stall = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(axum::Error::new)));
        }
        let stall = this.stall.get_or_insert_with(|| Box::pin(sleep(this.stall_after)));
        std::task::ready!(stall.as_mut().poll(cx));
        Poll::Ready(Some(Err(axum::Error::new(Stalled(this.stall_after)))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
