//! A person takes along what is kept about them, and leaves: what goes with them, what stays, and what may not come back.

use crate::{on_both, studio_sessions::claims};
use chrono::TimeDelta;
use http::Method;
use ogel_api::{organizations::Role, users::AccountExport};
use ogel_server::config::{Config, Secret};
use ogel_testkit::{Answer, Api, Database, Repository, TestApp, eventually};
use serde_json::{Value, json};
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

const SECRET: &str = "a-secret-of-studio-for-leaving";

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

async fn id_of(api: &Api) -> ogel_api::id::UserId {
    text(&api.get("/users/me").await.expect(200)["id"]).parse().unwrap()
}

async fn leave(api: &Api, body: Value) -> Answer {
    api.send(api.request(Method::DELETE, "/users/me").json(&body)).await
}

on_both! {
    async fn everything_kept_about_a_person_is_in_one_document_and_no_secret(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let ben = app.sign_up("ben").await;
        app.add_member(&ada, &ben, Role::Developer).await;
        let key = ada.post("/auth/api-keys", json!({ "name": "ci" })).await.expect(201);
        let project = ada.project("shop").await;
        let repository = Repository::of_a_page("x");
        let deployment = ada.deploy(&project, &repository.url(), json!({ "env": { "TOKEN": "canary-of-the-build" } })).await;
        ada.ended(&deployment["id"]).await;
        let hook = ada.post("/webhooks", json!({ "url": "http://127.0.0.1:9/", "projectId": project })).await.expect(201);
        let organization = text(&ada.get("/organizations").await.expect(200)["organizations"][0]["id"]);
        let body = json!({ "email": "guest@example.com", "role": "viewer" });
        ada.post(&format!("/organizations/{organization}/invitations"), body).await.expect(201);
        // Somebody else's things are not hers.
        ben.post("/auth/api-keys", json!({ "name": "bens" })).await.expect(201);

        let answer = ada.get("/users/me/export").await;
        let disposition = answer.headers["content-disposition"].to_str().unwrap().to_owned();
        assert!(disposition.starts_with("attachment; filename=\"ogel-account-"), "{disposition}");
        assert_eq!(answer.headers["content-type"], "application/json");
        let document = answer.expect(200);
        // What is written by hand is what the types promise.
        let export: AccountExport = serde_json::from_value(document.clone()).unwrap();
        let again = serde_json::to_value(&export).unwrap();
        assert_eq!(again, document);
        assert_eq!((export.user.id, export.user.email.as_str()), (id_of(&ada).await, "ada@example.com"));
        assert!(export.has_password && export.backend_account.is_some());
        assert_eq!(export.memberships.len(), 1);
        assert_eq!(export.memberships[0].role, Role::Owner);
        assert_eq!((export.sessions.len(), export.sessions[0].current), (1, true));
        assert_eq!((export.api_keys.len(), export.api_keys[0].name.as_str()), (1, "ci"));
        assert_eq!(export.invitations_sent[0].email, "guest@example.com");
        assert_eq!(export.deployments[0].id.to_string(), text(&deployment["id"]));
        assert!(!export.operations.is_empty());
        assert_eq!(export.webhooks[0].id.to_string(), text(&hook["webhook"]["id"]));
        assert!(export.audit_entries.iter().any(|entry| entry.target == project), "{document}");
        let written = document.to_string();
        for secret in [&key["secret"], &hook["secret"], &json!("canary-of-the-build"), &json!("bens"), &json!(ada.token)] {
            assert!(!written.contains(secret.as_str().unwrap()), "{secret} stands in {written}");
        }
        // Long lists come page by page.
        for n in 0..3 {
            app.at_database(&format!("INSERT INTO api_keys (id, user_id, name, prefix, secret_hash, scopes, created_at) \
                SELECT {id}, user_id, 'k{n}', prefix, {hash}, scopes, created_at FROM api_keys WHERE name = 'ci'",
                id = literal(&app, &[n + 1; 16]), hash = bytes(&app, &[n + 1; 32]))).await;
        }
        let document = ada.get("/users/me/export").await.expect(200);
        assert_eq!(document["apiKeys"].as_array().unwrap().len(), 4);

        let error = ada.with_token(key["secret"].as_str()).get("/users/me/export").await.expect_error(403, "FORBIDDEN");
        assert!(error["message"].as_str().unwrap().contains("API key"), "{error}");
    }

    async fn who_leaves_is_gone_and_who_stays_keeps_what_is_shared(app: TestApp) {
        let replica = app.replica().await;
        let (ada, ben) = (app.sign_up("ada").await, app.sign_up("ben").await);
        app.add_member(&ben, &ada, Role::Admin).await;
        let bens = text(&ben.get("/organizations").await.expect(200)["organizations"][0]["id"]);
        let shared = text(&ada.post("/projects", json!({ "name": "shared", "organizationId": bens })).await.expect(201)["id"]);
        let repository = Repository::of_a_page("hello");
        let deployment = ada.deploy(&shared, &repository.url(), json!({})).await;
        let deployment = ada.ended(&deployment["id"]).await;
        let hers = ada.get("/organizations").await.expect(200);
        let hers = hers["organizations"].as_array().unwrap().iter().find(|one| one["id"] != json!(bens)).unwrap();
        let own = text(&ada.post("/projects", json!({ "name": "own", "organizationId": hers["id"] })).await.expect(201)["id"]);
        let made = ada.deploy(&own, &repository.url(), json!({})).await;
        ada.ended(&made["id"]).await;
        assert_eq!(app.deployments_at_ghost(&own).await, 1);
        let key = ada.post("/auth/api-keys", json!({ "name": "ci" })).await.expect(201);
        let key = ada.with_token(key["secret"].as_str());
        let other = app.log_in("ada").await;
        let (there, key_there) = (replica.api(&other), replica.api(&key));
        there.get("/users/me").await.expect(200);
        key_there.get("/users/me").await.expect(200);
        let id = id_of(&ada).await;
        let has_account = || async { app.accounts_at_ghost().await.iter().any(|(account, _)| *account == id.0.to_string()) };
        assert!(has_account().await);

        leave(&ada, json!({ "password": "correct horse" })).await.expect(204);
        let begun = Instant::now();
        for caller in [&ada, &other, &key] {
            caller.get("/users/me").await.expect_error(401, "INVALID_CREDENTIAL");
        }
        for caller in [&there, &key_there] {
            eventually("it ends at the other replica", || async { (caller.get("/users/me").await.status == 401).then_some(()) }).await;
        }
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());

        // What was hers alone is purged, at Ghost too, and so is her account there.
        eventually("her project is gone from Ghost", || async { (app.deployments_at_ghost(&own).await == 0).then_some(()) }).await;
        eventually("her account is gone from Ghost", || async { (!has_account().await).then_some(()) }).await;
        eventually("her organization is gone", || async {
            let left = app.columns().await["organizations.slug"].clone();
            (left.len() == 1).then_some(())
        }).await;

        // What is shared stays without her.
        let stayed = ben.get(&format!("/deployments/{}", text(&deployment["id"]))).await.expect(200);
        assert_eq!((&stayed["status"], &stayed["createdBy"]), (&json!("success"), &Value::Null));
        let log = ben.get(&format!("/organizations/{bens}/audit-log?actor={id}")).await.expect(200);
        let entries = log["entries"].as_array().unwrap();
        assert!(entries.iter().any(|entry| entry["action"] == "project.created"), "{log}");
        assert!(entries.iter().any(|entry| entry["action"] == "member.removed"), "{log}");
        for entry in entries {
            assert_eq!((&entry["actor"]["type"], &entry["actor"]["name"], &entry["ip"]), (&json!("user"), &Value::Null, &Value::Null));
        }
        let left = app.columns().await;
        let left: Vec<_> = left.iter().filter(|(_, values)| values.iter().any(|value| value.contains("ada@example.com"))).collect();
        assert!(left.is_empty(), "her address is still kept: {left:?}");

        // The address is free, and who takes it is somebody else.
        let anew = app.sign_up("ada").await;
        assert_ne!(id_of(&anew).await, id);
        let own = anew.project("shop").await;
        let again = anew.deploy(&own, &repository.url(), json!({})).await;
        assert_eq!(anew.ended(&again["id"]).await["status"], "success");
        replica.stop().await;
    }

    async fn an_account_is_not_deleted_by_whoever_finds_a_login(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let key = ada.post("/auth/api-keys", json!({ "name": "ci" })).await.expect(201);
        leave(&ada.with_token(key["secret"].as_str()), json!({ "password": "correct horse" })).await.expect_error(403, "FORBIDDEN");
        let error = leave(&ada, json!({ "password": "wrong horse" })).await.expect_error(400, "INVALID_VALUE");
        assert_eq!(error["details"][0]["location"], "body.password");
        app.app.world.clock.advance(TimeDelta::minutes(11));
        ada.delete("/users/me").await.expect_error(403, "REAUTHENTICATION_REQUIRED");
        ada.get("/users/me").await.expect(200);
        // A login from a moment ago is proof enough.
        app.log_in("ada").await.delete("/users/me").await.expect(204);
        ada.get("/users/me").await.expect_error(401, "INVALID_CREDENTIAL");
    }

    async fn the_only_owner_of_what_others_belong_to_stays(app: TestApp) {
        let (ada, ben) = (app.sign_up("ada").await, app.sign_up("ben").await);
        app.add_member(&ada, &ben, Role::Admin).await;
        let hers = ada.get("/organizations").await.expect(200)["organizations"][0].clone();
        let error = ada.delete("/users/me").await.expect_error(409, "LAST_OWNER");
        assert_eq!(error["details"][0]["location"], json!(format!("organizations/{}", text(&hers["id"]))));
        ada.get("/users/me").await.expect(200);
        let path = format!("/organizations/{}/members/{}", text(&hers["id"]), id_of(&ben).await);
        ada.patch(&path, json!({ "role": "owner" })).await.expect(200);
        ada.delete("/users/me").await.expect(204);
        let members = ben.get(&format!("/organizations/{}/members", text(&hers["id"]))).await.expect(200);
        assert_eq!(members["members"].as_array().unwrap().len(), 1);
    }

    async fn an_account_leaves_although_ghost_is_away(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let project = ada.project("shop").await;
        crate::sites::make(&ada, &project, "Web", json!({})).await;
        let id = id_of(&ada).await;
        let has_account = || async { app.accounts_at_ghost().await.iter().any(|(account, _)| *account == id.0.to_string()) };
        assert!(has_account().await);
        app.network.set_down(true);
        ada.delete("/users/me").await.expect(204);
        let queued = || async {
            let queues = app.operations("/metrics").await.1;
            queues.lines().any(|line| line.starts_with("ogel_work_jobs{queue=\"accounts\"") && !line.ends_with(" 0")).then_some(())
        };
        eventually("what is left to do is kept", queued).await;
        assert!(has_account().await);
        // The address is free at once: the account that still has it at Ghost is not theirs.
        let anew = app.sign_up("ada").await;
        app.network.set_down(false);
        let project = anew.project("shop").await;
        // The longer Ghost was away, the longer it is given before it is asked again.
        eventually("Ghost is asked again", || async {
            let answer = anew.post("/sites", json!({ "projectId": project, "name": "Web" })).await;
            (answer.status != 503).then(|| answer.expect(201))
        }).await;
        eventually("her account is gone from Ghost", || async { (!has_account().await).then_some(()) }).await;
        anew.get(&format!("/sites?projectId={project}")).await.expect(200);
    }
}

