//! What is made at Ghost without us, and what Ghost forgets: mapped once, mended once, and its ids told to nobody.

use crate::{
    on_both,
    sites::{each, make, text},
};
use http::Method;
use ogel_testkit::{Database, Repository, TestApp};
use serde_json::{Value, json};

on_both! {
    async fn what_others_made_at_ghost_gets_one_id_of_ours(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let project = ada.project("shop").await;
        let ours = make(&ada, &project, "ours", json!({})).await;
        for id in ["web-at-ghost", "blog-at-ghost"] {
            let body = json!({ "siteId": id, "name": id.split('-').next() });
            assert_eq!(app.at_ghost(Method::POST, &project, "/sites", body).await, 201);
        }
        let domain = json!({ "domainId": "name-at-ghost", "domain": "shop.test", "siteId": "web-at-ghost" });
        assert_eq!(app.at_ghost(Method::POST, &project, "/domains", domain).await, 201);
        let (sites, domains) = (format!("/sites?projectId={project}"), format!("/domains?projectId={project}"));
        // Many look at once, and see the same.
        let looks: Vec<_> = (0..8)
            .map(|_| {
                let (ada, sites) = (ada.clone(), sites.clone());
                tokio::spawn(async move { ada.get(&sites).await.expect(200) })
            })
            .collect();
        let mut seen = Vec::new();
        for look in looks {
            seen.push(look.await.unwrap());
        }
        let first = seen[0].clone();
        assert!(seen.iter().all(|one| *one == first), "{seen:?}");
        assert_eq!(each(&first, "sites", "name"), ["blog", "web", "ours"]);
        assert_eq!(first["sites"][2], ours);
        let web = &first["sites"][1];
        assert_eq!(&ada.get(&format!("/sites/{}", text(&web["id"]))).await.expect(200), web);
        let listed = ada.get(&domains).await.expect(200);
        assert_eq!((each(&listed, "domains", "domain"), &listed["domains"][0]["siteId"]), (vec!["shop.test"], &web["id"]));
        // A page that begins after one of them.
        let page = ada.get(&format!("{sites}&limit=1")).await.expect(200);
        let cursor = text(&page["pagination"]["nextCursor"]);
        assert!(!cursor.contains("ghost"));
        let page = ada.get(&format!("{sites}&limit=1&cursor={cursor}")).await.expect(200);
        assert_eq!(each(&page, "sites", "name"), ["web"]);
        // Removed without us.
        assert_eq!(app.at_ghost(Method::DELETE, &project, "/sites/web-at-ghost", Value::Null).await, 204);
        ada.get(&format!("/sites/{}", text(&web["id"]))).await.expect_error(404, "NOT_FOUND");
        ada.delete(&format!("/sites/{}", text(&web["id"]))).await.expect_error(404, "NOT_FOUND");
    }

    async fn a_token_that_ghost_forgot_is_made_anew_once(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let project = ada.project("shop").await;
        let site = make(&ada, &project, "Web", json!({})).await;
        let uuid = project.parse::<ogel_api::id::ProjectId>().unwrap().0;
        let place = format!("/v1/projects/{uuid}/sites");
        app.ghost.faults().fail_next(1, Some(Method::GET), &place, 401);
        let path = format!("/sites/{}", text(&site["id"]));
        ada.get(&path).await.expect(200);
        app.ghost.faults().fail_next(1, Some(Method::PATCH), &place, 401);
        ada.patch(&path, json!({ "name": "Website" })).await.expect(200);
        // A Ghost that takes no token at all is its operators' matter, not the caller's login.
        app.ghost.faults().fail_next(2, Some(Method::GET), &place, 401);
        ada.get(&path).await.expect_error(502, "UPSTREAM_AUTH");
    }

    async fn a_membership_that_ghost_forgot_is_made_again(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let project = ada.project("shop").await;
        let site = make(&ada, &project, "Web", json!({})).await;
        let me = ada.get("/users/me").await.expect(200);
        let account = text(&me["id"]).parse::<ogel_api::id::UserId>().unwrap().0;
        let member = format!("/members/{account}");
        for path in [format!("/sites/{}", text(&site["id"])), format!("/sites?projectId={project}")] {
            assert_eq!(app.at_ghost(Method::DELETE, &project, &member, Value::Null).await, 204);
            ada.get(&path).await.expect(200);
        }
        assert_eq!(app.at_ghost(Method::DELETE, &project, &member, Value::Null).await, 204);
        ada.post("/sites", json!({ "projectId": project, "name": "Blog" })).await.expect(201);
    }

    async fn colleagues_see_the_same_and_strangers_nothing(app: TestApp) {
        let (ada, bob, eve) = (app.sign_up("ada").await, app.sign_up("bob").await, app.sign_up("eve").await);
        app.add_member(&ada, &bob, ogel_api::organizations::Role::Viewer).await;
        let project = ada.project("shop").await;
        let site = make(&ada, &project, "Web", json!({})).await;
        let path = format!("/sites/{}", text(&site["id"]));
        // Bob has never been at Ghost.
        assert_eq!(bob.get(&path).await.expect(200), site);
        bob.delete(&path).await.expect_error(403, "FORBIDDEN");
        for _ in 0..2 {
            eve.get(&path).await.expect_error(404, "NOT_FOUND");
        }
        let theirs = eve.project("shop").await;
        let cursor = {
            make(&ada, &project, "Blog", json!({})).await;
            ada.get(&format!("/sites?projectId={project}&limit=1")).await.expect(200)["pagination"]["nextCursor"].clone()
        };
        let stolen = format!("/sites?projectId={theirs}&cursor={}", text(&cursor));
        eve.get(&stolen).await.expect_error(400, "INVALID_CURSOR");
        let taken = json!({ "projectId": theirs, "domain": "x.test", "siteId": site["id"] });
        eve.post("/domains", taken).await.expect_error(404, "NOT_FOUND");
    }

    async fn ids_of_ghosts_stand_in_no_answer(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let project = ada.project("shop").await;
        let repository = Repository::of_a_page("x");
        let done = ada.ended(&ada.deploy(&project, &repository.url(), json!({})).await["id"]).await;
        let id = text(&done["id"]);
        let site = json!({ "siteId": "web-at-ghost", "name": "web" });
        assert_eq!(app.at_ghost(Method::POST, &project, "/sites", site).await, 201);
        let domain = json!({ "domainId": "name-at-ghost", "domain": "shop.test", "siteId": "web-at-ghost" });
        assert_eq!(app.at_ghost(Method::POST, &project, "/domains", domain).await, 201);
        let sites = ada.get(&format!("/sites?projectId={project}")).await.expect(200);
        let domains = ada.get(&format!("/domains?projectId={project}")).await.expect(200);
        let (site, domain) = (text(&sites["sites"][0]["id"]), text(&domains["domains"][0]["id"]));
        let mut answers = vec![sites.clone(), domains.clone()];
        for path in [
            format!("/sites/{site}"),
            format!("/domains/{domain}"),
            format!("/deployments/{id}"),
            format!("/deployments/{id}/events"),
            format!("/deployments?projectId={project}"),
            format!("/builds?deploymentId={id}"),
            format!("/builds/{}/logs", text(&done["buildId"])),
        ] {
            answers.push(ada.get(&path).await.expect(200));
        }
        answers.push(ada.post(&format!("/deployments/{id}/promote"), json!({})).await.expect(200));
        answers.push(ada.post(&format!("/domains/{domain}/verify"), json!({})).await.expect(200));
        answers.push(ada.patch(&format!("/domains/{domain}"), json!({})).await.expect(200));
        answers.push(ada.patch(&format!("/sites/{site}"), json!({ "name": "w" })).await.expect(200));
        let taken = json!({ "projectId": project, "domain": "shop.test" });
        answers.push(ada.post("/domains", taken).await.body);
        assert_eq!(app.at_ghost(Method::DELETE, &project, "/domains/name-at-ghost", Value::Null).await, 204);
        answers.push(ada.get(&format!("/domains/{domain}")).await.body);
        // Ids at Ghost that are ours in other letters: the project's, the account's, the deployment's.
        let me = ada.get("/users/me").await.expect(200);
        let uuids = [
            project.parse::<ogel_api::id::ProjectId>().unwrap().0,
            text(&me["id"]).parse::<ogel_api::id::UserId>().unwrap().0,
        ];
        for answer in &answers {
            let text = answer.to_string();
            assert!(!text.contains("at-ghost") && !text.contains("\"$"), "{text}");
            assert!(!uuids.iter().any(|uuid| text.contains(&uuid.to_string())), "{text}");
        }
    }
}

/// The next process knows them by the same ids.
async fn survive_a_restart(database: Database) {
    let app = TestApp::start(database).await;
    let ada = app.sign_up("ada").await;
    let project = ada.project("shop").await;
    make(&ada, &project, "ours", json!({})).await;
    let body = json!({ "siteId": "web-at-ghost", "name": "web" });
    assert_eq!(app.at_ghost(Method::POST, &project, "/sites", body).await, 201);
    let sites = format!("/sites?projectId={project}");
    let before = ada.get(&sites).await.expect(200);
    let token = ada.token.clone();
    let app = app.restart().await;
    let ada = app.anonymous().with_token(token.as_deref());
    assert_eq!(ada.get(&sites).await.expect(200), before);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_survive_a_restart_on_sqlite() {
    survive_a_restart(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_survive_a_restart_on_postgres() {
    survive_a_restart(Database::Postgres).await;
}
