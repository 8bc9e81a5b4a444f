//! The head of a message: whole or not yet, within its limits, its lines ended by CR and LF, its headers as parts of the
//! text they came in. `httparse` reads the lines; what it lets pass and we do not is checked here.
//! Refuses to wait: the caller reads more and asks again. Next: `framing.rs`, what the fields say of the body.

use super::framing::{FramingError, FramingFields, Side};
use crate::headers::{HeaderRules, is_a_name};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use std::mem::MaybeUninit;

/// Of one head.
pub const MAX_HEADERS: usize = 100;

/// What is no head.
#[derive(Debug, thiserror::Error)]
pub enum HeadError {
    #[error("the head is longer than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("the head has more than {MAX_HEADERS} headers")]
    TooManyHeaders,
    #[error("a line of the head does not end with CR and LF")]
    BadLineEnd,
    #[error("the head is not HTTP/1.1")]
    Syntax(#[source] httparse::Error),
    #[error("the head has a name, a value or a status that is none")]
    BadField,
    #[error(transparent)]
    Framing(#[from] FramingError),
}

impl From<httparse::Error> for HeadError {
    fn from(error: httparse::Error) -> Self {
        match error {
            httparse::Error::TooManyHeaders => Self::TooManyHeaders,
            error => Self::Syntax(error),
        }
    }
}

/// The head of a response.
#[derive(Debug)]
pub struct ResponseHead {
    pub status: StatusCode,
    /// Whether it is HTTP/1.1 and not 1.0.
    pub is_11: bool,
    pub headers: HeaderMap,
    pub framing: FramingFields,
    /// So many bytes of the text; what follows is body.
    pub length: usize,
}

/// Which headers of a response are wanted: those on the list, `Trailer`, a `Connection` that names others, and the
/// `Content-Length` where no body of that length follows. The others cost nothing but to be read.
#[derive(Clone, Copy)]
pub struct Keep<'a> {
    pub rules: &'a HeaderRules,
    /// Whether the response answers a HEAD.
    pub to_head: bool,
    /// For how many headers there is room: what is kept, and what its reader will add. Growing would hash all of it again.
    pub room: usize,
}

impl Keep<'_> {
    fn wants(&self, name: &[u8], value: &[u8], status: StatusCode) -> bool {
        if self.rules.allows_raw(name) {
            return true;
        }
        match name.len() {
            7 => name.eq_ignore_ascii_case(b"trailer"),
            10 if name.eq_ignore_ascii_case(b"connection") => {
                value.split(|byte| *byte == b',').any(|token| is_a_name(token.trim_ascii()))
            }
            14 => (self.to_head || status == StatusCode::NOT_MODIFIED) && name.eq_ignore_ascii_case(b"content-length"),
            _ => false,
        }
    }
}

impl ResponseHead {
    /// Reads the head at the beginning of `text`, of which its headers are then parts. `None`: it is not whole yet.
    pub fn parse(text: &Bytes, max_bytes: usize, keep: Keep<'_>) -> Result<Option<Self>, HeadError> {
        let mut fields = [const { MaybeUninit::uninit() }; MAX_HEADERS];
        let mut parsed = httparse::Response::new(&mut []);
        let config = httparse::ParserConfig::default();
        let outcome = config.parse_response_with_uninit_headers(&mut parsed, text, &mut fields)?;
        let Some(length) = whole(outcome, text, max_bytes)? else { return Ok(None) };
        let status = parsed.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(HeadError::BadField)?;
        let mut framing = FramingFields::default();
        let mut headers = HeaderMap::with_capacity(keep.room);
        for field in parsed.headers.iter() {
            let name = field.name.as_bytes();
            framing.note(name, field.value, Side::Response)?;
            if keep.wants(name, field.value, status) {
                append(&mut headers, Some(text), field)?;
            }
        }
        Ok(Some(Self { status, is_11: parsed.version == Some(1), headers, framing, length }))
    }
}

/// The length of a head that `httparse` has read, if it is whole; both are held to the limit.
pub fn whole(outcome: httparse::Status<usize>, text: &[u8], max_bytes: usize) -> Result<Option<usize>, HeadError> {
    let too_large = HeadError::TooLarge { limit: max_bytes };
    match outcome {
        httparse::Status::Complete(length) if length > max_bytes => Err(too_large),
        httparse::Status::Complete(length) => check_line_ends(&text[..length]).map(|()| Some(length)),
        httparse::Status::Partial if text.len() >= max_bytes => Err(too_large),
        httparse::Status::Partial => Ok(None),
    }
}