/// A value of a column that holds an id.
fn literal(app: &TestApp, bytes: &[u8; 16]) -> String {
    let hex = bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    if app.app.store.kind() == "sqlite" { format!("x'{hex}'") } else { format!("'{hex}'") }
}

/// A value of a column that holds a hash.
fn bytes(app: &TestApp, bytes: &[u8]) -> String {
    let hex = bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    if app.app.store.kind() == "sqlite" { format!("x'{hex}'") } else { format!("'\\x{hex}'") }
}

fn with_studio(config: &mut Config) {
    config.studio_sessions.strategy = "jwt".to_owned();
    config.studio_sessions.secrets = vec![Secret::new(SECRET)];
    config.studio_sessions.unknown_users = "create".to_owned();
}

/// What Studio gives somebody who logged in at `login`, in seconds, and whose token it made or renewed now.
fn token(app: &TestApp, subject: &str, login: i64) -> Api {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let more = json!({
        "email": "ada@example.com", "emailVerified": true, "name": "Ada", "auth_time": login,
        "jti": NEXT.fetch_add(1, Ordering::Relaxed).to_string(),
    });
    let header = json!({ "alg": "dir", "enc": "A256GCM" });
    app.anonymous().with_token(Some(&crate::studio_sessions::sealed(&header, SECRET, &claims(app, subject, &more))))
}

