//! How long the body behind a head is, and whether the connection outlives it (RFC 9112 6). A request is judged
//! strictly: whoever stands in front of us may have read it in another way. A response may say the same length twice.
//! Next: `chunks.rs`, for bodies that tell their length as they come.

use http::StatusCode;

/// Whose head it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// A stranger's: one `Content-Length` with one number.
    Request,
    /// An upstream's: the same `Content-Length` several times is one.
    Response,
}

/// How long the body behind a head is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// So many bytes; 0 is no body.
    Exact(u64),
    Chunked,
    /// Until the connection is closed. Responses only.
    UntilClose,
}

/// A head whose body could be read in two ways, or in none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    #[error("`Content-Length` is not a number")]
    BadLength,
    #[error("`Content-Length` was given more than once")]
    ManyLengths,
    #[error("`Transfer-Encoding` is not `chunked`")]
    UnknownEncoding,
    #[error("`Content-Length` and `Transfer-Encoding` were both given")]
    LengthAndEncoding,
    #[error("HTTP/1.0 has no `Transfer-Encoding`")]
    EncodingInHttp10,
}

/// What the fields of one head say about its framing. Show it each of them, then ask.
#[derive(Clone, Copy, Debug, Default)]
pub struct FramingFields {
    length: Option<u64>,
    is_chunked: bool,
    /// Of `Connection`.
    says_close: bool,
    says_keep_alive: bool,
    says_upgrade: bool,
}

impl FramingFields {
    /// Takes note of one field; most have nothing to do with framing and cost a comparison. Errors: it cannot be right,
    /// whatever else there is.
    pub fn note(&mut self, name: &[u8], value: &[u8], side: Side) -> Result<(), FramingError> {
        match name.len() {
            10 if name.eq_ignore_ascii_case(b"connection") => {
                for token in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                    self.says_close |= token.eq_ignore_ascii_case(b"close");
                    self.says_keep_alive |= token.eq_ignore_ascii_case(b"keep-alive");
                    self.says_upgrade |= token.eq_ignore_ascii_case(b"upgrade");
                }
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => self.note_length(value, side)?,
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                // Said twice it is not `chunked` either, but `chunked, chunked`.
                if self.is_chunked || !value.trim_ascii().eq_ignore_ascii_case(b"chunked") {
                    return Err(FramingError::UnknownEncoding);
                }
                self.is_chunked = true;
            }
            _ => {}
        }
        if self.is_chunked && self.length.is_some() { Err(FramingError::LengthAndEncoding) } else { Ok(()) }
    }

    fn note_length(&mut self, value: &[u8], side: Side) -> Result<(), FramingError> {
        for text in value.split(|byte| *byte == b',') {
            let length = number(text.trim_ascii()).ok_or(FramingError::BadLength)?;
            match self.length {
                None => self.length = Some(length),
                Some(said) if side == Side::Response && said == length => {}
                Some(_) => return Err(FramingError::ManyLengths),
            }
        }
        Ok(())
    }

    /// `is_11`: whether the request is HTTP/1.1 and not 1.0.
    pub fn request_body(&self, is_11: bool) -> Result<BodyLength, FramingError> {
        match (self.is_chunked, self.length) {
            (true, _) if !is_11 => Err(FramingError::EncodingInHttp10),
            (true, _) => Ok(BodyLength::Chunked),
            (false, length) => Ok(BodyLength::Exact(length.unwrap_or(0))),
        }
    }

    /// `is_11`: whether the response is HTTP/1.1; `to_head`: whether it answers a HEAD.
    pub fn response_body(&self, is_11: bool, status: StatusCode, to_head: bool) -> Result<BodyLength, FramingError> {
        if self.is_chunked && !is_11 {
            return Err(FramingError::EncodingInHttp10);
        }
        let has_none =
            to_head || status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        Ok(match (self.is_chunked, self.length) {
            _ if has_none => BodyLength::Exact(0),
            (true, _) => BodyLength::Chunked,
            (false, Some(length)) => BodyLength::Exact(length),
            (false, None) => BodyLength::UntilClose,
        })
    }

    /// The `Content-Length`, even where no body of that length follows.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// Whether the connection may carry another message.
    pub fn persists(&self, is_11: bool) -> bool {
        !self.says_close && (is_11 || self.says_keep_alive)
    }

    /// Whether `Connection` asks for an upgrade.
    pub fn asks_upgrade(&self) -> bool {
        self.says_upgrade
    }
}

