//! The chunked encoding (RFC 9112 7.1). The decoder is shown what was read and says how much of it is framing and how
//! much of what follows is data; it holds nothing but trailers. Extensions are skipped, and bounded like everything else.
//! It refuses lines that do not end with CR and LF, and sizes that are more than 16 hexadecimal digits.
//! Next: `framing.rs`, which says whether a body is chunked.

use super::head::header_map;
use http::HeaderMap;

/// Extensions of all chunks of a body together: they mean nothing to us and cost us reading.
const MAX_EXTENSION_BYTES: u32 = 16 << 10;
const MAX_TRAILER_BYTES: usize = 16 << 10;
const MAX_TRAILERS: usize = 100;
/// What holds 64 bits.
const MAX_DIGITS: u8 = 16;

/// The end of a body without trailers.
pub const LAST: &[u8] = b"0\r\n\r\n";
/// Behind the data of each chunk.
pub const END_OF_CHUNK: &[u8] = b"\r\n";

/// What stands where chunks should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    #[error("a chunk does not begin with its size")]
    BadSize,
    #[error("a chunk's size has more than 16 digits")]
    SizeOverflow,
    #[error("a chunk's extension has a control character")]
    BadExtension,
    #[error("the extensions of the chunks are longer than 16 KiB")]
    ExtensionsTooLong,
    #[error("a line does not end with CR and LF")]
    BadLineEnd,
    #[error("a chunk is longer than its size")]
    BadEndOfChunk,
    #[error("a trailer is no header field")]
    BadTrailer,
    #[error("the trailers are more than 100, or longer than 16 KiB")]
    TrailersTooLong,
}

/// What comes next in a chunked body.
#[derive(Debug)]
pub enum Chunk {
    /// More has to be read.
    Incomplete,
    /// So many bytes of data, at least one.
    Data(usize),
    /// Nothing; with the trailers, if there were any.
    End(Option<HeaderMap>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size {
        digits: u8,
    },
    /// White space behind a size, which some senders fill up with.
    AfterSize,
    Extension,
    SizeLineFeed,
    Data,
    DataReturn,
    DataLineFeed,
    /// `length`: of the line so far.
    Trailer {
        length: usize,
    },
    TrailerLineFeed {
        length: usize,
    },
    End,
}

/// Reads one chunked body.
#[derive(Debug)]
pub struct ChunkDecoder {
    state: State,
    /// Of the chunk.
    left: u64,
    extension_bytes: u32,
    trailers: Vec<u8>,
}

impl Default for ChunkDecoder {
    fn default() -> Self {
        Self { state: State::Size { digits: 0 }, left: 0, extension_bytes: 0, trailers: Vec::new() }
    }
}

impl ChunkDecoder {
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the body is over.
    pub fn is_over(&self) -> bool {
        self.state == State::End
    }

    /// How many bytes at the beginning of `input` are framing and done with, and what comes behind them. Data counts as
    /// taken: the next call begins behind it. After [`Chunk::Incomplete`] all of `input` was taken, after [`Chunk::End`]
    /// what is left belongs to the next message. An error is final.
    pub fn next(&mut self, input: &[u8]) -> Result<(usize, Chunk), ChunkError> {
        let mut at = 0;
        loop {
            match self.state {
                State::End => return Ok((at, Chunk::End(None))),
                State::Data if at < input.len() => {
                    let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(input.len() - at);
                    self.left -= length as u64;
                    if self.left == 0 {
                        self.state = State::DataReturn;
                    }
                    return Ok((at, Chunk::Data(length)));
                }
                _ => {}
            }
            let Some(byte) = input.get(at) else { return Ok((at, Chunk::Incomplete)) };
            at += 1;
            let state = self.after(*byte)?;
            // A body whose trailers are none is not over: what is behind it must not be taken for a message.
            let trailers = if state == State::End { Some(self.parse_trailers()?) } else { None };
            self.state = state;
            if let Some(trailers) = trailers {
                return Ok((at, Chunk::End(trailers)));
            }
        }
    }

