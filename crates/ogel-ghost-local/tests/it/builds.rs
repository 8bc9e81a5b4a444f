//! Builds that succeed and builds that do not.

use std::time::Duration;

use http::Method;
use serde_json::json;

use crate::support::{Repo, config, ghost, ghost_with};

#[tokio::test]
async fn a_static_folder_is_served_with_its_commit() {
    let (ghost, _dir) = ghost().await;
    let repo = Repo::new(&[("index.html", "<h1>hello</h1>")]);
    let sha = repo.commit("Say hello louder", &[("index.html", "<h1>HELLO</h1>")]);
    ghost.deploy("one", &repo, json!({})).await;
    let deployment = ghost.succeeded("one").await;
    assert_eq!(deployment["commitSha"], sha);
    assert_eq!(deployment["commitMessage"], "Say hello louder");
    assert_eq!(deployment["commitAuthor"], "Ada Lovelace");
    assert_eq!(deployment["framework"], "static");
    assert_eq!(deployment["active"], true);
    let port = ghost.inner.preview_addr().port();
    assert_eq!(deployment["previewUrl"], format!("http://d-one.localhost:{port}/"));
    let (status, head, body) = ghost.preview("d-one.localhost", "/", "").await;
    assert_eq!((status, body.as_str()), (200, "<h1>HELLO</h1>"));
    assert!(head.contains("content-type: text/html"), "{head}");
    assert_eq!(ghost.preview("d-one.localhost", "/.git/config", "").await.0, 404);
    let build = ghost.get(&format!("/v1/builds/{}", deployment["buildId"].as_str().unwrap())).await;
    let steps: Vec<_> =
        build["steps"].as_array().unwrap().iter().map(|step| (&step["name"], &step["status"])).collect();
    assert_eq!(steps, [(&json!("clone"), &json!("success")), (&json!("publish"), &json!("success"))]);
    ghost.inner.shutdown().await;
}

#[tokio::test]
async fn a_build_command_writes_its_lines_in_order_and_sees_only_its_own_environment() {
    let (ghost, dir) = ghost().await;
    let repo = Repo::new(&[("apps/web/src.txt", "page")]);
    let command = "echo one; echo two; env | sort; mkdir site && cp src.txt site/index.html; echo three";
    let extra = json!({
        "rootDirectory": "apps/web", "buildCommand": command, "outputDirectory": "site",
        "env": { "GREETING": "hi there" },
    });
    let created = ghost.deploy("one", &repo, extra).await;
    ghost.succeeded("one").await;
    let lines = ghost.lines(&created).await;
    let stdout: Vec<&str> =
        lines.iter().filter(|(stream, _)| stream == "stdout").map(|(_, text)| text.as_str()).collect();
    assert_eq!((stdout[0], stdout[1], *stdout.last().unwrap()), ("one", "two", "three"));
    assert!(stdout.contains(&"GREETING=hi there") && stdout.contains(&"CI=1"), "{stdout:?}");
    assert!(!stdout.iter().any(|line| line.starts_with("CARGO")), "{stdout:?}");
    assert_eq!(ghost.preview("d-one.localhost", "/", "").await.2, "page");
    assert_eq!(std::fs::read_dir(dir.path().join("builds")).unwrap().count(), 0, "the clone is removed");
    ghost.inner.shutdown().await;
}

