//! The head of a request as a stranger sends it: found while it comes, each byte looked at once, and read when it is
//! whole. What could be read in two ways is an error and never repaired.
//! Refuses to answer: which status an error is, whoever holds the connection says. Next: `framing.rs`, on its body.

use super::{
    framing::{BodyLength, FramingFields, Side},
    head::{HeadError, MAX_HEADERS, header_map},
};
use bytes::Bytes;
use http::{HeaderMap, Method, Uri};
use std::mem::MaybeUninit;

/// What is no head of a request.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// Its first line alone is longer than a head may be.
    #[error("the request line is longer than {limit} bytes")]
    LineTooLong { limit: usize },
    #[error(transparent)]
    Head(#[from] HeadError),
    #[error("the request's method is no token")]
    Method,
    #[error("the request's target is no path and no URI")]
    Target,
}

impl From<httparse::Error> for RequestError {
    fn from(error: httparse::Error) -> Self {
        HeadError::from(error).into()
    }
}

/// Looks for the end of a head while it comes.
#[derive(Debug, Default)]
pub struct HeadSearch {
    /// So many bytes hold no end.
    seen: usize,
    /// The length at which the beginning was last found to be one.
    checked: usize,
    has_line: bool,
}

impl HeadSearch {
    /// The length of the head at the beginning of `text`, once it is whole. `text` is all that has come of it: the same as
    /// last time, and perhaps more. Errors: it is longer than `max_bytes`, a line of it ends with LF alone, or it cannot
    /// become a head any more.
    pub fn end(&mut self, text: &[u8], max_bytes: usize) -> Result<Option<usize>, RequestError> {
        let had_line = self.has_line;
        for found in memchr::memchr_iter(b'\n', &text[self.seen..]) {
            let at = self.seen + found;
            if at == 0 || text[at - 1] != b'\r' {
                return Err(HeadError::BadLineEnd.into());
            }
            self.has_line = true;
            if at >= 3 && text[at - 3..=at] == *b"\r\n\r\n" {
                return if at < max_bytes { Ok(Some(at + 1)) } else { Err(self.too_long(max_bytes)) };
            }
        }
        self.seen = text.len();
        if self.seen >= max_bytes {
            return Err(self.too_long(max_bytes));
        }
        // What speaks another protocol is told so, and not waited for. Looked at when the first line is there, and when there
        // is twice as much: a head that comes byte by byte is not read as often.
        if self.seen >= 2 * self.checked || self.has_line && !had_line {
            self.checked = self.seen;
            let mut fields = [const { MaybeUninit::uninit() }; MAX_HEADERS];
            httparse::Request::new(&mut []).parse_with_uninit_headers(text, &mut fields)?;
        }
        Ok(None)
    }

    fn too_long(&self, limit: usize) -> RequestError {
        if self.has_line { HeadError::TooLarge { limit }.into() } else { RequestError::LineTooLong { limit } }
    }
}

/// The head of a request.
#[derive(Debug)]
pub struct RequestHead {
    pub method: Method,
    pub uri: Uri,
    /// Whether it is HTTP/1.1 and not 1.0.
    pub is_11: bool,
    pub headers: HeaderMap,
    pub body: BodyLength,
    /// Whether the client would go on with the connection.
    pub persists: bool,
    /// Whether it would go on with it in another protocol.
    pub asks_upgrade: bool,
}

