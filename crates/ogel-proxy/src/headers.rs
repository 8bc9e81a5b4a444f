//! Which headers pass from one side to the other: those on a list, and no others. A list of what is forbidden would
//! miss the next header an upstream trusts. Hop-by-hop headers never pass, even when a list names them, nor what
//! `Connection` names. Next: the lists themselves, which belong to whoever knows the two sides.

use http::{HeaderMap, HeaderName, header};

/// Headers that belong to one connection (RFC 9110 7.6.1), and those that frame or authenticate it.
const HOP_BY_HOP: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];

/// An allow-list of header names.
#[derive(Clone, Debug)]
pub struct HeaderRules {
    /// Sorted by length, then bytes: most names miss by their length alone.
    allowed: Box<[&'static str]>,
}

impl HeaderRules {
    /// Names are lower case; a hop-by-hop name is left out of the list.
    pub fn new(allowed: &[&'static str]) -> Self {
        let mut allowed: Vec<_> = allowed.iter().copied().filter(|name| !HOP_BY_HOP.contains(name)).collect();
        debug_assert!(allowed.iter().all(|name| !name.bytes().any(|b| b.is_ascii_uppercase())), "names are lower case");
        allowed.sort_unstable_by_key(|name| (name.len(), *name));
        Self { allowed: allowed.into() }
    }

    /// Whether a header of this name may pass.
    pub fn allows(&self, name: &HeaderName) -> bool {
        let name = name.as_str();
        self.allowed.binary_search_by_key(&(name.len(), name), |allowed| (allowed.len(), *allowed)).is_ok()
    }

    /// Adds to `to` what `from` has on the list, repeated headers in their order.
    pub fn copy(&self, from: &HeaderMap, to: &mut HeaderMap) {
        let is_connection_bound = |name: &HeaderName| {
            from.get_all(header::CONNECTION).iter().any(|value| {
                value
                    .as_bytes()
                    .split(|b| *b == b',')
                    .any(|named| named.trim_ascii().eq_ignore_ascii_case(name.as_ref()))
            })
        };
        for (name, value) in from {
            if self.allows(name) && !is_connection_bound(name) {
                to.append(name, value.clone());
            }
        }
    }
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
