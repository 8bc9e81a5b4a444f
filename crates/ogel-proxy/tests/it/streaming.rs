//! Bodies that stream, both ways: bounded memory, trailers, early answers, and what breaks in the middle.

use crate::{
    asking::{pass_on, rules, until},
    raw::{Counted, PIECE, read_until, upstream},
};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use ogel_proxy::{BodyStalled, Limits, OutgoingBody, Replay, Upstream, UpstreamBody, UpstreamError};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::{Notify, mpsc},
    time::Instant,
};

const SIZE: usize = 64 << 20;
/// What the pipes and buffers between the two ends may hold.
const MOST_IN_FLIGHT: u64 = 512 << 10;
const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine";

fn request(method: Method, body: OutgoingBody) -> Request<OutgoingBody> {
    Request::builder().method(method).uri("/path").body(body).unwrap()
}

async fn send(upstream: &Upstream, request: Request<OutgoingBody>) -> Result<Response<UpstreamBody>, UpstreamError> {
    let how = until(Instant::now() + Duration::from_secs(600), Replay::BySafety);
    pass_on(upstream, &rules(&["set-cookie", "x-sum"]), request, how).await
}

async fn text(response: Response<UpstreamBody>) -> Bytes {
    response.into_body().collect().await.unwrap().to_bytes()
}

/// A body that is fed by hand.
fn fed() -> (mpsc::Sender<io::Result<Frame<Bytes>>>, OutgoingBody) {
    let (feed, frames) = mpsc::channel(1);
    let frames = stream::unfold(frames, |mut frames| async { frames.recv().await.map(|frame| (frame, frames)) });
    (feed, OutgoingBody::limited(StreamBody::new(frames.boxed()), u64::MAX))
}

fn data(text: &'static str) -> io::Result<Frame<Bytes>> {
    Ok(Frame::data(Bytes::from_static(text.as_bytes())))
}