    /// The state after one byte of framing.
    fn after(&mut self, byte: u8) -> Result<State, ChunkError> {
        match self.state {
            State::Size { digits } => {
                let digit = match byte {
                    b'0'..=b'9' => byte - b'0',
                    b'a'..=b'f' => byte - b'a' + 10,
                    b'A'..=b'F' => byte - b'A' + 10,
                    _ if digits == 0 => return Err(ChunkError::BadSize),
                    _ => return self.after_size(byte),
                };
                if digits == MAX_DIGITS {
                    return Err(ChunkError::SizeOverflow);
                }
                self.left = self.left << 4 | u64::from(digit);
                Ok(State::Size { digits: digits + 1 })
            }
            State::AfterSize => self.after_size(byte),
            State::Extension => match byte {
                b'\r' => Ok(State::SizeLineFeed),
                b'\t' => self.skip(State::Extension),
                0..=31 | 127 => Err(ChunkError::BadExtension),
                _ => self.skip(State::Extension),
            },
            State::SizeLineFeed if byte != b'\n' => Err(ChunkError::BadLineEnd),
            State::SizeLineFeed if self.left == 0 => Ok(State::Trailer { length: 0 }),
            State::SizeLineFeed => Ok(State::Data),
            State::DataReturn if byte == b'\r' => Ok(State::DataLineFeed),
            State::DataLineFeed if byte == b'\n' => Ok(State::Size { digits: 0 }),
            State::DataReturn | State::DataLineFeed => Err(ChunkError::BadEndOfChunk),
            State::Trailer { length } => match byte {
                b'\r' => Ok(State::TrailerLineFeed { length }),
                b'\n' => Err(ChunkError::BadLineEnd),
                _ if self.trailers.len() >= MAX_TRAILER_BYTES => Err(ChunkError::TrailersTooLong),
                _ => {
                    self.trailers.push(byte);
                    Ok(State::Trailer { length: length + 1 })
                }
            },
            State::TrailerLineFeed { .. } if byte != b'\n' => Err(ChunkError::BadLineEnd),
            State::TrailerLineFeed { length: 0 } => Ok(State::End),
            State::TrailerLineFeed { .. } => {
                self.trailers.extend_from_slice(b"\r\n");
                Ok(State::Trailer { length: 0 })
            }
            // Handled before a byte is looked at.
            State::Data | State::End => Ok(self.state),
        }
    }

    fn after_size(&mut self, byte: u8) -> Result<State, ChunkError> {
        match byte {
            b'\r' => Ok(State::SizeLineFeed),
            b';' => self.skip(State::Extension),
            b' ' | b'\t' => self.skip(State::AfterSize),
            _ => Err(ChunkError::BadSize),
        }
    }

    fn skip(&mut self, next: State) -> Result<State, ChunkError> {
        self.extension_bytes += 1;
        if self.extension_bytes > MAX_EXTENSION_BYTES { Err(ChunkError::ExtensionsTooLong) } else { Ok(next) }
    }

