//! How often callers may call: by key, login and address, by plan, and what they are told of it.

use crate::on_both;
use ogel_api::organizations::Plan;
use ogel_server::config::Config;
use ogel_store::PlanChange;
use ogel_testkit::{Api, Database, TestApp, eventually};
use serde_json::json;

/// The limits as they are by default.
async fn strict(database: Database) -> TestApp {
    TestApp::start_with(database, |config| {
        let login = config.limits.login;
        config.limits = Config::default().limits;
        config.limits.login = login;
    })
    .await
}

async fn key_of(api: &Api) -> Api {
    let key = api.post("/auth/api-keys", json!({ "name": "k" })).await.expect(201);
    api.with_token(key["secret"].as_str())
}

/// How many of `tries` requests are let in.
async fn admitted(api: &Api, tries: usize) -> usize {
    let mut count = 0;
    for _ in 0..tries {
        let answer = api.get("/auth/session").await;
        match answer.status.as_u16() {
            200 => count += 1,
            _ => drop(answer.expect_error(429, "RATE_LIMITED")),
        }
    }
    count
}

on_both! {
    async fn every_limited_answer_says_what_is_left(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let headers = ada.get("/users/me").await.headers;
        let number = |name: &str| headers[name].to_str().unwrap().parse::<u64>().unwrap();
        assert_eq!(number("x-ratelimit-limit") - number("x-ratelimit-remaining"), 1);
        let now = app.app.world.now().timestamp().unsigned_abs();
        assert!((now..=now + 11).contains(&number("x-ratelimit-reset")), "{headers:?}");
        assert_eq!(headers["ratelimit-policy"], "\"calls\";q=10000;w=10");
        assert!(headers["ratelimit"].to_str().unwrap().starts_with("\"calls\";r=9999;t="), "{headers:?}");
        assert!(!app.anonymous().get("/health").await.headers.contains_key("ratelimit"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_on_the_free_plan_may_call_ten_times_in_ten_seconds() {
    let app = strict(Database::Sqlite).await;
    let ada = app.sign_up("ada").await;
    let key = key_of(&ada).await;
    assert_eq!(admitted(&key, 14).await, 10);
    let refused = key.get("/auth/session").await;
    let wait = refused.headers["retry-after"].to_str().unwrap().parse::<i64>().unwrap();
    let error = refused.expect_error(429, "RATE_LIMITED");
    assert!(error["message"].as_str().unwrap().contains("10 per 10 seconds"), "{error}");
    assert_eq!(error["retryable"], true);
    // The time that is named is the time that counts; refusals cost nothing.
    app.app.world.clock.advance(chrono::TimeDelta::seconds(wait - 1));
    assert_eq!(admitted(&key, 1).await, 0);
    app.app.world.clock.advance(chrono::TimeDelta::seconds(1));
    assert_eq!(admitted(&key, 1).await, 1);
    // Another key, and the login, have windows of their own.
    assert_eq!(admitted(&key_of(&ada).await, 14).await, 10);
    assert_eq!(admitted(&ada, 30).await, 30);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_better_plan_raises_the_limit_without_a_new_key() {
    let app = strict(Database::Sqlite).await;
    let ada = app.sign_up("ada").await;
    let key = key_of(&ada).await;
    assert_eq!(admitted(&key, 12).await, 10);
    let organization = ada.get("/organizations").await.expect(200);
    let id = organization["organizations"][0]["id"].as_str().unwrap().parse().unwrap();
    let (change, at) = (app.app.world.uuid(), app.app.world.now());
    let change = PlanChange { id: change, organization: id, plan: Plan::Team, actor: None, at };
    app.app.store.change_plan(&change).await.unwrap();
    let limit = eventually("the plan shows", || async {
        let headers = key.get("/auth/session").await.headers;
        Some(headers["x-ratelimit-limit"].to_str().unwrap().to_owned()).filter(|limit| limit != "10")
    });
    assert_eq!(limit.await, "1000");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logins_deployments_and_addresses_have_limits_of_their_own() {
    let app = TestApp::start_with(Database::Sqlite, |config| {
        config.limits.login = 3;
        config.limits.deploy = 1;
    })
    .await;
    let ada = app.sign_up("ada").await;
    let wrong = || json!({ "email": "ada@example.com", "password": "not this one" });
    for _ in 0..2 {
        app.anonymous().post("/auth/login", wrong()).await.expect_error(401, "INVALID_LOGIN");
    }
    let refused = app.anonymous().post("/auth/login", wrong()).await;
    assert_eq!(refused.headers["ratelimit-policy"], "\"logins\";q=3;w=10");
    refused.expect_error(429, "RATE_LIMITED");
    let body = json!({ "projectId": ada.project("shop").await, "repoUrl": "no url" });
    ada.post("/deployments", body.clone()).await.expect(400);
    let refused = ada.post("/deployments", body).await;
    assert_eq!(refused.headers["ratelimit-policy"], "\"deployments\";q=1;w=10");
    refused.expect_error(429, "RATE_LIMITED");
    ada.get("/deployments").await.expect(200);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_from_one_address_is_refused_whatever_it_sends() {
    let app = TestApp::start_with(Database::Sqlite, |config| config.limits.address = 5).await;
    for _ in 0..5 {
        app.anonymous().get("/nonsense").await.expect_error(404, "ROUTE_NOT_FOUND");
    }
    let key = app.anonymous().with_token(Some("ogel_nonsense"));
    key.get("/users/me").await.expect_error(429, "RATE_LIMITED");
    let (_, metrics) = app.operations("/metrics").await;
    assert!(metrics.contains("ogel_rate_limited_total{policy=\"address\"} 1"), "{metrics}");
    app.stop().await;
}
