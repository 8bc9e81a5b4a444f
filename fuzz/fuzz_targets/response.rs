//! The head of a response is read as the same, or refused, whatever has been read behind it; it ends with an empty line,
//! no value of it holds a line end, and its body has one length.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use ogel_proxy::{
    HeaderRules,
    http1::{BodyLength, HeadError, Keep, ResponseHead, head},
};
use std::sync::LazyLock;

const LIMIT: usize = 1 << 10;
static RULES: LazyLock<HeaderRules> =
    LazyLock::new(|| HeaderRules::new(&["a", "content-type", "date", "etag", "link", "location", "set-cookie", "x"]));

fn parse(text: &Bytes) -> Result<Option<ResponseHead>, HeadError> {
    ResponseHead::parse(text, LIMIT, Keep { rules: &RULES, to_head: false, room: 0 })
}

fuzz_target!(|text: &[u8]| {
    let all = Bytes::copy_from_slice(text);
    let Ok(Some(read)) = parse(&all) else { return };
    let (length, text) = (read.length, &text[..read.length]);
    assert!(length <= LIMIT && text.ends_with(b"\r\n\r\n"));
    assert!(head::may_be_whole_now(text, 0) && head::may_be_whole_now(text, length - 1));
    for cut in 0..length {
        assert!(matches!(parse(&all.slice(..cut)), Ok(None)), "{cut} bytes are a head as well");
    }
    let alone = parse(&all.slice(..length)).ok().flatten().expect("it was a head before");
    assert_eq!(
        (alone.status, alone.is_11, &alone.headers, alone.length),
        (read.status, read.is_11, &read.headers, length)
    );
    assert!(read.headers.values().all(|value| !value.as_bytes().iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0))));
    // Nor does the value of a header that is not kept: of the whole head, only lines end.
    let lines = || text.strip_suffix(b"\r\n").unwrap_or_default().split_inclusive(|byte| *byte == b'\n');
    let ends_well =
        |line: &[u8]| line.strip_suffix(b"\r\n").is_some_and(|line| !line.contains(&b'\r') && !line.contains(&0));
    assert!(lines().all(ends_well));
    let begins = |line: &[u8], name: &str| {
        line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name.as_bytes()))
    };
    let says = |name| lines().any(|line| begins(line, name));
    let (has_length, has_encoding) = (says("content-length:"), says("transfer-encoding:"));
    assert!(!(has_length && has_encoding));
    match read.framing.response_body(read.is_11, read.status, false) {
        Ok(BodyLength::Chunked) => assert!(has_encoding && read.is_11),
        Ok(BodyLength::UntilClose) => assert!(!has_length && !has_encoding),
        Ok(BodyLength::Exact(_)) | Err(_) => {}
    }
});
