//! The headers that every answer has, whatever answered: its id, what is left of the caller's limit, where the time went.
//!
//! They stay numbers until the answer is written: HTTP/1.1 has them as text behind the others, HTTP/2 puts them among the
//! others. Nothing else may set them, so none is there twice. Next: `finish.rs`, which makes the stamp.

use crate::{header_text::HeaderText, limits::Verdict};
use arrayvec::ArrayString;
use http::{HeaderName, header};
use std::time::Duration;

static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
static X_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
static X_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
static X_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
static POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
static LIMIT: HeaderName = HeaderName::from_static("ratelimit");
static SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// Whether a header says the same in answer after answer. HTTP/2 keeps what it sent in a table, to send a number the next
/// time; values that never come again would only push out of it those that do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value {
    Usual,
    EverNew,
}

pub(crate) struct Stamp {
    pub(super) request_id: ArrayString<32>,
    /// And when the request came, in Unix milliseconds.
    pub(super) limit: Option<(Verdict, u64)>,
    pub(super) timing: Option<ServerTiming>,
}

/// How long each part took; what did not take place is not told.
#[derive(Clone, Copy)]
pub(super) struct ServerTiming {
    pub auth: Option<Duration>,
    pub work: Option<Duration>,
    pub upstream: Duration,
    pub total: Duration,
}

impl Stamp {
    /// Shows each header: its name, and its value as text that `put` takes from there.
    pub(crate) fn each(&self, mut put: impl FnMut(&HeaderName, &mut HeaderText, Value)) {
        let text = &mut HeaderText::default();
        put(&REQUEST_ID, text.add(&self.request_id), Value::EverNew);
        // Browsers must not guess that an answer is something to run or to frame.
        put(&header::X_CONTENT_TYPE_OPTIONS, text.add("nosniff"), Value::Usual);
        if let Some((verdict, now_ms)) = &self.limit {
            limit(verdict, *now_ms, text, &mut put);
        }
        if let Some(timing) = &self.timing {
            put(&SERVER_TIMING, timing.add_to(text), Value::EverNew);
        }
    }
}

/// Both families: `X-RateLimit-*` (`Reset` in Unix seconds) and the IETF draft's fields. Who is refused is told when to come
/// back by the refusal.
fn limit(
    verdict: &Verdict,
    now_ms: u64,
    text: &mut HeaderText,
    mut put: impl FnMut(&HeaderName, &mut HeaderText, Value),
) {
    let (decision, name) = (&verdict.decision, verdict.policy.as_str());
    let (limit, remaining, reset) = (decision.limit, decision.remaining, verdict.reset_seconds());
    put(&X_LIMIT, text.number(limit), Value::Usual);
    put(&X_REMAINING, text.number(remaining), Value::EverNew);
    put(&X_RESET, text.number((now_ms + decision.reset_ms).div_ceil(1000)), Value::EverNew);
    let policy = text.add("\"").add(name).add("\";q=").number(limit).add(";w=").number(verdict.window_seconds);
    put(&POLICY, policy, Value::Usual);
    let left = text.add("\"").add(name).add("\";r=").number(remaining).add(";t=").number(reset);
    put(&LIMIT, left, Value::EverNew);
}

impl ServerTiming {
    /// `auth;dur=0.012, work;dur=1.402, upstream;dur=1.200, total;dur=1.431`, in milliseconds.
    fn add_to<'a>(&self, text: &'a mut HeaderText) -> &'a mut HeaderText {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let upstream = Some(self.upstream).filter(|time| *time > Duration::ZERO);
        for (name, time) in [("auth;dur=", self.auth), ("work;dur=", self.work), ("upstream;dur=", upstream)] {
            if let Some(time) = time {
                text.add(name).millis(micros(time)).add(", ");
            }
        }
        text.add("total;dur=").millis(micros(self.total))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{Policy, Window};

    fn headers(stamp: &Stamp) -> Vec<(String, String)> {
        let mut headers = Vec::new();
        stamp.each(|name, text, _| {
            headers.push((name.to_string(), text.value().to_str().unwrap().to_owned()));
        });
        headers
    }

    fn stamp(limit: Option<(Verdict, u64)>, timing: Option<ServerTiming>) -> Stamp {
        Stamp { request_id: ArrayString::from("req_1").unwrap(), limit, timing }
    }

    #[test]
    fn the_headers_say_limit_rest_and_time() {
        let decision = Window::default().take(14_000, 10_000, 2);
        let verdict = Verdict { policy: Policy::Calls, decision, window_seconds: 10 };
        let expected = [
            ("x-request-id", "req_1"),
            ("x-content-type-options", "nosniff"),
            ("x-ratelimit-limit", "2"),
            ("x-ratelimit-remaining", "1"),
            ("x-ratelimit-reset", "20"),
            ("ratelimit-policy", "\"calls\";q=2;w=10"),
            ("ratelimit", "\"calls\";r=1;t=6"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(headers(&stamp(Some((verdict, 14_000)), None)), expected);
        assert_eq!(headers(&stamp(None, None)), expected[..2]);
    }

    #[test]
    fn the_time_is_told_of_what_took_place() {
        let [auth, work, total] = [12, 1402, 1431].map(Duration::from_micros);
        let told = |timing| headers(&stamp(None, Some(timing))).pop().unwrap().1;
        let all = ServerTiming { auth: Some(auth), work: Some(work), upstream: Duration::from_micros(1200), total };
        assert_eq!(told(all), "auth;dur=0.012, work;dur=1.402, upstream;dur=1.200, total;dur=1.431");
        let refused = ServerTiming { auth: None, work: None, upstream: Duration::ZERO, total };
        assert_eq!(told(refused), "total;dur=1.431");
    }
}
