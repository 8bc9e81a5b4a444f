//! Domains, which Ghost keeps and serves: added, verified, given to a site, removed.

use crate::{
    on_both,
    sites::{each, make, text},
};
use ogel_testkit::Repository;
use serde_json::{Value, json};

on_both! {
    async fn a_domain_is_added_verified_served_and_removed(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let project = ada.project("shop").await;
        let repository = Repository::of_a_page("<h1>shop</h1>");
        let done = ada.ended(&ada.deploy(&project, &repository.url(), json!({})).await["id"]).await;
        assert_eq!(done["active"], true, "{done}");
        let site = make(&ada, &project, "Web", json!({})).await;
        let body = json!({ "projectId": project, "domain": "LocalHost.", "siteId": site["id"] });
        let made = ada.post("/domains", body).await.expect(201);
        assert!(text(&made["id"]).starts_with("dom_"));
        assert_eq!((&made["domain"], &made["siteId"], &made["status"]), (&json!("localhost"), &site["id"], &json!("pending")));
        assert_eq!((&made["checkedAt"], &made["observed"]), (&Value::Null, &json!([])));
        assert_eq!(made["expected"][0], json!({ "type": "A", "name": "localhost", "value": "127.0.0.1" }));
        let path = format!("/domains/{}", text(&made["id"]));
        assert_eq!(ada.get(&path).await.expect(200), made);
        let port = app.ghost.preview_addr().port();
        let page = format!("http://localhost:{port}/");
        assert_eq!(app.preview(&page).await.0, 404);
        let verified = ada.post(&format!("{path}/verify"), json!({})).await.expect(200);
        assert_eq!((&verified["status"], verified["checkedAt"].is_string()), (&json!("verified"), true), "{verified}");
        assert!(verified["observed"].as_array().unwrap().contains(&made["expected"][0]), "{verified}");
        assert_eq!(app.preview(&page).await, (200, "<h1>shop</h1>".to_owned()));
        let list = ada.get(&format!("/domains?projectId={project}")).await.expect(200);
        assert_eq!(list["domains"], json!([verified]));
        // To no site, left as it is, and back.
        let freed = ada.patch(&path, json!({ "siteId": null })).await.expect(200);
        assert_eq!(freed["siteId"], Value::Null);
        assert_eq!(ada.patch(&path, json!({})).await.expect(200), freed);
        assert_eq!(ada.patch(&path, json!({ "siteId": site["id"] })).await.expect(200)["siteId"], site["id"]);
        ada.delete(&path).await.expect(204);
        ada.get(&path).await.expect_error(404, "NOT_FOUND");
        ada.delete(&path).await.expect_error(404, "NOT_FOUND");
        ada.post(&format!("{path}/verify"), json!({})).await.expect_error(404, "NOT_FOUND");
        assert_eq!(app.preview(&page).await.0, 404);
    }

    async fn a_name_that_points_elsewhere_stays_pending_and_says_so(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let project = ada.project("shop").await;
        let made = ada.post("/domains", json!({ "projectId": project, "domain": "no-such-name.invalid" })).await.expect(201);
        let answer = ada.post(&format!("/domains/{}/verify", text(&made["id"])), json!({})).await.expect(200);
        assert_eq!((&answer["status"], &answer["observed"]), (&json!("pending"), &json!([])), "{answer}");
        assert!(answer["checkedAt"].is_string() && !answer["expected"].as_array().unwrap().is_empty());
    }

    async fn a_name_is_used_once_and_must_be_one(app: TestApp) {
        let (ada, eve) = (app.sign_up("ada").await, app.sign_up("eve").await);
        let (shop, blog) = (ada.project("shop").await, ada.project("blog").await);
        let theirs = eve.project("theirs").await;
        let body = |project: &str| json!({ "projectId": project, "domain": "shop.test" });
        ada.post("/domains", body(&shop)).await.expect(201);
        ada.post("/domains", body(&shop)).await.expect_error(409, "CONFLICT");
        eve.post("/domains", body(&theirs)).await.expect_error(409, "CONFLICT");
        // What was refused has left nothing behind.
        assert_eq!(eve.get(&format!("/domains?projectId={theirs}")).await.expect(200)["domains"], json!([]));
        for bad in ["", "a b", "-x.test", "127.0.0.1", "x..y", "https://x.test", "ünïcode.test"] {
            let error = ada.post("/domains", json!({ "projectId": shop, "domain": bad })).await;
            assert_eq!(error.expect_error(400, "INVALID_VALUE")["details"][0]["location"], "body.domain", "{bad}");
        }
        // A preview's own name is Ghost's to refuse.
        ada.post("/domains", json!({ "projectId": shop, "domain": "d-x.localhost" })).await.expect_error(400, "VALIDATION_FAILED");
        let site = make(&ada, &blog, "Blog", json!({})).await;
        let error = json!({ "projectId": shop, "domain": "www.shop.test", "siteId": site["id"] });
        ada.post("/domains", error).await.expect_error(400, "INVALID_VALUE");
        let list = ada.get(&format!("/domains?projectId={shop}")).await.expect(200);
        assert_eq!(each(&list, "domains", "domain"), ["shop.test"]);
    }
}
