//! Logs: complete, in order, by pages and live.

use std::time::Instant;

use http::Method;
use serde_json::{Value, json};

use crate::support::{Repo, config, ghost, ghost_with};

const LINES: usize = 50_000;

#[tokio::test]
async fn fifty_thousand_lines_arrive_complete_and_in_order_by_pages_and_live() {
    let (ghost, _dir) = ghost().await;
    let repo = Repo::new(&[("index.html", "x"), ("gate", "")]);
    // The build waits for a file, so that the subscriber is there before the first of the lines.
    let gate = repo.path().join("open");
    let command = format!("while [ ! -e {} ]; do sleep 0.05; done; seq 1 {LINES}", gate.display());
    let created = ghost.deploy("one", &repo, json!({ "buildCommand": command })).await;
    let build_id = created["buildId"].as_str().unwrap().to_owned();
    let mut socket = ghost.subscribed(&[&format!("builds.{build_id}.logs"), "projects.shop.deployments"]).await;
    let started = Instant::now();
    std::fs::write(&gate, "").unwrap();
    let (mut live, mut last_n) = (Vec::new(), 0);
    loop {
        let frame = socket.frame().await.expect("the socket stays open");
        let payload = &frame["data"]["payload"];
        if frame["data"]["channels"][0] == "projects.shop.deployments" {
            if payload["status"] == "success" {
                break;
            }
            assert_eq!(payload["status"], "building");
            continue;
        }
        let n = payload["n"].as_u64().unwrap();
        assert!(last_n == 0 || n == last_n + 1, "{n} after {last_n}");
        last_n = n;
        if payload["stream"] == "stdout" {
            live.push(payload["text"].as_str().unwrap().parse::<usize>().unwrap());
        }
    }
    let took = started.elapsed();
    assert!(live.iter().copied().eq(1..=LINES), "{} lines live", live.len());
    assert!(took.as_secs() < 20, "took {took:?}");
    let (mut stored, mut after) = (Vec::new(), 0);
    loop {
        let page = ghost.get(&format!("/v1/builds/{build_id}/logs?after={after}&limit=10000")).await;
        let lines = page["lines"].as_array().unwrap();
        let Some(last) = lines.last() else { break };
        assert_eq!(page["total"], last_n);
        assert_eq!(lines[0]["n"], after + 1);
        after = last["n"].as_u64().unwrap();
        let stdout = lines.iter().filter(|line| line["stream"] == "stdout");
        stored.extend(stdout.map(|line| line["text"].as_str().unwrap().parse::<usize>().unwrap()));
    }
    assert!(stored.into_iter().eq(1..=LINES));
    ghost.inner.shutdown().await;
}

#[tokio::test]
async fn a_log_has_a_last_line_and_a_line_has_an_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.max_log_lines = 50;
    config.max_line_bytes = 100;
    let ghost = ghost_with(config).await;
    ghost.make_project("shop").await;
    let repo = Repo::new(&[("index.html", "x")]);
    let command = "head -c 1000 /dev/zero | tr '\\0' x; echo; seq 1 1000";
    let created = ghost.deploy("one", &repo, json!({ "buildCommand": command })).await;
    ghost.succeeded("one").await;
    let lines = ghost.lines(&created).await;
    assert!(lines.iter().any(|(_, text)| text.ends_with("x … [line cut, 900 bytes more]")), "{lines:#?}");
    assert!(lines.iter().any(|(_, text)| text.contains("log limit of 50 lines reached")), "{lines:#?}");
    assert_eq!(lines.last().unwrap().1, "Build succeeded");
    assert!(lines.len() < 60, "{}", lines.len());
    ghost.inner.shutdown().await;
}

#[tokio::test]
async fn realtime_answers_pings_refuses_nonsense_and_hides_other_projects() {
    let (ghost, _dir) = ghost().await;
    ghost.make_project("other").await;
    let body = json!({ "name": "k", "scopes": ["deployments.read"] });
    let (_, key) = ghost.call(Method::POST, "/v1/projects/other/keys", body).await;
    let key = key["secret"].as_str().unwrap();
    let mut socket = ghost.realtime(&[("x-appwrite-key", key), ("x-appwrite-project", "console")]).await;
    let mut ask = async |frame: Value| {
        socket.send(frame).await;
        socket.frame().await.unwrap()
    };
    assert_eq!(ask(json!({ "type": "ping" })).await, json!({ "type": "pong" }));
    assert_eq!(ask(json!({ "type": "dance" })).await["data"]["code"], 1003);
    assert_eq!(ask(json!([1])).await["data"]["code"], 1003);
    let subscribe = |channel: &str| json!({ "type": "subscribe", "channels": [channel] });
    assert_eq!(ask(subscribe("projects.other.deployments")).await["type"], "response");
    for hidden in ["projects.shop.deployments", "builds.nope.logs", "account", "builds.x"] {
        let answer = ask(subscribe(hidden)).await;
        assert_eq!((&answer["type"], &answer["data"]["code"]), (&json!("error"), &json!(1008)), "{hidden}");
    }
    ghost.inner.shutdown().await;
}

#[tokio::test]
async fn a_reader_that_falls_behind_is_told_and_closed_and_finds_everything_in_the_log() {
    let (ghost, _dir) = ghost().await;
    let repo = Repo::new(&[("index.html", "x"), ("gate", "")]);
    let gate = repo.path().join("open");
    let command =
        format!("while [ ! -e {} ]; do sleep 0.05; done; yes {} | head -n 3000", gate.display(), "x".repeat(7000));
    let created = ghost.deploy("one", &repo, json!({ "buildCommand": command })).await;
    let mut socket = ghost.subscribed(&[&format!("builds.{}.logs", created["buildId"].as_str().unwrap())]).await;
    std::fs::write(&gate, "").unwrap();
    ghost.succeeded("one").await;
    let mut last = Value::Null;
    while let Some(frame) = socket.frame().await {
        last = frame;
    }
    assert_eq!((&last["type"], &last["data"]["code"]), (&json!("error"), &json!(1013)), "{last}");
    assert!(ghost.lines(&created).await.len() > 3000);
    ghost.inner.shutdown().await;
}
