//! A log stream over a WebSocket: one JSON text message per frame, then a close with 1000.
//!
//! A close with 1012 means "come back with `?after=`": the server is restarting, or Ghost was away for too long.

use super::viewer;
use crate::state::App;
use axum::{
    body::Body,
    extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code},
    http::Response,
};
use ogel_api::builds::LogFrame;
use ogel_store::Deployment;
use std::time::Duration;
use tokio::sync::mpsc;

/// Clients have nothing to say but pings and goodbye.
const LARGEST_MESSAGE: usize = 4 << 10;
const PING_EVERY: Duration = Duration::from_secs(20);
/// A client that takes nothing for this long is gone.
const SEND_PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn websocket(app: &App, upgrade: WebSocketUpgrade, row: Deployment, after: u64) -> Response<Body> {
    let app = app.clone();
    // Shutting down waits for the close that tells the client to come back.
    let open = app.streams.token();
    upgrade.max_message_size(LARGEST_MESSAGE).max_frame_size(LARGEST_MESSAGE).on_upgrade(move |socket| async move {
        let frames = viewer::open(&app, row, after);
        relay(socket, frames).await;
        drop(open);
    })
}

async fn relay(mut socket: WebSocket, mut frames: mpsc::Receiver<viewer::Frame>) {
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
            incoming = socket.recv() => match incoming {
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
    let (code, reason) = if ended { (close_code::NORMAL, "") } else { (close_code::RESTART, "resume with ?after=") };
    send(&mut socket, Message::Close(Some(CloseFrame { code, reason: reason.into() }))).await;
    // The client's own close ends it properly; one that sends none is not waited for.
    let goodbye = async { while let Some(Ok(_)) = socket.recv().await {} };
    let _ = tokio::time::timeout(Duration::from_secs(2), goodbye).await;
}

async fn send(socket: &mut WebSocket, message: Message) -> bool {
    matches!(tokio::time::timeout(SEND_PATIENCE, socket.send(message)).await, Ok(Ok(())))
}
