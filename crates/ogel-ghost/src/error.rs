//! A call to Ghost that failed, in our terms and in Ghost's. Refuses to show Ghost's text to callers unless the row of
//! its type says so. Next: `translate.rs`, the table.

use crate::translate::translate;
use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, header};
use ogel_api::error::ErrorCode;
use ogel_proxy::UpstreamError;
use serde::Deserialize;
use std::{borrow::Cow, fmt, time::Duration};

/// A wait that an upstream asks for is believed up to this.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3600);
const LONGEST_MESSAGE_CHARS: usize = 500;

/// Ghost's own word for the failure (`project_not_found`), or one of ours that begins with `ogel_`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GhostErrorKind(Cow<'static, str>);

impl GhostErrorKind {
    /// Ghost could not be reached.
    pub const UNREACHABLE: Self = Self(Cow::Borrowed("ogel_unreachable"));
    /// Ghost failed so often that it is not asked for a while.
    pub const RESTING: Self = Self(Cow::Borrowed("ogel_resting"));
    /// Ghost did not answer in time.
    pub const TIMEOUT: Self = Self(Cow::Borrowed("ogel_timeout"));
    /// Ghost closed the connection before it had answered.
    pub const RESET: Self = Self(Cow::Borrowed("ogel_reset"));
    /// What came back is not what Ghost says.
    pub const INVALID_RESPONSE: Self = Self(Cow::Borrowed("ogel_invalid_response"));
    /// The call cannot be expressed: an id that is no path segment, a credential that is no header.
    pub const UNSENDABLE: Self = Self(Cow::Borrowed("ogel_unsendable"));

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for GhostErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a call to Ghost failed.
#[derive(Debug)]
pub struct GhostError {
    /// Ghost's status, if it answered.
    pub status: Option<StatusCode>,
    pub kind: GhostErrorKind,
    /// What our caller is told.
    pub code: ErrorCode,
    /// For the log alone.
    pub message: Box<str>,
    /// Ghost's text, when it only speaks of what the caller sent.
    pub public_message: Option<String>,
    pub retry_after: Option<Duration>,
    /// Whether Ghost may have done what was asked; over all attempts.
    pub may_have_been_processed: bool,
    /// How many attempts were made.
    pub attempts: u32,
    pub source: Option<Box<UpstreamError>>,
}

impl fmt::Display for GhostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ghost: {}", self.kind)?;
        if let Some(status) = self.status {
            write!(f, " ({})", status.as_u16())?;
        }
        write!(f, ": {}", self.message)
    }
}

impl std::error::Error for GhostError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl GhostError {
    fn new(kind: GhostErrorKind, code: ErrorCode, message: &str, may_have_been_processed: bool) -> Self {
        Self {
            status: None,
            kind,
            code,
            message: clean(message).into(),
            public_message: None,
            retry_after: None,
            may_have_been_processed,
            attempts: 1,
            source: None,
        }
    }

    /// Nothing was sent, because what should be sent makes no sense.
    pub(crate) fn unsendable(message: &str) -> Self {
        Self::new(GhostErrorKind::UNSENDABLE, ErrorCode::ValidationFailed, message, false)
    }

    /// Ghost said yes, in words that make no sense.
    pub(crate) fn undecodable(status: StatusCode, body: &[u8], problem: &str) -> Self {
        let kind = GhostErrorKind::INVALID_RESPONSE;
        let code = if body.is_empty() { ErrorCode::UpstreamEmpty } else { ErrorCode::UpstreamInvalidResponse };
        Self { status: Some(status), ..Self::new(kind, code, problem, true) }
    }

