//! `Idempotency-Key`: the same request twice is one request with two answers.

use crate::on_both;
use http::Method;
use ogel_testkit::{Api, Repository, TestApp};
use serde_json::{Value, json};

async fn post_with_key(api: &Api, path: &str, key: &str, body: Value) -> ogel_testkit::Answer {
    api.send(api.request(Method::POST, path).header("idempotency-key", key).json(&body)).await
}

/// From now on the database refuses to keep an answer: for whoever makes something that is what dying between the thing and
/// the record of it is.
async fn answers_cannot_be_kept(app: &TestApp) {
    let sql = match app.app.store.kind() {
        "sqlite" => {
            "CREATE TRIGGER dies BEFORE UPDATE OF finished ON idempotency_keys WHEN NEW.finished \
             BEGIN SELECT RAISE(ABORT, 'killed here'); END"
        }
        _ => {
            "CREATE FUNCTION dies() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'killed here'; END $$; \
             CREATE TRIGGER dies BEFORE UPDATE ON idempotency_keys FOR EACH ROW WHEN (NEW.finished) EXECUTE FUNCTION dies()"
        }
    };
    app.at_database(sql).await;
}

async fn answers_are_kept_again(app: &TestApp) {
    let table = if app.app.store.kind() == "sqlite" { "" } else { " ON idempotency_keys" };
    app.at_database(&format!("DROP TRIGGER dies{table}")).await;
}

/// Posts, dies before the answer is kept, posts again, and then once more: how many there are of what `list` lists after
/// the first time, and by how many more after all.
async fn killed_in_between(app: &TestApp, api: &Api, path: &str, body: Value, list: &str) -> (usize, usize) {
    let count = async || {
        let listed = api.get(list).await.expect(200);
        let rows = listed.as_object().unwrap().values().find_map(Value::as_array).unwrap();
        rows.len()
    };
    let before = count().await;
    answers_cannot_be_kept(app).await;
    post_with_key(api, path, "k", body.clone()).await.expect_error(500, "INTERNAL_ERROR");
    let made = count().await - before;
    answers_are_kept_again(app).await;
    let second = post_with_key(api, path, "k", body.clone()).await;
    assert!(!second.headers.contains_key("idempotent-replayed"));
    let second = second.expect(201);
    let third = post_with_key(api, path, "k", body).await;
    assert_eq!(third.headers["idempotent-replayed"], "true");
    assert_eq!(third.expect(201), second);
    (made, count().await - before)
}

on_both! {
    async fn a_project_is_made_together_with_its_answer_or_not_at_all(app: TestApp) {
        let ada = app.sign_up("ada").await;
        assert_eq!(killed_in_between(&app, &ada, "/projects", json!({ "name": "shop" }), "/projects").await, (0, 1));
    }

    async fn an_organization_is_made_together_with_its_answer_or_not_at_all(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let body = json!({ "name": "shop" });
        assert_eq!(killed_in_between(&app, &ada, "/organizations", body, "/organizations").await, (0, 1));
    }

    async fn an_api_key_is_made_together_with_its_answer_or_not_at_all(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let body = json!({ "name": "ci" });
        assert_eq!(killed_in_between(&app, &ada, "/auth/api-keys", body, "/auth/api-keys").await, (0, 1));
    }

    async fn a_webhook_is_made_together_with_its_answer_or_not_at_all(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let body = json!({ "url": "https://example.com/hook" });
        assert_eq!(killed_in_between(&app, &ada, "/webhooks", body, "/webhooks").await, (0, 1));
    }

    async fn an_invitation_is_made_and_mailed_together_with_its_answer_or_not_at_all(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let organization = ada.get("/organizations").await.expect(200)["organizations"][0]["id"].clone();
        let path = format!("/organizations/{}/invitations", organization.as_str().unwrap());
        let body = json!({ "email": "eve@example.com", "role": "viewer" });
        assert_eq!(killed_in_between(&app, &ada, &path, body, &path).await, (0, 1));
        // Sent after the one that counts: had there been another, it would have come before.
        let other = json!({ "email": "Bob@example.com", "role": "viewer" });
        ada.post(&path, other).await.expect(201);
        app.mails_to("bob@example.com", 1).await;
        assert_eq!(app.mails_to("eve@example.com", 1).await.len(), 1);
    }

    /// Its row comes first, under the key's id: whoever comes again finds it.
    async fn a_deployment_is_found_again(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let project = ada.project("shop").await;
        let repository = Repository::of_a_page("x");
        let body = json!({ "projectId": project, "repoUrl": repository.url() });
        assert_eq!(killed_in_between(&app, &ada, "/deployments", body, "/deployments").await, (1, 1));
        assert_eq!(app.deployments_at_ghost(&project).await, 1);
    }

    /// A second rotation would end the secret that programs still use.
    async fn a_secret_is_rotated_together_with_the_answer_or_not_at_all(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let key = ada.post("/auth/api-keys", json!({ "name": "ci" })).await.expect(201);
        let hook = ada.post("/webhooks", json!({ "url": "https://example.com/hook" })).await.expect(201);
        let key_path = format!("/auth/api-keys/{}/rotate", key["apiKey"]["id"].as_str().unwrap());
        let hook_path = format!("/webhooks/{}/rotate-secret", hook["webhook"]["id"].as_str().unwrap());
        answers_cannot_be_kept(&app).await;
        for path in [&key_path, &hook_path] {
            post_with_key(&ada, path, "k", json!({})).await.expect_error(500, "INTERNAL_ERROR");
        }
        answers_are_kept_again(&app).await;
        for path in [&key_path, &hook_path] {
            let first = post_with_key(&ada, path, "k", json!({})).await.expect(200);
            assert_eq!(post_with_key(&ada, path, "k", json!({})).await.expect(200), first);
        }
        ada.with_token(key["secret"].as_str()).get("/auth/session").await.expect(200);
    }

    /// One that was too slow finds that another has done it: nothing of its own is kept.
    async fn whoever_lost_the_key_makes_nothing(app: TestApp) {
        let ada = app.sign_up("ada").await;
        // The next one takes the key over in the moment before the answer is kept.
        let sql = match app.app.store.kind() {
            "sqlite" => {
                "CREATE TRIGGER overtaken AFTER INSERT ON projects \
                 BEGIN UPDATE idempotency_keys SET fence = fence + 1; END"
            }
            _ => {
                "CREATE FUNCTION overtaken() RETURNS trigger LANGUAGE plpgsql AS $$ \
                 BEGIN UPDATE idempotency_keys SET fence = fence + 1; RETURN NEW; END $$; \
                 CREATE TRIGGER overtaken AFTER INSERT ON projects FOR EACH ROW EXECUTE FUNCTION overtaken()"
            }
        };
        app.at_database(sql).await;
        let answer = post_with_key(&ada, "/projects", "k", json!({ "name": "shop" })).await;
        assert_eq!(answer.headers["retry-after"], "1");
        answer.expect_error(409, "IDEMPOTENCY_KEY_IN_USE");
        assert_eq!(ada.get("/projects").await.expect(200)["projects"], json!([]));
    }

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
