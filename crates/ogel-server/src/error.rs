//! How a failure becomes an answer: handlers return [`Failure`], one layer of the pipeline renders it.
//!
//! The value travels in the response's extensions, because only the outermost layer knows the request's ids, and so
//! that it is logged once.

use axum::{
    body::Body,
    http::{HeaderValue, Response, header},
    response::IntoResponse,
};
use ogel_api::error::{Error, ErrorBody, ErrorCode, ErrorEnvelope, Source};
use ogel_ghost::GhostError;
use ogel_proxy::UpstreamError;
use ogel_store::StoreError;
use std::{sync::Arc, time::Duration};

/// What handlers return when they fail.
#[derive(Debug)]
pub struct Failure(pub Box<Error>);

/// What handlers return.
pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    pub fn new(code: ErrorCode, message: impl Into<std::borrow::Cow<'static, str>>) -> Self {
        Error::new(code, message).into()
    }

    /// 413.
    pub(crate) fn body_too_large(limit: u64) -> Self {
        let message = format!("the body is larger than the {limit} bytes this operation takes; send less");
        Self::new(ErrorCode::PayloadTooLarge, message)
    }

    pub fn code(&self) -> ErrorCode {
        self.0.code
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self(Box::new(error))
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let failure = match &error {
            StoreError::Unique { what } => {
                let thing = match *what {
                    "users.email" => "an account with this `email` exists already; log in instead",
                    "invitations.email" => {
                        "there is an open invitation for this `email` already; resend or revoke that one"
                    }
                    "organizations.slug" => "this `slug` is taken; choose another one",
                    "projects.slug" => "the organization has a project with this `slug` already; choose another one",
                    _ => "something like it exists already",
                };
                Error::new(ErrorCode::Conflict, thing)
            }
            StoreError::KeyLost => Error::new(
                ErrorCode::IdempotencyKeyInUse,
                "another request with this `Idempotency-Key` has taken this over; ask again in a moment",
            )
            .retry_after(Duration::from_secs(1)),
            StoreError::ForeignKey => Error::new(ErrorCode::Conflict, "what this refers to was removed meanwhile"),
            // Nothing was written. Only an operator can help, so clients should not hurry.
            StoreError::Full(_) => Error::new(
                ErrorCode::StorageFull,
                "the database's disk is full, so this was not done; its operator has to make room",
            )
            .retry_after(Duration::from_secs(60)),
            StoreError::Unavailable(_) => Error::new(
                ErrorCode::DatabaseUnavailable,
                "the database cannot take this right now; try again in a moment",
            )
            .retry_after(Duration::from_secs(2)),
            _ => Error::internal("database"),
        };
        failure.from_source(Source::Studio).caused_by(error).into()
    }
}

impl From<GhostError> for Failure {
    fn from(error: GhostError) -> Self {
        let message: std::borrow::Cow<'static, str> = match &error.public_message {
            Some(text) => text.clone().into(),
            None => ghost_sentence(error.code).into(),
        };
        let mut failure = Error::new(error.code, message).from_source(Source::Ghost);
        failure.retry_after = error.retry_after;
        failure.caused_by(error).into()
    }
}

