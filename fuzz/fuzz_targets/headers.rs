//! Whatever headers come, only listed ones pass, and never one that belongs to the connection.
#![no_main]

use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use ogel_proxy::HeaderRules;

const LISTED: &[&str] = &["accept", "content-type", "etag", "x-trace", "te", "connection", "upgrade"];

fuzz_target!(|data: &[u8]| {
    let mut from = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (HeaderName::from_bytes(&line[..colon]), HeaderValue::from_bytes(&line[colon + 1..]));
        if let (Ok(name), Ok(value)) = (name, value) {
            from.append(name, value);
        }
    }
    let mut to = HeaderMap::new();
    HeaderRules::new(LISTED).copy(&from, &mut to);
    let bound: Vec<Vec<u8>> = from
        .get_all("connection")
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(|token| token.trim_ascii().to_ascii_lowercase())
        .collect();
    for name in to.keys() {
        assert!(LISTED.contains(&name.as_str()), "{name}");
        assert!(!["te", "connection", "upgrade"].contains(&name.as_str()), "{name}");
        assert!(!bound.iter().any(|token| token == name.as_str().as_bytes()), "{name} is bound to the connection");
    }
});
