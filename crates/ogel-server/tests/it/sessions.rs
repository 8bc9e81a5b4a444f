//! A person's logins: what they see of them, how they end them, and how often a password may be tried.

use crate::on_both;
use http::Method;
use ogel_server::config::Config;
use ogel_testkit::{Api, Database, TestApp};
use serde_json::{Value, json};

async fn log_in(app: &TestApp, email: &str, password: &str) -> ogel_testkit::Answer {
    app.anonymous().post("/auth/login", json!({ "email": email, "password": password })).await
}

async fn another_login(app: &TestApp, email: &str) -> Api {
    let token = log_in(app, email, "correct horse").await.expect(200)["session"]["token"].clone();
    app.anonymous().with_token(token.as_str())
}

async fn id_of(api: &Api) -> String {
    api.get("/auth/session").await.expect(200)["sessionId"].as_str().unwrap().to_owned()
}

on_both! {
    async fn a_person_recognises_and_ends_their_logins(app: TestApp) {
        let ada = app.sign_up("ada").await;
        app.app.world.clock.advance(chrono::TimeDelta::seconds(1));
        let anonymous = app.anonymous();
        let login = anonymous.request(Method::POST, "/auth/login").header("user-agent", "Browser/1.0");
        let login = login.json(&json!({ "email": "ada@example.com", "password": "correct horse" }));
        let token = anonymous.send(login).await.expect(200)["session"]["token"].clone();
        let phone = anonymous.with_token(token.as_str());
        app.sign_up("eve").await;

        let list = ada.get("/auth/sessions").await.expect(200);
        let sessions = list["sessions"].as_array().unwrap();
        assert_eq!(sessions.len(), 2, "{list}");
        let (newest, oldest) = (&sessions[0], &sessions[1]);
        assert_eq!((&newest["current"], &oldest["current"]), (&json!(false), &json!(true)));
        assert_eq!((&newest["userAgent"], &newest["ip"], &newest["kind"]), (&json!("Browser/1.0"), &json!("127.0.0.1"), &json!("browser")));
        assert!(newest["createdAt"].is_string() && newest["lastSeenAt"].is_string() && newest["expiresAt"].is_string());
        assert!(!list.to_string().contains(token.as_str().unwrap()));

        let path = format!("/auth/sessions/{}", newest["id"].as_str().unwrap());
        assert_eq!(phone.get(&path).await.expect(200)["current"], true);
        ada.delete(&path).await.expect(204);
        phone.get("/users/me").await.expect_error(401, "INVALID_CREDENTIAL");
        ada.get(&path).await.expect_error(404, "NOT_FOUND");
        ada.get("/users/me").await.expect(200);
    }

    async fn a_person_sees_when_and_from_where_a_login_was_last_used(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let path = format!("/auth/sessions/{}", id_of(&ada).await);
        let before = ada.get(&path).await.expect(200);
        app.app.world.clock.advance(chrono::TimeDelta::minutes(3));
        ada.get("/users/me").await.expect(200);
        let after = ada.get(&path).await.expect(200);
        assert_ne!(before["lastSeenAt"], after["lastSeenAt"]);
        assert_ne!(before["expiresAt"], after["expiresAt"], "use prolongs it");
        assert_eq!(before["createdAt"], after["createdAt"]);
    }

    async fn all_other_logins_end_together(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let others = [another_login(&app, "ada@example.com").await, another_login(&app, "ada@example.com").await];
        let eve = app.sign_up("eve").await;
        ada.delete("/auth/sessions").await.expect(204);
        for other in others {
            other.get("/users/me").await.expect_error(401, "INVALID_CREDENTIAL");
        }
        ada.get("/users/me").await.expect(200);
        eve.get("/users/me").await.expect(200);
    }

    async fn a_new_password_ends_every_other_login(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let phone = another_login(&app, "ada@example.com").await;
        let change = |current: &str, new: &str| json!({ "currentPassword": current, "newPassword": new });
        let error = ada.post("/users/me/password", change("wrong horse", "another horse")).await.expect_error(400, "INVALID_VALUE");
        assert_eq!(error["details"][0]["location"], "body.currentPassword");
        ada.post("/users/me/password", change("correct horse", "short")).await.expect_error(400, "INVALID_VALUE");
        phone.get("/users/me").await.expect(200);

        ada.post("/users/me/password", change("correct horse", "another horse")).await.expect(204);
        phone.get("/users/me").await.expect_error(401, "INVALID_CREDENTIAL");
        ada.get("/users/me").await.expect(200);
        log_in(&app, "ada@example.com", "correct horse").await.expect_error(401, "INVALID_LOGIN");
        log_in(&app, "ada@example.com", "another horse").await.expect(200);
    }

    async fn a_planted_cookie_does_not_survive_a_login(app: TestApp) {
        // What an attacker knows, because it is theirs.
        let eve = app.sign_up("eve").await;
        let planted = eve.token.clone().unwrap();
        app.sign_up("ada").await;
        let anonymous = app.anonymous();
        let login = anonymous.request(Method::POST, "/auth/login").header("cookie", format!("ogel_session={planted}"));
        let login = login.header("sec-fetch-site", "same-origin");
        let answer = anonymous.send(login.json(&json!({ "email": "ada@example.com", "password": "correct horse" }))).await;
        let cookie = answer.headers["set-cookie"].to_str().unwrap().to_owned();
        assert!(cookie.starts_with("ogel_session=ogels_") && !cookie.contains(&planted), "{cookie}");
        answer.expect(200);
        // It is no login any more, neither Ada's nor Eve's.
        eve.get("/users/me").await.expect_error(401, "INVALID_CREDENTIAL");
        // Two cookies of that name are none.
        let cookies = format!("ogel_session={planted}; {}", cookie.split(';').next().unwrap());
        let both = anonymous.request(Method::GET, "/users/me").header("cookie", cookies);
        anonymous.send(both).await.expect_error(401, "INVALID_CREDENTIAL");
    }
}

