//! Two WebSockets joined: what one says the other hears, as fast as the slower of them reads. One message of each
//! direction is held at most, besides what the sockets' own bounded buffers hold. Pings are answered on each side and
//! not passed on, since each connection lives on its own; a side that is silent is pinged by us, and gone if it does not
//! answer. Refuses to look into messages and to reconnect.
//! Next: `websocket.rs`, where both sockets come from.

use bytes::Bytes;
use futures_util::{Sink, Stream};
use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::{Instant, sleep_until, timeout},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message,
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};

/// Messages passed on before other tasks get their turn.
const TURN: usize = 64;

/// How long two sockets stay joined. How large a message may be is a property of each socket.
#[derive(Clone, Copy, Debug)]
pub struct RelayLimits {
    /// Without a message or a ping from either side for so long, both are closed. Answers to our pings do not count.
    pub idle_timeout: Duration,
    /// A side that says nothing for so long is pinged; if it still says nothing for as long again, it is gone.
    pub ping_every: Duration,
    /// The code they are closed with then; 4000 to 4999 are free to use.
    pub idle_code: u16,
    /// For saying goodbye, to both at once.
    pub close_timeout: Duration,
    /// Sent with code 1012 when `shutdown` is over.
    pub shutdown_reason: &'static str,
}

impl Default for RelayLimits {
    fn default() -> Self {
        Self {
            idle_timeout: Duration::from_secs(300),
            ping_every: Duration::from_secs(20),
            idle_code: 4408,
            close_timeout: Duration::from_secs(5),
            shutdown_reason: "service restart",
        }
    }
}

/// One of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    Client,
    Upstream,
}

/// Why it is over.
#[derive(Debug)]
#[non_exhaustive]
pub enum RelayEnd {
    /// One side said so; its code, if it gave one, was passed on.
    Closed { by: Party, code: Option<u16> },
    /// One side went away without a word, or said what is no WebSocket or too large.
    Broke { by: Party, error: Box<Error> },
    /// Both were silent.
    Idle,
    /// We stop.
    Shutdown,
}

/// Messages and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    pub messages: u64,
    pub bytes: u64,
}

/// What happened.
#[derive(Debug)]
pub struct Relayed {
    pub end: RelayEnd,
    pub to_upstream: Traffic,
    pub to_client: Traffic,
}

/// Passes messages both ways until one side closes or breaks, both are silent, or `shutdown` is over; then closes both,
/// within `close_timeout`. Dropped, it closes both without a word.
pub async fn relay<C, U>(
    client: WebSocketStream<C>,
    upstream: WebSocketStream<U>,
    limits: &RelayLimits,
    shutdown: impl Future<Output = ()>,
) -> Relayed
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    let mut client = Side::new(client, Party::Client);
    let mut upstream = Side::new(upstream, Party::Upstream);
    let mut shutdown = pin!(shutdown);
    let mut idle = pin!(sleep_until(Instant::now() + limits.idle_timeout));
    let mut last_heard = Instant::now();
    let mut beat = pin!(sleep_until(Instant::now() + limits.ping_every));
    let end = poll_fn(|cx| {
        let mut heard = false;
        if let Poll::Ready(end) = client.pump(&mut upstream, &mut heard, cx) {
            return Poll::Ready(end);
        }
        if let Poll::Ready(end) = upstream.pump(&mut client, &mut heard, cx) {
            return Poll::Ready(end);
        }
        if shutdown.as_mut().poll(cx).is_ready() {
            return Poll::Ready(RelayEnd::Shutdown);
        }
        while beat.as_mut().poll(cx).is_ready() {
            if let Poll::Ready(end) = client.beat(cx) {
                return Poll::Ready(end);
            }
            if let Poll::Ready(end) = upstream.beat(cx) {
                return Poll::Ready(end);
            }
            beat.as_mut().reset(Instant::now() + limits.ping_every);
        }
        if heard {
            last_heard = Instant::now();
        }
        // The timer is moved when it fires, not at every message.
        while idle.as_mut().poll(cx).is_ready() {
            let until = last_heard + limits.idle_timeout;
            if until <= Instant::now() {
                return Poll::Ready(RelayEnd::Idle);
            }
            idle.as_mut().reset(until);
        }
        Poll::Pending
    })
    .await;
    let (to_upstream, to_client) = (client.said, upstream.said);
    let (to_the_client, to_the_upstream) =
        goodbyes(&end, client.last_words.take().or(upstream.last_words.take()), limits);
    tokio::join!(
        client.close(to_the_client, limits.close_timeout),
        upstream.close(to_the_upstream, limits.close_timeout)
    );
    Relayed { end, to_upstream, to_client }
}

/// What each side is told; to one that closed by itself, its own words are the answer.
fn goodbyes(
    end: &RelayEnd,
    said: Option<CloseFrame>,
    limits: &RelayLimits,
) -> (Option<CloseFrame>, Option<CloseFrame>) {
    let frame = |code: CloseCode, reason: &str| Some(CloseFrame { code, reason: reason.into() });
    match end {
        RelayEnd::Closed { .. } => (said.clone(), said),
        RelayEnd::Idle => {
            let both = frame(limits.idle_code.into(), "idle for too long");
            (both.clone(), both)
        }
        RelayEnd::Shutdown => {
            let both = frame(CloseCode::Restart, limits.shutdown_reason);
            (both.clone(), both)
        }
        RelayEnd::Broke { by, error } => {
            let culprit = match **error {
                Error::Capacity(_) => frame(CloseCode::Size, "message too large"),
                Error::Utf8(_) => frame(CloseCode::Invalid, "text is not UTF-8"),
                _ => frame(CloseCode::Protocol, "protocol error"),
            };
            match by {
                Party::Client => (culprit, frame(CloseCode::Away, "the client is gone")),
                Party::Upstream => (frame(CloseCode::Error, "the upstream is gone"), culprit),
            }
        }
    }
}