#[tokio::test(start_paused = true)]
async fn a_large_request_goes_through_in_bounded_memory_however_slow_the_reader() {
    let (body, made) = Counted::body(SIZE / PIECE, true);
    let most = Arc::new(AtomicU64::new(0));
    let upstream = upstream(Limits::default(), {
        let most = most.clone();
        move |mut stream| {
            let (made, most) = (made.clone(), most.clone());
            async move {
                let head = read_until(&mut stream, "\r\n\r\n").await;
                assert!(head.contains(&format!("content-length: {SIZE}\r\n")), "{head}");
                assert!(!head.contains("transfer-encoding"), "{head}");
                let mut buffer = vec![0; 1 << 20];
                for read in 1..=SIZE >> 20 {
                    // Slower than any buffer fills, and past the first byte timeout in all.
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    most.fetch_max(made.load(SeqCst) - ((read - 1) << 20) as u64, SeqCst);
                    stream.read_exact(&mut buffer).await.unwrap();
                }
                stream.write_all(OK).await.unwrap();
                stream.read_u8().await.unwrap_err();
            }
        }
    });
    assert_eq!(text(send(&upstream, request(Method::POST, body)).await.unwrap()).await, "fine");
    let most = most.load(SeqCst);
    assert!(most > 0 && most < MOST_IN_FLIGHT, "{most} bytes were in flight");
    assert_eq!(upstream.idle_connections(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_large_response_comes_through_in_bounded_memory_however_slow_the_reader() {
    let written = Arc::new(AtomicU64::new(0));
    let upstream = upstream(Limits::default(), {
        let written = written.clone();
        move |mut stream| {
            let written = written.clone();
            async move {
                read_until(&mut stream, "\r\n\r\n").await;
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {SIZE}\r\n\r\n");
                stream.write_all(head.as_bytes()).await.unwrap();
                for _ in 0..SIZE / PIECE {
                    stream.write_all(&[7; PIECE]).await.unwrap();
                    written.fetch_add(PIECE as u64, SeqCst);
                }
                stream.read_u8().await.unwrap_err();
            }
        }
    });
    let mut body = send(&upstream, request(Method::GET, OutgoingBody::empty())).await.unwrap().into_body();
    let (mut read, mut most) = (0, 0);
    while let Some(frame) = body.frame().await {
        read += frame.unwrap().into_data().unwrap().len() as u64;
        if read % 64 == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        most = most.max(written.load(SeqCst).saturating_sub(read));
    }
    assert_eq!(read, SIZE as u64);
    assert!(most > 0 && most < MOST_IN_FLIGHT, "{most} bytes were in flight");
}

#[tokio::test(start_paused = true)]
async fn events_pass_one_by_one_as_they_come() {
    let heard = Arc::new(Notify::new());
    let upstream = upstream(Limits::default(), {
        let heard = heard.clone();
        move |mut stream| {
            let heard = heard.clone();
            async move {
                read_until(&mut stream, "\r\n\r\n").await;
                let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
                stream.write_all(head.as_bytes()).await.unwrap();
                for event in ["9\r\ndata: 1\n\n\r\n", "9\r\ndata: 2\n\n\r\n"] {
                    stream.write_all(event.as_bytes()).await.unwrap();
                    heard.notified().await;
                }
                stream.write_all(b"0\r\n\r\n").await.unwrap();
                heard.notified().await;
            }
        }
    });
    let mut body = send(&upstream, request(Method::GET, OutgoingBody::empty())).await.unwrap().into_body();
    for event in ["data: 1\n\n", "data: 2\n\n"] {
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), event);
        heard.notify_one();
    }
    assert!(body.frame().await.is_none());
    assert_eq!(upstream.idle_connections(), 1);
}

#[tokio::test(start_paused = true)]
async fn trailers_travel_both_ways_and_those_that_have_no_place_there_do_not() {
    let upstream = upstream(Limits::default(), |mut stream| async move {
        let head = read_until(&mut stream, "\r\n\r\n").await;
        assert!(head.contains("transfer-encoding: chunked") && !head.contains("content-length"), "{head}");
        let body = read_until(&mut stream, "\r\n\r\n").await;
        assert_eq!(body, "2\r\nab\r\n0\r\nx-sum: 1\r\n\r\n");
        let answer = "HTTP/1.1 200 OK\r\ntrailer: x-sum\r\ntransfer-encoding: chunked\r\n\r\n\
                      2\r\ncd\r\n0\r\nx-sum: 2\r\ncontent-length: 9\r\nset-cookie: a=b\r\n\r\n";
        stream.write_all(answer.as_bytes()).await.unwrap();
        stream.read_u8().await.unwrap_err();
    });
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("1"));
    trailers.insert("x-other", HeaderValue::from_static("1"));
    let (feed, body) = fed();
    let mut request = request(Method::PUT, body);
    request.headers_mut().insert("trailer", HeaderValue::from_static("x-sum"));
    let (response, ()) = tokio::join!(send(&upstream, request), async {
        feed.send(data("ab")).await.unwrap();
        feed.send(Ok(Frame::trailers(trailers))).await.unwrap();
    });
    let whole = response.unwrap().into_body().collect().await.unwrap();
    let trailers = whole.trailers().unwrap();
    assert_eq!(trailers.len(), 1);
    assert_eq!(trailers["x-sum"], "2");
    assert_eq!(whole.to_bytes(), "cd");
    assert_eq!(upstream.idle_connections(), 1);
}

