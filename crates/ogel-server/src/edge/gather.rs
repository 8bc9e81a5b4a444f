//! A byte stream whose writes wait for the end of a turn. HTTP/2 flushes after every frame, and several streams of one
//! connection mostly have something to say in the same turn: so it costs one system call, and one record of TLS, rather
//! than one for each frame.

use super::http1::buffers;
use parking_lot::Mutex;
use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What waits at most. More than that goes straight on.
const MOST: usize = buffers::HEADS;

/// What is read from and written to.
pub(super) struct Gathered<S>(Arc<Mutex<Gathering<S>>>);

/// Who sends what was gathered. Somebody has to, at the end of every turn.
pub(super) struct Sender<S>(Arc<Mutex<Gathering<S>>>);

struct Gathering<S> {
    stream: S,
    /// Borrowed from the thread while there is something in it.
    waiting: Vec<u8>,
    sent: usize,
    is_flushed: bool,
}

/// The lock is the connection's alone, and so is the task.
pub(super) fn gather<S>(stream: S) -> (Gathered<S>, Sender<S>) {
    let gathering = Gathering { stream, waiting: Vec::new(), sent: 0, is_flushed: true };
    let shared = Arc::new(Mutex::new(gathering));
    (Gathered(shared.clone()), Sender(shared))
}

impl<S: AsyncWrite + Unpin> Sender<S> {
    /// Sends what there is; the task is woken when there is room for more of it.
    pub(super) fn poll_send(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.lock().poll_send(cx)
    }
}

impl<S: AsyncWrite + Unpin> Gathering<S> {
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.waiting.len() {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, &self.waiting[self.sent..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.sent += count,
            }
            self.is_flushed = false;
        }
        if self.sent > 0 {
            self.sent = 0;
            buffers::give_output(std::mem::take(&mut self.waiting));
        }
        if !self.is_flushed {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.is_flushed = true;
        }
        Poll::Ready(Ok(()))
    }

    /// Takes all of it if there is room.
    fn take(&mut self, bytes: &[IoSlice<'_>]) -> Option<usize> {
        let length = bytes.iter().map(|piece| piece.len()).sum();
        if self.waiting.len() + length > MOST {
            return None;
        }
        if self.waiting.capacity() == 0 {
            self.waiting = buffers::output();
        }
        bytes.iter().for_each(|piece| self.waiting.extend_from_slice(piece));
        Some(length)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gathered<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.lock().stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathered<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut gathering = self.0.lock();
        if let Some(taken) = gathering.take(bufs) {
            return Poll::Ready(Ok(taken));
        }
        ready!(gathering.poll_send(cx))?;
        if let Some(taken) = gathering.take(bufs) {
            return Poll::Ready(Ok(taken));
        }
        gathering.is_flushed = false;
        Pin::new(&mut gathering.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Nothing: the turn is not over.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut gathering = self.0.lock();
        ready!(gathering.poll_send(cx))?;
        Pin::new(&mut gathering.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[tokio::test]
    async fn what_is_written_in_a_turn_is_sent_at_its_end_and_more_than_fits_is_sent_before() {
        let (ours, mut theirs) = tokio::io::duplex(1 << 20);
        let (mut gathered, sender) = gather(ours);
        for piece in [&b"one "[..], b"two ", b"three"] {
            gathered.write_all(piece).await.unwrap();
            gathered.flush().await.unwrap();
        }
        let mut read = [0; 64];
        let early = tokio::time::timeout(std::time::Duration::from_millis(20), theirs.read(&mut read)).await;
        assert!(early.is_err(), "the turn is not over");
        poll_fn(|cx| sender.poll_send(cx)).await.unwrap();
        let count = theirs.read(&mut read).await.unwrap();
        assert_eq!(&read[..count], b"one two three");

        let long = vec![b'x'; 3 * MOST];
        gathered.write_all(b"head ").await.unwrap();
        gathered.write_all(&long).await.unwrap();
        let mut all = vec![0; 5 + long.len()];
        theirs.read_exact(&mut all).await.unwrap();
        assert_eq!((&all[..5], &all[5..]), (&b"head "[..], &long[..]));
    }

    #[tokio::test]
    async fn whoever_takes_nothing_holds_up_what_does_not_fit_and_loses_nothing() {
        let (ours, mut theirs) = tokio::io::duplex(16);
        let (mut gathered, sender) = gather(ours);
        let text: Vec<u8> = (0..=255).cycle().take(4 * MOST + 7).collect();
        let write = async {
            gathered.write_all(&text).await.unwrap();
            gathered.shutdown().await.unwrap();
        };
        let mut read = Vec::new();
        let (_, count) = tokio::join!(write, theirs.read_to_end(&mut read));
        assert_eq!((count.unwrap(), read == text), (text.len(), true));
        poll_fn(|cx| sender.poll_send(cx)).await.unwrap();
    }
}
