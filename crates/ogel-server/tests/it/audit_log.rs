//! The audit log of an organization: what is in an entry, filters, pages, and the export.

use crate::on_both;
use http::Method;
use ogel_api::organizations::Role;
use serde_json::{Value, json};

/// The first organization of the caller.
async fn organization(api: &ogel_testkit::Api) -> String {
    api.get("/organizations").await.expect(200)["organizations"][0]["id"].as_str().unwrap().to_owned()
}

on_both! {
    async fn an_entry_says_who_did_what_from_where(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let organization = organization(&ada).await;
        let path = format!("/organizations/{organization}");
        // The clock stands still, and entries of one moment have no order.
        app.app.world.clock.advance(chrono::TimeDelta::seconds(1));
        let answer = ada.patch(&path, json!({ "name": "Difference" })).await;
        let request_id = answer.headers["x-request-id"].to_str().unwrap().to_owned();
        answer.expect(200);
        let log = ada.get(&format!("{path}/audit-log")).await.expect(200);
        let entry = &log["entries"][0];
        let me = ada.get("/users/me").await.expect(200);
        assert_eq!(entry["action"], "organization.updated");
        assert_eq!(entry["target"], json!(organization));
        assert_eq!(entry["actor"], json!({ "type": "user", "userId": me["id"], "apiKeyId": null, "name": "ada" }));
        assert_eq!((&entry["before"], &entry["after"]), (&json!({ "name": "ada" }), &json!({ "name": "Difference" })));
        assert_eq!((&entry["ip"], &entry["requestId"]), (&json!("127.0.0.1"), &json!(request_id)));
        assert_eq!(log["entries"][1]["action"], "organization.created");

        let key = ada.post("/auth/api-keys", json!({ "name": "ci" })).await.expect(201);
        let by_key = ada.with_token(key["secret"].as_str());
        let project = by_key.project("shop").await;
        let log = ada.get(&format!("{path}/audit-log?target={project}")).await.expect(200);
        assert_eq!(log["entries"][0]["actor"]["apiKeyId"], key["apiKey"]["id"]);
        assert_eq!(log["entries"][0]["actor"]["type"], "api_key");
        assert!(!log.to_string().contains(key["secret"].as_str().unwrap()));
    }

    async fn the_log_is_filtered_paged_and_exported(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let ben = app.sign_up("ben").await;
        app.add_member(&ada, &ben, Role::Admin).await;
        let organization = organization(&ada).await;
        let path = format!("/organizations/{organization}/audit-log");
        let start = app.app.world.now();
        for number in 0..5 {
            app.app.world.clock.advance(chrono::TimeDelta::seconds(1));
            let maker = if number % 2 == 0 { &ada } else { &ben };
            let body = json!({ "name": format!("p{number}"), "organizationId": organization });
            maker.post("/projects", body).await.expect(201);
        }
        let slugs = |page: &Value| {
            let entries = page["entries"].as_array().unwrap().iter();
            entries.map(|entry| entry["after"]["slug"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let bens = ben.get("/users/me").await.expect(200)["id"].as_str().unwrap().to_owned();
        assert_eq!(slugs(&ada.get(&format!("{path}?actor={bens}")).await.expect(200)), ["p3", "p1"]);
        let since = (start + chrono::TimeDelta::seconds(3)).to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
        let late = ada.get(&format!("{path}?createdAfter={since}&action=project.created")).await.expect(200);
        assert_eq!(slugs(&late), ["p4", "p3"]);
        let first = ada.get(&format!("{path}?action=project.created&limit=3")).await.expect(200);
        let cursor = first["pagination"]["nextCursor"].as_str().unwrap();
        let second = ada.get(&format!("{path}?action=project.created&limit=3&cursor={cursor}")).await.expect(200);
        assert_eq!([slugs(&first), slugs(&second)].concat(), ["p4", "p3", "p2", "p1", "p0"]);
        ada.get(&format!("{path}?limit=3&cursor={cursor}")).await.expect_error(400, "INVALID_CURSOR");
        ada.get(&format!("{path}?action=project.painted")).await.expect_error(400, "INVALID_VALUE");
        ada.get(&format!("{path}?createdAfter=yesterday")).await.expect_error(400, "INVALID_VALUE");

        let request = ada.request(Method::GET, &format!("{path}?action=project.created"));
        let answer = ada.send(request.header("accept", "application/x-ndjson")).await;
        assert_eq!(answer.headers["content-type"], "application/x-ndjson");
        let Value::String(lines) = answer.expect(200) else { panic!("five lines are no JSON") };
        let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let whole = ada.get(&format!("{path}?action=project.created&limit=100")).await.expect(200);
        assert_eq!(json!(lines), whole["entries"]);
    }

    async fn what_a_person_does_to_their_own_account_is_in_their_own_log(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let turn = || app.app.world.clock.advance(chrono::TimeDelta::seconds(1));
        let me = ada.get("/users/me").await.expect(200)["id"].clone();
        turn();
        let key = ada.post("/auth/api-keys", json!({ "name": "ci" })).await.expect(201);
        let id = key["apiKey"]["id"].clone();
        let path = format!("/auth/api-keys/{}", id.as_str().unwrap());
        turn();
        ada.patch(&path, json!({ "name": "cd", "scopes": ["sites:read"] })).await.expect(200);
        turn();
        let rotated = ada.post(&format!("{path}/rotate"), json!({})).await.expect(200);
        turn();
        ada.delete(&path).await.expect(204);
        turn();
        let other = app.log_in("ada").await;
        let session = other.get("/auth/session").await.expect(200)["sessionId"].clone();
        turn();
        ada.delete(&format!("/auth/sessions/{}", session.as_str().unwrap())).await.expect(204);
        turn();
        let body = json!({ "currentPassword": "correct horse", "newPassword": "another horse" });
        ada.post("/users/me/password", body).await.expect(204);
        turn();
        ada.patch("/users/me", json!({ "name": "Ada" })).await.expect(200);

        let log = ada.get("/users/me/audit-log").await.expect(200);
        let entries = log["entries"].as_array().unwrap();
        let did: Vec<_> = entries.iter().map(|entry| (entry["action"].as_str().unwrap(), &entry["target"])).collect();
        let expected = [
            ("user.updated", &me),
            ("user.password_changed", &me),
            ("session.ended", &session),
            ("session.created", &session),
            ("api_key.revoked", &id),
            ("api_key.rotated", &id),
            ("api_key.updated", &id),
            ("api_key.created", &id),
        ];
        assert_eq!(did[..8], expected, "{log}");
        assert_eq!((did[8].0, did.len()), ("session.created", 9), "{log}");
        assert_eq!((&entries[6]["before"]["name"], &entries[6]["after"]["name"]), (&json!("ci"), &json!("cd")));
        assert!(entries.iter().all(|entry| entry["ip"] == "127.0.0.1" && entry["requestId"].is_string()), "{log}");
        for secret in [&key["secret"], &rotated["secret"], &json!(other.token), &json!("horse")] {
            assert!(!log.to_string().contains(secret.as_str().unwrap()), "{secret} stands in {log}");
        }
        // Nobody else's, and no organization's.
        let eve = app.sign_up("eve").await;
        let log = eve.get("/users/me/audit-log").await.expect(200);
        assert_eq!(log["entries"].as_array().unwrap().len(), 1, "{log}");
        let log = ada.get(&format!("/organizations/{}/audit-log", organization(&ada).await)).await.expect(200);
        assert_eq!(log["entries"].as_array().unwrap().len(), 1, "{log}");
        // Pages and filters as anywhere.
        let page = ada.get("/users/me/audit-log?action=session.created&limit=1").await.expect(200);
        assert_eq!(page["pagination"]["hasMore"], true);
        ada.get("/users/me/audit-log?actor=me").await.expect_error(400, "UNKNOWN_PARAMETER");
    }

    async fn what_is_changed_in_an_organization_is_in_its_log(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let id = organization(&ada).await;
        let project = ada.project("shop").await;
        let repository = ogel_testkit::Repository::of_a_page("x");
        let env = json!({ "env": { "API_TOKEN": "canary-of-the-environment", "MODE": "x" } });
        let first = ada.deploy(&project, &repository.url(), env).await;
        let first = ada.ended(&first["id"]).await;
        let path = |id: &Value, verb: &str| format!("/deployments/{}{verb}", id.as_str().unwrap());
        let second = ada.post(&path(&first["id"], "/redeploy"), json!({})).await.expect(201);
        let second = ada.ended(&second["id"]).await;
        ada.post(&path(&second["id"], "/promote"), json!({ "reason": "news" })).await.expect(200);
        ada.post(&path(&first["id"], "/rollback"), json!({})).await.expect(200);
        let deleted = ada.delete(&path(&second["id"], "")).await;
        let request = json!(deleted.headers["x-request-id"].to_str().unwrap());
        deleted.expect(204);
        let key = json!({ "name": "ci", "projectId": project });
        let key = ada.post("/auth/api-keys", key).await.expect(201);
        let by_key = ada.with_token(key["secret"].as_str());
        let site = crate::sites::make(&by_key, &project, "Web", json!({})).await["id"].clone();
        let site_path = format!("/sites/{}", site.as_str().unwrap());
        by_key.patch(&site_path, json!({ "buildCommand": "make" })).await.expect(200);
        let domain = json!({ "projectId": project, "domain": "shop.test" });
        let domain = by_key.post("/domains", domain).await.expect(201)["id"].clone();
        let domain_path = format!("/domains/{}", domain.as_str().unwrap());
        by_key.post(&format!("{domain_path}/verify"), json!({})).await.expect(200);
        by_key.patch(&domain_path, json!({ "siteId": site })).await.expect(200);
        by_key.delete(&domain_path).await.expect(204);
        by_key.delete(&site_path).await.expect(204);
        let hook = json!({ "url": "http://127.0.0.1:9/canary-of-a-path", "projectId": project });
        let hook = ada.post("/webhooks", hook).await.expect(201);
        let hook_path = format!("/webhooks/{}", hook["webhook"]["id"].as_str().unwrap());
        ada.patch(&hook_path, json!({ "description": "d" })).await.expect(200);
        let rotated = ada.post(&format!("{hook_path}/rotate-secret"), json!({})).await.expect(200);
        ada.delete(&hook_path).await.expect(204);
        let plan = format!("/organizations/{id}/billing/subscription");
        let put = ada.request(Method::PUT, &plan).json(&json!({ "plan": "pro" }));
        ada.send(put).await.expect(200);

        let log = ada.get(&format!("/organizations/{id}/audit-log?limit=100")).await.expect(200);
        let entries = log["entries"].as_array().unwrap();
        let of = |action: &str| {
            let mut found = entries.iter().filter(|entry| entry["action"] == action);
            let first = found.next().unwrap_or_else(|| panic!("no `{action}` in {log}"));
            assert!(found.next().is_none(), "`{action}` stands twice in {log}");
            first
        };
        assert_eq!(of("deployment.created")["after"]["env"], json!(["API_TOKEN", "MODE"]));
        assert_eq!(of("deployment.redeployed")["after"]["redeployOf"], first["id"]);
        assert_eq!(of("deployment.promoted")["after"]["reason"], "news");
        assert_eq!(of("deployment.rolled_back")["before"]["deploymentId"], second["id"]);
        assert_eq!(of("deployment.deleted")["requestId"], request);
        assert_eq!(of("api_key.created")["target"], key["apiKey"]["id"]);
        for action in ["site.created", "site.updated", "site.deleted", "domain.created", "domain.checked", "domain.updated", "domain.deleted"] {
            assert_eq!(of(action)["actor"]["apiKeyId"], key["apiKey"]["id"], "{action}");
        }
        assert_eq!(of("site.updated")["after"], json!({ "buildCommand": "make" }));
        assert_eq!(of("webhook.created")["after"]["host"], "127.0.0.1:9");
        for action in ["webhook.updated", "webhook.secret_rotated", "webhook.deleted"] {
            of(action);
        }
        assert_eq!(of("organization.plan_changed")["after"]["plan"], "pro");
        for entry in entries {
            assert!(entry["ip"] == "127.0.0.1" && entry["requestId"].is_string(), "{entry}");
        }
        for secret in [&json!("canary-of-the-environment"), &json!("canary-of-a-path"), &hook["secret"], &rotated["secret"], &key["secret"]] {
            assert!(!log.to_string().contains(secret.as_str().unwrap()), "{secret} stands in {log}");
        }
    }

    async fn a_deployment_that_somebody_stops_is_in_the_log(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let id = organization(&ada).await;
        let project = ada.project("shop").await;
        let repository = ogel_testkit::Repository::of_a_page("x");
        let slow = json!({ "buildCommand": "sleep 60" });
        let deployment = ada.deploy(&project, &repository.url(), slow).await;
        let cancel = format!("/deployments/{}/cancel", deployment["id"].as_str().unwrap());
        ada.post(&cancel, json!({})).await.expect(200);
        ada.post(&cancel, json!({})).await.expect(200);
        let path = format!("/organizations/{id}/audit-log?action=deployment.cancel_requested");
        let log = ada.get(&path).await.expect(200);
        assert_eq!(log["entries"].as_array().unwrap().len(), 1, "{log}");
        assert_eq!(log["entries"][0]["target"], deployment["id"]);
    }
}
