//! Sites, which Ghost keeps: their life, their pages, and what is said of those that are not there.

use crate::on_both;
use http::Method;
use ogel_testkit::Api;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Makes a site with what `more` adds.
pub(crate) async fn make(api: &Api, project: &str, name: &str, more: Value) -> Value {
    let mut body = json!({ "projectId": project, "name": name });
    body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    api.post("/sites", body).await.expect(201)
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// One field of every row.
pub(crate) fn each<'a>(list: &'a Value, noun: &str, field: &str) -> Vec<&'a str> {
    list[noun].as_array().unwrap().iter().map(|row| text(&row[field])).collect()
}

on_both! {
    async fn a_site_is_made_read_changed_and_removed(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let project = ada.project("shop").await;
        let list = format!("/sites?projectId={project}");
        // Ghost has never heard of the project, which is no reason to fail.
        let empty = ada.get(&list).await.expect(200);
        assert_eq!(empty, json!({ "sites": [], "pagination": { "nextCursor": null, "hasMore": false } }));
        let more = json!({ "framework": "vite", "repoUrl": "https://example.com/a/b", "productionBranch": "main",
            "rootDirectory": "web", "installCommand": "npm ci", "buildCommand": "npm run build", "outputDirectory": "dist" });
        let made = make(&ada, &project, " Wéb ", more.clone()).await;
        let path = format!("/sites/{}", text(&made["id"]));
        assert!(text(&made["id"]).starts_with("site_") && made["projectId"] == json!(project), "{made}");
        assert_eq!(made["name"], "Wéb");
        for (name, value) in more.as_object().unwrap() {
            assert_eq!(&made[name], value);
        }
        assert!(text(&made["createdAt"]).ends_with('Z') && made.as_object().unwrap().len() == 12, "{made}");
        let read = ada.get(&path).await;
        assert_eq!(read.headers["cache-control"], "private, no-cache");
        assert_eq!(read.expect(200), made);
        assert_eq!(ada.get(&list).await.expect(200)["sites"], json!([made]));
        let change = json!({ "name": "Website", "framework": null, "buildCommand": "make" });
        let changed = ada.patch(&path, change).await.expect(200);
        assert_eq!((&changed["name"], &changed["framework"]), (&json!("Website"), &Value::Null));
        assert_eq!((&changed["buildCommand"], &changed["repoUrl"]), (&json!("make"), &made["repoUrl"]));
        assert_eq!(ada.get(&path).await.expect(200), changed);
        ada.delete(&path).await.expect(204);
        ada.get(&path).await.expect_error(404, "NOT_FOUND");
        ada.delete(&path).await.expect_error(404, "NOT_FOUND");
        ada.patch(&path, json!({})).await.expect_error(404, "NOT_FOUND");
        assert_eq!(ada.get(&list).await.expect(200)["sites"], json!([]));
    }

    async fn pages_of_sites_follow_each_other(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let (shop, blog) = (ada.project("shop").await, ada.project("blog").await);
        for name in ["one", "two", "three"] {
            make(&ada, &shop, name, json!({})).await;
        }
        make(&ada, &blog, "other", json!({})).await;
        let first = ada.get(&format!("/sites?projectId={shop}&limit=2")).await.expect(200);
        assert_eq!((each(&first, "sites", "name"), &first["pagination"]["hasMore"]), (vec!["three", "two"], &json!(true)));
        let cursor = text(&first["pagination"]["nextCursor"]);
        let rest = ada.get(&format!("/sites?projectId={shop}&limit=2&cursor={cursor}")).await.expect(200);
        assert_eq!((each(&rest, "sites", "name"), &rest["pagination"]["nextCursor"]), (vec!["one"], &Value::Null));
        let error = ada.get(&format!("/sites?projectId={blog}&cursor={cursor}")).await;
        error.expect_error(400, "INVALID_CURSOR");
        ada.get(&format!("/sites?projectId={shop}&cursor=web")).await.expect_error(400, "INVALID_CURSOR");
        ada.get(&format!("/sites?projectId={shop}&limit=0")).await.expect_error(400, "INVALID_VALUE");
        ada.get("/sites").await.expect_error(400, "MISSING_FIELD");
        ada.get(&format!("/sites?project={shop}")).await.expect_error(400, "UNKNOWN_PARAMETER");
        let allowed = ada.delete("/sites").await.headers["allow"].to_str().unwrap().to_owned();
        assert_eq!(allowed.split(',').collect::<BTreeSet<_>>(), BTreeSet::from(["GET", "HEAD", "POST"]));
    }

    async fn what_git_or_a_shell_could_misread_is_refused(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let project = ada.project("shop").await;
        for (field, bad, code) in [
            ("name", "", "INVALID_VALUE"),
            ("repoUrl", "ext::sh -c x", "INVALID_REPO_URL"),
            ("repoUrl", "https://u:p@example.com/a", "REPO_URL_HAS_CREDENTIALS"),
            ("productionBranch", "--upload-pack=x", "INVALID_BRANCH"),
            ("rootDirectory", "../x", "INVALID_VALUE"),
            ("outputDirectory", "/etc", "INVALID_VALUE"),
            ("buildCommand", "", "INVALID_VALUE"),
        ] {
            let mut body = json!({ "projectId": project, "name": "Web" });
            body[field] = json!(bad);
            let error = ada.post("/sites", body).await.expect_error(400, code);
            assert_eq!(error["details"][0]["location"], format!("body.{field}"));
        }
        let site = make(&ada, &project, "Web", json!({})).await;
        let path = format!("/sites/{}", text(&site["id"]));
        ada.patch(&path, json!({ "rootDirectory": "../x" })).await.expect_error(400, "INVALID_VALUE");
        ada.patch(&path, json!({ "name": null })).await.expect(200);
        ada.get("/sites/dom_01h455vb4pex5vsknk084sn02q").await.expect_error(400, "INVALID_ID");
    }

    async fn an_answer_that_is_lost_makes_no_second_site(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let project = ada.project("shop").await;
        make(&ada, &project, "first", json!({})).await;
        let uuid = project.parse::<ogel_api::id::ProjectId>().unwrap().0;
        let place = format!("/v1/projects/{uuid}/sites");
        app.ghost.faults().drop_next_answers(1, Some(Method::POST), &place);
        make(&ada, &project, "second", json!({})).await;
        // Even when all attempts of one request fail, the same request with the same key makes no second one.
        let request = || {
            let body = json!({ "projectId": project, "name": "third" });
            ada.request(Method::POST, "/sites").header("idempotency-key", "k").json(&body)
        };
        app.ghost.faults().drop_next_answers(1, Some(Method::POST), &place);
        app.ghost.faults().drop_next_connections(50, None, &place);
        let failed = ada.send(request()).await;
        assert!(failed.status.is_server_error(), "{failed:?}");
        app.ghost.faults().clear();
        let made = ada.send(request()).await.expect(201);
        let list = ada.get(&format!("/sites?projectId={project}")).await.expect(200);
        assert_eq!(each(&list, "sites", "name"), ["third", "second", "first"]);
        assert_eq!(list["sites"][0], made);
    }

    async fn ghosts_troubles_are_told_as_its_own(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let project = ada.project("shop").await;
        let site = make(&ada, &project, "Web", json!({})).await;
        let path = format!("/sites/{}", text(&site["id"]));
        app.network.set_down(true);
        let error = ada.get(&path).await;
        assert_eq!(error.expect_error(503, "UPSTREAM_UNAVAILABLE")["source"], "ghost");
        app.network.set_down(false);
        assert_eq!(ada.get(&path).await.expect(200), site);
    }

    async fn sites_go_with_their_project(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let project = ada.project("shop").await;
        let site = make(&ada, &project, "Web", json!({})).await;
        let path = format!("/sites/{}", text(&site["id"]));
        ada.get(&path).await.expect(200);
        ada.delete(&format!("/projects/{project}")).await.expect(204);
        ada.get(&path).await.expect_error(404, "NOT_FOUND");
        ada.get(&format!("/sites?projectId={project}")).await.expect_error(404, "NOT_FOUND");
    }
}
