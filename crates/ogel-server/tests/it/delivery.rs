//! Ghost slow, away, or silent after it did the work; and the service restarted: one deployment each, none lost.

use crate::on_both;
use http::Method;
use ogel_testkit::{Database, Repository, TestApp, eventually};
use serde_json::json;

on_both! {
    async fn an_answer_that_is_lost_makes_no_second_deployment(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let project = ada.project("shop").await;
        // Ghost does the work, but its answers get lost on the way: of the project, of the key, of the deployment.
        app.ghost.faults().drop_next_answers(1, Some(Method::POST), "/v1/projects");
        let repository = Repository::of_a_page("x");
        let first = ada.deploy(&project, &repository.url(), json!({})).await;
        ada.ended(&first["id"]).await;
        let uuid = project.parse::<ogel_api::id::ProjectId>().unwrap().0;
        app.ghost.faults().drop_next_answers(2, Some(Method::POST), &format!("/v1/projects/{uuid}/deployments"));
        let repository = Repository::of_a_page("y");
        let second = ada.deploy(&project, &repository.url(), json!({})).await;
        assert_eq!(ada.ended(&second["id"]).await["status"], "success");
        assert_eq!(app.deployments_at_ghost(&project).await, 2);
    }

    async fn errors_of_ghost_are_waited_out(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let project = ada.project("shop").await;
        app.ghost.faults().fail_next(7, None, "/v1", 503);
        app.ghost.faults().drop_next_connections(3, None, "/v1");
        let repository = Repository::of_a_page("x");
        let body = json!({ "projectId": project, "repoUrl": repository.url() });
        let answer = ada.post("/deployments", body).await;
        assert!(matches!(answer.status.as_u16(), 201 | 202), "{answer:?}");
        let done = ada.ended(&answer.body["id"]).await;
        assert_eq!(done["status"], "success", "{done}");
        assert_eq!(app.deployments_at_ghost(&project).await, 1);
    }

    async fn a_network_that_breaks_in_the_middle_loses_nothing(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let project = ada.project("shop").await;
        let repository = Repository::new(&[("build.sh", "sleep 1; mkdir out; echo x > out/index.html")]);
        let more = json!({ "buildCommand": "sh build.sh", "outputDirectory": "out" });
        let created = ada.deploy(&project, &repository.url(), more).await;
        app.network.set_down(true);
        // What Studio knows can be read all the same; the log, which is Ghost's, says whose fault it is.
        let path = format!("/deployments/{}", created["id"].as_str().unwrap());
        ada.get(&path).await.expect(200);
        let logs = format!("/builds/{}/logs", created["buildId"].as_str().unwrap());
        let error = ada.get(&logs).await;
        assert!(error.status.is_server_error(), "{error:?}");
        assert_eq!(error.body["error"]["source"], "ghost");
        app.network.set_down(false);
        assert_eq!(ada.ended(&created["id"]).await["status"], "success");
        assert_eq!(app.deployments_at_ghost(&project).await, 1);
    }

    async fn connections_to_ghost_are_used_again(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let project = ada.project("shop").await;
        let repository = Repository::of_a_page("x");
        let created = ada.deploy(&project, &repository.url(), json!({})).await;
        ada.ended(&created["id"]).await;
        let before = app.network.opened();
        let logs = format!("/builds/{}/logs", created["buildId"].as_str().unwrap());
        for _ in 0..20 {
            ada.get(&logs).await.expect(200);
        }
        assert!(app.network.opened() - before <= 2, "{} connections for 20 calls", app.network.opened() - before);
    }

    async fn without_realtime_events_a_deployment_still_ends(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let project = ada.project("shop").await;
        let repository = Repository::new(&[("build.sh", "sleep 1; mkdir out; echo x > out/index.html")]);
        let more = json!({ "buildCommand": "sh build.sh", "outputDirectory": "out" });
        let created = ada.deploy(&project, &repository.url(), more).await;
        app.ghost.faults().drop_realtime_sockets();
        assert_eq!(ada.ended(&created["id"]).await["status"], "success");
    }
}

