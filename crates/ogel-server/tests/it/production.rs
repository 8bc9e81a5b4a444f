//! What a project's domains show: promoted, rolled back, redeployed, and all of it written down.

use crate::{deployments::WAIT_FOREVER, on_both, sites::text};
use http::Method;
use ogel_testkit::{Api, Repository, TestApp, eventually};
use serde_json::{Value, json};

/// What the project shows.
async fn shown(app: &TestApp, project: &str) -> (u16, String) {
    let uuid = project.parse::<ogel_api::id::ProjectId>().unwrap().0;
    app.preview(&format!("http://p-{uuid}.localhost:{}/", app.ghost.preview_addr().port())).await
}

async fn deployed(api: &Api, project: &str, repository: &Repository, more: Value) -> String {
    let made = api.deploy(project, &repository.url(), more).await;
    let done = api.ended(&made["id"]).await;
    text(&done["id"]).to_owned()
}

/// What happened, oldest first.
async fn history(api: &Api, id: &str) -> Vec<Value> {
    let list = api.get(&format!("/deployments/{id}/events?limit=100")).await.expect(200);
    let mut events = list["events"].as_array().unwrap().clone();
    events.reverse();
    let numbers: Vec<_> = events.iter().map(|event| event["n"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=events.len() as u64).collect::<Vec<_>>());
    events
}

fn types(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| text(&event["type"])).collect()
}

