//! A day's figures by resource: exact, over a restart, with and without Redis, and for operators only.

use crate::{
    on_both,
    replicas::{connected, shared},
};
use ogel_testkit::{Api, Database, TestApp, eventually, redis_url};
use serde_json::{Value, json};

/// Makes somebody an operator of the running service.
async fn operator(app: &TestApp, name: &str) -> Api {
    let api = app.sign_up(name).await;
    let id = api.get("/users/me").await.expect(200)["id"].as_str().unwrap().to_owned();
    let mut config = ogel_server::config::Config::clone(&app.app.config());
    config.auth.operators = vec![id];
    app.app.reconfigure(config);
    api
}

async fn day(api: &Api, resource: &str) -> Value {
    api.get(&format!("/metrics/{resource}")).await.expect(200)
}

on_both! {
    async fn a_day_is_counted_by_status_and_only_operators_see_it(app: TestApp) {
        let ops = operator(&app, "ops").await;
        let project = ops.project("shop").await;
        for _ in 0..5 {
            ops.get(&format!("/projects/{project}")).await.expect(200);
        }
        ops.get("/projects/nothing").await.expect_error(404, "NOT_FOUND");
        // What is counted is counted once its answer has left.
        let today = eventually("all is counted", || async {
            let today = day(&ops, "projects").await;
            (today["total"] == 7).then_some(today)
        })
        .await;
        assert_eq!(today["statuses"], json!({ "200": 5, "201": 1, "404": 1 }));
        assert!(today["totalDurationMs"].as_f64().unwrap() > 0.0, "{today}");
        assert_eq!(today["date"], app.app.world.now().date_naive().to_string());
        assert_eq!(day(&ops, "domains").await["total"], 0);
        // The day before, and the one after.
        app.app.world.clock.advance(chrono::TimeDelta::days(1));
        assert_eq!(day(&ops, "projects").await["total"], 0);
        let before = ops.get(&format!("/metrics/projects?date={}", today["date"].as_str().unwrap())).await.expect(200);
        assert_eq!(before["total"], 7);
        ops.get("/metrics/projects?date=yesterday").await.expect_error(400, "INVALID_VALUE");
        ops.get("/metrics/nothing").await.expect_error(404, "NOT_FOUND");
        let eve = app.sign_up("eve").await;
        eve.get("/metrics/projects").await.expect_error(403, "FORBIDDEN");
    }
}

/// Counted over a restart: nothing twice, nothing lost.
async fn over_a_restart(app: TestApp) {
    let ops = operator(&app, "ops").await;
    for _ in 0..30 {
        ops.get("/organizations").await.expect(200);
    }
    let app = app.restart().await;
    let ops = app.anonymous().with_token(ops.token.as_deref());
    for _ in 0..12 {
        ops.get("/organizations").await.expect(200);
    }
    let counted = eventually("both lives are counted", || async {
        let counted = day(&ops, "organizations").await;
        (counted["total"].as_u64() >= Some(42)).then_some(counted)
    })
    .await;
    assert_eq!(counted["statuses"], json!({ "200": 42 }));
    app.stop().await;
}

/// Added up in Redis, which is away: said so, and not another's fault; when it is back nothing is missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn figures_that_redis_has_are_named_as_such_while_it_is_away() {
    let mut redis = ogel_testkit::RedisServer::start();
    let url = redis.url();
    let app =
        TestApp::start_with(Database::Sqlite, |config| config.redis.url = ogel_server::config::Secret::new(url)).await;
    connected(&app.app).await;
    let ops = operator(&app, "ops").await;
    redis.kill();
    for _ in 0..7 {
        ops.get("/organizations").await.expect(200);
    }
    let answer = ops.get("/metrics/organizations").await;
    assert_eq!(answer.headers["retry-after"], "5");
    let error = answer.expect_error(503, "SHARED_STATE_UNAVAILABLE");
    assert!(error["message"].as_str().unwrap().contains("Redis"), "{error}");
    redis.up();
    connected(&app.app).await;
    eventually("all is counted", || async {
        let total = ops.get("/metrics/organizations").await.body["total"].as_u64();
        (total == Some(7)).then_some(())
    })
    .await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_loses_no_figure_in_the_database() {
    over_a_restart(TestApp::start(Database::Sqlite).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_loses_no_figure_in_redis_where_the_documents_hash_is() {
    let app = shared(Database::Sqlite).await;
    connected(&app.app).await;
    let (prefix, today) = (app.app.config().redis.prefix.clone(), app.app.world.now().date_naive());
    over_a_restart(app).await;
    let key = format!("{prefix}metrics:proxy:organizations:{today}");
    let fields = ogel_testkit::redis_hash(&redis_url(), 6, &key);
    assert_eq!(fields["total"], "42");
    assert_eq!(fields["status_200"], "42");
    assert!(fields["total_duration"].parse::<f64>().unwrap() > 0.0, "{fields:?}");
    assert_eq!(fields.len(), 3, "{fields:?}");
}
