//! What becomes of an API key after it was made.

use crate::on_both;
use chrono::TimeDelta;
use ogel_testkit::Api;
use serde_json::{Value, json};

/// A key of `owner`'s: its path, and a caller with it.
async fn key(owner: &Api, body: Value) -> (String, Api) {
    let created = owner.post("/auth/api-keys", body).await.expect(201);
    let path = format!("/auth/api-keys/{}", created["apiKey"]["id"].as_str().unwrap());
    (path, owner.with_token(created["secret"].as_str()))
}

on_both! {
    async fn a_rotated_key_works_with_both_secrets_until_the_grace_is_over(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let (path, old) = key(&ada, json!({ "name": "ci" })).await;
        old.get("/users/me").await.expect(200);
        let rotated = ada.post(&format!("{path}/rotate"), json!({ "gracePeriodSeconds": 3600 })).await.expect(200);
        let new = app.anonymous().with_token(rotated["secret"].as_str());
        assert_ne!(new.token, old.token);
        assert!(rotated["secret"].as_str().unwrap().starts_with(rotated["apiKey"]["prefix"].as_str().unwrap()));
        assert!(rotated["apiKey"]["oldSecretExpiresAt"].is_string());
        new.get("/users/me").await.expect(200);
        let seen = old.get("/auth/session").await.expect(200);
        assert_eq!(seen["expiresAt"], rotated["apiKey"]["oldSecretExpiresAt"], "the old secret knows its end");
        assert_eq!(new.get("/auth/session").await.expect(200)["expiresAt"], Value::Null);

        app.app.world.clock.advance(TimeDelta::minutes(61));
        old.get("/users/me").await.expect_error(401, "CREDENTIAL_EXPIRED");
        new.get("/users/me").await.expect(200);
        // Without a grace the old one ends at once.
        ada.post(&format!("{path}/rotate"), json!({ "gracePeriodSeconds": 0 })).await.expect(200);
        new.get("/users/me").await.expect_error(401, "INVALID_CREDENTIAL");
        ada.post(&format!("{path}/rotate"), json!({ "gracePeriodSeconds": 9_999_999 })).await.expect_error(400, "INVALID_VALUE");
    }

    async fn a_key_says_when_and_from_where_it_was_last_used(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let (path, ci) = key(&ada, json!({ "name": "ci" })).await;
        assert_eq!(ada.get(&path).await.expect(200)["lastUsedAt"], Value::Null);
        let used_at = app.app.world.now();
        ci.get("/users/me").await.expect(200);
        let seen = ada.get(&path).await.expect(200);
        assert_eq!(seen["lastUsedIp"], "127.0.0.1");
        let at = |seen: &Value| chrono::DateTime::parse_from_rfc3339(seen["lastUsedAt"].as_str().unwrap()).unwrap();
        assert_eq!(at(&seen), used_at);
        // To the minute: what comes within it is not noted again.
        app.app.world.clock.advance(TimeDelta::minutes(2));
        ci.get("/users/me").await.expect(200);
        let later = at(&ada.get(&path).await.expect(200));
        assert_eq!((later - at(&seen)).num_minutes(), 2);
    }

    async fn a_key_is_changed_without_being_made_anew(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let (path, ci) = key(&ada, json!({ "name": "ci", "scopes": ["projects:read"] })).await;
        ci.get("/users/me").await.expect_error(403, "MISSING_SCOPE");
        let ends = app.app.world.now() + TimeDelta::hours(1);
        let change = json!({ "name": "robot", "scopes": ["projects:read", "users:read"], "expiresAt": ends.to_rfc3339() });
        let changed = ada.patch(&path, change).await.expect(200);
        assert_eq!((&changed["name"], changed["scopes"].as_array().unwrap().len()), (&json!("robot"), 2));
        ci.get("/users/me").await.expect(200);
        // What is not named stays; null takes the end away.
        let changed = ada.patch(&path, json!({ "expiresAt": null })).await.expect(200);
        assert_eq!((&changed["name"], &changed["expiresAt"]), (&json!("robot"), &Value::Null));
        ada.patch(&path, json!({ "scopes": [] })).await.expect_error(400, "INVALID_VALUE");
        ada.patch(&path, json!({ "expiresAt": "2001-01-01T00:00:00Z" })).await.expect_error(400, "INVALID_VALUE");
    }

    async fn a_key_is_no_way_to_more_than_it_has(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let (strong, _) = key(&ada, json!({ "name": "strong" })).await;
        let (own, weak) = key(&ada, json!({ "name": "weak", "scopes": ["keys:write", "keys:read"] })).await;
        weak.post(&format!("{strong}/rotate"), json!({})).await.expect_error(403, "MISSING_SCOPE");
        weak.patch(&own, json!({ "scopes": ["keys:write", "projects:write"] })).await.expect_error(403, "MISSING_SCOPE");
        weak.post(&format!("{own}/rotate"), json!({})).await.expect(200);
        // A key bound to a project knows of none that reaches further.
        let project = ada.project("shop").await;
        let (bound_path, bound) = key(&ada, json!({ "name": "bound", "projectId": project })).await;
        for path in [&strong, &own] {
            bound.get(path).await.expect_error(404, "NOT_FOUND");
            bound.post(&format!("{path}/rotate"), json!({})).await.expect_error(404, "NOT_FOUND");
            bound.patch(path, json!({ "name": "x" })).await.expect_error(404, "NOT_FOUND");
            bound.delete(path).await.expect_error(404, "NOT_FOUND");
        }
        assert_eq!(bound.get("/auth/api-keys").await.expect(200)["apiKeys"].as_array().unwrap().len(), 1);
        bound.get(&bound_path).await.expect(200);
    }

    async fn a_key_asks_about_itself(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let (path, ci) = key(&ada, json!({ "name": "ci", "scopes": ["sites:read"] })).await;
        let own = ci.get("/auth/api-keys/self").await.expect(200);
        assert_eq!((&own["name"], &own["scopes"]), (&json!("ci"), &json!(["sites:read"])));
        assert!(path.ends_with(own["id"].as_str().unwrap()));
        ada.get("/auth/api-keys/self").await.expect_error(404, "NOT_FOUND");
    }

    async fn a_missing_scope_is_named_with_those_held_and_with_who_can_give_it(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let (path, ci) = key(&ada, json!({ "name": "ci", "scopes": ["sites:read", "builds:read"] })).await;
        let error = ci.post("/projects", json!({ "name": "x" })).await.expect_error(403, "MISSING_SCOPE");
        assert!(error["message"].as_str().unwrap().contains("`projects:write`"), "{error}");
        let details = error["details"].as_array().unwrap();
        assert_eq!((&details[0]["location"], &details[0]["message"]), (&json!("credential.requiredScopes"), &json!("`projects:write`")));
        let fix = details[0]["fix"].as_str().unwrap();
        assert!(fix.contains("`ada@example.com`") && fix.contains(&format!("PATCH {}", &path[1..])), "{fix}");
        assert_eq!((&details[1]["location"], &details[1]["message"]), (&json!("credential.heldScopes"), &json!("`sites:read`, `builds:read`")));
    }

    async fn an_invented_key_is_refused_without_the_database(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let (_, ci) = key(&ada, json!({ "name": "ci" })).await;
        let mut wrong = ci.token.clone().unwrap();
        let last = if wrong.ends_with('a') { 'b' } else { 'a' };
        wrong.pop();
        wrong.push(last);
        // Nobody can ask it any more.
        app.app.store.close().await;
        ci.with_token(Some(&wrong)).get("/users/me").await.expect_error(401, "INVALID_CREDENTIAL");
        let well_formed = ogel_server::secrets::new_api_key(&app.app.world.entropy);
        ci.with_token(Some(&well_formed)).get("/users/me").await.expect_error(503, "DATABASE_UNAVAILABLE");
    }
}