on_both! {
    async fn production_is_promoted_rolled_back_and_written_down(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let me = ada.get("/users/me").await.expect(200)["id"].clone();
        let project = ada.project("shop").await;
        let repository = Repository::of_a_page("first");
        let first = deployed(&ada, &project, &repository, json!({})).await;
        repository.commit(&[("index.html", "second")], "Second");
        let second = deployed(&ada, &project, &repository, json!({})).await;
        let get = async |id: &str| ada.get(&format!("/deployments/{id}")).await.expect(200);
        let (one, two) = (get(&first).await, get(&second).await);
        assert_eq!((&one["active"], one["promotedAt"].is_string()), (&json!(true), true));
        assert_eq!((&two["active"], &two["promotedAt"]), (&json!(false), &Value::Null));
        assert_eq!(shown(&app, &project).await.1, "first");
        // Never was there.
        ada.post(&format!("/deployments/{second}/rollback"), json!({})).await.expect_error(409, "CONFLICT");

        let promote = format!("/deployments/{second}/promote");
        let promoted = ada.post(&promote, json!({ "reason": " looks good " })).await.expect(200);
        assert_eq!((&promoted["active"], promoted["promotedAt"].is_string()), (&json!(true), true));
        assert_eq!(shown(&app, &project).await.1, "second");
        assert_eq!(get(&first).await["active"], false);
        // Asking again is fine, without a body too.
        let again = ada.send(ada.request(Method::POST, &promote)).await.expect(200);
        assert_eq!(again, promoted);

        let back = ada.post(&format!("/deployments/{first}/rollback"), Value::Null).await.expect(200);
        assert_eq!((&back["id"], &back["active"]), (&json!(first), &json!(true)));
        assert_eq!(shown(&app, &project).await.1, "first");
        assert_eq!(get(&second).await["active"], false);

        let events = history(&ada, &first).await;
        assert_eq!(types(&events), ["created", "building", "success", "promoted", "replaced", "rolled_back"]);
        assert_eq!((&events[0]["actor"], &events[3]["actor"]), (&me, &Value::Null));
        assert_eq!((&events[4]["relatedDeploymentId"], &events[5]["actor"]), (&json!(second), &me));
        let events = history(&ada, &second).await;
        assert_eq!(types(&events), ["created", "building", "success", "promoted", "replaced"]);
        assert_eq!((&events[3]["actor"], &events[3]["reason"]), (&me, &json!("looks good")));
        let page = ada.get(&format!("/deployments/{first}/events?limit=4")).await.expect(200);
        let cursor = text(&page["pagination"]["nextCursor"]);
        let rest = ada.get(&format!("/deployments/{first}/events?limit=4&cursor={cursor}")).await.expect(200);
        assert_eq!(types(rest["events"].as_array().unwrap()), ["building", "created"]);
        let other = ada.get(&format!("/deployments/{second}/events?cursor={cursor}")).await;
        other.expect_error(400, "INVALID_CURSOR");

        ada.delete(&format!("/deployments/{first}")).await.expect(204);
        ada.get(&format!("/deployments/{first}/events")).await.expect_error(404, "NOT_FOUND");
        assert_eq!(shown(&app, &project).await.0, 404);
    }

    async fn only_what_succeeded_is_put_into_production(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let project = ada.project("shop").await;
        let repository = Repository::of_a_page("x");
        let failed = deployed(&ada, &project, &repository, json!({ "buildCommand": "exit 3" })).await;
        let promote = async |id: &str| ada.post(&format!("/deployments/{id}/promote"), json!({})).await;
        promote(&failed).await.expect_error(409, "CONFLICT");
        let events = history(&ada, &failed).await;
        assert_eq!(types(&events), ["created", "building", "failed"]);
        assert!(text(&events[2]["reason"]).contains('3'), "{events:?}");
        let made = ada.deploy(&project, &repository.url(), json!({ "buildCommand": WAIT_FOREVER })).await;
        let running = text(&made["id"]);
        promote(running).await.expect_error(409, "CONFLICT");
        ada.post(&format!("/deployments/{running}/redeploy"), json!({})).await.expect_error(409, "CONFLICT");
        ada.post(&format!("/deployments/{running}/cancel"), json!({})).await.expect(200);
        let events = history(&ada, running).await;
        let mut steps = types(&events);
        steps.retain(|step| *step != "building");
        assert_eq!(steps, ["created", "cancel_requested", "canceled"]);
        promote(running).await.expect_error(409, "CONFLICT");
        let long = json!({ "reason": "x".repeat(501) });
        let good = deployed(&ada, &project, &repository, json!({})).await;
        ada.post(&format!("/deployments/{good}/promote"), long).await.expect_error(400, "INVALID_VALUE");
        ada.post(&format!("/deployments/{good}/promote"), json!({ "why": "x" })).await.expect_error(400, "UNKNOWN_FIELD");
    }

    async fn a_redeployment_builds_the_same_commit_or_the_newest(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let project = ada.project("shop").await;
        let build = "mkdir out; echo \"$(cat page)-$GREETING\" > out/index.html";
        let repository = Repository::new(&[("build.sh", build), ("page", "old")]);
        let more = json!({ "buildCommand": "sh build.sh", "outputDirectory": "out", "env": { "GREETING": "hi" }, "tags": ["t"] });
        let old = deployed(&ada, &project, &repository, more).await;
        repository.commit(&[("page", "new")], "New");
        let page = async |made: &Value| {
            let done = ada.ended(&made["id"]).await;
            assert_eq!((&done["status"], &done["tags"]), (&json!("success"), &json!(["t"])), "{done}");
            app.preview(text(&done["previewUrl"])).await.1.trim().to_owned()
        };
        let redeploy = format!("/deployments/{old}/redeploy");
        let answer = ada.send(ada.request(Method::POST, &redeploy)).await;
        assert!(answer.headers["location"].to_str().unwrap().contains("/deployments/dpl_"));
        let same = answer.expect(201);
        assert_ne!(same["id"], json!(old));
        assert_eq!(page(&same).await, "old-hi");
        ada.post(&redeploy, json!([])).await.expect_error(400, "WRONG_TYPE");
        let newest = ada.post(&redeploy, json!({ "latest": true })).await.expect(201);
        assert_eq!(page(&newest).await, "new-hi");
        let events = history(&ada, &old).await;
        assert_eq!(types(&events)[4..], ["redeployed", "redeployed"]);
        assert_eq!((&events[4]["relatedDeploymentId"], &events[5]["relatedDeploymentId"]), (&same["id"], &newest["id"]));
        let events = history(&ada, text(&same["id"])).await;
        assert_eq!((&events[0]["type"], &events[0]["relatedDeploymentId"]), (&json!("created"), &json!(old)));
        // The same key is the same redeployment.
        let keyed = || ada.request(Method::POST, &redeploy).header("idempotency-key", "k");
        let (one, two) = (ada.send(keyed()).await.expect(201), ada.send(keyed()).await.expect(201));
        assert_eq!(one["id"], two["id"]);
        ada.ended(&one["id"]).await;
        // What is gone cannot be repeated.
        ada.delete(&format!("/deployments/{old}")).await.expect(204);
        ada.post(&redeploy, json!({})).await.expect_error(404, "NOT_FOUND");
        let unknown = "/deployments/dpl_01h455vb4pex5vsknk084sn02q/redeploy";
        ada.post(unknown, json!({})).await.expect_error(404, "NOT_FOUND");
    }

    async fn of_many_who_promote_at_once_record_and_ghost_agree(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let project = ada.project("shop").await;
        let repository = Repository::of_a_page("0");
        let mut ids = Vec::new();
        for turn in 0..3 {
            repository.commit(&[("index.html", &turn.to_string())], "Next");
            ids.push(deployed(&ada, &project, &repository, json!({})).await);
        }
        let calls: Vec<_> = (0..24)
            .map(|turn| {
                let (ada, path) = (ada.clone(), format!("/deployments/{}/promote", ids[turn % 3]));
                tokio::spawn(async move { ada.post(&path, json!({})).await.expect(200) })
            })
            .collect();
        for call in calls {
            call.await.unwrap();
        }
        let list = ada.get(&format!("/deployments?projectId={project}")).await.expect(200);
        let active: Vec<_> =
            list["deployments"].as_array().unwrap().iter().filter(|row| row["active"] == true).map(|row| text(&row["id"])).collect();
        assert_eq!(active.len(), 1, "{list}");
        let turn = ids.iter().position(|id| id == active[0]).unwrap();
        assert_eq!(shown(&app, &project).await.1, turn.to_string());
    }

    async fn a_promotion_that_ghost_has_not_heard_of_is_not_in_the_record_and_is_done_later(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let project = ada.project("shop").await;
        let repository = Repository::of_a_page("first");
        deployed(&ada, &project, &repository, json!({})).await;
        let second = deployed(&ada, &project, &repository, json!({})).await;
        app.network.set_down(true);
        let pending = ada.post(&format!("/deployments/{second}/promote"), json!({})).await.expect(202);
        assert_eq!(pending["active"], false);
        app.network.set_down(false);
        eventually("it is in production", || async {
            (ada.get(&format!("/deployments/{second}")).await.expect(200)["active"] == true).then_some(())
        })
        .await;
    }
}
