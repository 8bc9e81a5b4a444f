//! Webhooks: signed both ways, and lost or doubled when a fault asks for it.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use http::HeaderMap;
use ogel_ghost_local::Webhook;
use parking_lot::Mutex;
use serde_json::{Value, json};
use sha1::Sha1;
use sha2::Sha256;

use crate::support::{Repo, config, ghost_with, until};

type Inbox = Arc<Mutex<Vec<(HeaderMap, String)>>>;

async fn receiver() -> (String, Inbox) {
    let inbox = Inbox::default();
    let take = async |State(inbox): State<Inbox>, headers: HeaderMap, body: String| inbox.lock().push((headers, body));
    let router = Router::new().fallback(take).with_state(inbox.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook?x=1", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, inbox)
}

fn seen(inbox: &Inbox) -> Vec<(String, String)> {
    let text = |body: &Value, name: &str| body[name].as_str().unwrap().to_owned();
    let bodies = inbox.lock().iter().map(|(_, body)| serde_json::from_str(body).unwrap()).collect::<Vec<Value>>();
    bodies.iter().map(|body| (text(body, "type"), text(body, "status"))).collect()
}

#[tokio::test]
async fn a_build_is_announced_with_both_signatures() {
    let (url, inbox) = receiver().await;
    let dir = tempfile::tempdir().unwrap();
    let mut settings = config(dir.path());
    settings.webhook = Some(Webhook { url: url.clone(), secret: "shared".to_owned() });
    let ghost = ghost_with(settings).await;
    ghost.make_project("shop").await;
    let repo = Repo::new(&[("index.html", "x")]);
    let created = ghost.deploy("one", &repo, json!({})).await;
    let ended = ("build.completed".to_owned(), "success".to_owned());
    until("the last webhook", || async { seen(&inbox).contains(&ended).then_some(()) }).await;
    let events = seen(&inbox);
    assert_eq!(events[0], ("deployment.created".to_owned(), "pending".to_owned()));
    assert!(events.contains(&("deployment.updated".to_owned(), "success".to_owned())), "{events:?}");
    assert_eq!(events.iter().filter(|event| **event == ended).count(), 1);
    for (headers, body) in inbox.lock().iter() {
        let header = |name: &str| headers.get(name).unwrap().to_str().unwrap();
        let event: Value = serde_json::from_str(body).unwrap();
        assert_eq!(header("webhook-id"), event["id"]);
        assert_eq!((&event["projectId"], &event["deploymentId"]), (&json!("shop"), &json!("one")));
        assert_eq!(event["buildId"], created["buildId"]);
        let mut mac = Hmac::<Sha1>::new_from_slice(b"shared").unwrap();
        mac.update(format!("{url}{body}").as_bytes());
        assert_eq!(header("x-appwrite-webhook-signature"), STANDARD.encode(mac.finalize().into_bytes()));
        let mut mac = Hmac::<Sha256>::new_from_slice(b"shared").unwrap();
        mac.update(format!("{}.{}.{body}", header("webhook-id"), header("webhook-timestamp")).as_bytes());
        assert_eq!(header("webhook-signature"), format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())));
    }
    ghost.inner.faults().drop_next_webhooks(1);
    ghost.deploy("lost", &repo, json!({})).await;
    ghost.succeeded("lost").await;
    until("the end of the second build", || async {
        (seen(&inbox).iter().filter(|event| **event == ended).count() == 2).then_some(())
    })
    .await;
    assert_eq!(seen(&inbox).iter().filter(|(kind, _)| kind == "deployment.created").count(), 1);
    inbox.lock().clear();
    ghost.inner.faults().duplicate_next_webhooks(1);
    ghost.deploy("twice", &repo, json!({})).await;
    until("both copies", || async { (seen(&inbox).len() >= 3).then_some(()) }).await;
    let ids: Vec<_> = inbox.lock().iter().map(|(headers, _)| headers["webhook-id"].clone()).collect();
    assert_eq!(ids[0], ids[1]);
    assert_ne!(ids[1], ids[2]);
    ghost.inner.shutdown().await;
}

#[tokio::test]
async fn a_webhook_can_arrive_after_its_successor() {
    let (url, inbox) = receiver().await;
    let dir = tempfile::tempdir().unwrap();
    let mut settings = config(dir.path());
    settings.webhook = Some(Webhook { url, secret: "shared".to_owned() });
    let ghost = ghost_with(settings).await;
    ghost.make_project("shop").await;
    ghost.inner.faults().swap_next_webhooks(1);
    ghost.deploy("one", &Repo::new(&[("index.html", "x")]), json!({})).await;
    let created = ("deployment.created".to_owned(), "pending".to_owned());
    until("the late webhook", || async { seen(&inbox).contains(&created).then_some(()) }).await;
    assert_eq!(seen(&inbox)[1], created);
    ghost.inner.shutdown().await;
}
