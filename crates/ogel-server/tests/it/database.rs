//! PostgreSQL goes away and comes back: what memory can answer goes on, the rest says so in time, and nothing needs a restart.

use crate::sites::{make, text};
use ogel_server::config::{Config, Secret};
use ogel_testkit::{Database, Gate, Repository, TestApp, eventually};
use serde_json::json;
use std::time::{Duration, Instant};

/// With a gate before its database, and answers that are kept.
async fn gated() -> (TestApp, Gate) {
    let gate = Gate::open();
    let way = gate.clone();
    let app = TestApp::start_with(Database::Postgres, |config| {
        config.database.url = Secret::new(way.through(config.database.url.expose()));
        config.database.acquire_timeout_seconds = 1;
        config.cache = Config::default().cache;
        config.auth.trust_without_database_seconds = 30;
    })
    .await;
    (app, gate)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_database_is_away_kept_answers_go_on_and_the_rest_says_so_in_time() {
    let (app, gate) = gated().await;
    let ada = app.sign_up("ada").await;
    let project = ada.project("shop").await;
    let site = make(&ada, &project, "web", json!({})).await;
    let path = format!("/sites/{}", text(&site["id"]));
    let repository = Repository::of_a_page("x");
    let done = ada.ended(&ada.deploy(&project, &repository.url(), json!({})).await["id"]).await;
    let mine = [format!("/deployments/{}", text(&done["id"])), format!("/builds/{}", text(&done["buildId"]))];
    // The changes made so far are read from the database a few times a second; after that nobody is looked up again.
    let (since, mut kept) = (Instant::now(), 0);
    eventually("memory has settled", || {
        kept += 1;
        let (ada, path, mine, kept) = (&ada, &path, &mine, kept);
        async move {
            ada.get(path).await.expect(200);
            for path in mine {
                ada.get(path).await.expect(200);
            }
            (kept > 40 && since.elapsed() > Duration::from_millis(1500)).then_some(())
        }
    })
    .await;
    gate.shut();
    // Memory knows who asks, what they may see, and the answer.
    for _ in 0..20 {
        assert_eq!(ada.get(&path).await.expect(200), site);
        assert_eq!(ada.get(&mine[0]).await.expect(200), done);
        ada.get(&mine[1]).await.expect(200);
    }
    // What is too old is still better than nothing, and says so.
    app.app.world.clock.advance(chrono::TimeDelta::seconds(20));
    for path in &mine {
        let old = ada.get(path).await;
        assert!(old.status == 200 && old.headers.contains_key("warning"), "{old:?}");
    }
    for path in ["/projects", "/organizations"] {
        let started = Instant::now();
        let answer = ada.get(path).await;
        assert!(started.elapsed() < Duration::from_secs(4), "{path}: {:?}", started.elapsed());
        assert!(answer.headers.contains_key("retry-after"), "{path}: {answer:?}");
        answer.expect_error(503, "DATABASE_UNAVAILABLE");
    }
    gate.unshut();
    let back = Instant::now();
    eventually("it is used again", || async { (ada.get("/projects").await.status == 200).then_some(()) }).await;
    assert!(back.elapsed() < Duration::from_secs(5), "{:?}", back.elapsed());
    ada.project("another").await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_come_from_the_copy_unless_the_caller_has_just_written_or_it_is_away() {
    // A copy that is behind for ever: another database, in which nothing ever happens.
    let behind = TestApp::start(Database::Postgres).await;
    let gate = Gate::open();
    let copy = gate.through(behind.app.config().database.url.expose());
    let app = TestApp::start_with(Database::Postgres, |config| config.database.read_url = Secret::new(copy)).await;
    let ada = app.sign_up("ada").await;
    let made = ada.post("/projects", json!({ "name": "shop" })).await;
    let token = made.headers["x-ogel-consistency"].to_str().unwrap().to_owned();
    let behind_list = ada.get("/projects").await.expect(200);
    assert_eq!(behind_list["projects"], json!([]), "read from the copy");
    let request = ada.request(http::Method::GET, "/projects").header("x-ogel-consistency", &token);
    assert_eq!(ada.send(request).await.expect(200)["projects"].as_array().unwrap().len(), 1, "read from the primary");
    // One thing is never read from the copy.
    let id = made.body["id"].as_str().unwrap();
    ada.get(&format!("/projects/{id}")).await.expect(200);
    gate.shut();
    assert_eq!(ada.get("/projects").await.expect(200)["projects"].as_array().unwrap().len(), 1, "the copy is away");
    app.stop().await;
    gate.unshut();
    behind.stop().await;
}
