//! What is asked of Ghost while Ghost is away: 202 with an operation that is done later, or waits for an operator.

use crate::on_both;
use http::Method;
use ogel_testkit::{Api, Database, Repository, TestApp, eventually};
use serde_json::{Value, json};

async fn succeeded(ada: &Api, project: &str) -> Value {
    let repository = Repository::of_a_page("x");
    let made = ada.deploy_in_time(project, &repository.url(), json!({})).await;
    let done = ada.ended(&made["id"]).await;
    assert_eq!(done["status"], "success");
    done
}

fn path(of: &Value) -> String {
    format!("/deployments/{}", of["id"].as_str().unwrap())
}

async fn impatient(database: Database) -> TestApp {
    TestApp::start_with(database, |config| {
        config.deployments.accept_wait_seconds = 1;
        config.auth.operators = vec!["grace@example.com".to_owned()];
        config.work.max_attempts = 2;
    })
    .await
}

async fn ended(ada: &Api, id: &Value) -> Value {
    let path = format!("/operations/{}/wait?timeout=5", id.as_str().unwrap());
    eventually("the operation ends", || async {
        let operation = ada.get(&path).await.expect(200);
        (!operation["completedAt"].is_null()).then_some(operation)
    })
    .await
}

on_both! {
    async fn making_a_deployment_is_an_operation_that_can_be_waited_for(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let project = ada.project("shop").await;
        let repository = Repository::of_a_page("x");
        let made = ada.deploy(&project, &repository.url(), json!({})).await;
        let done = ada.ended(&made["id"]).await;
        assert_eq!(done["status"], "success");
        assert!(done.get("operationId").is_none(), "only a 202 names one");
        let operation = done["id"].as_str().unwrap().replace("dpl_", "op_");
        let shown = ada.get(&format!("/operations/{operation}")).await.expect(200);
        assert_eq!((&shown["kind"], &shown["state"]), (&json!("create_deployment"), &json!("succeeded")));
        assert_eq!(shown["deploymentId"], done["id"]);
        assert_eq!(ada.get(&format!("/operations/{operation}/wait")).await.expect(200), shown);
        ada.get(&format!("/operations/{operation}/wait?timeout=61")).await.expect_error(400, "INVALID_VALUE");
    }
}

