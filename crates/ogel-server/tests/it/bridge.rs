//! How callers become accounts of Ghost's: once, whoever asks first, and with one token however many wait for it.

use crate::{
    on_both,
    sites::{make, text},
};
use http::Method;
use ogel_server::state::App;
use ogel_testkit::{Api, TestApp, eventually};
use serde_json::json;

/// Tokens that Ghost was asked for, by a page of `/metrics`.
fn minted(page: &str) -> u64 {
    let line = page.lines().find_map(|line| line.strip_prefix("ogel_ghost_tokens_minted_total "));
    line.unwrap().parse().unwrap()
}

async fn minted_by(app: &TestApp) -> u64 {
    minted(&app.operations("/metrics").await.1)
}

/// Waits until every change up to now was heard of: from then on nothing is forgotten because of one.
async fn heard(app: &App) {
    let now = std::time::Instant::now();
    let heard = || async { app.identities.is_current(now, std::time::Duration::ZERO).then_some(()) };
    eventually("the changes were heard of", heard).await;
}

async fn sign_up(app: &TestApp, name: &str) -> Api {
    let api = app.sign_up(name).await;
    heard(&app.app).await;
    api
}

/// Asks Ghost directly, with the platform's key.
async fn account_at_ghost(app: &TestApp, id: &str, email: &str) {
    let body = json!({ "userId": id, "email": email, "name": "x" });
    let config = app.app.config();
    let request = ogel_testkit::http_client().post(format!("{}/v1/users", app.ghost.api_url()));
    let request =
        request.header("x-appwrite-project", "console").header("x-appwrite-key", config.ghost.api_key.expose());
    assert_eq!(request.json(&body).send().await.unwrap().status(), 201);
}

on_both! {
    async fn a_hundred_first_requests_at_two_replicas_make_one_account(app: TestApp) {
        let replica = app.replica().await;
        let here = sign_up(&app, "ada").await;
        heard(&replica.app).await;
        let there = replica.api(&here);
        let project = here.project("shop").await;
        let calls: Vec<_> = (0..100).map(|n| {
            let api = if n % 2 == 0 { here.clone() } else { there.clone() };
            let body = json!({ "projectId": project, "name": format!("site {n}") });
            tokio::spawn(async move { api.post("/sites", body).await })
        }).collect();
        for call in calls {
            call.await.unwrap().expect(201);
        }
        let me = text(&here.get("/users/me").await.expect(200)["id"]).parse::<ogel_api::id::UserId>().unwrap();
        assert_eq!(app.accounts_at_ghost().await, [(me.0.to_string(), "ada@example.com".to_owned())]);
        // Each process needs a token; nobody who waits makes another.
        assert_eq!((minted_by(&app).await, minted(&replica.operations("/metrics").await)), (1, 1));
        replica.stop().await;
    }

    async fn an_account_that_ghost_has_already_is_adopted(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let me = text(&ada.get("/users/me").await.expect(200)["id"]).parse::<ogel_api::id::UserId>().unwrap();
        // Made by a process that died before it could write that down.
        account_at_ghost(&app, &me.0.to_string(), "ada@example.com").await;
        make(&ada, &ada.project("shop").await, "Web", json!({})).await;
        assert_eq!(app.accounts_at_ghost().await.len(), 1);
    }

    async fn somebody_elses_account_with_the_same_address_is_left_alone(app: TestApp) {
        account_at_ghost(&app, "who-was-here-before", "ada@example.com").await;
        let ada = app.sign_up("ada").await;
        let me = text(&ada.get("/users/me").await.expect(200)["id"]).parse::<ogel_api::id::UserId>().unwrap();
        make(&ada, &ada.project("shop").await, "Web", json!({})).await;
        let mut ids: Vec<_> = app.accounts_at_ghost().await.into_iter().map(|(id, _)| id).collect();
        ids.sort();
        let mut expected = vec![me.0.to_string(), "who-was-here-before".to_owned()];
        expected.sort();
        assert_eq!(ids, expected);
    }

    async fn a_token_is_kept_until_a_minute_before_it_ends(app: TestApp) {
        let ada = sign_up(&app, "ada").await;
        let site = make(&ada, &ada.project("shop").await, "Web", json!({})).await;
        let path = format!("/sites/{}", text(&site["id"]));
        let clock = &app.app.world.clock;
        // Ghost gives fifteen minutes. Its own clock stands where the test began.
        clock.advance(chrono::TimeDelta::seconds(14 * 60 - 30));
        ada.get(&path).await.expect(200);
        assert_eq!(minted_by(&app).await, 1);
        clock.advance(chrono::TimeDelta::seconds(60));
        ada.get(&path).await.expect(200);
        assert_eq!(minted_by(&app).await, 2);
        // Ghost's own clock has not moved: by ours, the new token had ended. Turned back, both agree again.
        clock.advance(-chrono::TimeDelta::seconds(14 * 60 + 30));
        for _ in 0..10 {
            ada.get(&path).await.expect(200);
        }
        assert_eq!(minted_by(&app).await, 2);
    }

    async fn many_whose_token_ghost_refuses_share_the_next_one(app: TestApp) {
        let ada = sign_up(&app, "ada").await;
        let project = ada.project("shop").await;
        let site = make(&ada, &project, "Web", json!({})).await;
        let uuid = project.parse::<ogel_api::id::ProjectId>().unwrap().0;
        let path = format!("/sites/{}", text(&site["id"]));
        ada.get(&path).await.expect(200);
        assert_eq!(minted_by(&app).await, 1);
        // Late enough that all of them are on their way with the old token.
        app.ghost.faults().set_latency(std::time::Duration::from_secs(1));
        app.ghost.faults().fail_next(20, Some(Method::GET), &format!("/v1/projects/{uuid}/sites"), 401);
        let calls: Vec<_> = (0..20).map(|_| {
            let (ada, path) = (ada.clone(), path.clone());
            tokio::spawn(async move { ada.get(&path).await.expect(200) })
        }).collect();
        for call in calls {
            call.await.unwrap();
        }
        assert_eq!(minted_by(&app).await, 2, "one for all of them");
    }

    async fn the_end_of_a_session_or_role_ends_the_token_everywhere(app: TestApp) {
        let replica = app.replica().await;
        let (ada, eve) = (app.sign_up("ada").await, app.sign_up("eve").await);
        let site = make(&ada, &ada.project("shop").await, "Web", json!({})).await;
        let path = format!("/sites/{}", text(&site["id"]));
        app.add_member(&ada, &eve, ogel_api::organizations::Role::Viewer).await;
        heard(&replica.app).await;
        let there = replica.api(&eve);
        let seen = || async { there.get(&path).await.expect(200); minted(&replica.operations("/metrics").await) };
        let before = seen().await;
        eve.post("/auth/logout", json!({})).await.expect(204);
        let body = json!({ "email": "eve@example.com", "password": "correct horse" });
        let again = app.anonymous().post("/auth/login", body).await.expect(200);
        let there = replica.api(&app.anonymous().with_token(again["session"]["token"].as_str()));
        eventually("the other process made a new token", || async {
            there.get(&path).await.expect(200);
            (minted(&replica.operations("/metrics").await) > before).then_some(())
        }).await;
        replica.stop().await;
    }
}
