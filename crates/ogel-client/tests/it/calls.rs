//! Single calls: what is sent, what is repeated, what failures become.

use crate::{
    client, client_with,
    server::{Reply, Server},
};
use http::Method;
use ogel_api::organizations::NewOrganization;
use ogel_client::{ClientError, PageQuery};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

fn user() -> Value {
    json!({"id": "usr_01h455vb4pex5vsknk084sn02q", "email": "a@b.c", "name": "Ada", "unknown": 1,
           "createdAt": "2026-11-22T10:00:03.120Z", "updatedAt": "2026-11-22T10:00:03.120Z"})
}

#[tokio::test]
async fn every_request_carries_the_token_and_posts_a_fresh_key() {
    let server = Server::start(|_| Reply::Error(400, "INVALID_VALUE", 0)).await;
    let client = client(&server);
    let new = NewOrganization { name: "n".to_owned(), slug: None };
    for _ in 0..2 {
        client.create_organization(&new).await.unwrap_err();
    }
    client.get_me().await.unwrap_err();
    let seen = server.seen();
    assert!(seen.iter().all(|seen| seen.header("authorization") == Some("Bearer ogel_t")));
    let key = |n: usize| seen[n].header("idempotency-key");
    assert!(key(0).is_some() && key(1).is_some() && key(0) != key(1));
    assert_eq!(key(2), None);
    assert_eq!(seen[0].body, json!({"name": "n"}));
}

#[tokio::test]
async fn a_post_is_repeated_with_the_same_key() {
    let server = Server::start(|seen| match seen.nth {
        0 => Reply::Error(503, "OVERLOADED", 0),
        1 => Reply::Break,
        _ => Reply::Json(201, json!({"anything": 1})),
    })
    .await;
    client(&server).raw(Method::POST, "projects", None).await.unwrap();
    let keys: Vec<_> = server.seen().iter().map(|seen| seen.header("idempotency-key").unwrap().to_owned()).collect();
    assert_eq!(keys.len(), 3);
    assert!(keys.iter().all(|key| *key == keys[0]));
}

#[tokio::test]
async fn a_patch_and_a_refusal_are_not_repeated() {
    let server = Server::start(|seen| match seen.method.as_str() {
        "PATCH" => Reply::Error(503, "OVERLOADED", 0),
        _ => Reply::Error(404, "NOT_FOUND", 0),
    })
    .await;
    let client = client(&server);
    client.update_me(&Default::default()).await.unwrap_err();
    client.get_me().await.unwrap_err();
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn no_retries_means_none() {
    let server = Server::start(|_| Reply::Error(503, "OVERLOADED", 0)).await;
    let error = client_with(&server, |config| config.max_retries = 0).get_me().await.unwrap_err();
    assert_eq!(error.code(), Some("OVERLOADED"));
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn retry_after_is_waited_for_but_not_beyond_the_bound() {
    let server = Server::start(|seen| match (seen.path.as_str(), seen.nth) {
        ("users/me", 0) => Reply::Error(429, "RATE_LIMITED", 1),
        ("users/me", _) => Reply::Json(200, user()),
        _ => Reply::Error(429, "RATE_LIMITED", 3600),
    })
    .await;
    let client = client(&server);
    let started = Instant::now();
    assert_eq!(client.get_me().await.unwrap().name, "Ada");
    assert!(started.elapsed() >= Duration::from_secs(1));
    let error = client.list_projects(&PageQuery::default()).await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(3600)));
    assert_eq!(server.asked("GET projects").len(), 1);
}

#[tokio::test]
async fn silence_is_a_timeout_and_bounded_with_its_retries() {
    let server = Server::start(|_| Reply::Hang).await;
    let client = client_with(&server, |config| config.timeout = Duration::from_millis(300));
    let started = Instant::now();
    assert!(matches!(client.get_me().await.unwrap_err(), ClientError::Timeout { .. }));
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
}

#[tokio::test]
async fn an_answer_of_something_else_is_shown_in_part() {
    let server = Server::start(|seen| match seen.path.as_str() {
        "users/me" => Reply::Text(200, "<h1>Welcome to nginx</h1>"),
        "health" => Reply::Text(301, ""),
        _ => Reply::Text(403, "<h1>Blocked</h1>"),
    })
    .await;
    let client = client(&server);
    for (error, part) in [
        (client.get_me().await.unwrap_err(), "Welcome to nginx"),
        (client.version().await.unwrap_err(), "Blocked"),
        (client.health().await.unwrap_err(), ""),
    ] {
        let ClientError::Decode { excerpt, .. } = error else { panic!("{error:?}") };
        assert!(excerpt.contains(part), "{excerpt}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    let client = ogel_client::Client::new(ogel_client::ClientConfig {
        max_retries: 0,
        ..ogel_client::ClientConfig::new("http://127.0.0.1:1")
    });
    let error = client.unwrap().health().await.unwrap_err();
    assert_eq!(error.to_string(), "cannot reach `http://127.0.0.1:1`: connection refused");
}

#[tokio::test]
async fn names_are_escaped_and_dots_refused() {
    let server = Server::start(|_| Reply::Error(404, "NOT_FOUND", 0)).await;
    let client = client(&server);
    client.get_project("a/../b?c").await.unwrap_err();
    assert_eq!(server.seen()[0].path, "projects/a%2F..%2Fb%3Fc");
    for name in ["..", ".", ""] {
        assert!(matches!(client.get_project(name).await, Err(ClientError::InvalidUrl { .. })), "{name:?}");
    }
    assert_eq!(server.seen().len(), 1);
}