async fn done_later(database: Database) {
    let app = impatient(database).await;
    let ada = app.sign_up("ada").await;
    let project = ada.project("shop").await;
    let (first, second) = (succeeded(&ada, &project).await, succeeded(&ada, &project).await);
    let third = succeeded(&ada, &project).await;
    // Long enough that two attempts do not fail: each waits for its answer.
    app.ghost.faults().set_latency(std::time::Duration::from_secs(3));
    let promoting = ada.post(&format!("{}/promote", path(&second)), json!({ "reason": "better" })).await.expect(202);
    assert_eq!(promoting["active"], false);
    let deleting = ada.delete(&path(&third)).await.expect(202);
    assert_eq!((&deleting["kind"], &deleting["state"]), (&json!("delete_deployment"), &json!("pending")));
    let again = ada.delete(&path(&third)).await.expect(202);
    assert_eq!(again["id"], deleting["id"], "it is under way already");
    app.ghost.faults().clear();
    assert_eq!(ended(&ada, &promoting["operationId"]).await["state"], "succeeded");
    assert_eq!(ended(&ada, &deleting["id"]).await["state"], "succeeded");
    let promoted = ada.get(&path(&second)).await.expect(200);
    assert_eq!(promoted["active"], true);
    assert_eq!(ada.get(&path(&first)).await.expect(200)["active"], false);
    ada.get(&path(&third)).await.expect_error(404, "NOT_FOUND");
    assert_eq!(app.deployments_at_ghost(&project).await, 2);
    let events = ada.get(&format!("{}/events", path(&second))).await.expect(200);
    assert_eq!((&events["events"][0]["type"], &events["events"][0]["reason"]), (&json!("promoted"), &json!("better")));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ghost_is_slow_at_is_done_later_on_sqlite() {
    done_later(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ghost_is_slow_at_is_done_later_on_postgres() {
    done_later(Database::Postgres).await;
}

/// Dead after two attempts; an operator finds it and has it done after all.
async fn dead_letters(database: Database) {
    let app = impatient(database).await;
    let (ada, grace) = (app.sign_up("ada").await, app.sign_up("grace").await);
    let project = ada.project("shop").await;
    let done = succeeded(&ada, &project).await;
    app.ghost.faults().fail_next(1_000_000, None, "/v1", 503);
    let deleting = ada.delete(&path(&done)).await.expect(202);
    let repository = Repository::of_a_page("y");
    let body = json!({ "projectId": project, "repoUrl": repository.url() });
    let unheard = ada.post("/deployments", body).await.expect(202);
    let dead = eventually("both are dead", || async {
        let list = grace.get("/admin/operations?state=dead").await.expect(200);
        let rows = list["operations"].as_array().unwrap().clone();
        (rows.len() == 2).then_some(rows)
    })
    .await;
    let row = dead.iter().find(|row| row["id"] == deleting["id"]).unwrap();
    assert_eq!((&row["state"], &row["attempts"]), (&json!("dead"), &json!(2)));
    assert!(row["lastError"].as_str().unwrap().starts_with("UPSTREAM_"), "{row}");
    assert!(dead.iter().any(|row| row["id"] == unheard["operationId"]));
    let shown = ada.get(&format!("/operations/{}", deleting["id"].as_str().unwrap())).await.expect(200);
    assert_eq!(shown["state"], "dead");
    let config = ogel_server::config::Config::clone(&app.app.config());
    let report = ogel_server::doctor::examine(config, &[]).await.unwrap();
    assert!(!report.is_well && report.text.contains(deleting["id"].as_str().unwrap()), "{}", report.text);
    assert!(report.text.contains("ok   database"), "{}", report.text);
    let (_, metrics) = app.operations("/metrics").await;
    assert!(metrics.contains("ogel_work_jobs{queue=\"operations\",state=\"dead\"} 1"), "{metrics}");

    app.ghost.faults().clear();
    let retry = format!("/admin/operations/{}/retry", deleting["id"].as_str().unwrap());
    assert_eq!(grace.post(&retry, json!({})).await.expect(202)["state"], "pending");
    // The same from a shell beside it.
    let other = unheard["operationId"].as_str().unwrap().parse().unwrap();
    let config = ogel_server::config::Config::clone(&app.app.config());
    let report = ogel_server::doctor::examine(config.clone(), &[other]).await.unwrap();
    assert!(report.text.contains(&format!("ok   operation {other}: will be done after all")), "{}", report.text);
    let report = ogel_server::doctor::examine(config, &[other]).await.unwrap();
    assert!(report.text.contains(&format!("BAD  operation {other}: is not there, or not dead")), "{}", report.text);
    // That shell's clock runs on.
    app.app.world.clock.advance(chrono::TimeDelta::minutes(10));
    assert_eq!(ended(&ada, &deleting["id"]).await["state"], "succeeded");
    assert_eq!(ada.ended(&unheard["id"]).await["status"], "success");
    ada.get(&path(&done)).await.expect_error(404, "NOT_FOUND");
    let retry = format!("/admin/operations/{}/retry", deleting["id"].as_str().unwrap());
    grace.post(&retry, json!({})).await.expect_error(409, "CONFLICT");
    grace.post("/admin/operations/op_01h455vb4pex5vsknk084sn02q/retry", json!({})).await.expect_error(404, "NOT_FOUND");
    assert_eq!(app.deployments_at_ghost(&project).await, 1);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_too_often_waits_for_an_operator_on_sqlite() {
    dead_letters(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_too_often_waits_for_an_operator_on_postgres() {
    dead_letters(Database::Postgres).await;
}

/// The last wish counts, also when an earlier one comes to be done after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promotion_that_was_overtaken_does_not_come_back() {
    let app = impatient(Database::Sqlite).await;
    let (ada, grace) = (app.sign_up("ada").await, app.sign_up("grace").await);
    let project = ada.project("shop").await;
    let (first, second) = (succeeded(&ada, &project).await, succeeded(&ada, &project).await);
    app.ghost.faults().fail_next(1_000_000, None, "/v1", 503);
    let late = ada.post(&format!("{}/promote", path(&second)), json!({})).await.expect(202);
    eventually("it is dead", || async {
        let list = grace.get("/admin/operations?state=dead").await.expect(200);
        (list["operations"].as_array().unwrap().len() == 1).then_some(())
    })
    .await;
    app.ghost.faults().clear();
    app.app.world.clock.advance(chrono::TimeDelta::seconds(1));
    ada.post(&format!("{}/promote", path(&first)), json!({})).await.expect(200);
    let id = late["operationId"].as_str().unwrap();
    grace.post(&format!("/admin/operations/{id}/retry"), json!({})).await.expect(202);
    let over = ended(&ada, &late["operationId"]).await;
    assert_eq!((&over["state"], &over["error"]["code"]), (&json!("failed"), &json!("CONFLICT")));
    assert_eq!(ada.get(&path(&first)).await.expect(200)["active"], true);
    app.stop().await;
}

/// What is over here for want of time is stopped there, however long Ghost was away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_given_up_while_ghost_is_away_is_stopped_there_later() {
    let app = TestApp::start(Database::Sqlite).await;
    let ada = app.sign_up("ada").await;
    let project = ada.project("shop").await;
    let repository = Repository::of_a_page("x");
    let made = ada.deploy(&project, &repository.url(), json!({ "buildCommand": "sleep 1000000" })).await;
    app.ghost.faults().fail_next(1_000_000, None, "/v1", 503);
    app.app.world.clock.advance(chrono::TimeDelta::minutes(61));
    assert_eq!(ada.ended(&made["id"]).await["status"], "failed");
    app.ghost.faults().clear();
    let id = made["id"].as_str().unwrap();
    eventually("Ghost has stopped it", || async {
        (app.status_at_ghost(&project, id).await == "canceled").then_some(())
    })
    .await;
    app.stop().await;
}

/// Deploying again is written down while Ghost is away, and done when it is back.
async fn redeployed_later(database: Database) {
    let app = TestApp::start_with(database, |config| config.deployments.accept_wait_seconds = 1).await;
    let ada = app.sign_up("ada").await;
    let project = ada.project("shop").await;
    let repository = Repository::of_a_page("x");
    let first = ada.deploy_in_time(&project, &repository.url(), json!({})).await;
    let first = ada.ended(&first["id"]).await;
    app.network.set_down(true);
    let again = ada.post(&format!("{}/redeploy", path(&first)), json!({})).await.expect(202);
    assert_eq!((&again["status"], &again["commitSha"]), (&json!("pending"), &first["commitSha"]));
    app.network.set_down(false);
    assert_eq!(ada.ended(&again["id"]).await["status"], "success");
    assert_eq!(ended(&ada, &again["operationId"]).await["state"], "succeeded");
    assert_eq!(app.deployments_at_ghost(&project).await, 2);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_deployed_again_while_ghost_is_away_is_deployed_later_on_sqlite() {
    redeployed_later(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_deployed_again_while_ghost_is_away_is_deployed_later_on_postgres() {
    redeployed_later(Database::Postgres).await;
}

/// While replicas are replaced, a newer one may ask for what an older one has no word for: it shows it, and leaves it undone.
async fn asked_by_a_newer_build(database: Database) {
    let app = impatient(database).await;
    let (ada, grace) = (app.sign_up("ada").await, app.sign_up("grace").await);
    let project = ada.project("shop").await;
    let deployment = succeeded(&ada, &project).await;
    app.network.set_down(true);
    let id = ada.delete(&path(&deployment)).await.expect(202)["id"].clone();
    app.at_database("UPDATE operations SET kind = 'from_the_future' WHERE completed_at IS NULL").await;
    app.at_database("UPDATE deployment_events SET kind = 'from_the_future' WHERE kind = 'created'").await;
    let events = ada.get(&format!("{}/events", path(&deployment))).await.expect(200);
    let of_the_future = |event: &&Value| event["type"] == "unrecognized";
    assert_eq!(events["events"].as_array().unwrap().iter().filter(of_the_future).count(), 1, "{events}");
    let given_up = eventually("it is given up", || async {
        let dead = grace.get("/admin/operations?state=dead").await.expect(200);
        dead["operations"].as_array().unwrap().first().cloned()
    })
    .await;
    assert_eq!((&given_up["id"], &given_up["kind"]), (&id, &json!("unrecognized")));
    // A replica that has the word does it.
    app.at_database("UPDATE operations SET kind = 'delete_deployment' WHERE completed_at IS NULL").await;
    app.network.set_down(false);
    grace.post(&format!("/admin/operations/{}/retry", id.as_str().unwrap()), json!({})).await.expect(202);
    assert_eq!(ended(&ada, &id).await["state"], "succeeded");
    ada.get(&path(&deployment)).await.expect_error(404, "NOT_FOUND");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_newer_build_asked_for_is_shown_and_left_to_it_on_sqlite() {
    asked_by_a_newer_build(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_newer_build_asked_for_is_shown_and_left_to_it_on_postgres() {
    asked_by_a_newer_build(Database::Postgres).await;
}

/// The end of a deleted project waits for Ghost as an operation; from its beginning on nobody can restore half of it.
async fn purged_later(database: Database) {
    let app = TestApp::start_with(database, |config| {
        config.deployments.accept_wait_seconds = 1;
        config.auth.operators = vec!["grace@example.com".to_owned()];
    })
    .await;
    let (ada, _) = (app.sign_up("ada").await, app.sign_up("grace").await);
    let project = ada.project("shop").await;
    succeeded(&ada, &project).await;
    ada.delete(&format!("/projects/{project}")).await.expect(204);
    app.app.world.clock.advance(chrono::TimeDelta::days(31));
    let (ada, grace) = (app.log_in("ada").await, app.log_in("grace").await);
    app.network.set_down(true);
    ogel_server::purge::purge_due(&app.app).await;
    let pending = grace.get("/admin/operations?state=pending").await.expect(200)["operations"][0].clone();
    assert_eq!((&pending["kind"], &pending["projectId"]), (&json!("delete_project"), &json!(project)));
    let restore = format!("/projects/{project}/restore");
    let error = ada.post(&restore, json!({})).await.expect_error(409, "CONFLICT");
    assert!(error["message"].as_str().unwrap().contains("removed for good"), "{error}");
    app.network.set_down(false);
    assert_eq!(ended(&ada, &pending["id"]).await["state"], "succeeded");
    assert_eq!(app.deployments_at_ghost(&project).await, 0);
    ada.post(&restore, json!({})).await.expect_error(404, "NOT_FOUND");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_project_purged_while_ghost_is_away_is_gone_later_and_not_restored_meanwhile_on_sqlite() {
    purged_later(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_project_purged_while_ghost_is_away_is_gone_later_and_not_restored_meanwhile_on_postgres() {
    purged_later(Database::Postgres).await;
}

/// Has everything compared, and waits for the end of it.
async fn compared(app: &TestApp, grace: &Api) -> Value {
    // What is young may be on its way.
    app.app.world.clock.advance(chrono::TimeDelta::minutes(3));
    let before = grace.get("/admin/reconciliation").await.expect(200)["last"]["finishedAt"].clone();
    grace.post("/admin/reconciliation", json!({})).await.expect(202);
    eventually("records are compared", || async {
        let found = grace.get("/admin/reconciliation").await.expect(200);
        (found["last"]["finishedAt"] != before && found["last"]["projects"] != 0).then_some(found)
    })
    .await
}

async fn operated(database: Database) -> (TestApp, Api, Api) {
    let app = impatient(database).await;
    let (ada, grace) = (app.sign_up("ada").await, app.sign_up("grace").await);
    (app, ada, grace)
}

async fn mended(database: Database) {
    let (app, ada, grace) = operated(database).await;
    let project = ada.project("shop").await;
    succeeded(&ada, &project).await;
    let repository = Repository::of_a_page("x");
    // One whose job is lost, as by an operator's hand.
    app.network.set_down(true);
    let body = json!({ "projectId": project, "repoUrl": repository.url() });
    let lost = ada.post("/deployments", body).await.expect(202);
    eventually("nobody is at it", || async {
        app.at_database("DELETE FROM work WHERE queue = 'deployments'").await;
        let queues = grace.get("/admin/queues").await.expect(200);
        let left = queues["queues"].as_array().unwrap().iter().any(|row| row["queue"] == "deployments");
        (!left).then_some(())
    })
    .await;
    app.network.set_down(false);
    // One that runs at Ghost although it is over here.
    let runs = ada.deploy(&project, &repository.url(), json!({ "buildCommand": "sleep 1000000" })).await;
    app.at_database("DELETE FROM work WHERE queue = 'deployments' AND leased_until IS NULL").await;
    let uuid = runs["id"].as_str().unwrap().parse::<ogel_api::id::DeploymentId>().unwrap().0;
    app.at_database(&format!("UPDATE deployments SET status = 'failed' WHERE ogel_deployment_id = '{uuid}'")).await;
    let done = compared(&app, &grace).await;
    assert!(done["last"]["repaired"].as_u64().unwrap() >= 2, "{done}");
    assert_eq!(ada.ended(&lost["id"]).await["status"], "success");
    eventually("Ghost has stopped it", || async {
        (app.status_at_ghost(&project, runs["id"].as_str().unwrap()).await == "canceled").then_some(())
    })
    .await;
    assert_eq!(app.deployments_at_ghost(&project).await, 3);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_job_and_one_that_runs_on_at_ghost_are_set_right_on_sqlite() {
    mended(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_job_and_one_that_runs_on_at_ghost_are_set_right_on_postgres() {
    mended(Database::Postgres).await;
}

/// What was buried and never accepted does not stay `pending` for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_deployment_ends_once_its_time_is_over() {
    let (app, ada, grace) = operated(Database::Sqlite).await;
    let project = ada.project("shop").await;
    succeeded(&ada, &project).await;
    app.network.set_down(true);
    let repository = Repository::of_a_page("x");
    let unheard =
        ada.post("/deployments", json!({ "projectId": project, "repoUrl": repository.url() })).await.expect(202);
    eventually("it is dead", || async {
        let list = grace.get("/admin/operations?state=dead").await.expect(200);
        (list["operations"].as_array().unwrap().len() == 1).then_some(())
    })
    .await;
    app.network.set_down(false);
    app.app.world.clock.advance(chrono::TimeDelta::minutes(31));
    compared(&app, &grace).await;
    let done = ada.ended(&unheard["id"]).await;
    assert_eq!(done["error"], "the deployment backend did not accept it within 30 minutes");
    assert_eq!(ended(&ada, &unheard["operationId"]).await["state"], "failed");
    app.stop().await;
}

on_both! {
    /// Asked for, but restored before its turn came: that is not a success.
    async fn a_purge_of_a_project_that_was_restored_fails_and_leaves_it(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let project = ada.project("shop").await;
        succeeded(&ada, &project).await;
        let now = app.app.world.now();
        let new = ogel_store::NewOperation {
            id: ogel_api::id::OperationId(app.app.world.uuid()),
            kind: ogel_api::operations::OperationKind::DeleteProject,
            project_id: project.parse().unwrap(),
            deployment_id: None,
            requested_by: None,
            reason: None,
            created_at: now,
            act: None,
        };
        // Of a process that has died since.
        let hold = ogel_store::Hold { owner: app.app.world.uuid(), until: now };
        let (operation, _) = app.app.store.begin_operation(&new, hold).await.unwrap();
        let over = ended(&ada, &json!(operation.id.to_string())).await;
        assert_eq!((&over["state"], &over["error"]["code"]), (&json!("failed"), &json!("CONFLICT")));
        ada.get(&format!("/projects/{project}")).await.expect(200);
        assert_eq!(app.deployments_at_ghost(&project).await, 1);
    }

    async fn where_records_disagree_operators_are_told(app: TestApp) {
        let (ada, grace) = (app.sign_up("ada").await, app.sign_up("grace").await);
        let mut config = ogel_server::config::Config::clone(&app.app.config());
        config.auth.operators = vec!["grace@example.com".to_owned()];
        app.app.reconfigure(config);
        let project = ada.project("shop").await;
        let (kept, lost) = (succeeded(&ada, &project).await, succeeded(&ada, &project).await);
        let uuid = lost["id"].as_str().unwrap().parse::<ogel_api::id::DeploymentId>().unwrap().0;
        assert_eq!(app.at_ghost(Method::DELETE, &project, &format!("/deployments/{uuid}"), json!(null)).await, 204);
        let repository = Repository::of_a_page("z");
        let stranger = json!({ "deploymentId": "not-of-ours", "repoUrl": repository.url(), "branch": "main" });
        let status = app.at_ghost(Method::POST, &project, "/deployments", stranger).await;
        assert!(matches!(status, 201 | 202), "{status}");
        // What is young may be on its way.
        app.app.world.clock.advance(chrono::TimeDelta::minutes(3));
        let now = app.app.world.now();
        grace.post("/admin/reconciliation", json!({})).await.expect(202);
        let found = eventually("records are compared", || async {
            let found = grace.get("/admin/reconciliation").await.expect(200);
            // One that began before still found them young.
            let begun = found["last"]["startedAt"].as_str()?.parse::<chrono::DateTime<chrono::Utc>>().unwrap();
            (begun >= now && found["last"]["projects"] == 1).then_some(found)
        })
        .await;
        let findings: Vec<_> = found["findings"].as_array().unwrap().iter().map(|finding| (finding["kind"].as_str().unwrap(), finding["ghostId"].as_str().unwrap().to_owned())).collect();
        assert!(findings.contains(&("missing_at_ghost", uuid.to_string())), "{found}");
        assert!(findings.contains(&("unknown_here", "not-of-ours".to_owned())), "{found}");
        assert_eq!(findings.len(), 2, "nothing is said of {kept}: {found}");
        // Settled, it is not told any more.
        assert_eq!(app.at_ghost(Method::DELETE, &project, "/deployments/not-of-ours", json!(null)).await, 204);
        app.app.world.clock.advance(chrono::TimeDelta::seconds(1));
        grace.post("/admin/reconciliation", json!({})).await.expect(202);
        eventually("the finding is gone", || async {
            let found = grace.get("/admin/reconciliation").await.expect(200);
            (found["findings"].as_array().unwrap().len() == 1).then_some(())
        })
        .await;
    }
}