    fn parse_trailers(&mut self) -> Result<Option<HeaderMap>, ChunkError> {
        if self.trailers.is_empty() {
            return Ok(None);
        }
        let mut text = std::mem::take(&mut self.trailers);
        text.extend_from_slice(b"\r\n");
        let mut fields = [httparse::EMPTY_HEADER; MAX_TRAILERS];
        match httparse::parse_headers(&text, &mut fields) {
            Ok(httparse::Status::Complete((length, fields))) if length == text.len() => {
                header_map(None, fields).map(Some).map_err(|_| ChunkError::BadTrailer)
            }
            Err(httparse::Error::TooManyHeaders) => Err(ChunkError::TrailersTooLong),
            _ => Err(ChunkError::BadTrailer),
        }
    }
}

/// The line before the data of a chunk.
#[derive(Clone, Copy, Debug)]
pub struct ChunkHead {
    text: [u8; 18],
    from: u8,
}

impl ChunkHead {
    /// `length`: of the data, at least 1, because a chunk of 0 bytes ends the body.
    pub fn new(length: usize) -> Self {
        debug_assert!(length > 0, "an empty chunk is the end");
        let (mut text, mut from, mut left) = ([0; 18], 16, length);
        text[16..].copy_from_slice(b"\r\n");
        while left > 0 {
            from -= 1;
            text[from] = b"0123456789abcdef"[left & 15];
            left >>= 4;
        }
        Self { text, from: from as u8 }
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.text[usize::from(self.from)..]
    }
}

/// The end of a body, with these trailers.
pub fn write_last(trailers: &HeaderMap, to: &mut Vec<u8>) {
    to.extend_from_slice(b"0\r\n");
    for (name, value) in trailers {
        to.extend_from_slice(name.as_str().as_bytes());
        to.extend_from_slice(b": ");
        to.extend_from_slice(value.as_bytes());
        to.extend_from_slice(b"\r\n");
    }
    to.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    type Decoded = (Vec<u8>, Option<HeaderMap>, usize);

    /// The data, the trailers, and how many bytes were left over; `None` if the end did not come.
    fn decode(pieces: &[&[u8]]) -> Result<Option<Decoded>, ChunkError> {
        let (mut decoder, mut data) = (ChunkDecoder::new(), Vec::new());
        for (at, piece) in pieces.iter().enumerate() {
            let mut rest = *piece;
            loop {
                let (framing, chunk) = decoder.next(rest)?;
                rest = &rest[framing..];
                match chunk {
                    Chunk::Incomplete => break assert!(rest.is_empty()),
                    Chunk::Data(length) => {
                        assert!(length > 0);
                        data.extend_from_slice(&rest[..length]);
                        rest = &rest[length..];
                    }
                    Chunk::End(trailers) => {
                        let later: usize = pieces[at + 1..].iter().map(|piece| piece.len()).sum();
                        assert!(decoder.is_over());
                        return Ok(Some((data, trailers, rest.len() + later)));
                    }
                }
            }
        }
        Ok(None)
    }

    #[test]
    fn data_trailers_and_what_is_left_over_are_told_apart_wherever_the_text_is_cut() {
        let text: &[u8] = b"3\r\nabc\r\n00A ;x=\"y\"\r\n0123456789\r\n0\t\r\nX-Sum: 1\r\nx-sum:2\r\n\r\nHTTP/1.1";
        for first in 0..=text.len() {
            for second in first..=text.len() {
                let pieces = [&text[..first], &text[first..second], &text[second..]];
                let (data, trailers, left) = decode(&pieces).unwrap().unwrap();
                assert_eq!((&data[..], left), (&b"abc0123456789"[..], 8));
                let trailers = trailers.unwrap();
                assert_eq!(trailers.get_all("x-sum").iter().collect::<Vec<_>>(), ["1", "2"]);
                assert_eq!(trailers.len(), 2);
            }
        }
        assert!(decode(&[&text[..text.len() - 10]]).unwrap().is_none(), "cut off");
    }

    proptest::proptest! {
        #[test]
        fn whatever_comes_means_the_same_however_it_is_cut(
            text in proptest::collection::vec(proptest::sample::select(&b"0123aF;= \t\r\n:x\x00"[..]), 0..60),
            piece in 1_usize..9,
        ) {
            let pieces: Vec<_> = text.chunks(piece).collect();
            proptest::prop_assert_eq!(decode(&[&text]), decode(&pieces));
        }
    }

    #[test]
    fn what_is_no_chunk_is_refused() {
        use ChunkError::*;
        for (text, error) in [
            (&b"\r\n"[..], BadSize),
            (b"xyz\r\n", BadSize),
            (b"+3\r\nabc\r\n", BadSize),
            (b"0x3\r\nabc\r\n", BadSize),
            (b" 3\r\nabc\r\n", BadSize),
            (b"3 3\r\nabc\r\n", BadSize),
            (b"3\nabc\r\n", BadSize),
            (b"3\r\rabc\r\n", BadLineEnd),
            (b"3;a\nb\r\nabc\r\n", BadExtension),
            (b"3;a\0b\r\nabc\r\n", BadExtension),
            (b"3\r\nabcd\r\n", BadEndOfChunk),
            (b"3\r\nabc\n0\r\n\r\n", BadEndOfChunk),
            (b"3\r\nabc\rx", BadEndOfChunk),
            (b"00000000000000001\r\na", SizeOverflow),
            (b"fffffffffffffffff\r\n", SizeOverflow),
            (b"0\r\n\n", BadLineEnd),
            (b"0\r\nx: 1\n\r\n", BadLineEnd),
            (b"0\r\nx: 1\r\r\n", BadLineEnd),
            (b"0\r\nno colon\r\n\r\n", BadTrailer),
            (b"0\r\nx: 1\r\n folded\r\n\r\n", BadTrailer),
            (b"0\r\nx : 1\r\n\r\n", BadTrailer),
            (b"0\r\n: 1\r\n\r\n", BadTrailer),
        ] {
            assert_eq!(decode(&[text]).err(), Some(error), "{}", text.escape_ascii());
            let mut decoder = ChunkDecoder::new();
            let mut rest = text;
            while let Ok((framing, Chunk::Data(length))) = decoder.next(rest) {
                rest = &rest[framing + length..];
            }
            assert!(!decoder.is_over(), "{}", text.escape_ascii());
        }
        let (_, chunk) = ChunkDecoder::new().next(b"ffffffffffffffff\r\nabc").unwrap();
        assert!(matches!(chunk, Chunk::Data(3)), "the largest size is waited for");
    }

    #[test]
    fn extensions_and_trailers_are_bounded() {
        let extension = format!("1;{}\r\na\r\n", "x".repeat(1023)).into_bytes();
        let sixteen = extension.repeat(16);
        assert!(decode(&[&sixteen]).unwrap().is_none());
        assert_eq!(decode(&[&sixteen, &extension]).err(), Some(ChunkError::ExtensionsTooLong));
        let long = format!("0\r\nx: {}\r\n\r\n", "y".repeat(MAX_TRAILER_BYTES));
        assert_eq!(decode(&[long.as_bytes()]).err(), Some(ChunkError::TrailersTooLong));
        let many = |count| format!("0\r\n{}\r\n", "x: 1\r\n".repeat(count));
        assert_eq!(decode(&[many(101).as_bytes()]).err(), Some(ChunkError::TrailersTooLong));
        assert_eq!(decode(&[many(100).as_bytes()]).unwrap().unwrap().1.unwrap().len(), 100);
    }

    #[test]
    fn what_is_written_is_read_as_the_same() {
        let mut trailers = HeaderMap::new();
        trailers.append("x-sum", HeaderValue::from_static("1"));
        let mut text = Vec::new();
        for length in [1, 15, 16, 255, 4096, 70_000] {
            text.extend_from_slice(ChunkHead::new(length).as_bytes());
            text.resize(text.len() + length, b'a');
            text.extend_from_slice(END_OF_CHUNK);
        }
        let body = text.clone();
        write_last(&trailers, &mut text);
        let (data, read, left) = decode(&[&text]).unwrap().unwrap();
        assert_eq!((data.len(), read, left), (74_383, Some(trailers), 0));
        let (data, read, left) = decode(&[&body, LAST]).unwrap().unwrap();
        assert_eq!((data.len(), read, left), (74_383, None, 0));
    }

    #[test]
    fn the_line_before_a_chunk_is_its_size_in_hexadecimal() {
        for (length, text) in [(1, "1\r\n"), (26, "1a\r\n"), (usize::MAX, "ffffffffffffffff\r\n")] {
            assert_eq!(ChunkHead::new(length).as_bytes(), text.as_bytes());
        }
    }
}
