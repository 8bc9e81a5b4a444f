//! Queueing, cancelling, restarting: a build never outlives its deployment, and a deployment never hangs.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use http::Method;
use serde_json::json;

use crate::support::{Ghost, Repo, config, ghost, ghost_with, processes_with, until};

/// A build that never ends: one process that ignores being asked, one that leaves its group. All carry the marker.
fn forever(marker: &str) -> String {
    format!(
        "setsid sh -c 'while :; do sleep 1; done' {marker} & \
         sh -c 'trap \"\" TERM; while :; do sleep 1; done' {marker} & \
         echo started {marker}; wait"
    )
}

async fn running(marker: &str) {
    until("the processes to run", || async { (processes_with(marker).len() >= 3).then_some(()) }).await;
}

async fn cancel(ghost: &Ghost, id: &str) -> (u16, serde_json::Value) {
    let path = format!("/v1/projects/shop/deployments/{id}/status");
    let (status, body) = ghost.call(Method::PATCH, &path, json!({ "status": "canceled" })).await;
    (status.as_u16(), body)
}

#[tokio::test]
async fn a_cancelled_build_leaves_no_process_behind() {
    let (ghost, _dir) = ghost().await;
    let repo = Repo::new(&[("index.html", "x")]);
    let marker = "marker-cancel-5e1f";
    ghost.deploy("one", &repo, json!({ "buildCommand": forever(marker) })).await;
    running(marker).await;
    let (status, body) = cancel(&ghost, "one").await;
    assert_eq!((status, body["status"].as_str().unwrap()), (200, "canceled"));
    assert_eq!(processes_with(marker), Vec::<String>::new());
    let (status, body) = cancel(&ghost, "one").await;
    assert_eq!((status, body["type"].as_str().unwrap()), (409, "deployment_not_cancelable"));
    ghost.inner.shutdown().await;
}

#[tokio::test]
async fn a_deleted_deployment_takes_its_build_with_it() {
    let (ghost, _dir) = ghost().await;
    let repo = Repo::new(&[("index.html", "x")]);
    let marker = "marker-delete-77ab";
    let created = ghost.deploy("one", &repo, json!({ "buildCommand": forever(marker) })).await;
    running(marker).await;
    let (status, _) = ghost.call(Method::DELETE, "/v1/projects/shop/deployments/one", json!(null)).await;
    assert_eq!(status, 204);
    assert_eq!(processes_with(marker), Vec::<String>::new());
    let build = format!("/v1/builds/{}", created["buildId"].as_str().unwrap());
    assert_eq!(ghost.call(Method::GET, &build, json!(null)).await.1["type"], "build_not_found");
    let again = format!("{marker}-again");
    ghost.deploy("two", &repo, json!({ "buildCommand": forever(&again) })).await;
    running(&again).await;
    assert_eq!(ghost.call(Method::DELETE, "/v1/projects/shop", json!(null)).await.0, 204);
    assert_eq!(processes_with(&again), Vec::<String>::new());
    ghost.inner.shutdown().await;
}

#[tokio::test]
async fn what_a_finished_command_left_in_the_background_is_ended() {
    let (ghost, _dir) = ghost().await;
    let repo = Repo::new(&[("index.html", "x")]);
    let marker = "marker-left-90cd";
    let command = format!("sh -c 'while :; do sleep 1; done' {marker} & echo done");
    ghost.deploy("one", &repo, json!({ "buildCommand": command })).await;
    ghost.succeeded("one").await;
    assert_eq!(processes_with(marker), Vec::<String>::new());
    ghost.inner.shutdown().await;
}

