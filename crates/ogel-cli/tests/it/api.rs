//! `ogel api`: what is sent, and what comes out.

use crate::{
    ogel::{Ogel, ran},
    server::{Reply, Seen, Server},
};
use serde_json::json;

#[tokio::test]
async fn fields_become_a_body_or_a_query() {
    let server = Server::start(|_: &Seen| Reply::Json(200, json!({"ok": true}))).await;
    let ogel = Ogel::at(&server);
    let ran = ogel.run(&["api", "post", "/api/v2/projects", "-f", "name=My shop", "-f", "slug=shop"]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "{\"ok\":true}"));
    ogel.run(&["api", "GET", "deployments?limit=1", "-f", "branch=a b"]).await;
    std::fs::write(ogel.home.path().join("body.json"), "{\"from\":\"file\"}").unwrap();
    ogel.run(&["api", "PATCH", "users/me", "--input", "body.json"]).await;
    ogel.run_with_input(&["api", "PATCH", "users/me", "--input", "-"], "{\"from\":\"stdin\"}").await;
    let seen = server.seen();
    assert_eq!(seen[0].body, json!({"name": "My shop", "slug": "shop"}));
    assert_eq!(seen[1].query, "limit=1&branch=a+b");
    assert_eq!((&seen[2].body["from"], &seen[3].body["from"]), (&json!("file"), &json!("stdin")));
}

#[tokio::test]
async fn the_status_decides_the_exit_code_and_the_body_is_shown() {
    let server = Server::start(|seen: &Seen| match seen.path.as_str() {
        "gone" => Reply::Text(204, ""),
        _ => Reply::Error(404, "NOT_FOUND", 0),
    })
    .await;
    let ogel = Ogel::at(&server);
    let ran = ogel.run(&["api", "GET", "x"]).await;
    assert_eq!(ran.code, Some(3));
    assert_eq!(ran.json()["error"]["code"], "NOT_FOUND");
    assert_eq!(ran.stderr, "error: the message of `NOT_FOUND`\n");
    let ran = ogel.run(&["api", "DELETE", "gone"]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), ""));
    assert_eq!(ogel.run(&["api", "DELETE", "gone", "--json"]).await.stdout, "null\n");
    let ran = ogel.run(&["api", "GET", "x", "--include", "--json"]).await;
    assert_eq!(
        (&ran.json()["status"], &ran.json()["headers"]["content-type"]),
        (&json!(404), &json!("application/json"))
    );
    let ran = ogel.run(&["api", "GET", "x", "-i"]).await;
    assert!(ran.stdout.starts_with("HTTP/1.1 404 Not Found\ncontent-type: application/json\n"), "{}", ran.stdout);
}

#[tokio::test]
async fn the_token_does_not_leave_the_api() {
    let server = Server::start(|_: &Seen| Reply::Json(200, json!({}))).await;
    let ogel = Ogel::at(&server);
    for path in ["https://evil.example/x", "../../metrics"] {
        let ran = ran(ogel.command(&["api", "GET", path]).spawn().unwrap()).await;
        assert_eq!(ran.code, Some(2), "{ran:?}");
    }
    assert!(server.seen().is_empty());
}
