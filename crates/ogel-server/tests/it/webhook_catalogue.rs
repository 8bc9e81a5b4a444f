//! Every type of event that a webhook can ask for is emitted by something that people really do.

use crate::{
    billing::{change_plan, invoice_of, put},
    deployments::WAIT_FOREVER,
    invitations::token,
    on_both,
    sites::text,
    webhooks::{Manner, Receiver, make, test},
};
use ogel_api::webhooks::WebhookEventType;
use ogel_store::PaymentChange;
use ogel_testkit::{Api, Repository, TestApp, eventually};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Projects and what is in them.
async fn build(app: &TestApp, ada: &Api, organization: &str, elsewhere: &str) {
    let new = json!({ "name": "shop", "organizationId": organization });
    let project = text(&ada.post("/projects", new).await.expect(201)["id"]).to_owned();
    let path = format!("/projects/{project}");
    ada.patch(&path, json!({ "name": "Shop" })).await.expect(200);
    let repository = Repository::of_a_page("x");
    let deployed = async |more: Value| {
        let made = ada.deploy(&project, &repository.url(), more).await;
        format!("/deployments/{}", text(&ada.ended(&made["id"]).await["id"]))
    };
    let first = deployed(json!({})).await;
    let second = deployed(json!({})).await;
    let third = deployed(json!({ "buildCommand": "false" })).await;
    ada.post(&format!("{second}/promote"), json!({})).await.expect(200);
    ada.post(&format!("{first}/rollback"), json!({})).await.expect(200);
    ada.delete(&third).await.expect(204);
    let running = ada.deploy(&project, &repository.url(), json!({ "buildCommand": WAIT_FOREVER })).await;
    ada.post(&format!("/deployments/{}/cancel", text(&running["id"])), json!({})).await.expect(200);

    let domain = ada.post("/domains", json!({ "projectId": project, "domain": "localhost" })).await.expect(201);
    let domain = format!("/domains/{}", text(&domain["id"]));
    for _ in 0..2 {
        // Looked at again it is as it was, and that is no news.
        ada.post(&format!("{domain}/verify"), json!({})).await.expect(200);
    }
    ada.delete(&domain).await.expect(204);

    let key = ada.post("/auth/api-keys", json!({ "name": "ci", "projectId": project })).await.expect(201);
    let key = format!("/auth/api-keys/{}", text(&key["apiKey"]["id"]));
    ada.patch(&key, json!({ "name": "CI" })).await.expect(200);
    ada.post(&format!("{key}/rotate"), json!({})).await.expect(200);
    ada.delete(&key).await.expect(204);
    // A person's own key is nobody else's matter.
    ada.post("/auth/api-keys", json!({ "name": "mine" })).await.expect(201);

    ada.delete(&path).await.expect(204);
    ada.post(&format!("{path}/restore"), json!({})).await.expect(200);
    ada.post(&format!("{path}/transfer"), json!({ "organizationId": elsewhere })).await.expect(200);
    app.app.world.clock.advance(chrono::TimeDelta::seconds(1));
}

/// Who belongs to it and what it pays.
async fn manage(app: &TestApp, ada: &Api, organization: &str) {
    let ben = app.sign_up("ben").await;
    let path = format!("/organizations/{organization}");
    let body = json!({ "email": "ben@example.com", "role": "viewer" });
    ada.post(&format!("{path}/invitations"), body).await.expect(201);
    let token = token(&app.mails_to("ben@example.com", 1).await[0]);
    ben.post(&format!("/invitations/{token}/accept"), json!({})).await.expect(200);
    let me = ben.get("/users/me").await.expect(200)["id"].clone();
    let member = format!("{path}/members/{}", text(&me));
    ada.patch(&member, json!({ "role": "developer" })).await.expect(200);
    ada.delete(&member).await.expect(204);

    change_plan(ada, organization, "pro").await;
    put(ada, &format!("{path}/billing/budget"), json!({ "amount": 1 })).await.expect(200);
    let invoice = invoice_of(app, organization).await;
    for (event, status) in [("evt_1", "failed"), ("evt_2", "paid"), ("evt_3", "failed")] {
        let change = PaymentChange::Invoice { id: invoice.parse().unwrap(), status: status.parse().unwrap() };
        app.app.store.apply_payment_event(event, "invoice", &change, app.app.world.now()).await.unwrap();
    }
}

on_both! {
    async fn every_event_of_the_catalogue_is_emitted_by_what_people_do(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let organization = crate::billing::organization(&ada).await;
        let elsewhere = ada.post("/organizations", json!({ "name": "Elsewhere" })).await.expect(201)["id"].clone();
        let (all, gone) = (Receiver::start().await, Receiver::start().await);
        let (webhook, _) = make(&ada, &all, json!({ "organizationId": organization })).await;
        let (bad, _) = make(&ada, &gone, json!({ "organizationId": organization, "events": ["webhook.test"] })).await;
        test(&ada, &webhook).await;
        gone.turn(Manner::Answer(410, ""));
        test(&ada, &bad).await;
        let ours = json!({ "name": "ours", "organizationId": organization });
        ada.post("/auth/api-keys", ours).await.expect(201);
        manage(&app, &ada, &organization).await;
        build(&app, &ada, &organization, text(&elsewhere)).await;

        let wanted: BTreeSet<&str> = WebhookEventType::ALL.iter().map(|kind| kind.as_str()).collect();
        // Told at the same time, the second key may come last of all.
        let times = |kind: &str| if kind == "api_key.created" { 2 } else { 1 };
        let missing = || {
            let told = all.kinds();
            let heard = |kind: &str| told.iter().filter(|one| *one == kind).count();
            wanted.iter().filter(|kind| heard(kind) < times(kind)).copied().collect::<Vec<_>>()
        };
        let waiting = eventually("everything is told", || async { missing().is_empty().then_some(()) });
        if tokio::time::timeout(ogel_testkit::PATIENCE / 2, waiting).await.is_err() {
            panic!("nobody emits {:?}", missing());
        }
        let told = all.events();
        for (_, event) in &told {
            let data = &event["data"];
            let says_what = data.as_object().unwrap().keys().any(|key| key.ends_with("Id"));
            assert!(says_what || event["type"] == "webhook.test", "{event}");
        }
        let count = |kind: &str| told.iter().filter(|(_, event)| event["type"] == kind).count();
        assert_eq!((count("domain.verified"), count("invoice.paid"), count("invoice.failed")), (1, 1, 1));
        assert_eq!((count("api_key.created"), count("project.transferred")), (2, 1));
        let updated = &told.iter().find(|(_, event)| event["type"] == "project.updated").unwrap().1["data"];
        assert_eq!((&updated["before"]["name"], &updated["after"]["name"]), (&json!("shop"), &json!("Shop")));
    }
}
