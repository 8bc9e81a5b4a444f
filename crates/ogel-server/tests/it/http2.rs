//! HTTP/2 in front: many requests at once on one connection, each with a pace of its own.

use crate::{
    raw::in_front_of,
    scripted::{Scripted, length_of, read_body, say_without_end},
};
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Empty, Full, StreamBody, combinators::BoxBody};
use hyper::{
    body::{Body as _, Frame, Incoming},
    client::conn::http2::SendRequest,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use ogel_testkit::{TestApp, eventually};
use std::{convert::Infallible, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::mpsc,
};

type Body = BoxBody<Bytes, Infallible>;

/// One connection with prior knowledge.
pub(crate) struct Client {
    base: String,
    sender: SendRequest<Body>,
}

impl Client {
    pub(crate) async fn of(app: &TestApp) -> Self {
        let stream = TcpStream::connect(app.address()).await.unwrap();
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self { base: format!("http://{}/api/v2/billing", app.address()), sender }
    }

    async fn send(&self, method: Method, path: &str, body: Body) -> Response<Incoming> {
        let request = Request::builder().method(method).uri(format!("{}{path}", self.base)).body(body).unwrap();
        self.sender.clone().send_request(request).await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Response<Incoming> {
        self.send(Method::GET, path, Empty::new().boxed()).await
    }
}

async fn pending_at_studio(app: &TestApp) -> String {
    let (_, metrics) = app.operations("/metrics").await;
    metrics.lines().find(|line| line.starts_with("ogel_upstream_pending{upstream=\"studio\"}")).unwrap().to_owned()
}

/// A backend that reads what it is sent, and answers with as many bytes and their sum as `etag`.
async fn echoing_length() -> Scripted {
    Scripted::start(Arc::new(|head, mut stream| {
        Box::pin(async move {
            let body = read_body(&mut stream, &head).await?;
            let sum: u64 = body.iter().map(|byte| u64::from(*byte)).sum();
            let head = format!("HTTP/1.1 200 OK\r\netag: \"{sum}\"\r\ncontent-length: {}\r\n\r\n", body.len());
            stream.write_all(head.as_bytes()).await.ok()?;
            stream.write_all(&body).await.ok()?;
            Some(stream)
        })
    }))
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_larger_than_any_window_pass_both_ways_several_at_once() {
    let studio = echoing_length().await;
    let app = in_front_of(&studio, |_| {}).await;
    let client = Client::of(&app).await;
    let exchange = async |seed: u8| {
        let body: Vec<u8> = (0..3 << 20).map(|at: u32| (at % 251) as u8 ^ seed).collect();
        let sum: u64 = body.iter().map(|byte| u64::from(*byte)).sum();
        let answer = client.send(Method::PUT, "/file", Full::new(body.clone().into()).boxed()).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["etag"], format!("\"{sum}\"").as_str());
        assert_eq!(answer.headers()["content-length"], body.len().to_string().as_str());
        assert!(answer.headers().contains_key("date"));
        assert!(answer.into_body().collect().await.unwrap().to_bytes() == body, "the body came back changed");
    };
    futures_util::future::join_all((0..4).map(exchange)).await;
    // A length that is not told is passed on in chunks.
    let pieces = futures_util::stream::iter((0..40).map(|_| Ok(Frame::data(Bytes::from(vec![1; 1000])))));
    let answer = client.send(Method::POST, "/pieces", StreamBody::new(pieces).boxed()).await;
    assert_eq!(answer.status(), 200);
    assert!(studio.heads().pop().unwrap().contains("transfer-encoding: chunked"));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pieces_arrive_as_they_are_sent_and_trailers_behind_them() {
    let (studio, say) = Scripted::dictated("etag: \"1\"").await;
    let app = in_front_of(&studio, |_| {}).await;
    let client = Client::of(&app).await;
    let mut answer = client.get("/events").await;
    for piece in ["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"] {
        say.send(piece).await.unwrap();
        // The next one is not sent before this one has arrived.
        assert_eq!(answer.body_mut().frame().await.unwrap().unwrap().into_data().unwrap(), piece);
    }
    drop(say);
    let last = answer.body_mut().frame().await.unwrap().unwrap();
    assert_eq!(last.into_trailers().unwrap()["etag"], "\"1\"");
    assert!(answer.body().is_end_stream());
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_without_a_body_have_none() {
    let studio = Scripted::saying("HTTP/1.1 204 No Content\r\n\r\n").await;
    let app = in_front_of(&studio, |_| {}).await;
    let client = Client::of(&app).await;
    let answer = client.get("/nothing").await;
    assert_eq!((answer.status().as_u16(), answer.body().is_end_stream()), (204, true));
    assert!(!answer.headers().contains_key("content-length"));
    let answer = client.send(Method::HEAD, "/../x", Empty::new().boxed()).await;
    let (length, body) = (answer.headers().get("content-length").cloned(), answer.into_body());
    assert_eq!(body.collect().await.unwrap().to_bytes(), "", "of {length:?} bytes");
    app.stop().await;
}

/// The values that come again are numbers from the second answer on, those that never do are not kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_has_its_own_id_however_its_headers_are_packed() {
    let studio = Scripted::saying("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await;
    let app = in_front_of(&studio, |_| {}).await;
    let client = Client::of(&app).await;
    let mut ids = std::collections::HashSet::new();
    for number in 1..=50 {
        let answer = client.get("/x").await;
        assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
        assert!(answer.headers()["ratelimit"].to_str().unwrap().contains(";r="), "{:?}", answer.headers());
        ids.insert(answer.headers()["x-request-id"].clone());
        assert_eq!(ids.len(), number);
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_over_the_limit_and_one_that_does_not_come_are_refused() {
    let studio = Scripted::saying("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let app = in_front_of(&studio, |config| config.studio.max_body_bytes = 1000).await;
    let client = Client::of(&app).await;
    let answer = client.send(Method::POST, "/x", Full::new(Bytes::from(vec![0; 2000])).boxed()).await;
    assert_eq!(answer.status(), 413);
    assert!(studio.heads().is_empty());
    // Whose length is not announced, so that it is over the limit only when most of it has come.
    let pieces = futures_util::stream::iter((0..20).map(|_| Ok(Frame::data(Bytes::from_static(&[1; 100])))));
    let answer = client.send(Method::POST, "/x", StreamBody::new(pieces).boxed()).await;
    assert_eq!(answer.status(), 413);
    let (say, said) = mpsc::channel::<Bytes>(1);
    let pieces = futures_util::stream::unfold(said, async |mut said| Some((Ok(Frame::data(said.recv().await?)), said)));
    say.send(Bytes::from_static(b"a beginning")).await.unwrap();
    let answer = client.send(Method::POST, "/x", StreamBody::new(pieces).boxed()).await;
    assert_eq!(answer.status(), 408);
    drop(say);
    // The connection goes on.
    assert_eq!(client.get("/y").await.status(), 200);
    app.stop().await;
}

/// A reader that leaves its window closed holds neither its answer nor the backend, and others on the connection go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_nobody_reads_is_cut_off_and_its_neighbours_are_not() {
    let studio = Scripted::start(Arc::new(|head, mut stream| {
        Box::pin(async move {
            if head.starts_with("get /api/v2/billing/short") {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await.ok()?;
                return Some(stream);
            }
            say_without_end(stream).await
        })
    }))
    .await;
    let app = in_front_of(&studio, |_| {}).await;
    let client = Client::of(&app).await;
    let unread = client.get("/long").await;
    assert_eq!(unread.status(), 200);
    assert!(pending_at_studio(&app).await.ends_with(" 1"));
    eventually("the backend is let go", || async { pending_at_studio(&app).await.ends_with(" 0").then_some(()) }).await;
    let answer = client.get("/short").await;
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "{}");
    // What came before it was cut off can be read, and then that it was.
    assert!(unread.into_body().collect().await.is_err());
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_takes_its_request_back_lets_the_backend_go() {
    let studio = Scripted::start(Arc::new(|_, mut stream| {
        Box::pin(async move {
            // Never answers, and sees when it need not any more.
            let _ = stream.read(&mut [0; 64]).await;
            None
        })
    }))
    .await;
    let app = in_front_of(&studio, |_| {}).await;
    let client = Client::of(&app).await;
    let taken_back = tokio::time::timeout(Duration::from_millis(200), client.get("/never")).await;
    assert!(taken_back.is_err());
    eventually("the backend is let go", || async { pending_at_studio(&app).await.ends_with(" 0").then_some(()) }).await;
    assert_eq!(length_of(&studio.heads()[0]), 0);
    app.stop().await;
}