impl RequestHead {
    /// Reads a whole head, whose length [`HeadSearch`] has told. Its headers and target are then parts of `text`.
    pub fn parse(text: &Bytes) -> Result<Self, RequestError> {
        let mut fields = [const { MaybeUninit::uninit() }; MAX_HEADERS];
        let mut parsed = httparse::Request::new(&mut []);
        match parsed.parse_with_uninit_headers(text, &mut fields)? {
            httparse::Status::Complete(length) if length == text.len() => {}
            // Nothing but empty lines, or an end before the end.
            _ => return Err(HeadError::BadLineEnd.into()),
        }
        let (Some(method), Some(target), Some(minor)) = (parsed.method, parsed.path, parsed.version) else {
            return Err(RequestError::Target);
        };
        let is_11 = minor == 1;
        let mut framing = FramingFields::default();
        for field in parsed.headers.iter() {
            framing.note(field.name.as_bytes(), field.value, Side::Request).map_err(HeadError::from)?;
        }
        let body = framing.request_body(is_11).map_err(HeadError::from)?;
        // A fragment is never sent; the parser of URIs would pass it over.
        if target.contains('#') {
            return Err(RequestError::Target);
        }
        Ok(Self {
            method: Method::from_bytes(method.as_bytes()).map_err(|_| RequestError::Method)?,
            uri: Uri::from_maybe_shared(text.slice_ref(target.as_bytes())).map_err(|_| RequestError::Target)?,
            is_11,
            headers: header_map(Some(text), parsed.headers)?,
            body,
            persists: framing.persists(is_11),
            asks_upgrade: is_11 && framing.asks_upgrade(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 4096;

    /// Found byte by byte, then read.
    fn read(text: &[u8]) -> Result<Option<RequestHead>, RequestError> {
        let mut search = HeadSearch::default();
        for length in 1..=text.len() {
            if let Some(end) = search.end(&text[..length], MAX)? {
                assert_eq!(end, length);
                assert_eq!(HeadSearch::default().end(text, MAX).unwrap(), Some(end));
                return RequestHead::parse(&Bytes::copy_from_slice(&text[..end])).map(Some);
            }
        }
        Ok(None)
    }

    #[test]
    fn a_head_is_found_where_it_ends_and_read() {
        let head = read(b"POST /a?b=c HTTP/1.1\r\nHost: x\r\nX-A:\r\nContent-Length: 3\r\n\r\nabc").unwrap().unwrap();
        assert_eq!((head.method, head.uri.to_string()), (Method::POST, "/a?b=c".to_owned()));
        assert_eq!((&head.headers["host"], &head.headers["x-a"]), (&"x".parse().unwrap(), &"".parse().unwrap()));
        assert_eq!((head.body, head.is_11, head.persists), (BodyLength::Exact(3), true, true));
        let old = read(b"GET / HTTP/1.0\r\n\r\n").unwrap().unwrap();
        assert_eq!((old.is_11, old.persists, old.asks_upgrade), (false, false, false));
        let switching = b"GET / HTTP/1.1\r\nconnection: keep-alive, Upgrade\r\nupgrade: websocket\r\n\r\n";
        assert!(read(switching).unwrap().unwrap().asks_upgrade);
        assert!(read(b"GET / HTTP/1.1\r\nhost: x\r\n").unwrap().is_none());
    }

    #[test]
    fn what_is_no_head_is_refused() {
        for text in [
            &b"GET / HTTP/1.1\nhost: x\n\n"[..],
            b"GET / HTTP/1.1\r\nhost: x\n\r\n",
            b"GET / HTTP/1.1\r\nhost: x\r\n\n",
            b"\n\nGET / HTTP/1.1\r\n\r\n",
            b"\r\n\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01",
            b"SSH-2.0-OpenSSH_9.9\r\n",
            b"GET  / HTTP/1.1\r\n\r\n",
            b"GET /  HTTP/1.1\r\n\r\n",
            b"GET / HTTP/2.0\r\n\r\n",
            b"GET / http/1.1\r\n\r\n",
            b"GET /\r\n\r\n",
            b"G(T / HTTP/1.1\r\n\r\n",
            b"GET /#a HTTP/1.1\r\n\r\n",
            b"GET x y HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\nhost : x\r\n\r\n",
            b"GET / HTTP/1.1\r\n host: x\r\n\r\n",
            b"GET / HTTP/1.1\r\nhost: x\r\n y\r\n\r\n",
            b"GET / HTTP/1.1\r\nx: a\rb\r\n\r\n",
            b"GET / HTTP/1.1\r\nx: a\0b\r\n\r\n",
            b"GET / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\n",
            b"GET / HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
            b"GET / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n",
        ] {
            assert!(read(text).is_err(), "{}", text.escape_ascii());
        }
    }

    #[test]
    fn a_head_is_bounded_in_bytes_and_in_headers() {
        let with = |length: usize| format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(length - 23));
        assert!(read(with(MAX).as_bytes()).unwrap().is_some());
        let too_large = |text: &[u8]| matches!(read(text), Err(RequestError::Head(HeadError::TooLarge { .. })));
        assert!(too_large(with(MAX + 1).as_bytes()) && too_large(&with(MAX + 100).as_bytes()[..MAX]));
        let long = format!("GET /{} HTTP/1.1\r\n\r\n", "y".repeat(MAX));
        assert!(matches!(read(long.as_bytes()), Err(RequestError::LineTooLong { limit: MAX })));
        let many = |count| format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(count));
        assert_eq!(read(many(MAX_HEADERS).as_bytes()).unwrap().unwrap().headers.len(), MAX_HEADERS);
        let refused = read(many(MAX_HEADERS + 1).as_bytes());
        assert!(matches!(refused, Err(RequestError::Head(HeadError::TooManyHeaders))));
    }
}
