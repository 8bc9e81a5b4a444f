//! HTTP/2 on one connection. Frames and windows are h2's; each request is a task of the thread's, with a pace of its own:
//! an answer that nobody takes is cut off, and neither its neighbours nor the backend wait for it.
//!
//! # Layout
//! - [`body`]: the body of a request on its way to the handler; [`reply`]: the answer on its way to the client
//! - [`pulse`]: whether the client is still there; `gather.rs`: why several answers are one write

mod body;
mod pulse;
mod reply;

use super::{
    Core,
    gather::{Sender, gather},
    http1::{Answer, Rules, Socket},
    stall::Watched,
};
use crate::pipeline;
use axum::{BoxError, body::Body};
use body::RequestBody;
use bytes::Bytes;
use h2::{Reason, server::Builder};
use http::{Method, Request, header};
use pulse::Pulse;
use reply::Reply;
use std::{
    future::poll_fn,
    io,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::{io::AsyncWrite, time::timeout};

/// Bytes of a request's headers.
const MAX_HEAD: u32 = 32 << 10;
/// Requests that a connection may have open.
const MAX_STREAMS: u32 = 128;
/// Bytes that a client may send before we have read them: of one request, and of all.
const WINDOW: u32 = 1 << 20;
/// Bytes of one answer that wait to be sent.
const MAX_WAITING: usize = 400 << 10;
/// Requests a client may break so that we have to take them back, before the connection ends.
const MAX_BROKEN: usize = 1024;

/// How all connections of a thread are spoken to.
pub(super) fn builder() -> Builder {
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEAD)
        .initial_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_send_buffer_size(MAX_WAITING)
        .max_local_error_reset_streams(Some(MAX_BROKEN));
    builder
}

/// Serves until the client leaves, or until shutdown has let it finish what it began.
pub(super) async fn serve<S, F>(
    core: &Arc<Core>,
    rules: &Rules<F>,
    builder: &Builder,
    stream: S,
) -> Result<(), BoxError>
where
    S: Socket,
    F: Fn(Request<Body>) -> Answer,
{
    let (stream, sender) = gather(Watched::new(stream, rules.stall));
    let mut handshake = pin!(builder.handshake::<_, Bytes>(stream));
    let mut connection = timeout(rules.head, turns(&sender, |cx| handshake.as_mut().poll(cx))).await???;
    let mut pulse = Pulse::new(connection.ping_pong());
    let mut leaving = pin!(core.shutdown.cancelled());
    let (mut is_leaving, mut table_has_names) = (false, false);
    let ended = turns(&sender, |cx| {
        if !is_leaving && leaving.as_mut().poll(cx).is_ready() {
            is_leaving = true;
            connection.graceful_shutdown();
        }
        if pulse.poll_stopped(cx).is_ready() {
            connection.abrupt_shutdown(Reason::NO_ERROR);
        }
        loop {
            match ready!(connection.poll_accept(cx)) {
                None => return Poll::Ready(Ok(())),
                Some(Err(error)) => return Poll::Ready(Err(error)),
                Some(Ok((request, respond))) => {
                    pulse.heart().beat();
                    let is_head = *request.method() == Method::HEAD;
                    let length = request.headers().get(header::CONTENT_LENGTH);
                    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
                    let request = request.map(|stream| {
                        let body = RequestBody::new(stream, length, pulse.heart().clone());
                        pipeline::watched(body, &core.app.config())
                    });
                    let answer = (rules.answer)(request);
                    let reply = Reply {
                        is_head,
                        // The first answer puts the names into the table.
                        table_has_names: std::mem::replace(&mut table_has_names, true),
                        stall: rules.stall,
                        heart: pulse.heart().clone(),
                        core: core.clone(),
                    };
                    tokio::spawn(async move {
                        // The stream says so to the client where it can still be told.
                        if let Err(error) = reply.send(answer, respond).await {
                            tracing::debug!(%error, "a stream ended early");
                        }
                    });
                }
            }
        }
    })
    .await?;
    // What it said last, such as why it ends.
    poll_fn(|cx| sender.poll_send(cx)).await?;
    Ok(ended?)
}

/// Lets `work` do what it can, then sends what it has written, again and again to its end.
async fn turns<S, T>(sender: &Sender<S>, mut work: impl FnMut(&mut Context<'_>) -> Poll<T>) -> io::Result<T>
where
    S: AsyncWrite + Unpin,
{
    poll_fn(|cx| {
        let done = work(cx);
        match sender.poll_send(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => done.map(Ok),
        }
    })
    .await
}
