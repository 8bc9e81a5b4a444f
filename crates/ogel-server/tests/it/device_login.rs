//! Login on another device, from the code to the end of its tokens: as the RFCs have it, and on the page.

use crate::on_both;
use chrono::TimeDelta;
use http::Method;
use ogel_testkit::{Answer, Api, TestApp};
use serde_json::{Value, json};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

pub(crate) async fn form(api: &Api, path: &str, fields: &[(&str, &str)]) -> Answer {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let request = api.request(Method::POST, path).header("content-type", "application/x-www-form-urlencoded");
    api.send(request.body(body)).await
}

async fn begin(app: &TestApp) -> Value {
    form(&app.anonymous(), "/auth/device/code", &[("client_id", "ogel-cli")]).await.expect(200)
}

async fn poll(app: &TestApp, started: &Value) -> Answer {
    let code = started["device_code"].as_str().unwrap();
    form(&app.anonymous(), "/auth/token", &[("grant_type", GRANT), ("device_code", code), ("client_id", "ogel-cli")])
        .await
}

#[track_caller]
fn said(answer: &Answer, error: &str) {
    assert_eq!((answer.status.as_u16(), answer.body["error"].as_str()), (400, Some(error)), "{:?}", answer.body);
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert!(answer.body["error_description"].as_str().unwrap().len() > 5);
}

async fn refresh(app: &TestApp, token: &Value) -> Answer {
    let body = json!({ "grant_type": "refresh_token", "refresh_token": token, "client_id": "ogel-cli" });
    app.anonymous().post("/auth/token", body).await
}

/// A device that `person` has let in.
async fn let_in(app: &TestApp, person: &Api) -> Value {
    let started = begin(app).await;
    person.post("/auth/device/approve", json!({ "userCode": started["user_code"] })).await.expect(204);
    poll(app, &started).await.expect(200)
}

/// A page as a browser asks for it.
async fn page(app: &TestApp, method: Method, path: &str, token: Option<&str>, fields: &[(&str, &str)]) -> Answer {
    let anonymous = app.anonymous().at(format!("http://{}", app.address()));
    let mut request = anonymous.request(method.clone(), path);
    if let Some(token) = token {
        request = request.header("cookie", format!("ogel_session={token}"));
    }
    if method == Method::POST {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        request = request
            .header("sec-fetch-site", "same-origin")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body);
    }
    anonymous.send(request).await
}

fn text(answer: &Answer) -> &str {
    answer.body.as_str().unwrap()
}

/// What the page's form carries along.
fn hidden(answer: &Answer, name: &str) -> String {
    let rest = text(answer).split_once(&format!("name=\"{name}\" value=\"")).unwrap().1;
    rest.split_once('"').unwrap().0.to_owned()
}

