//! A log stream over a WebSocket: one JSON text message per frame, then a close with 1000.
//!
//! A close with 1012 means "come back with `?after=`": the server is restarting, or Ghost was away for too long.

use super::viewer;
use crate::{
    edge::{Switch, Switched},
    state::App,
};
use axum::{
    body::Body,
    http::{HeaderValue, Response, StatusCode, header},
};
use futures_util::{SinkExt as _, StreamExt as _};
use ogel_api::builds::LogFrame;
use ogel_proxy::{WebSocketLimits, accept_websocket};
use ogel_store::Deployment;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};

/// Clients have nothing to say but pings and goodbye.
const LARGEST_MESSAGE: usize = 4 << 10;
const PING_EVERY: Duration = Duration::from_secs(20);
/// A client that takes nothing for this long is gone.
const SEND_PATIENCE: Duration = Duration::from_secs(30);

/// `accept`: what the handshake is answered with.
pub(crate) fn websocket(app: &App, accept: HeaderValue, row: Deployment, after: u64) -> Response<Body> {
    let app = app.clone();
    let limits = WebSocketLimits {
        max_message_bytes: LARGEST_MESSAGE,
        max_frame_bytes: LARGEST_MESSAGE,
        read_buffer_bytes: 512,
        ..WebSocketLimits::default()
    };
    // Shutting down waits for the close that tells the client to come back: the connection is still one of its thread's.
    let switch = Switch::to(move |stream| async move {
        let frames = viewer::open(&app, row, after);
        relay(accept_websocket(stream, &limits).await, frames).await;
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    response.extensions_mut().insert(switch);
    response
}

type Socket = WebSocketStream<Switched>;

async fn relay(mut socket: Socket, mut frames: mpsc::Receiver<viewer::Frame>) {
    let mut ended = false;
    let mut ping = tokio::time::interval_at(tokio::time::Instant::now() + PING_EVERY, PING_EVERY);
    loop {
        let message = tokio::select! {
            frame = frames.recv() => match frame {
                Some(frame) => {
                    ended = matches!(*frame, LogFrame::End { .. });
                    Message::text(serde_json::to_string(&frame).expect("a frame holds only strings and numbers"))
                }
                None => break,
            },
            incoming = socket.next() => match incoming {
                // Pings are answered underneath us; what else clients send means nothing here.
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => continue,
            },
            _ = ping.tick() => Message::Ping(bytes::Bytes::new()),
        };
        if !send(&mut socket, message).await {
            return;
        }
    }
    let (code, reason) = if ended { (CloseCode::Normal, "") } else { (CloseCode::Restart, "resume with ?after=") };
    send(&mut socket, Message::Close(Some(CloseFrame { code, reason: reason.into() }))).await;
    // The client's own close ends it properly; one that sends none is not waited for.
    let goodbye = async { while let Some(Ok(_)) = socket.next().await {} };
    let _ = tokio::time::timeout(Duration::from_secs(2), goodbye).await;
}

async fn send(socket: &mut Socket, message: Message) -> bool {
    matches!(tokio::time::timeout(SEND_PATIENCE, socket.send(message)).await, Ok(Ok(())))
}
