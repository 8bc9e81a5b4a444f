//! Ids of a request: its own, and the trace it belongs to (W3C Trace Context, level 1).

use crate::{traces::Traces, world::Entropy};
use arrayvec::ArrayString;
use chrono::{DateTime, Utc};
use http::{HeaderMap, HeaderName, HeaderValue};
use ogel_api::id::RequestId;

static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Ids as text, made once per request and without the heap.
#[derive(Clone)]
pub(crate) struct Ids {
    /// `req_` and 26 characters.
    pub request: ArrayString<32>,
    /// What is sent upstream: version, trace, our span, flags.
    pub traceparent: ArrayString<55>,
}

impl Ids {
    /// `entropy` is the thread's own: these ids need to be distinct, not secret.
    /// Where traces are exported, they say which of those that begin here are.
    pub(crate) fn new(headers: &HeaderMap, now: DateTime<Utc>, entropy: &Entropy, traces: Option<&Traces>) -> Self {
        let (mut request, mut traceparent) = (ArrayString::new(), ArrayString::new());
        let millis = now.timestamp_millis().max(0).unsigned_abs();
        let random = (u128::from(entropy.next()) << 64 | u128::from(entropy.next())).to_be_bytes();
        let [.., a, b, c, d, e, f, g, h, i, j] = random;
        let uuid = uuid::Builder::from_unix_timestamp_millis(millis, &[a, b, c, d, e, f, g, h, i, j]).into_uuid();
        request.push_str(std::str::from_utf8(&RequestId(uuid).to_text()).unwrap_or_default());
        let parent = headers.get(&TRACEPARENT).and_then(parse);
        traceparent.push_str("00-");
        let flags = match parent {
            Some(parent) => {
                traceparent.push_str(parent.trace);
                parent.flags
            }
            None => {
                let (high, low) = (entropy.next(), entropy.next() | 1);
                push_hex(&mut traceparent, &(u128::from(high) << 64 | u128::from(low)).to_be_bytes());
                if traces.is_none_or(|traces| traces.wants(low)) { "01" } else { "00" }
            }
        };
        traceparent.push('-');
        push_hex(&mut traceparent, &(entropy.next() | 1).to_be_bytes());
        traceparent.push('-');
        traceparent.push_str(flags);
        Self { request, traceparent }
    }

    /// 32 hexadecimal digits.
    pub(crate) fn trace(&self) -> &str {
        &self.traceparent[3..35]
    }

    /// The last flag.
    pub(crate) fn is_sampled(&self) -> bool {
        self.traceparent.ends_with(['1', '3', '5', '7', '9', 'b', 'd', 'f'])
    }
}

fn push_hex<const N: usize>(text: &mut ArrayString<N>, bytes: &[u8]) {
    let mut digits = [0; 32];
    let digits = &mut digits[..2 * bytes.len()];
    // Two for each byte, which is what there is room for.
    let _ = hex::encode_to_slice(bytes, digits);
    text.push_str(std::str::from_utf8(digits).unwrap_or_default());
}

/// The caller's span.
pub(crate) fn parent_of(headers: &HeaderMap) -> Option<&str> {
    headers.get(&TRACEPARENT).and_then(parse).map(|parent| parent.span)
}

/// A valid `traceparent`.
#[derive(Clone, Copy)]
struct Parent<'a> {
    trace: &'a str,
    span: &'a str,
    flags: &'a str,
}

fn parse(value: &HeaderValue) -> Option<Parent<'_>> {
    let mut parts = value.to_str().ok()?.split('-');
    let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_hex = |text: &str, length| {
        text.len() == length && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let valid = is_hex(version, 2)
        && version != "ff"
        && is_hex(trace, 32)
        && is_hex(parent, 16)
        && is_hex(flags, 2)
        && trace.bytes().any(|b| b != b'0')
        && parent.bytes().any(|b| b != b'0');
    valid.then_some(Parent { trace, span: parent, flags })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(traceparent: Option<&str>) -> Ids {
        let mut headers = HeaderMap::new();
        if let Some(value) = traceparent {
            headers.insert("traceparent", value.parse().unwrap());
        }
        Ids::new(&headers, DateTime::UNIX_EPOCH, &Entropy::seeded(7), None)
    }

    #[test]
    fn a_valid_trace_is_carried_on_under_a_span_of_ours() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let followed = ids(Some(&format!("00-{trace}-00f067aa0ba902b7-00")));
        assert_eq!(followed.trace(), trace);
        assert!(!followed.is_sampled() && ids(None).is_sampled());
        assert!(followed.traceparent.ends_with("-00") && !followed.traceparent.contains("00f067aa0ba902b7"));
        assert!(followed.request.starts_with("req_") && followed.request.len() == 30);
    }

    #[test]
    fn what_is_no_trace_starts_a_new_one() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let zeros = "0".repeat(32);
        for bad in [
            String::new(),
            "00".to_owned(),
            "00-xyz-00f067aa0ba902b7-01".to_owned(),
            format!("ff-{trace}-00f067aa0ba902b7-01"),
            format!("00-{zeros}-00f067aa0ba902b7-01"),
            format!("00-{trace}-0000000000000000-01"),
        ] {
            let made = ids(Some(&bad));
            assert!(made.trace() != trace && made.trace() != zeros, "{bad}");
            assert!(parse(&HeaderValue::from_str(&made.traceparent).unwrap()).is_some());
        }
    }
}
