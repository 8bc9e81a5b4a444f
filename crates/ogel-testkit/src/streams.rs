//! Log streams as lists of frames, over server-sent events and over a WebSocket.

use crate::Api;
use futures_util::StreamExt as _;
use serde_json::Value;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{self, Message, client::IntoClientRequest as _},
};

/// An open WebSocket.
pub type Socket = WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>;

/// Opens `path` as a WebSocket; the error holds the answer that refused it.
pub async fn open_websocket(api: &Api, path: &str) -> Result<Socket, Box<tungstenite::Error>> {
    let url = format!("{}{path}", api.base.replacen("http", "ws", 1));
    let mut request = url.into_client_request().unwrap();
    if let Some(token) = &api.token {
        request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    connect_async(request).await.map(|(socket, _)| socket).map_err(Box::new)
}

/// The next frame; `Err` holds the code the server closed with.
pub async fn next_frame(socket: &mut Socket) -> Result<Value, Option<u16>> {
    loop {
        let message = tokio::time::timeout(crate::PATIENCE, socket.next()).await.expect("a frame comes");
        match message {
            Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text).unwrap()),
            Some(Ok(Message::Close(frame))) => return Err(frame.map(|frame| frame.code.into())),
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return Err(None),
        }
    }
}

/// Every frame until the server closes, and the code it closed with.
pub async fn websocket_frames(api: &Api, path: &str) -> (Vec<Value>, Option<u16>) {
    let mut socket = open_websocket(api, path).await.unwrap();
    let mut frames = Vec::new();
    loop {
        match next_frame(&mut socket).await {
            Ok(frame) => frames.push(frame),
            Err(code) => return (frames, code),
        }
    }
}

/// Every server-sent event until the server ends the answer: its id and its data.
pub async fn events(api: &Api, path: &str, last_event_id: Option<u64>) -> Vec<(Option<u64>, Value)> {
    let mut request = api.request(http::Method::GET, path).header("accept", "text/event-stream");
    if let Some(id) = last_event_id {
        request = request.header("last-event-id", id.to_string());
    }
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let text = response.text().await.unwrap();
    let field = |event: &str, name: &str| {
        event.lines().find_map(|line| line.strip_prefix(name).map(|value| value.trim().to_owned()))
    };
    let read = |event: &str| {
        let data = field(event, "data:")?;
        let id = field(event, "id:").map(|id| id.parse().unwrap());
        Some((id, serde_json::from_str(&data).unwrap()))
    };
    text.split("\n\n").filter_map(read).collect()
}

/// The numbers of the lines among `frames`.
pub fn numbers(frames: &[Value]) -> Vec<u64> {
    frames.iter().filter(|frame| frame["type"] == "log").map(|frame| frame["n"].as_u64().unwrap()).collect()
}

/// The text of the lines among `frames`.
pub fn text(frames: &[Value]) -> String {
    let lines: Vec<_> = frames.iter().filter_map(|frame| frame["text"].as_str()).collect();
    lines.join("\n")
}
