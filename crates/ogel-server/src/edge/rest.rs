//! HTTP/1.1 on one connection, and its rest between requests: an idle connection holds a socket and what we know of the
//! other end, not hyper's buffers.
//!
//! hyper says through its timer when it waits for a request head, and the stream around the socket knows whether a byte of
//! one has come, and whether all of the last answer has left. Waiting, nothing heard, nothing unsent: then hyper holds
//! nothing, the connection is taken out of it, and put into a new one when the next byte arrives.

use super::stall::Watched;
use axum::body::Body;
use bytes::Bytes;
use hyper::{
    Request, Response,
    body::Incoming,
    rt::{Sleep, Timer},
    server::conn::http1,
    service::Service,
};
use hyper_util::rt::TokioIo;
use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

/// How long a connection is idle before it is laid to rest. Waking it costs a few microseconds.
const REST_AFTER: Duration = Duration::from_millis(100);

/// A stream that tells when there is something to read without holding room for it.
pub(super) trait Socket {
    fn tcp(&self) -> &TcpStream;
}

impl Socket for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Socket for Box<TlsStream<TcpStream>> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}

/// What is seen of a connection from outside of hyper. One thread sets and reads it.
#[derive(Default)]
pub(super) struct Signs {
    /// hyper waits for a request head.
    waiting: AtomicBool,
    /// Something was read since then.
    heard: AtomicBool,
    /// Something was written that has not left yet.
    unsent: AtomicBool,
    requests: AtomicU32,
}

impl Signs {
    /// A request head is complete.
    pub(super) fn request(&self) {
        self.waiting.store(false, Relaxed);
        self.requests.store(self.requests.load(Relaxed).wrapping_add(1), Relaxed);
    }

    pub(super) fn read(&self) {
        self.heard.store(true, Relaxed);
    }

    pub(super) fn written(&self, unsent: bool) {
        self.unsent.store(unsent, Relaxed);
    }
}

/// hyper asks for the time a request head may take whenever it begins to wait for one, and drops the answer when it has
/// it. The time itself is measured in [`Pace`], without a timer per request.
struct HeadTimer(Arc<Signs>, Instant);

struct Never;

impl Future for Never {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

impl Sleep for Never {}

impl Timer for HeadTimer {
    fn sleep(&self, _: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.1)
    }

    fn sleep_until(&self, _: Instant) -> Pin<Box<dyn Sleep>> {
        self.0.heard.store(false, Relaxed);
        self.0.waiting.store(true, Relaxed);
        Box::pin(Never)
    }

    fn now(&self) -> Instant {
        self.1
    }
}

/// Why a connection is looked at from outside.
enum Pause {
    /// Nothing is going on.
    Idle,
    /// A request head does not come to its end.
    SlowHead,
}

/// Looks at the signs now and then while hyper waits.
struct Pace {
    signs: Arc<Signs>,
    head: Duration,
    /// Which request it was when the timer was set.
    armed: Option<u32>,
    /// Since when the head of which request has been on its way.
    slow: Option<(u32, tokio::time::Instant)>,
}

impl Pace {
    /// After hyper has done what it can.
    fn poll(&mut self, mut timer: Pin<&mut tokio::time::Sleep>, cx: &mut Context<'_>) -> Poll<Pause> {
        loop {
            let Some(number) = self.armed else {
                if !self.signs.waiting.load(Relaxed) {
                    return Poll::Pending;
                }
                timer.as_mut().reset(tokio::time::Instant::now() + REST_AFTER);
                self.armed = Some(self.signs.requests.load(Relaxed));
                continue;
            };
            ready!(timer.as_mut().poll(cx));
            self.armed = None;
            if !self.signs.waiting.load(Relaxed) || self.signs.requests.load(Relaxed) != number {
                continue;
            }
            if self.signs.heard.load(Relaxed) {
                let since = self
                    .slow
                    .filter(|(of, _)| *of == number)
                    .map_or_else(|| timer.deadline() - REST_AFTER, |(_, since)| since);
                self.slow = Some((number, since));
                if timer.deadline().saturating_duration_since(since) >= self.head {
                    return Poll::Ready(Pause::SlowHead);
                }
            } else if !self.signs.unsent.load(Relaxed) {
                return Poll::Ready(Pause::Idle);
            }
        }
    }
}

/// How a stretch of requests ended.
pub(super) enum Ended<S> {
    /// For good.
    Closed,
    /// The stream, and what was read of it but not used: mostly nothing.
    Resting(S, Bytes),
}

/// Lets hyper work on `stream` until the connection ends or has nothing to do. `leave` resolves when it should come to its
/// end.
pub(super) async fn until_idle<S, V>(
    http: &http1::Builder,
    head: Duration,
    stream: Watched<S>,
    service: V,
    leave: impl Future<Output = ()>,
) -> Ended<S>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    V: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible> + Unpin,
{
    let signs = stream.signs.clone();
    let mut http = http.clone();
    let since = tokio::time::Instant::now();
    http.timer(HeadTimer(signs.clone(), since.into_std())).header_read_timeout(head);
    let mut connection = http.serve_connection(TokioIo::new(stream), service).with_upgrades();
    let mut pace = Pace { signs, head, armed: None, slow: None };
    let mut leave = pin!(leave);
    let mut timer = pin!(tokio::time::sleep_until(since + REST_AFTER));
    let mut is_leaving = false;
    let pause = poll_fn(|cx| {
        // First the connection: a request that has come is read before we leave, and answered.
        let mut progress = Pin::new(&mut connection).poll(cx);
        if progress.is_pending() && !is_leaving && leave.as_mut().poll(cx).is_ready() {
            is_leaving = true;
            Pin::new(&mut connection).graceful_shutdown();
            progress = Pin::new(&mut connection).poll(cx);
        }
        if let Poll::Ready(ended) = progress {
            return Poll::Ready(Err(ended));
        }
        pace.poll(timer.as_mut(), cx).map(Ok)
    });
    match pause.await {
        // None once it has become something else than HTTP.
        Ok(Pause::Idle) => connection.into_parts().map_or(Ended::Closed, |parts| {
            // Empty, it would still hold hyper's whole buffer.
            let unused = if parts.read_buf.is_empty() { Bytes::new() } else { parts.read_buf };
            Ended::Resting(parts.io.into_inner().into_inner(), unused)
        }),
        Ok(Pause::SlowHead) => Ended::Closed,
        Err(ended) => {
            // A client that breaks off or sends no HTTP is its own business.
            if let Err(error) = ended {
                tracing::debug!(%error, "connection ended early");
            }
            Ended::Closed
        }
    }
}
