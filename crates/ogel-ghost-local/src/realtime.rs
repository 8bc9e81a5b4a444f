//! `/v1/realtime`: a WebSocket that carries the log lines of builds (`builds.{id}.logs`) and the changes of deployments
//! (`projects.{id}.deployments`). The credential is in the upgrade request, access is checked per channel. No replay: a
//! subscriber that falls behind its bounded queue gets an error frame and is closed, reconnects, and reads `/logs?after=N`.
//! A subscription is confirmed by `{"type":"response","data":{"to":"subscribe",…}}`; what is published later arrives.
//! Next: `log.rs` and `state.rs`, which publish.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::response::{IntoResponse, Response};
use futures_util::{SinkExt, StreamExt};
use http::StatusCode;
use parking_lot::{Mutex, RwLock};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{Notify, Semaphore};

use crate::auth::Caller;
use crate::error::{ApiError, ApiResult};
use crate::state::App;

const MAX_SOCKETS: usize = 1024;
const MAX_CHANNELS: usize = 100;
const MAX_CLIENT_FRAME_BYTES: usize = 64 << 10;
const MAX_QUEUED_FRAMES: usize = 16_384;
const MAX_QUEUED_BYTES: usize = 8 << 20;
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// Codes of Appwrite's realtime error frames.
const MESSAGE_FORMAT_INVALID: u16 = 1003;
const POLICY_VIOLATION: u16 = 1008;
const TOO_MANY_MESSAGES: u16 = 1013;

/// Who listens to what.
pub(crate) struct Hub {
    channels: RwLock<HashMap<String, Vec<Arc<Subscriber>>>>,
    sockets: Arc<Semaphore>,
}

#[derive(Default)]
struct Subscriber {
    queue: Mutex<Queued>,
    bell: Notify,
}

#[derive(Default)]
struct Queued {
    frames: VecDeque<Utf8Bytes>,
    bytes: usize,
    lagged: bool,
}

impl Hub {
    pub(crate) fn new() -> Hub {
        Hub { channels: RwLock::default(), sockets: Arc::new(Semaphore::new(MAX_SOCKETS)) }
    }

    /// Hands an event to the subscribers of a channel. `payload` is made only if somebody listens.
    pub(crate) fn publish(&self, channel: &str, event: &str, timestamp: &str, payload: impl FnOnce() -> Value) {
        let channels = self.channels.read();
        let Some(subscribers) = channels.get(channel) else { return };
        let frame = json!({
            "type": "event",
            "data": { "channels": [channel], "events": [event], "timestamp": timestamp, "payload": payload() },
        });
        let frame = Utf8Bytes::from(frame.to_string());
        for subscriber in subscribers {
            subscriber.push(frame.clone());
        }
    }

    fn add(&self, channel: &str, subscriber: &Arc<Subscriber>) {
        self.channels.write().entry(channel.to_owned()).or_default().push(subscriber.clone());
    }

    fn remove(&self, channel: &str, subscriber: &Arc<Subscriber>) {
        let mut channels = self.channels.write();
        if let Some(list) = channels.get_mut(channel) {
            list.retain(|other| !Arc::ptr_eq(other, subscriber));
            if list.is_empty() {
                channels.remove(channel);
            }
        }
    }
}

impl Subscriber {
    fn push(&self, frame: Utf8Bytes) {
        let mut queue = self.queue.lock();
        if queue.frames.len() >= MAX_QUEUED_FRAMES || queue.bytes + frame.len() > MAX_QUEUED_BYTES {
            queue.lagged = true;
            queue.frames.clear();
            queue.bytes = 0;
        } else if !queue.lagged {
            queue.bytes += frame.len();
            queue.frames.push_back(frame);
        }
        drop(queue);
        self.bell.notify_one();
    }

    /// Everything queued, or `None` once frames were lost.
    fn take(&self) -> Option<VecDeque<Utf8Bytes>> {
        let mut queue = self.queue.lock();
        queue.bytes = 0;
        (!queue.lagged).then(|| std::mem::take(&mut queue.frames))
    }
}

/// `GET /v1/realtime`
pub(crate) async fn open_realtime(
    State(app): State<Arc<App>>,
    caller: Caller,
    upgrade: Result<WebSocketUpgrade, axum::extract::ws::rejection::WebSocketUpgradeRejection>,
) -> ApiResult<Response> {
    let upgrade = upgrade
        .map_err(|rejection| ApiError::new(StatusCode::BAD_REQUEST, "general_bad_request", rejection.body_text()))?;
    let Ok(permit) = app.hub.sockets.clone().try_acquire_owned() else {
        let message = "Too many realtime connections.";
        return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "general_server_error", message));
    };
    let upgrade = upgrade.max_message_size(MAX_CLIENT_FRAME_BYTES).max_frame_size(MAX_CLIENT_FRAME_BYTES);
    Ok(upgrade
        .on_upgrade(move |socket| async move {
            let subscriber = Arc::new(Subscriber::default());
            let mut session = Session { app, caller, subscriber, channels: HashSet::new() };
            session.serve(socket).await;
            for channel in &session.channels {
                session.app.hub.remove(channel, &session.subscriber);
            }
            drop(permit);
        })
        .into_response())
}