#[tokio::test(start_paused = true)]
async fn each_kind_of_body_is_framed_in_its_own_way_whatever_the_headers_claim() {
    let upstream = upstream(Limits::default(), |mut stream| async move {
        loop {
            let head = read_until(&mut stream, "\r\n\r\n").await;
            let end = if head.contains("chunked") { "0\r\n\r\n" } else { "" };
            read_until(&mut stream, end).await;
            if head.contains("content-length: 16384") {
                stream.read_exact(&mut [0; PIECE]).await.unwrap();
            }
            let is_ours = |line: &&str| line.starts_with("host") || line.starts_with("x-forwarded-");
            let lines = head.lines().filter(|line| !is_ours(line) && line.contains(": "));
            let body = lines.collect::<Vec<_>>().join(";");
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    let one = |tells_length| Counted::body(1, tells_length).0;
    for (method, body, framing) in [
        (Method::GET, OutgoingBody::empty(), ""),
        (Method::DELETE, OutgoingBody::empty(), ""),
        (Method::POST, OutgoingBody::empty(), "content-length: 0"),
        (Method::POST, one(true), "content-length: 16384"),
        (Method::POST, one(false), "transfer-encoding: chunked"),
        (Method::GET, one(false), "transfer-encoding: chunked"),
        (Method::GET, one(true), "content-length: 16384"),
    ] {
        let mut request = request(method, body);
        for (name, value) in [("content-length", "7"), ("transfer-encoding", "gzip"), ("expect", "100-continue")] {
            request.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        assert_eq!(text(send(&upstream, request).await.unwrap()).await, framing);
    }
    assert_eq!(upstream.connections_opened(), 1);
}

#[tokio::test(start_paused = true)]
async fn answers_that_have_no_body_end_with_their_head() {
    let upstream = upstream(Limits::default(), |mut stream| async move {
        loop {
            let head = read_until(&mut stream, "\r\n\r\n").await;
            let answer = match head.split(' ').next().unwrap() {
                "HEAD" => "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n",
                "DELETE" => "HTTP/1.1 204 No Content\r\n\r\n",
                _ => {
                    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 X\r\nlink: a\r\n\r\n\
                      HTTP/1.1 304 Not Modified\r\ncontent-length: 1000\r\n\r\n"
                }
            };
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    for (method, status) in [(Method::HEAD, 200), (Method::DELETE, 204), (Method::GET, 304)] {
        let response = send(&upstream, request(method, OutgoingBody::empty())).await.unwrap();
        assert_eq!((response.status().as_u16(), upstream.idle_connections()), (status, 1));
        assert_eq!(text(response).await, "");
    }
    assert_eq!(upstream.connections_opened(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_breaks_off_is_broken_off_at_the_upstream_and_is_not_its_fault() {
    let (ended, mut end) = mpsc::channel(1);
    let upstream = upstream(Limits::default(), move |mut stream| {
        let ended = ended.clone();
        async move {
            let mut all = Vec::new();
            stream.read_to_end(&mut all).await.unwrap();
            ended.send(String::from_utf8(all).unwrap()).await.unwrap();
        }
    });
    let (feed, body) = fed();
    let (result, ()) = tokio::join!(send(&upstream, request(Method::POST, body)), async {
        feed.send(data("half")).await.unwrap();
        feed.send(Err(io::Error::new(io::ErrorKind::ConnectionReset, "the client is gone"))).await.unwrap();
    });
    let error = result.err().unwrap();
    let UpstreamError::RequestBody { source } = &error else { panic!("{error:?}") };
    assert_eq!(source.downcast_ref::<io::Error>().unwrap().to_string(), "the client is gone");
    assert!(error.may_have_been_processed() && !error.is_transient());
    let seen = end.recv().await.unwrap();
    assert!(!seen.ends_with("0\r\n\r\n"), "half a body must not look whole: {seen}");

    let (made, left) = (Arc::new(AtomicU64::new(0)), 100);
    let large = OutgoingBody::limited(Counted { left, made, tells_length: false }, 3 * PIECE as u64);
    let error = send(&upstream, request(Method::POST, large)).await.err().unwrap();
    assert_eq!(error.request_body_too_large().unwrap().limit, 3 * PIECE as u64);
    assert!(!end.recv().await.unwrap().ends_with("0\r\n\r\n"));
    assert_eq!(upstream.idle_connections(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_is_silent_in_the_middle_of_a_request_is_the_one_who_is_blamed() {
    let limits = Limits {
        first_byte_timeout: Duration::from_secs(5),
        request_idle_timeout: Duration::from_secs(9),
        ..Limits::default()
    };
    let started = Instant::now();
    let reads_all = upstream(limits, |mut stream| async move { drop(stream.read_to_end(&mut Vec::new()).await) });
    let (feed, body) = fed();
    feed.send(data("half")).await.unwrap();
    let error = send(&reads_all, request(Method::POST, body)).await.err().unwrap();
    let UpstreamError::RequestBody { source } = &error else { panic!("{error:?}") };
    assert!(source.is::<BodyStalled>() && started.elapsed().as_secs() == 9);

    let reads_nothing = upstream(limits, |stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    });
    let (body, _) = Counted::body(1000, true);
    let error = send(&reads_nothing, request(Method::POST, body)).await.err().unwrap();
    assert!(matches!(error, UpstreamError::FirstByteTimeout), "{error:?}");
    assert_eq!(started.elapsed().as_secs(), 14);
}

#[tokio::test(start_paused = true)]
async fn an_early_answer_is_passed_on_and_the_rest_of_the_request_is_not_sent() {
    let (ended, mut end) = mpsc::channel(1);
    let upstream = upstream(Limits::default(), move |mut stream| {
        let ended = ended.clone();
        async move {
            read_until(&mut stream, "half\r\n").await;
            stream.write_all(b"HTTP/1.1 413 Too Large\r\ncontent-length: 4\r\n\r\nfine").await.unwrap();
            let mut rest = Vec::new();
            drop(stream.read_to_end(&mut rest).await);
            ended.send(rest).await.unwrap();
        }
    });
    let (feed, body) = fed();
    feed.send(data("half")).await.unwrap();
    let response = send(&upstream, request(Method::POST, body)).await.unwrap();
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(text(response).await, "fine");
    assert_eq!(end.recv().await.unwrap(), b"");
    assert_eq!(upstream.idle_connections(), 0);
    assert!(feed.is_closed(), "the request's body was let go of");
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_answers_while_it_reads_is_served_to_the_end() {
    let limits = Limits { body_idle_timeout: Duration::from_secs(5), ..Limits::default() };
    let upstream = upstream(limits, |mut stream| async move {
        read_until(&mut stream, "\r\n\r\n").await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
        read_until(&mut stream, "0\r\n\r\n").await;
        stream.write_all(b"4\r\nfine\r\n0\r\n\r\n").await.unwrap();
        stream.read_u8().await.unwrap_err();
    });
    let (feed, body) = fed();
    feed.send(data("a")).await.unwrap();
    let response = send(&upstream, request(Method::POST, body)).await.unwrap();
    let (body, ()) = tokio::join!(text(response), async move {
        for _ in 0..4 {
            tokio::time::sleep(Duration::from_secs(4)).await;
            feed.send(data("b")).await.unwrap();
        }
    });
    assert_eq!((body, upstream.idle_connections()), (Bytes::from_static(b"fine"), 1));
}

#[tokio::test(start_paused = true)]
async fn a_streamed_request_is_never_sent_twice() {
    let connections = Arc::new(AtomicU64::new(0));
    let upstream = upstream(Limits::default(), {
        let connections = connections.clone();
        move |mut stream| {
            connections.fetch_add(1, SeqCst);
            async move {
                read_until(&mut stream, "\r\n\r\n").await;
                stream.write_all(OK).await.unwrap();
                read_until(&mut stream, "half").await;
            }
        }
    });
    text(send(&upstream, request(Method::GET, OutgoingBody::empty())).await.unwrap()).await;
    let (feed, body) = fed();
    feed.send(data("half")).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let how = until(deadline, Replay::Keyed);
    let result = pass_on(&upstream, &rules(&[]), request(Method::PUT, body), how).await;
    let error = result.err().unwrap();
    assert!(matches!(error, UpstreamError::Reset { sent: true, .. }), "{error:?}");
    assert_eq!(connections.load(SeqCst), 1);
}
