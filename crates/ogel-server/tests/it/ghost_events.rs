//! Ghost's webhooks: who may send them, and that nothing they do can do harm: lost, doubled, old, reordered, untrue.

use super::deployments::WAIT_FOREVER;
use crate::on_both;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::Method;
use ogel_server::config::{Config, Secret};
use ogel_testkit::{Answer, Api, GHOST_SECRET, Repository, TestApp, eventually};
use serde_json::{Value, json};
use sha1::Sha1;
use sha2::Sha256;

/// How an event is signed.
#[derive(Clone, Copy, Debug)]
enum Form {
    Standard,
    Appwrite,
}

const BOTH: [Form; 2] = [Form::Standard, Form::Appwrite];

fn appwrite_signature(app: &TestApp, secret: &str, body: &str) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("{}{body}", app.app.config().ghost_webhook_url()).as_bytes());
    BASE64_STANDARD.encode(mac.finalize().into_bytes())
}

/// What Ghost signs `body` with, in Appwrite's form.
pub(crate) fn signature(app: &TestApp, body: &str) -> String {
    appwrite_signature(app, GHOST_SECRET, body)
}

/// Sends an event as Ghost does, signed with `secret` at `signed_at` seconds.
async fn send_as(app: &TestApp, form: Form, secret: &str, signed_at: i64, id: &str, body: &str) -> Answer {
    let request = app.anonymous().request(Method::POST, "/webhooks/ghost").header("content-type", "application/json");
    let request = match form {
        Form::Standard => {
            let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
            mac.update(format!("{id}.{signed_at}.{body}").as_bytes());
            request
                .header("webhook-id", id)
                .header("webhook-timestamp", signed_at.to_string())
                .header("webhook-signature", format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes())))
        }
        Form::Appwrite => request.header("x-appwrite-webhook-signature", appwrite_signature(app, secret, body)),
    };
    app.anonymous().send(request.body(body.to_owned())).await
}

async fn send(app: &TestApp, form: Form, event: &Value) -> Answer {
    let now = app.app.world.now().timestamp();
    send_as(app, form, GHOST_SECRET, now, event["id"].as_str().unwrap(), &event.to_string()).await
}

/// An event of a deployment, as Ghost words it.
fn event(app: &TestApp, id: &str, kind: &str, deployment: &Value, status: &str) -> Value {
    let uuid = deployment["id"].as_str().unwrap().parse::<ogel_api::id::DeploymentId>().unwrap().0;
    json!({
        "type": kind, "id": id, "deploymentId": uuid.to_string(), "status": status,
        "timestamp": app.app.world.now().to_rfc3339(),
    })
}

/// How many events came to this.
async fn counted(app: &TestApp, outcome: &str) -> u64 {
    let page = app.operations("/metrics").await.1;
    let name = format!("ogel_ghost_events_total{{outcome=\"{outcome}\"}} ");
    page.lines().find_map(|line| line.strip_prefix(&name)).unwrap().parse().unwrap()
}

/// A deployment whose build never ends, and the repository it is cloned from, which must be there until it is.
async fn building(ada: &Api) -> (Value, Repository) {
    let project = ada.project("shop").await;
    let repository = Repository::of_a_page("x");
    let created = ada.deploy(&project, &repository.url(), json!({ "buildCommand": WAIT_FOREVER })).await;
    let row = ada.building(&created["id"]).await;
    (row, repository)
}

