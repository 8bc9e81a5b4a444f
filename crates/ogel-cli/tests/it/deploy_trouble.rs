//! `ogel deploy` when something is in its way: folders that cannot be deployed, lost streams, interruptions.

use crate::{
    ogel::{DEPLOYMENT, Ogel, deployment, healthy, is_stream, page, ran},
    repository::{git, repository},
    server::{Reply, Seen, Server, line, status},
};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, BufReader};

#[tokio::test]
async fn what_cannot_be_deployed_is_said_before_anything_is_sent() {
    let server = Server::start(|seen| healthy(seen, "success")).await;
    let ogel = Ogel::at(&server);
    let (_parent, folder) = repository();
    let path = folder.to_str().unwrap();
    let empty = ogel.home.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let plain = ogel.run(&["deploy", "empty"]).await;
    git(&empty, &["init", "--quiet"]);
    let mut all = String::new();
    for run in [
        plain,
        ogel.run(&["deploy", "empty"]).await,
        ogel.run(&["deploy", "nowhere"]).await,
        ogel.run(&["deploy", "git@h.org:a/b.git"]).await,
        ogel.run(&["deploy", path, "--branch", "nope"]).await,
    ] {
        assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""), "{run:?}");
        all.push_str(&run.stderr);
    }
    let home = ogel.home.path().canonicalize().unwrap();
    insta::assert_snapshot!(all.replace(home.to_str().unwrap(), "[HOME]"), @r#"
    error: `[HOME]/empty` is not a git repository

    hint: run `git init && git add -A && git commit -m "First commit"` in it, or name another folder or a URL
    error: the repository has no commit yet, so there is nothing to deploy

    hint: run `git add -A && git commit -m "First commit"`
    error: `nowhere` does not exist

    hint: name a folder of a git repository, or a URL such as `https://github.com/owner/repository`
    error: `git@h.org:a/b.git` is not a URL

    hint: write it as `ssh://git@h.org/a/b.git`
    error: this repository has no branch `nope`

    hint: it has: main
    "#);
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn a_lost_stream_does_not_decide_and_its_lines_are_fetched() {
    let server = Server::start(|seen: &Seen| {
        if is_stream(seen) {
            return match seen.nth {
                0 => Reply::Socket(vec![status("building"), line(1)]),
                _ => Reply::Error(404, "NOT_FOUND", 0),
            };
        }
        if seen.path.ends_with("/logs") {
            let after: u64 = seen.query.split(['=', '&']).nth(1).unwrap().parse().unwrap();
            return Reply::Json(200, page("lines", &((after + 1)..=3).map(line).collect::<Vec<_>>()));
        }
        let asked_before = seen.path == format!("deployments/{DEPLOYMENT}") && seen.nth > 0;
        healthy(seen, if asked_before { "success" } else { "building" })
    })
    .await;
    let ran = Ogel::at(&server).run(&["deploy", "https://h.org/a/shop"]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "http://shop.localhost:8787/\n"), "{ran:?}");
    let lines: Vec<&str> = ran.stderr.lines().filter(|line| line.contains(" | ")).collect();
    assert_eq!(lines, ["    1 | line 1", "    2 | line 2", "    3 | line 3"]);
    assert!(ran.stderr.contains("Lost the live log"), "{}", ran.stderr);
}

#[tokio::test]
async fn a_stream_that_never_ends_does_not_hold_the_verdict_back() {
    let server =
        Server::start(|seen: &Seen| if is_stream(seen) { Reply::Mute(vec![line(1)]) } else { healthy(seen, "failed") })
            .await;
    let ran = Ogel::at(&server).run(&["deploy", "https://h.org/a/shop", "--json"]).await;
    assert_eq!((ran.code, ran.json()), (Some(1), deployment("failed")));
}

#[tokio::test]
async fn the_time_limit_stops_the_watching_only() {
    let server =
        Server::start(|seen: &Seen| if is_stream(seen) { Reply::Mute(vec![]) } else { healthy(seen, "building") })
            .await;
    let ran = Ogel::at(&server).run(&["deploy", "https://h.org/a/shop", "--timeout", "1", "--json"]).await;
    assert_eq!((ran.code, ran.json()), (Some(124), deployment("pending")));
    assert!(ran.stderr.contains("not over after 1 s; the deployment goes on"), "{}", ran.stderr);
}

#[cfg(unix)]
#[tokio::test]
async fn an_interruption_leaves_the_deployment_and_says_how_to_find_it() {
    let server = Server::start(
        |seen: &Seen| {
            if is_stream(seen) { Reply::Mute(vec![line(1)]) } else { healthy(seen, "building") }
        },
    )
    .await;
    let mut child = Ogel::at(&server).command(&["deploy", "https://h.org/a/shop"]).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap()).lines();
    while !stderr.next_line().await.unwrap().unwrap().contains("line 1") {}
    let id = child.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let mut rest = Vec::new();
    while let Some(line) = stderr.next_line().await.unwrap() {
        rest.push(line);
    }
    insta::assert_snapshot!(rest.join("\n"), @"
    error: interrupted; the deployment goes on

    hint: follow it with `ogel logs dpl_01h455vb4pex5vsknk084sn02q --follow`, stop it with `ogel deployments cancel dpl_01h455vb4pex5vsknk084sn02q`
    ");
    assert_eq!(ran(child).await.code, Some(130));
}

#[tokio::test]
async fn a_server_that_cannot_read_this_machine_leads_to_the_origin() {
    let server = Server::start(|seen: &Seen| match seen.operation().as_str() {
        "POST deployments" => Reply::Error(400, "REPO_SCHEME_NOT_ALLOWED", 0),
        _ => healthy(seen, "success"),
    })
    .await;
    let (_parent, folder) = repository();
    git(&folder, &["remote", "add", "origin", "https://h.org/a/shop"]);
    let run = Ogel::at(&server).command(&["deploy", "-q"]).current_dir(&folder).spawn().unwrap();
    let ran = tokio::time::timeout(Duration::from_secs(20), ran(run)).await.unwrap();
    assert_eq!(ran.code, Some(2));
    insta::assert_snapshot!(ran.stderr, @"
    error: the message of `REPO_SCHEME_NOT_ALLOWED`

    hint: push it, then run `ogel deploy https://h.org/a/shop`
    ");
}
