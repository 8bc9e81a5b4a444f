//! The body of a request as it comes. What was read makes room for more.

use super::pulse::Heart;
use bytes::Bytes;
use h2::RecvStream;
use http_body::{Body, Frame, SizeHint};
use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

pub(super) struct RequestBody {
    stream: RecvStream,
    /// What is still to come, where the head told it; that it is true is for h2 to see to.
    left: Option<u64>,
    has_data: bool,
    heart: Heart,
}

impl RequestBody {
    pub(super) fn new(stream: RecvStream, length: Option<u64>, heart: Heart) -> Self {
        Self { stream, left: length, has_data: true, heart }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        if self.has_data {
            if let Some(data) = ready!(self.stream.poll_data(cx)) {
                let data = data?;
                self.heart.beat();
                self.stream.flow_control().release_capacity(data.len())?;
                self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            self.has_data = false;
        }
        Poll::Ready(ready!(self.stream.poll_trailers(cx)).map(|trailers| trailers.map(Frame::trailers)).transpose())
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match self.left {
            _ if self.stream.is_end_stream() => SizeHint::with_exact(0),
            Some(left) => SizeHint::with_exact(left),
            None => SizeHint::default(),
        }
    }
}