/// Refuses a line feed by itself: `httparse` takes it for the end of a line, and others may not.
fn check_line_ends(head: &[u8]) -> Result<(), HeadError> {
    let is_good = |at: usize| at > 0 && head[at - 1] == b'\r';
    if memchr::memchr_iter(b'\n', head).all(is_good) { Ok(()) } else { Err(HeadError::BadLineEnd) }
}

/// Whether the head may be whole now and was not when the first `before` bytes of `text` were there. Parsing a head that
/// comes byte by byte would else take the square of its length.
pub fn may_be_whole_now(text: &[u8], before: usize) -> bool {
    text[before.saturating_sub(3).min(text.len())..].windows(4).any(|window| window == b"\r\n\r\n")
}

/// The headers in `fields`. `text`: what the fields are parts of; the values are then parts of it as well, and not copied.
pub fn header_map(text: Option<&Bytes>, fields: &[httparse::Header<'_>]) -> Result<HeaderMap, HeadError> {
    let mut headers = HeaderMap::with_capacity(fields.len());
    fields.iter().try_for_each(|field| append(&mut headers, text, field))?;
    Ok(headers)
}

fn append(headers: &mut HeaderMap, text: Option<&Bytes>, field: &httparse::Header<'_>) -> Result<(), HeadError> {
    let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| HeadError::BadField)?;
    let value = match text {
        Some(text) => HeaderValue::from_maybe_shared(text.slice_ref(field.value)),
        None => HeaderValue::from_bytes(field.value),
    };
    headers.append(name, value.map_err(|_| HeadError::BadField)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::BodyLength;

    fn parse(text: &[u8]) -> Result<Option<ResponseHead>, HeadError> {
        let rules = HeaderRules::new(&["a", "etag", "link", "x", "x-empty"]);
        let keep = Keep { rules: &rules, to_head: false, room: 0 };
        ResponseHead::parse(&Bytes::copy_from_slice(text), 8192, keep)
    }

    #[test]
    fn a_head_is_read_when_it_is_whole_and_what_follows_is_left() {
        let text = b"HTTP/1.1 200 OK\r\nETag: \"a\"\r\nLink: 1\r\nlink:2\r\nContent-Length: 4\r\nx-empty:\r\n\r\nbody";
        let length = text.len() - 4;
        for cut in 0..length {
            assert!(parse(&text[..cut]).unwrap().is_none(), "{cut}");
            assert!(!may_be_whole_now(&text[..cut], 0));
            assert!(may_be_whole_now(&text[..length], cut) && may_be_whole_now(text, cut));
        }
        assert!(!may_be_whole_now(text, length));
        let head = parse(text).unwrap().unwrap();
        assert_eq!((head.status, head.is_11, head.length), (StatusCode::OK, true, length));
        assert_eq!(head.headers.get_all("link").iter().collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(
            (&head.headers["etag"], &head.headers["x-empty"]),
            (&"\"a\"".parse().unwrap(), &"".parse().unwrap())
        );
        assert_eq!(head.framing.response_body(true, head.status, false), Ok(BodyLength::Exact(4)));
    }

    #[test]
    fn what_is_no_head_is_refused() {
        for text in [
            &b"SSH-2.0-OpenSSH_9.9\r\n\r\n"[..],
            b"HTTP/2.0 200 OK\r\n\r\n",
            b"HTTP/1.1 099 Low\r\n\r\n",
            b"HTTP/1.1 20 Short\r\n\r\n",
            b"HTTP/1.1 2000 Long\r\n\r\n",
            b"HTTP/1.1 200\0OK\r\n\r\n",
            b"HTTP/1.1 200 OK\nx: 1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nx: 1\n\r\n",
            b"HTTP/1.1 200 OK\r\nx: 1\r\n\n",
            b"\nHTTP/1.1 200 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nx: a\r\n b: folded\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n x: a\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nx : a\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n: a\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nx\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nx: a\rb\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nx: a\0b\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\ncontent-length: 5\r\n\r\n",
        ] {
            assert!(parse(text).is_err(), "{}", text.escape_ascii());
        }
    }

    #[test]
    fn a_head_is_bounded_in_bytes_and_in_headers() {
        let fitting = |length: usize| format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(length - 24));
        assert_eq!(parse(fitting(8192).as_bytes()).unwrap().unwrap().length, 8192);
        assert!(matches!(parse(fitting(8193).as_bytes()), Err(HeadError::TooLarge { limit: 8192 })));
        assert!(matches!(parse(&fitting(9000).as_bytes()[..8192]), Err(HeadError::TooLarge { .. })), "it never ends");
        let many = |count| format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(count));
        assert_eq!(parse(many(100).as_bytes()).unwrap().unwrap().headers.len(), 100);
        assert!(matches!(parse(many(101).as_bytes()), Err(HeadError::TooManyHeaders)));
    }
}
