//! Build logs: pages, server-sent events and WebSockets, live, late, resumed, of builds that failed.

use super::deployments::WAIT_FOREVER;
use crate::on_both;
use ogel_testkit::{Repository, streams};
use serde_json::{Value, json};

/// A repository whose build prints `count` numbered lines.
fn talkative(count: u32) -> (Repository, Value) {
    let script = format!(
        "i=1; while [ $i -le {count} ]; do echo \"line $i\"; i=$((i+1)); done; mkdir out; echo x > out/index.html"
    );
    let repository = Repository::new(&[("build.sh", &script)]);
    (repository, json!({ "buildCommand": "sh build.sh", "outputDirectory": "out" }))
}

/// The frames are lines 1 to the last without holes, then the end.
#[track_caller]
fn assert_whole(frames: &[Value], after: u64, status: &str) {
    let numbers = streams::numbers(frames);
    let expected: Vec<u64> = (after + 1..=after + numbers.len() as u64).collect();
    assert_eq!(numbers, expected);
    assert_eq!(frames.last().unwrap(), &json!({ "type": "end", "status": status }));
    assert!(!frames.iter().any(|frame| frame["type"] == "gap"));
}

on_both! {
    async fn a_websocket_shows_a_build_from_its_first_line_to_its_end(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let project = ada.project("shop").await;
        let (repository, more) = talkative(300);
        let created = ada.deploy(&project, &repository.url(), more).await;
        let path = format!("/builds/{}/logs", created["buildId"].as_str().unwrap());
        let (frames, code) = streams::websocket_frames(&ada, &path).await;
        assert_eq!(code, Some(1000));
        assert_whole(&frames, 0, "success");
        assert!(frames.contains(&json!({ "type": "status", "status": "success" })));
        let text = streams::text(&frames);
        assert!(text.contains("line 1\nline 2\n") && text.contains("line 300"), "{text}");
        let line = frames.iter().find(|frame| frame["text"] == "line 7").unwrap();
        assert_eq!(line["stream"], "stdout");

        // The same once it is over, in every form.
        let (again, _) = streams::websocket_frames(&ada, &path).await;
        let late: Vec<_> = again.into_iter().filter(|frame| frame["type"] == "log").collect();
        let live: Vec<_> = frames.into_iter().filter(|frame| frame["type"] == "log").collect();
        assert_eq!(late, live);
        let events: Vec<_> = streams::events(&ada, &path, None).await.into_iter().map(|(_, frame)| frame).collect();
        assert_whole(&events, 0, "success");
        assert_eq!(streams::numbers(&events).len(), live.len());
    }

    async fn a_stream_is_resumed_without_loss_or_repeat(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let project = ada.project("shop").await;
        let (repository, more) = talkative(50);
        let created = ada.deploy(&project, &repository.url(), more).await;
        let path = format!("/builds/{}/logs", created["buildId"].as_str().unwrap());
        ada.ended(&created["id"]).await;
        let (frames, _) = streams::websocket_frames(&ada, &format!("{path}?after=20")).await;
        assert_whole(&frames, 20, "success");
        let events = streams::events(&ada, &path, Some(30)).await;
        assert!(events.iter().all(|(id, frame)| frame["type"] != "log" || *id == frame["n"].as_u64()));
        let frames: Vec<_> = events.into_iter().map(|(_, frame)| frame).collect();
        assert_whole(&frames, 30, "success");
        let (frames, _) = streams::websocket_frames(&ada, &format!("{path}?after=100000")).await;
        assert_eq!(streams::numbers(&frames), Vec::<u64>::new());
        assert_eq!(frames.last().unwrap()["type"], "end");
    }

    async fn pages_give_the_whole_log_of_a_failed_build(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let project = ada.project("shop").await;
        let repository = Repository::new(&[("build.sh", "for i in 1 2 3 4 5; do echo word $i; done; exit 1")]);
        let created = ada.deploy(&project, &repository.url(), json!({ "buildCommand": "sh build.sh" })).await;
        let path = format!("/builds/{}/logs", created["buildId"].as_str().unwrap());
        ada.ended(&created["id"]).await;
        let (mut numbers, mut after, mut words) = (Vec::new(), 0, String::new());
        loop {
            let page = ada.get(&format!("{path}?after={after}&limit=2")).await.expect(200);
            for line in page["lines"].as_array().unwrap() {
                numbers.push(line["n"].as_u64().unwrap());
                words.push_str(line["text"].as_str().unwrap());
            }
            match page["pagination"]["nextCursor"].as_str() {
                Some(cursor) => after = cursor.parse().unwrap(),
                None => break,
            }
        }
        assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
        assert!(words.contains("word 5"), "{words}");
        let (frames, code) = streams::websocket_frames(&ada, &path).await;
        assert_eq!(code, Some(1000));
        assert_whole(&frames, 0, "failed");
        ada.get(&format!("{path}?limit=1001")).await.expect_error(400, "INVALID_VALUE");
        ada.get(&format!("{path}?after=x")).await.expect_error(400, "INVALID_VALUE");
    }

    async fn fifty_thousand_lines_arrive_whole_and_in_order(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let project = ada.project("shop").await;
        let (repository, more) = talkative(50_000);
        let created = ada.deploy(&project, &repository.url(), more).await;
        let path = format!("/builds/{}/logs", created["buildId"].as_str().unwrap());
        let (frames, code) = streams::websocket_frames(&ada, &path).await;
        assert_eq!(code, Some(1000));
        assert_whole(&frames, 0, "success");
        assert!(streams::numbers(&frames).len() > 50_000);
    }

    async fn a_stream_survives_the_loss_of_ghosts_realtime_connection(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let project = ada.project("shop").await;
        let script = "for i in 1 2 3 4 5 6 7 8; do echo tick $i; sleep 0.2; done; mkdir out; echo x > out/index.html";
        let repository = Repository::new(&[("build.sh", script)]);
        let more = json!({ "buildCommand": "sh build.sh", "outputDirectory": "out" });
        let created = ada.deploy(&project, &repository.url(), more).await;
        let path = format!("/builds/{}/logs", created["buildId"].as_str().unwrap());
        let mut socket = streams::open_websocket(&ada, &path).await.unwrap();
        let mut frames = Vec::new();
        let code = loop {
            match streams::next_frame(&mut socket).await {
                Ok(frame) => frames.push(frame),
                Err(code) => break code,
            }
            if frames.last().is_some_and(|frame| frame["text"] == "tick 3") {
                app.ghost.faults().drop_realtime_sockets();
            }
        };
        assert_eq!(code, Some(1000));
        assert_whole(&frames, 0, "success");
        assert!(streams::text(&frames).contains("tick 8"));
    }

    async fn a_canceled_build_ends_its_streams(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let project = ada.project("shop").await;
        let repository = Repository::of_a_page("x");
        let created = ada.deploy(&project, &repository.url(), json!({ "buildCommand": WAIT_FOREVER })).await;
        let path = format!("/builds/{}/logs", created["buildId"].as_str().unwrap());
        let mut socket = streams::open_websocket(&ada, &path).await.unwrap();
        loop {
            let frame = streams::next_frame(&mut socket).await.unwrap();
            if frame["text"] == "waiting" {
                break;
            }
        }
        ada.post(&format!("/deployments/{}/cancel", created["id"].as_str().unwrap()), json!({})).await.expect(200);
        let mut last = Value::Null;
        let code = loop {
            match streams::next_frame(&mut socket).await {
                Ok(frame) => last = frame,
                Err(code) => break code,
            }
        };
        assert_eq!((code, last), (Some(1000), json!({ "type": "end", "status": "canceled" })));
    }

    async fn a_stranger_is_refused_before_the_upgrade(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let eve = app.sign_up("eve").await;
        let project = ada.project("shop").await;
        let repository = Repository::of_a_page("x");
        let created = ada.deploy(&project, &repository.url(), json!({})).await;
        let path = format!("/builds/{}/logs", created["buildId"].as_str().unwrap());
        for (caller, status) in [(&eve, 404), (&app.anonymous(), 401)] {
            let error = streams::open_websocket(caller, &path).await.map(drop).unwrap_err();
            match *error {
                tokio_tungstenite::tungstenite::Error::Http(answer) => assert_eq!(answer.status(), status),
                other => panic!("{other:?}"),
            }
        }
        eve.get(&path).await.expect_error(404, "NOT_FOUND");
    }

    async fn streams_are_told_to_come_back_when_the_server_stops(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let project = ada.project("shop").await;
        let repository = Repository::of_a_page("x");
        let created = ada.deploy(&project, &repository.url(), json!({ "buildCommand": WAIT_FOREVER })).await;
        let path = format!("/builds/{}/logs", created["buildId"].as_str().unwrap());
        let mut socket = streams::open_websocket(&ada, &path).await.unwrap();
        streams::next_frame(&mut socket).await.unwrap();
        app.app.shutdown.cancel();
        let code = loop {
            if let Err(code) = streams::next_frame(&mut socket).await {
                break code;
            }
        };
        assert_eq!(code, Some(1012));
    }
}
