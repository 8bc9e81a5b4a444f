//! `ogel operations`: what a 202 named, shown and waited for.

use crate::{
    ogel::{DEPLOYMENT, Ogel, PROJECT},
    server::{Reply, Seen, Server},
};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};

const OPERATION: &str = "op_01h455vb4pex5vsknk084sn02q";

fn operation(state: &str) -> Value {
    let failed = (state == "failed").then(|| json!({"code": "CONFLICT", "message": "the project was restored"}));
    json!({
        "id": OPERATION, "kind": "delete_deployment", "state": state, "projectId": PROJECT, "deploymentId": DEPLOYMENT,
        "requestedBy": null, "error": failed, "createdAt": "2000-01-01T00:00:00.000Z",
        "updatedAt": "2000-01-01T00:00:00.000Z", "completedAt": null,
    })
}

#[tokio::test]
async fn waiting_asks_until_it_is_over() {
    let asked = AtomicUsize::new(0);
    let server = Server::start(move |_: &Seen| {
        let turn = asked.fetch_add(1, Ordering::SeqCst);
        Reply::Json(200, operation(if turn < 3 { "pending" } else { "succeeded" }))
    })
    .await;
    let ran = Ogel::at(&server).run(&["operations", "wait", OPERATION]).await;
    let table = format!(
        "KIND               STATE      OF                              ID\ndelete_deployment  succeeded  {DEPLOYMENT}  {OPERATION}\n"
    );
    assert_eq!((ran.code, ran.stdout), (Some(0), table));
    assert_eq!(server.asked(&format!("GET operations/{OPERATION}")).len(), 1);
    assert_eq!(server.asked(&format!("GET operations/{OPERATION}/wait")).len(), 3);
}

#[tokio::test]
async fn one_that_failed_or_is_dead_is_shown_and_fails_whoever_waits() {
    for (state, said) in [("failed", "the project was restored"), ("dead", "waits for the platform's operators")] {
        let server = Server::start(move |_: &Seen| Reply::Json(200, operation(state))).await;
        let ogel = Ogel::at(&server);
        let ran = ogel.run(&["operations", "show", OPERATION, "--json"]).await;
        assert_eq!((ran.code, ran.json()["state"].as_str()), (Some(0), Some(state)));
        let ran = ogel.run(&["operations", "wait", OPERATION]).await;
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.stderr.contains(said) && ran.stdout.contains(state), "{ran:?}");
    }
}