/// With the limits on passwords as they are by default.
async fn guarded(database: Database, change: impl FnOnce(&mut Config)) -> TestApp {
    TestApp::start_with(database, |config| {
        config.server.trusted_proxies = vec!["127.0.0.1".to_owned()];
        change(config);
    })
    .await
}

/// As if sent from `ip`.
async fn try_from(app: &TestApp, ip: &str, email: &str, password: &str) -> ogel_testkit::Answer {
    let anonymous = app.anonymous();
    let request = anonymous.request(Method::POST, "/auth/login").header("x-forwarded-for", ip);
    anonymous.send(request.json(&json!({ "email": email, "password": password }))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guessing_at_one_account_from_everywhere_stops_and_does_not_lock_its_owner_out() {
    let app = guarded(Database::Sqlite, |_| {}).await;
    app.sign_up("ada").await;
    try_from(&app, "198.51.100.7", "ada@example.com", "correct horse").await.expect(200);
    let mut refusals = Vec::new();
    for email in ["ada@example.com", "nobody@example.com"] {
        for n in 0..10 {
            try_from(&app, &format!("203.0.113.{n}"), email, "wrong horse").await.expect_error(401, "INVALID_LOGIN");
        }
        // Even with the right password, or what was right before would be told.
        let answer = try_from(&app, "203.0.113.99", email, "correct horse").await;
        let wait: u64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1..=1800).contains(&wait), "{wait}");
        refusals.push(answer.expect_error(429, "RATE_LIMITED")["message"].clone());
    }
    let words = |message: &Value| message.as_str().unwrap().replace(|c: char| c.is_ascii_digit(), "");
    assert_eq!(words(&refusals[0]), words(&refusals[1]), "an account that exists is refused like one that does not");
    // From where Ada is logged in she still gets in, as often as she likes.
    for _ in 0..12 {
        try_from(&app, "198.51.100.7", "ada@example.com", "correct horse").await.expect(200);
    }
    // And everybody else once the guessing has stopped.
    app.app.world.clock.advance(chrono::TimeDelta::minutes(31));
    try_from(&app, "203.0.113.99", "ada@example.com", "correct horse").await.expect(200);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guessing_at_many_accounts_from_one_address_stops() {
    let app = guarded(Database::Sqlite, |config| config.limits.login = 5).await;
    for n in 0..5 {
        let email = format!("somebody{n}@example.com");
        try_from(&app, "203.0.113.1", &email, "wrong horse").await.expect_error(401, "INVALID_LOGIN");
    }
    try_from(&app, "203.0.113.1", "another@example.com", "x").await.expect_error(429, "RATE_LIMITED");
    try_from(&app, "203.0.113.2", "another@example.com", "x").await.expect_error(401, "INVALID_LOGIN");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn right_passwords_do_not_count_against_an_account() {
    let app = guarded(Database::Sqlite, |_| {}).await;
    app.sign_up("ada").await;
    for n in 0..15 {
        try_from(&app, &format!("203.0.113.{n}"), "ada@example.com", "correct horse").await.expect(200);
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stolen_session_cannot_be_used_to_find_the_password_out() {
    let app = guarded(Database::Sqlite, |_| {}).await;
    let ada = app.sign_up("ada").await;
    let guess = |n| json!({ "currentPassword": format!("guess {n}"), "newPassword": "another horse" });
    let mut codes = Vec::new();
    for n in 0..25 {
        codes.push(ada.post("/users/me/password", guess(n)).await.status.as_u16());
    }
    // Ten of the account's, ten of the address it is logged in from.
    assert_eq!(codes.iter().filter(|code| **code == 400).count(), 20, "{codes:?}");
    assert_eq!(codes[20..], [429; 5]);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_https_server_sets_and_reads_the_host_cookie_only() {
    let https = |config: &mut Config| config.server.public_url = "https://api.example".to_owned();
    let app = TestApp::start_with(Database::Sqlite, https).await;
    let body = json!({ "email": "ada@example.com", "password": "correct horse", "name": "Ada" });
    let answer = app.anonymous().post("/auth/signup", body).await;
    let cookie = answer.headers["set-cookie"].to_str().unwrap().to_owned();
    assert!(
        cookie.starts_with("__Host-ogel_session=") && cookie.ends_with("; Secure") && cookie.contains("Path=/;"),
        "{cookie}"
    );
    let token = answer.expect(201)["session"]["token"].as_str().unwrap().to_owned();
    let anonymous = app.anonymous();
    let with = |name: &str| anonymous.request(Method::GET, "/users/me").header("cookie", format!("{name}={token}"));
    anonymous.send(with("__Host-ogel_session")).await.expect(200);
    anonymous.send(with("ogel_session")).await.expect_error(401, "UNAUTHENTICATED");
    app.stop().await;
}
