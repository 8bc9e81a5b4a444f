//! Requests as no client library would send them. For each: what the caller sees, and that the backend behind us got
//! nothing it should not have.

use crate::scripted::{Scripted, read_head, say_without_end};
use ogel_testkit::{Database, TestApp};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

const FINE: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";

/// The service with `billing` forwarded to `studio`.
pub(crate) async fn in_front_of(studio: &Scripted, change: impl FnOnce(&mut ogel_server::config::Config)) -> TestApp {
    let url = studio.url();
    TestApp::start_with(Database::Sqlite, |config| {
        config.studio.url = url;
        config.studio.forward = vec!["billing".to_owned()];
        config.server.header_timeout_seconds = 2;
        config.server.stall_timeout_seconds = 2;
        change(config);
    })
    .await
}

/// What comes back for these bytes until the connection ends or stays quiet.
async fn send(app: &TestApp, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(app.address()).await.unwrap();
    // A refusal may come, and the connection end, before all is written.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let quiet = Duration::from_millis(400);
    let mut piece = [0; 4096];
    while let Ok(Ok(count @ 1..)) = tokio::time::timeout(quiet, stream.read(&mut piece)).await {
        answer.extend_from_slice(&piece[..count]);
    }
    String::from_utf8_lossy(&answer).into_owned()
}

