//! Build logs as we keep them: readable when Ghost is away or has none any more, cut when too long, written by one replica.

use crate::on_both;
use http::Method;
use ogel_api::id::{BuildId, DeploymentId};
use ogel_server::{config::Config, run};
use ogel_testkit::{Api, Repository, TestApp, eventually, streams};
use serde_json::{Value, json};

/// A repository whose build prints `count` numbered lines, and waits in between when there is a `pause`.
fn talkative(count: u32, pause: &str) -> (Repository, Value) {
    let script = format!(
        "i=1; while [ $i -le {count} ]; do echo \"line $i\"; {pause} i=$((i+1)); done; mkdir out; echo x > out/index.html"
    );
    let repository = Repository::new(&[("build.sh", &script)]);
    (repository, json!({ "buildCommand": "sh build.sh", "outputDirectory": "out" }))
}

/// Once our copy of the build's log is whole.
async fn kept(app: &TestApp, deployment: &Value) {
    let build: BuildId = deployment["buildId"].as_str().unwrap().parse().unwrap();
    eventually("the log is kept", || async {
        app.app.store.build_log(build).await.unwrap().filter(|log| log.is_complete).map(drop)
    })
    .await;
}

/// All lines, page by page.
async fn pages(api: &Api, path: &str) -> Vec<Value> {
    let (mut lines, mut after) = (Vec::new(), "0".to_owned());
    loop {
        let page = api.get(&format!("{path}?after={after}&limit=700")).await.expect(200);
        lines.extend(page["lines"].as_array().unwrap().clone());
        match page["pagination"]["nextCursor"].as_str() {
            Some(cursor) => after = cursor.to_owned(),
            None => return lines,
        }
    }
}

/// The `log` frames of a stream, as a page has them, and the last frame.
fn lines_of(frames: Vec<Value>) -> (Vec<Value>, Value) {
    let last = frames.last().unwrap().clone();
    let lines = frames.into_iter().filter(|frame| frame["type"] == "log").map(|mut frame| {
        frame.as_object_mut().unwrap().remove("type");
        frame
    });
    (lines.collect(), last)
}

