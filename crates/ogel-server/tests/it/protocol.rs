//! What every request gets: ids, tags, the envelope; and what connections may not do.

use crate::on_both;
use http::Method;
use ogel_testkit::{Database, TestApp, eventually};
use std::time::{Duration, Instant};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

on_both! {
    async fn health_readiness_and_version_need_no_credential(app: TestApp) {
        let anonymous = app.anonymous();
        assert_eq!(anonymous.get("/health").await.expect(200)["status"], "ok");
        let ready = anonymous.get("/ready").await.expect(200);
        assert!(ready["checks"].as_array().unwrap().iter().all(|check| check["ok"] == true), "{ready}");
        assert_eq!(anonymous.get("/version").await.expect(200)["version"], env!("CARGO_PKG_VERSION"));
        app.ghost.faults().fail_next(1000, None, "/v1/health", 500);
        let ready = anonymous.get("/ready").await.expect(200);
        assert!(ready["checks"].as_array().unwrap().iter().any(|check| check["name"] == "ghost" && check["ok"] == false));
    }

    async fn what_was_read_need_not_be_sent_again(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let first = ada.get("/users/me").await;
        let tag = first.headers["etag"].clone();
        let again = ada.send(ada.request(Method::GET, "/users/me").header("if-none-match", &tag)).await;
        assert_eq!((again.status.as_u16(), again.body), (304, serde_json::Value::Null));
        // It would be the length of the answer that was not sent.
        assert!(!again.headers.contains_key("content-length"), "{:?}", again.headers);
        ada.patch("/users/me", serde_json::json!({ "name": "Other" })).await.expect(200);
        let changed = ada.send(ada.request(Method::GET, "/users/me").header("if-none-match", &tag)).await;
        assert_eq!(changed.status, 200);
        assert_ne!(changed.headers["etag"], tag);
    }

    async fn a_head_is_the_get_without_its_body(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let project = ada.project("shop").await;
        // On the thread that accepts, on the control plane, and with a parameter that is escaped.
        for path in ["/version".to_owned(), "/users/me".to_owned(), format!("/projects/{}", project.replace('_', "%5F"))] {
            let get = ada.get(&path).await;
            let head = ada.send(ada.request(Method::HEAD, &path)).await;
            assert_eq!((get.status.as_u16(), head.status.as_u16(), head.body), (200, 200, serde_json::Value::Null), "{path}");
            for header in ["content-length", "content-type", "etag"] {
                assert_eq!(get.headers[header], head.headers[header], "{header} of {path}");
            }
        }
        let allowed = ada.send(ada.request(Method::DELETE, "/version")).await;
        assert_eq!((allowed.status.as_u16(), &allowed.headers["allow"]), (405, &"GET,HEAD".parse().unwrap()));
    }

    async fn a_trace_is_carried_on_and_every_request_has_an_id(app: TestApp) {
        let anonymous = app.anonymous();
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let request = anonymous.request(Method::GET, "/nonsense").header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"));
        let error = anonymous.send(request).await.expect_error(404, "ROUTE_NOT_FOUND");
        assert_eq!(error["traceId"], trace);
        let (one, two) = (anonymous.get("/health").await, anonymous.get("/health").await);
        assert_ne!(one.headers["x-request-id"], two.headers["x-request-id"]);
    }
}

/// The description that is served is the one that is committed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openapi_is_served_and_describes_failures() {
    let app = TestApp::start(Database::Sqlite).await;
    let document = app.anonymous().get("/openapi.json").await.expect(200);
    assert_eq!(document["openapi"], "3.1.0");
    let create = &document["paths"]["/deployments"]["post"];
    assert_eq!(create["operationId"], "create_deployment");
    assert!(create["responses"]["default"]["content"]["application/json"]["schema"]["$ref"].is_string(), "{create}");
    app.stop().await;
}

/// A client that never finishes its request does not hold its connection for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_request_heads_are_cut_off() {
    let app = TestApp::start_with(Database::Sqlite, |config| config.server.header_timeout_seconds = 1).await;
    for head in ["", "GET /api/v2/health HTTP/1.1\r\nhost: x\r\n"] {
        let mut stream = TcpStream::connect(app.address()).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        let closed = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut rest)).await;
        assert!(closed.is_ok(), "still open after a head of {} bytes", head.len());
    }
    app.stop().await;
}

/// An operation that hangs is answered by its deadline.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_deadline_holds() {
    let app = TestApp::start_with(Database::Sqlite, |config| {
        config.server.request_timeout_seconds = 1;
        config.deployments.accept_wait_seconds = 20;
    })
    .await;
    let ada = app.sign_up("ada").await;
    let project = ada.project("shop").await;
    app.ghost.faults().set_latency(Duration::from_secs(3));
    let body = serde_json::json!({ "projectId": project, "repoUrl": "https://example.com/a/b" });
    ada.post("/deployments", body).await.expect_error(504, "DEADLINE_EXCEEDED");
    app.ghost.faults().clear();
    app.stop().await;
}

/// A read that waits in PostgreSQL is answered by its deadline, and its connection serves others from then on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_past_their_deadline_hold_no_connection() {
    let app = TestApp::start(Database::Postgres).await;
    let ada = app.sign_up("ada").await;
    let locked = app.at_database("BEGIN; LOCK TABLE api_keys IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(60); COMMIT");
    let keys = || ada.send(ada.request(Method::GET, "/auth/api-keys").header("x-request-timeout", "400ms"));
    let case = async {
        eventually("the table is locked", async || (keys().await.status == 504).then_some(())).await;
        let many = futures_util::future::join_all((0..12).map(|_| keys())).await;
        for answer in many {
            answer.expect_error(504, "DEADLINE_EXCEEDED");
        }
        // There are five connections. Without them this would wait for its own deadline.
        let started = Instant::now();
        ada.get("/projects").await.expect(200);
        assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    };
    tokio::select! {
        () = locked => panic!("the table was free again before the case was over"),
        () = case => {}
    }
    app.stop().await;
}

/// A closed database is 503 with a time to come back, not a 500.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_away_is_503() {
    let app = TestApp::start(Database::Sqlite).await;
    let ada = app.sign_up("ada").await;
    ada.get("/projects").await.expect(200);
    app.app.store.close().await;
    let answer = ada.get("/projects").await;
    assert!(answer.headers.contains_key("retry-after"));
    answer.expect_error(503, "DATABASE_UNAVAILABLE");
    app.anonymous().get("/ready").await.expect(503);
    app.stop().await;
}
