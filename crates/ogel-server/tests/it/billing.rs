//! Plans and subscriptions, budgets, the limits of a plan. What is used is in `usage.rs`, invoices and payments in
//! `invoices.rs`.

mod invoices;
mod usage;

use crate::on_both;
use chrono::{DateTime, TimeDelta, Utc};
use http::Method;
use ogel_api::{
    billing::InvoiceStatus,
    id::{InvoiceId, OrganizationId},
    organizations::Role,
};
use ogel_testkit::{Answer, Api, Database, Repository, TestApp};
use serde_json::{Value, json};

pub(crate) async fn organization(api: &Api) -> String {
    api.get("/organizations").await.expect(200)["organizations"][0]["id"].as_str().unwrap().to_owned()
}

pub(crate) async fn put(api: &Api, path: &str, body: Value) -> Answer {
    api.send(api.request(Method::PUT, path).json(&body)).await
}

pub(crate) async fn change_plan(api: &Api, organization: &str, plan: &str) -> Value {
    let path = format!("/organizations/{organization}/billing/subscription");
    put(api, &path, json!({ "plan": plan })).await.expect(200)
}

/// Turns the clock to this moment, which must lie ahead.
fn go_to(app: &TestApp, at: DateTime<Utc>) {
    let by = at - app.app.world.now();
    assert!(by >= TimeDelta::zero());
    app.app.world.clock.advance(by);
}

/// The first moment of the month after the next: whoever is there has a whole month behind.
fn month_start(app: &TestApp, months_ahead: u32) -> DateTime<Utc> {
    use chrono::{Datelike as _, Months, NaiveTime};
    let first = app.app.world.now().date_naive().with_day(1).unwrap().and_time(NaiveTime::MIN).and_utc();
    first + Months::new(months_ahead)
}

/// An invoice of an organization that never paid for anything, past all operations: they only read them.
pub(crate) async fn invoice_of(app: &TestApp, organization: &str) -> String {
    let organization_id: OrganizationId = organization.parse().unwrap();
    let at = app.app.world.now();
    let invoice = ogel_store::Invoice {
        id: InvoiceId(app.app.world.uuid()),
        organization_id,
        organization_name: "O".to_owned(),
        number: "2020-01-1".to_owned(),
        status: InvoiceStatus::Open,
        period_start: at,
        period_end: at,
        currency: "USD".to_owned(),
        total: 1,
        created_at: at,
        paid_at: None,
    };
    assert!(app.app.store.create_invoice(&invoice, &[]).await.unwrap());
    invoice.id.to_string()
}

