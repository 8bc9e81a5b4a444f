//! The frames of Ghost's realtime. Reads what we use and skips the rest; refuses to fail on what is new.
//! Next: `connection.rs`.

use super::hub::Signal;
use crate::channel::{Topic, topic};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// A frame from Ghost.
#[derive(Debug)]
pub(super) enum Frame {
    /// The connection is ready.
    Connected,
    Pong,
    /// Something for these channels.
    Event {
        channels: Vec<String>,
        payload: Value,
    },
    /// A frame of ours was refused.
    Error {
        code: i64,
        message: String,
    },
    /// An acknowledgement; the pong that follows says the same in every version.
    Response,
    Unknown,
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    data: Value,
}

#[derive(Deserialize)]
struct EventData {
    channels: Vec<String>,
    payload: Value,
}

impl Frame {
    pub(super) fn parse(text: &str) -> Self {
        let Ok(Envelope { kind, data }) = serde_json::from_str(text) else { return Self::Unknown };
        match kind.as_str() {
            "connected" => Self::Connected,
            "pong" => Self::Pong,
            "response" => Self::Response,
            "event" => match serde_json::from_value(data) {
                Ok(EventData { channels, payload }) => Self::Event { channels, payload },
                Err(_) => Self::Unknown,
            },
            "error" => Self::Error {
                code: data["code"].as_i64().unwrap_or_default(),
                message: data["message"].as_str().unwrap_or_default().chars().take(200).collect(),
            },
            _ => Self::Unknown,
        }
    }
}

/// Reads an event's payload by the channel it came on.
pub(super) fn signal(channel: &str, payload: &Value) -> Option<Signal> {
    match topic(channel)? {
        Topic::BuildLogs { build_id } => {
            Some(Signal::Log { build_id: build_id.into(), line: Deserialize::deserialize(payload).ok()? })
        }
        Topic::Deployments => Some(Signal::Deployment(Arc::new(Deserialize::deserialize(payload).ok()?))),
    }
}

pub(super) fn ping() -> String {
    json!({ "type": "ping" }).to_string()
}

pub(super) fn subscribe(channel: &str) -> String {
    json!({ "type": "subscribe", "channels": [channel] }).to_string()
}

pub(super) fn unsubscribe(channels: &[Box<str>]) -> String {
    json!({ "type": "unsubscribe", "channels": channels }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_event_becomes_its_line() {
        let text = r#"{"type":"event","data":{"channels":["builds.b1.logs"],"events":["builds.b1.logs.create"],
            "timestamp":"2026-11-23T10:00:00.000Z",
            "payload":{"n":7,"at":"2026-11-23T10:00:00.000Z","stream":"stderr","text":"hm","colour":"red"}}}"#;
        let Frame::Event { channels, payload } = Frame::parse(text) else { panic!("no event") };
        let Some(Signal::Log { build_id, line }) = signal(&channels[0], &payload) else { panic!("no line") };
        assert_eq!((&*build_id, line.n, line.text.as_str()), ("b1", 7, "hm"));
    }

    #[test]
    fn what_makes_no_sense_is_unknown_and_never_an_error() {
        for text in ["", "[]", "{}", r#"{"type":7}"#, r#"{"type":"weather"}"#, r#"{"type":"event","data":{}}"#] {
            assert!(matches!(Frame::parse(text), Frame::Unknown), "{text}");
        }
        assert!(signal("builds.b1.logs", &json!({ "n": "seven" })).is_none());
        assert!(signal("account", &json!({})).is_none());
    }

    #[test]
    fn recorded_frames_are_read() {
        let transcript: Value =
            serde_json::from_str(include_str!("../../tests/fixtures/rt-03-no-channels.json")).unwrap();
        let frames: Vec<_> = transcript["frames"].as_array().unwrap().iter().map(|f| f["data"].to_string()).collect();
        assert!(frames.iter().any(|f| matches!(Frame::parse(f), Frame::Error { code: 1008, .. })), "{frames:?}");
        let transcript: Value = serde_json::from_str(include_str!("../../tests/fixtures/rt-12-ping.json")).unwrap();
        let server: Vec<_> = transcript["frames"].as_array().unwrap().iter().filter(|f| f["dir"] == "server").collect();
        assert!(matches!(Frame::parse(&server[0]["data"].to_string()), Frame::Connected));
        assert!(matches!(Frame::parse(&server[1]["data"].to_string()), Frame::Pong));
    }
}
