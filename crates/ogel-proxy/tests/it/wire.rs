//! What an upstream may send, byte for byte: answers that are read alike however they are cut, answers that are refused
//! and end their connection, and what must not reach the next request.

use crate::{
    asking::{ask, get_of, pass_on, rules, until},
    raw::{read_until, upstream},
};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use ogel_proxy::{Limits, OutgoingBody, Replay, Sending, Upstream, UpstreamBody, UpstreamError};
use proptest::prelude::*;
use std::{
    convert::Infallible,
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
    time::Instant,
};

const FINE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine";

fn request(method: Method) -> Request<OutgoingBody> {
    Request::builder().method(method).uri("/path").body(OutgoingBody::empty()).unwrap()
}

fn sending(replay: Replay) -> Sending<'static> {
    until(Instant::now() + Duration::from_secs(600), replay)
}

async fn get(upstream: &Upstream) -> Result<Response<Bytes>, UpstreamError> {
    ask(upstream, &get_of("/path"), sending(Replay::Never)).await
}

/// An upstream that answers each request with the next of these pieces, each written by itself; with `closes`, it then
/// closes the connection.
fn answering(answers: Vec<Vec<Vec<u8>>>, closes: bool) -> Upstream {
    let answers = Arc::new(Mutex::new(answers.into_iter()));
    upstream(Limits::default(), move |mut stream| {
        let answers = answers.clone();
        async move {
            let mut byte = [0];
            let mut read = Vec::new();
            while let Ok(1) = stream.read(&mut byte).await {
                read.push(byte[0]);
                if !read.ends_with(b"\r\n\r\n") {
                    continue;
                }
                read.clear();
                let Some(pieces) = answers.lock().unwrap().next() else { return };
                for piece in pieces {
                    if stream.write_all(&piece).await.is_err() {
                        return;
                    }
                    // Until the other side has nothing left to do: it has read this piece by itself.
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                if closes {
                    return;
                }
            }
        }
    })
}

fn whole(text: &str) -> Vec<Vec<u8>> {
    vec![text.as_bytes().to_vec()]
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_could_be_read_in_two_ways_is_refused_and_its_connection_is_not_used_again() {
    let flood = "HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n".repeat(100) + FINE;
    for text in [
        "HTTP/1.1 200 OK\nx: 1\ncontent-length: 4\n\nfine",
        "HTTP/1.1 200 OK\r\nx: 1\ncontent-length: 4\r\n\r\nfine",
        "HTTP/1.1 200 OK\r\nx: a\r\n\tfolded\r\ncontent-length: 4\r\n\r\nfine",
        "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nfine\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n4\r\nfine\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 4, 5\r\n\r\nfine",
        "HTTP/1.1 204 No Content\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\nfine\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nfineX0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\nfine\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nfine\r\n0\r\nbad trailer\r\n\r\n",
        "HTTP/2 200\r\ncontent-length: 4\r\n\r\nfine",
        "HTTP/1.1 000 Zero\r\ncontent-length: 4\r\n\r\nfine",
        "HTTP/1.1 200 OK\r\nlocation: /a\r\nset-cookie\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\nnonsense\r\n\r\n",
        &flood,
    ] {
        let upstream = answering(vec![whole(text), whole(FINE)], false);
        let error = get(&upstream).await.unwrap_err();
        assert!(matches!(error, UpstreamError::Protocol { .. }), "{text}: {error:?}");
        assert_eq!(upstream.idle_connections(), 0, "{text}");
        assert_eq!(get(&upstream).await.unwrap().body(), "fine");
        assert_eq!(upstream.connections_opened(), 2, "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_used_again_only_when_both_sides_know_where_the_answer_ended() {
    for (text, closes, kept) in [
        (FINE, false, 1),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4;x=y\r\nfine\r\n0\r\n\r\n", false, 1),
        ("HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 4\r\n\r\nfine", false, 1),
        ("HTTP/1.0 200 OK\r\ncontent-length: 4\r\n\r\nfine", false, 0),
        ("HTTP/1.1 200 OK\r\nconnection: x, Close\r\ncontent-length: 4\r\n\r\nfine", false, 0),
        ("HTTP/1.1 200 OK\r\n\r\nfine", true, 0),
        ("HTTP/1.0 200 OK\r\n\r\nfine", true, 0),
    ] {
        let upstream = answering(vec![whole(text)], closes);
        assert_eq!(get(&upstream).await.unwrap().body(), "fine", "{text}");
        assert_eq!(upstream.idle_connections(), kept, "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_comes_late_and_unasked_ends_the_connection_before_the_next_request() {
    let late = vec![FINE.as_bytes().to_vec(), b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil".to_vec()];
    let upstream = answering(vec![late, whole(FINE)], false);
    assert_eq!(get(&upstream).await.unwrap().body(), "fine");
    assert_eq!(upstream.idle_connections(), 1, "it looks well");
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(get(&upstream).await.unwrap().body(), "fine");
    assert_eq!(upstream.connections_opened(), 2);
}

#[tokio::test(start_paused = true)]
async fn idle_connections_are_closed_when_nobody_asks_for_them_any_more() {
    let (ended, mut end) = mpsc::channel(1);
    let limits = Limits { idle_timeout: Duration::from_secs(40), ..Limits::default() };
    let upstream = upstream(limits, move |mut stream| {
        let ended = ended.clone();
        async move {
            read_until(&mut stream, "\r\n\r\n").await;
            stream.write_all(FINE.as_bytes()).await.unwrap();
            let started = Instant::now();
            stream.read_u8().await.unwrap_err();
            ended.send(started.elapsed()).await.unwrap();
        }
    });
    for _ in 0..2 {
        get(&upstream).await.unwrap();
        let idle = end.recv().await.unwrap();
        assert!(idle >= Duration::from_secs(40) && idle <= Duration::from_secs(51), "{idle:?}");
        assert_eq!(upstream.idle_connections(), 0);
    }
    let closing = answering(vec![whole(FINE)], true);
    get(&closing).await.unwrap();
    assert_eq!(closing.idle_connections(), 1, "not looked at yet");
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert_eq!(closing.idle_connections(), 0, "closed by the upstream");
}

#[tokio::test(start_paused = true)]
async fn early_hints_are_told_as_they_come_and_a_100_is_not() {
    let text = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: a\r\nlink: b\r\n\r\n\
                HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nx: 1\r\ncontent-length: 4\r\n\r\nfine";
    for cut in [text.len(), 30, 90] {
        let (first, second) = text.split_at(cut);
        let upstream = answering(vec![vec![first.as_bytes().to_vec(), second.as_bytes().to_vec()]], false);
        let told = Mutex::new(Vec::new());
        let tell = |status: StatusCode, headers: HeaderMap| {
            let links = headers.get_all("link").iter().filter_map(|link| link.to_str().ok().map(str::to_owned));
            told.lock().unwrap().push((status.as_u16(), links.collect::<Vec<_>>()));
        };
        let how = Sending { informational: Some(&tell), ..sending(Replay::Never) };
        let answer = pass_on(&upstream, &rules(&["link", "x"]), request(Method::GET), how).await.unwrap();
        let (_, headers, body, _) = read(answer).await.unwrap();
        assert_eq!((&headers["x"], headers.len(), &body[..]), (&"1".parse().unwrap(), 1, &b"fine"[..]));
        assert_eq!(*told.lock().unwrap(), [(103, vec!["a".to_owned(), "b".to_owned()]), (102, vec![])]);
        assert_eq!(upstream.idle_connections(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn hints_without_end_do_not_put_off_the_first_byte_timeout() {
    let upstream =
        upstream(Limits { first_byte_timeout: Duration::from_secs(5), ..Limits::default() }, |mut stream| async move {
            read_until(&mut stream, "\r\n\r\n").await;
            while stream.write_all(b"HTTP/1.1 103 Early Hints\r\n\r\n").await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
    let started = Instant::now();
    let error = get(&upstream).await.unwrap_err();
    assert!(matches!(error, UpstreamError::FirstByteTimeout), "{error:?}");
    assert_eq!(started.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn half_a_head_is_no_answer_and_is_never_asked_for_again() {
    let upstream = answering(vec![whole(FINE), whole("HTTP/1.1 200 OK\r\ncontent-le"), whole(FINE)], true);
    let connections = Arc::new(AtomicUsize::new(0));
    let two = crate::raw::upstream(Limits::default(), {
        let connections = connections.clone();
        move |mut stream| {
            connections.fetch_add(1, SeqCst);
            async move {
                read_until(&mut stream, "\r\n\r\n").await;
                stream.write_all(FINE.as_bytes()).await.unwrap();
                read_until(&mut stream, "\r\n\r\n").await;
                stream.write_all(b"HTTP/1.1 200 OK\r\nx-half").await.unwrap();
            }
        }
    });
    get(&two).await.unwrap();
    let error = ask(&two, &get_of("/path"), sending(Replay::Keyed)).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Reset { sent: true, .. }), "{error:?}");
    assert_eq!(connections.load(SeqCst), 1, "an answer had begun");
    get(&upstream).await.unwrap();
    let error = get(&upstream).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Reset { sent: true, .. }), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_a_request_that_the_upstream_stopped_reading_is_still_read() {
    let upstream = upstream(Limits::default(), |mut stream| async move {
        read_until(&mut stream, "\r\n\r\n").await;
        stream.write_all(b"HTTP/1.1 413 Too Large\r\ncontent-length: 4\r\n\r\nfine").await.unwrap();
        // Closed: whatever is written from now on fails.
    });
    let endless = stream::repeat_with(|| Ok::<_, Infallible>(Frame::data(Bytes::from(vec![7; 16 << 10]))));
    let body = OutgoingBody::limited(StreamBody::new(endless.boxed()), u64::MAX);
    let request = Request::builder().method(Method::POST).uri("/path").body(body).unwrap();
    let answer = pass_on(&upstream, &rules(&[]), request, sending(Replay::Never)).await.unwrap();
    let (status, _, body, _) = read(answer).await.unwrap();
    assert_eq!((status, &body[..]), (413, &b"fine"[..]));
    assert_eq!(upstream.idle_connections(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_not_as_long_as_it_said_never_looks_whole() {
    for (pieces, said) in [(vec!["abc"], 4), (vec!["abc", "de"], 4)] {
        let (ended, mut end) = mpsc::channel(1);
        let upstream = upstream(Limits::default(), move |mut stream| {
            let ended = ended.clone();
            async move {
                let mut all = Vec::new();
                stream.read_to_end(&mut all).await.unwrap();
                ended.send(String::from_utf8(all).unwrap()).await.unwrap();
            }
        });
        let frames = pieces.into_iter().map(|piece| Ok::<_, io::Error>(Frame::data(Bytes::from(piece))));
        let body = OutgoingBody::limited(Said(StreamBody::new(stream::iter(frames)), said), u64::MAX);
        let request = Request::builder().method(Method::POST).uri("/path").body(body).unwrap();
        let how = until(Instant::now() + Duration::from_secs(9), Replay::Never);
        let error = pass_on(&upstream, &rules(&[]), request, how).await.err().unwrap();
        assert!(matches!(error, UpstreamError::RequestBody { .. }), "{error:?}");
        let seen = end.recv().await.unwrap();
        assert!(seen.split("\r\n\r\n").nth(1).is_some_and(|body| body.len() < 4), "{seen}");
    }
}

/// A body that says how long it is, truly or not.
struct Said<S>(StreamBody<S>, u64);

impl<S> http_body::Body for Said<S>
where
    S: futures_util::Stream<Item = Result<Frame<Bytes>, io::Error>> + Unpin,
{
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        std::pin::Pin::new(&mut self.0).poll_frame(cx)
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.1)
    }
}

/// The status, the headers, the body and the trailers.
type Read = (u16, HeaderMap, Bytes, Option<HeaderMap>);

async fn read(response: Response<UpstreamBody>) -> Result<Read, UpstreamError> {
    let (head, body) = response.into_parts();
    let whole = body.collect().await?;
    Ok((head.status.as_u16(), head.headers, whole.trailers().cloned(), whole.to_bytes()))
        .map(|(status, headers, trailers, body)| (status, headers, body, trailers))
}

fn body_text() -> impl Strategy<Value = (String, Vec<u8>)> {
    let bytes = proptest::collection::vec(any::<u8>(), 0..300);
    (bytes, 0..3_usize, 1..70_usize).prop_map(|(body, framing, size)| {
        let mut text = Vec::new();
        let head = match framing {
            0 => {
                text.extend_from_slice(&body);
                format!("content-length: {}\r\n", body.len())
            }
            1 => {
                for chunk in body.chunks(size) {
                    text.extend_from_slice(format!("{:x};x=\"y\"\r\n", chunk.len()).as_bytes());
                    text.extend_from_slice(chunk);
                    text.extend_from_slice(b"\r\n");
                }
                text.extend_from_slice(b"0\r\nx-sum: 1\r\n\r\n");
                "transfer-encoding: chunked\r\n".to_owned()
            }
            _ => {
                text.extend_from_slice(&body);
                "connection: close\r\n".to_owned()
            }
        };
        (head, text)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// The same answer in one piece and cut anywhere, with hints before it, is the same answer.
    #[test]
    fn an_answer_means_the_same_however_it_is_cut(
        hints in 0..3_usize,
        status in proptest::sample::select(&[200_u16, 201, 404, 500][..]),
        fields in proptest::collection::vec(("[a-z][a-z0-9-]{0,12}", "[!-~]([ -~]{0,20}[!-~])?"), 0..6),
        (framing, body) in body_text(),
        cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..12),
    ) {
        let mut text = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n".repeat(hints).into_bytes();
        text.extend_from_slice(format!("HTTP/1.1 {status} Any\r\n{framing}").as_bytes());
        for (name, value) in &fields {
            text.extend_from_slice(format!("x-{name}: {value}\r\n").as_bytes());
        }
        text.extend_from_slice(b"\r\n");
        text.extend_from_slice(&body);
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|cut| text[cut[0]..cut[1]].to_vec()).filter(|piece| !piece.is_empty()).collect();
        let closes = framing.contains("close");
        // A list is made once in a program's life, so its names are never given back.
        let names = fields.iter().map(|(name, _)| &*format!("x-{name}").leak());
        let rules = rules(&names.chain(["x-sum"]).collect::<Vec<_>>());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let both = runtime.block_on(async {
            let mut both = Vec::new();
            for answer in [vec![text.clone()], pieces] {
                let upstream = answering(vec![answer], closes);
                let answer = pass_on(&upstream, &rules, request(Method::GET), sending(Replay::Never));
                let response = answer.await.unwrap();
                let read = read(response).await.unwrap();
                both.push((read, upstream.idle_connections()));
            }
            both
        });
        prop_assert_eq!(both[0].0.0, status);
        prop_assert_eq!(both[0].0.1.len(), fields.len());
        prop_assert_eq!(both[0].1, usize::from(!closes));
        prop_assert_eq!(&both[0], &both[1]);
    }
}
