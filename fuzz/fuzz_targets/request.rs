//! Requests behind one another, as a stranger sends them: cut into pieces anywhere, they are the same requests with the
//! same bodies, or the same refusal. The first byte says where they are cut.
#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use ogel_proxy::http1::{BodyLength, Chunk, ChunkDecoder, HeadSearch, RequestHead};

const MAX_HEAD: usize = 2048;

/// What was read, and whether something was refused.
type Outcome = (Vec<(String, usize, Vec<u8>)>, bool);

fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Outcome {
    let mut requests = Vec::new();
    let (mut text, mut search, mut body) = (BytesMut::new(), HeadSearch::default(), None::<(Option<ChunkDecoder>, u64)>);
    for piece in pieces {
        text.extend_from_slice(piece);
        loop {
            match &mut body {
                None => match search.end(&text, MAX_HEAD) {
                    Ok(None) => break,
                    Err(_) => return (requests, true),
                    Ok(Some(length)) => {
                        search = HeadSearch::default();
                        let Ok(head) = RequestHead::parse(&Bytes::from(text.split_to(length).to_vec())) else {
                            return (requests, true);
                        };
                        requests.push((format!("{} {}", head.method, head.uri), head.headers.len(), Vec::new()));
                        body = Some(match head.body {
                            BodyLength::Chunked => (Some(ChunkDecoder::new()), 0),
                            BodyLength::Exact(length) => (None, length),
                            BodyLength::UntilClose => unreachable!("no request ends with its connection"),
                        });
                    }
                },
                Some((None, left)) => {
                    let count = usize::try_from(*left).unwrap_or(usize::MAX).min(text.len());
                    *left -= count as u64;
                    let is_over = *left == 0;
                    requests.last_mut().unwrap().2.extend_from_slice(&text.split_to(count));
                    if is_over {
                        body = None;
                    } else {
                        break;
                    }
                }
                Some((Some(decoder), _)) => {
                    let Ok((framing, chunk)) = decoder.next(&text) else { return (requests, true) };
                    let _ = text.split_to(framing);
                    match chunk {
                        Chunk::Incomplete => break,
                        Chunk::Data(count) => requests.last_mut().unwrap().2.extend_from_slice(&text.split_to(count)),
                        Chunk::End(_) => body = None,
                    }
                }
            }
        }
    }
    (requests, false)
}

fuzz_target!(|data: &[u8]| {
    let Some((cut, text)) = data.split_first() else { return };
    let whole = read(std::iter::once(text));
    let cut = usize::from(*cut).max(1);
    let pieces = read(text.chunks(cut));
    // What cannot become a head may be found out earlier when more of it has come.
    let common = whole.0.len().min(pieces.0.len());
    assert!(whole.1 || whole.0.len() == pieces.0.len());
    assert!(whole.1 || !pieces.1, "refused in pieces, and not when it is whole");
    for (one, other) in whole.0[..common].iter().zip(&pieces.0[..common]) {
        assert_eq!((&one.0, one.1), (&other.0, other.1));
        assert!(one.2.starts_with(&other.2) || other.2.starts_with(&one.2));
    }
});
