//! Builds as a list, and canceled by their own id.

use crate::{deployments::WAIT_FOREVER, on_both, sites::text};
use ogel_testkit::Repository;
use serde_json::json;

on_both! {
    async fn builds_are_listed_by_project_and_by_deployment(app: TestApp) {
        let (ada, eve) = (app.sign_up("ada").await, app.sign_up("eve").await);
        let (shop, blog) = (ada.project("shop").await, ada.project("blog").await);
        let repository = Repository::of_a_page("x");
        let mut made = Vec::new();
        for project in [&shop, &shop, &blog] {
            app.app.world.clock.advance(chrono::TimeDelta::seconds(1));
            made.push(ada.ended(&ada.deploy(project, &repository.url(), json!({})).await["id"]).await);
        }
        let ids = |list: &serde_json::Value| -> Vec<String> {
            list["builds"].as_array().unwrap().iter().map(|build| text(&build["id"]).to_owned()).collect()
        };
        let build = |at: usize| text(&made[at]["buildId"]).to_owned();
        let deployment = |at: usize| text(&made[at]["id"]).to_owned();
        let all = ada.get("/builds").await.expect(200);
        assert_eq!(ids(&all), [build(2), build(1), build(0)]);
        assert_eq!(all["builds"][0]["status"], "success");
        let page = ada.get(&format!("/builds?projectId={shop}&limit=1")).await.expect(200);
        assert_eq!(ids(&page), [build(1)]);
        let cursor = text(&page["pagination"]["nextCursor"]);
        let rest = ada.get(&format!("/builds?projectId={shop}&limit=1&cursor={cursor}")).await.expect(200);
        assert_eq!((ids(&rest), &rest["pagination"]["hasMore"]), (vec![build(0)], &json!(false)));
        let one = ada.get(&format!("/builds?deploymentId={}", deployment(0))).await.expect(200);
        assert_eq!((ids(&one), &one["pagination"]["hasMore"]), (vec![build(0)], &json!(false)));
        let none = ada.get(&format!("/builds?deploymentId={}&projectId={blog}", deployment(0))).await.expect(200);
        assert!(ids(&none).is_empty());
        assert!(ids(&eve.get("/builds").await.expect(200)).is_empty());
        eve.get(&format!("/builds?projectId={shop}")).await.expect_error(404, "NOT_FOUND");
        eve.get(&format!("/builds?deploymentId={}", deployment(0))).await.expect_error(404, "NOT_FOUND");
    }

    async fn canceling_a_build_cancels_its_deployment(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let project = ada.project("shop").await;
        let repository = Repository::of_a_page("x");
        let created = ada.deploy(&project, &repository.url(), json!({ "buildCommand": WAIT_FOREVER })).await;
        ada.building(&created["id"]).await;
        let cancel = format!("/builds/{}/cancel", text(&created["buildId"]));
        let canceled = ada.post(&cancel, json!({})).await.expect(200);
        assert_eq!((&canceled["id"], &canceled["status"]), (&created["buildId"], &json!("canceled")));
        assert_eq!(ada.get(&format!("/deployments/{}", text(&created["id"]))).await.expect(200)["status"], "canceled");
        ada.post(&cancel, json!({})).await.expect(200);
        let done = ada.ended(&ada.deploy(&project, &repository.url(), json!({})).await["id"]).await;
        let cancel = format!("/builds/{}/cancel", text(&done["buildId"]));
        ada.post(&cancel, json!({})).await.expect_error(409, "NOT_CANCELABLE");
    }
}
