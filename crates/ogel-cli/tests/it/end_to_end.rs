//! The real `ogel` against the real service and a Ghost that really builds: from a folder to a page.

use crate::{
    ogel::{Ogel, Ran, ran},
    server::{Reply, Seen, Server},
};
use ogel_testkit::{Api, Database, Repository, TestApp};

/// As somebody at the real service.
pub async fn ogel(api: &Api, args: &[&str]) -> Ran {
    let machine = Ogel::new();
    let mut command = machine.command(args);
    command.env("OGEL_API_URL", &api.base).env("OGEL_TOKEN", api.token.as_deref().unwrap());
    ran(command.spawn().unwrap()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vite_project_is_installed_built_and_served() {
    let app = TestApp::start(Database::Sqlite).await;
    let ada = app.sign_up("ada").await;
    ada.project("shop").await;
    let repository = Repository::new(&[
        (
            "package.json",
            r#"{"name":"shop","private":true,"type":"module","scripts":{"build":"vite build"},"devDependencies":{"vite":"7"}}"#,
        ),
        (
            "index.html",
            "<!doctype html><title>shop</title><div id=app></div><script type=module src=/main.js></script>",
        ),
        ("main.js", "document.querySelector('#app').textContent = 'made by vite'"),
    ]);
    let deployed = ogel(&ada, &["deploy", repository.path().to_str().unwrap()]).await;
    assert_eq!(deployed.code, Some(0), "{}", deployed.stderr);
    // The URL alone on stdout, everything else on stderr.
    let url = deployed.stdout.trim_end();
    assert!(url.starts_with("http://d-") && !url.contains('\n'), "{}", deployed.stdout);
    assert!(deployed.stderr.contains("vite") && deployed.stderr.contains("Ready in "), "{}", deployed.stderr);
    let (status, page) = app.preview(url).await;
    assert_eq!(status, 200);
    let script = page.split("src=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
    let (_, script) = app.preview(&format!("{}{}", url.trim_end_matches('/'), script)).await;
    assert!(script.contains("made by vite"), "{script}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_build_is_exit_code_1_and_its_log_can_be_read_afterwards() {
    let app = TestApp::start(Database::Sqlite).await;
    let ada = app.sign_up("ada").await;
    ada.project("shop").await;
    let repository = Repository::of_a_page("x");
    let path = repository.path().to_str().unwrap();
    let failed = ogel(&ada, &["deploy", path, "--build-command", "echo the last words; exit 3", "--json"]).await;
    assert_eq!(failed.code, Some(1), "{failed:?}");
    let deployment = failed.json();
    assert_eq!(deployment["status"], "failed");
    let log = ogel(&ada, &["logs", deployment["buildId"].as_str().unwrap()]).await;
    assert_eq!(log.code, Some(0));
    assert!(log.stdout.lines().any(|line| line == "the last words"), "{}", log.stdout);
    let list = ogel(&ada, &["deployments", "list", "--status", "failed", "--json"]).await;
    assert_eq!(list.json()[0]["id"], deployment["id"]);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_is_made_tested_repeated_and_removed() {
    let app = TestApp::start(Database::Sqlite).await;
    let ada = app.sign_up("ada").await;
    let answer = |seen: &Seen| Reply::Text(if seen.nth == 0 { 500 } else { 200 }, "ok");
    let receiver = Server::start(answer).await;
    let made = ogel(&ada, &["webhooks", "create", &receiver.url, "--event", "build.completed"]).await;
    assert_eq!(made.code, Some(0), "{made:?}");
    let (id, secret) = made.stdout.trim_end().split_once('\n').unwrap();
    assert!(id.starts_with("whk_") && secret.starts_with("whsec_"), "{made:?}");
    let failed = ogel(&ada, &["webhooks", "test", id]).await;
    assert_eq!(failed.code, Some(1));
    assert!(failed.stderr.contains("the receiver answered 500"), "{}", failed.stderr);
    let listed = ogel(&ada, &["webhooks", "list"]).await.stdout;
    assert!(listed.contains(&receiver.url) && listed.contains("failing") && !listed.contains(secret), "{listed}");
    let deliveries = ogel(&ada, &["webhooks", "deliveries", id, "--json"]).await.json();
    let delivery = deliveries[0]["id"].as_str().unwrap();
    let again = ogel(&ada, &["webhooks", "redeliver", id, delivery]).await;
    assert_eq!(again.code, Some(0), "{again:?}");
    let table = ogel(&ada, &["webhooks", "deliveries", id]).await.stdout;
    assert!(table.contains("webhook.test  succeeded") && table.contains("webhook.test  pending"), "{table}");
    assert_eq!(ogel(&ada, &["webhooks", "rm", id, "--yes"]).await.code, Some(0));
    assert_eq!(ogel(&ada, &["webhooks", "test", id]).await.code, Some(3));
    app.stop().await;
}
