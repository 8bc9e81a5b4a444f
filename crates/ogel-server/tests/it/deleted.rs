//! Deleted projects and organizations: gone for everybody, to be restored for a while, then purged at Ghost too.

use crate::on_both;
use ogel_api::organizations::Role;
use ogel_server::purge;
use ogel_testkit::Repository;
use serde_json::json;

on_both! {
    async fn a_deleted_project_is_gone_until_it_is_restored(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let dev = app.sign_up("dev").await;
        app.add_member(&ada, &dev, Role::Developer).await;
        let project = ada.project("shop").await;
        let repository = Repository::of_a_page("hello");
        let deployment = ada.deploy(&project, &repository.url(), json!({})).await;
        let deployment = ada.ended(&deployment["id"]).await;
        let path = format!("/projects/{project}");
        ada.delete(&path).await.expect(204);
        for path in [path.clone(), "/projects/shop".to_owned(), format!("/deployments/{}", deployment["id"].as_str().unwrap())] {
            ada.get(&path).await.expect_error(404, "NOT_FOUND");
        }
        ada.delete(&path).await.expect_error(404, "NOT_FOUND");
        let body = json!({ "projectId": project, "repoUrl": "https://example.com/a" });
        ada.post("/deployments", body).await.expect_error(404, "NOT_FOUND");
        assert_eq!(ada.get("/projects").await.expect(200)["projects"], json!([]));

        let deleted = ada.get("/projects?deleted=true").await.expect(200);
        let row = &deleted["projects"][0];
        assert_eq!((&row["id"], &row["slug"]), (&json!(project), &json!("shop")));
        assert!(row["deletedAt"].is_string() && row["purgeAt"].as_str() > row["deletedAt"].as_str(), "{row}");
        assert_eq!(dev.get("/projects?deleted=true").await.expect(200)["projects"], json!([]), "for admins only");
        let restore = format!("{path}/restore");
        dev.post(&restore, json!({})).await.expect_error(403, "FORBIDDEN");

        // The slug was free meanwhile.
        ada.project("shop").await;
        ada.post(&restore, json!({})).await.expect_error(409, "CONFLICT");
        let back = ada.post(&restore, json!({ "slug": "old-shop" })).await.expect(200);
        assert_eq!((&back["slug"], back.get("deletedAt")), (&json!("old-shop"), None));
        let again = ada.get(&format!("/deployments/{}", deployment["id"].as_str().unwrap())).await.expect(200);
        assert_eq!(again["status"], "success");
        ada.post(&restore, json!({})).await.expect(200);
    }

    async fn what_is_not_restored_in_time_is_purged_at_ghost_too(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let project = ada.project("shop").await;
        let repository = Repository::of_a_page("hello");
        let deployment = ada.deploy(&project, &repository.url(), json!({})).await;
        ada.ended(&deployment["id"]).await;
        ada.delete(&format!("/projects/{project}")).await.expect(204);
        let days = app.app.config().retention.deleted_days;
        app.app.world.clock.advance(chrono::TimeDelta::days(days.cast_signed()) - chrono::TimeDelta::seconds(1));
        purge::purge_due(&app.app).await;
        assert_eq!(app.deployments_at_ghost(&project).await, 1, "there is a second left");
        app.app.world.clock.advance(chrono::TimeDelta::seconds(2));
        // What Ghost cannot do now is done later.
        app.network.set_down(true);
        purge::purge_due(&app.app).await;
        app.network.set_down(false);
        assert_eq!(app.deployments_at_ghost(&project).await, 1);
        let ada = app.log_in("ada").await;
        assert_eq!(ada.get("/projects?deleted=true").await.expect(200)["projects"].as_array().unwrap().len(), 1);
        ogel_testkit::eventually("Ghost takes the deletion", || async {
            purge::purge_due(&app.app).await;
            (app.deployments_at_ghost(&project).await == 0).then_some(())
        }).await;
        assert_eq!(ada.get("/projects?deleted=true").await.expect(200)["projects"], json!([]));
        ada.post(&format!("/projects/{project}/restore"), json!({})).await.expect_error(404, "NOT_FOUND");
        let organization = ada.get("/organizations").await.expect(200)["organizations"][0]["id"].as_str().unwrap().to_owned();
        let log = ada.get(&format!("/organizations/{organization}/audit-log?target={project}")).await.expect(200);
        assert_eq!((&log["entries"][0]["action"], &log["entries"][0]["actor"]["type"]), (&json!("project.purged"), &json!("system")));
    }

    async fn a_deleted_organization_is_its_owners_to_restore(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let boss = app.sign_up("boss").await;
        let made = ada.post("/organizations", json!({ "name": "Engine", "slug": "engine" })).await.expect(201);
        let path = format!("/organizations/{}", made["id"].as_str().unwrap());
        ada.delete(&path).await.expect(204);
        ada.get(&path).await.expect_error(404, "NOT_FOUND");
        // Until it is purged nobody else gets its slug.
        boss.post("/organizations", json!({ "name": "E", "slug": "engine" })).await.expect_error(409, "CONFLICT");
        let deleted = ada.get("/organizations?deleted=true").await.expect(200);
        assert_eq!(deleted["organizations"][0]["id"], made["id"]);
        assert!(deleted["organizations"][0]["purgeAt"].is_string());
        boss.post(&format!("{path}/restore"), json!({})).await.expect_error(404, "NOT_FOUND");
        ada.post(&format!("{path}/restore"), json!({})).await.expect(200);
        ada.get(&path).await.expect(200);
        ada.delete(&path).await.expect(204);
        app.app.world.clock.advance(chrono::TimeDelta::days(31));
        purge::purge_due(&app.app).await;
        let (ada, boss) = (app.log_in("ada").await, app.log_in("boss").await);
        ada.post(&format!("{path}/restore"), json!({})).await.expect_error(404, "NOT_FOUND");
        boss.post("/organizations", json!({ "name": "E", "slug": "engine" })).await.expect(201);
    }

    async fn slugs_that_are_ours_or_were_somebody_elses_are_refused(app: TestApp) {
        let (ada, ben) = (app.sign_up("ada").await, app.sign_up("ben").await);
        for slug in ["admin", "api", "settings"] {
            ada.post("/organizations", json!({ "name": "A", "slug": slug })).await.expect_error(400, "INVALID_VALUE");
            ada.post("/projects", json!({ "name": "A", "slug": slug })).await.expect_error(400, "INVALID_VALUE");
        }
        let made = ada.post("/organizations", json!({ "name": "Admin" })).await.expect(201);
        assert!(made["slug"].as_str().unwrap().starts_with("admin-"), "{made}");
        let path = format!("/organizations/{}", made["id"].as_str().unwrap());
        ada.patch(&path, json!({ "slug": "first" })).await.expect(200);
        ada.patch(&path, json!({ "slug": "second" })).await.expect(200);
        let error = ben.post("/organizations", json!({ "name": "B", "slug": "first" })).await.expect_error(409, "CONFLICT");
        assert!(error["message"].as_str().unwrap().contains("held"), "{error}");
        ada.patch(&path, json!({ "slug": "first" })).await.expect(200);
    }
}
