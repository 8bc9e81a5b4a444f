//! `Idempotency-Key`: the same request twice is one request with two answers.

use crate::on_both;
use http::Method;
use ogel_testkit::{Api, Repository};
use serde_json::{Value, json};

async fn post_with_key(api: &Api, path: &str, key: &str, body: Value) -> ogel_testkit::Answer {
    api.send(api.request(Method::POST, path).header("idempotency-key", key).json(&body)).await
}

on_both! {
    async fn a_repeated_post_gets_the_first_answer(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let project = ada.project("shop").await;
        let repository = Repository::of_a_page("x");
        let body = json!({ "projectId": project, "repoUrl": repository.url() });
        let first = post_with_key(&ada, "/deployments", "k1", body.clone()).await;
        assert!(!first.headers.contains_key("idempotent-replayed"));
        let first = first.expect(201);
        let second = post_with_key(&ada, "/deployments", "k1", body.clone()).await;
        assert_eq!(second.headers["idempotent-replayed"], "true");
        assert_eq!(second.expect(201), first);
        ada.ended(&first["id"]).await;
        assert_eq!(app.deployments_at_ghost(&project).await, 1);
        let other = json!({ "projectId": project, "repoUrl": repository.url(), "branch": "other" });
        post_with_key(&ada, "/deployments", "k1", other).await.expect_error(422, "IDEMPOTENCY_KEY_REUSED");
    }

    async fn keys_of_different_people_and_paths_are_different_keys(app: TestApp) {
        let (ada, eve) = (app.sign_up("ada").await, app.sign_up("eve").await);
        let body = json!({ "name": "thing" });
        let first = post_with_key(&ada, "/projects", "k", body.clone()).await.expect(201);
        let theirs = post_with_key(&eve, "/projects", "k", body.clone()).await.expect(201);
        assert_ne!(first["id"], theirs["id"]);
        post_with_key(&ada, "/organizations", "k", body).await.expect(201);
    }

    async fn fifty_at_once_make_one(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let tasks: Vec<_> = (0..50)
            .map(|_| {
                let ada = ada.clone();
                tokio::spawn(async move { post_with_key(&ada, "/projects", "same", json!({ "name": "one" })).await })
            })
            .collect();
        let mut made = Vec::new();
        for task in tasks {
            let answer = task.await.unwrap();
            match answer.status.as_u16() {
                201 => made.push(answer.body["id"].to_string()),
                _ => drop(answer.expect_error(409, "IDEMPOTENCY_KEY_IN_USE")),
            }
        }
        made.dedup();
        assert_eq!(made.len(), 1);
        assert_eq!(ada.get("/projects").await.expect(200)["projects"].as_array().unwrap().len(), 1);
    }

    async fn a_refusal_gives_the_key_back(app: TestApp) {
        let ada = app.sign_up("ada").await;
        post_with_key(&ada, "/projects", "k", json!({ "name": "" })).await.expect_error(400, "INVALID_VALUE");
        post_with_key(&ada, "/projects", "k", json!({ "name": "fine" })).await.expect(201);
        post_with_key(&ada, "/projects", "two words", json!({ "name": "x" })).await.expect_error(400, "INVALID_VALUE");
    }

    async fn a_secret_that_is_replayed_is_not_stored_in_plain_text(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let first = post_with_key(&ada, "/auth/api-keys", "k", json!({ "name": "ci" })).await.expect(201);
        let again = post_with_key(&ada, "/auth/api-keys", "k", json!({ "name": "ci" })).await.expect(201);
        assert_eq!(first, again);
        let secret = first["secret"].as_str().unwrap().as_bytes();
        for name in ["ogel.db", "ogel.db-wal"] {
            let bytes = std::fs::read(app.folder.path().join(name)).unwrap_or_default();
            assert!(!bytes.windows(secret.len()).any(|window| window == secret), "{name}");
        }
    }
}
