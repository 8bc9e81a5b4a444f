//! Paths that mean one thing only: what comes in is refused unless every reader of it would see the same segments, and
//! what goes out is built from segments. Nothing is repaired: a path that has to be cleaned up was an attack or a bug,
//! and two programs that clean differently are how `..` gets past the one that checks.
//! Next: `upstream.rs`, which sends to what [`join`] built.

use bytes::Bytes;
use http::uri::{self, PathAndQuery, Uri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use std::borrow::Cow;

/// Everything but RFC 3986's unreserved characters.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Of a path and query that is built here.
const LONGEST: usize = 32 << 10;

/// Why a path was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UriError {
    #[error("the path does not begin with `/`")]
    NotAbsolute,
    #[error("the path has a `.` or `..` segment")]
    DotSegment,
    #[error("the path has an empty segment")]
    EmptySegment,
    #[error("the path has an escaped slash")]
    EscapedSlash,
    #[error("the path has a backslash")]
    Backslash,
    #[error("the path has a `;`")]
    Semicolon,
    #[error("the path has a control character")]
    Control,
    #[error("the path has a `%` that begins no escape")]
    BadEscape,
    #[error("the path is escaped twice")]
    DoubleEscape,
    #[error("the path is not UTF-8")]
    NotUtf8,
    #[error("the path has a query or a fragment in it")]
    Delimiter,
    #[error("the base has no scheme and host")]
    NoHost,
    #[error("the result is no URI, or too long for one")]
    Unbuildable,
}

/// A path that was checked. Borrowed from the request, so checking costs no allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CanonicalPath<'a>(&'a str);

impl<'a> CanonicalPath<'a> {
    /// The path as it was sent.
    pub fn as_str(self) -> &'a str {
        self.0
    }

    /// The segments, decoded; the last one is empty when the path ends in `/`.
    pub fn segments(self) -> impl Iterator<Item = Cow<'a, str>> {
        // `canonical_path` has seen that every segment decodes, so nothing is replaced here.
        self.0[1..].split('/').map(|segment| percent_decode_str(segment).decode_utf8_lossy())
    }
}

/// Checks the path of a request (without its query). Errors name the first thing that is wrong.
pub fn canonical_path(raw: &str) -> Result<CanonicalPath<'_>, UriError> {
    if is_plainly_canonical(raw.as_bytes()) {
        return Ok(CanonicalPath(raw));
    }
    let rest = raw.strip_prefix('/').ok_or(UriError::NotAbsolute)?;
    let mut segments = rest.split('/').peekable();
    while let Some(segment) = segments.next() {
        // One trailing slash is another path, not an ambiguous one; the router decides whether it exists.
        if segment.is_empty() && segments.peek().is_some() {
            return Err(UriError::EmptySegment);
        }
        check_segment(segment)?;
    }
    Ok(CanonicalPath(raw))
}

/// Whether one look at each byte is enough: letters, digits, `-`, `_`, `~`, dots inside of names, single slashes. What is
/// not plain is looked at properly, not refused.
fn is_plainly_canonical(raw: &[u8]) -> bool {
    let mut before = 0;
    let plain = raw.iter().all(|byte| {
        let fits = match byte {
            b'/' | b'.' => before != b'/',
            byte => byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~'),
        };
        before = *byte;
        fits
    });
    plain && raw.first() == Some(&b'/')
}

fn check_segment(segment: &str) -> Result<(), UriError> {
    let decoded = if segment.contains('%') {
        check_escapes(segment.as_bytes())?;
        percent_decode_str(segment).decode_utf8().map_err(|_| UriError::NotUtf8)?
    } else {
        Cow::Borrowed(segment)
    };
    if segment.contains(['?', '#']) {
        return Err(UriError::Delimiter);
    }
    if decoded == "." || decoded == ".." {
        return Err(UriError::DotSegment);
    }
    for character in decoded.chars() {
        match character {
            '/' => return Err(UriError::EscapedSlash),
            '\\' => return Err(UriError::Backslash),
            ';' => return Err(UriError::Semicolon),
            character if character.is_control() => return Err(UriError::Control),
            _ => {}
        }
    }
    Ok(())
}

fn check_escapes(bytes: &[u8]) -> Result<(), UriError> {
    let is_hex = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_hexdigit);
    for at in (0..bytes.len()).filter(|at| bytes[*at] == b'%') {
        if !is_hex(at + 1) || !is_hex(at + 2) {
            return Err(UriError::BadEscape);
        }
        // `%252e` is `%2e` to us and `.` to a program that decodes once more.
        if &bytes[at + 1..at + 3] == b"25" && is_hex(at + 3) && is_hex(at + 4) {
            return Err(UriError::DoubleEscape);
        }
    }
    Ok(())
}

