//! Webhooks of the platform's users, against receivers that answer, fail, hang, redirect and are gone.

use crate::{invitations::organization, on_both};
use axum::{Router, body::Bytes, extract::State, response::IntoResponse as _};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderMap, StatusCode};
use ogel_api::organizations::Role;
use ogel_server::{config::Config, run};
use ogel_testkit::{Api, Repository, TestApp, eventually};
use parking_lot::Mutex;
use serde_json::{Value, json};
use sha2::Sha256;
use std::{sync::Arc, time::Duration};

/// What a receiver does with what it gets.
#[derive(Clone)]
pub(crate) enum Manner {
    Answer(u16, &'static str),
    AskAgainIn(u64),
    Redirect(String),
    Hang,
}

/// A real HTTP server that remembers what was posted to it.
#[derive(Clone)]
pub(crate) struct Receiver {
    url: String,
    inbox: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
    manner: Arc<Mutex<Manner>>,
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook?key=1", listener.local_addr().unwrap());
        let receiver = Self { url, inbox: Arc::default(), manner: Arc::new(Mutex::new(Manner::Answer(204, ""))) };
        let router = Router::new().fallback(Self::take).with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        receiver
    }

    async fn take(State(receiver): State<Self>, headers: HeaderMap, body: Bytes) -> axum::response::Response {
        receiver.inbox.lock().push((headers, body));
        let manner = receiver.manner.lock().clone();
        match manner {
            Manner::Answer(status, text) => (StatusCode::from_u16(status).unwrap(), text).into_response(),
            Manner::AskAgainIn(seconds) => {
                (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", seconds.to_string())]).into_response()
            }
            Manner::Redirect(url) => (StatusCode::TEMPORARY_REDIRECT, [("location", url)]).into_response(),
            Manner::Hang => std::future::pending().await,
        }
    }

    pub(crate) fn turn(&self, manner: Manner) {
        *self.manner.lock() = manner;
    }

    /// The events that came, by `webhook-id`, with their bodies.
    pub(crate) fn events(&self) -> Vec<(String, Value)> {
        let text = |headers: &HeaderMap| headers["webhook-id"].to_str().unwrap().to_owned();
        self.inbox.lock().iter().map(|(headers, body)| (text(headers), serde_json::from_slice(body).unwrap())).collect()
    }

    pub(crate) fn kinds(&self) -> Vec<String> {
        self.events().iter().map(|(_, body)| body["type"].as_str().unwrap().to_owned()).collect()
    }
}

/// Whether one of the signatures is this secret's.
fn is_signed_with(secret: &str, headers: &HeaderMap, body: &[u8]) -> bool {
    let text = |name: &str| headers[name].to_str().unwrap();
    let key = BASE64_STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    mac.update(format!("{}.{}.", text("webhook-id"), text("webhook-timestamp")).as_bytes());
    mac.update(body);
    let expected = format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()));
    text("webhook-signature").split(' ').any(|one| one == expected)
}

/// A webhook of the caller's organization: its id and its secret.
pub(crate) async fn make(api: &Api, receiver: &Receiver, more: Value) -> (String, String) {
    let mut body = json!({ "url": receiver.url });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let made = api.post("/webhooks", body).await.expect(201);
    (made["webhook"]["id"].as_str().unwrap().to_owned(), made["secret"].as_str().unwrap().to_owned())
}

/// Sends a test event; the delivery's id.
pub(crate) async fn test(api: &Api, webhook: &str) -> String {
    let delivery = api.post(&format!("/webhooks/{webhook}/test"), json!({})).await.expect(202);
    assert_eq!((&delivery["status"], &delivery["type"]), (&json!("pending"), &json!("webhook.test")));
    delivery["id"].as_str().unwrap().to_owned()
}

async fn delivery(api: &Api, webhook: &str, id: &str) -> Value {
    api.get(&format!("/webhooks/{webhook}/deliveries/{id}")).await.expect(200)["delivery"].clone()
}

