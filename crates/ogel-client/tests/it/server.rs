//! A small server that answers by a script, over real sockets: what it was asked is kept for asserts.

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{
        FromRequestParts as _, Request,
        ws::{Message, WebSocket, WebSocketUpgrade},
    },
    response::{IntoResponse as _, Response},
};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

/// One request, as it arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    /// Below `/api/v2/`.
    pub path: String,
    pub query: String,
    pub headers: axum::http::HeaderMap,
    pub body: Value,
    /// How many requests with this method and path came before.
    pub nth: usize,
}

impl Seen {
    /// `GET users/me`
    pub fn operation(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// How a request is answered.
pub enum Reply {
    Json(u16, Value),
    /// An error envelope, with `Retry-After` if the number is not 0.
    Error(u16, &'static str, u64),
    Text(u16, &'static str),
    /// The connection breaks without an answer.
    Break,
    /// No answer ever comes.
    Hang,
    /// Sends these frames, then drops the connection without a word.
    Socket(Vec<Value>),
    /// Sends these frames and then nothing, but stays.
    Mute(Vec<Value>),
}

pub struct Server {
    /// Without `/api/v2`.
    pub url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    pub async fn start(script: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (log, script) = (seen.clone(), Arc::new(script));
        let app = Router::new().fallback(move |request: Request| answer(request, log.clone(), script.clone()));
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, seen }
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Those with this method and path.
    pub fn asked(&self, operation: &str) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| seen.operation() == operation).collect()
    }
}

async fn answer(
    request: Request,
    log: Arc<Mutex<Vec<Seen>>>,
    script: Arc<impl Fn(&Seen) -> Reply + Send + Sync + 'static>,
) -> Response {
    let (mut parts, body) = request.into_parts();
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &()).await.ok();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let mut seen = Seen {
        method: parts.method.to_string(),
        path: parts.uri.path().trim_start_matches("/api/v2/").to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts.headers,
        body: serde_json::from_slice(&body).unwrap_or(Value::Null),
        nth: 0,
    };
    {
        let mut log = log.lock().unwrap();
        // A log's page and its stream have the same path.
        let kind = |seen: &Seen| (seen.operation(), seen.header("upgrade").is_some());
        seen.nth = log.iter().filter(|other| kind(other) == kind(&seen)).count();
        log.push(seen.clone());
    }
    match script(&seen) {
        Reply::Json(status, value) => respond(status, "application/json", "", value.to_string()),
        Reply::Error(status, code, wait) => {
            let wait = if wait > 0 { wait.to_string() } else { String::new() };
            respond(status, "application/json", &wait, envelope(status, code).to_string())
        }
        Reply::Text(status, text) => respond(status, "text/html", "", text.to_owned()),
        Reply::Break => {
            let broken = futures_util::stream::once(async { Err::<Bytes, _>(std::io::Error::other("cut")) });
            Response::new(Body::from_stream(broken))
        }
        Reply::Hang => std::future::pending().await,
        Reply::Socket(frames) => socket(upgrade, frames, false),
        Reply::Mute(frames) => socket(upgrade, frames, true),
    }
}

fn socket(upgrade: Option<WebSocketUpgrade>, frames: Vec<Value>, stay: bool) -> Response {
    let upgrade = upgrade.expect("the script gives frames to a request that does not upgrade");
    upgrade.on_upgrade(move |mut socket: WebSocket| async move {
        for frame in frames {
            socket.send(Message::text(frame.to_string())).await.unwrap();
        }
        if stay {
            while socket.recv().await.is_some() {}
        }
    })
}

fn respond(status: u16, media_type: &str, retry_after: &str, body: String) -> Response {
    let mut response = Response::builder().status(status).header("content-type", media_type);
    if !retry_after.is_empty() {
        response = response.header("retry-after", retry_after);
    }
    response.body(Body::from(body)).unwrap().into_response()
}

pub fn envelope(status: u16, code: &str) -> Value {
    let retryable = status >= 500 || status == 429 || code == "IDEMPOTENCY_KEY_IN_USE";
    json!({"error": {
        "code": code, "message": format!("the message of `{code}`"), "requestId": "req_1", "traceId": "t1",
        "retryable": retryable, "source": "gateway",
    }})
}

pub fn line(n: u64) -> Value {
    json!({"type": "log", "n": n, "at": "2026-11-22T10:00:03.120Z", "stream": "stdout", "text": format!("line {n}")})
}

pub fn status(word: &str) -> Value {
    json!({"type": "status", "status": word})
}

pub fn end(word: &str) -> Value {
    json!({"type": "end", "status": word})
}