on_both! {
    async fn a_device_is_let_in_by_its_person(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let started = begin(&app).await;
        assert_eq!(started["interval"], 5);
        assert_eq!(started["verification_uri_complete"], format!("http://{}/device?user_code={}", app.address(), started["user_code"].as_str().unwrap()));
        said(&poll(&app, &started).await, "authorization_pending");
        said(&poll(&app, &started).await, "slow_down");
        let waiting = ada.get(&format!("/auth/device?userCode={}", started["user_code"].as_str().unwrap())).await.expect(200);
        assert_eq!((&waiting["clientId"], &waiting["ip"]), (&json!("ogel-cli"), &json!("127.0.0.1")));
        ada.post("/auth/device/approve", json!({ "userCode": started["user_code"] })).await.expect(204);
        // A word is given once.
        ada.post("/auth/device/deny", json!({ "userCode": started["user_code"] })).await.expect_error(404, "NOT_FOUND");
        let tokens = poll(&app, &started).await.expect(200);
        assert_eq!((&tokens["token_type"], &tokens["expires_in"]), (&json!("Bearer"), &json!(3600)));
        said(&poll(&app, &started).await, "invalid_grant");

        let device = app.anonymous().with_token(tokens["access_token"].as_str());
        let session = device.get("/auth/session").await.expect(200);
        assert_eq!((&session["user"]["name"], &session["sessionKind"]), (&json!("ada"), &json!("cli")));
        assert!(!session["scopes"].as_array().unwrap().contains(&json!("admin")), "it is not given unasked");
        let sessions = ada.get("/auth/sessions").await.expect(200);
        assert!(sessions["sessions"].as_array().unwrap().iter().any(|one| one["kind"] == "cli" && one["clientId"] == "ogel-cli"), "{sessions}");
    }

    async fn a_device_is_told_that_it_was_refused_or_forgotten(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let refused = begin(&app).await;
        ada.post("/auth/device/deny", json!({ "userCode": refused["user_code"] })).await.expect(204);
        said(&poll(&app, &refused).await, "access_denied");
        let forgotten = begin(&app).await;
        app.app.world.clock.advance(TimeDelta::minutes(16));
        said(&poll(&app, &forgotten).await, "expired_token");
        ada.post("/auth/device/approve", json!({ "userCode": forgotten["user_code"] })).await.expect_error(404, "NOT_FOUND");
    }

    async fn a_token_is_renewed_and_the_one_before_is_over(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let first = let_in(&app, &ada).await;
        let device = |tokens: &Value| app.anonymous().with_token(tokens["access_token"].as_str());
        app.app.world.clock.advance(TimeDelta::minutes(61));
        device(&first).get("/users/me").await.expect_error(401, "CREDENTIAL_EXPIRED");
        let second = refresh(&app, &first["refresh_token"]).await.expect(200);
        device(&second).get("/users/me").await.expect(200);
        let third = refresh(&app, &second["refresh_token"]).await.expect(200);
        device(&second).get("/users/me").await.expect_error(401, "INVALID_CREDENTIAL");
        device(&third).get("/users/me").await.expect(200);
        // Somebody has an old one: the login ends for both.
        said(&refresh(&app, &first["refresh_token"]).await, "invalid_grant");
        device(&third).get("/users/me").await.expect_error(401, "INVALID_CREDENTIAL");
        said(&refresh(&app, &third["refresh_token"]).await, "invalid_grant");
    }

    async fn a_revoked_token_ends_its_login(app: TestApp) {
        let ada = app.sign_up("ada").await;
        for name in ["access_token", "refresh_token"] {
            let tokens = let_in(&app, &ada).await;
            let device = app.anonymous().with_token(tokens["access_token"].as_str());
            device.get("/users/me").await.expect(200);
            form(&app.anonymous(), "/auth/revoke", &[("token", tokens[name].as_str().unwrap())]).await.expect(200);
            device.get("/users/me").await.expect_error(401, "INVALID_CREDENTIAL");
            said(&refresh(&app, &tokens["refresh_token"]).await, "invalid_grant");
        }
        form(&app.anonymous(), "/auth/revoke", &[("token", "unheard of")]).await.expect(200);
        said(&form(&app.anonymous(), "/auth/revoke", &[("token", "ogel_key")]).await, "unsupported_token_type");
    }

    async fn only_its_person_learns_what_a_token_is_good_for(app: TestApp) {
        let (ada, eve) = (app.sign_up("ada").await, app.sign_up("eve").await);
        let tokens = let_in(&app, &ada).await;
        let access = tokens["access_token"].as_str().unwrap().to_owned();
        let key = ada.post("/auth/api-keys", json!({ "name": "k", "scopes": ["sites:read"] })).await.expect(201);
        let key = key["secret"].as_str().unwrap().to_owned();
        let ask = async |who: &Api, token: &str| form(who, "/auth/introspect", &[("token", token)]).await.expect(200);
        let me = ada.get("/users/me").await.expect(200);
        let told = ask(&ada, &access).await;
        let now = app.app.world.now().timestamp();
        assert_eq!((&told["active"], &told["sub"], &told["username"]), (&json!(true), &me["id"], &json!("ada@example.com")));
        assert_eq!((&told["client_id"], &told["exp"], &told["iat"]), (&json!("ogel-cli"), &json!(now + 3600), &json!(now)));
        assert_eq!(told["scope"], tokens["scope"]);
        let of_key = ask(&ada, &key).await;
        assert_eq!((&of_key["active"], &of_key["scope"], of_key.get("exp")), (&json!(true), &json!("sites:read"), None));
        // Whoever holds somebody else's learns nothing, not even that it is one.
        let nothing = json!({ "active": false });
        for token in [&access, &key, "unheard of", "ogel_unheard_of"] {
            assert_eq!(ask(&eve, token).await, nothing, "{token}");
        }
        form(&app.anonymous(), "/auth/introspect", &[("token", &access)]).await.expect_error(401, "UNAUTHENTICATED");
        app.app.world.clock.advance(TimeDelta::minutes(61));
        assert_eq!(ask(&ada, &access).await, nothing);
        form(&app.anonymous(), "/auth/revoke", &[("token", tokens["refresh_token"].as_str().unwrap())]).await.expect(200);
        assert_eq!(ask(&ada, &access).await, nothing);
    }

    async fn requests_that_make_no_sense_are_refused_as_the_rfcs_say(app: TestApp) {
        let anonymous = app.anonymous();
        said(&form(&anonymous, "/auth/token", &[("grant_type", "password")]).await, "unsupported_grant_type");
        said(&form(&anonymous, "/auth/token", &[("device_code", "x")]).await, "invalid_request");
        said(&form(&anonymous, "/auth/token", &[("grant_type", GRANT)]).await, "invalid_request");
        said(&form(&anonymous, "/auth/token", &[("grant_type", GRANT), ("grant_type", GRANT)]).await, "invalid_request");
        said(&form(&anonymous, "/auth/token", &[("grant_type", GRANT), ("device_code", "x")]).await, "invalid_grant");
        said(&form(&anonymous, "/auth/device/code", &[("scope", "everything")]).await, "invalid_scope");
        said(&anonymous.post("/auth/token", json!([])).await, "invalid_request");
    }

    async fn nobody_gives_a_device_what_they_do_not_have(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let key = ada.post("/auth/api-keys", json!({ "name": "k" })).await.expect(201);
        let key = ada.with_token(key["secret"].as_str());
        let narrow = form(&app.anonymous(), "/auth/device/code", &[("scope", "users:read keys:read")]).await.expect(200);
        let decision = json!({ "userCode": narrow["user_code"] });
        key.post("/auth/device/approve", decision.clone()).await.expect_error(403, "FORBIDDEN");
        ada.post("/auth/device/approve", decision).await.expect(204);
        let tokens = poll(&app, &narrow).await.expect(200);
        assert_eq!(tokens["scope"], "users:read keys:read");
        let device = ada.with_token(tokens["access_token"].as_str());
        device.post("/projects", json!({ "name": "x" })).await.expect_error(403, "MISSING_SCOPE");
        let wide = begin(&app).await;
        device.post("/auth/device/approve", json!({ "userCode": wide["user_code"] })).await.expect_error(403, "MISSING_SCOPE");
        said(&poll(&app, &wide).await, "authorization_pending");
    }

    async fn codes_cannot_be_guessed(app: TestApp) {
        let ada = app.sign_up("ada").await;
        for _ in 0..10 {
            ada.post("/auth/device/approve", json!({ "userCode": "BCDF-GHJK" })).await.expect_error(404, "NOT_FOUND");
        }
        let started = begin(&app).await;
        ada.post("/auth/device/approve", json!({ "userCode": started["user_code"] })).await.expect_error(429, "RATE_LIMITED");
    }

    async fn the_page_logs_in_asks_and_lets_in(app: TestApp) {
        app.sign_up("ada").await;
        let started = begin(&app).await;
        let code = started["user_code"].as_str().unwrap();
        let path = format!("/device?user_code={code}");
        let asked = page(&app, Method::GET, &path, None, &[]).await;
        assert!(text(&asked).contains("type=\"password\"") && !text(&asked).contains("ogel-cli"));
        let wrong = [("action", "login"), ("email", "ada@example.com"), ("password", "wrong"), ("user_code", code)];
        assert_eq!(page(&app, Method::POST, "/device", None, &wrong).await.status, 401);
        let right = [("action", "login"), ("email", "ada@example.com"), ("password", "correct horse"), ("user_code", code)];
        // A browser takes the cookie along on its way; here it must be seen.
        let browser = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&right).finish();
        let request = browser.post(format!("http://{}/device", app.address())).header("sec-fetch-site", "same-origin");
        let answer = request.body(body).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.headers()["location"].to_str().unwrap()), (303, path.as_str()));
        let cookie = answer.headers()["set-cookie"].to_str().unwrap();
        let token = cookie.split(';').next().unwrap().split_once('=').unwrap().1;

        let asked = page(&app, Method::GET, &path, Some(token), &[]).await;
        for word in [code, "ogel-cli", "127.0.0.1", "ada@example.com"] {
            assert!(text(&asked).contains(word), "{word}");
        }
        let proof = hidden(&asked, "proof");
        // Without its proof the button does nothing, and neither does the proof of another code.
        let other = begin(&app).await;
        for (code, proof) in [(code, ""), (other["user_code"].as_str().unwrap(), proof.as_str())] {
            let fields = [("action", "approve"), ("user_code", code), ("proof", proof)];
            assert_eq!(page(&app, Method::POST, "/device", Some(token), &fields).await.status, 403);
        }
        said(&poll(&app, &started).await, "authorization_pending");
        let fields = [("action", "approve"), ("user_code", code), ("proof", proof.as_str())];
        let done = page(&app, Method::POST, "/device", Some(token), &fields).await;
        assert!(done.status == 200 && text(&done).contains("let in"), "{done:?}");
        poll(&app, &started).await.expect(200);
    }

    async fn the_page_is_kept_by_nobody_and_framed_by_nobody(app: TestApp) {
        let started = form(&app.anonymous(), "/auth/device/code", &[("client_id", "<script>alert(1)</script>")]).await.expect(200);
        let ada = app.sign_up("ada").await;
        let path = format!("/device?user_code={}", started["user_code"].as_str().unwrap());
        let asked = page(&app, Method::GET, &path, ada.token.as_deref(), &[]).await;
        assert!(!text(&asked).contains("<script") && text(&asked).contains("&lt;script&gt;"));
        assert_eq!(asked.headers["cache-control"], "no-store");
        assert!(!asked.headers.contains_key("etag"));
        let policy = asked.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{policy}");
        // The style that the policy allows is the one in the page.
        use base64::Engine as _;
        let style = text(&asked).split_once("<style>").unwrap().1.split_once("</style>").unwrap().0;
        let hash = base64::prelude::BASE64_STANDARD.encode(<sha2::Sha256 as sha2::Digest>::digest(style.as_bytes()));
        assert!(policy.contains(&format!("'sha256-{hash}'")), "{policy}");
    }

    async fn other_sites_pages_cannot_use_the_forms(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let base = app.anonymous().at(format!("http://{}", app.address()));
        let login = "action=login&email=ada%40example.com&password=correct+horse";
        for (name, value) in [("sec-fetch-site", "cross-site"), ("origin", "https://evil.example"), ("accept", "*/*")] {
            for cookie in ["a=b".to_owned(), format!("ogel_session={}", ada.token.clone().unwrap())] {
                let request = base.request(Method::POST, "/device").header(name, value).header("cookie", cookie);
                base.send(request.body(login)).await.expect_error(403, "CROSS_SITE_REQUEST");
            }
        }
    }

    async fn programs_find_the_endpoints_where_they_look(app: TestApp) {
        let base = app.anonymous().at(format!("http://{}", app.address()));
        let found = base.get("/.well-known/oauth-authorization-server").await.expect(200);
        let issuer = format!("http://{}", app.address());
        assert_eq!(found["issuer"], issuer);
        assert_eq!(found["token_endpoint"], format!("{issuer}/api/v2/auth/token"));
        assert_eq!(found["device_authorization_endpoint"], format!("{issuer}/api/v2/auth/device/code"));
        assert_eq!(found["introspection_endpoint"], format!("{issuer}/api/v2/auth/introspect"));
        assert_eq!(found["grant_types_supported"], json!([GRANT, "refresh_token", "urn:ietf:params:oauth:grant-type:token-exchange"]));
    }
}
