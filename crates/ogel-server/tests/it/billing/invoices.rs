//! Invoices are made once for each month, whoever makes them; payments are noted once, whoever tells us.

use super::{change_plan, go_to, month_start, organization};
use crate::on_both;
use chrono::TimeDelta;
use http::Method;
use ogel_api::id::OrganizationId;
use ogel_server::{billing::closing, config::Secret};
use ogel_store::Used;
use ogel_testkit::{Answer, Database, TestApp};
use serde_json::{Value, json};

const SECRET: &str = "whsec_for_tests";

fn signed(body: &str, at: i64) -> String {
    use hmac::{Hmac, KeyInit as _, Mac as _};
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(format!("{at}.{body}").as_bytes());
    format!("t={at},v1={}", hex::encode(mac.finalize().into_bytes()))
}

async fn tell(app: &TestApp, signature: &str, body: &str) -> Answer {
    let api = app.anonymous();
    let request = api.request(Method::POST, "/webhooks/stripe").header("stripe-signature", signature);
    api.send(request.header("content-type", "application/json").body(body.to_owned())).await
}

async fn event(app: &TestApp, body: &Value) -> Answer {
    let body = body.to_string();
    tell(app, &signed(&body, app.app.world.now().timestamp()), &body).await
}

on_both! {
    async fn a_month_is_billed_once_when_it_is_over_whoever_closes_it(app: TestApp) {
        app.sign_up("ada").await;
        go_to(&app, month_start(&app, 1));
        let ada = app.log_in("ada").await;
        let id = organization(&ada).await;
        let organization_id: OrganizationId = id.parse().unwrap();
        change_plan(&ada, &id, "pro").await;
        // Beyond the ten million that are included: 2.5 million at 20 cents each.
        let used = Used {
            organization: organization_id,
            project: ogel_api::id::ProjectId(app.app.world.uuid()),
            metric: ogel_api::billing::Metric::Requests,
            hour: month_start(&app, 0) + TimeDelta::hours(5),
            quantity: 12_500_000,
        };
        app.app.store.add_usage(app.app.world.uuid(), 1, &[used], app.app.world.now()).await.unwrap();
        let path = format!("/organizations/{id}/billing/invoices");
        assert_eq!(closing::close(&app.app).await.unwrap(), 0, "the month is not over");
        go_to(&app, month_start(&app, 1) + TimeDelta::minutes(10));
        assert_eq!(closing::close(&app.app).await.unwrap(), 0, "counters may still be on their way");
        go_to(&app, month_start(&app, 0) + TimeDelta::minutes(15));
        // Many at once, as replicas do.
        let closing = (0..8).map(|_| { let app = app.app.clone(); tokio::spawn(async move { closing::close(&app).await.unwrap() }) });
        let mut made = 0;
        for task in closing.collect::<Vec<_>>() {
            made += task.await.unwrap();
        }
        assert_eq!((made, closing::close(&app.app).await.unwrap()), (1, 0));
        let ada = app.log_in("ada").await;
        let list = ada.get(&path).await.expect(200);
        let invoices = list["invoices"].as_array().unwrap();
        assert_eq!(invoices.len(), 1, "{list}");
        assert_eq!((&invoices[0]["total"], &invoices[0]["status"], &invoices[0]["lines"]), (&json!(2050), &json!("open"), &Value::Null));
        let one = format!("{path}/{}", invoices[0]["id"].as_str().unwrap());
        let invoice = ada.get(&one).await.expect(200);
        let lines: Vec<_> = invoice["lines"].as_array().unwrap().iter().map(|line| (line["kind"].clone(), line["quantity"].clone(), line["amount"].clone())).collect();
        assert_eq!(lines, [(json!("plan"), json!(1), json!(2000)), (json!("usage"), json!(2_500_000), json!(50))]);
        // For people.
        let page = ada.get(&format!("{one}/html")).await;
        assert_eq!(page.headers["content-type"], "text/html; charset=utf-8");
        assert!(page.headers["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'"));
        let page = page.expect(200).as_str().unwrap().to_owned();
        let number = invoice["number"].as_str().unwrap();
        for word in [number, "$20.50", "$0.50", "Plan Pro", "2,500,000", "Open"] {
            assert!(page.contains(word), "{word} is missing in {page}");
        }
        // An operator notes the payment, once.
        let now = app.app.world.now();
        assert!(app.app.store.mark_invoice_paid(number, now).await.unwrap());
        assert!(!app.app.store.mark_invoice_paid(number, now).await.unwrap());
        let paid = ada.get(&one).await.expect(200);
        assert_eq!((&paid["status"], paid["paidAt"].is_string()), (&json!("paid"), true));
        // Nobody else's invoice is found in another organization.
        let second = ada.post("/organizations", json!({ "name": "Second" })).await.expect(201);
        let elsewhere = one.replace(&id, second["id"].as_str().unwrap());
        ada.get(&elsewhere).await.expect_error(404, "NOT_FOUND");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn months_that_passed_while_the_server_was_off_are_billed_later() {
    let app = TestApp::start(Database::Sqlite).await;
    let ada = app.sign_up("ada").await;
    let id = organization(&ada).await;
    change_plan(&ada, &id, "team").await;
    go_to(&app, month_start(&app, 4));
    assert_eq!(closing::close(&app.app).await.unwrap(), 3, "the fourth is not over for a quarter of an hour");
    let ada = app.log_in("ada").await;
    let list = ada.get(&format!("/organizations/{id}/billing/invoices?limit=2")).await.expect(200);
    assert_eq!(list["pagination"]["hasMore"], true);
    let cursor = list["pagination"]["nextCursor"].as_str().unwrap();
    let rest = ada.get(&format!("/organizations/{id}/billing/invoices?limit=2&cursor={cursor}")).await.expect(200);
    let total = |list: &Value| {
        list["invoices"]
            .as_array()
            .unwrap()
            .iter()
            .map(|invoice| invoice["total"].as_i64().unwrap())
            .collect::<Vec<_>>()
    };
    let totals = [total(&list), total(&rest)].concat();
    assert_eq!(totals.len(), 3);
    assert_eq!(totals.iter().filter(|total| **total == 10_000).count(), 2, "whole months: {totals:?}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plans_are_bought_on_the_payment_page_and_events_count_once_and_only_signed() {
    let app = TestApp::start_with(Database::Sqlite, |config| {
        config.billing.provider = "stripe".to_owned();
        config.billing.stripe_webhook_secret = Secret::new(SECRET);
        config.billing.stripe_checkout_url = "https://pay.example/ogel".to_owned();
    })
    .await;
    let ada = app.sign_up("ada").await;
    let id = organization(&ada).await;
    let path = format!("/organizations/{id}/billing/subscription");
    let refused = ada.send(ada.request(Method::PUT, &path).json(&json!({ "plan": "pro" }))).await;
    let message = refused.expect_error(402, "PAYMENT_REQUIRED")["message"].to_string();
    assert!(message.contains(&format!("https://pay.example/ogel?client_reference_id={id}")), "{message}");

    let portal = ada.post(&format!("/organizations/{id}/billing/portal-session"), json!({})).await.expect(200);
    assert_eq!(portal["url"], format!("https://pay.example/ogel?client_reference_id={id}"));

    let bought = json!({ "id": "evt_1", "type": "checkout.session.completed", "data": { "object": {
        "client_reference_id": id, "payment_status": "paid", "metadata": { "ogel_plan": "pro" } } } });
    let (text, now) = (bought.to_string(), app.app.world.now().timestamp());
    for (signature, text) in [
        (signed(&text, now).replace("v1=", "v1=0"), &text),
        (signed(&text, now - 301), &text),
        (signed(&text, now), &text.replace("evt_1", "evt_9")),
        (String::new(), &text),
    ] {
        tell(&app, &signature, text).await.expect_error(401, "INVALID_CREDENTIAL");
    }
    assert_eq!(ada.get(&path).await.expect(200)["plan"], "free");
    event(&app, &bought).await.expect(204);
    assert_eq!(ada.get(&path).await.expect(200)["plan"], "pro");

    let ended = json!({ "id": "evt_2", "type": "customer.subscription.deleted", "data": { "object": { "metadata": { "ogel_organization": id } } } });
    event(&app, &ended).await.expect(204);
    assert_eq!(ada.get(&path).await.expect(200)["plan"], "free");
    // Sent again, as such services do: it was acted on.
    event(&app, &bought).await.expect(204);
    assert_eq!(ada.get(&path).await.expect(200)["plan"], "free");

    let invoice = super::invoice_of(&app, &id).await;
    let status = || async {
        ada.get(&format!("/organizations/{id}/billing/invoices/{invoice}")).await.expect(200)["status"].clone()
    };
    let about = |event: &str, kind: &str| json!({ "id": event, "type": kind, "data": { "object": { "metadata": { "ogel_invoice": invoice } } } });
    event(&app, &about("evt_3", "invoice.payment_failed")).await.expect(204);
    assert_eq!(status().await, "failed");
    event(&app, &about("evt_4", "invoice.paid")).await.expect(204);
    assert_eq!(status().await, "paid");
    event(&app, &about("evt_5", "invoice.payment_failed")).await.expect(204);
    assert_eq!(status().await, "paid", "what was paid stays paid");
    event(&app, &json!({ "id": "evt_6", "type": "charge.succeeded", "data": { "object": {} } })).await.expect(204);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_payment_service_there_is_no_webhook_of_one() {
    let app = TestApp::start(Database::Sqlite).await;
    tell(&app, "t=1,v1=00", "{}").await.expect_error(404, "NOT_FOUND");
    let ada = app.sign_up("ada").await;
    let path = format!("/organizations/{}/billing/portal-session", organization(&ada).await);
    let refused = ada.post(&path, json!({})).await.expect_error(409, "CONFLICT");
    assert!(refused["message"].as_str().unwrap().contains("no payment page"), "{refused}");
    app.stop().await;
}
