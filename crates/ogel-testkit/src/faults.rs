//! Connections to Ghost that a test can break: refused from now on, or cut while they are open.

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
};

/// The switches. Cheap to clone; everything that was opened through it obeys.
#[derive(Clone, Default)]
pub struct Network(Arc<Switches>);

#[derive(Default)]
struct Switches {
    is_down: AtomicBool,
    opened: AtomicU64,
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
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Cut {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.network.check()?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
