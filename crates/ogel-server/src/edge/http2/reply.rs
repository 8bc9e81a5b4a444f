//! One answer on its way to the client, as fast as the client takes it.

use super::pulse::Heart;
use crate::{
    edge::{
        Core,
        http1::{Answer, buffers},
    },
    pipeline::{Answered, Stamp, Value},
};
use axum::BoxError;
use bytes::Bytes;
use h2::{Reason, SendStream, server::SendResponse};
use http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use http_body::{Body as _, Frame};
use std::{
    future::poll_fn,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::timeout;

/// What is said about the connection and not about the answer (RFC 9113 8.2.2).
const OF_THE_CONNECTION: [HeaderName; 5] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// What is known of the answer before it is there.
pub(super) struct Reply {
    pub(super) is_head: bool,
    /// Whether an answer before this one has put the names of what is ever new into the table of headers.
    pub(super) table_has_names: bool,
    /// For a client that takes nothing of what there is for it.
    pub(super) stall: Duration,
    pub(super) heart: Heart,
    pub(super) core: Arc<Core>,
}

impl Reply {
    /// Errors: the client is gone, or has taken the request back; the body broke off; nothing was taken for too long.
    pub(super) async fn send(self, answer: Answer, mut respond: SendResponse<Bytes>) -> Result<(), BoxError> {
        // Dropping what nobody waits for any more ends it.
        let answer = tokio::select! {
            biased;
            answer = answer => answer,
            reset = poll_fn(|cx| respond.poll_reset(cx)) => return Err(h2::Error::from(reset?).into()),
        };
        let Answered { response, stamp } = answer;
        let (mut head, mut body) = response.into_parts();
        let has_body = !self.is_head && !body.is_end_stream();
        self.finish(&mut head.headers, &stamp);
        if has_body && let Some(length) = body.size_hint().exact() {
            head.headers.entry(header::CONTENT_LENGTH).or_insert_with(|| length.into());
        }
        let mut stream = respond.send_response(Response::from_parts(head, ()), !has_body)?;
        if !has_body {
            return Ok(());
        }
        loop {
            let frame = poll_fn(|cx| match poll_gone(&mut stream, cx) {
                Poll::Ready(error) => Poll::Ready(Err(error)),
                Poll::Pending => Pin::new(&mut body).poll_frame(cx).map(Ok),
            });
            match frame.await?.map(|frame| frame.map(Frame::into_data)) {
                None => return Ok(stream.send_data(Bytes::new(), true)?),
                Some(Err(error)) => {
                    stream.send_reset(Reason::INTERNAL_ERROR);
                    return Err(error.into());
                }
                Some(Ok(Ok(data))) => {
                    let is_last = body.is_end_stream();
                    self.send_data(&mut stream, data, is_last).await?;
                    if is_last {
                        return Ok(());
                    }
                }
                Some(Ok(Err(frame))) => {
                    let trailers = frame.into_trailers().unwrap_or_default();
                    return Ok(stream.send_trailers(trailers)?);
                }
            }
        }
    }

    fn finish(&self, headers: &mut HeaderMap, stamp: &Stamp) {
        for name in &OF_THE_CONNECTION {
            headers.remove(name);
        }
        if !headers.contains_key(header::DATE) {
            let mut text = Vec::new();
            buffers::append_date(self.core.app.world.now(), &mut text);
            headers.extend(HeaderValue::from_maybe_shared(Bytes::from(text)).ok().map(|value| (header::DATE, value)));
        }
        // At once: growing would hash all of them again.
        headers.reserve(12);
        stamp.each(|name, text, kind| {
            let mut value = text.value();
            // Not for the table of headers, once it has the name.
            value.set_sensitive(kind == Value::EverNew && self.table_has_names);
            headers.insert(name, value);
        });
    }

    /// As much at a time as the client has room for.
    async fn send_data(&self, stream: &mut SendStream<Bytes>, mut data: Bytes, is_last: bool) -> Result<(), BoxError> {
        loop {
            stream.reserve_capacity(data.len());
            if stream.capacity() == 0 && !data.is_empty() {
                let room = poll_fn(|cx| match poll_gone(stream, cx) {
                    Poll::Ready(error) => Poll::Ready(Err(error)),
                    Poll::Pending => stream.poll_capacity(cx).map(Ok),
                });
                match timeout(self.stall, room).await {
                    Ok(room) => drop(room?.ok_or("the stream has ended")??),
                    Err(_) => {
                        stream.send_reset(Reason::CANCEL);
                        return Err(io::Error::new(io::ErrorKind::TimedOut, "the client stopped reading").into());
                    }
                }
                self.heart.beat();
            }
            let piece = data.split_to(stream.capacity().min(data.len()));
            if piece.is_empty() && !data.is_empty() {
                continue;
            }
            let is_whole = data.is_empty();
            stream.send_data(piece, is_last && is_whole)?;
            if is_whole {
                return Ok(());
            }
        }
    }
}

/// Ready once the client wants no more of it.
fn poll_gone(stream: &mut SendStream<Bytes>, cx: &mut Context<'_>) -> Poll<BoxError> {
    stream.poll_reset(cx).map(|reset| reset.map_or_else(BoxError::from, |reason| h2::Error::from(reason).into()))
}
