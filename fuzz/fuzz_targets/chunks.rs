//! A chunked body is read as the same, or refused, however it is cut into pieces; and what is left behind its end is
//! what was not taken.
#![no_main]

use http::HeaderMap;
use libfuzzer_sys::fuzz_target;
use ogel_proxy::http1::{Chunk, ChunkDecoder, ChunkError, chunks};

#[derive(Debug, Default, PartialEq)]
struct Read {
    data: Vec<u8>,
    trailers: Option<HeaderMap>,
    taken: usize,
    is_over: bool,
}

fn read(text: &[u8], piece: usize) -> Result<Read, ChunkError> {
    let (mut decoder, mut read) = (ChunkDecoder::new(), Read::default());
    for mut rest in text.chunks(piece) {
        while !read.is_over {
            let (framing, chunk) = decoder.next(rest)?;
            read.taken += framing;
            rest = &rest[framing..];
            match chunk {
                Chunk::Incomplete => {
                    assert!(rest.is_empty(), "all of it is framing");
                    break;
                }
                Chunk::Data(length) => {
                    read.data.extend_from_slice(&rest[..length]);
                    read.taken += length;
                    rest = &rest[length..];
                }
                Chunk::End(trailers) => (read.trailers, read.is_over) = (trailers, true),
            }
        }
    }
    Ok(read)
}

fuzz_target!(|input: (u8, &[u8])| {
    let (piece, text) = input;
    let whole = read(text, usize::MAX);
    assert_eq!(read(text, usize::from(piece) + 1), whole);
    let Ok(Read { trailers: Some(trailers), is_over: true, .. }) = whole else { return };
    let mut written = Vec::new();
    chunks::write_last(&trailers, &mut written);
    assert_eq!(read(&written, 3).map(|read| read.trailers), Ok(Some(trailers)));
});
