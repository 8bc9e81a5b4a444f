//! A connection of HTTP/1.1 from request to request: what keeps it, what ends it, and what is noticed meanwhile.

use crate::{
    raw::in_front_of,
    scripted::{Scripted, length_of, read_body, read_head},
};
use ogel_proxy::http1::{Chunk, ChunkDecoder};
use ogel_testkit::{Database, TestApp, eventually};
use parking_lot::Mutex;
use std::{sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::Notify,
};

/// One answer with a length: its head in lower case, and its body.
async fn answer(stream: &mut TcpStream) -> (String, String) {
    let head = read_head(stream).await.expect("an answer");
    let mut body = vec![0; length_of(&head)];
    stream.read_exact(&mut body).await.unwrap();
    (head, String::from_utf8(body).unwrap())
}

/// What comes until the connection ends.
async fn rest(stream: &mut TcpStream) -> String {
    let mut rest = Vec::new();
    tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut rest)).await.expect("an end").unwrap();
    String::from_utf8(rest).unwrap()
}

async fn connections(app: &TestApp, count: u32) {
    let line = format!("\nogel_connections {count}\n");
    eventually(&line, async || app.operations("/metrics").await.1.contains(&line).then_some(())).await;
}

/// A backend that answers with the body it got, the request's target in front of it.
async fn echoing() -> (Scripted, Arc<Mutex<Vec<(String, Vec<u8>)>>>) {
    let bodies = Arc::new(Mutex::new(Vec::new()));
    let seen = bodies.clone();
    let studio = Scripted::start(Arc::new(move |head, mut stream| {
        let seen = seen.clone();
        Box::pin(async move {
            let body = read_body(&mut stream, &head).await?;
            let said = format!("{} {}", head.split(' ').nth(1)?, body.escape_ascii());
            seen.lock().push((head.split(' ').take(2).collect::<Vec<_>>().join(" "), without_chunks(&head, body)));
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{said}", said.len());
            let answer = if head.starts_with("head") {
                answer.split("\r\n\r\n").next()?.to_owned() + "\r\n\r\n"
            } else {
                answer
            };
            stream.write_all(answer.as_bytes()).await.ok().map(|()| stream)
        })
    }))
    .await;
    (studio, bodies)
}

fn without_chunks(head: &str, body: Vec<u8>) -> Vec<u8> {
    if !head.contains("transfer-encoding: chunked") {
        return body;
    }
    let (mut decoder, mut rest, mut data) = (ChunkDecoder::new(), &body[..], Vec::new());
    while let (framing, Chunk::Data(length)) = decoder.next(rest).unwrap() {
        data.extend_from_slice(&rest[framing..framing + length]);
        rest = &rest[framing + length..];
    }
    data
}

/// Wherever a stream of requests is cut into pieces, the same requests come out of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_the_same_however_they_are_cut_into_pieces() {
    let (studio, bodies) = echoing().await;
    let app = in_front_of(&studio, |config| (config.limits.address, config.limits.anonymous) = (0, 0)).await;
    let text = "GET /api/v2/billing/a HTTP/1.1\r\nhost: x\r\n\r\n\
        POST /api/v2/billing/b HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello\r\n\
        POST /api/v2/billing/c HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n\
        4;x=y\r\nGET \r\n0c\r\n/ HTTP/1.1\r\n\r\n0\r\nx-sum: 1\r\n\r\n\
        HEAD /api/v2/billing/d HTTP/1.1\r\nhost: x\r\n\r\n\
        GET /api/v2/billing/e HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        .as_bytes();
    let mut random = 7_u64;
    for round in 0..40 {
        bodies.lock().clear();
        let mut stream = TcpStream::connect(app.address()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut left = text;
        while !left.is_empty() {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // In all sizes: whole, in large pieces, byte by byte.
            let most = [text.len(), 200, 30, 3][round % 4];
            let count = (1 + (random >> 33) as usize % most).min(left.len());
            stream.write_all(&left[..count]).await.unwrap();
            left = &left[count..];
            if round % 4 != 0 {
                tokio::time::sleep(Duration::from_micros(300)).await;
            }
        }
        let answers = rest(&mut stream).await;
        assert_eq!(answers.matches("HTTP/1.1 200 OK\r\n").count(), 5, "{round}: {answers}");
        assert!(answers.ends_with("/api/v2/billing/e "), "{round}: {answers}");
        let got = bodies.lock().clone();
        let got: Vec<_> = got.iter().map(|(line, body)| (&line[..], std::str::from_utf8(body).unwrap())).collect();
        let expected = [
            ("get /api/v2/billing/a", ""),
            ("post /api/v2/billing/b", "hello"),
            ("post /api/v2/billing/c", "GET / HTTP/1.1\r\n"),
            ("head /api/v2/billing/d", ""),
            ("get /api/v2/billing/e", ""),
        ];
        assert_eq!(got, expected, "{round}");
    }
    app.stop().await;
}