fn statuses(answer: &str) -> Vec<&str> {
    answer.match_indices("HTTP/1.1 ").map(|(at, _)| &answer[at + 9..at + 12]).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_is_not_plain_http_goes_no_further() {
    let studio = Scripted::saying(FINE).await;
    let app = in_front_of(&studio, |_| {}).await;
    let many = (0..10_000).map(|n| format!("x-{n}: y\r\n")).collect::<String>();
    let long = "y".repeat(70_000);
    let p = "/api/v2/billing/x";
    let hidden = "GET /api/v2/billing/hidden HTTP/1.1\r\nhost: x\r\n\r\n";
    let cases: Vec<(&str, String, &str)> = vec![
        (
            "two lengths",
            format!("POST {p} HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab"),
            "400 INVALID_REQUEST",
        ),
        (
            "a list of lengths",
            format!("POST {p} HTTP/1.1\r\nhost: x\r\ncontent-length: 1, 2\r\n\r\nab"),
            "400 INVALID_REQUEST",
        ),
        (
            "the same length twice",
            format!("POST {p} HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nab"),
            "400 INVALID_REQUEST",
        ),
        (
            "a length and chunks",
            format!(
                "POST {p} HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"
            ),
            "400 INVALID_REQUEST",
        ),
        (
            "chunks and a length",
            format!(
                "POST {p} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n0\r\n\r\n{hidden}"
            ),
            "400 INVALID_REQUEST",
        ),
        ("lines that end with LF", format!("GET {p} HTTP/1.1\nhost: x\n\n{hidden}"), "400 INVALID_REQUEST"),
        ("one line that ends with LF", format!("GET {p} HTTP/1.1\r\nhost: x\nx-a: b\r\n\r\n"), "400 INVALID_REQUEST"),
        ("a fragment", format!("GET {p}#a HTTP/1.1\r\nhost: x\r\n\r\n"), "400 INVALID_REQUEST"),
        ("empty lines without end", "\r\n".repeat(8), "400 INVALID_REQUEST"),
        (
            "a negative length",
            format!("POST {p} HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\nab"),
            "400 INVALID_REQUEST",
        ),
        (
            "a length with a plus",
            format!("POST {p} HTTP/1.1\r\nhost: x\r\ncontent-length: +1\r\n\r\na"),
            "400 INVALID_REQUEST",
        ),
        ("a folded header", format!("GET {p} HTTP/1.1\r\nhost: x\r\nx-a: b\r\n c\r\n\r\n"), "400 INVALID_REQUEST"),
        (
            "an unknown coding",
            format!("POST {p} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n"),
            "400 INVALID_REQUEST",
        ),
        (
            "chunked not last",
            format!("POST {p} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n"),
            "400 INVALID_REQUEST",
        ),
        (
            "chunked in HTTP/1.0",
            format!("POST {p} HTTP/1.0\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
            "400 INVALID_REQUEST",
        ),
        ("space before a colon", format!("GET {p} HTTP/1.1\r\nhost : x\r\n\r\n"), "400 INVALID_REQUEST"),
        ("a space in a name", format!("GET {p} HTTP/1.1\r\nhost: x\r\nx a: b\r\n\r\n"), "400 INVALID_REQUEST"),
        ("a null in a value", format!("GET {p} HTTP/1.1\r\nhost: x\r\nx-a: b\0c\r\n\r\n"), "400 INVALID_REQUEST"),
        ("a lone CR in a value", format!("GET {p} HTTP/1.1\r\nhost: x\r\nx-a: b\rc\r\n\r\n"), "400 INVALID_REQUEST"),
        (
            "a header over the limit",
            format!("GET {p} HTTP/1.1\r\nhost: x\r\nx-a: {long}\r\n\r\n"),
            "431 HEADERS_TOO_LARGE",
        ),
        ("ten thousand headers", format!("GET {p} HTTP/1.1\r\nhost: x\r\n{many}\r\n"), "431 HEADERS_TOO_LARGE"),
        ("a line over the limit", format!("GET {p}?{long} HTTP/1.1\r\nhost: x\r\n\r\n"), "414 URI_TOO_LONG"),
        ("no host", format!("GET {p} HTTP/1.1\r\n\r\n"), "400 INVALID_REQUEST"),
        ("two hosts", format!("GET {p} HTTP/1.1\r\nhost: x\r\nhost: x\r\n\r\n"), "400 INVALID_REQUEST"),
        ("a host with a user", format!("GET {p} HTTP/1.1\r\nhost: a@x\r\n\r\n"), "400 INVALID_REQUEST"),
        ("a target with another host", format!("GET http://y{p} HTTP/1.1\r\nhost: x\r\n\r\n"), "400 INVALID_REQUEST"),
        ("a target that is a host", "CONNECT x:443 HTTP/1.1\r\nhost: x:443\r\n\r\n".to_owned(), "400 INVALID_PATH"),
        ("a target that is a star", "OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(), "400 INVALID_PATH"),
        ("another protocol", "\u{16}\u{3}\u{1}\u{2}hello\r\n\r\n".to_owned(), "400 INVALID_REQUEST"),
        ("a version nobody has", format!("GET {p} HTTP/9.9\r\nhost: x\r\n\r\n"), "400 INVALID_REQUEST"),
    ];
    for (name, bytes, expected) in cases {
        let answer = send(&app, bytes.as_bytes()).await;
        let (status, code) = expected.split_once(' ').unwrap();
        assert_eq!(statuses(&answer), [status], "{name}: {answer}");
        // In our words, whoever refused it.
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let error = serde_json::from_str::<serde_json::Value>(body).unwrap()["error"].take();
        assert_eq!(error["code"], code, "{name}: {error}");
        let id = error["requestId"].as_str().unwrap();
        assert!(head.contains(&format!("x-request-id: {id}")), "{name}: {head}");
        let line = ogel_testkit::eventually("the line is written", || async {
            app.access_log().into_iter().find(|line| line["requestId"] == id)
        })
        .await;
        assert_eq!((&line["status"], &line["code"]), (&status.parse::<u16>().unwrap().into(), &code.into()), "{name}");
    }
    assert_eq!(studio.heads(), Vec::<String>::new());
    let (_, metrics) = app.operations("/metrics").await;
    assert!(metrics.contains("ogel_requests_total{resource=\"none\",class=\"4xx\"}"), "{metrics}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paths_that_could_mean_two_things_go_no_further() {
    let studio = Scripted::saying(FINE).await;
    let app = in_front_of(&studio, |_| {}).await;
    for path in [
        "..",
        "../auth",
        "a/../../auth",
        "%2e%2e/auth",
        ".%2e",
        "%2E%2e%2fauth",
        "a%2fb",
        "a%5cb",
        "a\\b",
        "a%00b",
        "/a",
        "a//b",
        "a;b",
        "a%3bb",
        "a%ff",
        "%c0%ae%c0%ae/x",
        "a%252fb",
        "a%",
        "a%zz",
        "./a",
    ] {
        let request = format!("GET /api/v2/billing/{path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let answer = send(&app, request.as_bytes()).await;
        assert_eq!(statuses(&answer), ["400"], "{path}: {answer}");
        assert!(answer.contains("INVALID_PATH") || answer.ends_with("\r\n\r\n"), "{path}: {answer}");
    }
    assert_eq!(studio.heads(), Vec::<String>::new());
    app.stop().await;
}

/// After a doubt about where a request ends, nothing that follows it is one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_ends_behind_a_request_that_is_refused_unread() {
    let studio = Scripted::saying(FINE).await;
    let app = in_front_of(&studio, |_| {}).await;
    let fine = "GET /api/v2/billing/first HTTP/1.1\r\nhost: x\r\n\r\n";
    for doubtful in [
        "POST /api/v2/billing/x HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET /api/v2/billing/x HTTP/1.1\r\nhost : x\r\n\r\n",
        "GET /api/v2/billing/x HTTP/1.1\nhost: x\n\n",
    ] {
        let before = studio.heads().len();
        let mut stream = TcpStream::connect(app.address()).await.unwrap();
        let hidden = "GET /api/v2/billing/hidden HTTP/1.1\r\nhost: x\r\n\r\n";
        stream.write_all(format!("{fine}{doubtful}{hidden}").as_bytes()).await.unwrap();
        let mut answer = String::new();
        tokio::time::timeout(Duration::from_secs(5), stream.read_to_string(&mut answer)).await.unwrap().unwrap();
        assert_eq!(statuses(&answer), ["200", "400"], "{answer}");
        assert!(answer.contains("connection: close\r\n"), "{answer}");
        let heads = studio.heads();
        assert_eq!(heads.len(), before + 1, "{heads:?}");
        assert!(heads[before].starts_with("get /api/v2/billing/first "), "{}", heads[before]);
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chunk_that_lies_about_its_size_breaks_only_itself() {
    let studio = Scripted::saying(FINE).await;
    let app = in_front_of(&studio, |_| {}).await;
    for body in ["fffffffffffffffff\r\na", "-1\r\na", "zz\r\na\r\n0\r\n\r\n", "1\r\nabc\r\n0\r\n\r\n"] {
        let request = format!("POST /api/v2/billing/x HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n{body}");
        let answer = send(&app, request.as_bytes()).await;
        assert!(statuses(&answer).iter().all(|status| *status == "400"), "{body:?}: {answer}");
    }
    app.anonymous().get("/version").await.expect(200);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_that_would_speak_for_us_stay_behind() {
    let studio = Scripted::saying(FINE).await;
    let app = in_front_of(&studio, |_| {}).await;
    let request = "GET /api/v2/billing/x?project=other&mode=admin HTTP/1.1\r\nhost: api.example\r\naccept: text/plain\r\n\
        x-appwrite-key: stolen\r\nx-appwrite-jwt: stolen\r\nx-appwrite-project: stolen\r\nx-appwrite-mode: admin\r\n\
        x-forwarded-for: 6.6.6.6, 7.7.7.7\r\nx-forwarded-host: evil.example\r\nforwarded: for=6.6.6.6\r\n\
        x-real-ip: 6.6.6.6\r\nx-forwarded-proto: https\r\nproxy-authorization: stolen\r\nte: trailers, deflate\r\n\
        connection: x-appwrite-key, accept, close\r\nkeep-alive: 5\r\nupgrade: h2c\r\nhttp2-settings: AAA\r\n\
        x-custom: unknown\r\nexpect: nothing\r\n\r\n";
    let answer = send(&app, request.as_bytes()).await;
    assert_eq!(statuses(&answer), ["200"], "{answer}");
    let head = studio.heads().pop().unwrap();
    for forbidden in
        ["stolen", "6.6.6.6", "evil", "admin\r", "h2c", "deflate", "x-custom", "expect", "keep-alive: 5", "accept:"]
    {
        assert!(!head.contains(forbidden), "`{forbidden}` came through:\n{head}");
    }
    for expected in [
        &format!("host: {}", studio.address),
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-host: api.example",
        "traceparent: 00-",
    ] {
        assert!(head.contains(expected), "`{expected}` is missing:\n{head}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_trusted_proxy_says_of_the_client_is_believed_and_nothing_before_it() {
    let studio = Scripted::saying(FINE).await;
    let app = in_front_of(&studio, |config| {
        config.server.trusted_proxies = vec!["127.0.0.0/8".to_owned(), "10.0.0.0/8".to_owned()];
        config.limits.anonymous = 2;
    })
    .await;
    let from = |chain: &str| {
        format!("GET /api/v2/billing/x HTTP/1.1\r\nhost: x\r\nx-forwarded-for: {chain}\r\nconnection: close\r\n\r\n")
    };
    // The hop before the last untrusted one is what the client wrote itself.
    for (chain, client) in
        [("1.1.1.1, 2.2.2.2, 10.0.0.7", "2.2.2.2"), ("3.3.3.3", "3.3.3.3"), ("4.4.4.4, nonsense", "127.0.0.1")]
    {
        send(&app, from(chain).as_bytes()).await;
        let head = studio.heads().pop().unwrap();
        assert!(head.contains(&format!("x-forwarded-for: {client}\r\n")), "{chain}: {head}");
    }
    // Limits count by the client, not by the proxy.
    let answers = [
        send(&app, from("5.5.5.5").as_bytes()).await,
        send(&app, from("5.5.5.5").as_bytes()).await,
        send(&app, from("5.5.5.5").as_bytes()).await,
    ];
    let got: Vec<_> = answers.iter().flat_map(|answer| statuses(answer)).collect();
    assert_eq!(got, ["200", "200", "429"]);
    assert_eq!(statuses(&send(&app, from("5.5.5.6").as_bytes()).await), ["200"]);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_behind_an_upgrade_that_did_not_happen_are_no_request() {
    let studio = Scripted::saying(FINE).await;
    let app = in_front_of(&studio, |_| {}).await;
    let upgrade = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
    let hidden = "GET /api/v2/billing/hidden HTTP/1.1\r\nhost: x\r\n\r\n";
    let request = format!("GET /api/v2/billing/x HTTP/1.1\r\nhost: x\r\n{upgrade}\r\n{hidden}");
    let answer = send(&app, request.as_bytes()).await;
    // The backend did not upgrade: one refusal, and what came early is never taken for a request behind it.
    let got = statuses(&answer);
    assert!(got.len() == 1 && got[0] != "101", "{answer}");
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    let heads = studio.heads();
    assert!(heads.len() == 1 && !heads[0].contains("hidden"), "{heads:?}");
    // HTTP/1.0 knows no upgrade: an ordinary request.
    let old = format!("GET /api/v2/billing/x HTTP/1.0\r\nhost: x\r\n{upgrade}\r\n");
    assert_eq!(statuses(&send(&app, old.as_bytes()).await), ["200"]);
    assert!(!studio.heads()[1].contains("upgrade"), "{:?}", studio.heads());
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_and_vanishing_clients_are_let_go() {
    let studio = Scripted::saying(FINE).await;
    let app = in_front_of(&studio, |_| {}).await;
    let request = |more: &str| format!("POST /api/v2/billing/x HTTP/1.1\r\nhost: x\r\n{more}\r\n\r\nab");
    // A body that never comes to its end: an answer, then the end of the connection.
    let mut stream = TcpStream::connect(app.address()).await.unwrap();
    stream.write_all(request("content-length: 10").as_bytes()).await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(Duration::from_secs(10), stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert_eq!(statuses(&answer), ["408"], "{answer}");
    assert!(answer.contains("REQUEST_TIMEOUT"), "{answer}");
    // Half closed in the middle of a body: the request never was whole, and nobody pretends it was.
    let mut stream = TcpStream::connect(app.address()).await.unwrap();
    stream.write_all(request("content-length: 10").as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(Duration::from_secs(10), stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(!answer.contains(" 200 "), "{answer}");
    // Gone while it is being answered: nothing is left behind.
    drop(TcpStream::connect(app.address()).await.unwrap());
    ogel_testkit::eventually("connections are gone", || async {
        let (_, metrics) = app.operations("/metrics").await;
        metrics.contains("\nogel_connections 0\n").then_some(())
    })
    .await;
    app.stop().await;
}

/// A reader that stops reading holds neither the answer nor the backend for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_stops_reading_is_cut_off() {
    let studio = Scripted::start(std::sync::Arc::new(|_, stream| Box::pin(say_without_end(stream)))).await;
    let app = in_front_of(&studio, |_| {}).await;
    let mut stream = TcpStream::connect(app.address()).await.unwrap();
    stream.write_all(b"GET /api/v2/billing/x HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert!(read_head(&mut stream).await.unwrap().starts_with("http/1.1 200"));
    ogel_testkit::eventually("the connection is closed", || async {
        let (_, metrics) = app.operations("/metrics").await;
        metrics.contains("\nogel_connections 0\n").then_some(())
    })
    .await;
    app.stop().await;
}

/// A Ghost that lets everybody in, and remembers what it was told.
async fn obliging_ghost() -> Scripted {
    let document = |id: &str, more: &str| {
        format!(
            r#"{{"$id":"{id}",{more}"$createdAt":"2026-01-01T00:00:00.000Z","$updatedAt":"2026-01-01T00:00:00.000Z"}}"#
        )
    };
    Scripted::start(std::sync::Arc::new(move |head, mut stream| {
        let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let (status, body) =
            match (head.split(' ').next().unwrap_or_default(), target.rsplit('/').next().unwrap_or_default()) {
                // Expires in the year 2100.
                ("post", "jwt") => (201, r#"{"jwt":"e30.eyJleHAiOjQxMDI0NDQ4MDB9.x"}"#.to_owned()),
                ("post", "keys") => (201, document("k", r#""secret":"s","#)),
                ("post", "sites") => (201, document("s", r#""projectId":"p","name":"n","#)),
                ("post", _) => (201, document("d", r#""name":"n","email":"e","#)),
                _ => (200, r#"{"total":0,"documents":[]}"#.to_owned()),
            };
        Box::pin(async move {
            crate::scripted::read_body(&mut stream, &head).await?;
            let answer = format!(
                "HTTP/1.1 {status} OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(answer.as_bytes()).await.ok().map(|()| stream)
        })
    }))
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_speaks_to_ghost_as_somebody_else() {
    let ghost = obliging_ghost().await;
    let url = ghost.url();
    let app = TestApp::start_with(Database::Sqlite, |config| config.ghost.url = url).await;
    let ada = app.sign_up("ada").await;
    let project = ada.project("shop").await;
    let site = serde_json::json!({ "projectId": project, "name": "n" });
    ada.post("/sites", site.clone()).await.expect(201);
    // Parameters that mean something to Ghost mean nothing here, and are refused rather than passed over.
    for parameter in ["project=x", "mode=admin", "devKey=x", "impersonateuserid=x", "queries[]=x"] {
        ada.get(&format!("/sites?projectId={project}&{parameter}")).await.expect_error(400, "UNKNOWN_PARAMETER");
    }
    for field in ["project", "mode", "devKey", "impersonateuserid", "siteId", "$permissions"] {
        let mut body = site.clone();
        body[field] = "x".into();
        ada.post("/sites", body).await.expect_error(400, "UNKNOWN_FIELD");
    }
    let request = format!(
        "GET /api/v2/sites?projectId={project} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncookie: a_session=stolen\r\n\
         x-appwrite-key: stolen\r\nx-appwrite-jwt: stolen\r\nx-appwrite-project: stolen\r\nx-appwrite-mode: admin\r\n\
         x-appwrite-impersonate-user-id: stolen\r\norigin: https://x\r\nx-forwarded-for: 6.6.6.6\r\n\
         connection: x-appwrite-key, close\r\n\r\n",
        ada.token.as_deref().unwrap()
    );
    let answer = send(&app, request.as_bytes()).await;
    assert_eq!(statuses(&answer), ["200"], "{answer}");
    let heads = ghost.heads();
    assert!(!heads.iter().any(|head| head.contains("stolen") || head.contains("6.6.6.6")), "{heads:?}");
    // Ada may be due for another token, and what runs in the background asks as well: both with the platform's key.
    let heads: Vec<_> = heads.iter().filter(|head| head.starts_with("get ") && head.contains("/sites")).collect();
    let [head] = heads[..] else { panic!("{heads:?}") };
    for forbidden in ["stolen", "6.6.6.6", "admin", "origin", "cookie", "authorization", "x-appwrite-key", "bearer"] {
        assert!(!head.contains(forbidden), "`{forbidden}` came through:\n{head}");
    }
    assert_eq!(head.matches("x-appwrite-jwt: ").count(), 1, "{head}");
    assert!(head.contains("x-appwrite-project: console\r\n") && head.contains("traceparent: 00-"), "{head}");
    app.stop().await;
}
