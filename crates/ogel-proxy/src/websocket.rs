//! WebSocket connections to an upstream, with bounded messages and a bounded handshake. Refuses to reconnect: what was
//! subscribed is the caller's business. Next: whoever holds the stream.

use crate::{
    connector::{Connector, Stream},
    error::UpstreamError,
};
use http::{HeaderMap, HeaderValue, Uri, header};
use std::time::Duration;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{
        self,
        client::IntoClientRequest,
        protocol::{Role, WebSocketConfig},
    },
};

/// An open WebSocket.
pub type WebSocket = WebSocketStream<Stream>;

/// What one WebSocket may take.
#[derive(Clone, Copy, Debug)]
pub struct WebSocketLimits {
    pub connect_timeout: Duration,
    /// From the upgrade request to the 101.
    pub handshake_timeout: Duration,
    pub max_message_bytes: usize,
    pub max_frame_bytes: usize,
    /// Unsent bytes after which writing fails.
    pub max_write_buffer_bytes: usize,
    /// What is read at once, and held for as long as the connection is open.
    pub read_buffer_bytes: usize,
}

impl Default for WebSocketLimits {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(3),
            handshake_timeout: Duration::from_secs(10),
            max_message_bytes: 256 << 10,
            max_frame_bytes: 256 << 10,
            max_write_buffer_bytes: 1 << 20,
            read_buffer_bytes: 16 << 10,
        }
    }
}

impl WebSocketLimits {
    fn config(&self) -> WebSocketConfig {
        WebSocketConfig::default()
            .max_message_size(Some(self.max_message_bytes))
            .max_frame_size(Some(self.max_frame_bytes))
            .read_buffer_size(self.read_buffer_bytes)
            .write_buffer_size(16 << 10)
            // A message has to fit behind what is not yet written, or passing it on would fail.
            .max_write_buffer_size(self.max_write_buffer_bytes.max(self.max_message_bytes + (64 << 10)))
    }
}

/// `Sec-WebSocket-Accept` for a client's handshake (RFC 6455 4.2.1); `None` if it is none of version 13.
pub fn accept_key(headers: &HeaderMap) -> Option<HeaderValue> {
    let is_upgrade = crate::headers::has_token(headers, header::CONNECTION, "upgrade")
        && crate::headers::has_token(headers, header::UPGRADE, "websocket");
    let is_13 = headers.get(header::SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13");
    let key = headers.get(header::SEC_WEBSOCKET_KEY).filter(|key| is_upgrade && is_13 && key.len() == 24)?;
    HeaderValue::try_from(tungstenite::handshake::derive_accept_key(key.as_bytes())).ok()
}

/// The server's side of a WebSocket, on a connection whose upgrade was answered already.
pub async fn accept_websocket<S>(stream: S, limits: &WebSocketLimits) -> WebSocketStream<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    WebSocketStream::from_raw_socket(stream, Role::Server, Some(limits.config())).await
}

/// Opens a WebSocket to `uri` (`ws` or `wss`), sending `headers` with the upgrade.
/// Errors: [`UpstreamError::UpgradeRefused`] carries the status of an answer that is not 101.
pub async fn connect_websocket(
    connector: &Connector,
    uri: &Uri,
    headers: &HeaderMap,
    limits: &WebSocketLimits,
) -> Result<WebSocket, UpstreamError> {
    dial_websocket(connector, uri, headers, limits).await.map(|(socket, _)| socket)
}

/// [`connect_websocket`], and the headers of the 101, which name the subprotocol that was chosen.
pub async fn dial_websocket(
    connector: &Connector,
    uri: &Uri,
    headers: &HeaderMap,
    limits: &WebSocketLimits,
) -> Result<(WebSocket, HeaderMap), UpstreamError> {
    let mut request = uri.into_client_request().map_err(UpstreamError::protocol)?;
    for (name, value) in headers {
        request.headers_mut().append(name, value.clone());
    }
    let io = connector.open(uri, limits.connect_timeout).await?;
    let handshake = client_async_with_config(request, io, Some(limits.config()));
    match timeout(limits.handshake_timeout, handshake).await {
        Err(_) => Err(UpstreamError::FirstByteTimeout),
        Ok(Ok((socket, answer))) => Ok((socket, answer.into_parts().0.headers)),
        Ok(Err(tungstenite::Error::Http(answer))) => Err(UpstreamError::UpgradeRefused { status: answer.status() }),
        Ok(Err(error @ (tungstenite::Error::Io(_) | tungstenite::Error::ConnectionClosed))) => {
            Err(UpstreamError::reset(error))
        }
        Ok(Err(error)) => Err(UpstreamError::protocol(error)),
    }
}
