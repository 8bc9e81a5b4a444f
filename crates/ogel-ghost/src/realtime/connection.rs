//! The task behind one realtime connection: connects, asks for the channels that are wanted, hands events on, and
//! starts over with jitter when the connection ends.
//!
//! Each request for a channel is followed by a ping. Ghost handles frames in order, so the pong says that the channel
//! is live; an error before it says that it was refused. That needs no acknowledgement frame, which only some versions
//! send. The queue of awaited pongs is bounded by the channels of a connection. Refuses to give up.
//! Next: `hub.rs`.

use super::{
    Counters,
    frame::{self, Frame},
    hub::Hub,
};
use crate::{
    client::Ghost,
    config::{OwnedCredential, RealtimeConfig},
};
use futures_util::{SinkExt, StreamExt};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header::InvalidHeaderValue};
use ogel_proxy::{UpstreamError, WebSocket, connect_websocket, join};
use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_tungstenite::tungstenite::Message;

/// Longest time for handing frames to the network.
const WRITE_WITHIN: Duration = Duration::from_secs(10);

pub(super) struct Connection {
    pub(super) ghost: Ghost,
    pub(super) credential: OwnedCredential,
    pub(super) hub: Arc<Hub>,
    pub(super) counters: Arc<Counters>,
}

/// Why a connection ended.
#[derive(Debug)]
enum End {
    /// Nobody listens any more.
    Idle,
    /// Nothing came for too long.
    Dead,
    /// Ghost closed it, or the network did.
    Closed,
}

/// What Ghost was asked on this connection.
#[derive(Default)]
struct Asked {
    channels: HashSet<Box<str>>,
    /// What each pong to come will confirm, oldest first; `None` is a plain ping.
    pongs: VecDeque<Option<Box<str>>>,
    /// Ghost refused the frame before the next pong.
    was_refused: bool,
    /// Channels that Ghost refused; they are asked for again with the next ping, in case it was a passing fault.
    refused: Vec<Box<str>>,
    /// A channel was confirmed, so the connection was worth something.
    was_useful: bool,
}

impl Connection {
    pub(super) async fn run(self) {
        let mut failures = 0;
        loop {
            while self.hub.channels() == 0 {
                self.hub.changed.notified().await;
            }
            match self.connect().await {
                Ok(socket) => {
                    self.counters.connects.fetch_add(1, Ordering::Relaxed);
                    let mut asked = Asked::default();
                    let end = self.serve(socket, &mut asked).await;
                    self.hub.all_down();
                    tracing::debug!(?end, channels = asked.channels.len(), "ghost realtime connection ended");
                    if asked.was_useful {
                        failures = 0;
                    }
                    if matches!(end, End::Idle) {
                        continue;
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, failures, "ghost realtime cannot be connected to");
                    if matches!(
                        error,
                        UpstreamError::UpgradeRefused { status: StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN }
                    ) {
                        self.hub.refuse_all();
                    }
                }
            }
            self.counters.failures.fetch_add(1, Ordering::Relaxed);
            failures = u32::saturating_add(failures, 1);
            sleep(self.ghost.next_backoff(failures, self.config().reconnect_cap)).await;
        }
    }

    fn config(&self) -> &RealtimeConfig {
        &self.ghost.0.config.realtime
    }

    async fn connect(&self) -> Result<WebSocket, UpstreamError> {
        let base = self.ghost.0.upstream.base();
        let http = join(base, &["v1", "realtime"], &[]).map_err(invalid)?;
        let mut parts = http.into_parts();
        let scheme = if base.scheme_str() == Some("https") { "wss" } else { "ws" };
        parts.scheme = Some(scheme.parse().map_err(invalid)?);
        let uri = Uri::from_parts(parts).map_err(invalid)?;
        let headers = self.ghost.headers(Some(self.credential.borrow())).map_err(invalid)?;
        let headers = headers.into_iter().map(|(name, value)| {
            let mut value = HeaderValue::from_str(value)?;
            value.set_sensitive(true);
            Ok((HeaderName::from_static(name), value))
        });
        let headers = headers.collect::<Result<HeaderMap, InvalidHeaderValue>>().map_err(invalid)?;
        connect_websocket(self.ghost.0.upstream.connector(), &uri, &headers, &self.config().limits).await
    }