#[tokio::test]
async fn the_third_build_waits_for_a_free_slot() {
    let (ghost, _dir) = ghost().await;
    let repo = Repo::new(&[("index.html", "x")]);
    let gate = repo.path().join("open");
    let wait = json!({ "buildCommand": format!("while [ ! -e {} ]; do sleep 0.05; done", gate.display()) });
    for id in ["one", "two", "three", "four"] {
        ghost.deploy(id, &repo, wait.clone()).await;
    }
    ghost.wait("one", &["building"]).await;
    ghost.wait("two", &["building"]).await;
    assert_eq!(ghost.deployment("three").await["status"], "pending");
    let (status, body) = cancel(&ghost, "three").await;
    assert_eq!((status, body["status"].as_str().unwrap()), (200, "canceled"));
    std::fs::write(&gate, "").unwrap();
    for id in ["one", "two", "four"] {
        ghost.succeeded(id).await;
    }
    assert_eq!(ghost.deployment("three").await["status"], "canceled");
    ghost.inner.shutdown().await;
}

#[tokio::test]
async fn a_restart_fails_what_ran_and_resumes_what_waited() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = config(dir.path());
    settings.max_concurrent_builds = 1;
    let ghost = ghost_with(settings.clone()).await;
    ghost.make_project("shop").await;
    let repo = Repo::new(&[("index.html", "x")]);
    let marker = "marker-restart-31be";
    ghost.deploy("ran", &repo, json!({ "buildCommand": forever(marker) })).await;
    ghost.deploy("waited", &repo, json!({})).await;
    running(marker).await;
    ghost.inner.shutdown().await;
    assert_eq!(processes_with(marker), Vec::<String>::new());
    let ghost = ghost_with(settings).await;
    let ran = ghost.finished("ran").await;
    assert_eq!(ran["error"], "interrupted: Ghost restarted while this build ran");
    ghost.succeeded("waited").await;
    ghost.inner.shutdown().await;
}

/// Names the data directory for `a_ghost_in_a_process_of_its_own`.
const CHILD: &str = "OGEL_GHOST_LOCAL_TEST_CHILD";

/// Not a test by itself: the process that the next test kills.
#[tokio::test]
async fn a_ghost_in_a_process_of_its_own() {
    let Some(dir) = std::env::var_os(CHILD).map(PathBuf::from) else { return };
    let repo = std::fs::read_to_string(dir.join("repo")).unwrap();
    let ghost = ghost_with(config(&dir.join("data"))).await;
    ghost.make_project("shop").await;
    let body = json!({
        "deploymentId": "ran", "repoUrl": repo, "branch": "main", "buildCommand": forever("marker-killed-4d2a"),
    });
    ghost.call(Method::POST, "/v1/projects/shop/deployments", body).await;
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn processes_that_outlived_a_killed_ghost_are_ended_by_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let repo = Repo::new(&[("index.html", "x")]);
    std::fs::write(dir.path().join("repo"), repo.url()).unwrap();
    let marker = "marker-killed-4d2a";
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "lifecycle::a_ghost_in_a_process_of_its_own"])
        .env(CHILD, dir.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    running(marker).await;
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(processes_with(marker).len() >= 2, "the build outlives its Ghost");
    let ghost = ghost_with(config(&dir.path().join("data"))).await;
    assert_eq!(processes_with(marker), Vec::<String>::new());
    let ran = ghost.deployment("ran").await;
    assert_eq!(ran["status"], "failed");
    assert_eq!(ran["error"], "interrupted: Ghost restarted while this build ran");
    let lines = ghost.lines(&ran).await;
    assert!(lines.last().unwrap().1.contains("interrupted"), "{lines:?}");
    ghost.inner.shutdown().await;
}

#[tokio::test]
async fn a_data_directory_has_one_ghost_at_a_time() {
    let (ghost, dir) = ghost().await;
    let second = ogel_ghost_local::LocalGhost::start(config(dir.path())).await;
    assert!(matches!(second, Err(ogel_ghost_local::StartError::DataDirInUse(_))));
    ghost.inner.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ghost_starts_again_while_programs_are_being_started() {
    let dir = tempfile::tempdir().unwrap();
    let over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Each of them has all our files open until it has become another program.
        scope.spawn(|| {
            while !over.load(std::sync::atomic::Ordering::Relaxed) {
                Command::new("true").status().unwrap();
            }
        });
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                for _ in 0..40 {
                    ghost_with(config(dir.path())).await.inner.shutdown().await;
                }
            });
        });
        over.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}
