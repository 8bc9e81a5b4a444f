//! A replica killed at any point: another one takes over, nothing is lost, nothing is there twice.

use crate::on_both;
use http::Method;
use ogel_testkit::{Api, Repository, TestApp, eventually};
use serde_json::{Value, json};

fn post(api: &Api, key: &str, body: &Value) -> reqwest::RequestBuilder {
    api.request(Method::POST, "/deployments").header("idempotency-key", key).json(body)
}

/// Past every lease, and past the time when others may take what a replica kept for itself.
fn leases_end(app: &TestApp) {
    app.app.world.clock.advance(chrono::TimeDelta::seconds(30));
}

/// A build that is still running when its deployment has been made, and how to deploy it.
fn slow_build() -> (Repository, Value) {
    let repository = Repository::new(&[("build.sh", "sleep 2; mkdir out; echo x > out/index.html")]);
    (repository, json!({ "buildCommand": "sh build.sh", "outputDirectory": "out" }))
}

on_both! {
    /// Ghost is asked for an account, a project, its key, a membership, a token and the deployment: before and after each
    /// of those, a request sent or an answer on its way, the replica dies.
    async fn killed_at_any_step_of_create_another_replica_finishes_it_and_the_client_may_repeat(app: TestApp) {
        let repository = Repository::of_a_page("x");
        let (mut step, mut killed) = (0, 0);
        loop {
            // Somebody new each time, so that nothing is made at Ghost already.
            let name = format!("ada{step}");
            let ada = app.sign_up(&name).await;
            let project = ada.project("shop").await;
            let replica = app.replica().await;
            replica.network.stand_still_after(step);
            let body = json!({ "projectId": project, "repoUrl": repository.url() });
            let there = replica.api(&ada);
            let request = post(&there, "k", &body);
            let answer = tokio::spawn(async move { request.send().await.map(|answer| answer.status()) });
            let was_killed = tokio::select! {
                () = replica.network.stands_still() => true,
                () = eventually_accepted(&ada) => false,
            };
            replica.kill().await;
            let _ = answer.await.unwrap();
            leases_end(&app);
            // The client knows nothing, and asks again elsewhere.
            let again = ada.send(post(&ada, "k", &body)).await;
            assert!(matches!(again.status.as_u16(), 201 | 202), "step {step}: {again:?}");
            let done = ada.ended(&again.body["id"]).await;
            assert_eq!(done["status"], "success", "step {step}: {done}");
            assert_eq!(ada.get("/deployments").await.expect(200)["deployments"].as_array().unwrap().len(), 1, "step {step}");
            assert_eq!(app.deployments_at_ghost(&project).await, 1, "step {step}");
            if !was_killed {
                break;
            }
            (step, killed) = (step + 1, killed + 1);
            assert!(step < 60, "create never gets through");
        }
        assert!(killed >= 12, "six calls have twelve ends, but there were {killed} points to die at");
    }

    async fn a_replica_that_dies_while_ghost_builds_is_replaced(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let project = ada.project("shop").await;
        let replica = app.replica().await;
        let (repository, more) = slow_build();
        let made = replica.api(&ada).deploy(&project, &repository.url(), more).await;
        replica.kill().await;
        leases_end(&app);
        assert_eq!(ada.ended(&made["id"]).await["status"], "success");
    }

    async fn a_replica_told_to_stop_leaves_its_work_to_others_at_once(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let project = ada.project("shop").await;
        let replica = app.replica().await;
        let (repository, more) = slow_build();
        let made = replica.api(&ada).deploy(&project, &repository.url(), more).await;
        replica.stop().await;
        // The clock stands still, so no lease ends.
        assert_eq!(ada.ended(&made["id"]).await["status"], "success");
    }

    async fn those_who_wait_at_another_replica_are_told(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let project = ada.project("shop").await;
        let replica = app.replica().await;
        let repository = Repository::of_a_page("x");
        let made = ada.deploy(&project, &repository.url(), json!({ "buildCommand": "sleep 1000000" })).await;
        // The cancellation is asked for where nobody follows the deployment.
        let path = format!("/deployments/{}/cancel", made["id"].as_str().unwrap());
        assert_eq!(replica.api(&ada).post(&path, json!({})).await.expect(200)["status"], "canceled");
        replica.stop().await;
    }

    /// Answers 500, connections that break before the work, after it, and in the middle of an answer, answers that come too
    /// late: all at once, under many creates.
    async fn whatever_ghost_does_all_end_well_and_once(app: TestApp) {
        const CREATES: usize = 50;
        let ada = app.sign_up("ada").await;
        let project = ada.project("shop").await;
        let repository = Repository::of_a_page("x");
        let mut ids = std::collections::HashSet::new();
        for turn in 0..CREATES {
            let faults = app.ghost.faults();
            match turn % 5 {
                0 => faults.fail_next(2, None, "/v1/projects", 500),
                1 => faults.drop_next_connections(2, None, "/v1/projects"),
                2 => faults.drop_next_answers(2, Some(Method::POST), "/v1/projects"),
                3 => faults.cut_next_answers(2, None, "/v1/projects"),
                _ => faults.set_latency(std::time::Duration::from_millis(40)),
            }
            let body = json!({ "projectId": project, "repoUrl": repository.url() });
            let answer = ada.send(post(&ada, &format!("k{turn}"), &body)).await;
            assert!(matches!(answer.status.as_u16(), 201 | 202), "{answer:?}");
            ids.insert(answer.body["id"].to_string());
            faults.set_latency(std::time::Duration::ZERO);
        }
        app.ghost.faults().clear();
        assert_eq!(ids.len(), CREATES);
        let mut ended = 0;
        for id in &ids {
            let done = ada.ended(&serde_json::from_str(id).unwrap()).await;
            assert_eq!(done["status"], "success", "{done}");
            ended += 1;
        }
        assert_eq!((ended, app.deployments_at_ghost(&project).await), (CREATES, CREATES as u64));
    }

    /// The first attempt's answer is lost and asking fails, too: the next attempt asks before it sends anything.
    async fn a_second_attempt_asks_before_it_sends(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let project = ada.project("shop").await;
        let repository = Repository::of_a_page("x");
        // Everything before the deployment is there.
        let before = ada.deploy(&project, &repository.url(), json!({})).await;
        ada.ended(&before["id"]).await;
        let place = format!("/v1/projects/{}/deployments", project.parse::<ogel_api::id::ProjectId>().unwrap().0);
        app.ghost.faults().drop_next_answers(1, Some(Method::POST), &place);
        app.ghost.faults().fail_next(4, Some(Method::GET), &place, 503);
        // Whoever sends a second time is refused, and the deployment would have failed.
        app.ghost.faults().fail_next(1, Some(Method::POST), &place, 400);
        let made = ada.deploy(&project, &repository.url(), json!({})).await;
        assert_eq!(ada.ended(&made["id"]).await["status"], "success");
        assert_eq!(app.deployments_at_ghost(&project).await, 2);
    }

    async fn a_membership_that_ghost_forgot_is_made_again_at_submission(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let project = ada.project("shop").await;
        let repository = Repository::of_a_page("x");
        ada.deploy(&project, &repository.url(), json!({})).await;
        let me = ada.get("/users/me").await.expect(200);
        let account = me["id"].as_str().unwrap().parse::<ogel_api::id::UserId>().unwrap().0;
        assert_eq!(app.at_ghost(Method::DELETE, &project, &format!("/members/{account}"), json!(null)).await, 204);
        let made = ada.deploy(&project, &repository.url(), json!({})).await;
        assert_eq!(ada.ended(&made["id"]).await["status"], "success");
    }

    async fn what_ghost_does_not_accept_in_time_fails_and_never_begins(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let project = ada.project("shop").await;
        let repository = Repository::of_a_page("x");
        app.ghost.faults().fail_next(1_000_000, None, "/v1", 503);
        let body = json!({ "projectId": project, "repoUrl": repository.url() });
        let request = post(&ada, "k", &body);
        let asking = { let ada = ada.clone(); tokio::spawn(async move { ada.send(request).await }) };
        let made = eventually("it is written down", || async {
            let list = ada.get("/deployments").await.expect(200);
            list["deployments"].get(0).cloned()
        })
        .await;
        app.app.world.clock.advance(chrono::TimeDelta::minutes(31));
        let done = ada.ended(&made["id"]).await;
        assert_eq!(done["error"], "the deployment backend did not accept it within 30 minutes");
        assert_eq!(asking.await.unwrap().body["id"], made["id"]);
        app.ghost.faults().clear();
        let operation = format!("/operations/{}", made["id"].as_str().unwrap().replace("dpl_", "op_"));
        assert_eq!(ada.get(&operation).await.expect(200)["state"], "failed");
        assert_eq!(app.deployments_at_ghost(&project).await, 0);
    }

    async fn nobody_repeats_and_it_is_finished_all_the_same(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let project = ada.project("shop").await;
        let replica = app.replica().await;
        replica.network.stand_still_after(3);
        let there = replica.api(&ada);
        let repository = Repository::of_a_page("x");
        let body = json!({ "projectId": project, "repoUrl": repository.url() });
        let request = post(&there, "k", &body);
        let answered = tokio::spawn(async move { request.send().await.is_ok_and(|answer| answer.status().is_success()) });
        replica.network.stands_still().await;
        replica.kill().await;
        assert!(!answered.await.unwrap());
        let made = ada.get("/deployments").await.expect(200)["deployments"][0].clone();
        assert_eq!(made["status"], "pending");
        leases_end(&app);
        assert_eq!(ada.ended(&made["id"]).await["status"], "success");
        assert_eq!(app.deployments_at_ghost(&project).await, 1);
    }
}

async fn eventually_accepted(api: &Api) {
    eventually("the deployment is accepted", || async {
        let list = api.get("/deployments").await.expect(200);
        let row = list["deployments"][0].clone();
        matches!(row["status"].as_str(), Some("building" | "success")).then_some(())
    })
    .await;
}