    /// Reads an answer that is not a success.
    pub(crate) fn from_response(response: &Response<Bytes>) -> Self {
        let status = response.status();
        let retry_after = retry_after(response.headers());
        // A refusal was not acted on. A 408 and everything that broke inside Ghost may have been.
        let may_have_been_processed = !status.is_client_error() || status == StatusCode::REQUEST_TIMEOUT;
        let mut error = match serde_json::from_slice::<Body>(response.body()) {
            Ok(Body { kind: Some(kind), message }) if is_word(&kind) => {
                let meaning = translate(&kind, status);
                let mut error = Self::new(GhostErrorKind(kind.into()), meaning.code, &message, may_have_been_processed);
                error.public_message = (meaning.is_public && !message.is_empty()).then(|| error.message.clone().into());
                error
            }
            // Ghost crashed so early that it had no type at hand.
            Ok(Body { message, .. }) if status.is_server_error() => {
                let meaning = translate("general_unknown", status);
                let kind = GhostErrorKind(Cow::Borrowed("general_unknown"));
                Self::new(kind, meaning.code, &message, may_have_been_processed)
            }
            _ => Self::not_ghost(response, may_have_been_processed),
        };
        error.status = Some(status);
        error.retry_after = retry_after;
        error
    }

    /// An error page of something in between, a redirect, an empty answer.
    fn not_ghost(response: &Response<Bytes>, may_have_been_processed: bool) -> Self {
        let content_type = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let message = format!(
            "the answer is not one of Ghost's errors: {} bytes of {}",
            response.body().len(),
            content_type.unwrap_or("no media type")
        );
        let code = match response.status() {
            StatusCode::TOO_MANY_REQUESTS => ErrorCode::UpstreamBusy,
            StatusCode::PAYLOAD_TOO_LARGE => ErrorCode::PayloadTooLarge,
            _ if response.body().is_empty() => ErrorCode::UpstreamEmpty,
            _ => ErrorCode::UpstreamInvalidResponse,
        };
        Self::new(GhostErrorKind::INVALID_RESPONSE, code, &message, may_have_been_processed)
    }

    /// Ghost does not take the token; a fresh one may do.
    pub fn refuses_token(&self) -> bool {
        self.kind.as_str() == "user_jwt_invalid"
    }

    /// There is no such project, or the account is no member of it.
    pub fn hides_project(&self) -> bool {
        self.kind.as_str() == "project_not_found"
    }

    /// Whether the same call may succeed in a moment.
    pub(crate) fn is_transient(&self) -> bool {
        match (&self.source, self.status) {
            // The attempt's deadline; the call's own is watched by the retrier.
            (Some(source), _) => source.is_transient() || matches!(**source, UpstreamError::Deadline { .. }),
            (None, Some(status)) => matches!(status.as_u16(), 408 | 429 | 500 | 502..=504),
            (None, None) => false,
        }
    }
}

impl From<UpstreamError> for GhostError {
    fn from(error: UpstreamError) -> Self {
        let (kind, code) = match &error {
            UpstreamError::Connect { .. } | UpstreamError::Reset { sent: false, .. } => {
                (GhostErrorKind::UNREACHABLE, ErrorCode::UpstreamUnavailable)
            }
            UpstreamError::Tls { .. } => (GhostErrorKind::UNREACHABLE, ErrorCode::UpstreamTls),
            UpstreamError::BreakerOpen { .. } => (GhostErrorKind::RESTING, ErrorCode::UpstreamUnavailable),
            UpstreamError::ConnectTimeout
            | UpstreamError::FirstByteTimeout
            | UpstreamError::BodyIdleTimeout
            | UpstreamError::Deadline { .. } => (GhostErrorKind::TIMEOUT, ErrorCode::UpstreamTimeout),
            UpstreamError::RequestBody { .. } if error.request_body_too_large().is_some() => {
                (GhostErrorKind::UNSENDABLE, ErrorCode::PayloadTooLarge)
            }
            UpstreamError::RequestBody { .. } => (GhostErrorKind::UNSENDABLE, ErrorCode::ValidationFailed),
            UpstreamError::Reset { .. } => (GhostErrorKind::RESET, ErrorCode::UpstreamReset),
            UpstreamError::Truncated { .. } => (GhostErrorKind::RESET, ErrorCode::UpstreamTruncated),
            UpstreamError::TooLarge { .. } => (GhostErrorKind::INVALID_RESPONSE, ErrorCode::UpstreamTooLarge),
            _ => (GhostErrorKind::INVALID_RESPONSE, ErrorCode::UpstreamInvalidResponse),
        };
        let mut failure = Self::new(kind, code, &error.to_string(), error.may_have_been_processed());
        if let UpstreamError::BreakerOpen { retry_after } = &error {
            failure.retry_after = Some(*retry_after);
        }
        failure.source = Some(Box::new(error));
        failure
    }
}