/// A server whose Ghost does not take the deployment in time answers 202 and goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_ghost_gives_202_and_the_deployment_goes_on() {
    let app = TestApp::start_with(Database::Sqlite, |config| config.deployments.accept_wait_seconds = 1).await;
    let ada = app.sign_up("ada").await;
    let project = ada.project("shop").await;
    app.ghost.faults().set_latency(std::time::Duration::from_millis(700));
    let repository = Repository::of_a_page("x");
    let body = json!({ "projectId": project, "repoUrl": repository.url() });
    let pending = ada.post("/deployments", body).await.expect(202);
    assert_eq!(pending["status"], "pending");
    app.ghost.faults().clear();
    assert_eq!(ada.ended(&pending["id"]).await["status"], "success");
    app.stop().await;
}

/// What had not ended when the process stopped is taken up by the next one.
async fn survives_a_restart(database: Database) {
    let app = TestApp::start_with(database, |config| config.deployments.accept_wait_seconds = 1).await;
    let ada = app.sign_up("ada").await;
    let project = ada.project("shop").await;
    let repository = Repository::of_a_page("x");
    // This one Ghost never hears of before the restart, the other one it is building.
    let more = json!({ "buildCommand": "sleep 1000000" });
    let running = ada.deploy_in_time(&project, &repository.url(), more).await;
    ada.building(&running["id"]).await;
    app.ghost.faults().drop_next_connections(1_000_000, None, "/v1");
    let body = json!({ "projectId": project, "repoUrl": repository.url() });
    let unheard = ada.post("/deployments", body).await.expect(202);
    let token = ada.token.clone();
    let app = app.restart().await;
    let ada = app.anonymous().with_token(token.as_deref());
    assert_eq!(ada.ended(&unheard["id"]).await["status"], "success");
    let interrupted = ada.ended(&running["id"]).await;
    assert_eq!(interrupted["status"], "failed");
    assert!(interrupted["error"].as_str().unwrap().contains("restart"), "{interrupted}");
    assert_eq!(app.deployments_at_ghost(&project).await, 2);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unfinished_deployments_survive_a_restart_on_sqlite() {
    survives_a_restart(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unfinished_deployments_survive_a_restart_on_postgres() {
    survives_a_restart(Database::Postgres).await;
}

/// Canceled while Ghost is away: it never begins.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ghost_never_heard_of_is_canceled_without_it() {
    let app = TestApp::start_with(Database::Sqlite, |config| config.deployments.accept_wait_seconds = 1).await;
    let ada = app.sign_up("ada").await;
    let project = ada.project("shop").await;
    app.ghost.faults().drop_next_connections(1_000_000, None, "/v1");
    let repository = Repository::of_a_page("x");
    let body = json!({ "projectId": project, "repoUrl": repository.url() });
    let pending = ada.post("/deployments", body).await.expect(202);
    let path = format!("/deployments/{}", pending["id"].as_str().unwrap());
    eventually("the cancellation is through", || async {
        let answer = ada.post(&format!("{path}/cancel"), json!({})).await;
        (answer.status == 200).then_some(())
    })
    .await;
    app.ghost.faults().clear();
    assert_eq!(app.deployments_at_ghost(&project).await, 0);
    app.stop().await;
}

/// Nothing stays `building` for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_past_its_deadline_fails_and_is_stopped() {
    let app = TestApp::start(Database::Sqlite).await;
    let ada = app.sign_up("ada").await;
    let project = ada.project("shop").await;
    let repository = Repository::of_a_page("x");
    let created = ada.deploy(&project, &repository.url(), json!({ "buildCommand": "sleep 1000000" })).await;
    app.app.world.clock.advance(chrono::TimeDelta::minutes(61));
    let done = ada.ended(&created["id"]).await;
    assert_eq!(done["error"], "it did not end within 60 minutes");
    app.stop().await;
}
