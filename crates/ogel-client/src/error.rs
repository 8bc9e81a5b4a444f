//! How a call can fail, and the reading of error envelopes.

use http::StatusCode;
use ogel_api::error::{ErrorBody, ErrorEnvelope, Source};
use serde_json::Value;
use std::time::Duration;

/// Why a call did not succeed. `Display` is one sentence for a person, without a period.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The API answered with its error envelope.
    #[error("{}", .body.message)]
    Api {
        status: StatusCode,
        body: Box<ErrorBody>,
        /// What the server asked us to wait.
        retry_after: Option<Duration>,
    },
    /// No connection came about, or it broke before the answer was complete.
    #[error("cannot reach `{server}`: {reason}")]
    Connect { server: String, reason: String },
    /// An attempt took longer than `ClientConfig::timeout`.
    #[error("`{server}` gave no answer within {} s", .after.as_secs())]
    Timeout { server: String, after: Duration },
    /// Something answered, but not as this API does.
    #[error("`{server}` did not answer as the Ogel API does (HTTP {}): {reason}", .status.as_u16())]
    Decode {
        server: String,
        status: StatusCode,
        reason: String,
        /// The first 200 characters of what came.
        excerpt: String,
    },
    /// Not an address, or not a name, that a request can be sent to.
    #[error("`{url}` cannot be used: {reason}")]
    InvalidUrl { url: String, reason: String },
    /// The token has characters that no header may carry.
    #[error("the token has characters that no token has")]
    InvalidToken,
    /// A log stream lost its connection and did not get anything new within `ClientConfig::stream_patience`.
    #[error("the log stream broke after line {last_line}: {reason}")]
    StreamLost { last_line: u64, reason: String },
    /// This machine lacks something: randomness, or trusted certificates.
    #[error("{reason}")]
    Setup { reason: String },
}

impl ClientError {
    /// The HTTP status, when there was an answer.
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Api { status, .. } | Self::Decode { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// The code of the error envelope, when there was one.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Api { body, .. } => Some(&body.code),
            _ => None,
        }
    }

    /// What the server asked us to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Api { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Whether the same request may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Api { body, .. } => body.retryable,
            Self::Connect { .. } | Self::Timeout { .. } | Self::StreamLost { .. } => true,
            // A proxy in front of a server that restarts.
            Self::Decode { status, .. } => matches!(status.as_u16(), 502..=504),
            Self::InvalidUrl { .. } | Self::InvalidToken | Self::Setup { .. } => false,
        }
    }

    /// The failure that an answer with an error status means.
    pub(crate) fn from_answer(server: &str, status: StatusCode, body: &[u8], retry_after: Option<Duration>) -> Self {
        match read_envelope(body) {
            Some(body) => Self::Api { status, body: Box::new(body), retry_after },
            None => Self::decode(server, status, &"there is no error envelope", body),
        }
    }

    pub(crate) fn decode(server: &str, status: StatusCode, reason: &dyn std::fmt::Display, body: &[u8]) -> Self {
        let excerpt = String::from_utf8_lossy(body).trim().chars().take(200).collect();
        Self::Decode { server: server.to_owned(), status, reason: reason.to_string(), excerpt }
    }
}

/// Reads the envelope, and makes do with `code` and `message` when a newer server has changed the rest.
fn read_envelope(body: &[u8]) -> Option<ErrorBody> {
    if let Ok(envelope) = serde_json::from_slice::<ErrorEnvelope>(body) {
        return Some(envelope.error);
    }
    let value: Value = serde_json::from_slice(body).ok()?;
    let error = value.get("error")?;
    let text = |name: &str| error.get(name).and_then(Value::as_str).map(str::to_owned);
    Some(ErrorBody {
        code: text("code")?.into(),
        message: text("message")?.into(),
        details: Vec::new(),
        request_id: text("requestId").unwrap_or_default(),
        trace_id: text("traceId").unwrap_or_default(),
        retryable: error.get("retryable").and_then(Value::as_bool).unwrap_or(false),
        source: Source::Gateway,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_of_a_newer_server_is_still_read() {
        let body = br#"{"error":{"code":"TEAPOT","message":"short and stout","source":"kitchen","retryable":true}}"#;
        let error = ClientError::from_answer("s", StatusCode::IM_A_TEAPOT, body, None);
        assert_eq!(error.code(), Some("TEAPOT"));
        assert!(error.is_retryable());
    }

    #[test]
    fn what_a_proxy_answers_is_cut_to_an_excerpt() {
        let page = "<h1>Bad gateway</h1>".repeat(50);
        let error = ClientError::from_answer("s", StatusCode::BAD_GATEWAY, page.as_bytes(), None);
        assert!(error.is_retryable());
        let ClientError::Decode { excerpt, .. } = error else { panic!("{error:?}") };
        assert_eq!(excerpt.chars().count(), 200);
    }
}