    async fn serve(&self, mut socket: WebSocket, asked: &mut Asked) -> End {
        let config = *self.config();
        let mut last_heard = Instant::now();
        let mut next_ping = last_heard + config.ping_every;
        let mut idle_since = None;
        loop {
            let Ok(frames) = self.catch_up(asked) else { return End::Closed };
            if !frames.is_empty() && !write(&mut socket, frames).await {
                return End::Closed;
            }
            let is_idle = asked.channels.is_empty();
            idle_since = is_idle.then(|| idle_since.unwrap_or_else(Instant::now));
            // One timer for the three: whichever comes first wakes us.
            let dead_at = last_heard + config.dead_after;
            let idle_at = idle_since.map(|since| since + config.idle_close_after);
            let wake_at = idle_at.into_iter().fold(dead_at.min(next_ping), Instant::min);
            tokio::select! {
                () = self.hub.changed.notified() => {}
                message = socket.next() => match message {
                    Some(Ok(message)) => {
                        last_heard = Instant::now();
                        if let Message::Text(text) = message {
                            self.heard(&text, asked);
                        }
                    }
                    Some(Err(error)) => {
                        tracing::debug!(%error, "ghost realtime connection failed");
                        return End::Closed;
                    }
                    None => return End::Closed,
                },
                () = sleep_until(wake_at) => {
                    let now = Instant::now();
                    if now >= dead_at {
                        return End::Dead;
                    }
                    if idle_at.is_some_and(|at| now >= at) {
                        return End::Idle;
                    }
                    if now >= next_ping {
                        next_ping = now + config.ping_every;
                        let refused = std::mem::take(&mut asked.refused);
                        asked.channels.retain(|channel| !refused.contains(channel));
                        asked.pongs.push_back(None);
                        if !write(&mut socket, vec![frame::ping()]).await {
                            return End::Closed;
                        }
                    }
                }
            }
        }
    }

    /// The frames that make Ghost's idea of our channels the hub's. `Err`: too many pongs are owed.
    fn catch_up(&self, asked: &mut Asked) -> Result<Vec<String>, ()> {
        let (gone, new) = self.hub.difference(&asked.channels);
        let mut frames = Vec::with_capacity(1 + 2 * new.len());
        if !gone.is_empty() {
            // First, so that the number of channels never exceeds what a connection may have.
            frames.push(frame::unsubscribe(&gone));
            asked.channels.retain(|channel| !gone.contains(channel));
        }
        for channel in new {
            frames.push(frame::subscribe(&channel));
            frames.push(frame::ping());
            asked.pongs.push_back(Some(channel.clone()));
            asked.channels.insert(channel);
        }
        // Subscribers that come and go while Ghost stays silent must not fill memory.
        if asked.pongs.len() > 16 * self.config().channels_per_connection.max(16) { Err(()) } else { Ok(frames) }
    }

    fn heard(&self, text: &str, asked: &mut Asked) {
        match Frame::parse(text) {
            Frame::Connected | Frame::Response => {}
            Frame::Pong => {
                let was_refused = std::mem::take(&mut asked.was_refused);
                let Some(Some(channel)) = asked.pongs.pop_front() else { return };
                asked.was_useful |= !was_refused;
                // Given up and wanted again meanwhile: a later pong speaks for it.
                let is_latest = !asked.pongs.iter().any(|later| later.as_ref() == Some(&channel));
                if is_latest && asked.channels.contains(&channel) {
                    self.hub.settle(&channel, !was_refused);
                    if was_refused {
                        asked.refused.push(channel);
                    }
                }
            }
            Frame::Event { channels, payload } => {
                let mut used = false;
                for channel in &channels {
                    if let Some(signal) = frame::signal(channel, &payload) {
                        used = true;
                        self.hub.publish(channel, signal);
                    }
                }
                if !used {
                    self.counters.unknown_frames.fetch_add(1, Ordering::Relaxed);
                }
            }
            Frame::Error { code, message } => {
                tracing::warn!(code, %message, "ghost realtime answered with an error");
                asked.was_refused = true;
            }
            Frame::Unknown => {
                self.counters.unknown_frames.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// Writes all and flushes once.
async fn write(socket: &mut WebSocket, frames: Vec<String>) -> bool {
    let work = async {
        for frame in frames {
            socket.feed(Message::Text(frame.into())).await?;
        }
        socket.flush().await
    };
    matches!(timeout(WRITE_WITHIN, work).await, Ok(Ok(())))
}

fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> UpstreamError {
    UpstreamError::Protocol { source: Box::new(error) }
}