/// Studio's backend did not answer as it should.
impl From<UpstreamError> for Failure {
    fn from(error: UpstreamError) -> Self {
        let mut failure = match &error {
            UpstreamError::RequestBody { source } => {
                if let Some(large) = error.request_body_too_large() {
                    return Self::body_too_large(large.limit);
                }
                let (code, message) = if source.is::<ogel_proxy::BodyStalled>() || is_stalled(&**source) {
                    (ErrorCode::RequestTimeout, "the rest of the body did not come; send it again")
                } else {
                    (ErrorCode::InvalidRequest, "the body ended before it was complete; send it again")
                };
                return Error::new(code, message).caused_by(error).into();
            }
            UpstreamError::Connect { .. }
            | UpstreamError::ConnectTimeout
            | UpstreamError::Reset { sent: false, .. } => {
                Error::new(ErrorCode::UpstreamUnavailable, "Studio's backend cannot be reached; try again in a moment")
            }
            UpstreamError::BreakerOpen { retry_after } => {
                let message = "Studio's backend has failed too often and is left alone for a moment; try again then";
                Error::new(ErrorCode::UpstreamUnavailable, message).retry_after(*retry_after)
            }
            UpstreamError::FirstByteTimeout | UpstreamError::BodyIdleTimeout | UpstreamError::Deadline { .. } => {
                Error::new(ErrorCode::UpstreamTimeout, "Studio's backend did not answer in time; try again in a moment")
            }
            UpstreamError::Tls { .. } => {
                Error::new(ErrorCode::UpstreamTls, "no secure connection to Studio's backend; the operators are told")
            }
            UpstreamError::Reset { .. } => Error::new(
                ErrorCode::UpstreamReset,
                "Studio's backend hung up before it had answered; look before you repeat",
            ),
            UpstreamError::Truncated { .. } => Error::new(
                ErrorCode::UpstreamTruncated,
                "the answer of Studio's backend was cut off; try again in a moment",
            ),
            UpstreamError::TooLarge { .. } => {
                Error::new(ErrorCode::UpstreamTooLarge, "the answer of Studio's backend is larger than is read")
            }
            _ => Error::new(ErrorCode::UpstreamInvalidResponse, "the answer of Studio's backend made no sense"),
        };
        if failure.code == ErrorCode::UpstreamUnavailable && failure.retry_after.is_none() {
            failure = failure.retry_after(Duration::from_secs(1));
        }
        failure.from_source(Source::Studio).caused_by(error).into()
    }
}

/// Whether it was our own watch over the client's body that gave up.
fn is_stalled(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source()).any(|error| error.is::<crate::pipeline::Stalled>())
}

/// What a caller is told when Ghost's own words are not safe to pass on.
fn ghost_sentence(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::NotFound => "the deployment backend knows nothing of this any more",
        ErrorCode::Conflict => "the deployment backend has this already",
        ErrorCode::ValidationFailed => "the deployment backend refused one of the values",
        ErrorCode::NotCancelable => "it is over, so there is nothing to cancel",
        ErrorCode::UpstreamAuth => "the deployment backend refused our own credential; the operators are told",
        ErrorCode::UpstreamBusy => "the deployment backend has too much to do; try again in a moment",
        ErrorCode::UpstreamUnavailable => "the deployment backend cannot be reached; try again in a moment",
        ErrorCode::UpstreamTimeout => "the deployment backend did not answer in time; try again in a moment",
        ErrorCode::UpstreamReset => "the deployment backend hung up before it had answered; try again in a moment",
        ErrorCode::UpstreamTls => "no secure connection to the deployment backend; the operators are told",
        ErrorCode::UpstreamTruncated => "the deployment backend's answer was cut off; try again in a moment",
        ErrorCode::UpstreamTooLarge => "the deployment backend's answer is larger than is read",
        ErrorCode::UpstreamEmpty => "the deployment backend answered with nothing; try again in a moment",
        ErrorCode::UpstreamInvalidResponse => "the deployment backend's answer made no sense; try again in a moment",
        _ => "the deployment backend failed; try again in a moment",
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response<Body> {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.0.code.status();
        if let Some(wait) = self.0.retry_after {
            let seconds = wait.as_millis().div_ceil(1000).max(1);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds as u64));
        }
        response.extensions_mut().insert(Arc::new(*self.0));
        response
    }
}

/// Fills the envelope of a response that carries a failure. Called by the outermost layer, which knows the ids.
pub(crate) fn render(response: &mut Response<Body>, error: &Error, request_id: &str, trace_id: &str) {
    let envelope = ErrorEnvelope {
        error: ErrorBody {
            code: error.code.as_str().into(),
            message: error.message.clone(),
            details: error.details.clone(),
            request_id: request_id.to_owned(),
            trace_id: trace_id.to_owned(),
            retryable: error.code.retryable(),
            source: error.source,
        },
    };
    let body = serde_json::to_vec(&envelope).expect("an envelope holds only strings, booleans and lists");
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    *response.body_mut() = Body::from(body);
}
