//! WebSocket connections to an upstream, with bounded messages and a bounded handshake. Refuses to reconnect: what was
//! subscribed is the caller's business. Next: whoever holds the stream.

use crate::{
    connector::{Connector, Io},
    error::UpstreamError,
};
use http::{HeaderMap, Uri};
use std::time::Duration;
use tokio::time::timeout;
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{self, client::IntoClientRequest, protocol::WebSocketConfig},
};

/// An open WebSocket.
pub type WebSocket = WebSocketStream<Box<dyn Io>>;

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
}

impl Default for WebSocketLimits {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(3),
            handshake_timeout: Duration::from_secs(10),
            max_message_bytes: 256 << 10,
            max_frame_bytes: 256 << 10,
            max_write_buffer_bytes: 1 << 20,
        }
    }
}

/// Opens a WebSocket to `uri` (`ws` or `wss`), sending `headers` with the upgrade.
/// Errors: [`UpstreamError::UpgradeRefused`] carries the status of an answer that is not 101.
pub async fn connect_websocket(
    connector: &Connector,
    uri: &Uri,
    headers: &HeaderMap,
    limits: &WebSocketLimits,
) -> Result<WebSocket, UpstreamError> {
    let mut request = uri.into_client_request().map_err(UpstreamError::protocol)?;
    for (name, value) in headers {
        request.headers_mut().append(name, value.clone());
    }
    let config = WebSocketConfig::default()
        .max_message_size(Some(limits.max_message_bytes))
        .max_frame_size(Some(limits.max_frame_bytes))
        .read_buffer_size(16 << 10)
        .write_buffer_size(16 << 10)
        .max_write_buffer_size(limits.max_write_buffer_bytes);
    let io = connector.open(uri, limits.connect_timeout).await?;
    let handshake = client_async_with_config(request, io, Some(config));
    match timeout(limits.handshake_timeout, handshake).await {
        Err(_) => Err(UpstreamError::FirstByteTimeout),
        Ok(Ok((socket, _))) => Ok(socket),
        Ok(Err(tungstenite::Error::Http(answer))) => Err(UpstreamError::UpgradeRefused { status: answer.status() }),
        Ok(Err(error @ (tungstenite::Error::Io(_) | tungstenite::Error::ConnectionClosed))) => {
            Err(UpstreamError::reset(error))
        }
        Ok(Err(error)) => Err(UpstreamError::protocol(error)),
    }
}
