//! One WebSocket connection to a build's log.
//!
//! The upgrade goes through the same HTTP client as everything else, so that certificates, proxies and refusals (the
//! error envelope) are the same; only what follows the upgrade is WebSocket.

use crate::{Client, ClientError, Result, transport::Answer};
use futures_util::{SinkExt as _, StreamExt as _};
use http::{Method, StatusCode, header};
use ogel_api::{builds::LogFrame, id::BuildId};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error as WsError, Message,
        handshake::{client::generate_key, derive_accept_key},
        protocol::{Role, WebSocketConfig},
    },
};

/// A frame carries one line; the server cuts lines long before this.
const MAX_MESSAGE_BYTES: usize = 1024 * 1024;
/// After so long without a word, ask whether the other side is still there.
const PING_AFTER: Duration = Duration::from_secs(10);
/// After so long without an answer to that, it is not.
const DEAD_AFTER: Duration = Duration::from_secs(10);

pub(crate) struct Socket {
    stream: WebSocketStream<reqwest::Upgraded>,
    server: String,
    /// When silence next means something.
    silent_until: Instant,
    pinged: bool,
}

/// What came next.
#[derive(Debug)]
pub(crate) enum Event {
    Frame(LogFrame),
    /// The server answered a ping: the build is silent, the connection is not dead.
    Alive,
    /// The connection is gone, for this reason.
    Lost(String),
}

impl Socket {
    /// Opens the log of `build` after line `after`. Errors: those of any call; `Decode` when what answers does not
    /// speak WebSocket.
    pub(crate) async fn open(client: &Client, build: BuildId, after: u64) -> Result<Self> {
        let query = if after > 0 { vec![("after", after.to_string())] } else { Vec::new() };
        let url = client.url(&["builds", &build.to_string(), "logs"], &query)?;
        let limit = client.inner.config.timeout;
        let server = &client.inner.server;
        timeout_at(Instant::now() + limit, Self::upgrade(client, url))
            .await
            .unwrap_or_else(|_| Err(ClientError::Timeout { server: server.clone(), after: limit }))
    }

    async fn upgrade(client: &Client, url: url::Url) -> Result<Self> {
        let server = &client.inner.server;
        let key = generate_key();
        let response = client
            .request(Method::GET, url)
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, "websocket")
            .header(header::SEC_WEBSOCKET_VERSION, "13")
            .header(header::SEC_WEBSOCKET_KEY, &key)
            .send()
            .await
            .map_err(|error| client.broken(&error))?;
        let status = response.status();
        if status != StatusCode::SWITCHING_PROTOCOLS {
            let headers = response.headers().clone();
            let body = response.bytes().await.map_err(|error| client.broken(&error))?;
            return Err(Answer { status, headers, body: body.clone() }
                .failure(server)
                .unwrap_or_else(|| ClientError::decode(server, status, &"it did not open a WebSocket", &body)));
        }
        let accepted = response.headers().get(header::SEC_WEBSOCKET_ACCEPT).map(|value| value.as_bytes());
        if accepted != Some(derive_accept_key(key.as_bytes()).as_bytes()) {
            return Err(ClientError::decode(server, status, &"its WebSocket handshake is not for this request", &[]));
        }
        let upgraded = response.upgrade().await.map_err(|error| client.broken(&error))?;
        let limits = WebSocketConfig::default()
            .max_message_size(Some(MAX_MESSAGE_BYTES))
            .max_frame_size(Some(MAX_MESSAGE_BYTES))
            .read_buffer_size(16 * 1024);
        let stream = WebSocketStream::from_raw_socket(upgraded, Role::Client, Some(limits)).await;
        Ok(Self { stream, server: server.clone(), silent_until: Instant::now() + PING_AFTER, pinged: false })
    }

    /// The next event; cancelling it loses nothing. Errors: `Decode` for what is no frame of ours, which connecting
    /// again would not change.
    pub(crate) async fn next(&mut self) -> Result<Event> {
        loop {
            let message = match timeout_at(self.silent_until, self.stream.next()).await {
                Ok(message) => message,
                Err(_) if self.pinged => return Ok(Event::Lost("the server fell silent".to_owned())),
                Err(_) => {
                    self.pinged = true;
                    self.silent_until = Instant::now() + DEAD_AFTER;
                    // A ping that cannot be sent shows in the next read.
                    let _ = timeout_at(self.silent_until, self.stream.send(Message::Ping(Default::default()))).await;
                    continue;
                }
            };
            self.pinged = false;
            self.silent_until = Instant::now() + PING_AFTER;
            match message {
                Some(Ok(Message::Text(text))) => {
                    let frame = serde_json::from_str(&text).map_err(|error| self.nonsense(&error, &text))?;
                    return Ok(Event::Frame(frame));
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => return Ok(Event::Alive),
                // No frame of today is binary; one of tomorrow is not for us.
                Some(Ok(Message::Binary(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Close(_))) | None => return Ok(Event::Lost("the server closed it".to_owned())),
                Some(Err(WsError::Capacity(error))) => return Err(self.nonsense(&error, "")),
                Some(Err(error)) => return Ok(Event::Lost(error.to_string())),
            }
        }
    }

    fn nonsense(&self, reason: &dyn std::fmt::Display, excerpt: &str) -> ClientError {
        let status = StatusCode::SWITCHING_PROTOCOLS;
        ClientError::decode(&self.server, status, &reason, excerpt.as_bytes())
    }
}
