//! Faults do what they are asked to do, as often as they are asked to.

use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};

use crate::support::{KEY, ghost};

#[tokio::test]
async fn http_faults_hit_the_calls_they_name_and_no_other() {
    let (ghost, _dir) = ghost().await;
    let faults = ghost.inner.faults();
    faults.fail_next(2, Some(Method::GET), "/v1/projects/shop", 503);
    assert_eq!(ghost.call(Method::GET, "/v1/health", Value::Null).await.0, 200);
    for expected in [503, 503, 200] {
        assert_eq!(ghost.call(Method::GET, "/v1/projects/shop", Value::Null).await.0, expected);
    }
    let create = async |id: &str| {
        let body = json!({ "projectId": id, "name": id });
        let request = ghost.http.post(format!("{}/v1/projects", ghost.inner.api_url()));
        let request = request.header("x-appwrite-key", KEY).header("x-appwrite-project", "console");
        request.body(body.to_string()).send().await.map(|answer| answer.status().as_u16())
    };
    faults.drop_next_connections(1, None, "/v1/projects");
    assert!(create("undone").await.is_err());
    assert_eq!(ghost.call(Method::GET, "/v1/projects/undone", Value::Null).await.0, 404);
    faults.drop_next_answers(1, Some(Method::POST), "/v1/projects");
    assert!(create("done").await.is_err());
    assert_eq!(create("done").await.unwrap(), 409);
    faults.set_latency(Duration::from_millis(300));
    let started = Instant::now();
    ghost.call(Method::GET, "/v1/health", Value::Null).await;
    assert!(started.elapsed() >= Duration::from_millis(300));
    faults.fail_next(9, None, "/", 500);
    faults.clear();
    assert_eq!(ghost.call(Method::GET, "/v1/health", Value::Null).await.0, 200);
    ghost.inner.shutdown().await;
}

#[tokio::test]
async fn realtime_sockets_can_be_cut() {
    let (ghost, _dir) = ghost().await;
    let mut socket = ghost.subscribed(&["projects.shop.deployments"]).await;
    ghost.inner.faults().drop_realtime_sockets();
    assert_eq!(socket.frame().await, None);
    ghost.subscribed(&["projects.shop.deployments"]).await;
    ghost.inner.shutdown().await;
}

#[tokio::test]
async fn an_answer_can_be_cut_in_the_middle() {
    let (ghost, _dir) = ghost().await;
    ghost.inner.faults().cut_next_answers(1, None, "/v1/health");
    let answer = ghost.http.get(format!("{}/v1/health", ghost.inner.api_url())).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.bytes().await.is_err());
    ghost.inner.shutdown().await;
}

#[tokio::test]
async fn faults_can_be_asked_for_from_another_process_only_where_that_is_allowed() {
    let (ghost, _dir) = ghost().await;
    assert_eq!(ghost.call(Method::POST, "/v1/faults", json!({ "latencyMs": 1 })).await.0, 404);
    ghost.inner.shutdown().await;

    let dir = tempfile::tempdir().unwrap();
    let mut config = crate::support::config(dir.path());
    config.fault_control = true;
    let ghost = crate::support::ghost_with(config).await;
    let asked = json!({ "calls": [{ "count": 1, "pathPrefix": "/v1/health", "action": { "status": 503 } }] });
    assert_eq!(ghost.call(Method::POST, "/v1/faults", asked).await.0, 204);
    assert_eq!(ghost.call(Method::GET, "/v1/health", Value::Null).await.0, 503);
    assert_eq!(ghost.call(Method::GET, "/v1/health", Value::Null).await.0, 200);
    assert_eq!(ghost.call(Method::POST, "/v1/faults", json!({ "latency": 1 })).await.0, 400);
    let stranger = ghost.http.post(format!("{}/v1/faults", ghost.inner.api_url()));
    let stranger = stranger.header("x-appwrite-project", "console").body("{}").send().await.unwrap();
    assert_eq!(stranger.status(), 401);
    ghost.inner.shutdown().await;
}