on_both! {
    async fn the_log_of_a_build_that_is_over_needs_no_ghost(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let project = ada.project("shop").await;
        let (repository, more) = talkative(5_000, "");
        let created = ada.deploy(&project, &repository.url(), more).await;
        let path = format!("/builds/{}/logs", created["buildId"].as_str().unwrap());
        // As Ghost tells it while it comes.
        let (live, _) = lines_of(streams::websocket_frames(&ada, &path).await.0);
        ada.ended(&created["id"]).await;
        kept(&app, &created).await;
        app.network.set_down(true);
        let lines = pages(&ada, &path).await;
        assert_eq!(lines, live);
        let numbers: Vec<_> = lines.iter().map(|line| line["n"].as_u64().unwrap()).collect();
        assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
        assert_eq!(lines.iter().filter(|line| line["text"].as_str().unwrap().starts_with("line ")).count(), 5_000);
        let (frames, code) = streams::websocket_frames(&ada, &path).await;
        let end = json!({ "type": "end", "status": "success" });
        assert_eq!((code, lines_of(frames)), (Some(1000), (lines.clone(), end.clone())));
        let events = streams::events(&ada, &path, Some(4_990)).await.into_iter().map(|(_, frame)| frame).collect();
        assert_eq!(lines_of(events), (lines[4_990..].to_vec(), end));
        // Beyond the end there is nothing.
        assert_eq!(ada.get(&format!("{path}?after=1000000")).await.expect(200)["lines"], json!([]));
    }

    async fn a_log_outlives_its_deployment_at_ghost(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let project = ada.project("shop").await;
        let repository = Repository::new(&[("build.sh", "for i in 1 2 3; do echo word $i; done; exit 1")]);
        let created = ada.deploy(&project, &repository.url(), json!({ "buildCommand": "sh build.sh" })).await;
        let path = format!("/builds/{}/logs", created["buildId"].as_str().unwrap());
        ada.ended(&created["id"]).await;
        kept(&app, &created).await;
        let before = pages(&ada, &path).await;
        let id: DeploymentId = created["id"].as_str().unwrap().parse().unwrap();
        assert_eq!(app.at_ghost(Method::DELETE, &project, &format!("/deployments/{}", id.0), Value::Null).await, 204);
        assert_eq!(pages(&ada, &path).await, before);
        let (frames, code) = streams::websocket_frames(&ada, &path).await;
        assert_eq!((code, lines_of(frames)), (Some(1000), (before.clone(), json!({ "type": "end", "status": "failed" }))));
        assert!(before.iter().any(|line| line["text"] == "word 3"));
        // With the deployment goes its log.
        ada.delete(&format!("/deployments/{}", created["id"].as_str().unwrap())).await;
        eventually("it is gone", || async { (ada.get(&path).await.status == 404).then_some(()) }).await;
    }

    async fn a_log_that_is_too_long_is_cut_and_says_so(app: TestApp) {
        let mut config = Config::clone(&app.app.config());
        config.build_logs.max_bytes = 600_000;
        app.app.reconfigure(config);
        let ada = app.sign_up("ada").await;
        let project = ada.project("shop").await;
        let script = "w=$(head -c 1000 /dev/zero | tr '\\0' x); i=1; while [ $i -le 2000 ]; do echo \"$i $w\"; i=$((i+1)); done; mkdir out; echo x > out/index.html";
        let repository = Repository::new(&[("build.sh", script)]);
        let created = ada.deploy(&project, &repository.url(), json!({ "buildCommand": "sh build.sh", "outputDirectory": "out" })).await;
        let path = format!("/builds/{}/logs", created["buildId"].as_str().unwrap());
        ada.ended(&created["id"]).await;
        kept(&app, &created).await;
        let lines = pages(&ada, &path).await;
        let bytes: usize = lines.iter().map(|line| line["text"].as_str().unwrap().len()).sum();
        assert!((200_000..=600_200).contains(&bytes), "{bytes}");
        let numbers: Vec<_> = lines.iter().map(|line| line["n"].as_u64().unwrap()).collect();
        assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
        let last = lines.last().unwrap();
        assert_eq!(last["stream"], "system");
        assert!(last["text"].as_str().unwrap().starts_with("[log cut: more than 600000 bytes"), "{last}");
        let (frames, code) = streams::websocket_frames(&ada, &format!("{path}?after={}", numbers.len() - 2)).await;
        assert_eq!(code, Some(1000));
        assert_eq!(lines_of(frames).0, lines[lines.len() - 2..]);
        assert_eq!(ada.get(&format!("{path}?after={}", numbers.len())).await.expect(200)["lines"], json!([]));
    }

    async fn viewers_at_two_replicas_see_the_same_and_one_of_them_may_end(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let project = ada.project("shop").await;
        let mut config = Config::clone(&app.app.config());
        config.server.listen = "127.0.0.1:0".to_owned();
        let other = run::assemble(config, app.app.world.clone(), app.network.connector()).await.unwrap();
        let running = run::start(&other, Vec::new()).await.unwrap();
        let there = ada.at(format!("http://{}/api/v2", running.edge.address));
        // Taken by the other replica; both show it from the first line on.
        let (repository, more) = talkative(40, "sleep 0.1;");
        let created = there.deploy(&project, &repository.url(), more).await;
        let path = format!("/builds/{}/logs", created["buildId"].as_str().unwrap());
        let (here, elsewhere) = tokio::join!(streams::websocket_frames(&ada, &path), streams::websocket_frames(&there, &path));
        assert_eq!((here.1, elsewhere.1), (Some(1000), Some(1000)));
        let (lines, end) = lines_of(here.0);
        assert_eq!((&lines, &end), (&lines_of(elsewhere.0).0, &json!({ "type": "end", "status": "success" })));
        // One that goes away in the middle of a build leaves no hole and no repetition in what is kept.
        let (repository, more) = talkative(40, "sleep 0.1;");
        let created = there.deploy(&project, &repository.url(), more).await;
        let path = format!("/builds/{}/logs", created["buildId"].as_str().unwrap());
        eventually("it prints", || async {
            let page = there.get(&path).await.expect(200);
            page["lines"].as_array().unwrap().iter().any(|line| line["text"] == "line 5").then_some(())
        }).await;
        run::stop(&other, running).await;
        ada.ended(&created["id"]).await;
        kept(&app, &created).await;
        app.network.set_down(true);
        let texts: Vec<_> = pages(&ada, &path).await.iter().map(|line| line["text"].as_str().unwrap().to_owned()).collect();
        let printed: Vec<_> = texts.iter().filter(|text| text.starts_with("line ")).cloned().collect();
        assert_eq!(printed, (1..=40).map(|n| format!("line {n}")).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_is_kept_as_long_as_the_plan_says() {
    let folder = tempfile::tempdir().unwrap();
    let plans = ogel_server::billing::catalog::DEFAULT.replacen("build_log_days = 7\n", "build_log_days = 3\n", 1);
    let path = folder.path().join("plans.toml");
    std::fs::write(&path, plans).unwrap();
    let change = |config: &mut Config| config.billing.plans_file = path.display().to_string();
    let app = TestApp::start_with(ogel_testkit::Database::Sqlite, change).await;
    let ada = app.sign_up("ada").await;
    let plans = ada.get("/billing/plans").await.expect(200);
    let days: Vec<_> =
        plans["plans"].as_array().unwrap().iter().map(|plan| plan["limits"]["buildLogDays"].clone()).collect();
    assert_eq!(days, [json!(3), json!(30), json!(90)]);
    let project = ada.project("shop").await;
    let created = ada.deploy(&project, &Repository::of_a_page("x").url(), json!({})).await;
    kept(&app, &ada.ended(&created["id"]).await).await;
    let build: BuildId = created["buildId"].as_str().unwrap().parse().unwrap();
    let is_kept = async || app.app.store.build_log(build).await.unwrap().is_some();
    let days_later = async |days| {
        app.app.world.clock.advance(chrono::TimeDelta::days(days));
        ogel_server::logs::kept::remove_old(&app.app).await;
    };
    days_later(2).await;
    assert!(is_kept().await);
    // What counts is the plan of today.
    let ada = app.log_in("ada").await;
    let id = ada.get("/organizations").await.expect(200)["organizations"][0]["id"].as_str().unwrap().to_owned();
    let plan = async |plan: &str| {
        let request = ada.request(Method::PUT, &format!("/organizations/{id}/billing/subscription"));
        ada.send(request.json(&json!({ "plan": plan }))).await.expect(200);
    };
    plan("pro").await;
    days_later(2).await;
    assert!(is_kept().await);
    plan("free").await;
    days_later(0).await;
    assert!(!is_kept().await);
    app.stop().await;
}
