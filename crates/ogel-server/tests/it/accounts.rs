//! Signing up, logging in and out, API keys.

use crate::on_both;
use http::Method;
use serde_json::json;

on_both! {
    async fn signing_up_logs_in_and_the_token_says_who_calls(app: TestApp) {
        let anonymous = app.anonymous();
        let body = json!({ "email": "Ada@Example.com", "password": "correct horse", "name": "Ada" });
        let answer = anonymous.post("/auth/signup", body).await;
        let cookie = answer.headers["set-cookie"].to_str().unwrap().to_owned();
        assert!(cookie.starts_with("ogel_session=ogels_") && cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
        let body = answer.expect(201);
        assert_eq!(body["user"]["email"], "ada@example.com");
        assert!(body.to_string().find("password").is_none());

        let ada = anonymous.with_token(body["session"]["token"].as_str());
        let session = ada.get("/auth/session").await.expect(200);
        assert_eq!((&session["user"]["name"], &session["method"]), (&json!("Ada"), &json!("session")));
        assert_eq!(session["organizations"][0]["role"], "owner");
        assert!(session["scopes"].as_array().unwrap().contains(&json!("deployments:write")));
    }

    async fn an_email_has_one_account_whatever_its_letter_case(app: TestApp) {
        app.sign_up("ada").await;
        let again = json!({ "email": "ADA@example.com", "password": "another one", "name": "Imposter" });
        app.anonymous().post("/auth/signup", again).await.expect_error(409, "CONFLICT");
    }

    async fn a_wrong_password_and_an_unknown_email_answer_alike(app: TestApp) {
        app.sign_up("ada").await;
        let mut messages = Vec::new();
        for (email, password) in [("ada@example.com", "wrong horse"), ("nobody@example.com", "correct horse"), ("?", "x")] {
            let body = json!({ "email": email, "password": password });
            let error = app.anonymous().post("/auth/login", body).await.expect_error(401, "INVALID_LOGIN");
            messages.push(error["message"].clone());
        }
        messages.dedup();
        assert_eq!(messages.len(), 1, "{messages:?}");
        let right = json!({ "email": " ADA@example.com ", "password": "correct horse" });
        app.anonymous().post("/auth/login", right).await.expect(200);
    }

    async fn logging_out_ends_the_session_at_once(app: TestApp) {
        let ada = app.sign_up("ada").await;
        ada.get("/users/me").await.expect(200);
        ada.post("/auth/logout", json!({})).await.expect(204);
        ada.get("/users/me").await.expect_error(401, "INVALID_CREDENTIAL");
    }

    async fn a_session_that_is_not_used_expires_and_one_that_is_used_lives_on(app: TestApp) {
        let ada = app.sign_up("ada").await;
        for _ in 0..3 {
            app.app.world.clock.advance(chrono::TimeDelta::days(20));
            // Written every few seconds of real time.
            app.app.uses.flush(&app.app).await.unwrap();
            // Callers are remembered for a second of real time, which days of the test's time are not.
            app.app.callers.forget_all();
            ada.get("/users/me").await.expect(200);
        }
        app.app.uses.flush(&app.app).await.unwrap();
        app.app.world.clock.advance(chrono::TimeDelta::days(31));
        ada.get("/users/me").await.expect_error(401, "CREDENTIAL_EXPIRED");
    }

    async fn a_key_is_shown_once_and_works_until_it_is_deleted(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let created = ada.post("/auth/api-keys", json!({ "name": "ci" })).await.expect(201);
        let secret = created["secret"].as_str().unwrap();
        assert!(secret.starts_with("ogel_"));
        let key = app.anonymous().with_token(Some(secret));
        let session = key.get("/auth/session").await.expect(200);
        assert_eq!((&session["method"], &session["apiKeyId"]), (&json!("apiKey"), &created["apiKey"]["id"]));

        let list = ada.get("/auth/api-keys").await.expect(200);
        assert!(!list.to_string().contains(secret));
        assert!(list["apiKeys"][0]["lastUsedAt"].is_string(), "{list}");
        let path = format!("/auth/api-keys/{}", created["apiKey"]["id"].as_str().unwrap());
        ada.get(&path).await.expect(200);
        ada.delete(&path).await.expect(204);
        key.get("/auth/session").await.expect_error(401, "INVALID_CREDENTIAL");
        ada.delete(&path).await.expect_error(404, "NOT_FOUND");
    }

    async fn an_expired_key_says_that_it_expired(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let soon = app.app.world.now() + chrono::TimeDelta::hours(1);
        let body = json!({ "name": "ci", "expiresAt": soon.to_rfc3339() });
        let created = ada.post("/auth/api-keys", body).await.expect(201);
        let key = app.anonymous().with_token(created["secret"].as_str());
        key.get("/users/me").await.expect(200);
        app.app.world.clock.advance(chrono::TimeDelta::hours(2));
        key.get("/users/me").await.expect_error(401, "CREDENTIAL_EXPIRED");
        let past = json!({ "name": "late", "expiresAt": "2001-01-01T00:00:00Z" });
        ada.post("/auth/api-keys", past).await.expect_error(400, "INVALID_VALUE");
    }

    async fn a_key_can_do_no_more_than_its_scopes_and_its_maker(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let body = json!({ "name": "reader", "scopes": ["projects:read", "keys:write"] });
        let created = ada.post("/auth/api-keys", body).await.expect(201);
        let reader = app.anonymous().with_token(created["secret"].as_str());
        reader.get("/projects").await.expect(200);
        let error = reader.post("/projects", json!({ "name": "x" })).await.expect_error(403, "MISSING_SCOPE");
        assert!(error["message"].as_str().unwrap().contains("`projects:write`"), "{error}");
        let more = json!({ "name": "more", "scopes": ["projects:write"] });
        reader.post("/auth/api-keys", more).await.expect_error(403, "MISSING_SCOPE");
        let typo = json!({ "name": "typo", "scopes": ["projects:reed"] });
        ada.post("/auth/api-keys", typo).await.expect_error(400, "INVALID_VALUE");
    }

    async fn a_key_bound_to_a_project_sees_nothing_else(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let (mine, other) = (ada.project("mine").await, ada.project("other").await);
        let body = json!({ "name": "bound", "projectId": mine });
        let created = ada.post("/auth/api-keys", body).await.expect(201);
        let bound = app.anonymous().with_token(created["secret"].as_str());
        assert_eq!(bound.get("/projects").await.expect(200)["projects"].as_array().unwrap().len(), 1);
        bound.get(&format!("/projects/{mine}")).await.expect(200);
        bound.get(&format!("/projects/{other}")).await.expect_error(404, "NOT_FOUND");
        bound.get(&format!("/deployments?projectId={other}")).await.expect_error(404, "NOT_FOUND");
        bound.post("/projects", json!({ "name": "new" })).await.expect_error(403, "FORBIDDEN");
        bound.post("/organizations", json!({ "name": "new" })).await.expect_error(403, "FORBIDDEN");
        // What it makes is bound in the same way.
        let child = bound.post("/auth/api-keys", json!({ "name": "child" })).await.expect(201);
        assert_eq!(child["apiKey"]["projectId"], json!(mine));
    }

    async fn a_cookie_works_for_our_own_pages_only(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let token = ada.token.clone().unwrap();
        let anonymous = app.anonymous();
        let with_cookie = |method| anonymous.request(method, "/users/me").header("cookie", format!("a=b; ogel_session={token}"));
        anonymous.send(with_cookie(Method::GET)).await.expect(200);
        let change = || with_cookie(Method::PATCH).json(&json!({ "name": "Eve" }));
        for (name, value) in [("origin", "https://evil.example"), ("sec-fetch-site", "cross-site"), ("origin", "null")] {
            anonymous.send(change().header(name, value)).await.expect_error(403, "CROSS_SITE_REQUEST");
        }
        // Nobody says where it comes from.
        anonymous.send(change()).await.expect_error(403, "CROSS_SITE_REQUEST");
        anonymous.send(change().header("sec-fetch-site", "same-origin")).await.expect(200);
        anonymous.send(change().header("origin", format!("http://{}", app.address()))).await.expect(200);
    }

    async fn people_change_their_own_name(app: TestApp) {
        let ada = app.sign_up("ada").await;
        ada.patch("/users/me", json!({ "name": " Ada L. " })).await.expect(200);
        assert_eq!(ada.get("/users/me").await.expect(200)["name"], "Ada L.");
        ada.patch("/users/me", json!({ "name": "  " })).await.expect_error(400, "INVALID_VALUE");
    }
}