struct Session {
    app: Arc<App>,
    caller: Caller,
    subscriber: Arc<Subscriber>,
    channels: HashSet<String>,
}

#[derive(Deserialize)]
struct ClientFrame {
    #[serde(rename = "type")]
    kind: String,
    channels: Option<Vec<String>>,
}

impl Session {
    async fn serve(&mut self, socket: WebSocket) {
        let mut faults = self.app.faults.sockets();
        faults.mark_unchanged();
        let (mut sink, mut stream) = socket.split();
        let hello = json!({ "type": "connected", "data": { "channels": [], "user": self.user() } });
        if send(&mut sink, [text(&hello)]).await.is_err() {
            return;
        }
        loop {
            let outgoing = tokio::select! {
                () = self.app.stop.cancelled() => {
                    let close = CloseFrame { code: 1001, reason: Utf8Bytes::from_static("going away") };
                    // The other side may be gone, too.
                    let _ = send(&mut sink, [Message::Close(Some(close))]).await;
                    return;
                }
                // A fault that was asked for: the connection is cut without a word.
                _ = faults.changed() => return,
                () = self.subscriber.bell.notified() => match self.subscriber.take() {
                    Some(frames) => frames.into_iter().map(Message::Text).collect(),
                    None => {
                        let reason = "too far behind; reconnect and read the logs after the last line you have";
                        let close = CloseFrame { code: TOO_MANY_MESSAGES, reason: Utf8Bytes::from_static("too far behind") };
                        let last = [text(&error_frame(TOO_MANY_MESSAGES, reason)), Message::Close(Some(close))];
                        // The other side may be gone, too.
                        let _ = send(&mut sink, last).await;
                        return;
                    }
                },
                incoming = stream.next() => match incoming {
                    Some(Ok(Message::Text(frame))) => vec![text(&self.answer(&frame).await)],
                    Some(Ok(Message::Binary(_))) => vec![text(&error_frame(MESSAGE_FORMAT_INVALID, "Message format is not valid."))],
                    // Pings are answered by the WebSocket layer.
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                },
            };
            if send(&mut sink, outgoing).await.is_err() {
                return;
            }
        }
    }

    async fn answer(&mut self, frame: &str) -> Value {
        let Ok(frame) = serde_json::from_str::<ClientFrame>(frame) else {
            return error_frame(MESSAGE_FORMAT_INVALID, "Message format is not valid.");
        };
        let channels = frame.channels.unwrap_or_default();
        match frame.kind.as_str() {
            "ping" => json!({ "type": "pong" }),
            "subscribe" => match self.subscribe(&channels).await {
                Ok(()) => response("subscribe", &channels),
                Err(error) => error_frame(POLICY_VIOLATION, &error.message),
            },
            "unsubscribe" => {
                for channel in &channels {
                    if self.channels.remove(channel) {
                        self.app.hub.remove(channel, &self.subscriber);
                    }
                }
                response("unsubscribe", &channels)
            }
            _ => error_frame(MESSAGE_FORMAT_INVALID, "Message type is not valid."),
        }
    }

    /// All or nothing: one channel that may not be read refuses the frame.
    async fn subscribe(&mut self, channels: &[String]) -> ApiResult<()> {
        if channels.is_empty() || self.channels.len() + channels.len() > MAX_CHANNELS {
            return Err(ApiError::argument("channels", format!("name 1 to {MAX_CHANNELS} channels")));
        }
        if self.caller.has_expired(self.app.now().timestamp()) {
            return Err(ApiError::unauthorized());
        }
        for channel in channels {
            self.check(channel).await?;
        }
        for channel in channels {
            if self.channels.insert(channel.clone()) {
                self.app.hub.add(channel, &self.subscriber);
            }
        }
        Ok(())
    }

    async fn check(&self, channel: &str) -> ApiResult<()> {
        let parts: Vec<&str> = channel.split('.').collect();
        match parts[..] {
            ["builds", id, "logs"] => crate::builds::readable(&self.app, &self.caller, id).await.map(|_| ()),
            ["projects", id, "deployments"] => self.caller.may(&self.app, id, "deployments.read").await,
            _ => Err(ApiError::argument("channels", format!("there is no channel `{channel}`"))),
        }
    }

    fn user(&self) -> Value {
        match &self.caller {
            Caller::User { id, .. } => json!({ "$id": id }),
            _ => Value::Null,
        }
    }
}

fn text(frame: &Value) -> Message {
    Message::Text(frame.to_string().into())
}

fn response(to: &str, channels: &[String]) -> Value {
    json!({ "type": "response", "data": { "to": to, "success": true, "channels": channels } })
}

fn error_frame(code: u16, message: &str) -> Value {
    json!({ "type": "error", "data": { "code": code, "message": message } })
}

/// Writes a burst with one flush. A reader that takes nothing for half a minute is given up.
async fn send<S>(sink: &mut S, frames: impl IntoIterator<Item = Message>) -> Result<(), axum::Error>
where
    S: SinkExt<Message, Error = axum::Error> + Unpin,
{
    let work = async {
        for frame in frames {
            sink.feed(frame).await?;
        }
        sink.flush().await
    };
    tokio::time::timeout(WRITE_TIMEOUT, work).await.unwrap_or_else(|elapsed| Err(axum::Error::new(elapsed)))
}
