//! HTTP/1.1 on one connection: a head is read, the pipeline answers, the answer is written, and so on. All of it is one
//! task, with one timer; a connection that waits for a head holds its socket and nothing else.
//!
//! It refuses to guess: where a request could end in two places, or did not come to its end, the connection is closed
//! behind the answer. What the pipeline never sees, because there is no request, is answered in its words all the same.
//!
//! # Layout
//! - [`requests`]: the next request; [`upload`]: its body on its way to the handler
//! - [`answers`]: what is answered, and how its end is told; [`output`]: its bytes on their way to the client
//! - [`buffers`]: what a thread's connections share; [`timer`]: what a connection waits for
//! - [`switch`]: what becomes of a connection after 101

mod answers;
pub(super) mod buffers;
mod output;
mod requests;
mod switch;
mod timer;
mod upload;

pub(crate) use switch::{Switch, Switched};

use super::{Core, Counted, Peer};
use crate::{
    error::Failure,
    pipeline::{self, Answered},
};
use axum::body::Body;
use bytes::BytesMut;
use futures_util::FutureExt as _;
use http::{Request, StatusCode};
use http_body::Frame;
use output::{Framing, Output, Persistence};
use std::{
    future::poll_fn,
    io,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};
use switch::Then;
use timer::Timer;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, Interest},
    net::TcpStream,
    time::{Instant, sleep_until, timeout},
};
use tokio_rustls::server::TlsStream;
use upload::{BodyError, Piece, Upload};

/// Bytes that are read while a request is being answered, so as to notice a client that leaves: the requests behind it.
const READ_AHEAD: usize = 32 << 10;
/// Requests that were read at once are answered one after the other; after so many, other connections get their turn.
const TURN: u32 = 32;
/// How often a client that sends nothing more is looked at: it may have left altogether.
const LOOK: Duration = Duration::from_secs(1);
/// Of a body that nobody read, so much is read and forgotten to save the connection.
const MAX_UNREAD_BODY: usize = 256 << 10;
/// Behind an answer after which we close, so much is read for so long at most: closing over unread bytes would reset the
/// connection, and the answer would be lost with them.
const MAX_LINGER_BYTES: usize = 1 << 20;
const MAX_LINGER: Duration = Duration::from_secs(2);

/// A byte stream over a socket that can be asked how it is.
pub(super) trait Socket: AsyncRead + AsyncWrite + Send + Unpin + 'static {
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

/// What this thread does with requests, and how long it waits for clients.
pub(super) struct Rules<F> {
    /// Boxed by it, so that a connection has no room for a request while it has none.
    pub(super) answer: F,
    /// For a head, and for the first byte of one.
    pub(super) head: Duration,
    /// For a client that takes nothing of what is written to it.
    pub(super) stall: Duration,
}

pub(super) type Answer = Pin<Box<dyn Future<Output = Answered> + Send>>;

/// The client is gone, or takes nothing any more.
struct Gone;

impl From<io::Error> for Gone {
    fn from(_: io::Error) -> Self {
        Self
    }
}

/// What is remembered of a request while it is answered.
#[derive(Clone, Copy)]
struct Asked {
    is_head: bool,
    is_11: bool,
    persists: bool,
    asks_upgrade: bool,
    takes_trailers: bool,
}

/// Of what did not become a request.
const NOTHING: Asked =
    Asked { is_head: false, is_11: true, persists: false, asks_upgrade: false, takes_trailers: false };

enum Next {
    Request(Answer, Asked),
    Refused(Failure),
    /// Nothing more is asked for.
    End,
}

/// An answer whose head is in the output.
struct Begun {
    body: Body,
    framing: Framing,
    persistence: Persistence,
    switch: Option<Then>,
    takes_trailers: bool,
}

/// What an answer leaves behind.
enum After {
    Next,
    Close,
    Switch(Then),
}

struct Connection<'a, S, F> {
    core: &'a Core,
    peer: &'a Peer,
    rules: &'a Rules<F>,
    stream: S,
    timer: Timer<'a>,
    /// Read, and not yet used. Without room when it is empty.
    read: BytesMut,
    output: Output,
    /// Since when the client has taken nothing of it.
    blocked: Option<Instant>,
    /// Of the request being answered, until it is read to its end.
    upload: Option<Upload>,
    /// The client sends nothing more, and may still read.
    is_half_closed: bool,
    /// When it is looked at next, whether it has left altogether.
    look: Option<Instant>,
    resting: Option<Counted<'a>>,
}