on_both! {
    async fn everybody_sees_the_plans(app: TestApp) {
        let plans = app.anonymous().get("/billing/plans").await.expect(200)["plans"].clone();
        let names: Vec<_> = plans.as_array().unwrap().iter().map(|plan| plan["plan"].as_str().unwrap()).collect();
        assert_eq!(names, ["free", "pro", "team"]);
        assert_eq!((&plans[1]["price"], &plans[1]["currency"]), (&json!(2000), &json!("USD")));
        assert_eq!(plans[1]["limits"]["requestsPerWindow"], 100);
        let builds = json!({ "metric": "buildSeconds", "included": 1_440_000, "price": 1, "per": 60 });
        assert!(plans[1]["usage"].as_array().unwrap().contains(&builds), "{plans}");
    }

    async fn a_plan_costs_the_part_of_the_month_it_is_held_and_the_preview_says_so(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let id = organization(&ada).await;
        let start = month_start(&app, 1);
        // Half of the month, whatever month it is.
        let end = month_start(&app, 2);
        go_to(&app, start + (end - start) / 2);
        // The session has lapsed by then.
        let ada = app.log_in("ada").await;
        let path = format!("/organizations/{id}/billing");
        let preview = ada.post(&format!("{path}/subscription/preview"), json!({ "plan": "pro" })).await.expect(200);
        assert_eq!((&preview["amount"], &preview["nextMonth"], &preview["from"]), (&json!(1000), &json!(2000), &json!("free")));
        assert_eq!(ada.get(&path).await.expect(200)["total"], 0, "a preview changes nothing");

        let changed = change_plan(&ada, &id, "pro").await;
        assert_eq!((&changed["plan"], &changed["since"]), (&json!("pro"), &preview["at"]));
        assert_eq!(ada.get(&path).await.expect(200)["total"], 1000);
        // The other way the unused rest comes back.
        go_to(&app, start + (end - start) / 4 * 3);
        let preview = ada.post(&format!("{path}/subscription/preview"), json!({ "plan": "team" })).await.expect(200);
        let amounts: Vec<_> = preview["lines"].as_array().unwrap().iter().map(|line| line["amount"].clone()).collect();
        assert_eq!(amounts, [json!(-500), json!(2500)]);
        change_plan(&ada, &id, "team").await;
        let billing = ada.get(&path).await.expect(200);
        assert_eq!((&billing["total"], &billing["plan"]["plan"]), (&json!(500 + 2500), &json!("team")));
        let previewed = preview["amount"].as_i64().unwrap();
        assert_eq!(billing["total"].as_i64().unwrap() - 1000, previewed);
        // The same plan again is no change.
        assert_eq!(change_plan(&ada, &id, "team").await["since"], change_plan(&ada, &id, "team").await["since"]);
        assert_eq!(ada.get(&path).await.expect(200)["lines"].as_array().unwrap().len(), 2);
        put(&ada, &format!("{path}/subscription"), json!({ "plan": "gold" })).await.expect_error(400, "INVALID_VALUE");
    }

    async fn an_admin_reads_billing_and_only_an_owner_changes_it(app: TestApp) {
        let owner = app.sign_up("owner").await;
        let id = organization(&owner).await;
        let admin = app.sign_up("admin").await;
        app.add_member(&owner, &admin, Role::Admin).await;
        let path = format!("/organizations/{id}/billing");
        admin.get(&path).await.expect(200);
        admin.get(&format!("{path}/usage")).await.expect(200);
        admin.post(&format!("{path}/subscription/preview"), json!({ "plan": "pro" })).await.expect(200);
        put(&admin, &format!("{path}/subscription"), json!({ "plan": "pro" })).await.expect_error(403, "FORBIDDEN");
        put(&admin, &format!("{path}/budget"), json!({ "amount": 5 })).await.expect_error(403, "FORBIDDEN");
        admin.delete(&format!("{path}/budget")).await.expect_error(403, "FORBIDDEN");
        // A key of a project is not for its organization's money.
        let body = json!({ "name": "k", "projectId": owner.project("shop").await });
        let key = owner.post("/auth/api-keys", body).await.expect(201);
        owner.with_token(key["secret"].as_str()).get(&path).await.expect_error(403, "FORBIDDEN");
    }

    async fn a_budget_that_is_used_up_stops_new_deployments_until_it_is_raised(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let id = organization(&ada).await;
        let (project, repository) = (ada.project("shop").await, Repository::of_a_page("x"));
        let first = ada.deploy(&project, &repository.url(), json!({})).await;
        let first = ada.ended(&first["id"]).await;
        let path = format!("/organizations/{id}/billing/budget");
        ada.get(&path).await.expect_error(404, "NOT_FOUND");
        // Only told, not stopped.
        go_to(&app, month_start(&app, 1));
        let ada = app.log_in("ada").await;
        change_plan(&ada, &id, "pro").await;
        let budget = put(&ada, &path, json!({ "amount": 2500 })).await.expect(200);
        assert_eq!((&budget["action"], &budget["alertsAt"], &budget["spent"]), (&json!("notify"), &json!([50, 80, 100]), &json!(2000)));
        let raised = |budget: &Value| budget["alerts"].as_array().unwrap().iter().map(|alert| alert["percent"].as_i64().unwrap()).collect::<Vec<_>>();
        assert_eq!((raised(&budget), &budget["paused"]), (vec![50, 80], &json!(false)));
        ada.deploy(&project, &repository.url(), json!({})).await;

        let budget = put(&ada, &path, json!({ "amount": 2000, "action": "pause" })).await.expect(200);
        assert_eq!((raised(&budget), &budget["paused"]), (vec![50, 80, 100], &json!(true)));
        let body = json!({ "projectId": project, "repoUrl": repository.url() });
        let before = app.deployments_at_ghost(&project).await;
        let redeploy = format!("/deployments/{}/redeploy", first["id"].as_str().unwrap());
        for answer in [ada.post("/deployments", body.clone()).await, ada.post(&redeploy, json!({})).await] {
            let message = answer.expect_error(402, "PAYMENT_REQUIRED")["message"].as_str().unwrap().to_owned();
            assert!(message.contains("$20.00") && message.contains("billing/budget"), "{message}");
        }
        assert_eq!(app.deployments_at_ghost(&project).await, before);
        let billing = ada.get(&format!("/organizations/{id}/billing")).await.expect(200);
        assert!(billing["deploymentsPaused"].as_str().unwrap().contains("`pause`"), "{billing}");
        // Both ways out.
        put(&ada, &path, json!({ "amount": 2001, "action": "pause" })).await.expect(200);
        ada.post("/deployments", body.clone()).await.expect(201);
        put(&ada, &path, json!({ "amount": 1, "action": "pause" })).await.expect(200);
        ada.post("/deployments", body.clone()).await.expect_error(402, "PAYMENT_REQUIRED");
        ada.delete(&path).await.expect(204);
        ada.delete(&path).await.expect_error(404, "NOT_FOUND");
        ada.post("/deployments", body).await.expect(201);
        let log = ada.get(&format!("/organizations/{id}/audit-log")).await.expect(200);
        let actions: Vec<_> = log["entries"].as_array().unwrap().iter().map(|entry| entry["action"].as_str().unwrap()).collect();
        assert_eq!(actions.iter().filter(|action| **action == "budget.set").count(), 4, "{log}");
        assert!(actions.contains(&"budget.removed") && actions.contains(&"organization.plan_changed"), "{log}");
    }
}