#[tokio::test]
async fn a_vite_project_is_installed_and_built() {
    let (ghost, _dir) = ghost().await;
    let repo = Repo::new(&[
        (
            "package.json",
            r#"{"name":"x","private":true,"scripts":{"build":"vite build"},"devDependencies":{"vite":"7"}}"#,
        ),
        ("index.html", r#"<!doctype html><title>x</title><script type="module" src="/main.js"></script>"#),
        ("main.js", "document.title = 'built by vite';"),
    ]);
    ghost.deploy("one", &repo, json!({})).await;
    let deployment = ghost.succeeded("one").await;
    assert_eq!(deployment["framework"], "vite");
    let (status, _, page) = ghost.preview("d-one.localhost", "/some/client/route", "").await;
    assert_eq!(status, 200);
    let script = page.split("src=\"").nth(1).unwrap().split('"').next().unwrap();
    let (status, head, script) = ghost.preview("d-one.localhost", script, "").await;
    assert_eq!(status, 200);
    assert!(head.contains("text/javascript") && script.contains("built by vite"));
    assert_eq!(ghost.preview("d-one.localhost", "/missing.js", "").await.0, 404);
    ghost.inner.shutdown().await;
}

#[tokio::test]
async fn a_failing_build_says_the_exit_code_and_the_last_lines() {
    let (ghost, _dir) = ghost().await;
    let repo = Repo::new(&[("README.md", "x")]);
    ghost.deploy("one", &repo, json!({ "buildCommand": "echo fine; echo 'no such module: left' >&2; exit 7" })).await;
    let deployment = ghost.finished("one").await;
    assert_eq!(deployment["status"], "failed");
    let error = deployment["error"].as_str().unwrap();
    assert!(error.contains("exited with code 7") && error.contains("no such module: left"), "{error}");
    assert!(deployment["previewUrl"].is_null());
    assert_eq!(ghost.preview("d-one.localhost", "/", "").await.0, 404);
    let (status, body) = ghost.call(Method::PATCH, "/v1/projects/shop/deployments/one/activate", json!({})).await;
    assert_eq!((status.as_u16(), body["type"].as_str().unwrap()), (400, "build_not_ready"));
    ghost.inner.shutdown().await;
}

#[tokio::test]
async fn what_is_missing_is_named() {
    let (ghost, _dir) = ghost().await;
    let repo = Repo::new(&[("README.md", "x")]);
    ghost.deploy("branch", &repo, json!({ "branch": "nope" })).await;
    ghost.deploy("commit", &repo, json!({ "commitSha": "0123456789012345678901234567890123456789" })).await;
    ghost.deploy("root", &repo, json!({ "rootDirectory": "apps/none" })).await;
    ghost.deploy("nothing", &repo, json!({})).await;
    ghost.deploy("output", &repo, json!({ "buildCommand": "true", "outputDirectory": "dist" })).await;
    for (id, expected) in [
        ("branch", "branch `nope` does not exist in the repository"),
        ("commit", "does not exist in the repository"),
        ("root", "`apps/none` does not exist"),
        ("nothing", "nothing to build"),
        ("output", "made no output"),
    ] {
        let deployment = ghost.finished(id).await;
        let error = deployment["error"].as_str().unwrap();
        assert!(deployment["status"] == "failed" && error.contains(expected), "{id}: {error}");
    }
    ghost.inner.shutdown().await;
}

#[tokio::test]
async fn an_older_commit_and_a_shortened_one_can_be_built() {
    let (ghost, _dir) = ghost().await;
    let repo = Repo::new(&[("index.html", "old")]);
    let old = repo.git(&["rev-parse", "HEAD"]);
    repo.commit("newer", &[("index.html", "new")]);
    ghost.deploy("full", &repo, json!({ "commitSha": old })).await;
    ghost.deploy("short", &repo, json!({ "commitSha": &old[..8], "branch": "" })).await;
    ghost.deploy("default", &repo, json!({ "branch": "HEAD" })).await;
    for (id, expected) in [("full", "old"), ("short", "old"), ("default", "new")] {
        ghost.succeeded(id).await;
        assert_eq!(ghost.preview(&format!("d-{id}.localhost"), "/", "").await.2, expected);
    }
    assert_eq!(ghost.deployment("short").await["commitSha"], old);
    ghost.inner.shutdown().await;
}

#[tokio::test]
async fn time_and_memory_are_limited() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.build_timeout = Duration::from_millis(2500);
    config.build_memory_bytes = 128 << 20;
    let ghost = ghost_with(config).await;
    ghost.make_project("shop").await;
    let repo = Repo::new(&[("README.md", "x")]);
    ghost.deploy("slow", &repo, json!({ "buildCommand": "sleep 86400" })).await;
    ghost.deploy("fat", &repo, json!({ "buildCommand": "tail /dev/zero" })).await;
    let slow = ghost.finished("slow").await;
    assert!(slow["error"].as_str().unwrap().contains("time limit of 2.5s"), "{slow}");
    let fat = ghost.finished("fat").await;
    assert!(fat["error"].as_str().unwrap().contains("memory limit of 128 MiB"), "{fat}");
    ghost.inner.shutdown().await;
}

#[tokio::test]
async fn a_build_cannot_publish_what_is_outside_its_clone() {
    let (ghost, _dir) = ghost().await;
    let repo = Repo::new(&[("README.md", "x")]);
    let command = "ln -s /etc dist";
    ghost.deploy("out", &repo, json!({ "buildCommand": command, "outputDirectory": "dist" })).await;
    let deployment = ghost.finished("out").await;
    assert!(deployment["error"].as_str().unwrap().contains("leads out of the repository"), "{deployment}");
    assert!(repo.path().join("README.md").exists());
    ghost.inner.shutdown().await;
}
