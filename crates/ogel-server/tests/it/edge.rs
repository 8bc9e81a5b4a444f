//! The edge as browsers, operators and other protocols meet it.

use crate::on_both;
use http::Method;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use ogel_testkit::{Database, TestApp, eventually};
use serde_json::json;
use std::time::Duration;
use tokio::net::TcpStream;

const STUDIO: &str = "https://studio.example";

on_both! {
    async fn one_line_per_request_names_caller_route_and_outcome(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let me = ada.get("/users/me").await.expect(200);
        let missing = ada.get("/projects/proj_01h455vb4pex5vsknk084sn02q?secret=1").await;
        let id = missing.headers["x-request-id"].to_str().unwrap().to_owned();
        missing.expect_error(400, "UNKNOWN_PARAMETER");
        let line = eventually("the line is written", || async {
            app.access_log().into_iter().find(|line| line["requestId"] == id.as_str())
        })
        .await;
        assert_eq!((&line["status"], &line["code"]), (&json!(400), &json!("UNKNOWN_PARAMETER")));
        assert_eq!(line["route"], "/api/v2/projects/{id}");
        assert_eq!((&line["method"], &line["client"]), (&json!("GET"), &json!("127.0.0.1")));
        assert_eq!(line["caller"], me["id"]);
        assert_eq!(line["traceId"].as_str().unwrap().len(), 32);
        assert!(!line.to_string().contains("secret"), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_allowed_origins_may_ask_and_read_and_others_may_not() {
    let app = TestApp::start_with(Database::Sqlite, |config| {
        config.server.allowed_origins = vec![STUDIO.to_owned()];
        config.limits.address = 4;
    })
    .await;
    let api = app.anonymous();
    let ask = |origin: &str| {
        let request = api.request(Method::OPTIONS, "/projects").header("origin", origin.to_owned());
        api.send(request.header("access-control-request-method", "POST"))
    };
    let granted = ask(STUDIO).await;
    assert_eq!(granted.status, 204);
    assert_eq!(granted.headers["access-control-allow-origin"], STUDIO);
    assert_eq!(granted.headers["access-control-allow-credentials"], "true");
    let allowed = granted.headers["access-control-allow-headers"].to_str().unwrap();
    assert!(["authorization", "idempotency-key"].iter().all(|name| allowed.contains(name)), "{allowed}");
    let refused = ask("https://evil.example").await;
    assert!(!refused.headers.contains_key("access-control-allow-origin"));
    refused.expect_error(403, "CROSS_SITE_REQUEST");
    // A page can read why it was refused, too.
    for _ in 0..4 {
        api.get("/version").await.expect(200);
    }
    let limited = api.send(api.request(Method::GET, "/version").header("origin", STUDIO)).await;
    assert_eq!(limited.headers["access-control-allow-origin"], STUDIO);
    assert!(limited.headers["access-control-expose-headers"].to_str().unwrap().contains("retry-after"));
    assert_eq!(limited.headers["vary"], "origin");
    limited.expect_error(429, "RATE_LIMITED");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_says_how_long_it_will_wait() {
    let app = TestApp::start(Database::Sqlite).await;
    let ada = app.sign_up("ada").await;
    let project = ada.project("shop").await;
    crate::sites::make(&ada, &project, "web", json!({})).await;
    // Only Ghost knows, and nothing is kept yet.
    let path = format!("/sites?projectId={project}");
    app.ghost.faults().set_latency(Duration::from_secs(5));
    let started = std::time::Instant::now();
    let answer = ada.send(ada.request(Method::GET, &path).header("x-request-timeout", "300ms")).await;
    assert!(matches!(answer.status.as_u16(), 504), "{answer:?}");
    assert!(started.elapsed() < Duration::from_secs(3));
    let nonsense = ada.send(ada.request(Method::GET, "/users/me").header("x-request-timeout", "soon")).await;
    nonsense.expect_error(400, "INVALID_VALUE");
    app.ghost.faults().clear();
    let answer = ada.get(&path).await;
    let timing = answer.headers["server-timing"].to_str().unwrap().to_owned();
    assert!(timing.starts_with("auth;dur=") && timing.contains("total;dur="), "{timing}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thread_with_too_much_to_do_says_so_and_when_to_come_back() {
    let app = TestApp::start_with(Database::Sqlite, |config| config.server.max_in_flight_per_thread = 0).await;
    let answer = app.anonymous().get("/version").await;
    assert_eq!(answer.headers["retry-after"], "1");
    let error = answer.expect_error(503, "OVERLOADED");
    assert!(error["message"].as_str().unwrap().contains("max_in_flight_per_thread"), "{error}");
    let (status, metrics) = app.operations("/metrics").await;
    assert_eq!(status, 200);
    assert!(metrics.contains("ogel_shed_total 1"), "{metrics}");
    app.stop().await;
}

/// A backend that is slow takes its share of a thread's places, and what does not need it goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_backend_does_not_take_every_place() {
    let go_on = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let waits = go_on.clone();
    let studio = crate::scripted::Scripted::start(std::sync::Arc::new(move |_, mut stream| {
        let waits = waits.clone();
        Box::pin(async move {
            waits.acquire().await.ok()?.forget();
            tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 204 No Content\r\n\r\n").await.ok()?;
            Some(stream)
        })
    }))
    .await;
    let app = crate::raw::in_front_of(&studio, |config| {
        (config.server.threads, config.server.max_in_flight_per_thread) = (1, 4);
    })
    .await;
    let api = app.anonymous();
    let slow = || {
        tokio::spawn({
            let api = api.clone();
            async move { api.get("/billing/x").await.status }
        })
    };
    let waiting = [slow(), slow(), slow()];
    eventually("three wait", || async {
        app.operations("/metrics").await.1.contains("ogel_requests_waiting{backend=\"studio\"} 3").then_some(())
    })
    .await;
    let error = api.get("/billing/x").await.expect_error(503, "OVERLOADED");
    assert!(error["message"].as_str().unwrap().contains("studio is slow"), "{error}");
    api.get("/version").await.expect(200);
    go_on.add_permits(4);
    for answer in waiting {
        assert_eq!(answer.await.unwrap(), 204);
    }
    assert_eq!(api.get("/billing/x").await.status, 204);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_see_counts_health_and_readiness_on_a_port_of_their_own() {
    let app = TestApp::start(Database::Sqlite).await;
    let ada = app.sign_up("ada").await;
    ada.get("/users/me").await.expect(200);
    ada.get("/users/you").await.expect(404);
    let (_, metrics) = app.operations("/metrics").await;
    for line in [
        "ogel_requests_total{resource=\"users\",class=\"2xx\"} 1",
        "ogel_requests_total{resource=\"users\",class=\"4xx\"} 1",
        "ogel_requests_in_flight 0",
        "ogel_request_duration_seconds_count{resource=\"auth\"} 1",
    ] {
        assert!(metrics.lines().any(|known| known == line), "{line} is missing in\n{metrics}");
    }
    assert_eq!(app.operations("/ready").await.0, 200);
    app.app.leaving.store(true, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(app.operations("/ready").await.0, 503);
    assert_eq!(app.operations("/health").await.0, 200);
    assert_eq!(app.anonymous().get("/users/me").await.status, 401);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_with_prior_knowledge_speaks_http2() {
    let app = TestApp::start(Database::Sqlite).await;
    let stream = TcpStream::connect(app.address()).await.unwrap();
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    let ask = |path: &str| {
        let uri = format!("http://{}/api/v2{path}", app.address());
        let request = http::Request::get(uri).body(Empty::<bytes::Bytes>::new()).unwrap();
        let mut sender = sender.clone();
        async move { sender.send_request(request).await.unwrap() }
    };
    // Many at once on one connection.
    let answers = futures_util::future::join_all((0..50).map(|_| ask("/version"))).await;
    assert!(answers.iter().all(|answer| answer.status() == 200 && answer.version() == http::Version::HTTP_2));
    let refused = ask("/users/me").await;
    assert_eq!(refused.status(), 401);
    let body = refused.into_body().collect().await.unwrap().to_bytes();
    assert!(std::str::from_utf8(&body).unwrap().contains("UNAUTHENTICATED"));
    drop(sender);
    app.stop().await;
}
