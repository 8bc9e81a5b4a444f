//! Connections without a request: what they may go on to do, and how they end.

use ogel_testkit::{Database, TestApp, eventually};
use std::{sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
};

const REQUEST: &str = "GET /api/v2/version HTTP/1.1\r\nhost: localhost\r\n\r\n";

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// One answer: status and head, its body being read as well.
async fn answer(stream: &mut dyn Stream) -> (u16, String) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
    stream.read_exact(&mut vec![0; length]).await.unwrap();
    (head[9..12].parse().unwrap(), head)
}

/// Waits until so many connections are at rest.
async fn resting(app: &TestApp, count: u64) {
    let line = format!("ogel_connections_resting {count}");
    eventually(&line, async || app.operations("/metrics").await.1.lines().any(|found| found == line).then_some(()))
        .await;
}

async fn goes_on(app: &TestApp, stream: &mut dyn Stream) {
    for _ in 0..3 {
        stream.write_all(REQUEST.as_bytes()).await.unwrap();
        let (status, head) = answer(stream).await;
        assert_eq!(status, 200);
        assert!(!head.contains("connection: close"), "{head}");
        resting(app, 1).await;
    }
    // A head in pieces wakes it at the first one, and it stays awake.
    let (some, more) = REQUEST.split_at(20);
    stream.write_all(some.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    resting(app, 0).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(app.operations("/metrics").await.1.contains("\nogel_connections_resting 0\n"));
    stream.write_all(more.as_bytes()).await.unwrap();
    assert_eq!(answer(stream).await.0, 200);
    resting(app, 1).await;
    // Two at once, and half of a third: each is answered once, in its turn.
    stream.write_all(format!("{REQUEST}{REQUEST}{some}").as_bytes()).await.unwrap();
    assert_eq!((answer(stream).await.0, answer(stream).await.0), (200, 200));
    tokio::time::sleep(Duration::from_millis(300)).await;
    stream.write_all(more.as_bytes()).await.unwrap();
    let (status, head) = answer(stream).await;
    assert_eq!(status, 200);
    assert!(!head.contains("connection: close"), "{head}");
    resting(app, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_at_rest_goes_on_with_the_next_byte() {
    let app = TestApp::start(Database::Sqlite).await;
    let mut stream = TcpStream::connect(app.address()).await.unwrap();
    goes_on(&app, &mut stream).await;
    drop(stream);
    resting(&app, 0).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_does_one_over_tls() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let app = TestApp::start_with(Database::Sqlite, |config| {
        config.server.tls_certificate = certificate.display().to_string();
        config.server.tls_key = key.display().to_string();
    })
    .await;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = builder.with_root_certificates(roots).with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = TcpStream::connect(app.address()).await.unwrap();
    let mut stream = connector.connect("localhost".try_into().unwrap(), stream).await.unwrap();
    goes_on(&app, &mut stream).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_at_rest_ends_when_it_is_not_used_or_its_next_head_does_not_end() {
    let app = TestApp::start_with(Database::Sqlite, |config| config.server.header_timeout_seconds = 1).await;
    // Who has begun to ask is told why it ends.
    for (piece, told) in [("", ""), ("GET /api/v2/version HT", "REQUEST_TIMEOUT")] {
        let mut stream = TcpStream::connect(app.address()).await.unwrap();
        stream.write_all(REQUEST.as_bytes()).await.unwrap();
        assert_eq!(answer(&mut stream).await.0, 200);
        resting(&app, 1).await;
        stream.write_all(piece.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        let closed = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut rest)).await;
        assert!(closed.is_ok(), "still open after {piece:?}");
        let rest = String::from_utf8(rest).unwrap();
        assert_eq!(rest.is_empty(), told.is_empty(), "{rest}");
        assert!(rest.contains(told) && (told.is_empty() || rest.starts_with("HTTP/1.1 408 ")), "{rest}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_at_rest_does_not_hold_up_the_end() {
    let app = TestApp::start_with(Database::Sqlite, |config| config.server.drain_seconds = 60).await;
    let mut stream = TcpStream::connect(app.address()).await.unwrap();
    stream.write_all(REQUEST.as_bytes()).await.unwrap();
    assert_eq!(answer(&mut stream).await.0, 200);
    resting(&app, 1).await;
    let stopped = tokio::time::timeout(Duration::from_secs(20), app.stop()).await;
    assert!(stopped.is_ok(), "the server waited for a client that says nothing");
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
}
