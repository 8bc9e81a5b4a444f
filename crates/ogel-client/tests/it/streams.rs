//! The log stream: one log out of several connections.

use crate::{
    client, client_with,
    server::{Reply, Seen, Server, end, line, status},
};
use futures_util::StreamExt as _;
use ogel_api::{builds::LogFrame, id::BuildId};
use ogel_client::{ClientError, LogStream};
use serde_json::json;
use std::time::{Duration, Instant};

fn build() -> BuildId {
    "bld_01h455vb4pex5vsknk084sn02q".parse().unwrap()
}

/// Each frame in a word, and the error if there was one.
async fn all(mut stream: LogStream) -> (Vec<String>, Option<ClientError>) {
    let mut words = Vec::new();
    while let Some(frame) = stream.next().await {
        words.push(match frame {
            Ok(LogFrame::Log(line)) => line.n.to_string(),
            Ok(LogFrame::Status { status }) => status.to_string(),
            Ok(LogFrame::Gap { from, to }) => format!("gap {from}-{to}"),
            Ok(LogFrame::End { status }) => format!("end {status}"),
            Ok(LogFrame::Unrecognized) => "unrecognized".to_owned(),
            Err(error) => return (words, Some(error)),
        });
    }
    (words, None)
}

#[tokio::test]
async fn a_dropped_connection_is_resumed_without_loss_or_repeat() {
    let server = Server::start(|seen: &Seen| match seen.nth {
        0 => Reply::Socket(vec![status("building"), line(1), line(2)]),
        1 => Reply::Error(503, "OVERLOADED", 0),
        // A careless server, which starts too early.
        2 => Reply::Socket(vec![status("building"), line(2), json!({"type": "weather"}), line(3)]),
        _ => Reply::Socket(vec![status("building"), line(4), end("success")]),
    })
    .await;
    let (words, error) = all(client(&server).stream_logs(build(), 0)).await;
    assert!(error.is_none(), "{error:?}");
    assert_eq!(words, ["building", "1", "2", "3", "4", "end success"]);
    let queries: Vec<String> = server.seen().into_iter().map(|seen| seen.query).collect();
    assert_eq!(queries, ["", "after=2", "after=2", "after=3"]);
    assert!(server.seen().iter().all(|seen| seen.header("authorization") == Some("Bearer ogel_t")));
}

#[tokio::test]
async fn a_refused_upgrade_is_the_apis_own_error() {
    let server = Server::start(|_| Reply::Error(404, "NOT_FOUND", 0)).await;
    let (words, error) = all(client(&server).stream_logs(build(), 0)).await;
    assert!(words.is_empty());
    assert_eq!(error.unwrap().code(), Some("NOT_FOUND"));
}

#[tokio::test]
async fn a_token_that_is_revoked_meanwhile_ends_the_stream() {
    let server = Server::start(|seen: &Seen| match seen.nth {
        0 => Reply::Socket(vec![line(1)]),
        _ => Reply::Error(401, "INVALID_CREDENTIAL", 0),
    })
    .await;
    let (words, error) = all(client(&server).stream_logs(build(), 0)).await;
    assert_eq!(words, ["1"]);
    assert_eq!(error.unwrap().code(), Some("INVALID_CREDENTIAL"));
}

#[tokio::test]
async fn a_server_with_nothing_new_is_given_up_after_a_while() {
    let server = Server::start(|_| Reply::Socket(vec![status("building"), line(1)])).await;
    let client = client_with(&server, |config| config.stream_patience = Duration::from_secs(1));
    let started = Instant::now();
    let (words, error) = all(client.stream_logs(build(), 0)).await;
    assert_eq!(words, ["building", "1"]);
    assert!(matches!(error, Some(ClientError::StreamLost { last_line: 1, .. })), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn what_is_no_frame_ends_the_stream_at_once() {
    for nonsense in [json!({"n": 1}), json!({"type": "log", "text": "x".repeat(2 << 20)})] {
        let server = Server::start(move |_| Reply::Mute(vec![line(1), nonsense.clone()])).await;
        let (words, error) = all(client(&server).stream_logs(build(), 0)).await;
        assert_eq!(words, ["1"]);
        assert!(matches!(error, Some(ClientError::Decode { .. })), "{error:?}");
    }
}

#[tokio::test]
async fn a_server_without_websockets_is_told_apart() {
    let server = Server::start(|_| Reply::Json(200, json!({"lines": []}))).await;
    let (_, error) = all(client(&server).stream_logs(build(), 7)).await;
    assert!(error.unwrap().to_string().contains("did not open a WebSocket"));
    assert_eq!(server.seen()[0].query, "after=7");
}
