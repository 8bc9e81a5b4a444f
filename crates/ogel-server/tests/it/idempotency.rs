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
        let mut answers = std::collections::HashSet::new();
        for task in tasks {
            answers.insert(task.await.unwrap().expect(201).to_string());
        }
        assert_eq!(answers.len(), 1, "those who came while it ran waited for the answer");
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

    async fn fifty_at_once_at_three_replicas_make_one_deployment_and_get_equal_answers(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let project = ada.project("shop").await;
        let (second, third) = (app.replica().await, app.replica().await);
        let places = [ada.clone(), second.api(&ada), third.api(&ada)];
        let repository = Repository::of_a_page("x");
        let body = json!({ "projectId": project, "repoUrl": repository.url() });
        let tasks: Vec<_> = (0..50)
            .map(|turn| {
                let (place, body) = (places[turn % 3].clone(), body.clone());
                tokio::spawn(async move { post_with_key(&place, "/deployments", "same", body).await })
            })
            .collect();
        let mut answers = std::collections::HashSet::new();
        let mut replayed = 0;
        for task in tasks {
            let answer = task.await.unwrap();
            replayed += usize::from(answer.headers.contains_key("idempotent-replayed"));
            answers.insert(answer.expect(201).to_string());
        }
        assert_eq!((answers.len(), replayed), (1, 49));
        assert_eq!(ada.get("/deployments").await.expect(200)["deployments"].as_array().unwrap().len(), 1);
        assert_eq!(app.deployments_at_ghost(&project).await, 1);
        second.stop().await;
        third.stop().await;
    }

    async fn whoever_waits_in_vain_is_told_so_within_their_time(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let project = ada.project("shop").await;
        app.ghost.faults().drop_next_connections(1_000_000, None, "/v1");
        let repository = Repository::of_a_page("x");
        let body = json!({ "projectId": project, "repoUrl": repository.url() });
        let first = {
            let (ada, body) = (ada.clone(), body.clone());
            tokio::spawn(async move { post_with_key(&ada, "/deployments", "k", body).await })
        };
        // Until it has the key.
        let hasty = ogel_testkit::eventually("the first request has the key", async || {
            let request = ada.request(Method::POST, "/deployments").header("idempotency-key", "k");
            let answer = ada.send(request.header("x-request-timeout", "800ms").json(&body)).await;
            (answer.status == 409).then_some(answer)
        })
        .await;
        assert_eq!(hasty.headers["retry-after"], "1");
        hasty.expect_error(409, "IDEMPOTENCY_KEY_IN_USE");
        app.ghost.faults().clear();
        let first = first.await.unwrap();
        assert!(matches!(first.status.as_u16(), 201 | 202), "{first:?}");
        assert_eq!(post_with_key(&ada, "/deployments", "k", body).await.body, first.body);
    }
}
