//! `ogel deploy`: verdicts, streams of output, and what a folder becomes.

use crate::{
    ogel::{BUILD, DEPLOYMENT, Ogel, deployment, healthy, is_stream, page, project},
    repository::{git, repository},
    server::{Reply, Seen, Server, end, line, status},
};
use serde_json::{Value, json};

/// A build with two lines that ends as `verdict`.
fn build(verdict: &'static str) -> impl Fn(&Seen) -> Reply {
    move |seen| {
        if is_stream(seen) {
            return Reply::Socket(vec![status("building"), line(1), line(2), end(verdict)]);
        }
        healthy(seen, verdict)
    }
}

#[tokio::test]
async fn the_preview_url_stands_alone_on_stdout() {
    let server = Server::start(build("success")).await;
    let ran = Ogel::at(&server).run(&["deploy", "https://h.org/a/shop.git", "--branch", "main"]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(ran.stdout, "http://shop.localhost:8787/\n");
    let stderr = ran.stderr.rsplit_once("Ready in ").unwrap();
    assert!(stderr.1.ends_with("s\n"), "{}", ran.stderr);
    insta::assert_snapshot!(stderr.0, @"
    Deploying shop main to project shop
    dpl_01h455vb4pex5vsknk084sn02q · bld_01h455vb4pex5vsknk084sn02q
    Waiting for a builder
    Building
        1 | line 1
        2 | line 2
    ");
}

#[tokio::test]
async fn every_verdict_has_its_exit_code_and_its_json() {
    for (verdict, code) in [("success", 0), ("failed", 1), ("canceled", 1)] {
        let server = Server::start(build(verdict)).await;
        let ogel = Ogel::at(&server);
        let ran = ogel.run(&["deploy", "https://h.org/a/shop", "--json"]).await;
        assert_eq!(ran.code, Some(code), "{ran:?}");
        assert_eq!(ran.json(), deployment(verdict));
        let ran = ogel.run(&["deploy", "https://h.org/a/shop", "--quiet"]).await;
        assert_eq!(ran.code, Some(code), "{ran:?}");
        assert_eq!(ran.stdout.is_empty(), code != 0, "{ran:?}");
        assert_eq!(ran.stderr.is_empty(), code == 0, "{ran:?}");
    }
}

#[tokio::test]
async fn a_failed_build_says_why() {
    let server = Server::start(build("failed")).await;
    let ran = Ogel::at(&server).run(&["deploy", "https://h.org/a/shop", "-q"]).await;
    let seconds = ran.stderr.split("after ").nth(1).unwrap().lines().next().unwrap();
    insta::assert_snapshot!(ran.stderr.replace(seconds, "[TIME]"), @"
    error: Build failed after [TIME]
      `npm run build` ended with 2
      missing script: build

    hint: `ogel logs bld_01h455vb4pex5vsknk084sn02q` shows the whole log
    ");
}

#[tokio::test]
async fn a_folder_becomes_the_url_of_its_repository() {
    let server = Server::start(build("success")).await;
    let (_parent, folder) = repository();
    let commit = git(&folder, &["rev-parse", "--short=7", "HEAD"]);
    let ogel = Ogel::at(&server);
    let ran = ogel.run(&["deploy", folder.to_str().unwrap()]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stderr.starts_with(&format!("Deploying my shop main@{commit} to project shop\n")), "{}", ran.stderr);
    let url = format!("file://{}", folder.to_str().unwrap().replace(' ', "%20"));
    let sent = server.asked("POST deployments").remove(0);
    assert_eq!(sent.body, json!({"projectId": project("shop")["id"], "repoUrl": url, "branch": "main"}));

    // The URL is one that git itself takes.
    git(&folder, &["clone", "--quiet", &url, "../clone"]);

    // A subfolder is where the site is; a hook's variables do not lead elsewhere.
    let ran = crate::ogel::ran(
        ogel.command(&["deploy", "--root-directory", "docs"])
            .current_dir(folder.join("web"))
            .env("GIT_DIR", "/nowhere")
            .spawn()
            .unwrap(),
    )
    .await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let sent = server.asked("POST deployments").remove(1).body;
    assert_eq!((&sent["repoUrl"], &sent["rootDirectory"]), (&json!(url), &json!("web/docs")));
}

#[tokio::test]
async fn the_branch_and_every_option_are_sent() {
    let server = Server::start(build("success")).await;
    let (_parent, folder) = repository();
    git(&folder, &["branch", "next"]);
    std::fs::write(folder.join("index.html"), "changed").unwrap();
    let path = folder.to_str().unwrap();
    let ran = Ogel::at(&server)
        .run(&[
            "deploy",
            path,
            "--branch",
            "next",
            "--project",
            "shop",
            "--framework",
            "vite",
            "--build-command",
            "b",
            "--install-command",
            "i",
            "--output-directory",
            "out",
            "--env",
            "A=b=c",
            "--env",
            "D=",
            "--tag",
            "t",
        ])
        .await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    // The changes are on another branch than the deployed one.
    assert!(!ran.stderr.contains("warning"), "{}", ran.stderr);
    let mut sent = server.asked("POST deployments").remove(0).body;
    sent["repoUrl"] = Value::Null;
    insta::assert_snapshot!(sent, @r#"{"branch":"next","buildCommand":"b","env":{"A":"b=c","D":""},"framework":"vite","installCommand":"i","outputDirectory":"out","projectId":"proj_01h455vb4pex5vsknk084sn02q","repoUrl":null,"tags":["t"]}"#);
}

#[tokio::test]
async fn changes_that_stay_behind_are_warned_of() {
    let server = Server::start(build("success")).await;
    let (_parent, folder) = repository();
    std::fs::write(folder.join("new.html"), "new").unwrap();
    let ran = Ogel::at(&server).run(&["deploy", folder.to_str().unwrap()]).await;
    assert_eq!(ran.code, Some(0));
    assert!(ran.stderr.starts_with("warning: 1 uncommitted change is left out: the last commit ("), "{}", ran.stderr);
}

#[tokio::test]
async fn a_detached_head_is_deployed_by_its_commit() {
    let server = Server::start(build("success")).await;
    let (_parent, folder) = repository();
    git(&folder, &["checkout", "--quiet", "--detach"]);
    let commit = git(&folder, &["rev-parse", "HEAD"]);
    let ran = Ogel::at(&server).run(&["deploy", folder.to_str().unwrap()]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let sent = server.asked("POST deployments").remove(0).body;
    assert_eq!((&sent["commitSha"], sent.get("branch")), (&json!(commit), None));
}

#[tokio::test]
async fn no_wait_prints_the_id_and_returns() {
    let server = Server::start(build("failed")).await;
    let ogel = Ogel::at(&server);
    let ran = ogel.run(&["deploy", "https://h.org/a/shop", "--no-wait"]).await;
    assert_eq!((ran.code, ran.stdout), (Some(0), format!("{DEPLOYMENT}\n")));
    let ran = ogel.run(&["deploy", "https://h.org/a/shop", "--no-wait", "--json"]).await;
    assert_eq!(ran.json()["status"], "pending");
    assert!(server.asked(&format!("GET builds/{BUILD}/logs")).is_empty());
}

#[tokio::test]
async fn without_a_project_the_only_one_is_taken_and_several_are_listed() {
    let several = |seen: &Seen| match seen.operation().as_str() {
        "GET projects" => Reply::Json(200, page("projects", &[project("shop"), project("blog")])),
        _ => healthy(seen, "success"),
    };
    let server = Server::start(several).await;
    let ran = Ogel::at(&server).run(&["deploy", "https://h.org/a/shop"]).await;
    assert_eq!(ran.code, Some(2));
    insta::assert_snapshot!(ran.stderr, @"
    error: there are several projects; name the one to use
      shop  Shop
      blog  Shop

    hint: add `--project shop`
    ");
    assert!(server.asked("POST deployments").is_empty());
}