fn now(app: &TestApp) -> i64 {
    app.app.world.now().timestamp()
}

async fn an_old_session_of_studio_brings_nobody_back(database: Database) {
    let app = TestApp::start_with(database, |config| {
        with_studio(config);
        config.studio_sessions.login_time_claim = "auth_time".to_owned();
    })
    .await;
    let login = now(&app);
    // Two sessions of one person, and one under another id that was never shown here.
    let (here, elsewhere) = (token(&app, "ada-at-studio", login), token(&app, "ada-at-studio", login));
    app.app.world.clock.advance(TimeDelta::seconds(1));
    let never_seen = token(&app, "ada-by-another-way", login);
    let id = id_of(&here).await;
    here.delete("/users/me").await.expect(204);
    app.app.world.clock.advance(TimeDelta::seconds(2));
    // Made now, of a login from before.
    let renewed = token(&app, "ada-at-studio", login);
    for old in [&here, &elsewhere, &never_seen, &renewed] {
        old.get("/users/me").await.expect_error(401, "INVALID_CREDENTIAL");
    }
    assert_eq!(app.columns().await["users.email"], Vec::<String>::new());
    // Logging in anew at Studio is a decision, and makes somebody new.
    let anew = token(&app, "ada-at-studio", now(&app));
    assert_ne!(id_of(&anew).await, id);
    for old in [&here, &elsewhere, &never_seen, &renewed] {
        old.get("/users/me").await.expect_error(401, "INVALID_CREDENTIAL");
    }
    // One that began long ago is no proof that it is still the person, however new its token.
    app.app.world.clock.advance(TimeDelta::minutes(11));
    anew.delete("/users/me").await.expect_error(403, "REAUTHENTICATION_REQUIRED");
    let renewed = token(&app, "ada-at-studio", now(&app) - 11 * 60);
    renewed.delete("/users/me").await.expect_error(403, "REAUTHENTICATION_REQUIRED");
    app.stop().await;
}

