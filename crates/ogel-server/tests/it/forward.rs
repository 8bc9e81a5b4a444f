//! Namespaces that Studio's backend answers: everything passes both ways as it comes, and what goes wrong behind us is
//! told apart.

use crate::{
    raw::in_front_of,
    scripted::{Scripted, read_body, read_head},
};
use futures_util::{SinkExt as _, StreamExt as _};
use http::Method;
use ogel_testkit::{Database, TestApp};
use serde_json::json;
use std::{sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest as _, protocol::CloseFrame};

/// A backend that answers each request with these bytes and hangs up.
async fn hanging_up(answer: &'static str) -> Scripted {
    Scripted::start(Arc::new(move |head, mut stream| {
        Box::pin(async move {
            read_body(&mut stream, &head).await;
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
            None
        })
    }))
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_passes_with_its_status_listed_headers_and_body() {
    let studio = hanging_up(
        "HTTP/1.1 402 Payment Required\r\ncontent-type: application/json\r\nset-cookie: a=1\r\nset-cookie: b=2\r\n\
         x-powered-by: secrets\r\nserver: old\r\nconnection: x-drop, close\r\nx-drop: 1\r\ncontent-length: 13\r\n\r\n{\"paid\":false",
    )
    .await;
    let app = in_front_of(&studio, |_| {}).await;
    let ada = app.sign_up("ada").await;
    let answer = ada.post("/billing/subscription?plan=pro", json!({ "x": 1 })).await;
    assert_eq!(answer.status, 402);
    assert_eq!(answer.headers.get_all("set-cookie").iter().count(), 2);
    for ours in ["x-powered-by", "server", "x-drop"] {
        assert!(!answer.headers.contains_key(ours), "{ours}");
    }
    // Ours are there as on any answer.
    assert!(answer.headers.contains_key("x-request-id") && answer.headers.contains_key("ratelimit"));
    let timing = answer.headers["server-timing"].to_str().unwrap();
    assert!(timing.contains("upstream;dur="), "{timing}");
    let head = studio.heads().pop().unwrap();
    assert!(head.starts_with("post /api/v2/billing/subscription?plan=pro http/1.1\r\n"), "{head}");
    assert!(head.contains("authorization: bearer ") && head.contains("content-length: 7\r\n"), "{head}");
    // The log names each attempt.
    let id = answer.headers["x-request-id"].to_str().unwrap();
    let line = ogel_testkit::eventually("the line is written", || async {
        app.access_log().into_iter().find(|line| line["requestId"] == id)
    });
    let line = line.await;
    assert!(line["upstream"].as_str().unwrap().starts_with(&format!("{} 402 ", studio.address)), "{line}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_every_answer_of_ours_says_is_said_once_and_by_us() {
    let names = [
        "x-request-id",
        "x-content-type-options",
        "x-ratelimit-limit",
        "x-ratelimit-remaining",
        "x-ratelimit-reset",
        "ratelimit-policy",
        "ratelimit",
        "server-timing",
    ];
    let theirs: String = names.iter().map(|name| format!("{name}: theirs\r\n")).collect();
    let answer = format!("HTTP/1.1 200 OK\r\n{theirs}connection: close\r\ncontent-length: 2\r\n\r\nok");
    let studio = hanging_up(Box::leak(answer.into_boxed_str())).await;
    let app = in_front_of(&studio, |_| {}).await;
    let http1 = app.anonymous().get("/billing/x").await.headers;
    let http2 = crate::http2::Client::of(&app).await.get("/x").await.headers().clone();
    for (headers, version) in [(http1, 1), (http2, 2)] {
        for name in names {
            let values: Vec<_> = headers.get_all(name).iter().collect();
            assert!(values.len() == 1 && values[0] != "theirs", "HTTP/{version}, {name}: {values:?}");
        }
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_way_to_fail_has_a_code_of_its_own() {
    let long = Box::leak(format!("HTTP/1.1 200 OK\r\nx-long: {}\r\n\r\n", "y".repeat(100_000)).into_boxed_str());
    let cases: Vec<(&'static str, u16, &str)> = vec![
        ("", 502, "UPSTREAM_RESET"),
        ("HTTP/1.1 200", 502, "UPSTREAM_RESET"),
        ("nonsense\r\n\r\n", 502, "UPSTREAM_INVALID_RESPONSE"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab", 502, "UPSTREAM_INVALID_RESPONSE"),
        // A value that was split by CRLF is another header, which is on no list; one without a colon is no HTTP.
        ("HTTP/1.1 200 OK\r\nx-a: b\r\n\r\n\r\nHTTP/1.1 200 OK\r\n", 200, ""),
        ("HTTP/1.1 200 OK\r\nlocation: /a\r\nset cookie\r\n\r\n", 502, "UPSTREAM_INVALID_RESPONSE"),
        (long, 502, "UPSTREAM_INVALID_RESPONSE"),
        ("HTTP/1.1 500 Oops\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\n<html>", 502, "UPSTREAM_ERROR"),
        ("HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n", 502, "UPSTREAM_ERROR"),
        ("HTTP/1.1 500 Oops\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}", 500, ""),
    ];
    for (answer, status, code) in cases {
        let studio = hanging_up(answer).await;
        let app = in_front_of(&studio, |_| {}).await;
        // A POST is sent once, whatever becomes of it.
        let got = app.anonymous().post("/billing/x", json!({})).await;
        assert_eq!(got.status, status, "{answer:?} {got:?}");
        if !code.is_empty() {
            let error = got.expect_error(status, code);
            assert_eq!(error["source"], "studio", "{error}");
        }
        assert_eq!(studio.heads().len(), 1, "{answer:?}");
        app.stop().await;
    }
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", gone.local_addr().unwrap());
    drop(gone);
    let front = |url: String, timeout: u64| {
        TestApp::start_with(Database::Sqlite, move |config| {
            config.studio.url = url;
            config.studio.forward = vec!["billing".to_owned()];
            config.studio.timeout_seconds = timeout;
        })
    };
    let app = front(url, 1).await;
    let refused = app.anonymous().get("/billing/x").await;
    assert!(refused.headers.contains_key("retry-after"));
    refused.expect_error(503, "UPSTREAM_UNAVAILABLE");
    app.stop().await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let app = front(format!("http://{}", silent.local_addr().unwrap()), 1).await;
    app.anonymous().get("/billing/x").await.expect_error(504, "UPSTREAM_TIMEOUT");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_keeps_failing_is_left_alone_and_comes_back() {
    let studio = Scripted::saying("HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n").await;
    let app = in_front_of(&studio, |config| config.server.threads = 1).await;
    let api = app.anonymous();
    let mut asked = 0;
    let refused = loop {
        let answer = api.get("/billing/x").await;
        asked += 1;
        assert!(asked < 50, "the breaker never opened");
        if answer.status == 503 {
            break answer;
        }
        answer.expect_error(502, "UPSTREAM_ERROR");
    };
    assert!(refused.headers.contains_key("retry-after"));
    refused.expect_error(503, "UPSTREAM_UNAVAILABLE");
    let page = app.operations("/metrics").await.1;
    for line in [
        "ogel_upstream_breaker{upstream=\"studio\",state=\"open\"} 1",
        "ogel_upstream_breaker{upstream=\"ghost\",state=\"closed\"} 1",
        "ogel_upstream_pending{upstream=\"studio\"} 0",
        "ogel_upstream_ejected{upstream=\"studio\"} 0",
    ] {
        assert!(page.lines().any(|known| known == line), "{line} is missing in\n{page}");
    }
    let opened =
        page.lines().find_map(|line| line.strip_prefix("ogel_upstream_connections_total{upstream=\"studio\"} "));
    assert!(opened.unwrap().parse::<u64>().unwrap() > 0, "{page}");
    assert_eq!(studio.heads().len(), asked - 1);
    ogel_testkit::eventually("it is asked again", || async {
        let answer = api.get("/billing/x").await;
        (answer.status == 502).then_some(())
    })
    .await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pieces_of_a_stream_arrive_as_they_are_sent() {
    let (studio, say) = Scripted::dictated("x-checksum: 1").await;
    let app = in_front_of(&studio, |_| {}).await;
    let mut response = app.anonymous().request(Method::GET, "/billing/events").send().await.unwrap();
    for piece in ["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"] {
        say.send(piece).await.unwrap();
        // The next one is not sent before this one has arrived.
        assert_eq!(response.chunk().await.unwrap().unwrap(), piece);
    }
    drop(say);
    assert!(response.chunk().await.unwrap().is_none());
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_over_the_limit_is_refused_before_and_while_it_is_sent() {
    let studio = Scripted::saying("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let app = in_front_of(&studio, |config| config.studio.max_body_bytes = 1000).await;
    let api = app.anonymous();
    let announced = api.request(Method::POST, "/billing/x").body(vec![0; 2000]);
    api.send(announced).await.expect_error(413, "PAYLOAD_TOO_LARGE");
    assert!(studio.heads().is_empty());
    let pieces = futures_util::stream::iter((0..20).map(|_| Ok::<_, std::io::Error>(vec![1u8; 100])));
    let unannounced = api.request(Method::POST, "/billing/x").body(reqwest::Body::wrap_stream(pieces));
    api.send(unannounced).await.expect_error(413, "PAYLOAD_TOO_LARGE");
    app.stop().await;
}

/// What `request` gets, to the end of the connection.
async fn exchange(app: &TestApp, request: &str) -> String {
    let mut stream = TcpStream::connect(app.address()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.to_ascii_lowercase()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_without_a_body_have_none_and_keep_their_length() {
    for (method, status, answer, expected) in [
        ("HEAD", "200", "HTTP/1.1 200 OK\r\ncontent-length: 1234\r\n\r\n", Some("content-length: 1234")),
        ("GET", "204", "HTTP/1.1 204 No Content\r\n\r\n", None),
        ("GET", "304", "HTTP/1.1 304 Not Modified\r\netag: \"x\"\r\n\r\n", Some("etag: \"x\"")),
    ] {
        let studio = Scripted::saying(answer).await;
        let app = in_front_of(&studio, |_| {}).await;
        let request = format!("{method} /api/v2/billing/x HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let got = exchange(&app, &request).await;
        assert!(got.starts_with(&format!("http/1.1 {status} ")) && got.ends_with("\r\n\r\n"), "{got}");
        assert!(expected.is_none_or(|line| got.contains(line)), "{got}");
        assert!(!got.contains("transfer-encoding"), "{got}");
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_asks_before_it_sends_is_told_to_go_on_and_trailers_pass() {
    let studio = Scripted::saying("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let app = in_front_of(&studio, |_| {}).await;
    let mut stream = TcpStream::connect(app.address()).await.unwrap();
    let head = "POST /api/v2/billing/x HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    assert!(read_head(&mut stream).await.unwrap().starts_with("http/1.1 100"));
    stream.write_all(b"abc").await.unwrap();
    assert!(read_head(&mut stream).await.unwrap().starts_with("http/1.1 200"));
    assert!(!studio.heads().pop().unwrap().contains("expect"));
    app.stop().await;
}

/// A backend that speaks WebSocket: it echoes, says its own goodbye to "bye", and falls silent at "hush".
async fn echoing() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
                while let Some(Ok(message)) = socket.next().await {
                    match message {
                        Message::Text(text) if text == "bye" => {
                            let frame = CloseFrame { code: 4321.into(), reason: "as you wish".into() };
                            let _ = socket.close(Some(frame)).await;
                        }
                        Message::Text(_) | Message::Binary(_) => drop(socket.send(message).await),
                        _ => {}
                    }
                }
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_passes_messages_and_close_codes_and_ends_when_it_is_silent_or_we_stop() {
    let address = echoing().await;
    let app = TestApp::start_with(Database::Sqlite, |config| {
        config.studio.url = format!("http://{address}");
        config.studio.forward = vec!["billing".to_owned()];
        config.studio.idle_seconds = 1;
    })
    .await;
    let open = || async {
        let url = format!("ws://{}/api/v2/billing/live", app.address());
        let request = url.into_client_request().unwrap();
        tokio_tungstenite::connect_async(request).await.unwrap().0
    };
    let close_code = |message: Option<Result<Message, _>>| match message {
        Some(Ok(Message::Close(Some(frame)))) => u16::from(frame.code),
        other => panic!("no close frame, but {other:?}"),
    };
    let mut socket = open().await;
    for text in ["one", "two"] {
        socket.send(Message::text(text)).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::text(text));
    }
    socket.send(Message::text("bye")).await.unwrap();
    assert_eq!(close_code(socket.next().await), 4321);
    let mut silent = open().await;
    assert_eq!(close_code(tokio::time::timeout(Duration::from_secs(10), silent.next()).await.unwrap()), 4408);
    let mut last = open().await;
    last.send(Message::text("still here")).await.unwrap();
    assert_eq!(last.next().await.unwrap().unwrap(), Message::text("still here"));
    app.app.shutdown.cancel();
    assert_eq!(close_code(tokio::time::timeout(Duration::from_secs(10), last.next()).await.unwrap()), 1012);
    drop(last);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_sites_page_cannot_use_studios_cookie() {
    let studio = Scripted::saying("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await;
    let app = in_front_of(&studio, |_| {}).await;
    let api = app.anonymous();
    let post = |origin: &'static str| {
        let request = api.request(Method::POST, "/billing/x").header("cookie", "next-auth.session-token=x");
        api.send(request.header("origin", origin))
    };
    post("https://evil.example").await.expect_error(403, "CROSS_SITE_REQUEST");
    assert!(studio.heads().is_empty());
    post(Box::leak(format!("http://{}", app.address()).into_boxed_str())).await.expect(200);
    assert!(studio.heads()[0].contains("cookie: next-auth.session-token=x"));
    app.stop().await;
}

/// A handshake that nobody answers counts like a request that nobody answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_takes_no_websocket_is_left_out() {
    let working = echoing().await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = closed.local_addr().unwrap();
    drop(closed);
    let app = TestApp::start_with(Database::Sqlite, |config| {
        config.studio.url = format!("http://{working},http://{nobody}");
        config.studio.forward = vec!["billing".to_owned()];
        config.server.threads = 1;
    })
    .await;
    let ejected = "ogel_upstream_ejected{upstream=\"studio\"} 1";
    ogel_testkit::eventually("one address is left out", || async {
        let url = format!("ws://{}/api/v2/billing/live", app.address());
        if let Ok((socket, _)) = tokio_tungstenite::connect_async(url).await {
            let page = app.operations("/metrics").await.1;
            assert!(!page.contains("ogel_upstream_pending{upstream=\"studio\"} 0\n"), "{page}");
            drop(socket);
        }
        app.operations("/metrics").await.1.lines().any(|line| line == ejected).then_some(())
    })
    .await;
    app.stop().await;
}