on_both! {
    async fn owners_are_mailed_once_for_each_alert_of_a_budget(app: TestApp) {
        let (ada, ben, eve) = (app.sign_up("ada").await, app.sign_up("ben").await, app.sign_up("eve").await);
        let id = organization(&ada).await;
        app.add_member(&ada, &ben, Role::Owner).await;
        app.add_member(&ada, &eve, Role::Admin).await;
        go_to(&app, month_start(&app, 1));
        let ada = app.log_in("ada").await;
        change_plan(&ada, &id, "pro").await;
        let path = format!("/organizations/{id}/billing/budget");
        // 2000 of 2500: two alerts at once are one mail.
        put(&ada, &path, json!({ "amount": 2500, "action": "pause" })).await.expect(200);
        for owner in ["ada@example.com", "ben@example.com"] {
            let mail = app.mails_to(owner, 1).await.remove(0).replace("=\r\n", "");
            assert!(mail.contains("$20.00 of its budget of $25.00") && mail.contains("80%"), "{mail}");
            assert!(mail.contains("When it is used up, new deployments are refused."), "{mail}");
        }
        // However many look, and however often.
        let looks = (0..4).map(|_| {
            let app = app.app.clone();
            tokio::spawn(async move { ogel_server::billing::closing::look_at_budgets(&app).await.unwrap() })
        });
        for look in looks.collect::<Vec<_>>() {
            look.await.unwrap();
        }
        put(&ada, &path, json!({ "amount": 2000, "action": "pause" })).await.expect(200);
        let mails = app.mails_to("ada@example.com", 2).await;
        assert!(mails.iter().any(|mail| mail.contains("100%") && mail.contains("are refused until the month is over")), "{mails:?}");
        // What was queued before this one is sent: nothing else was.
        put(&ada, &path, json!({ "amount": 2000, "alertsAt": [10, 100] })).await.expect(200);
        assert_eq!(app.mails_to("ada@example.com", 3).await.len(), 3);
        assert_eq!(app.mails_to("ben@example.com", 3).await.len(), 3);
        assert!(app.mails_to("eve@example.com", 0).await.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_budget_cannot_be_is_refused() {
    let app = TestApp::start(Database::Sqlite).await;
    let ada = app.sign_up("ada").await;
    let path = format!("/organizations/{}/billing/budget", organization(&ada).await);
    for (body, field) in [
        (json!({ "amount": 0 }), "body.amount"),
        (json!({ "amount": 5, "alertsAt": [0] }), "body.alertsAt"),
        (json!({ "amount": 5, "alertsAt": [101] }), "body.alertsAt"),
        (json!({ "amount": 5, "alertsAt": (1..=11).collect::<Vec<_>>() }), "body.alertsAt"),
        (json!({ "amount": 5, "action": "explode" }), "body.action"),
    ] {
        let error = put(&ada, &path, body).await.expect_error(400, "INVALID_VALUE");
        assert_eq!(error["details"][0]["location"], field, "{error}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_the_plan_changes_the_limit_of_the_very_next_request() {
    let app = TestApp::start_with(Database::Sqlite, |config| config.limits.api_key_free = 7).await;
    let ada = app.sign_up("ada").await;
    let id = organization(&ada).await;
    let key = ada.post("/auth/api-keys", json!({ "name": "k" })).await.expect(201);
    let key = ada.with_token(key["secret"].as_str());
    for (plan, limit) in [("pro", "100"), ("team", "1000"), ("free", "7"), ("pro", "100")] {
        // It is remembered with the plan it had.
        key.get("/auth/session").await;
        change_plan(&ada, &id, plan).await;
        let headers = key.get("/auth/session").await.headers;
        assert_eq!(headers["x-ratelimit-limit"], limit, "{plan}");
    }
    app.stop().await;
}

/// Plans with these limits for `free`; the rest as it comes.
fn plans(folder: &std::path::Path, per_day: u64, at_once: u64, in_a_month: u64, build_seconds: u64) -> String {
    let text = ogel_server::billing::catalog::DEFAULT
        .replacen("deployments_per_day = 100\n", &format!("deployments_per_day = {per_day}\n"), 1)
        .replacen("concurrent_builds = 20\n", &format!("concurrent_builds = {at_once}\n"), 1)
        .replacen(
            "usage.deployments = { included = 1_000 }",
            &format!("usage.deployments = {{ included = {in_a_month} }}"),
            1,
        )
        .replacen(
            "usage.buildSeconds = { included = 360_000 }",
            &format!("usage.buildSeconds = {{ included = {build_seconds} }}"),
            1,
        );
    let path = folder.join("limited-plans.toml");
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_limits_how_much_is_deployed_and_says_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    // Day, at once, month, build seconds: what is refused, and how.
    for (limits, status, code, word) in [
        ((2, 0, 1000, 1000), 403, "QUOTA_EXCEEDED", "in 24 hours"),
        ((0, 2, 1000, 1000), 403, "QUOTA_EXCEEDED", "at the same time"),
        ((0, 0, 2, 1000), 402, "PAYMENT_REQUIRED", "2 deployments a month"),
        ((0, 0, 1000, 0), 402, "PAYMENT_REQUIRED", "0 build seconds a month"),
    ] {
        let file = plans(folder.path(), limits.0, limits.1, limits.2, limits.3);
        let app = TestApp::start_with(Database::Sqlite, |config| config.billing.plans_file = file).await;
        let ada = app.sign_up("ada").await;
        let id = organization(&ada).await;
        let (project, repository) =
            (ada.project("shop").await, Repository::new(&[("package.json", r#"{"scripts":{"build":"sleep 600"}}"#)]));
        let body = json!({ "projectId": project, "repoUrl": repository.url() });
        let mut made = 0;
        let refused = loop {
            let answer = ada.post("/deployments", body.clone()).await;
            if answer.status != 201 {
                break answer;
            }
            made += 1;
        };
        let message = refused.expect_error(status, code)["message"].as_str().unwrap().to_owned();
        assert!(message.contains(word) && message.contains("billing/subscription"), "{message}");
        assert_eq!(made, if limits.3 == 0 { 0 } else { 2 });
        // The way out works.
        change_plan(&ada, &id, "pro").await;
        ada.post("/deployments", body).await.expect(201);
        app.stop().await;
    }
}
