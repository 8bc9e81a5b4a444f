//! Deployments of real repositories, from POST to the page that is served.

use crate::on_both;
use ogel_testkit::Repository;
use serde_json::{Value, json};

/// What a page shows once `deployment` has succeeded.
pub(crate) const WAIT_FOREVER: &str = "echo waiting; sleep 1000000";

on_both! {
    async fn a_static_folder_is_deployed_and_served(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let project = ada.project("shop").await;
        let repository = Repository::of_a_page("<h1>hello</h1>");
        let created = ada.deploy(&project, &repository.url(), json!({ "tags": ["first"] })).await;
        assert_eq!((&created["status"], &created["tags"]), (&json!("pending"), &json!(["first"])));
        assert!(created["buildId"].as_str().unwrap().starts_with("bld_"));
        let done = ada.ended(&created["id"]).await;
        assert_eq!((&done["status"], &done["error"]), (&json!("success"), &Value::Null), "{done}");
        assert_eq!((&done["branch"], &done["commitMessage"]), (&json!("main"), &json!("First commit")));
        assert_eq!(done["commitSha"].as_str().unwrap(), repository.git(&["rev-parse", "HEAD"]).trim());
        assert!(done["completedAt"].is_string() && done["createdBy"].as_str().unwrap().starts_with("usr_"));
        let (status, page) = app.preview(done["previewUrl"].as_str().unwrap()).await;
        assert_eq!((status, page.as_str()), (200, "<h1>hello</h1>"));
        let build = ada.get(&format!("/builds/{}", done["buildId"].as_str().unwrap())).await.expect(200);
        assert_eq!((&build["status"], &build["deploymentId"]), (&json!("success"), &done["id"]));
    }

    async fn a_build_gets_its_environment_and_nobody_else_sees_it(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let project = ada.project("shop").await;
        let repository = Repository::new(&[("build.sh", "mkdir out; echo \"$GREETING-$OGEL_SECRET\" > out/index.html")]);
        let more = json!({ "buildCommand": "sh build.sh", "outputDirectory": "out", "env": { "GREETING": "s3cret-greeting" } });
        let created = ada.deploy(&project, &repository.url(), more).await;
        let done = ada.ended(&created["id"]).await;
        let (_, page) = app.preview(done["previewUrl"].as_str().unwrap()).await;
        assert_eq!(page.trim(), "s3cret-greeting-");
        assert!(!done.to_string().contains("s3cret"));
        for name in ["ogel.db", "ogel.db-wal"] {
            let bytes = std::fs::read(app.folder.path().join(name)).unwrap_or_default();
            assert!(!bytes.windows(6).any(|window| window == b"s3cret"), "{name} holds a value in plain text");
        }
    }

    async fn a_branch_a_commit_and_a_folder_can_be_chosen(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let project = ada.project("shop").await;
        let repository = Repository::of_a_page("main");
        repository.git(&["checkout", "--quiet", "-b", "feature/x"]);
        let old = repository.commit(&[("apps/web/index.html", "old")], "Old");
        repository.commit(&[("apps/web/index.html", "new")], "New");
        for (more, expected) in [
            (json!({ "branch": "main" }), "main"),
            (json!({ "branch": "feature/x", "rootDirectory": "apps/web" }), "new"),
            (json!({ "branch": "feature/x", "rootDirectory": "apps/web", "commitSha": old }), "old"),
        ] {
            let created = ada.deploy(&project, &repository.url(), more).await;
            let done = ada.ended(&created["id"]).await;
            assert_eq!(done["status"], "success", "{done}");
            assert_eq!(app.preview(done["previewUrl"].as_str().unwrap()).await.1, expected);
        }
    }

    async fn a_failing_build_says_what_ran_and_how_it_ended(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let project = ada.project("shop").await;
        let repository = Repository::new(&[("build.sh", "echo one; echo the last words >&2; exit 3")]);
        let created = ada.deploy(&project, &repository.url(), json!({ "buildCommand": "sh build.sh" })).await;
        let done = ada.ended(&created["id"]).await;
        let error = done["error"].as_str().unwrap();
        assert_eq!(done["status"], "failed");
        assert!(error.contains('3') && error.contains("the last words"), "{error}");
    }

    async fn a_branch_that_does_not_exist_is_named(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let project = ada.project("shop").await;
        let repository = Repository::of_a_page("x");
        let created = ada.deploy(&project, &repository.url(), json!({ "branch": "no-such-branch" })).await;
        let done = ada.ended(&created["id"]).await;
        assert_eq!(done["status"], "failed");
        assert!(done["error"].as_str().unwrap().contains("no-such-branch"), "{done}");
    }

    async fn a_build_that_would_never_end_is_canceled(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let project = ada.project("shop").await;
        let repository = Repository::of_a_page("x");
        let created = ada.deploy(&project, &repository.url(), json!({ "buildCommand": WAIT_FOREVER })).await;
        let path = format!("/deployments/{}", created["id"].as_str().unwrap());
        ada.building(&created["id"]).await;
        ada.delete(&path).await.expect_error(409, "NOT_DELETABLE");
        ada.delete(&format!("/projects/{project}")).await.expect_error(409, "CONFLICT");
        let canceled = ada.post(&format!("{path}/cancel"), json!({})).await.expect(200);
        assert_eq!((&canceled["status"], canceled["completedAt"].is_string()), (&json!("canceled"), true), "{canceled}");
        // Asking again is fine.
        ada.post(&format!("{path}/cancel"), json!({})).await.expect(200);
        ada.delete(&path).await.expect(204);
        ada.get(&path).await.expect_error(404, "NOT_FOUND");
        assert_eq!(app.deployments_at_ghost(&project).await, 0);
        ada.delete(&format!("/projects/{project}")).await.expect(204);
    }

    async fn what_has_ended_cannot_be_canceled(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let project = ada.project("shop").await;
        let repository = Repository::of_a_page("x");
        let created = ada.deploy(&project, &repository.url(), json!({})).await;
        let path = format!("/deployments/{}", ada.ended(&created["id"]).await["id"].as_str().unwrap());
        ada.post(&format!("{path}/cancel"), json!({})).await.expect_error(409, "NOT_CANCELABLE");
    }

    async fn lists_are_filtered_and_paged(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let (shop, blog) = (ada.project("shop").await, ada.project("news").await);
        let repository = Repository::of_a_page("x");
        for _ in 0..3 {
            let created = ada.deploy(&shop, &repository.url(), json!({})).await;
            ada.ended(&created["id"]).await;
        }
        let failed = ada.deploy(&blog, &repository.url(), json!({ "branch": "nope" })).await;
        ada.ended(&failed["id"]).await;
        let count = |list: Value| list["deployments"].as_array().unwrap().len();
        assert_eq!(count(ada.get("/deployments").await.expect(200)), 4);
        assert_eq!(count(ada.get(&format!("/deployments?projectId={shop}")).await.expect(200)), 3);
        assert_eq!(count(ada.get("/deployments?status=failed").await.expect(200)), 1);
        assert_eq!(count(ada.get("/deployments?branch=main").await.expect(200)), 3);
        assert_eq!(count(ada.get("/projects/news/deployments").await.expect(200)), 1);
        let page = ada.get("/projects/shop/deployments?limit=2").await.expect(200);
        assert_eq!((count(page.clone()), &page["pagination"]["hasMore"]), (2, &json!(true)));
        let rest = format!("/projects/shop/deployments?limit=2&cursor={}", page["pagination"]["nextCursor"].as_str().unwrap());
        let rest = ada.get(&rest).await.expect(200);
        assert_eq!((count(rest.clone()), &rest["pagination"]["nextCursor"]), (1, &Value::Null));
        ada.get("/deployments?status=exploded").await.expect_error(400, "INVALID_VALUE");
        ada.get("/deployments?limit=101").await.expect_error(400, "INVALID_VALUE");
    }
}
