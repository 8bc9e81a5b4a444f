//! How long a request may take to begin its answer: the server's default, or what its `X-Request-Timeout` asks for.

use crate::{
    error::{Failure, Result},
    settings::Settings,
};
use http::{HeaderName, Request};
use http_body::Body;
use ogel_api::error::ErrorCode;
use std::time::Duration;

static HEADER: HeaderName = HeaderName::from_static("x-request-timeout");

/// Errors: a header that is no time.
pub(crate) fn time_allowed<B: Body>(request: &Request<B>, settings: &Settings, forwarded: bool) -> Result<Duration> {
    let server = &settings.server;
    let Some(value) = request.headers().get(&HEADER) else {
        // An upload takes as long as it takes, so long as it moves: each piece is watched.
        if forwarded && request.body().size_hint().upper().is_none_or(|size| size > server.max_body_bytes) {
            return Ok(Duration::from_secs(settings.studio.upload_seconds.max(1)));
        }
        return Ok(Duration::from_secs(server.request_timeout_seconds.max(1)));
    };
    let asked = value.to_str().ok().and_then(parse).ok_or_else(|| {
        Failure::new(ErrorCode::InvalidValue, "`X-Request-Timeout` takes seconds such as `5`, or `1500ms`")
    })?;
    Ok(asked.min(Duration::from_secs(server.max_request_timeout_seconds.max(1))))
}

fn parse(text: &str) -> Option<Duration> {
    let text = text.trim();
    let (digits, unit) = match text.strip_suffix("ms") {
        Some(digits) => (digits, 1),
        None => (text.strip_suffix('s').unwrap_or(text), 1000),
    };
    let amount: u64 = digits.parse().ok().filter(|_| digits.len() <= 9)?;
    (amount > 0).then(|| Duration::from_millis(amount * unit))
}

/// What a request gets that ran out of time.
pub(crate) fn exceeded(allowed: Duration) -> Failure {
    let message = format!(
        "this took longer than {} ms; what it began goes on, so look before you repeat it",
        allowed.as_millis()
    );
    Failure::new(ErrorCode::DeadlineExceeded, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_or_milliseconds() {
        assert_eq!(parse("5"), Some(Duration::from_secs(5)));
        assert_eq!(parse("5s"), Some(Duration::from_secs(5)));
        assert_eq!(parse(" 1500ms "), Some(Duration::from_millis(1500)));
        for bad in ["", "0", "-1", "1.5", "5m", "ms", "99999999999"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
