//! The upgrade, and what a peer may send after it.

use crate::scripted::{Reply, Scripted, answer};
use futures_util::{SinkExt, StreamExt};
use http::{HeaderMap, HeaderValue, StatusCode};
use ogel_proxy::{BoxFuture, Connect, Connector, Io, UpstreamError, WebSocketLimits, connect_websocket};
use std::{io, sync::Arc};
use tokio_tungstenite::{accept_async, tungstenite::Message};

/// Accepts the upgrade, then sends each text it gets back in capitals.
struct Echo;

impl Connect for Echo {
    fn connect<'a>(&'a self, _: &'a str, _: u16, _: bool) -> BoxFuture<'a, io::Result<Box<dyn Io>>> {
        Box::pin(async {
            let (ours, theirs) = tokio::io::duplex(1 << 20);
            tokio::spawn(async move {
                let mut socket = accept_async(theirs).await.unwrap();
                while let Some(Ok(Message::Text(text))) = socket.next().await {
                    socket.send(Message::text(text.to_uppercase())).await.unwrap();
                }
            });
            Ok(Box::new(ours) as Box<dyn Io>)
        })
    }
}

fn limits() -> WebSocketLimits {
    WebSocketLimits { max_message_bytes: 1000, max_frame_bytes: 1000, ..WebSocketLimits::default() }
}

async fn open(connector: &Connector) -> Result<ogel_proxy::WebSocket, UpstreamError> {
    let mut headers = HeaderMap::new();
    headers.insert("x-key", HeaderValue::from_static("k"));
    connect_websocket(connector, &"ws://ghost.test/v1/realtime".parse().unwrap(), &headers, &limits()).await
}

#[tokio::test(start_paused = true)]
async fn messages_go_both_ways_and_a_message_over_the_limit_ends_the_connection() {
    let mut socket = open(&Connector::custom(Arc::new(Echo))).await.unwrap();
    socket.send(Message::text("hello")).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("HELLO"));
    socket.send(Message::text("x".repeat(1001))).await.unwrap();
    assert!(socket.next().await.unwrap().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_refused_upgrade_tells_its_status_and_our_headers_arrived() {
    let scripted = Scripted::new(|_| answer(401, "application/json", "{}"));
    let error = open(&scripted.connector()).await.err().unwrap();
    assert!(matches!(error, UpstreamError::UpgradeRefused { status: StatusCode::UNAUTHORIZED }), "{error:?}");
    let seen = scripted.seen();
    assert_eq!((seen[0].line(), seen[0].headers("x-key")), ("GET /v1/realtime", vec!["k"]));
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_hangs_or_breaks_ends() {
    let started = tokio::time::Instant::now();
    let error = open(&Scripted::new(|_| Reply::Hang).connector()).await.err().unwrap();
    assert!(matches!(error, UpstreamError::FirstByteTimeout), "{error:?}");
    assert_eq!(started.elapsed().as_secs(), limits().handshake_timeout.as_secs());
    let error = open(&Scripted::new(|_| Reply::Close).connector()).await.err().unwrap();
    assert!(!matches!(error, UpstreamError::UpgradeRefused { .. }), "{error:?}");
}
