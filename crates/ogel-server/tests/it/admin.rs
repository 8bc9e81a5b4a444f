//! What operators see, and who is one.

use crate::on_both;
use ogel_testkit::{Database, TestApp};
use serde_json::json;

on_both! {
    /// While replicas are replaced one by one, those from before see what those from after write.
    async fn words_of_a_newer_build_hide_nothing_from_operators(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let mut config = ogel_server::config::Config::clone(&app.app.config());
        config.auth.operators = vec!["ada@example.com".to_owned()];
        app.app.reconfigure(config);
        ada.project("shop").await;
        app.at_database(
            "INSERT INTO work (queue, id, due_at, attempts, fence, created_at) \
             SELECT 'tomorrows', id, created_at, 0, 0, created_at FROM projects",
        )
        .await;
        app.at_database(
            "INSERT INTO reconciliation_findings (kind, project_id, ghost_id, detail, first_seen_at, last_seen_at) \
             SELECT 'tomorrows', id, 'g', 'as it is', created_at, created_at FROM projects",
        )
        .await;
        let queues = ada.get("/admin/queues").await.expect(200)["queues"].clone();
        let of = |word: &str| queues.as_array().unwrap().iter().find(|one| one["queue"] == word).cloned();
        assert_eq!(of("unrecognized").unwrap()["waiting"], 1, "{queues}");
        assert!(of("reconciliation").is_some(), "{queues}");
        let found = ada.get("/admin/reconciliation").await.expect(200);
        assert_eq!((&found["findings"][0]["kind"], &found["findings"][0]["detail"]), (&json!("unrecognized"), &json!("as it is")));
        let (status, page) = app.operations("/metrics").await;
        assert!(status == 200 && page.contains("ogel_work_jobs{queue=\"reconciliation\",state=\"waiting\"}"), "{page}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_are_who_the_configuration_names() {
    let app = TestApp::start_with(Database::Sqlite, |config| {
        config.auth.operators = vec!["Grace@Example.com".to_owned()];
    })
    .await;
    let (grace, ada) = (app.sign_up("grace").await, app.sign_up("ada").await);
    grace.get("/admin/queues").await.expect(200);
    ada.get("/admin/queues").await.expect_error(403, "FORBIDDEN");

    // By id, from now on.
    let id = ada.get("/users/me").await.expect(200)["id"].as_str().unwrap().to_owned();
    let mut config = ogel_server::config::Config::clone(&app.app.config());
    config.auth.operators = vec![id];
    app.app.reconfigure(config);
    ada.get("/admin/queues").await.expect(200);
    grace.get("/admin/queues").await.expect_error(403, "FORBIDDEN");

    // A key has what it was given, and `admin` only when it was named.
    let key = async |body| {
        let key = ada.post("/auth/api-keys", body).await.expect(201);
        app.anonymous().with_token(key["secret"].as_str())
    };
    key(json!({ "name": "k" })).await.get("/admin/queues").await.expect_error(403, "MISSING_SCOPE");
    key(json!({ "name": "k", "scopes": ["admin"] })).await.get("/admin/queues").await.expect(200);
    let project = ada.project("shop").await;
    let bound = key(json!({ "name": "k", "scopes": ["admin"], "projectId": project })).await;
    bound.get("/admin/queues").await.expect_error(403, "FORBIDDEN");
    app.stop().await;
}