on_both! {
    async fn an_event_is_answered_once_its_effect_is_kept(app: TestApp) {
        let ada = app.sign_up("ada").await;
        for form in BOTH {
            let project = ada.project(&format!("{form:?}")).await;
            let repository = Repository::of_a_page("x");
            let created = ada.deploy(&project, &repository.url(), json!({ "buildCommand": "sleep 0.3; mkdir out; echo x > out/index.html", "outputDirectory": "out" })).await;
            // We hear nothing of it while it ends, and fall back to asking rarely.
            app.network.set_down(true);
            let path = format!("/{}", created["id"].as_str().unwrap().parse::<ogel_api::id::DeploymentId>().unwrap().0);
            eventually("Ghost is done", || async {
                (app.at_ghost(Method::GET, &project, &format!("/deployments{path}"), Value::Null).await == 200).then_some(())
            }).await;
            eventually("the build has ended at Ghost", || async {
                let status = app.at_ghost(Method::PATCH, &project, &format!("/deployments{path}/activate"), json!({})).await;
                (status == 200).then_some(())
            }).await;
            app.network.set_down(false);
            let event = event(&app, &format!("evt_{form:?}"), "build.completed", &created, "success");
            // The connection that was cut may still be found broken once.
            let receipt = eventually("the event is taken", || async {
                let answer = send(&app, form, &event).await;
                answer.status.is_success().then_some(answer.body)
            }).await;
            assert!(["applied", "ignored"].contains(&receipt["outcome"].as_str().unwrap()), "{receipt}");
            let row = ada.get(&format!("/deployments/{}", created["id"].as_str().unwrap())).await.expect(200);
            assert_eq!(row["status"], "success", "{row}");
        }
    }

    async fn nobody_without_the_secret_is_heard(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let (row, _repository) = building(&ada).await;
        let now = app.app.world.now().timestamp();
        let body = event(&app, "evt_1", "build.completed", &row, "failed").to_string();
        for form in BOTH {
            send_as(&app, form, "another secret", now, "evt_1", &body).await.expect_error(401, "INVALID_SIGNATURE");
        }
        let bare = app.anonymous().request(Method::POST, "/webhooks/ghost").body(body.clone());
        app.anonymous().send(bare).await.expect_error(401, "INVALID_SIGNATURE");
        // A login is no signature.
        ada.post("/webhooks/ghost", json!({})).await.expect_error(401, "INVALID_SIGNATURE");
        // What was signed long ago is refused, wherever the time stands.
        for seconds in [-301, 301] {
            let at = now + seconds;
            send_as(&app, Form::Standard, GHOST_SECRET, at, "evt_1", &body).await.expect_error(401, "INVALID_SIGNATURE");
        }
        app.app.world.clock.advance(chrono::TimeDelta::minutes(6));
        send_as(&app, Form::Appwrite, GHOST_SECRET, now, "evt_1", &body).await.expect_error(401, "INVALID_SIGNATURE");
        assert_eq!((counted(&app, "refused").await, counted(&app, "applied").await), (7, 0));
        let large = "x".repeat(70_000);
        send_as(&app, Form::Appwrite, GHOST_SECRET, now, "evt_1", &large).await.expect_error(413, "PAYLOAD_TOO_LARGE");
    }

    async fn without_a_secret_nothing_is_taken(app: TestApp) {
        let mut config = Config::clone(&app.app.config());
        config.ghost.webhook_secret = Secret::default();
        app.app.reconfigure(config);
        let now = app.app.world.now().timestamp();
        for form in BOTH {
            send_as(&app, form, "", now, "evt_1", "{}").await.expect_error(401, "INVALID_SIGNATURE");
        }
    }

    async fn while_the_secret_is_changed_both_are_taken(app: TestApp) {
        let mut config = Config::clone(&app.app.config());
        config.ghost.webhook_other_secret = Secret::new("the next secret");
        assert_eq!(app.app.reconfigure(config), Vec::<&str>::new());
        let now = app.app.world.now().timestamp();
        for (n, (form, secret)) in BOTH.into_iter().flat_map(|form| [(form, GHOST_SECRET), (form, "the next secret")]).enumerate() {
            let id = format!("evt_{n}");
            let body = json!({ "type": "account.created", "id": id }).to_string();
            send_as(&app, form, secret, now, &id, &body).await.expect(200);
        }
    }

    async fn a_copy_changes_nothing(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let (row, _repository) = building(&ada).await;
        let one = event(&app, "evt_1", "deployment.updated", &row, "building");
        let sent = (0..20).map(|n| send(&app, BOTH[n % 2], &one));
        let outcomes: Vec<_> = futures_util::future::join_all(sent).await.into_iter().map(|answer| answer.expect(200)["outcome"].clone()).collect();
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == "applied").count(), 1, "{outcomes:?}");
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == "duplicate").count(), 19, "{outcomes:?}");
        // The signed bytes once more, with a header that was not signed made to look new.
        let body = one.to_string();
        let answer = send_as(&app, Form::Appwrite, GHOST_SECRET, 0, "evt_new", &body).await.expect(200);
        assert_eq!(answer["outcome"], "duplicate");
        assert_eq!((counted(&app, "applied").await, counted(&app, "duplicate").await), (1, 20));
    }

    async fn untrue_and_old_events_move_nothing(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let (row, _repository) = building(&ada).await;
        let path = format!("/deployments/{}", row["id"].as_str().unwrap());
        for (n, status) in ["success", "failed", "pending", "no such word"].into_iter().enumerate() {
            let untrue = event(&app, &format!("evt_{n}"), "build.completed", &row, status);
            assert_eq!(send(&app, Form::Standard, &untrue).await.expect(200)["outcome"], "applied");
            assert_eq!(ada.get(&path).await.expect(200)["status"], "building", "{status}");
        }
        ada.post(&format!("{path}/cancel"), json!({})).await.expect(200);
        let ended = ada.ended(&row["id"]).await;
        for (n, status) in ["building", "pending", "success"].into_iter().enumerate() {
            let old = event(&app, &format!("old_{n}"), "deployment.updated", &row, status);
            assert_eq!(send(&app, Form::Appwrite, &old).await.expect(200)["outcome"], "ignored");
        }
        assert_eq!(ada.get(&path).await.expect(200), ended);
    }

    async fn what_means_nothing_here_is_taken_and_counted(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let now = app.app.world.now().timestamp();
        for (n, body) in [r#"{"type":"project.archived","id":"a"}"#, r#"{"$id":"dep1","status":"building"}"#, "[1]", "no JSON"].into_iter().enumerate() {
            let answer = send_as(&app, Form::Standard, GHOST_SECRET, now, &format!("evt_{n}"), body).await.expect(200);
            assert_eq!(answer["outcome"], "ignored", "{body}");
        }
        let nobodys = json!({ "id": "dpl_01h455vb4pex5vsknk084sn02q" });
        let unknown = event(&app, "evt_9", "deployment.created", &nobodys, "pending");
        assert_eq!(send(&app, Form::Standard, &unknown).await.expect(200)["outcome"], "ignored");
        assert_eq!((counted(&app, "unknown_type").await, counted(&app, "irrelevant").await), (4, 1));
        drop(ada);
    }

    async fn an_event_that_could_not_be_followed_may_come_again(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let (row, _repository) = building(&ada).await;
        app.network.set_down(true);
        let one = event(&app, "evt_1", "deployment.updated", &row, "building");
        let answer = send(&app, Form::Standard, &one).await;
        assert!(answer.status.is_server_error(), "{answer:?}");
        assert_eq!(counted(&app, "failed").await, 1);
        app.network.set_down(false);
        let outcome = eventually("it is taken", || async {
            let answer = send(&app, Form::Standard, &one).await;
            answer.status.is_success().then(|| answer.body["outcome"].clone())
        }).await;
        assert_eq!(outcome, "applied");
    }

    async fn ghosts_own_webhooks_are_taken_lost_and_doubled_ones_too(app: TestApp) {
        app.listen_to_ghost();
        let ada = app.sign_up("ada").await;
        let project = ada.project("shop").await;
        let repository = Repository::of_a_page("x");
        for n in 0..6u32 {
            match n % 3 {
                1 => app.ghost.faults().drop_next_webhooks(2),
                2 => app.ghost.faults().duplicate_next_webhooks(4),
                _ => {}
            }
            let created = ada.deploy(&project, &repository.url(), json!({})).await;
            assert_eq!(ada.ended(&created["id"]).await["status"], "success");
        }
        eventually("events were taken and copies told apart", || async {
            let (applied, duplicate) = (counted(&app, "applied").await, counted(&app, "duplicate").await);
            let irrelevant = counted(&app, "irrelevant").await;
            (applied > 0 && duplicate >= 8 && applied + irrelevant >= 12).then_some(())
        }).await;
        assert_eq!((counted(&app, "refused").await, counted(&app, "unknown_type").await), (0, 0));
    }
}
