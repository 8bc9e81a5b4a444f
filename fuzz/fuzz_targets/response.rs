//! The head of a response is read as the same, or refused, whatever has been read behind it; it ends with an empty line,
//! no value of it holds a line end, and its body has one length.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use ogel_proxy::http1::{BodyLength, ResponseHead, head};

const LIMIT: usize = 1 << 10;

fuzz_target!(|text: &[u8]| {
    let all = Bytes::copy_from_slice(text);
    let Ok(Some(read)) = ResponseHead::parse(&all, LIMIT, None) else { return };
    let (length, text) = (read.length, &text[..read.length]);
    assert!(length <= LIMIT && text.ends_with(b"\r\n\r\n"));
    assert!(head::may_be_whole_now(text, 0) && head::may_be_whole_now(text, length - 1));
    for cut in 0..length {
        assert!(matches!(ResponseHead::parse(&all.slice(..cut), LIMIT, None), Ok(None)), "{cut} bytes are a head as well");
    }
    let alone = ResponseHead::parse(&all.slice(..length), LIMIT, None).ok().flatten().expect("it was a head before");
    assert_eq!((alone.status, alone.is_11, &alone.headers, alone.length), (read.status, read.is_11, &read.headers, length));
    assert!(read.headers.values().all(|value| !value.as_bytes().iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0))));
    let (has_length, has_encoding) =
        (read.headers.contains_key("content-length"), read.headers.contains_key("transfer-encoding"));
    assert!(!(has_length && has_encoding));
    match read.framing.response_body(read.is_11, read.status, false) {
        Ok(BodyLength::Chunked) => assert!(has_encoding && read.is_11),
        Ok(BodyLength::UntilClose) => assert!(!has_length && !has_encoding),
        Ok(BodyLength::Exact(_)) | Err(_) => {}
    }
});