/// The delivery once it was tried so often.
async fn tried(api: &Api, webhook: &str, id: &str, times: usize) -> Value {
    eventually("it is tried", || async {
        let delivery = delivery(api, webhook, id).await;
        (delivery["attempts"].as_array().unwrap().len() >= times).then_some(delivery)
    })
    .await
}

fn time(value: &Value) -> DateTime<Utc> {
    value.as_str().unwrap().parse().unwrap()
}

/// Turns the clock to when the next attempt is due, and a little further: replicas that do not sit at a job look later.
fn await_next(app: &TestApp, delivery: &Value) {
    app.app.world.clock.advance(time(&delivery["nextAttemptAt"]) - app.app.world.now() + TimeDelta::seconds(3));
}

fn seconds_to_next(app: &TestApp, delivery: &Value) -> i64 {
    (time(&delivery["nextAttemptAt"]) - app.app.world.now()).num_seconds()
}

on_both! {
    async fn a_project_that_moves_takes_its_webhooks_along(app: TestApp) {
        let (ada, ben) = (app.sign_up("ada").await, app.sign_up("ben").await);
        let (from, to) = (organization(&ada).await, organization(&ben).await);
        let project = ada.project("shop").await;
        let (whole, own) = (Receiver::start().await, Receiver::start().await);
        make(&ada, &whole, json!({ "organizationId": from, "events": ["project.updated"] })).await;
        let (webhook, _) = make(&ada, &own, json!({ "projectId": project, "events": ["project.updated"] })).await;
        app.add_member(&ben, &ada, Role::Admin).await;
        // The clock stands still, and entries of the audit log of one moment have no order.
        app.app.world.clock.advance(TimeDelta::seconds(1));
        ada.post(&format!("/projects/{project}/transfer"), json!({ "organizationId": to })).await.expect(200);
        let there = ben.get(&format!("/webhooks/{webhook}")).await.expect(200);
        assert_eq!((&there["organizationId"], &there["enabled"]), (&json!(to), &json!(true)));
        ben.patch(&format!("/projects/{project}"), json!({ "name": "Shop" })).await.expect(200);
        eventually("the project's own is told", || async { (own.kinds() == ["project.updated"]).then_some(()) }).await;
        assert_eq!(whole.kinds(), Vec::<String>::new(), "the organization it left is told nothing of it");
        for organization in [from, to] {
            let log = ada.get(&format!("/organizations/{organization}/audit-log?target={project}")).await.expect(200);
            let moved = log["entries"].as_array().unwrap().iter().find(|one| one["action"] == "project.transferred");
            assert_eq!(moved.unwrap()["after"]["webhooks"], 1, "{log}");
        }
    }

    async fn a_project_with_webhooks_does_not_move_to_where_there_is_no_room_for_them(app: TestApp) {
        let (ada, ben) = (app.sign_up("ada").await, app.sign_up("ben").await);
        let (project, to) = (ada.project("shop").await, organization(&ben).await);
        let receiver = Receiver::start().await;
        let (webhook, _) = make(&ada, &receiver, json!({ "projectId": project })).await;
        for _ in 0..20 {
            make(&ben, &receiver, json!({ "organizationId": to })).await;
        }
        app.add_member(&ben, &ada, Role::Admin).await;
        let transfer = async || ada.post(&format!("/projects/{project}/transfer"), json!({ "organizationId": to })).await;
        transfer().await.expect_error(403, "QUOTA_EXCEEDED");
        assert_ne!(ada.get(&format!("/projects/{project}")).await.expect(200)["organizationId"], json!(to));
        ada.delete(&format!("/webhooks/{webhook}")).await.expect(204);
        transfer().await.expect(200);
    }

    async fn a_deployment_is_told_from_its_creation_to_production(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let (all, ends, shops) = (Receiver::start().await, Receiver::start().await, Receiver::start().await);
        let project = ada.project("shop").await;
        let (_, secret) = make(&ada, &all, json!({})).await;
        make(&ada, &ends, json!({ "events": ["build.completed", "build.completed"] })).await;
        make(&ada, &shops, json!({ "projectId": project })).await;
        let repository = Repository::of_a_page("x");
        let created = ada.deploy(&project, &repository.url(), json!({})).await;
        let ended = ada.ended(&created["id"]).await;
        eventually("all of it is told", || async { (all.events().len() >= 6 && shops.events().len() >= 6).then_some(()) }).await;
        let mut kinds = all.kinds();
        kinds.sort_unstable();
        let expected = ["build.completed", "build.started", "deployment.building", "deployment.created", "deployment.promoted", "deployment.ready"];
        assert_eq!(kinds, expected);
        assert_eq!(ends.kinds(), ["build.completed"]);
        for (headers, body) in all.inbox.lock().iter() {
            assert!(is_signed_with(&secret, headers, body));
            assert!(!is_signed_with("whsec_AAAA", headers, body));
            assert_eq!(headers["content-type"], "application/json");
            let event: Value = serde_json::from_slice(body).unwrap();
            assert!(headers["webhook-id"].to_str().unwrap().starts_with("evt_") && body.len() < 20_000);
            assert_eq!((&event["data"]["deploymentId"], &event["data"]["projectId"]), (&created["id"], &created["projectId"]));
            time(&event["timestamp"]);
        }
        let ready = all.events().into_iter().find(|(_, body)| body["type"] == "deployment.ready").unwrap().1;
        assert_eq!((&ready["data"]["status"], &ready["data"]["previewUrl"]), (&json!("success"), &ended["previewUrl"]));
        // The same event has the same id for everybody, and no two events share one.
        let mut ids: Vec<_> = all.events().into_iter().map(|(id, body)| (id, body["type"].clone().to_string())).collect();
        let mut theirs: Vec<_> = shops.events().into_iter().map(|(id, body)| (id, body["type"].clone().to_string())).collect();
        ids.sort_unstable();
        theirs.sort_unstable();
        assert_eq!(ids, theirs);
        ids.dedup_by(|one, other| one.0 == other.0);
        assert_eq!(ids.len(), 6);
        // What happens in another project is not the project's webhook's to know.
        let blog = ada.project("blog").await;
        let other = ada.deploy(&blog, &repository.url(), json!({})).await;
        ada.ended(&other["id"]).await;
        eventually("the organization's webhook heard of it", || async {
            all.events().iter().any(|(_, body)| body["type"] == "deployment.promoted" && body["data"]["projectId"] == json!(blog)).then_some(())
        }).await;
        assert!(shops.events().iter().all(|(_, body)| body["data"]["projectId"] == json!(project)));
    }

    async fn a_failing_receiver_is_tried_again_as_the_schedule_says(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let receiver = Receiver::start().await;
        let (webhook, _) = make(&ada, &receiver, json!({})).await;
        receiver.turn(Manner::Answer(500, "out of order"));
        let id = test(&ada, &webhook).await;
        let row = tried(&ada, &webhook, &id, 1).await;
        let first = &row["attempts"][0];
        assert_eq!((&first["n"], &first["status"], &first["response"]), (&json!(1), &json!(500), &json!("out of order")));
        assert!(first["error"].as_str().unwrap().contains("500") && first["durationMs"].is_u64(), "{first}");
        assert!((4..=5).contains(&seconds_to_next(&app, &row)), "{row}");
        let since = ada.get(&format!("/webhooks/{webhook}")).await.expect(200)["failingSince"].clone();
        assert!(since.is_string());
        await_next(&app, &row);
        let row = tried(&ada, &webhook, &id, 2).await;
        assert!((299..=330).contains(&seconds_to_next(&app, &row)), "{row}");
        receiver.turn(Manner::AskAgainIn(4000));
        await_next(&app, &row);
        let row = tried(&ada, &webhook, &id, 3).await;
        assert!((3999..=4000).contains(&seconds_to_next(&app, &row)), "it asked for more than the schedule has: {row}");
        receiver.turn(Manner::Answer(200, "thanks"));
        await_next(&app, &row);
        let row = tried(&ada, &webhook, &id, 4).await;
        assert_eq!((&row["status"], &row["nextAttemptAt"]), (&json!("succeeded"), &Value::Null), "{row}");
        assert!(row["completedAt"].is_string());
        assert_eq!(ada.get(&format!("/webhooks/{webhook}")).await.expect(200)["failingSince"], Value::Null);
        // Each attempt was the same event, signed anew.
        let events = receiver.events();
        assert!(events.iter().all(|one| *one == events[0]));
        let stamps: Vec<_> = receiver.inbox.lock().iter().map(|(headers, _)| headers["webhook-timestamp"].clone()).collect();
        assert!(stamps.windows(2).all(|pair| pair[0] != pair[1]), "{stamps:?}");
    }

    async fn what_fails_for_days_is_given_up_and_others_are_told(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let (bad, good) = (Receiver::start().await, Receiver::start().await);
        let (webhook, _) = make(&ada, &bad, json!({})).await;
        make(&ada, &good, json!({ "events": ["webhook.disabled"] })).await;
        bad.turn(Manner::Answer(503, ""));
        let id = test(&ada, &webhook).await;
        let began = app.app.world.now();
        for times in 1..=10 {
            let row = tried(&ada, &webhook, &id, times).await;
            assert_eq!(row["status"], "pending", "{row}");
            await_next(&app, &row);
        }
        let row = tried(&ada, &webhook, &id, 11).await;
        assert_eq!((&row["status"], &row["nextAttemptAt"]), (&json!("failed"), &Value::Null));
        assert!(app.app.world.now() - began > TimeDelta::days(3));
        let path = format!("/webhooks/{webhook}");
        let shown = ada.get(&path).await.expect(200);
        assert_eq!((&shown["enabled"], &shown["disabledReason"]), (&json!(false), &json!("failing")), "{shown}");
        let told = eventually("the other webhook is told", || async { good.events().pop() }).await.1;
        assert_eq!((&told["type"], &told["data"]["webhookId"], &told["data"]["reason"]), (&json!("webhook.disabled"), &json!(webhook), &json!("failing")));
        // Nothing is sent to what is switched off; switched on again it is forgiven.
        ada.post(&format!("{path}/test"), json!({})).await.expect_error(409, "CONFLICT");
        ada.post(&format!("{path}/deliveries/{id}/redeliver"), json!({})).await.expect_error(409, "CONFLICT");
        let shown = ada.patch(&path, json!({ "enabled": true })).await.expect(200);
        assert_eq!((&shown["enabled"], &shown["disabledReason"], &shown["failingSince"]), (&json!(true), &Value::Null, &Value::Null));
        bad.turn(Manner::Answer(200, ""));
        let again = ada.post(&format!("{path}/deliveries/{id}/redeliver"), json!({})).await.expect(202);
        assert_eq!((&again["redeliveryOf"], &again["eventId"]), (&json!(id), &row["eventId"]));
        let again = tried(&ada, &webhook, again["id"].as_str().unwrap(), 1).await;
        assert_eq!(again["status"], "succeeded");
        let events = bad.events();
        assert_eq!(events.len(), 12);
        assert!(events.iter().all(|one| *one == events[0]));
    }

    async fn a_receiver_that_is_gone_is_told_nothing_more(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let receiver = Receiver::start().await;
        let (webhook, _) = make(&ada, &receiver, json!({})).await;
        receiver.turn(Manner::Answer(500, ""));
        let waiting = test(&ada, &webhook).await;
        tried(&ada, &webhook, &waiting, 1).await;
        receiver.turn(Manner::Answer(410, ""));
        let id = test(&ada, &webhook).await;
        assert_eq!(tried(&ada, &webhook, &id, 1).await["status"], "failed");
        let shown = ada.get(&format!("/webhooks/{webhook}")).await.expect(200);
        assert_eq!((&shown["enabled"], &shown["disabledReason"]), (&json!(false), &json!("gone")));
        assert_eq!(delivery(&ada, &webhook, &waiting).await["status"], "failed");
        app.app.world.clock.advance(TimeDelta::days(1));
        let list = ada.get(&format!("/webhooks/{webhook}/deliveries")).await.expect(200);
        assert_eq!(list["deliveries"].as_array().unwrap().len(), 2, "{list}");
        assert_eq!(receiver.events().len(), 2);
    }

    async fn redirects_are_not_followed_and_long_answers_are_cut(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let (receiver, elsewhere) = (Receiver::start().await, Receiver::start().await);
        let (webhook, _) = make(&ada, &receiver, json!({})).await;
        receiver.turn(Manner::Redirect(elsewhere.url.clone()));
        let id = test(&ada, &webhook).await;
        let row = tried(&ada, &webhook, &id, 1).await;
        assert_eq!((&row["status"], &row["attempts"][0]["status"]), (&json!("pending"), &json!(307)));
        assert_eq!(row["attempts"][0]["error"], "redirects are not followed");
        receiver.turn(Manner::Answer(200, Box::leak("ä".repeat(1_000_000).into_boxed_str())));
        let id = test(&ada, &webhook).await;
        let row = tried(&ada, &webhook, &id, 1).await;
        assert_eq!(row["status"], "succeeded");
        assert!(row["attempts"][0]["response"].as_str().unwrap().len() <= 1024 + 3);
        assert!(elsewhere.events().is_empty());
    }

    async fn a_receiver_that_hangs_holds_up_nobody_else(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let (slow, quick) = (Receiver::start().await, Receiver::start().await);
        let (hanging, _) = make(&ada, &slow, json!({})).await;
        let (webhook, _) = make(&ada, &quick, json!({})).await;
        slow.turn(Manner::Hang);
        let mut waiting = Vec::new();
        for _ in 0..30 {
            waiting.push(test(&ada, &hanging).await);
        }
        eventually("it hangs", || async { (!slow.inbox.lock().is_empty()).then_some(()) }).await;
        let began = std::time::Instant::now();
        for _ in 0..5 {
            let id = test(&ada, &webhook).await;
            tried(&ada, &webhook, &id, 1).await;
        }
        assert!(began.elapsed() < Duration::from_secs(14), "{:?}", began.elapsed());
        assert_eq!(delivery(&ada, &hanging, &waiting[0]).await["attempts"], json!([]));
        // A few at a time, however many wait.
        assert!(slow.inbox.lock().len() <= 4);
        let mut config = Config::clone(&app.app.config());
        config.webhooks.timeout_seconds = 1;
        app.app.reconfigure(config);
        let row = tried(&ada, &hanging, &waiting[29], 1).await;
        assert_eq!((&row["attempts"][0]["status"], &row["attempts"][0]["error"]), (&Value::Null, &json!("no answer within 1 s")));
    }

    async fn after_a_rotation_both_secrets_sign_for_a_while(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let receiver = Receiver::start().await;
        let (webhook, old) = make(&ada, &receiver, json!({})).await;
        let rotated = ada.post(&format!("/webhooks/{webhook}/rotate-secret"), json!({})).await.expect(200);
        let new = rotated["secret"].as_str().unwrap();
        assert_ne!(old, new);
        assert_eq!(time(&rotated["webhook"]["previousSecretExpiresAt"]) - app.app.world.now(), TimeDelta::hours(24));
        let signed = async |old_too: bool| {
            receiver.inbox.lock().clear();
            let id = test(&ada, &webhook).await;
            tried(&ada, &webhook, &id, 1).await;
            let inbox = receiver.inbox.lock();
            let (headers, body) = &inbox[0];
            assert!(is_signed_with(new, headers, body));
            assert_eq!(is_signed_with(&old, headers, body), old_too);
        };
        signed(true).await;
        app.app.world.clock.advance(TimeDelta::hours(24));
        signed(false).await;
        // The secret is in no answer but the one that made it.
        for path in ["/webhooks".to_owned(), format!("/webhooks/{webhook}"), format!("/webhooks/{webhook}/deliveries")] {
            let text = ada.get(&path).await.expect(200).to_string();
            assert!(!text.contains(&new[6..]) && !text.contains(&old[6..]), "{text}");
        }
    }

    async fn our_own_network_is_never_posted_to(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let receiver = Receiver::start().await;
        let by_name = receiver.url.replace("127.0.0.1", "localhost");
        let made = ada.post("/webhooks", json!({ "url": by_name })).await.expect(201);
        let webhook = made["webhook"]["id"].as_str().unwrap();
        let id = test(&ada, webhook).await;
        assert_eq!(tried(&ada, webhook, &id, 1).await["status"], "succeeded");
        assert_eq!(receiver.inbox.lock().len(), 1);
        // As a server of production is: names are looked at after they were resolved, at each attempt.
        let secure = by_name.replace("http://", "https://");
        ada.patch(&format!("/webhooks/{webhook}"), json!({ "url": secure })).await.expect(200);
        let mut config = Config::clone(&app.app.config());
        config.webhooks.allow_private_hosts = false;
        app.app.reconfigure(config);
        let id = test(&ada, webhook).await;
        let row = tried(&ada, webhook, &id, 1).await;
        assert!(row["attempts"][0]["error"].as_str().unwrap().ends_with("which is not on the public internet"), "{row}");
        assert_eq!(receiver.inbox.lock().len(), 1);
        for url in ["http://example.com/x", "https://127.0.0.1/x", "https://[::ffff:169.254.169.254]/x", "https://10.1.2.3/x", "https://a:b@example.com/x", "nonsense"] {
            let error = ada.post("/webhooks", json!({ "url": url })).await.expect_error(400, "INVALID_VALUE");
            assert_eq!(error["details"][0]["location"], "body.url", "{url}");
        }
    }

    async fn what_is_sent_in_must_make_sense(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let receiver = Receiver::start().await;
        let url = &receiver.url;
        for (body, place) in [
            (json!({ "url": url, "events": [] }), "body.events"),
            (json!({ "url": url, "events": ["deployment.exploded"] }), "body.events"),
            (json!({ "url": url, "description": "x".repeat(201) }), "body.description"),
        ] {
            let error = ada.post("/webhooks", body).await.expect_error(400, "INVALID_VALUE");
            assert_eq!(error["details"][0]["location"], place);
        }
        ada.get("/webhooks/whk_x").await.expect_error(400, "INVALID_ID");
        let (webhook, _) = make(&ada, &receiver, json!({ "description": " ours " })).await;
        ada.get(&format!("/webhooks/{webhook}/deliveries/x")).await.expect_error(400, "INVALID_ID");
        let path = format!("/webhooks/{webhook}");
        let shown = ada.patch(&path, json!({ "events": ["build.completed"], "description": "theirs" })).await.expect(200);
        assert_eq!((&shown["events"], &shown["description"]), (&json!(["build.completed"]), &json!("theirs")));
        let shown = ada.patch(&path, json!({ "enabled": false })).await.expect(200);
        assert_eq!((&shown["enabled"], &shown["disabledReason"], &shown["events"]), (&json!(false), &json!("asked"), &json!(["build.completed"])));
        assert_eq!(ada.patch(&path, json!({ "events": null })).await.expect(200)["events"], Value::Null);
        ada.delete(&path).await.expect(204);
        ada.get(&path).await.expect_error(404, "NOT_FOUND");
        for _ in 0..20 {
            make(&ada, &receiver, json!({})).await;
        }
        ada.post("/webhooks", json!({ "url": url })).await.expect_error(403, "QUOTA_EXCEEDED");
        let page = ada.get("/webhooks?limit=15").await.expect(200);
        let cursor = page["pagination"]["nextCursor"].as_str().unwrap();
        let rest = ada.get(&format!("/webhooks?limit=15&cursor={cursor}")).await.expect(200);
        assert_eq!((page["webhooks"].as_array().unwrap().len(), rest["webhooks"].as_array().unwrap().len()), (15, 5));
    }

    /// Killed in the middle of many deliveries: what it had taken is told by another, perhaps again, under the same id.
    async fn a_replica_killed_while_it_tells_loses_nothing(app: TestApp) {
        const EVENTS: usize = 100;
        let ada = app.sign_up("ada").await;
        let project = ada.project("shop").await;
        let receivers = [Receiver::start().await, Receiver::start().await, Receiver::start().await, Receiver::start().await];
        let replica = app.replica().await;
        for receiver in &receivers {
            make(&ada, receiver, json!({ "events": ["project.updated"] })).await;
        }
        let told = || receivers.iter().map(|receiver| receiver.inbox.lock().len()).sum::<usize>();
        let path = format!("/projects/{project}");
        let changing = async {
            for n in 0..EVENTS {
                ada.patch(&path, json!({ "name": format!("name {n}") })).await.expect(200);
            }
        };
        let killing = async {
            eventually("some are told", || async { (told() >= 20).then_some(()) }).await;
            let before = told();
            replica.kill().await;
            before
        };
        let ((), before) = tokio::join!(changing, killing);
        assert!(before < EVENTS * receivers.len(), "all were told before it died");
        // Past its leases.
        app.app.world.clock.advance(TimeDelta::seconds(30));
        let mut of_all: Option<Vec<(String, String)>> = None;
        for receiver in &receivers {
            let distinct = || {
                let mut events: Vec<_> = receiver.events().into_iter().map(|(id, body)| (id, body.to_string())).collect();
                events.sort_unstable();
                events.dedup();
                events
            };
            eventually("everything is told", || async { (distinct().len() >= EVENTS).then_some(()) }).await;
            let events = distinct();
            let mut ids: Vec<_> = events.iter().map(|(id, _)| id.clone()).collect();
            ids.dedup();
            // One told twice is the same event, byte for byte.
            assert_eq!((events.len(), ids.len()), (EVENTS, EVENTS));
            assert_eq!(*of_all.get_or_insert_with(|| events.clone()), events, "everybody is told the same");
        }
    }

    async fn two_replicas_tell_each_event_once(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let mut config = Config::clone(&app.app.config());
        config.server.listen = "127.0.0.1:0".to_owned();
        let other = run::assemble(config, app.app.world.clone(), app.network.connector()).await.unwrap();
        let running = run::start(&other, Vec::new()).await.unwrap();
        let receivers = [Receiver::start().await, Receiver::start().await, Receiver::start().await];
        let mut webhooks = Vec::new();
        for receiver in &receivers {
            webhooks.push(make(&ada, receiver, json!({ "events": ["webhook.disabled"] })).await.0);
        }
        for _ in 0..20 {
            for webhook in &webhooks {
                test(&ada, webhook).await;
            }
        }
        eventually("all are told", || async {
            receivers.iter().all(|receiver| receiver.inbox.lock().len() >= 20).then_some(())
        }).await;
        for (receiver, webhook) in receivers.iter().zip(&webhooks) {
            eventually("all are noted", || async {
                let list = ada.get(&format!("/webhooks/{webhook}/deliveries?limit=100")).await.expect(200);
                list["deliveries"].as_array().unwrap().iter().all(|one| one["status"] == "succeeded").then_some(())
            }).await;
            let mut ids: Vec<_> = receiver.events().into_iter().map(|(id, _)| id).collect();
            ids.sort_unstable();
            ids.dedup();
            assert_eq!((ids.len(), receiver.inbox.lock().len()), (20, 20));
        }
        run::stop(&other, running).await;
    }
}