#[derive(Deserialize)]
struct Body {
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    message: String,
}

fn is_word(kind: &str) -> bool {
    !kind.is_empty() && kind.len() <= 100 && kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// One line of bounded length, so that an upstream cannot forge log lines or flood the log.
fn clean(message: &str) -> String {
    message.chars().take(LONGEST_MESSAGE_CHARS).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Only seconds: Ghost never sends a date there.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(status: u16, content_type: &str, body: &'static str) -> GhostError {
        let response =
            Response::builder().status(status).header("content-type", content_type).header("retry-after", "7");
        GhostError::from_response(&response.body(Bytes::from_static(body.as_bytes())).unwrap())
    }

    #[test]
    fn a_text_reaches_the_caller_only_when_its_row_allows_it() {
        let json =
            r#"{"message":"Invalid `repoUrl` param","code":400,"type":"general_argument_invalid","version":"1"}"#;
        let error = read(400, "application/json", json);
        assert_eq!(error.code, ErrorCode::ValidationFailed);
        assert_eq!(error.public_message.as_deref(), Some("Invalid `repoUrl` param"));
        assert!(!error.may_have_been_processed && !error.is_transient());
        let json = r#"{"message":"key k_123 of 10.0.0.7","code":401,"type":"user_unauthorized","version":"1"}"#;
        let error = read(401, "application/json", json);
        assert_eq!((error.code, error.public_message), (ErrorCode::UpstreamAuth, None));
    }

    #[test]
    fn pages_of_something_else_are_invalid_responses() {
        for (status, content_type, body) in [
            (404, "text/html", "<html>not found</html>"),
            (502, "text/html", "<html>bad gateway</html>"),
            (500, "", ""),
            (301, "text/html", ""),
            (400, "application/json", r#"{"message":"trunc"#),
            (404, "application/json", "[]"),
            (401, "application/json", r#"{"error":"nope"}"#),
            (400, "application/json", r#"{"type":"a b\n","message":"x"}"#),
        ] {
            let error = read(status, content_type, body);
            let code = if body.is_empty() { ErrorCode::UpstreamEmpty } else { ErrorCode::UpstreamInvalidResponse };
            assert_eq!(error.code, code, "{status} {body}");
            assert_eq!((error.kind, error.public_message), (GhostErrorKind::INVALID_RESPONSE, None));
        }
        assert_eq!(read(429, "text/html", "slow down").code, ErrorCode::UpstreamBusy);
        assert_eq!(read(500, "application/json", r#"{"message":"boom"}"#).code, ErrorCode::UpstreamError);
    }

    #[test]
    fn retry_after_is_bounded_and_messages_stay_on_one_line() {
        assert_eq!(read(429, "", "").retry_after, Some(Duration::from_secs(7)));
        let mut headers = HeaderMap::new();
        headers.insert("retry-after", "999999999".parse().unwrap());
        assert_eq!(retry_after(&headers), Some(LONGEST_RETRY_AFTER));
        headers.insert("retry-after", "-1".parse().unwrap());
        assert_eq!(retry_after(&headers), None);
        assert_eq!(clean("a\nb\u{1b}[31m"), "a b [31m");
        assert_eq!(clean(&"x".repeat(9999)).len(), LONGEST_MESSAGE_CHARS);
    }
}
