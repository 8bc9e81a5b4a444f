//! Keys that seal what is stored, changed while serving: nothing fails, and nothing is left under the old one.

use crate::on_both;
use http::Method;
use ogel_server::{
    config::{Config, Secret},
    keys,
    secrets::Sealer,
    world::Entropy,
};
use ogel_testkit::{Api, Database, Repository, TestApp, eventually};
use serde_json::{Value, json};
use std::{
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// The real binary on the service's database. Answers with what it printed, and whether it was content.
fn ogeld(app: &TestApp, arguments: &[&str], environment: &[(&str, &str)]) -> (String, bool) {
    let output = Command::new(env!("CARGO_BIN_EXE_ogeld"))
        .args(arguments)
        .env("DATABASE_URL", app.app.config().database.url.expose())
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    (text, output.status.success())
}

const WORKERS: usize = 4;

/// Requests that seal and open all the time. What fails is kept.
struct Load {
    stop: Arc<AtomicBool>,
    /// By worker.
    done: Arc<[AtomicU64; WORKERS]>,
    failed: Arc<Mutex<Vec<String>>>,
    workers: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    fn start(api: &Api, kept: &Value) -> Self {
        let (stop, done) = (Arc::<AtomicBool>::default(), Arc::<[AtomicU64; WORKERS]>::default());
        let failed = Arc::<Mutex<Vec<String>>>::default();
        let worker = |place: usize| {
            let (api, kept) = (api.clone(), kept.clone());
            let (stop, done, failed) = (stop.clone(), done.clone(), failed.clone());
            tokio::spawn(async move {
                let mut n = 0_u64;
                while !stop.load(Ordering::SeqCst) {
                    n += 1;
                    // An old answer again, which has to be opened, or a new one, which has to be sealed.
                    let key = if n.is_multiple_of(2) { "kept".to_owned() } else { format!("{place}-{n}") };
                    let request = api.request(Method::POST, "/auth/api-keys").header("idempotency-key", &key);
                    let answer = api.send(request.json(&json!({ "name": "k" }))).await;
                    let right = answer.status == 201 && (key != "kept" || answer.body == kept);
                    if !right {
                        failed
                            .lock()
                            .unwrap()
                            .push(format!("request {n} with key {key}: {} {}", answer.status, answer.body));
                    }
                    done[place].fetch_add(1, Ordering::SeqCst);
                }
            })
        };
        let workers = (0..WORKERS).map(worker).collect();
        Self { stop, done, failed, workers }
    }

    /// Goes on until every worker has so many more answers: then none is left of what was begun before.
    async fn more(&self, count: u64) {
        let now = || self.done.each_ref().map(|done| done.load(Ordering::SeqCst));
        let before = now();
        eventually("more requests are answered", || async {
            std::iter::zip(now(), before).all(|(now, before)| now >= before + count).then_some(())
        })
        .await;
    }

    /// Those that failed.
    async fn end(self) -> Vec<String> {
        self.stop.store(true, Ordering::SeqCst);
        for worker in self.workers {
            worker.await.unwrap();
        }
        std::mem::take(&mut *self.failed.lock().unwrap())
    }
}

fn set_keys(app: &TestApp, first: &str, older: &[&str]) {
    let mut config = Config::clone(&app.app.config());
    config.secrets.encryption_key = Secret::new(first);
    config.secrets.older_encryption_keys = older.iter().copied().map(Secret::new).collect();
    assert_eq!(app.app.reconfigure(config), Vec::<&str>::new());
}

async fn rotate_under_load(database: Database) {
    let app = TestApp::start(database).await;
    let ada = app.sign_up("ada").await;
    let project = ada.project("shop").await;
    let repository = Repository::of_a_page("x");
    let with_env = json!({ "env": { "API_TOKEN": "t0ken" } });
    let deployment = ada.ended(&ada.deploy(&project, &repository.url(), with_env).await["id"]).await;
    let request = ada.request(Method::POST, "/auth/api-keys").header("idempotency-key", "kept");
    let kept = ada.send(request.json(&json!({ "name": "k" }))).await.expect(201);

    let old = app.app.config().secrets.encryption_key.expose().to_owned();
    let old_id = Sealer::new([&*old], Entropy::System).unwrap().prefix();
    let new = Sealer::new_key(&Entropy::System);
    let both = [("OGEL_ENCRYPTION_KEY", &*new), ("OGEL_OLDER_ENCRYPTION_KEYS", &*old)];
    let load = Load::start(&ada, &kept);
    load.more(5).await;
    // Every server gets to know the new key before any seals with it.
    set_keys(&app, &old, &[&new]);
    load.more(5).await;
    set_keys(&app, &new, &[&old]);
    load.more(2).await;

    // Without the old key there is nothing it can do, says so, and does no harm.
    let (page, content) = ogeld(&app, &["keys", "rotate"], &both[..1]);
    assert!(!content && page.contains("ogel_projects.ogel_api_key: 0 sealed anew, 1 unreadable"), "{page}");
    let (page, _) = ogeld(&app, &["keys", "list"], &both[..1]);
    assert!(page.contains(&format!("{}  MISSING", &old_id[3..11])), "{page}");

    let (page, content) = ogeld(&app, &["keys", "rotate"], &both);
    assert!(content && page.contains("ogel_projects.ogel_api_key: 1 sealed anew, 0 unreadable, 0 remaining"), "{page}");
    assert!(page.contains("deployments.env: 1 sealed anew"), "{page}");
    for key in [&old, &new] {
        assert!(!page.contains(key.as_str()), "{page}");
    }
    let (page, content) = ogeld(&app, &["keys", "list"], &both);
    assert!(content && page.contains(&format!("{}  opens    nothing", &old_id[3..11])), "{page}");
    assert!(page.contains("  seals    1 in ogel_projects.ogel_api_key, 1 in deployments.env, "), "{page}");
    // Once more finds nothing to do.
    let (page, content) = ogeld(&app, &["keys", "rotate"], &both);
    assert!(content && !page.contains(": 1 sealed anew"), "{page}");

    set_keys(&app, &new, &[]);
    load.more(5).await;
    assert_eq!(load.end().await, Vec::<String>::new(), "requests failed");
    for column in keys::columns() {
        for (prefix, count) in app.app.store.count_sealed(column).await.unwrap() {
            assert_ne!(prefix, old_id, "{count} in {column:?}");
        }
    }
    // Nothing remembered helps: after a start with the new key alone, everything still opens.
    let token = ada.token.clone();
    let app = app.restart().await;
    let ada = app.anonymous().with_token(token.as_deref());
    let id = deployment["id"].as_str().unwrap();
    let again = ada.post(&format!("/deployments/{id}/redeploy"), json!({})).await.expect(201);
    assert_eq!(ada.ended(&again["id"]).await["status"], "success");
    ada.delete(&format!("/deployments/{id}")).await.expect(204);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_rotated_under_load_without_a_failed_request_on_sqlite() {
    rotate_under_load(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_rotated_under_load_without_a_failed_request_on_postgres() {
    rotate_under_load(Database::Postgres).await;
}

on_both! {
    async fn every_column_that_holds_a_sealed_value_is_in_the_list(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let project = ada.project("shop").await;
        let with_env = json!({ "env": { "API_TOKEN": "t0ken" } });
        ada.ended(&ada.deploy(&project, &Repository::of_a_page("x").url(), with_env).await["id"]).await;
        let request = ada.request(Method::POST, "/auth/api-keys").header("idempotency-key", "kept");
        ada.send(request.json(&json!({ "name": "k" }))).await.expect(201);
        let webhook = ada.post("/webhooks", json!({ "url": "https://example.com/hook" })).await.expect(201);
        let rotate = format!("/webhooks/{}/rotate-secret", webhook["webhook"]["id"].as_str().unwrap());
        ada.post(&rotate, json!({})).await.expect(200);
        // A mail that cannot be sent waits: a file is where its folder should be.
        std::fs::write(app.folder.path().join("mail"), "").unwrap();
        let organization = ada.get("/organizations").await.expect(200)["organizations"][0]["id"].clone();
        let invitations = format!("/organizations/{}/invitations", organization.as_str().unwrap());
        ada.post(&invitations, json!({ "email": "ben@example.com", "role": "viewer" })).await.expect(201);
        let mut known: Vec<_> = keys::columns().map(|column| format!("{}.{}", column.table, column.column)).collect();
        known.sort();
        let prefix = app.app.sealer.prefix();
        let found: Vec<String> = app.columns().await.into_iter().filter(|(_, values)| values.iter().any(|value| value.starts_with(&prefix))).map(|(name, _)| name).collect();
        assert_eq!(found, known, "left: columns with sealed values; right: those that `ogeld keys rotate` knows");
    }
}