/// What stands where trailers should is no request, however it was cut.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_hidden_in_trailers_stays_hidden() {
    let (studio, bodies) = echoing().await;
    let app = in_front_of(&studio, |_| {}).await;
    let hidden = "GET /api/v2/billing/hidden HTTP/1.1\r\nhost: x\r\n\r\n";
    let head = "POST /api/v2/billing/x HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n";
    for pause in [0, 50] {
        let mut stream = TcpStream::connect(app.address()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(pause)).await;
        stream.write_all(hidden.as_bytes()).await.unwrap();
        let text = rest(&mut stream).await;
        assert!(text.starts_with("HTTP/1.1 400 ") && text.matches("HTTP/1.1 ").count() == 1, "{text}");
        assert!(text.contains("connection: close\r\n"), "{text}");
    }
    assert_eq!(bodies.lock().len(), 0, "{:?}", bodies.lock());
    // An empty line whose halves come by themselves is one all the same.
    let mut stream = TcpStream::connect(app.address()).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for piece in ["\r", "\n", "G", "ET /api/v2/version HTTP/1.1\r\nhost: x\r\n\r\n"] {
        stream.write_all(piece.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(answer(&mut stream).await.0.starts_with("http/1.1 200 "));
    app.stop().await;
}

/// What came before an answer broke off reaches the client, and no end that was not one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_breaks_off_is_passed_on_as_far_as_it_came() {
    for (framing, expected) in
        [("content-length: 10", "\r\n\r\nhalf"), ("transfer-encoding: chunked", "\r\n\r\n4\r\nhalf\r\n")]
    {
        let answer = if framing.starts_with('c') { "half" } else { "4\r\nhalf\r\n" };
        let studio = Scripted::start(Arc::new(move |_, mut stream| {
            Box::pin(async move {
                let text = format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n{answer}");
                stream.write_all(text.as_bytes()).await.ok()?;
                None
            })
        }))
        .await;
        let app = in_front_of(&studio, |_| {}).await;
        let mut stream = TcpStream::connect(app.address()).await.unwrap();
        stream.write_all(b"GET /api/v2/billing/x HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let text = rest(&mut stream).await;
        assert!(text.starts_with("HTTP/1.1 200 ") && text.ends_with(expected), "{text}");
        app.stop().await;
    }
}

/// However many requests come at once, they are answered in their order, and not all of them are held.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_requests_at_once_are_answered_in_their_order() {
    const COUNT: usize = 2000;
    let app =
        TestApp::start_with(Database::Sqlite, |config| (config.limits.address, config.limits.anonymous) = (0, 0)).await;
    let stream = TcpStream::connect(app.address()).await.unwrap();
    let (mut reading, mut writing) = stream.into_split();
    let sender = tokio::spawn(async move {
        for number in 0..COUNT {
            let request = format!(
                "GET /api/v2/nothing{number} HTTP/1.1\r\nhost: x\r\ntraceparent: 00-{number:032x}-00f067aa0ba902b7-01\r\n\r\n"
            );
            // The first is no valid trace, as all zeros are.
            writing.write_all(request.as_bytes()).await.unwrap();
        }
        writing
    });
    let mut text = String::new();
    let mut piece = vec![0; 64 << 10];
    while text.matches("\"traceId\"").count() < COUNT {
        let count = reading.read(&mut piece).await.unwrap();
        assert_ne!(count, 0);
        text.push_str(std::str::from_utf8(&piece[..count]).unwrap());
    }
    let traces: Vec<_> = text.split("\"traceId\":\"").skip(1).map(|rest| &rest[..32]).collect();
    for (number, trace) in traces.iter().enumerate().skip(1) {
        assert_eq!(*trace, format!("{number:032x}"));
    }
    drop(sender.await.unwrap());
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_says_no_more_still_gets_its_answer() {
    let asked = Arc::new(Notify::new());
    let (seen, go_on) = (asked.clone(), Arc::new(Notify::new()));
    let release = go_on.clone();
    let studio = Scripted::start(Arc::new(move |_, mut stream| {
        let (seen, go_on) = (seen.clone(), go_on.clone());
        Box::pin(async move {
            seen.notify_one();
            go_on.notified().await;
            let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n";
            stream.write_all(head.as_bytes()).await.ok()?;
            go_on.notified().await;
            stream.write_all(b"4\r\nlast\r\n0\r\n\r\n").await.ok().map(|()| stream)
        })
    }))
    .await;
    let app = in_front_of(&studio, |_| {}).await;
    let mut stream = TcpStream::connect(app.address()).await.unwrap();
    stream.write_all(b"GET /api/v2/billing/x HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    stream.shutdown().await.unwrap();
    asked.notified().await;
    release.notify_one();
    let mut text = Vec::new();
    while !text.ends_with(b"first\r\n") {
        text.push(stream.read_u8().await.unwrap());
    }
    // Long enough for us to look whether it is still there.
    tokio::time::sleep(Duration::from_millis(1300)).await;
    release.notify_one();
    // What was written to find out is a part of the next chunk's size, and means nothing.
    let mut last = Vec::new();
    stream.read_to_end(&mut last).await.unwrap();
    assert_eq!(String::from_utf8(last).unwrap().trim_start_matches('0'), "4\r\nlast\r\n0\r\n\r\n");
    connections(&app, 0).await;
    app.stop().await;
}

/// A stream that says nothing ends soon after its client has left, at both sides of us.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_a_silent_stream_is_noticed() {
    let ended = Arc::new(Notify::new());
    let end = ended.clone();
    let studio = Scripted::start(Arc::new(move |_, mut stream| {
        let end = end.clone();
        Box::pin(async move {
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
            stream.write_all(head.as_bytes()).await.ok()?;
            // Until we let go of it.
            while let Ok(1..) = stream.read(&mut [0; 64]).await {}
            end.notify_one();
            None
        })
    }))
    .await;
    let app = in_front_of(&studio, |_| {}).await;
    let mut stream = TcpStream::connect(app.address()).await.unwrap();
    stream.write_all(b"GET /api/v2/billing/x HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert!(read_head(&mut stream).await.unwrap().contains("transfer-encoding: chunked"));
    drop(stream);
    tokio::time::timeout(Duration::from_secs(5), ended.notified()).await.expect("the backend is let go");
    connections(&app, 0).await;
    app.stop().await;
}

/// A reset while the answer is being made ends the work on it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_resets_is_noticed_before_its_answer() {
    let asked = Arc::new(Notify::new());
    let seen = asked.clone();
    let studio = Scripted::start(Arc::new(move |_, mut stream| {
        let seen = seen.clone();
        Box::pin(async move {
            seen.notify_one();
            while let Ok(1..) = stream.read(&mut [0; 64]).await {}
            seen.notify_one();
            None
        })
    }))
    .await;
    let app = in_front_of(&studio, |_| {}).await;
    let mut stream = TcpStream::connect(app.address()).await.unwrap();
    stream.write_all(b"GET /api/v2/billing/x HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    asked.notified().await;
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
    tokio::time::timeout(Duration::from_secs(5), asked.notified()).await.expect("the backend is let go");
    connections(&app, 0).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_nobody_read_is_passed_over_when_it_is_small_and_ends_the_connection_when_it_is_not() {
    let app = TestApp::start(Database::Sqlite).await;
    // Refused for want of a credential, unread.
    let head = |length: usize| {
        format!(
            "POST /api/v2/projects HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
        )
    };
    let mut stream = TcpStream::connect(app.address()).await.unwrap();
    for _ in 0..3 {
        stream.write_all(format!("{}{}", head(2000), "x".repeat(2000)).as_bytes()).await.unwrap();
        let (head, body) = answer(&mut stream).await;
        assert!(head.starts_with("http/1.1 401 ") && body.contains("UNAUTHENTICATED"), "{head}{body}");
        assert!(!head.contains("connection: close"), "{head}");
    }
    let mut stream = TcpStream::connect(app.address()).await.unwrap();
    stream.write_all(head(50_000_000).as_bytes()).await.unwrap();
    stream.write_all(&[b'x'; 1000]).await.unwrap();
    let (head, _) = answer(&mut stream).await;
    assert!(head.starts_with("http/1.1 401 ") && head.contains("connection: close\r\n"), "{head}");
    // What still comes is not taken for a request, and does not cost the client its answer.
    let _ = stream.write_all(b"GET /api/v2/version HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!(rest(&mut stream).await, "");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_is_told_to_go_on_only_when_its_body_is_wanted() {
    let (studio, bodies) = echoing().await;
    let app = in_front_of(&studio, |_| {}).await;
    let head = |path: &str, length: u64| {
        format!("POST /api/v2/{path} HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: {length}\r\n\r\n")
    };
    let mut stream = TcpStream::connect(app.address()).await.unwrap();
    for _ in 0..2 {
        stream.write_all(head("billing/x", 3).as_bytes()).await.unwrap();
        assert_eq!(read_head(&mut stream).await.unwrap(), "http/1.1 100 continue\r\n\r\n");
        stream.write_all(b"abc").await.unwrap();
        assert_eq!(answer(&mut stream).await.1, "/api/v2/billing/x abc");
    }
    // Whoever does not wait to be told is not told.
    stream.write_all(format!("{}abc", head("billing/y", 3)).as_bytes()).await.unwrap();
    assert_eq!(answer(&mut stream).await.1, "/api/v2/billing/y abc");
    // Refused: the client may send the body or not, so nothing can follow.
    stream.write_all(head("projects", 3).as_bytes()).await.unwrap();
    let refused = rest(&mut stream).await;
    assert!(refused.starts_with("HTTP/1.1 401 ") && refused.contains("connection: close\r\n"), "{refused}");
    assert_eq!(bodies.lock().len(), 3);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_client_keeps_its_connection_only_when_it_asks_to() {
    let studio = Scripted::saying("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n").await;
    let app = in_front_of(&studio, |_| {}).await;
    let mut stream = TcpStream::connect(app.address()).await.unwrap();
    stream.write_all(b"GET /api/v2/version HTTP/1.0\r\nconnection: keep-alive\r\n\r\n").await.unwrap();
    let (head, _) = answer(&mut stream).await;
    assert!(head.contains("connection: keep-alive\r\n"), "{head}");
    // It knows no chunks: the end of the body is that of the connection, asked to keep it or not.
    stream.write_all(b"GET /api/v2/billing/x HTTP/1.0\r\nhost: x\r\nconnection: keep-alive\r\n\r\n").await.unwrap();
    let text = rest(&mut stream).await;
    assert!(text.contains("connection: close\r\n") && text.ends_with("\r\n\r\nok"), "{text}");
    assert!(!text.contains("transfer-encoding"), "{text}");
    let mut stream = TcpStream::connect(app.address()).await.unwrap();
    stream.write_all(b"GET /api/v2/version HTTP/1.0\r\n\r\n").await.unwrap();
    assert!(rest(&mut stream).await.contains("connection: close\r\n"));
    app.stop().await;
}

/// Trailers go to whoever says that they are welcome.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trailers_come_behind_the_body_for_those_who_take_them() {
    const ANSWER: &str =
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: etag\r\n\r\n2\r\nok\r\n0\r\netag: \"1\"\r\n\r\n";
    let studio = Scripted::saying(ANSWER).await;
    let app = in_front_of(&studio, |_| {}).await;
    for (te, end) in [("te: trailers\r\n", "2\r\nok\r\n0\r\netag: \"1\"\r\n\r\n"), ("", "2\r\nok\r\n0\r\n\r\n")] {
        let mut stream = TcpStream::connect(app.address()).await.unwrap();
        let request = format!("GET /api/v2/billing/x HTTP/1.1\r\nhost: x\r\n{te}connection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let text = rest(&mut stream).await;
        assert!(text.ends_with(&format!("\r\n\r\n{end}")), "{text}");
    }
    app.stop().await;
}

/// Early hints reach those who can take them, filtered as an answer is, and are no answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn early_hints_are_passed_on_before_the_answer() {
    const ANSWER: &str = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\nx-appwrite-key: secret\r\n\r\n\
        HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let studio = Scripted::saying(ANSWER).await;
    let app = in_front_of(&studio, |_| {}).await;
    let mut stream = TcpStream::connect(app.address()).await.unwrap();
    for _ in 0..2 {
        stream.write_all(b"GET /api/v2/billing/x HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let hints = read_head(&mut stream).await.unwrap();
        assert_eq!(hints, "http/1.1 103 early hints\r\nlink: </a.css>; rel=preload\r\n\r\n");
        let (head, body) = answer(&mut stream).await;
        assert!(head.starts_with("http/1.1 200 ") && body == "ok", "{head}{body}");
    }
    // HTTP/1.0 knows nothing that comes before the answer.
    let mut stream = TcpStream::connect(app.address()).await.unwrap();
    stream.write_all(b"GET /api/v2/billing/x HTTP/1.0\r\nhost: x\r\n\r\n").await.unwrap();
    assert!(rest(&mut stream).await.starts_with("HTTP/1.1 200 "));
    app.stop().await;
}
