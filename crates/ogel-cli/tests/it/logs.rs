//! `ogel logs`: history, following, and readers that go away.

use crate::{
    ogel::{BUILD, DEPLOYMENT, Ogel, healthy, is_stream, ran},
    server::{Reply, Seen, Server, end, line, status},
};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};

fn script(seen: &Seen) -> Reply {
    if is_stream(seen) {
        return match seen.nth {
            0 => Reply::Socket(vec![status("building"), line(1), line(2)]),
            _ => Reply::Socket(vec![status("building"), line(2), line(3), end("failed")]),
        };
    }
    match (seen.path.ends_with("/logs"), seen.query.as_str()) {
        (true, "after=0&limit=1000") => {
            Reply::Json(200, json!({"lines": [line(1), line(2)], "pagination": {"nextCursor": "2", "hasMore": true}}))
        }
        (true, "after=2&limit=1000") => {
            Reply::Json(200, json!({"lines": [line(3)], "pagination": {"nextCursor": null, "hasMore": false}}))
        }
        _ => healthy(seen, "failed"),
    }
}

#[tokio::test]
async fn the_history_is_printed_as_it_is() {
    let server = Server::start(script).await;
    let ogel = Ogel::at(&server);
    for id in [BUILD, DEPLOYMENT] {
        let ran = ogel.run(&["logs", id]).await;
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "line 1\nline 2\nline 3\n"));
    }
    assert_eq!(ogel.run(&["logs", BUILD, "--after", "2"]).await.stdout, "line 3\n");
}

#[tokio::test]
async fn a_dropped_stream_is_resumed_without_loss_or_repeat() {
    let server = Server::start(script).await;
    let ran = Ogel::at(&server).run(&["logs", BUILD, "-f"]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "line 1\nline 2\nline 3\n"));
    assert_eq!(ran.stderr, "The build is over: failed\n");
    let queries: Vec<String> = server.seen().into_iter().map(|seen| seen.query).collect();
    assert_eq!(queries, ["", "after=2"]);
}

#[tokio::test]
async fn json_is_one_frame_a_line() {
    let server = Server::start(script).await;
    let ran = Ogel::at(&server).run(&["logs", BUILD, "--follow", "--json"]).await;
    let frames: Vec<Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(frames, [status("building"), line(1), line(2), line(3), end("failed")]);
}

#[tokio::test]
async fn what_a_build_prints_does_not_steer_the_terminal() {
    let server = Server::start(|_: &Seen| {
        let mut nasty = line(1);
        nasty["text"] = "a\u{1b}[2J\u{1b}]0;owned\u{7}b \u{1b}[31mred\u{1b}[0m".into();
        Reply::Json(200, json!({"lines": [nasty], "pagination": {"nextCursor": null, "hasMore": false}}))
    })
    .await;
    assert_eq!(Ogel::at(&server).run(&["logs", BUILD]).await.stdout, "ab red\n");
}

#[tokio::test]
async fn a_reader_that_goes_away_is_no_panic() {
    // It never ends, and writes much more than a pipe holds.
    let server = Server::start(|seen: &Seen| {
        let after: u64 = seen.query.split(['=', '&']).nth(1).unwrap().parse().unwrap();
        let lines: Vec<Value> = ((after + 1)..=(after + 100)).map(line).collect();
        Reply::Json(200, json!({"lines": lines, "pagination": {"nextCursor": "x", "hasMore": true}}))
    })
    .await;
    let mut child = Ogel::at(&server).command(&["logs", BUILD]).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    stdout.read_line(&mut first).await.unwrap();
    drop(stdout);
    let ran = ran(child).await;
    assert_eq!((first.as_str(), ran.code, ran.stderr.as_str()), ("line 1\n", Some(0), ""));
}
