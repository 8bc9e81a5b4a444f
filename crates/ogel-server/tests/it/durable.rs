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
        let repository = Repository::new(&[("build.sh", "sleep 2; mkdir out; echo x > out/index.html")]);
        let more = json!({ "buildCommand": "sh build.sh", "outputDirectory": "out" });
        let made = replica.api(&ada).deploy(&project, &repository.url(), more).await;
        replica.kill().await;
        leases_end(&app);
        assert_eq!(ada.ended(&made["id"]).await["status"], "success");
    }

    async fn a_replica_told_to_stop_leaves_its_work_to_others_at_once(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let project = ada.project("shop").await;
        let replica = app.replica().await;
        let repository = Repository::new(&[("build.sh", "sleep 2; mkdir out; echo x > out/index.html")]);
        let more = json!({ "buildCommand": "sh build.sh", "outputDirectory": "out" });
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
