//! What is remembered of callers and their rights, and how soon a change made elsewhere shows.

use crate::{on_both, sites};
use ogel_testkit::{Answer, Api, TestApp, eventually};
use serde_json::json;
use std::time::{Duration, Instant};

/// What is promised.
const SOON: Duration = Duration::from_secs(1);

/// Whose session it is, and its id.
async fn session_of(api: &Api) -> (ogel_api::id::SessionId, ogel_api::id::UserId) {
    let session = api.get("/auth/session").await.expect(200);
    let id = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    (id(&session["sessionId"]).parse().unwrap(), id(&session["user"]["id"]).parse().unwrap())
}

/// Lets somebody's sessions end in the database in a way that nobody is told of.
async fn expire_silently(app: &TestApp, name: &str) {
    let of = format!("user_id = (SELECT id FROM users WHERE email = '{name}@example.com')");
    app.at_database(&format!("UPDATE sessions SET expires_at = '2001-01-01T00:00:00+00:00' WHERE {of}")).await;
}

/// Asks until the answer has that status, and says how long that took.
async fn until(api: &Api, path: &str, status: u16) -> Duration {
    let begun = Instant::now();
    eventually("the change to show", async || {
        let answer: Answer = api.get(path).await;
        (answer.status == status).then_some(())
    })
    .await;
    begun.elapsed()
}

/// Waits until everything that has happened was heard of, then lets the caller be remembered.
async fn warm(app: &TestApp, api: &Api) {
    let now = tokio::time::Instant::now().into_std();
    eventually("the database's changes to be read", async || {
        app.app.identities.is_current(now, Duration::ZERO).then_some(())
    })
    .await;
    api.get("/users/me").await.expect(200);
}

on_both! {
    async fn what_another_process_revokes_ends_within_a_second_and_others_stay_in_memory(app: TestApp) {
        let (ada, eve) = (app.sign_up("ada").await, app.sign_up("eve").await);
        let (session, user) = session_of(&ada).await;
        warm(&app, &ada).await;
        warm(&app, &eve).await;
        expire_silently(&app, "eve").await;
        let act = ogel_store::Act::by_the_system(app.app.world.uuid(), app.app.world.now());
        app.app.store.delete_session(&act, session, user).await.unwrap();
        let took = until(&ada, "/users/me", 401).await;
        assert!(took < SOON, "{took:?}");
        // Writing down that credentials were used makes nobody be looked up again.
        app.app.world.clock.advance(chrono::TimeDelta::minutes(2));
        for _ in 0..3 {
            eve.get("/users/me").await.expect(200);
            app.app.uses.flush(&app.app).await.unwrap();
            let now = tokio::time::Instant::now().into_std();
            let heard = async || app.app.identities.is_current(now, Duration::ZERO).then_some(());
            eventually("the database's changes to be read", heard).await;
        }
        app.app.callers.forget_all();
        eve.get("/users/me").await.expect_error(401, "CREDENTIAL_EXPIRED");
    }

    async fn a_key_narrowed_elsewhere_is_narrow_within_a_second(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let created = ada.post("/auth/api-keys", json!({ "name": "ci" })).await.expect(201);
        let key = app.anonymous().with_token(created["secret"].as_str());
        warm(&app, &key).await;
        app.at_database("UPDATE api_keys SET scopes = 'sites.read'").await;
        let took = until(&key, "/users/me", 403).await;
        assert!(took < SOON, "{took:?}");
    }

    async fn a_project_removed_elsewhere_is_gone_within_a_second(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let project = ada.project("shop").await;
        sites::make(&ada, &project, "Web", json!({})).await;
        let list = format!("/sites?projectId={project}");
        ada.get(&list).await.expect(200);
        let (_, user) = session_of(&ada).await;
        let viewer = ogel_store::Viewer { user, organization: None, project: None };
        let act = ogel_store::Act::by_the_system(app.app.world.uuid(), app.app.world.now());
        let any = ogel_store::Expected::any();
        app.app.store.delete_project(&act, &viewer, project.parse().unwrap(), &any).await.unwrap().unwrap();
        let took = until(&ada, &list, 404).await;
        assert!(took < SOON, "{took:?}");
    }

    async fn who_left_an_organization_sees_nothing_of_it_within_a_second(app: TestApp) {
        let (ada, eve) = (app.sign_up("ada").await, app.sign_up("eve").await);
        let project = ada.project("shop").await;
        sites::make(&ada, &project, "Web", json!({})).await;
        app.add_member(&ada, &eve, ogel_api::organizations::Role::Viewer).await;
        let list = format!("/sites?projectId={project}");
        eve.get(&list).await.expect(200);
        app.at_database("DELETE FROM organization_members WHERE role = 'viewer'").await;
        let took = until(&eve, &list, 404).await;
        assert!(took < SOON, "{took:?}");
        ada.get(&list).await.expect(200);
    }
}

/// `auth.trust_without_database_seconds` is the bound.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_is_trusted_a_bounded_time_once_changes_cannot_be_read() {
    let database = ogel_testkit::Database::Sqlite;
    let app = TestApp::start_with(database, |config| config.auth.trust_without_database_seconds = 1).await;
    let ada = app.sign_up("ada").await;
    warm(&app, &ada).await;
    expire_silently(&app, "ada").await;
    ada.get("/users/me").await.expect(200);
    app.at_database("DROP VIEW identity_horizon").await;
    let took = until(&ada, "/users/me", 401).await;
    assert!(took > Duration::from_millis(700) && took < Duration::from_secs(2), "{took:?}");
    app.stop().await;
}
