//! What a line says. Never a path or a query as they were sent: those can hold what must not be logged.

use chrono::{DateTime, Utc};
use ogel_proxy::AttemptLog;
use std::{net::IpAddr, time::Duration};

/// One request that is over.
pub struct Line<'a> {
    pub at: DateTime<Utc>,
    pub request_id: &'a str,
    pub trace_id: &'a str,
    pub client: IpAddr,
    /// The API key's or the user's id.
    pub caller: Option<&'a str>,
    pub method: &'a http::Method,
    /// The route's pattern.
    pub route: Option<&'a str>,
    pub status: u16,
    /// The code of our envelope.
    pub code: Option<&'static str>,
    pub took: Duration,
    /// Each attempt at an upstream.
    pub attempts: Option<&'a AttemptLog>,
}

/// The time in RFC 3339, written anew only when the second changes.
#[derive(Default)]
pub(super) struct Stamp {
    second: i64,
    text: String,
}

impl Stamp {
    fn append(&mut self, at: DateTime<Utc>, out: &mut Vec<u8>) {
        if self.second != at.timestamp() || self.text.is_empty() {
            self.second = at.timestamp();
            self.text = at.format("%Y-%m-%dT%H:%M:%S.").to_string();
        }
        out.extend_from_slice(self.text.as_bytes());
        let millis = at.timestamp_subsec_millis().min(999);
        out.extend([millis / 100, millis / 10 % 10, millis % 10].map(|digit| b'0' + u8::try_from(digit).unwrap_or(0)));
        out.push(b'Z');
    }
}

impl Line<'_> {
    pub(super) fn append(&self, out: &mut Vec<u8>, clock: &mut Stamp) {
        let mut number = itoa::Buffer::new();
        out.extend_from_slice(b"{\"time\":\"");
        clock.append(self.at, out);
        // Ids, patterns and codes are ours, a method is a token: none of them needs escaping.
        for (name, value) in [
            ("\",\"requestId\":\"", self.request_id),
            ("\",\"traceId\":\"", self.trace_id),
            ("\",\"caller\":\"", self.caller.unwrap_or("-")),
            ("\",\"method\":\"", self.method.as_str()),
            ("\",\"route\":\"", self.route.unwrap_or("-")),
            ("\",\"code\":\"", self.code.unwrap_or("-")),
        ] {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(value.as_bytes());
        }
        if let Some(attempts) = self.attempts.filter(|attempts| !attempts.is_empty()) {
            // Addresses as configured and words of ours.
            out.extend_from_slice(b"\",\"upstream\":\"");
            attempts.append_to(out);
        }
        out.extend_from_slice(b"\",\"client\":\"");
        append_address(self.client, out, &mut number);
        out.extend_from_slice(b"\",\"status\":");
        out.extend_from_slice(number.format(self.status).as_bytes());
        out.extend_from_slice(b",\"durationUs\":");
        out.extend_from_slice(number.format(u64::try_from(self.took.as_micros()).unwrap_or(u64::MAX)).as_bytes());
        out.extend_from_slice(b"}\n");
    }
}

fn append_address(address: IpAddr, out: &mut Vec<u8>, number: &mut itoa::Buffer) {
    match address {
        IpAddr::V4(v4) => {
            for (place, octet) in v4.octets().into_iter().enumerate() {
                if place > 0 {
                    out.push(b'.');
                }
                out.extend_from_slice(number.format(octet).as_bytes());
            }
        }
        IpAddr::V6(v6) => out.extend_from_slice(v6.to_string().as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_json_with_what_an_operator_looks_for() {
        let at = DateTime::from_timestamp_millis(1_795_500_000_007).unwrap();
        let line = Line {
            at,
            request_id: "req_1",
            trace_id: "4bf92f3577b34da6a3ce929d0e0e4736",
            client: "10.0.0.200".parse().unwrap(),
            caller: Some("key_1"),
            method: &http::Method::GET,
            route: Some("/api/v2/sites"),
            status: 502,
            code: Some("UPSTREAM_ERROR"),
            took: Duration::from_micros(1234),
            attempts: None,
        };
        let (mut out, mut clock) = (Vec::new(), Stamp::default());
        line.append(&mut out, &mut clock);
        line.append(&mut out, &mut clock);
        let first = out.split(|byte| *byte == b'\n').next().unwrap();
        let value: serde_json::Value = serde_json::from_slice(first).unwrap();
        assert_eq!(value["time"], "2026-11-24T06:00:00.007Z");
        assert_eq!((&value["client"], &value["status"]), (&"10.0.0.200".into(), &502.into()));
        assert_eq!((&value["durationUs"], &value["code"]), (&1234.into(), &"UPSTREAM_ERROR".into()));
    }
}