async fn a_renewed_token_without_the_time_of_its_login_brings_nobody_back(database: Database) {
    let app = TestApp::start_with(database, |config| {
        with_studio(config);
        config.studio_sessions.longest_days = 30;
    })
    .await;
    let here = token(&app, "ada-at-studio", 0);
    let id = id_of(&here).await;
    here.delete("/users/me").await.expect(204);
    app.app.world.clock.advance(TimeDelta::seconds(2));
    let renewed = token(&app, "ada-at-studio", 0);
    let by_another_way = token(&app, "ada-by-another-way", 0);
    for made_later in [&renewed, &by_another_way] {
        let error = made_later.get("/users/me").await.expect_error(403, "ACCOUNT_NOT_LINKED");
        assert!(error["message"].as_str().unwrap().contains("sign up"), "{error}");
    }
    assert_eq!(app.columns().await["users.email"], Vec::<String>::new());
    // Signing up is a decision; from then on the session stands for the new account.
    let anew = id_of(&app.sign_up("ada").await).await;
    assert_eq!((id_of(&renewed).await, anew != id), (anew, true));
    here.get("/users/me").await.expect_error(401, "INVALID_CREDENTIAL");
    // Once no session from before can be left, Studio is believed again.
    renewed.delete("/users/me").await.expect(204);
    app.app.world.clock.advance(TimeDelta::days(30));
    assert_ne!(id_of(&token(&app, "ada-at-studio", 0)).await, anew);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_session_of_studio_brings_nobody_back_on_sqlite() {
    an_old_session_of_studio_brings_nobody_back(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_session_of_studio_brings_nobody_back_on_postgres() {
    an_old_session_of_studio_brings_nobody_back(Database::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewed_token_without_the_time_of_its_login_brings_nobody_back_on_sqlite() {
    a_renewed_token_without_the_time_of_its_login_brings_nobody_back(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewed_token_without_the_time_of_its_login_brings_nobody_back_on_postgres() {
    a_renewed_token_without_the_time_of_its_login_brings_nobody_back(Database::Postgres).await;
}
