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
}
