//! Answers that are written piece by piece, because they may be longer than what should be held in memory. The writer is
//! on the control plane, waits for a slow reader, and ends when the reader is gone or the process leaves.

use crate::{
    error::{Failure, Result},
    state::App,
};
use axum::{
    body::Body,
    http::{HeaderValue, Response, header},
};
use bytes::Bytes;
use futures_util::stream;
use ogel_api::error::Error;
use std::io;
use tokio::sync::mpsc;

pub(crate) const NDJSON: &str = "application/x-ndjson";

/// Where the pieces go.
pub(crate) struct Out(mpsc::Sender<io::Result<Bytes>>);

impl Out {
    /// Waits until the reader has taken what was written before.
    pub(crate) async fn write(&self, piece: impl Into<Bytes>) -> Result<()> {
        let piece = piece.into();
        if piece.is_empty() {
            return Ok(());
        }
        self.0.send(Ok(piece)).await.map_err(|_| Failure::from(Error::internal("the reader went away")))
    }
}

/// The answer that `write` writes. What fails after its head is on the way cuts it off, so that nobody takes it for whole.
pub(crate) fn answer<F>(app: &App, media: &'static str, write: impl FnOnce(Out) -> F + Send + 'static) -> Response<Body>
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(2);
    let shutdown = app.shutdown.clone();
    app.in_background(async move {
        let outcome = tokio::select! {
            outcome = write(Out(sender.clone())) => outcome,
            () = shutdown.cancelled() => Err(Error::internal("the process leaves").into()),
        };
        if let Err(failure) = outcome {
            // A reader that is gone need not be told.
            let _ = sender.send(Err(io::Error::other(failure.0.message.to_string()))).await;
        }
    });
    let pieces = stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver)));
    let mut response = Response::new(Body::from_stream(pieces));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
