//! The body of a response while its connection is on loan: it streams, watches for silence, and gives the connection
//! back at its end. Dropped earlier, it closes it. Refuses to buffer more than it is told to.
//! Next: `pool.rs`, where the connection goes.

use crate::{
    error::UpstreamError,
    pool::Pool,
    upstream::{Sender, from_hyper},
};
use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{Sleep, sleep};

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
    lease: Option<(Sender, Arc<Pool>)>,
    stall_after: Duration,
    /// Armed while we wait, so that a body that keeps coming costs no timer.
    stall: Option<Pin<Box<Sleep>>>,
}

impl UpstreamBody {
    pub(crate) fn new(incoming: Incoming, sender: Sender, pool: Arc<Pool>) -> Self {
        let stall_after = pool.limits().first_byte_timeout;
        let mut body = Self { incoming, lease: Some((sender, pool)), stall_after, stall: None };
        if body.incoming.is_end_stream() {
            body.give_back();
        }
        body
    }

    fn give_back(&mut self) {
        if let Some((sender, pool)) = self.lease.take() {
            pool.put(sender);
        }
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = UpstreamError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        let this = &mut *self;
        match Pin::new(&mut this.incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                this.stall = None;
                if this.incoming.is_end_stream() {
                    this.give_back();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => {
                this.give_back();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                this.lease = None;
                Poll::Ready(Some(Err(from_hyper(error))))
            }
            Poll::Pending => {
                let stall = this.stall.get_or_insert_with(|| Box::pin(sleep(this.stall_after)));
                std::task::ready!(stall.as_mut().poll(cx));
                this.lease = None;
                Poll::Ready(Some(Err(UpstreamError::FirstByteTimeout)))
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
