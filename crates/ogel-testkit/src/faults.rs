//! Connections to Ghost that a test can break: refused from now on, cut while they are open, or standing still from some
//! read or write on.

use ogel_proxy::{BoxFuture, Connect, Connector, Io};
use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::Notify,
};

/// The switches. Cheap to clone; everything that was opened through it obeys.
#[derive(Clone, Default)]
pub struct Network(Arc<Switches>);

#[derive(Default)]
struct Switches {
    is_down: AtomicBool,
    opened: AtomicU64,
    /// How many reads and writes are let through before everything stands still; 0 is no end.
    limit: AtomicU64,
    passed: AtomicU64,
    standstill: Notify,
}

impl Network {
    /// What the service under test opens its connections with.
    pub fn connector(&self) -> Connector {
        Connector::custom(Arc::new(self.clone()))
    }

    /// Down: new connections are refused, open ones break at their next read or write.
    pub fn set_down(&self, is_down: bool) {
        self.0.is_down.store(is_down, Ordering::SeqCst);
    }

    /// How many connections came to be.
    pub fn opened(&self) -> u64 {
        self.0.opened.load(Ordering::SeqCst)
    }

    /// Lets `count` more reads and writes through; at the next one everything stands still, for good.
    pub fn stand_still_after(&self, count: u64) {
        self.0.limit.store(self.0.passed.load(Ordering::SeqCst) + count + 1, Ordering::SeqCst);
    }

    /// Resolves once everything stands still.
    pub async fn stands_still(&self) {
        self.0.standstill.notified().await;
    }

    /// Whether one more read or write goes through.
    fn pass(&self) -> bool {
        let (limit, next) = (self.0.limit.load(Ordering::SeqCst), self.0.passed.load(Ordering::SeqCst) + 1);
        if limit > 0 && next >= limit {
            self.0.standstill.notify_one();
            return false;
        }
        true
    }

    fn passed(&self) {
        self.0.passed.fetch_add(1, Ordering::SeqCst);
    }

    fn check(&self) -> io::Result<()> {
        if self.0.is_down.load(Ordering::SeqCst) {
            return Err(io::Error::new(io::ErrorKind::ConnectionReset, "the test took the network down"));
        }
        Ok(())
    }
}

impl Connect for Network {
    fn connect<'a>(&'a self, host: &'a str, port: u16, _: bool) -> BoxFuture<'a, io::Result<Box<dyn Io>>> {
        Box::pin(async move {
            self.check().map_err(|_| io::Error::from(io::ErrorKind::ConnectionRefused))?;
            let stream = TcpStream::connect((host, port)).await?;
            self.0.opened.fetch_add(1, Ordering::SeqCst);
            Ok(Box::new(Cut { stream, network: self.clone() }) as Box<dyn Io>)
        })
    }
}

/// A connection that breaks when the network is down.
struct Cut {
    stream: TcpStream,
    network: Network,
}

impl AsyncRead for Cut {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.network.check()?;
        let before = buffer.filled().len();
        // What came is held back, so that a test can have an answer get lost that was given.
        let answer = std::task::ready!(Pin::new(&mut self.stream).poll_read(context, buffer));
        if buffer.filled().len() > before {
            if !self.network.pass() {
                buffer.set_filled(before);
                return Poll::Pending;
            }
            self.network.passed();
        }
        Poll::Ready(answer)
    }
}

impl AsyncWrite for Cut {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.network.check()?;
        if !self.network.pass() {
            return Poll::Pending;
        }
        let written = std::task::ready!(Pin::new(&mut self.stream).poll_write(context, bytes));
        self.network.passed();
        Poll::Ready(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
