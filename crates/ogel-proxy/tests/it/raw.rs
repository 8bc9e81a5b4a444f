//! An upstream that is a function of its connection, for what a script of whole replies cannot say.

use crate::asking::single;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use ogel_proxy::{BoxFuture, Connect, Connector, Io, Limits, OutgoingBody, Upstream};
use std::{
    convert::Infallible,
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    task::{Context, Poll},
};
use tokio::io::{AsyncReadExt, DuplexStream};

pub(crate) const PIECE: usize = 16 << 10;

struct Raw<F>(F);

impl<F, R> Connect for Raw<F>
where
    F: Fn(DuplexStream) -> R + Send + Sync,
    R: Future<Output = ()> + Send + 'static,
{
    fn connect<'a>(&'a self, _: &'a str, _: u16, _: bool) -> BoxFuture<'a, io::Result<Box<dyn Io>>> {
        Box::pin(async move {
            let (ours, theirs) = tokio::io::duplex(64 << 10);
            tokio::spawn((self.0)(theirs));
            Ok(Box::new(ours) as Box<dyn Io>)
        })
    }
}

/// An upstream that runs `serve` for each connection.
pub(crate) fn upstream<F, R>(limits: Limits, serve: F) -> Upstream
where
    F: Fn(DuplexStream) -> R + Send + Sync + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    single("http://up.test".parse().unwrap(), Connector::custom(Arc::new(Raw(serve))), limits).unwrap()
}

/// Reads until `end` has come, and nothing after it.
pub(crate) async fn read_until(stream: &mut DuplexStream, end: &str) -> String {
    let mut text = Vec::new();
    while !text.ends_with(end.as_bytes()) {
        text.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(text).unwrap()
}

/// So many pieces, made one by one as they are asked for and counted as they are made.
pub(crate) struct Counted {
    pub(crate) left: usize,
    pub(crate) made: Arc<AtomicU64>,
    pub(crate) tells_length: bool,
}

impl Counted {
    pub(crate) fn body(pieces: usize, tells_length: bool) -> (OutgoingBody, Arc<AtomicU64>) {
        let made = Arc::new(AtomicU64::new(0));
        (OutgoingBody::limited(Self { left: pieces, made: made.clone(), tells_length }, u64::MAX), made)
    }
}

impl Body for Counted {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.left -= 1;
        self.made.fetch_add(PIECE as u64, SeqCst);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(vec![7; PIECE])))))
    }

    fn size_hint(&self) -> SizeHint {
        if self.tells_length { SizeHint::with_exact((self.left * PIECE) as u64) } else { SizeHint::new() }
    }
}