/// Builds `base` + `/segment/segment?name=value`. Each segment, name and value is escaped, so that no value can reach
/// another path than the one meant. Errors: an empty, `.` or `..` segment, a base without a host.
pub fn join(base: &Uri, segments: &[&str], query: &[(&str, &str)]) -> Result<Uri, UriError> {
    let (scheme, authority) = base.scheme().zip(base.authority()).ok_or(UriError::NoHost)?;
    let target = target(base, segments, query)?;
    // From parts that are URIs already, so that only the new one is parsed and nothing is copied.
    let mut parts = uri::Parts::default();
    parts.scheme = Some(scheme.clone());
    parts.authority = Some(authority.clone());
    parts.path_and_query =
        Some(PathAndQuery::from_maybe_shared(Bytes::from(target)).map_err(|_| UriError::Unbuildable)?);
    Uri::from_parts(parts).map_err(|_| UriError::Unbuildable)
}

/// The path and query of [`join`], for a request that needs no more. It is made of a path that was read before and of
/// letters that stand for themselves, so that nobody has to read it again.
pub fn target(base: &Uri, segments: &[&str], query: &[(&str, &str)]) -> Result<String, UriError> {
    let mut target = String::with_capacity(base.path().len() + 128);
    target.push_str(base.path().trim_end_matches('/'));
    for segment in segments {
        match *segment {
            "" => return Err(UriError::EmptySegment),
            "." | ".." => return Err(UriError::DotSegment),
            segment if segment.contains(char::is_control) => return Err(UriError::Control),
            segment => {
                target.push('/');
                target.extend(utf8_percent_encode(segment, ENCODED));
            }
        }
    }
    if target.is_empty() {
        target.push('/');
    }
    for (position, (name, value)) in query.iter().enumerate() {
        target.push(if position == 0 { '?' } else { '&' });
        target.extend(utf8_percent_encode(name, ENCODED));
        target.push('=');
        target.extend(utf8_percent_encode(value, ENCODED));
    }
    if target.len() > LONGEST {
        return Err(UriError::Unbuildable);
    }
    Ok(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_paths_pass_untouched() {
        for path in ["/", "/api/v2/projects", "/a/", "/a%20b/caf%C3%A9", "/a.b/..c/c..", "/%7Euser", "/50%25"] {
            assert_eq!(canonical_path(path).map(CanonicalPath::as_str), Ok(path));
        }
        let segments: Vec<_> = canonical_path("/a%20b/c/").unwrap().segments().collect();
        assert_eq!(segments, ["a b", "c", ""]);
    }

    #[test]
    fn every_ambiguous_path_is_refused_with_its_reason() {
        for (path, reason) in [
            ("", UriError::NotAbsolute),
            ("a", UriError::NotAbsolute),
            ("/a/../b", UriError::DotSegment),
            ("/a/..", UriError::DotSegment),
            ("/./a", UriError::DotSegment),
            ("/%2e%2e/a", UriError::DotSegment),
            ("/.%2E/a", UriError::DotSegment),
            ("/%2e", UriError::DotSegment),
            ("//a", UriError::EmptySegment),
            ("/a//b", UriError::EmptySegment),
            ("/a//", UriError::EmptySegment),
            ("/a%2fb", UriError::EscapedSlash),
            ("/a%2Fb", UriError::EscapedSlash),
            ("/a\\b", UriError::Backslash),
            ("/a%5cb", UriError::Backslash),
            ("/a%00", UriError::Control),
            ("/a%0d%0ab", UriError::Control),
            ("/a\nb", UriError::Control),
            ("/a%c2%85", UriError::Control),
            ("/a;b=1", UriError::Semicolon),
            ("/a%3bb", UriError::Semicolon),
            ("/a%", UriError::BadEscape),
            ("/a%2", UriError::BadEscape),
            ("/a%zz", UriError::BadEscape),
            ("/a%u002e", UriError::BadEscape),
            ("/%252e%252e/a", UriError::DoubleEscape),
            ("/a%ff", UriError::NotUtf8),
            ("/%c0%ae%c0%ae/", UriError::NotUtf8),
            ("/a?b", UriError::Delimiter),
            ("/a#b", UriError::Delimiter),
        ] {
            assert_eq!(canonical_path(path), Err(reason), "{path}");
        }
    }

    #[test]
    fn a_hostile_segment_stays_one_segment() {
        let base: Uri = "http://ghost.test:8080/base/".parse().unwrap();
        let uri = join(&base, &["v1", "a/../b?x#%2f;é"], &[("q", "a&b=c")]).unwrap();
        let expected = "http://ghost.test:8080/base/v1/a%2F..%2Fb%3Fx%23%252f%3B%C3%A9?q=a%26b%3Dc";
        assert_eq!(uri.to_string(), expected);
        for (segment, reason) in [
            ("..", UriError::DotSegment),
            (".", UriError::DotSegment),
            ("", UriError::EmptySegment),
            ("a\0", UriError::Control),
        ] {
            assert_eq!(join(&base, &["v1", segment], &[]), Err(reason));
        }
        assert_eq!(join(&"/only/a/path".parse().unwrap(), &["v1"], &[]), Err(UriError::NoHost));
        assert_eq!(join(&"http://h".parse().unwrap(), &[], &[]).unwrap().to_string(), "http://h/");
    }
}
