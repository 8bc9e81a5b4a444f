//! `ogeld dev` as a person or a script starts it: the real binary.

use ogel_testkit::eventually;
use serde_json::Value;
use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// Started with `--json`; its one line.
fn start(folder: &Path) -> (Child, Value) {
    start_with(folder, &[])
}

fn start_with(folder: &Path, environment: &[(&str, &str)]) -> (Child, Value) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_ogeld"))
        .args(["dev", "--json", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(folder.join("data"))
        .envs(environment.iter().copied())
        .stdout(Stdio::piped())
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (child, serde_json::from_str(&line).unwrap())
}

/// As Ctrl-C does it; answers with the exit code.
fn stop(mut child: Child) -> Option<i32> {
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    child.wait().unwrap().code()
}

async fn get(client: &reqwest::Client, line: &Value, path: &str) -> Value {
    let url = format!("{}/api/v2{path}", line["baseUrl"].as_str().unwrap());
    client.get(url).bearer_auth(line["apiKey"].as_str().unwrap()).send().await.unwrap().json().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_run_deploys_an_example_and_the_second_finds_it_again() {
    let folder = tempfile::tempdir().unwrap();
    let client = ogel_testkit::http_client();
    let (child, first) = start(folder.path());
    for key in ["baseUrl", "apiKey", "email", "password", "organizationId", "projectId", "ghostUrl"] {
        assert!(first[key].is_string(), "{key} is missing in {first}");
    }
    let live = eventually("the example is live", || async {
        let list = get(&client, &first, "/deployments").await;
        let deployment = list["deployments"][0].clone();
        (deployment["status"] == "success").then_some(deployment)
    })
    .await;
    let preview = url::Url::parse(live["previewUrl"].as_str().unwrap()).unwrap();
    let page = client
        .get(format!("http://127.0.0.1:{}/", preview.port().unwrap()))
        .header("host", format!("{}:{}", preview.host_str().unwrap(), preview.port().unwrap()))
        .send()
        .await
        .unwrap();
    assert_eq!(page.status(), 200);
    assert!(page.text().await.unwrap().contains("Unified API"));
    assert_eq!(stop(child), Some(0));

    let started = Instant::now();
    let (child, second) = start(folder.path());
    // Generous for an unoptimised build on a busy machine; the release build's figure is in BENCHMARKS.md.
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    assert_eq!((&second["apiKey"], &second["projectId"]), (&first["apiKey"], &first["projectId"]));
    let list = get(&client, &second, "/deployments").await;
    assert_eq!(list["deployments"].as_array().unwrap().len(), 1);
    assert_eq!(list["deployments"][0]["previewUrl"], live["previewUrl"]);
    let login = client
        .post(format!("{}/api/v2/auth/login", second["baseUrl"].as_str().unwrap()))
        .json(&serde_json::json!({ "email": first["email"], "password": first["password"] }))
        .send()
        .await
        .unwrap();
    assert_eq!(login.status(), 200);
    assert_eq!(stop(child), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_ghost_reports_to_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let (child, _) = start_with(folder.path(), &[("OGEL_OPERATIONS_LISTEN", &free)]);
    let client = ogel_testkit::http_client();
    let page = eventually("events of the example's build were taken", || async {
        let page = client.get(format!("http://{free}/metrics")).send().await.ok()?.text().await.ok()?;
        let taken = |outcome| !page.contains(&format!("ogel_ghost_events_total{{outcome=\"{outcome}\"}} 0"));
        (taken("applied") || taken("irrelevant")).then_some(page)
    })
    .await;
    assert!(page.contains("ogel_ghost_events_total{outcome=\"refused\"} 0"), "{page}");
    assert_eq!(stop(child), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_leaves_no_build_behind() {
    let folder = tempfile::tempdir().unwrap();
    let client = ogel_testkit::http_client();
    let (child, line) = start(folder.path());
    let repository = ogel_testkit::Repository::of_a_page("x");
    // A number nobody else sleeps for.
    let marker = format!("{}", 7_000_000 + std::process::id());
    let url = format!("{}/api/v2/deployments", line["baseUrl"].as_str().unwrap());
    let body = serde_json::json!({
        "projectId": line["projectId"], "repoUrl": repository.url(), "buildCommand": format!("sleep {marker}"),
    });
    let created = client.post(url).bearer_auth(line["apiKey"].as_str().unwrap()).json(&body).send().await.unwrap();
    assert_eq!(created.status(), 201);
    let running = || Command::new("pgrep").args(["-f", &format!("sleep {marker}")]).output().unwrap().status.success();
    eventually("the build runs", || async { running().then_some(()) }).await;
    assert_eq!(stop(child), Some(0));
    assert!(!running());
}

/// `ogeld serve`: PostgreSQL, a Ghost elsewhere, its settings from the environment as the document names them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn production_serves_on_postgres_with_a_remote_ghost_until_it_is_told_to_stop() {
    let app = ogel_testkit::TestApp::start(ogel_testkit::Database::Postgres).await;
    let config = app.app.config();
    let environment = [
        ("DATABASE_URL", config.database.url.expose()),
        ("OGEL_GHOST_API_URL", config.ghost.url.as_str()),
        ("OGEL_GHOST_API_KEY", config.ghost.api_key.expose()),
        ("OGEL_ENCRYPTION_KEY", config.secrets.encryption_key.expose()),
        ("OGEL_LISTEN", "127.0.0.1:0"),
        ("OGEL_ALLOW_FILE_URLS", "true"),
        ("OGEL_ALLOW_PRIVATE_HOSTS", "true"),
    ];
    let binary = env!("CARGO_BIN_EXE_ogeld");
    assert!(Command::new(binary).arg("migrate").envs(environment).status().unwrap().success());
    let mut child = Command::new(binary).arg("serve").envs(environment).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    let ready = log
        .by_ref()
        .map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap())
        .find(|line| line["message"] == "ready")
        .unwrap();
    assert_eq!(ready["database"], "postgresql");
    // What the one process writes the other one reads: they share their database and their Ghost.
    let ada = app.sign_up("ada").await;
    let project = ada.project("shop").await;
    let base = format!("http://{}/api/v2", ready["address"].as_str().unwrap());
    let there = ada.at(base);
    let repository = ogel_testkit::Repository::of_a_page("x");
    let created = there.deploy(&project, &repository.url(), serde_json::json!({})).await;
    assert_eq!(ada.ended(&created["id"]).await["status"], "success");
    Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    let rest: Vec<String> = log.map(Result::unwrap).collect();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    // One line per request, of its route and never of its path.
    let lines = rest.join("\n");
    assert!(lines.contains("\"route\":\"/api/v2/deployments\"") && lines.contains("draining"), "{lines}");
    let secret = ada.token.as_deref().unwrap();
    assert!(!lines.contains(secret) && !lines.contains(config.ghost.api_key.expose()));
    app.stop().await;
}

#[test]
fn a_taken_port_is_said_to_be_taken() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_ogeld"))
        .args(["dev", "--listen", &listener.local_addr().unwrap().to_string(), "--data-dir"])
        .arg(folder.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.starts_with("error: cannot listen on") && text.contains("--listen"), "{text}");
}

#[test]
fn production_says_what_its_configuration_lacks() {
    let run = |config: &str| {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), config).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_ogeld"))
            .args(["serve", "--config"])
            .arg(file.path())
            .env_clear()
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(run("").contains("`ghost.api_key` is not set"), "{}", run(""));
    assert!(run("[server]\nlisten_addr = \"x\"").contains("did you mean `server.listen`?"));
}
