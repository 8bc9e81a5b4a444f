//! The request's body as handlers get it: as it comes, but not for ever.

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{Sleep, sleep};

/// A body that fails once nothing of it has come for `stall_after`.
pub(crate) fn watched(body: Incoming, stall_after: Duration) -> Body {
    if body.is_end_stream() {
        return Body::empty();
    }
    Body::new(Watched { body, stall_after, stall: None })
}

/// The client stopped sending in the middle of the body.
#[derive(Debug, thiserror::Error)]
#[error("nothing of the request's body came for {} seconds", .0.as_secs())]
pub(crate) struct Stalled(Duration);

struct Watched {
    body: Incoming,
    stall_after: Duration,
    /// Armed while we wait, so that a body that keeps coming costs no timer.
    stall: Option<Pin<Box<Sleep>>>,
}

impl http_body::Body for Watched {
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
