//! HTTP/1.1 on one connection: a head is read, the pipeline answers, the answer is written, and so on. All of it is one
//! task, with one timer; a connection that waits for a head holds its socket and nothing else.
//!
//! It refuses to guess: where a request could end in two places, or did not come to its end, the connection is closed
//! behind the answer. What the pipeline never sees, because there is no request, is answered in its words all the same.
//!
//! # Layout
//! - [`upload`]: the body of a request on its way to the handler; [`output`]: the answer on its way to the client
//! - [`buffers`]: what a thread's connections share; [`timer`]: what a connection waits for
//! - [`switch`]: what becomes of a connection after 101

pub(super) mod buffers;
mod output;
mod switch;
mod timer;
mod upload;

pub(crate) use switch::{Switch, Switched};

use super::{Core, Counted, Peer};
use crate::{error::Failure, pipeline};
use axum::{BoxError, body::Body};
use bytes::{Bytes, BytesMut};
use futures_util::FutureExt as _;
use http::{Method, Request, Response, StatusCode, Version, header};
use http_body::{Body as _, Frame};
use ogel_api::error::{Error, ErrorCode};
use ogel_proxy::http1::{BodyLength, HeadError, HeadSearch, RequestError, RequestHead};
use output::{Framing, Output, Persistence, has_no_length};
use std::{
    future::poll_fn,
    io,
    pin::{Pin, pin},
    sync::atomic::Ordering::Relaxed,
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
use upload::{BodyError, Piece, RequestBody, Upload};

/// Bytes of a request's head, its first line included.
const MAX_HEAD: usize = 32 << 10;
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
/// Empty lines before a request, which some clients send behind a body (RFC 9112 2.2).
const MAX_EMPTY_LINES: usize = 2;

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

pub(super) type Answer = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

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

    /// The next request, as the future of its answer.
    async fn next(&mut self) -> Result<Next, Gone> {
        let mut search = HeadSearch::default();
        let mut since = Instant::now();
        let mut is_begun = !self.read.is_empty();
        let mut empty_lines = 0;
        let next = poll_fn(|cx| {
            loop {
                while empty_lines < MAX_EMPTY_LINES && self.read.starts_with(b"\r\n") {
                    drop(self.read.split_to(2));
                    empty_lines += 1;
                    search = HeadSearch::default();
                }
                self.tidy();
                if !self.read.is_empty() {
                    self.resting = None;
                    match search.end(&self.read, MAX_HEAD) {
                        Ok(Some(length)) => return Poll::Ready(Ok(self.begin(length))),
                        Ok(None) => {}
                        Err(error) => return Poll::Ready(Ok(Next::Refused(refusal(&error)))),
                    }
                    if !is_begun {
                        (is_begun, since) = (true, Instant::now());
                    }
                    self.keep_a_beginning();
                }
                if self.is_half_closed {
                    return Poll::Ready(Ok(self.no_more()));
                }
                match self.poll_read(buffers::HEADS, cx) {
                    Poll::Ready(Ok(0)) => self.is_half_closed = true,
                    Poll::Ready(Ok(_)) => {}
                    Poll::Ready(Err(_)) => return Poll::Ready(Err(Gone)),
                    Poll::Pending => break,
                }
            }
            if self.read.is_empty() {
                if self.core.shutdown.is_cancelled() {
                    return Poll::Ready(Ok(Next::End));
                }
                self.resting.get_or_insert_with(|| Counted::new(&self.core.counters.connections_resting));
            }
            ready!(self.timer.poll(since + self.rules.head, cx));
            Poll::Ready(Ok(if self.read.is_empty() { Next::End } else { Next::Refused(slow()) }))
        })
        .await;
        self.resting = None;
        next
    }

    /// A head that is not whole waits in a buffer of its own size: many of them must not hold many buffers.
    fn keep_a_beginning(&mut self) {
        let room = self.read.capacity();
        if room > buffers::HEADS / 4 && self.read.len() < room / 4 {
            let beginning = BytesMut::from(&self.read[..]);
            buffers::give_input(std::mem::replace(&mut self.read, beginning));
        }
    }

    /// The client has ended its side before there was a request.
    fn no_more(&self) -> Next {
        if self.read.is_empty() {
            return Next::End;
        }
        Next::Refused(Failure::new(ErrorCode::InvalidRequest, "the connection ended in the middle of a request's head"))
    }

    /// Makes a request of a head that is whole.
    fn begin(&mut self, length: usize) -> Next {
        let text = self.read.split_to(length).freeze();
        let mut head = match RequestHead::parse(&text) {
            Ok(head) => head,
            Err(error) => return Next::Refused(refusal(&error)),
        };
        let asked = Asked {
            is_head: head.method == Method::HEAD,
            is_11: head.is_11,
            persists: head.persists,
            asks_upgrade: head.asks_upgrade,
            takes_trailers: takes_trailers(&head),
        };
        if !head.is_11 {
            // It has no other protocols.
            head.headers.remove(header::UPGRADE);
        }
        let body = if head.body == BodyLength::Exact(0) {
            Body::empty()
        } else if let Some(whole) = upload::whole(head.body, &mut self.read) {
            Body::from(whole)
        } else {
            let awaits = head.is_11 && self.read.is_empty() && awaits_continue(&head);
            let (upload, body) = Upload::new(head.body, awaits);
            self.upload = Some(upload);
            self.incoming(body)
        };
        self.tidy();
        let mut request = Request::new(body);
        *request.method_mut() = head.method;
        *request.uri_mut() = head.uri;
        *request.headers_mut() = head.headers;
        *request.version_mut() = if head.is_11 { Version::HTTP_11 } else { Version::HTTP_10 };
        Next::Request((self.rules.answer)(request), asked)
    }

    fn incoming(&self, body: RequestBody) -> Body {
        pipeline::watched(body, &self.core.app.config())
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

    /// Puts the head of an answer into the output. No `async`, so that a connection has no room for it afterwards.
    fn begin_answer(&mut self, answer: Response<Body>, asked: Asked, cx: &mut Context<'_>) -> Result<Begun, Gone> {
        let (mut head, body) = answer.into_parts();
        let switch = match head.status {
            StatusCode::SWITCHING_PROTOCOLS => Switch::of(&mut head.extensions),
            _ => None,
        };
        if head.status == StatusCode::SWITCHING_PROTOCOLS && (switch.is_none() || self.upload.is_some()) {
            tracing::error!("a connection was to switch to nothing, or in the middle of a body");
            return Err(Gone);
        }
        self.forget_the_body(&asked, cx);
        let persists = asked.persists
            && self.upload.is_none()
            // What came behind a request for another protocol may be meant in it.
            && (!asked.asks_upgrade || self.read.is_empty())
            && !self.core.app.leaving.load(Relaxed)
            && !self.core.shutdown.is_cancelled()
            && head.headers.get(header::CONNECTION).is_none_or(|value| !value.as_bytes().eq_ignore_ascii_case(b"close"));
        if let Some(upload) = &mut self.upload {
            // This is the answer: nothing is said before it any more.
            upload.awaits_continue = false;
        }
        let framing = framing(head.status, &head.headers, &body, &asked);
        let persistence = match (persists && framing != Framing::UntilClose, asked.is_11) {
            _ if switch.is_some() => Persistence::Usual,
            (false, _) => Persistence::Close,
            (true, true) => Persistence::Usual,
            (true, false) => Persistence::KeepAlive,
        };
        self.output.head(head.status, &head.headers, framing, persistence, &self.core.app.world);
        Ok(Begun { body, framing, persistence, switch, takes_trailers: asked.takes_trailers })
    }

    /// Writes the answer to its end.
    async fn finish(&mut self, begun: Begun) -> Result<After, Gone> {
        let Begun { mut body, mut framing, persistence, switch, takes_trailers } = begun;
        if !matches!(framing, Framing::None | Framing::Length(0)) {
            self.send(&mut body, &mut framing, takes_trailers).await?;
        }
        drop(body);
        poll_fn(|cx| self.poll_write(cx)).await?;
        // Its handler may have read the rest meanwhile, but we have said that we close.
        self.upload = None;
        self.look = None;
        Ok(match (switch, persistence) {
            (Some(next), _) => After::Switch(next),
            (None, Persistence::Close) => After::Close,
            _ => After::Next,
        })
    }

    /// Writes a body as it comes, no faster than the client takes it.
    async fn send(&mut self, body: &mut Body, framing: &mut Framing, takes_trailers: bool) -> Result<(), Gone> {
        // A body that is on its way gets one turn to come, and to leave together with the head.
        let mut may_wait = true;
        let mut is_probed = false;
        let (mut is_over, mut is_broken) = (false, false);
        poll_fn(|cx| {
            loop {
                let mut waits = false;
                while !is_over && !waits && self.output.has_room() {
                    let is_last = match Pin::new(&mut *body).poll_frame(cx) {
                        Poll::Pending => {
                            waits = true;
                            continue;
                        }
                        Poll::Ready(Some(Ok(frame))) => match self.pass(frame, framing, takes_trailers) {
                            Ok(false) if body.is_end_stream() => self.end(framing),
                            passed => passed,
                        },
                        Poll::Ready(Some(Err(error))) => Err(error.into()),
                        Poll::Ready(None) => self.end(framing),
                    };
                    // What came before an error is still the client's; then closing is the only way left to tell of it.
                    is_broken =
                        is_last.as_ref().inspect_err(|error| tracing::debug!(%error, "an answer broke off")).is_err();
                    is_over = is_last.unwrap_or(true);
                }
                if waits && std::mem::take(&mut may_wait) {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                may_wait = false;
                match self.poll_write(cx)? {
                    Poll::Ready(()) if is_broken => return Poll::Ready(Err(Gone)),
                    Poll::Ready(()) if is_over => return Poll::Ready(Ok(())),
                    Poll::Ready(()) if waits => {}
                    Poll::Ready(()) => continue,
                    Poll::Pending => {}
                }
                if self.serve_the_body(cx)? {
                    continue;
                }
                match self.poll_look_after::<()>(cx) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(gone)) => return Poll::Ready(Err(gone)),
                    Poll::Pending => {}
                }
                // A client that has closed altogether says so only when something is written to it: a zero before the size
                // of the next chunk means nothing.
                if self.is_half_closed && *framing == Framing::Chunked && !is_probed && self.output.is_empty() {
                    is_probed = true;
                    self.output.text(b"0");
                    continue;
                }
                return Poll::Pending;
            }
        })
        .await
    }

    /// Puts one frame into the output. Says whether it was the last.
    fn pass(&mut self, frame: Frame<Bytes>, framing: &mut Framing, takes_trailers: bool) -> Result<bool, BoxError> {
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(frame) => {
                if *framing != Framing::Chunked {
                    return Ok(false);
                }
                let trailers = frame.into_trailers().ok().filter(|_| takes_trailers);
                self.output.last_chunk(trailers.as_ref());
                return Ok(true);
            }
        };
        if data.is_empty() {
            return Ok(false);
        }
        match framing {
            Framing::Length(left) => {
                // More than was said: the client would take it for the next answer.
                let rest = left.checked_sub(data.len() as u64).ok_or("it is longer than its length")?;
                *left = rest;
                self.output.piece(data, false);
                Ok(rest == 0)
            }
            Framing::Chunked => {
                self.output.piece(data, true);
                Ok(false)
            }
            Framing::UntilClose => {
                self.output.piece(data, false);
                Ok(false)
            }
            Framing::None => Ok(true),
        }
    }

    /// The body has ended by itself.
    fn end(&mut self, framing: &Framing) -> Result<bool, BoxError> {
        match framing {
            Framing::Chunked => self.output.last_chunk(None),
            Framing::Length(1..) => return Err("it is shorter than its length".into()),
            _ => {}
        }
        Ok(true)
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

fn awaits_continue(head: &RequestHead) -> bool {
    head.headers.get(header::EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

fn takes_trailers(head: &RequestHead) -> bool {
    let value = head.headers.get(header::TE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(',').any(|token| token.trim().eq_ignore_ascii_case("trailers"))
}

/// How the end of the body is told.
fn framing(status: StatusCode, headers: &http::HeaderMap, body: &Body, asked: &Asked) -> Framing {
    if asked.is_head || has_no_length(status) || status == StatusCode::NOT_MODIFIED {
        return Framing::None;
    }
    let said = || headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok();
    match body.size_hint().exact().or_else(said) {
        Some(length) => Framing::Length(length),
        None if asked.is_11 => Framing::Chunked,
        None => Framing::UntilClose,
    }
}

/// What is told to whoever sent something that is no request.
fn refusal(error: &RequestError) -> Failure {
    let (code, hint) = match error {
        RequestError::LineTooLong { .. } => (ErrorCode::UriTooLong, "send a shorter path or query"),
        RequestError::Head(HeadError::TooLarge { .. } | HeadError::TooManyHeaders) => {
            (ErrorCode::HeadersTooLarge, "send fewer or shorter headers")
        }
        _ => (ErrorCode::InvalidRequest, "send plain HTTP/1.1"),
    };
    Error::new(code, format!("{error}; {hint}")).into()
}

fn slow() -> Failure {
    Failure::new(ErrorCode::RequestTimeout, "the rest of the request's head did not come; send it again")
}