/// Digits and nothing else: no sign, no space, no overflow.
fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use BodyLength::{Chunked, Exact, UntilClose};
    use FramingError::{BadLength, EncodingInHttp10, LengthAndEncoding, ManyLengths, UnknownEncoding};

    fn noted(fields: &[(&str, &str)], side: Side) -> Result<FramingFields, FramingError> {
        let mut noted = FramingFields::default();
        fields.iter().try_for_each(|(name, value)| noted.note(name.as_bytes(), value.as_bytes(), side))?;
        Ok(noted)
    }

    fn request(fields: &[(&str, &str)]) -> Result<BodyLength, FramingError> {
        noted(fields, Side::Request)?.request_body(true)
    }

    fn response(fields: &[(&str, &str)]) -> Result<BodyLength, FramingError> {
        noted(fields, Side::Response)?.response_body(true, StatusCode::OK, false)
    }

    #[test]
    fn a_body_has_one_length_or_chunks_and_else_a_request_has_none_and_a_response_ends_with_the_connection() {
        let (length, chunked) = (("Content-Length", " 12\t"), ("TRANSFER-ENCODING", "Chunked"));
        assert_eq!((request(&[length]), response(&[length])), (Ok(Exact(12)), Ok(Exact(12))));
        assert_eq!((request(&[chunked]), response(&[chunked])), (Ok(Chunked), Ok(Chunked)));
        assert_eq!((request(&[("accept", "a")]), response(&[("x", "1")])), (Ok(Exact(0)), Ok(UntilClose)));
    }

    #[test]
    fn what_two_readers_may_read_in_two_ways_is_refused_on_both_sides() {
        let (length, chunked) = (("content-length", "4"), ("transfer-encoding", "chunked"));
        for (fields, error) in [
            (&[length, chunked][..], LengthAndEncoding),
            (&[chunked, length], LengthAndEncoding),
            (&[chunked, chunked], UnknownEncoding),
            (&[("transfer-encoding", "gzip, chunked")], UnknownEncoding),
            (&[("transfer-encoding", "xchunked")], UnknownEncoding),
            (&[("transfer-encoding", "chunked,")], UnknownEncoding),
            (&[("transfer-encoding", "")], UnknownEncoding),
            (&[length, ("content-length", "5")], ManyLengths),
            (&[("content-length", "4, 5")], ManyLengths),
            (&[("content-length", "+4")], BadLength),
            (&[("content-length", "-4")], BadLength),
            (&[("content-length", "4 4")], BadLength),
            (&[("content-length", "0x4")], BadLength),
            (&[("content-length", "4,")], BadLength),
            (&[("content-length", "")], BadLength),
            (&[("content-length", "18446744073709551616")], BadLength),
        ] {
            assert_eq!((request(fields), response(fields)), (Err(error), Err(error)), "{fields:?}");
        }
        let largest = [("content-length", "18446744073709551615")];
        assert_eq!(request(&largest), Ok(Exact(u64::MAX)));
    }

    #[test]
    fn the_same_length_twice_is_one_length_of_a_response_and_none_of_a_request() {
        for fields in [&[("content-length", "4"), ("content-length", "4")][..], &[("content-length", "4, 4")]] {
            assert_eq!((request(fields), response(fields)), (Err(ManyLengths), Ok(Exact(4))), "{fields:?}");
        }
    }

    #[test]
    fn http_1_0_has_no_chunks_and_keeps_a_connection_only_when_it_says_so() {
        let chunked = noted(&[("transfer-encoding", "chunked")], Side::Response).unwrap();
        assert_eq!(chunked.request_body(false), Err(EncodingInHttp10));
        assert_eq!(chunked.response_body(false, StatusCode::OK, false), Err(EncodingInHttp10));
        for (value, in_11, in_10) in [("", true, false), ("Keep-Alive", true, true), ("x, CLOSE", false, false)] {
            let noted = noted(&[("connection", value)], Side::Response).unwrap();
            assert_eq!((noted.persists(true), noted.persists(false)), (in_11, in_10), "{value}");
        }
        assert!(noted(&[("connection", "keep-alive, Upgrade")], Side::Request).unwrap().asks_upgrade());
    }

    #[test]
    fn some_responses_have_no_body_whatever_their_fields_say() {
        let noted = noted(&[("content-length", "4")], Side::Response).unwrap();
        for (status, to_head) in [(200, true), (204, false), (304, false), (103, false)] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(noted.response_body(true, status, to_head), Ok(Exact(0)), "{status}");
        }
        assert_eq!(noted.length(), Some(4));
    }
}
