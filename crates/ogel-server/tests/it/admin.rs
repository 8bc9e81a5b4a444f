//! What operators see, and who is one.

use ogel_testkit::{Database, TestApp};
use serde_json::json;

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
