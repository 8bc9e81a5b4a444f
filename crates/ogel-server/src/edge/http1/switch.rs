//! A connection that goes on in another protocol. Whoever answers 101 leaves in the answer what becomes of the connection
//! once that answer is sent; it goes on in the connection's own task, so that a stream costs no task more.

use bytes::{Buf as _, Bytes};
use http::Extensions;
use ogel_proxy::{BoxFuture, Io};
use parking_lot::Mutex;
use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub(super) type Then = Box<dyn FnOnce(Switched) -> BoxFuture<'static, ()> + Send>;

/// In the extensions of a 101: what is done with the connection.
#[derive(Clone)]
pub(crate) struct Switch(Arc<Mutex<Option<Then>>>);

impl Switch {
    pub(crate) fn to<F>(next: impl FnOnce(Switched) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self(Arc::new(Mutex::new(Some(Box::new(|stream| Box::pin(next(stream)))))))
    }

    pub(super) fn of(extensions: &mut Extensions) -> Option<Then> {
        extensions.remove::<Self>().and_then(|switch| switch.0.lock().take())
    }
}

/// The bytes behind the 101, those included that came with its request.
pub(crate) struct Switched {
    read: Bytes,
    stream: Box<dyn Io>,
}

impl Switched {
    pub(super) fn new(read: Bytes, stream: impl Io + 'static) -> Self {
        Self { read, stream: Box::new(stream) }
    }
}

impl AsyncRead for Switched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.read.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        let count = self.read.len().min(buffer.remaining());
        buffer.put_slice(&self.read[..count]);
        self.read.advance(count);
        if self.read.is_empty() {
            self.read = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Switched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
