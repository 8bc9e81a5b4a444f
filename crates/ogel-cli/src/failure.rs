//! How a command ends when it does not succeed: an exit code, a sentence, the next step.

use crate::plain;
use http::StatusCode;
use ogel_api::error::{ErrorBody, ErrorEnvelope};
use ogel_client::ClientError;
use serde_json::{Value, json};
use std::{fmt::Write as _, process::ExitCode};

/// The exit codes, which scripts rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Done = 0,
    /// The operation itself failed: the build failed or was canceled, the server refused.
    Failed = 1,
    Usage = 2,
    NotFound = 3,
    NotLoggedIn = 4,
    NotAllowed = 5,
    RateLimited = 6,
    /// The server cannot be reached, or one that it needs.
    Unavailable = 7,
    TimedOut = 124,
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    /// For programs, in the manner of the API's codes.
    code: String,
    pub(crate) message: String,
    /// What else is known, each a line or more.
    details: Vec<String>,
    hint: Option<String>,
    /// The API's own words, if it was the API that failed.
    body: Option<Box<ErrorBody>>,
    retryable: bool,
    /// JSON that says it was written already.
    pub(crate) reported: bool,
}

impl Failure {
    pub(crate) fn new(exit: Exit, code: &str, message: impl Into<String>) -> Self {
        Self {
            exit,
            code: code.to_owned(),
            message: message.into(),
            details: Vec::new(),
            hint: None,
            body: None,
            retryable: false,
            reported: false,
        }
    }

    /// Wrong arguments.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, "USAGE", message)
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.details.push(detail.into());
        self
    }

    /// stdout has its JSON already.
    pub(crate) fn reported(mut self) -> Self {
        self.reported = true;
        self
    }

    pub(crate) fn from_call(error: ClientError, hint: Option<String>) -> Self {
        let retryable = error.is_retryable();
        let mut failure = Self::new(exit_of(&error), code_of(&error), error.to_string());
        failure.retryable = retryable;
        failure.hint = hint;
        match error {
            ClientError::Api { body, .. } => {
                failure.details = body
                    .details
                    .iter()
                    .filter(|detail| detail.message != body.message)
                    .map(|detail| match &detail.fix {
                        Some(fix) => format!("{}: {}; {fix}", detail.location, detail.message),
                        None => format!("{}: {}", detail.location, detail.message),
                    })
                    .collect();
                failure.body = Some(body);
            }
            ClientError::Decode { excerpt, .. } if !excerpt.is_empty() => failure.details.push(excerpt),
            _ => {}
        }
        failure
    }

    /// `{"error":…}`, the API's own if there is one.
    pub(crate) fn envelope(&self) -> Value {
        if let Some(body) = &self.body
            && let Ok(value) = serde_json::to_value(ErrorEnvelope { error: (**body).clone() })
        {
            return value;
        }
        let mut error = json!({"code": self.code, "message": self.message, "retryable": self.retryable});
        if let Some(hint) = &self.hint {
            error["hint"] = json!(hint);
        }
        json!({ "error": error })
    }

    /// For a person.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("\x1b[1;31merror\x1b[0m: {}", plain::line(&self.message));
        for line in self.details.iter().flat_map(|detail| detail.lines()) {
            // Writing to a string cannot fail, here and below.
            let _ = write!(text, "\n  {}", plain::line(line));
        }
        if let Some(hint) = &self.hint {
            let _ = write!(text, "\n\n\x1b[1;36mhint\x1b[0m: {hint}");
        }
        if let Some(body) = &self.body
            && !body.request_id.is_empty()
            && self.is_ours()
        {
            let _ = write!(text, "\n\nrequest id: {}", plain::line(&body.request_id));
        }
        text
    }

    /// A fault of the platform, which someone may have to look up.
    fn is_ours(&self) -> bool {
        self.exit == Exit::Unavailable || (self.retryable && self.exit == Exit::Failed)
    }
}

fn exit_of(error: &ClientError) -> Exit {
    match error {
        ClientError::Api { status, .. } | ClientError::Decode { status, .. } => exit_of_status(*status),
        ClientError::Connect { .. } | ClientError::Timeout { .. } | ClientError::StreamLost { .. } => Exit::Unavailable,
        ClientError::InvalidUrl { .. } | ClientError::InvalidToken => Exit::Usage,
        _ => Exit::Failed,
    }
}

fn exit_of_status(status: StatusCode) -> Exit {
    match status.as_u16() {
        400 | 405 | 413 | 415 | 422 => Exit::Usage,
        401 => Exit::NotLoggedIn,
        402 | 403 => Exit::NotAllowed,
        404 => Exit::NotFound,
        429 => Exit::RateLimited,
        502..=504 | 507 => Exit::Unavailable,
        _ => Exit::Failed,
    }
}

fn code_of(error: &ClientError) -> &str {
    match error {
        ClientError::Api { body, .. } => &body.code,
        ClientError::Connect { .. } => "CONNECTION_FAILED",
        ClientError::Timeout { .. } => "NO_ANSWER",
        ClientError::Decode { .. } => "UNEXPECTED_ANSWER",
        ClientError::StreamLost { .. } => "STREAM_LOST",
        ClientError::InvalidUrl { .. } => "INVALID_URL",
        ClientError::InvalidToken => "INVALID_TOKEN",
        _ => "SYSTEM",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ogel_api::error::ErrorCode;

    #[test]
    fn every_code_of_the_api_has_the_exit_code_of_its_kind() {
        for code in ErrorCode::ALL {
            let exit = exit_of_status(code.status());
            let expected = match code {
                ErrorCode::NotFound | ErrorCode::RouteNotFound => Exit::NotFound,
                ErrorCode::RateLimited => Exit::RateLimited,
                ErrorCode::Internal => Exit::Failed,
                code if code.status() == StatusCode::UNAUTHORIZED => Exit::NotLoggedIn,
                code if code.status() == StatusCode::CONFLICT => Exit::Failed,
                code if code.status().is_server_error() => Exit::Unavailable,
                _ => exit,
            };
            assert_eq!(exit, expected, "{code}");
            assert_ne!(exit, Exit::Done, "{code}");
        }
    }
}