/// Serves until the client leaves, or until shutdown has let it finish what it began.
pub(super) async fn serve<S, F>(core: &Core, peer: &Peer, rules: &Rules<F>, stream: S)
where
    S: Socket,
    F: Fn(Request<Body>) -> Answer,
{
    let mut sleep = pin!(sleep_until(Instant::now() + rules.head));
    let mut shutdown = pin!(core.shutdown.cancelled());
    // Asked once: from then on this task is woken when we stop, whatever it waits for.
    poll_fn(|cx| Poll::Ready(shutdown.as_mut().poll(cx).is_ready())).await;
    let mut connection = Connection {
        core,
        peer,
        rules,
        stream,
        timer: Timer::new(sleep.as_mut()),
        read: BytesMut::new(),
        output: Output::default(),
        blocked: None,
        upload: None,
        is_half_closed: false,
        look: None,
        resting: None,
    };
    if let Ok(Some(next)) = connection.run().await {
        let Connection { stream, read, .. } = connection;
        next(Switched::new(read.freeze(), stream)).await;
    }
}

impl<S, F> Connection<'_, S, F>
where
    S: Socket,
    F: Fn(Request<Body>) -> Answer,
{
    /// What becomes of the connection, if that is another protocol.
    async fn run(&mut self) -> Result<Option<Then>, Gone> {
        let mut turn = 0;
        loop {
            let begun = match self.next().await? {
                Next::Request(answer, asked) => self.work(answer, asked).await?,
                Next::Refused(failure) => self.refuse(failure).await?,
                Next::End => {
                    Box::pin(self.close()).await?;
                    return Ok(None);
                }
            };
            match self.finish(begun).await? {
                After::Next => {}
                After::Close => {
                    Box::pin(self.close()).await?;
                    return Ok(None);
                }
                After::Switch(next) => return Ok(Some(next)),
            }
            turn = if self.read.is_empty() { 0 } else { turn + 1 };
            if turn == TURN {
                turn = 0;
                tokio::task::yield_now().await;
            }
        }
    }

    /// Reads once, behind what was read before. 0: the client sends nothing more.
    fn poll_read(&mut self, size: usize, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.read.capacity() == 0 {
            self.read = buffers::input(size);
        } else if self.read.capacity() - self.read.len() < 512 {
            self.read.reserve(self.read.len().clamp(1024, size));
        }
        let progress = pin!(self.stream.read_buf(&mut self.read)).poll(cx);
        self.tidy();
        progress
    }

    /// Gives the buffer back when nothing is in it.
    fn tidy(&mut self) {
        if self.read.is_empty() && self.read.capacity() > 0 {
            buffers::give_input(std::mem::take(&mut self.read));
        }
    }

    /// Lets the pipeline work until it has an answer, brings it the body it asks for, and notices a client that leaves.
    async fn work(&mut self, mut answer: Answer, asked: Asked) -> Result<Begun, Gone> {
        poll_fn(|cx| {
            loop {
                let progress = answer.as_mut().poll(cx);
                for hints in self.peer.take_hints() {
                    if asked.is_11 {
                        self.output.interim(StatusCode::EARLY_HINTS, &hints);
                    }
                }
                if let Poll::Ready(answer) = progress {
                    return Poll::Ready(self.begin_answer(answer, asked, cx));
                }
                if !self.serve_the_body(cx)? {
                    break;
                }
            }
            self.poll_look_after(cx)
        })
        .await
    }

    async fn refuse(&mut self, failure: Failure) -> Result<Begun, Gone> {
        let mut failure = Some(failure);
        poll_fn(|cx| {
            let Some(failure) = failure.take() else { return Poll::Pending };
            Poll::Ready(self.begin_answer(pipeline::refused(self.core, self.peer, failure), NOTHING, cx))
        })
        .await
    }

    /// Brings what the handler has asked for of the body. Says whether there was something.
    fn serve_the_body(&mut self, cx: &mut Context<'_>) -> Result<bool, Gone> {
        while let Some(upload) = &mut self.upload
            && upload.is_wanted(cx)
        {
            let frame = match upload.decoder.next(&mut self.read) {
                Ok(Piece::Incomplete) if self.is_half_closed => Some(Err(BodyError::Left)),
                Ok(Piece::Incomplete) => {
                    if std::mem::take(&mut upload.awaits_continue) {
                        self.output.interim(StatusCode::CONTINUE, &http::HeaderMap::new());
                    }
                    self.tidy();
                    match self.poll_read(buffers::BODY, cx) {
                        Poll::Ready(Ok(0)) => self.is_half_closed = true,
                        Poll::Ready(Ok(_)) => {}
                        Poll::Ready(Err(_)) => return Err(Gone),
                        Poll::Pending => break,
                    }
                    continue;
                }
                Ok(Piece::Data(data)) => Some(Ok(Frame::data(data))),
                Ok(Piece::Trailers(trailers)) => Some(Ok(Frame::trailers(trailers))),
                Ok(Piece::End) => None,
                Err(error) => Some(Err(error.into())),
            };
            upload.put(frame);
            // What is broken is never over, and nothing behind it is taken for a request.
            if upload.is_over() {
                self.upload = None;
            }
            self.tidy();
            return Ok(true);
        }
        Ok(false)
    }

    /// What goes on while something else is waited for: what waits is written, and a client that leaves is noticed.
    fn poll_look_after<T>(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, Gone>> {
        if let Poll::Ready(Err(gone)) = self.poll_write(cx) {
            return Poll::Ready(Err(gone));
        }
        // A body that nobody asks for now makes its sender wait.
        if self.upload.is_none() {
            while !self.is_half_closed && self.read.len() < READ_AHEAD {
                match self.poll_read(buffers::HEADS, cx) {
                    Poll::Ready(Ok(0)) => self.is_half_closed = true,
                    Poll::Ready(Ok(_)) => {}
                    Poll::Ready(Err(_)) => return Poll::Ready(Err(Gone)),
                    Poll::Pending => break,
                }
            }
        }
        while self.is_half_closed {
            if has_left(self.stream.tcp()) {
                return Poll::Ready(Err(Gone));
            }
            let look = *self.look.get_or_insert_with(|| Instant::now() + LOOK);
            ready!(self.timer.poll(look, cx));
            self.look = None;
        }
        Poll::Pending
    }

    /// Ready when all that waits is written.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        if self.output.is_empty() && self.blocked.is_none() {
            return Poll::Ready(Ok(()));
        }
        if let Poll::Ready(written) = self.output.poll_write(&mut self.stream, cx) {
            self.blocked = None;
            return Poll::Ready(written.map_err(Gone::from));
        }
        let blocked = *self.blocked.get_or_insert_with(Instant::now);
        ready!(self.timer.poll(blocked + self.rules.stall, cx));
        Poll::Ready(Err(Gone))
    }

    /// Reads and forgets what the handler did not read of the body, if it is here and not much.
    fn forget_the_body(&mut self, asked: &Asked, cx: &mut Context<'_>) {
        let mut forgotten = 0;
        while asked.persists
            && let Some(upload) = &mut self.upload
            && !upload.awaits_continue
            && upload.is_dropped()
            && forgotten < MAX_UNREAD_BODY
        {
            match upload.decoder.next(&mut self.read) {
                Ok(Piece::Data(data)) => forgotten += data.len(),
                Ok(Piece::End | Piece::Trailers(_)) => self.upload = None,
                Ok(Piece::Incomplete) => {
                    self.tidy();
                    if !matches!(self.poll_read(buffers::BODY, cx), Poll::Ready(Ok(1..))) {
                        break;
                    }
                }
                Err(_) => break,
            }
        }
        self.tidy();
    }

    /// Ends our side and waits for the client to end its own.
    async fn close(&mut self) -> Result<(), Gone> {
        self.tidy();
        let goodbye = async {
            self.stream.shutdown().await?;
            let mut unread = 0;
            while !self.is_half_closed && unread < MAX_LINGER_BYTES {
                self.read.clear();
                match poll_fn(|cx| self.poll_read(buffers::HEADS, cx)).await? {
                    0 => break,
                    count => unread += count,
                }
            }
            Ok::<_, Gone>(())
        };
        timeout(MAX_LINGER, goodbye).await.unwrap_or(Err(Gone))
    }
}

/// Whether a client that sends nothing more takes nothing any more either.
fn has_left(tcp: &TcpStream) -> bool {
    matches!(tcp.ready(Interest::ERROR).now_or_never(), Some(Ok(ready)) if ready.is_error())
}
