//! `If-Match`: a change that is meant for one version changes that version or nothing.

use crate::on_both;
use http::Method;
use ogel_testkit::{Answer, Api};
use serde_json::{Value, json};

async fn change(api: &Api, method: Method, path: &str, tag: &str, body: Value) -> Answer {
    let request = api.request(method, path).header("if-match", tag);
    api.send(if body.is_null() { request } else { request.json(&body) }).await
}

fn tag(answer: &Answer) -> String {
    answer.headers["etag"].to_str().unwrap().to_owned()
}

on_both! {
    async fn a_change_meant_for_another_version_is_refused(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let organization = ada.get("/organizations").await.expect(200)["organizations"][0]["id"].as_str().unwrap().to_owned();
        let project = ada.project("shop").await;
        for path in [format!("/organizations/{organization}"), format!("/projects/{project}"), "/users/me".to_owned()] {
            let seen = ada.get(&path).await;
            let before = tag(&seen);
            let done = change(&ada, Method::PATCH, &path, &before, json!({ "name": "one" })).await;
            let after = tag(&done);
            done.expect(200);
            assert_ne!(before, after);
            // The tag of the change is the one a reader gets.
            assert_eq!(tag(&ada.get(&path).await), after);
            for stale in [&*before, "\"other\"", &format!("W/{after}"), "\"v999.x\""] {
                change(&ada, Method::PATCH, &path, stale, json!({ "name": "two" })).await.expect_error(412, "PRECONDITION_FAILED");
            }
            assert_eq!(ada.get(&path).await.expect(200)["name"], "one");
            change(&ada, Method::PATCH, &path, &format!("{before}, {after}"), json!({ "name": "two" })).await.expect(200);
            change(&ada, Method::PATCH, &path, "*", json!({ "name": "three" })).await.expect(200);
        }
        let path = format!("/projects/{project}");
        change(&ada, Method::DELETE, &path, "\"v1.x\"", Value::Null).await.expect_error(412, "PRECONDITION_FAILED");
        let now = tag(&ada.get(&path).await);
        change(&ada, Method::DELETE, &path, &now, Value::Null).await.expect(204);
        // What is not there is not there, whatever its version.
        change(&ada, Method::PATCH, &path, &now, json!({ "name": "x" })).await.expect_error(404, "NOT_FOUND");
    }

    async fn a_webhook_is_changed_and_removed_in_the_version_that_was_meant(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let made = ada.post("/webhooks", json!({ "url": "https://example.com/hook" })).await.expect(201);
        let path = format!("/webhooks/{}", made["webhook"]["id"].as_str().unwrap());
        let first = tag(&ada.get(&path).await);
        let done = change(&ada, Method::PATCH, &path, &first, json!({ "description": "one" })).await;
        let second = tag(&done);
        done.expect(200);
        assert_eq!(tag(&ada.get(&path).await), second);
        change(&ada, Method::PATCH, &path, &first, json!({ "enabled": false })).await.expect_error(412, "PRECONDITION_FAILED");
        // Another secret is another version, too.
        ada.post(&format!("{path}/rotate-secret"), json!({})).await.expect(200);
        change(&ada, Method::DELETE, &path, &second, Value::Null).await.expect_error(412, "PRECONDITION_FAILED");
        let shown = ada.get(&path).await;
        let now = tag(&shown);
        assert_eq!(shown.expect(200)["enabled"], true);
        change(&ada, Method::DELETE, &path, &now, Value::Null).await.expect(204);
        change(&ada, Method::PATCH, &path, &now, json!({ "enabled": false })).await.expect_error(404, "NOT_FOUND");
    }

    async fn of_many_who_read_the_same_only_one_writes(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let path = format!("/projects/{}", ada.project("shop").await);
        let seen = tag(&ada.get(&path).await);
        let changes = (0..8).map(|turn| {
            let (ada, path, seen) = (ada.clone(), path.clone(), seen.clone());
            tokio::spawn(async move {
                change(&ada, Method::PATCH, &path, &seen, json!({ "name": format!("by {turn}") })).await.status.as_u16()
            })
        });
        let mut statuses = Vec::new();
        for one in changes.collect::<Vec<_>>() {
            statuses.push(one.await.unwrap());
        }
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 412, 412, 412, 412, 412, 412, 412]);
    }
}
