//! Two replicas on one database, one Redis: what is revoked at one ends at the other, and what happens when Redis does not
//! answer.

use ogel_server::config::{Config, Secret};
use ogel_testkit::{Database, RedisServer, TestApp, WatchedRedis, eventually, redis_prefix, redis_url};
use serde_json::json;
use std::time::{Duration, Instant};

/// With the run's Redis, patient enough for a busy machine.
pub(crate) async fn shared(database: Database) -> TestApp {
    shared_with(database, |_| {}).await
}

/// The same, with settings changed before the start.
pub(crate) async fn shared_with(database: Database, change: impl FnOnce(&mut Config)) -> TestApp {
    TestApp::start_with(database, |config| {
        change(config);
        config.redis.url = Secret::new(redis_url());
        config.redis.prefix = redis_prefix();
        config.redis.wait_ms = 1000;
    })
    .await
}

/// Waits until the replica uses its Redis and hears the others.
pub(crate) async fn connected(app: &ogel_server::state::App) {
    eventually("Redis is used and heard", || async move {
        (app.shared.as_redis().unwrap().health() == (true, true)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_revoked_at_one_replica_ends_at_the_other_before_the_database_would_have_said_so() {
    let app = shared(Database::Postgres).await;
    let other = app.replica().await;
    connected(&app.app).await;
    connected(&other.app).await;
    let ada = app.sign_up("ada").await;
    let mut quick = 0;
    // The database is asked for changes every 250 ms, so four in ten would be this quick by chance.
    for _ in 0..10 {
        let made = ada.post("/auth/api-keys", json!({ "name": "k" })).await.expect(201);
        let key = other.api(&ada.with_token(made["secret"].as_str()));
        key.get("/auth/session").await.expect(200);
        ada.delete(&format!("/auth/api-keys/{}", made["apiKey"]["id"].as_str().unwrap())).await.expect(204);
        let revoked = Instant::now();
        while key.get("/auth/session").await.status != 401 {}
        quick += u32::from(revoked.elapsed() < Duration::from_millis(100));
    }
    assert!(quick >= 8, "{quick} of 10");
    other.stop().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_dies_stalls_or_comes_back_changes_no_answer() {
    let mut redis = RedisServer::start();
    let url = redis.url();
    let app = TestApp::start_with(Database::Sqlite, |config| config.redis.url = Secret::new(url)).await;
    connected(&app.app).await;
    let ada = app.sign_up("ada").await;
    let gone = || async {
        eventually("Redis is given up", || async { (!app.app.shared.as_redis().unwrap().health().0).then_some(()) })
            .await;
        let (_, page) = app.operations("/metrics").await;
        assert!(page.contains("\nogel_redis_up 0\n"), "{page}");
    };
    redis.kill();
    for n in 0..20 {
        ada.post("/auth/api-keys", json!({ "name": format!("k{n}") })).await.expect(201);
        ada.get("/users/me").await.expect(200);
    }
    gone().await;
    assert_eq!(app.operations("/ready").await.0, 200);
    redis.up();
    connected(&app.app).await;
    redis.pause();
    for _ in 0..20 {
        ada.get("/users/me").await.expect(200);
    }
    gone().await;
    redis.resume();
    connected(&app.app).await;
    redis.flush();
    ada.get("/users/me").await.expect(200);
    app.stop().await;
}

/// The master dies under requests: none of them notices, and then everything is shared again through its successor.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_whose_master_dies_is_used_again_through_its_replica_without_a_restart() {
    let mut redis = WatchedRedis::start();
    let url = redis.url();
    let app = TestApp::start_with(Database::Sqlite, |config| {
        config.redis.url = Secret::new(url);
        config.redis.wait_ms = 1000;
        config.cache = Config::default().cache;
        config.limits.organization_free = 12;
    })
    .await;
    let other = app.replica().await;
    connected(&app.app).await;
    connected(&other.app).await;
    let ada = app.sign_up("ada").await;
    let project = ada.project("shop").await;
    let site = ada.post("/sites", json!({ "projectId": project, "name": "web" })).await.expect(201);
    let path = format!("/sites/{}", site["id"].as_str().unwrap());
    ada.get(&path).await.expect(200);
    redis.kill_master();
    eventually("it is given up", || async { (!app.app.shared.as_redis().unwrap().health().0).then_some(()) }).await;
    for n in 0..20 {
        ada.get(&path).await.expect(200);
        let name = json!({ "name": format!("web {n}") });
        ada.patch(&path, name).await.expect(200);
    }
    connected(&app.app).await;
    connected(&other.app).await;
    // The cache, told by pub/sub.
    let there = other.api(&ada);
    let mut quick = 0;
    for n in 0..5 {
        there.get(&path).await.expect(200);
        let name = json!(format!("after {n}"));
        ada.patch(&path, json!({ "name": name })).await.expect(200);
        let written = Instant::now();
        while there.get(&path).await.body["name"] != name {}
        quick += u32::from(written.elapsed() < Duration::from_millis(100));
    }
    assert!(quick >= 4, "{quick} of 5");
    // And the limits: both count together.
    let organization = ada.get("/organizations").await.expect(200)["organizations"][0]["id"].clone();
    let key = ada.post("/auth/api-keys", json!({ "name": "k", "organizationId": organization })).await.expect(201);
    let (here, there) = (ada.with_token(key["secret"].as_str()), other.api(&ada.with_token(key["secret"].as_str())));
    let mut admitted = 0;
    for turn in 0..30 {
        let api = if turn % 2 == 0 { &here } else { &there };
        admitted += u32::from(api.get("/auth/session").await.status == 200);
    }
    assert!((12..=14).contains(&admitted), "one more for each replica at most: {admitted}");
    other.stop().await;
    app.stop().await;
}

/// Ten wrong passwords in a quarter of an hour, wherever they are tried.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guessing_at_every_replica_is_worth_no_more_than_at_one() {
    let app = shared(Database::Postgres).await;
    let other = app.replica().await;
    connected(&app.app).await;
    connected(&other.app).await;
    let ada = app.sign_up("ada").await;
    let here = ada.with_token(None);
    let there = other.api(&here);
    let login = async |at: &ogel_testkit::Api, password: &str| {
        let body = json!({ "email": "ada@example.com", "password": password });
        at.post("/auth/login", body).await.status.as_u16()
    };
    // Right ones do not count, at whichever.
    for _ in 0..8 {
        assert_eq!((login(&here, "correct horse").await, login(&there, "correct horse").await), (200, 200));
    }
    // Nobody is logged in from here, so there are no tries besides.
    app.at_database("DELETE FROM sessions").await;
    let mut said = Vec::new();
    for n in 0..8 {
        said.push(login(&here, &format!("wrong {n}")).await);
        said.push(login(&there, &format!("wrong {n}")).await);
    }
    assert_eq!(said.iter().filter(|status| **status == 401).count(), 10, "{said:?}");
    assert_eq!(said[10..], [429; 6], "{said:?}");
    other.stop().await;
    app.stop().await;
}

/// Without a Redis each counts for itself, and nobody is let in or shut out by what cannot be asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guesses_are_counted_where_no_redis_answers() {
    let mut redis = RedisServer::start();
    let url = redis.url();
    let app = TestApp::start_with(Database::Sqlite, |config| config.redis.url = Secret::new(url)).await;
    connected(&app.app).await;
    app.sign_up("ada").await;
    app.at_database("DELETE FROM sessions").await;
    let login = async || {
        let body = json!({ "email": "ada@example.com", "password": "wrong" });
        app.anonymous().post("/auth/login", body).await.status.as_u16()
    };
    for _ in 0..4 {
        assert_eq!(login().await, 401);
    }
    redis.kill();
    let mut said = Vec::new();
    for _ in 0..8 {
        said.push(login().await);
    }
    // What was counted together counts on.
    assert_eq!(said, [401, 401, 401, 401, 401, 401, 429, 429]);
    app.stop().await;
}
