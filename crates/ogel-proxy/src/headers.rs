//! Which headers pass from one side to the other: those on a list, and no others. A list of what is forbidden would
//! miss the next header an upstream trusts. Hop-by-hop and framing headers never pass, even when a list names them, nor
//! what `Connection` names. Next: the lists themselves, which belong to whoever knows the two sides.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use std::sync::Arc;

/// Headers that belong to one connection (RFC 9110 7.6.1), and those that frame or address the message: who sends it
/// writes those.
const NEVER: &[&str] = &[
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What a trailer may not say, because it had to be known before the body (RFC 9110 6.5.1).
const NEVER_IN_TRAILERS: &[&str] = &[
    "authorization",
    "cache-control",
    "content-encoding",
    "content-range",
    "content-type",
    "cookie",
    "set-cookie",
    "www-authenticate",
];

/// Of a name that can be on a list.
const LONGEST: usize = 48;

/// An allow-list of header names; a clone is a reference count.
#[derive(Clone, Debug)]
pub struct HeaderRules(Arc<Allowed>);

/// The names by their length: most miss by that alone.
#[derive(Debug)]
struct Allowed {
    names: Vec<&'static str>,
    /// Where those of a length begin.
    starts: [u8; LONGEST + 2],
}

impl Allowed {
    fn new(mut names: Vec<&'static str>) -> Self {
        names.sort_unstable_by_key(|name| name.len());
        debug_assert!(names.len() <= usize::from(u8::MAX), "a list is short");
        let before = |length: usize| names.iter().take_while(|name| name.len() < length).count() as u8;
        Self { starts: std::array::from_fn(before), names }
    }

    fn of_length(&self, length: usize) -> &[&'static str] {
        match self.starts.get(length..length + 2) {
            Some(&[from, to]) => &self.names[usize::from(from)..usize::from(to)],
            _ => &[],
        }
    }
}

impl HeaderRules {
    /// Names are lower case and at most 48 bytes; one that never passes is left out of the list.
    pub fn new(allowed: &[&'static str]) -> Self {
        let allowed: Vec<_> = allowed.iter().copied().filter(|name| !NEVER.contains(name)).collect();
        debug_assert!(allowed.iter().all(|name| !name.bytes().any(|b| b.is_ascii_uppercase())), "names are lower case");
        debug_assert!(allowed.iter().all(|name| name.len() <= LONGEST), "names are short");
        Self(Arc::new(Allowed::new(allowed)))
    }

    /// Whether a header of this name may pass.
    pub fn allows(&self, name: &HeaderName) -> bool {
        self.allows_str(name.as_str())
    }

    /// The same for a name as it stands on the wire, in capitals or not.
    pub(crate) fn allows_raw(&self, name: &[u8]) -> bool {
        self.0.of_length(name.len()).iter().any(|allowed| allowed.as_bytes().eq_ignore_ascii_case(name))
    }

    fn allows_str(&self, name: &str) -> bool {
        self.0.of_length(name.len()).contains(&name)
    }

    /// Adds to `to` what `from` has on the list, repeated headers in their order. One pass, nothing allocated but what
    /// `to` needs.
    pub fn copy(&self, from: &HeaderMap, to: &mut HeaderMap) {
        self.each(from, |name, value| {
            to.append(name, value.clone());
        });
    }

    /// Shows what [`Self::copy`] copies.
    pub(crate) fn each<'a>(&self, from: &'a HeaderMap, mut show: impl FnMut(&'a HeaderName, &'a HeaderValue)) {
        let names_headers = from.contains_key(header::CONNECTION) && tokens(from, header::CONNECTION).any(is_a_name);
        for (name, value) in from {
            if self.allows(name) && !(names_headers && has_token(from, header::CONNECTION, name.as_str())) {
                show(name, value);
            }
        }
    }

    /// Without these names.
    pub(crate) fn without(&self, names: &[HeaderName]) -> Self {
        let stays = |allowed: &&'static str| names.iter().all(|name| name.as_str() != *allowed);
        Self(Arc::new(Allowed::new(self.0.names.iter().copied().filter(stays).collect())))
    }

    /// Takes out of `trailers` what does not belong there, and what is not on the list.
    pub(crate) fn retain_trailers(rules: Option<&Self>, trailers: &mut HeaderMap) {
        let stays = |name: &str| may_trail(name) && rules.is_none_or(|rules| rules.allows_str(name));
        if trailers.keys().all(|name| stays(name.as_str())) {
            return;
        }
        let all = std::mem::take(trailers);
        for (name, value) in &all {
            if stays(name.as_str()) {
                trailers.append(name, value.clone());
            }
        }
    }

    /// What of the `Trailer` header of `from` may be announced onwards.
    pub(crate) fn announced(&self, from: &HeaderMap) -> Option<HeaderValue> {
        if !from.contains_key(header::TRAILER) {
            return None;
        }
        let mut names = String::new();
        for name in tokens(from, header::TRAILER).filter_map(|name| std::str::from_utf8(name).ok()) {
            let name = name.to_ascii_lowercase();
            if may_trail(&name) && self.allows_str(&name) {
                names.push_str(if names.is_empty() { "" } else { ", " });
                names.push_str(&name);
            }
        }
        if names.is_empty() { None } else { HeaderValue::try_from(names).ok() }
    }
}

pub(crate) fn may_trail(name: &str) -> bool {
    !NEVER.contains(&name) && !NEVER_IN_TRAILERS.contains(&name)
}

/// The elements of a header that is a list.
fn tokens(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &[u8]> {
    headers.get_all(name).into_iter().flat_map(|value| value.as_bytes().split(|b| *b == b',')).map(<[u8]>::trim_ascii)
}

pub(crate) fn has_token(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    tokens(headers, name).any(|found| found.eq_ignore_ascii_case(token.as_bytes()))
}

/// Whether an element of `Connection` names a header that would otherwise pass.
pub(crate) fn is_a_name(token: &[u8]) -> bool {
    ![&b"keep-alive"[..], b"close", b"upgrade", b"te"].iter().any(|known| token.eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn map(headers: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        map
    }

    #[test]
    fn only_listed_headers_pass_and_repeats_keep_their_order() {
        let rules = HeaderRules::new(&["content-type", "accept", "link"]);
        let from = map(&[("accept", "a"), ("cookie", "secret"), ("link", "1"), ("x-appwrite-key", "k"), ("link", "2")]);
        let mut to = map(&[("host", "ours")]);
        rules.copy(&from, &mut to);
        assert_eq!(to, map(&[("host", "ours"), ("accept", "a"), ("link", "1"), ("link", "2")]));
    }

    #[test]
    fn a_name_on_the_wire_is_the_same_in_capitals() {
        let rules = HeaderRules::new(&["etag", "link", "content-type", "connection"]);
        for (name, allowed) in
            [("ETag", true), ("LINK", true), ("content-Type", true), ("Connection", false), ("", false)]
        {
            assert_eq!(rules.allows_raw(name.as_bytes()), allowed, "{name}");
        }
        assert!(!rules.allows_raw(&[b'x'; 1000]));
    }

    #[test]
    fn hop_by_hop_headers_never_pass_even_when_listed() {
        let rules = HeaderRules::new(&["connection", "transfer-encoding", "te", "upgrade", "accept"]);
        let from = map(&[("connection", "keep-alive"), ("transfer-encoding", "chunked"), ("te", "x"), ("accept", "a")]);
        let mut to = HeaderMap::new();
        rules.copy(&from, &mut to);
        assert_eq!(to, map(&[("accept", "a")]));
    }

    #[test]
    fn a_header_that_connection_names_stays_behind() {
        let rules = HeaderRules::new(&["accept", "etag"]);
        let mut to = HeaderMap::new();
        rules.copy(&map(&[("connection", "close, ETag"), ("etag", "1"), ("accept", "a")]), &mut to);
        assert_eq!(to, map(&[("accept", "a")]));
    }
}