struct Side<S> {
    socket: WebSocketStream<S>,
    party: Party,
    /// Heard here and not yet taken by the other side; while it is there, nothing more is read.
    held: Option<Message>,
    said: Traffic,
    needs_flush: bool,
    last_words: Option<CloseFrame>,
    is_broken: bool,
    /// Whether anything came since the last beat, pongs included, and how many beats went by without.
    is_alive: bool,
    silent_beats: u32,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Side<S> {
    fn new(socket: WebSocketStream<S>, party: Party) -> Self {
        let (said, last_words) = (Traffic::default(), None);
        let (held, needs_flush, is_broken) = (None, false, false);
        Self { socket, party, held, said, needs_flush, last_words, is_broken, is_alive: true, silent_beats: 0 }
    }

    fn broke(&mut self, error: Error) -> Poll<RelayEnd> {
        self.is_broken = true;
        Poll::Ready(RelayEnd::Broke { by: self.party, error: Box::new(error) })
    }

    /// Pings a side that was silent since the last beat; one that did not answer the ping is gone. One that takes nothing
    /// cannot be pinged, and is gone as well when it says nothing either.
    fn beat(&mut self, cx: &mut Context<'_>) -> Poll<RelayEnd> {
        if std::mem::take(&mut self.is_alive) || self.held.is_some() {
            // While a message of its own waits for the other side, nothing of it is read: no answer would be, either.
            self.silent_beats = 0;
            return Poll::Pending;
        }
        self.silent_beats += 1;
        if self.silent_beats > 1 {
            let silence = std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer to a ping");
            return self.broke(Error::Io(silence));
        }
        if let Poll::Ready(Ok(())) = Pin::new(&mut self.socket).poll_ready(cx)
            && Pin::new(&mut self.socket).start_send(Message::Ping(Bytes::new())).is_ok()
        {
            match Pin::new(&mut self.socket).poll_flush(cx) {
                Poll::Ready(Err(error)) => return self.broke(error),
                Poll::Ready(Ok(())) => {}
                Poll::Pending => self.needs_flush = true,
            }
        }
        Poll::Pending
    }

    /// Moves messages from here to `to` until nothing comes or nothing goes.
    fn pump<T>(&mut self, to: &mut Side<T>, heard: &mut bool, cx: &mut Context<'_>) -> Poll<RelayEnd>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        for turn in 0.. {
            if let Some(message) = self.held.take() {
                match Pin::new(&mut to.socket).poll_ready(cx) {
                    Poll::Pending => {
                        self.held = Some(message);
                        return Poll::Pending;
                    }
                    Poll::Ready(Err(error)) => return to.broke(error),
                    Poll::Ready(Ok(())) => {}
                }
                let length = message.len() as u64;
                if let Err(error) = Pin::new(&mut to.socket).start_send(message) {
                    return to.broke(error);
                }
                to.needs_flush = true;
                self.said.messages += 1;
                self.said.bytes += length;
            }
            if turn == TURN {
                cx.waker().wake_by_ref();
                break;
            }
            match Pin::new(&mut self.socket).poll_next(cx) {
                Poll::Pending => break,
                Poll::Ready(Some(Ok(Message::Close(frame)))) => {
                    let code = frame.as_ref().map(|frame| frame.code.into());
                    self.last_words = frame;
                    return Poll::Ready(RelayEnd::Closed { by: self.party, code });
                }
                Poll::Ready(Some(Ok(message))) => {
                    self.is_alive = true;
                    *heard |= !message.is_pong();
                    if message.is_text() || message.is_binary() {
                        self.held = Some(message);
                    }
                }
                Poll::Ready(Some(Err(error))) => return self.broke(error),
                Poll::Ready(None) => return self.broke(Error::ConnectionClosed),
            }
        }
        if to.needs_flush {
            match Pin::new(&mut to.socket).poll_flush(cx) {
                Poll::Pending => {}
                Poll::Ready(Ok(())) => to.needs_flush = false,
                Poll::Ready(Err(error)) => return to.broke(error),
            }
        }
        Poll::Pending
    }

    /// Says goodbye and waits for the other side's. What it still says is not read: nobody is there to hear it.
    async fn close(mut self, frame: Option<CloseFrame>, limit: Duration) {
        let goodbye = async {
            // Refused when the other side closed first: then reading on sends the answer.
            let _ = self.socket.close(frame).await;
            if !self.is_broken {
                while let Some(Ok(_)) = poll_fn(|cx| Pin::new(&mut self.socket).poll_next(cx)).await {}
            }
            let stream = self.socket.get_mut();
            if stream.shutdown().await.is_ok() {
                // Closing over unread bytes would reset the connection, and the goodbye would be lost with them.
                let mut unread = [0; 4096];
                while let Ok(1..) = stream.read(&mut unread).await {}
            }
        };
        // In time or not, the socket is dropped.
        let _ = timeout(limit, goodbye).await;
    }
}
