//! Sessions of Studio's own login: recognised, tied to people, ended at once, and never written.

mod packages;
mod rows;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use http::Method;
use ogel_server::config::{Config, Secret};
use ogel_testkit::{Answer, Api, Database, TestApp, eventually};
use serde_json::{Value, json};

const SECRET: &str = "a-secret-of-studio-for-tests";
const COOKIE: &str = "next-auth.session-token";

fn with_studio(config: &mut Config) {
    config.studio_sessions.strategy = "jwt".to_owned();
    config.studio_sessions.secrets = vec![Secret::new(SECRET)];
}

/// As `crate::on_both`, with Studio's sessions taken.
macro_rules! with_studio_on_both {
    ($($(#[$meta:meta])* async fn $name:ident($app:ident: TestApp) $body:block)+) => { $(
        $(#[$meta])*
        mod $name {
            use super::*;

            async fn case(database: Database) {
                let $app = TestApp::start_with(database, with_studio).await;
                $body
                $app.stop().await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_sqlite() {
                case(Database::Sqlite).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_postgres() {
                case(Database::Postgres).await;
            }
        }
    )+ };
}

/// A token as next-auth v4 makes it, with any header.
pub(crate) fn sealed(header: &Value, secret: &str, claims: &Value) -> String {
    use aes_gcm::{
        Aes256Gcm, KeyInit as _,
        aead::{Aead as _, Payload},
    };
    let mut key = [0; 32];
    hkdf::Hkdf::<sha2::Sha256>::new(None, secret.as_bytes())
        .expand(b"NextAuth.js Generated Encryption Key", &mut key)
        .unwrap();
    let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let (header, plain, iv) = (encode(header.to_string().as_bytes()), claims.to_string(), [9; 12]);
    let payload = Payload { msg: plain.as_bytes(), aad: header.as_bytes() };
    let sealed = Aes256Gcm::new_from_slice(&key).unwrap().encrypt((&iv).into(), payload).unwrap();
    let (ciphertext, tag) = sealed.split_at(sealed.len() - 16);
    format!("{header}..{}.{}.{}", encode(&iv), encode(ciphertext), encode(tag))
}

fn token(claims: &Value) -> String {
    sealed(&json!({ "alg": "dir", "enc": "A256GCM" }), SECRET, claims)
}

/// What a token says of somebody who has just logged in; `more` is added to it.
pub(crate) fn claims(app: &TestApp, subject: &str, more: &Value) -> Value {
    let now = app.app.world.now().timestamp();
    let mut claims = json!({ "sub": subject, "iat": now, "exp": now + 86_400, "jti": format!("{subject}-{now}") });
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    claims
}

/// The id of a person of ours in the form Studio's database has it.
pub(crate) async fn uuid_of(person: &Api) -> String {
    let me = person.get("/users/me").await.expect(200);
    me["id"].as_str().unwrap().parse::<ogel_api::id::UserId>().unwrap().0.to_string()
}

async fn with_cookie(app: &TestApp, path: &str, cookie: &str) -> Answer {
    let anonymous = app.anonymous();
    let answer = anonymous.send(anonymous.request(Method::GET, path).header("cookie", cookie)).await;
    assert!(!answer.headers.contains_key("set-cookie"), "Studio's cookie is Studio's to write: {answer:?}");
    answer
}

with_studio_on_both! {
    async fn a_cookie_and_a_bearer_token_of_studio_say_who_calls(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let token = token(&claims(&app, &uuid_of(&ada).await, &json!({})));
        let session = with_cookie(&app, "/auth/session", &format!("a=b; {COOKIE}={token}")).await.expect(200);
        assert_eq!((&session["user"]["name"], &session["method"]), (&json!("ada"), &json!("studioSession")));
        assert_eq!((&session["sessionId"], &session["apiKeyId"]), (&Value::Null, &Value::Null));
        assert_eq!(session["organizations"][0]["role"], "owner");
        for bearer in [token.clone(), token.replace('.', "%2E")] {
            let caller = app.anonymous().with_token(Some(&bearer));
            caller.get("/users/me").await.expect(200);
            caller.patch("/users/me", json!({ "name": "Ada" })).await.expect(200);
        }
        // A login of ours that has ended does not hide the one at Studio, one that holds comes first.
        let ended = format!("ogel_session=ogels_000000000000000000000000000000000000000000000000000000; {COOKIE}={token}");
        assert_eq!(with_cookie(&app, "/auth/session", &ended).await.expect(200)["method"], "studioSession");
        let both = format!("{COOKIE}={token}; ogel_session={}", ada.token.clone().unwrap());
        assert_eq!(with_cookie(&app, "/auth/session", &both).await.expect(200)["method"], "session");
    }

    async fn what_does_not_hold_is_refused(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let id = uuid_of(&ada).await;
        let now = app.app.world.now().timestamp();
        let good = claims(&app, &id, &json!({}));
        let plain = json!({ "alg": "dir", "enc": "A256GCM" });
        let with = |more: Value| { let mut all = plain.clone(); all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone()); all };
        let mut tampered = token(&good);
        let last = if tampered.ends_with('A') { 'Q' } else { 'A' };
        tampered.pop();
        tampered.push(last);
        let far = (now + 401 * 86_400, now + 86_400);
        for (what, token) in [
            ("a tampered tag", tampered),
            ("another secret", sealed(&plain, "another secret", &good)),
            ("zip", sealed(&with(json!({ "zip": "DEF" })), SECRET, &good)),
            ("crit", sealed(&with(json!({ "crit": ["exp"] })), SECRET, &good)),
            ("another alg", sealed(&with(json!({ "alg": "A256KW" })), SECRET, &good)),
            ("the far future", token(&claims(&app, &id, &json!({ "exp": far.0 })))),
            ("not yet", token(&claims(&app, &id, &json!({ "iat": far.1 })))),
            ("no end", token(&claims(&app, &id, &json!({ "exp": null })))),
            ("nobody", token(&json!({ "exp": far.1 }))),
            ("too large", token(&claims(&app, &id, &json!({ "fill": "x".repeat(17_000) })))),
        ] {
            let error = with_cookie(&app, "/users/me", &format!("{COOKIE}={token}")).await;
            if what == "too large" {
                error.expect_error(401, "UNAUTHENTICATED");
                continue;
            }
            let error = error.expect_error(401, "INVALID_CREDENTIAL");
            assert!(error["message"].as_str().unwrap().contains("Studio"), "{what}: {error}");
            app.anonymous().with_token(Some(&token)).get("/users/me").await.expect_error(401, "INVALID_CREDENTIAL");
            // It is no reason to refuse what anybody may have.
            with_cookie(&app, "/version", &format!("{COOKIE}={token}")).await.expect(200);
        }
        let expired = token(&claims(&app, &id, &json!({ "exp": now - 15 })));
        with_cookie(&app, "/users/me", &format!("{COOKIE}={expired}")).await.expect_error(401, "CREDENTIAL_EXPIRED");
        // One that was good a moment ago, too.
        let good = format!("{COOKIE}={}", token(&good));
        with_cookie(&app, "/users/me", &good).await.expect(200);
        app.app.world.clock.advance(chrono::TimeDelta::seconds(86_400 + 15));
        with_cookie(&app, "/users/me", &good).await.expect_error(401, "CREDENTIAL_EXPIRED");
    }

    async fn pieces_are_joined_and_left_over_ones_passed_by(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let long = token(&claims(&app, &uuid_of(&ada).await, &json!({ "permissions": "p".repeat(5000) })));
        let (first, rest) = long.split_at(3933);
        let short = token(&claims(&app, &uuid_of(&ada).await, &json!({})));
        for cookie in [
            format!("{COOKIE}.1={rest}; {COOKIE}.0={first}"),
            // A stale whole beside the pieces, stale pieces beside the whole, a stale piece beyond a gap.
            format!("{COOKIE}=stale; {COOKIE}.0={first}; {COOKIE}.1={rest}"),
            format!("{COOKIE}.0={first}; {COOKIE}.1=stale; {COOKIE}={short}"),
            format!("{COOKIE}.0={first}; {COOKIE}.1={rest}; {COOKIE}.3=stale"),
            format!("__Secure-{COOKIE}=stale; {COOKIE}={short}"),
        ] {
            with_cookie(&app, "/users/me", &cookie).await.expect(200);
        }
    }

    async fn another_sites_page_may_not_use_studios_cookie_to_change_things(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let token = token(&claims(&app, &uuid_of(&ada).await, &json!({})));
        let anonymous = app.anonymous();
        let change = |name: &'static str, value: &str| {
            let request = anonymous.request(Method::PATCH, "/users/me").header("cookie", format!("{COOKIE}={token}"));
            request.header(name, value).json(&json!({ "name": "Eve" }))
        };
        anonymous.send(change("origin", "https://evil.example")).await.expect_error(403, "CROSS_SITE_REQUEST");
        anonymous.send(change("sec-fetch-site", "cross-site")).await.expect_error(403, "CROSS_SITE_REQUEST");
        anonymous.send(change("sec-fetch-site", "same-origin")).await.expect(200);
    }

    async fn logging_out_ends_that_session_at_once_and_no_other(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let id = uuid_of(&ada).await;
        let one = format!("{COOKIE}={}", token(&claims(&app, &id, &json!({ "jti": "one" }))));
        let two = format!("{COOKIE}={}", token(&claims(&app, &id, &json!({ "jti": "two" }))));
        for cookie in [&one, &two] {
            with_cookie(&app, "/users/me", cookie).await.expect(200);
        }
        let anonymous = app.anonymous();
        let request = anonymous.request(Method::POST, "/auth/logout").header("cookie", &one);
        let answer = anonymous.send(request.header("sec-fetch-site", "same-origin")).await;
        assert!(!answer.headers.contains_key("set-cookie"), "{answer:?}");
        answer.expect(204);
        with_cookie(&app, "/users/me", &one).await.expect_error(401, "INVALID_CREDENTIAL");
        with_cookie(&app, "/users/me", &two).await.expect(200);
        ada.get("/users/me").await.expect(200);
        // The same session in another cipher text, as a refreshed page might send it.
        let again = format!("__Secure-{COOKIE}={}", token(&claims(&app, &id, &json!({ "jti": "one", "name": "x" }))));
        with_cookie(&app, "/users/me", &again).await.expect_error(401, "INVALID_CREDENTIAL");
    }

    async fn revoking_all_ends_every_session_that_has_begun(app: TestApp) {
        let (ada, bob) = (app.sign_up("ada").await, app.sign_up("bob").await);
        let id = uuid_of(&ada).await;
        let key = ada.post("/auth/api-keys", json!({ "name": "ci" })).await.expect(201);
        let before = format!("{COOKIE}={}", token(&claims(&app, &id, &json!({}))));
        let bobs = format!("{COOKIE}={}", token(&claims(&app, &uuid_of(&bob).await, &json!({}))));
        with_cookie(&app, "/users/me", &before).await.expect(200);
        ada.post("/users/me/sessions/revoke-all", json!({})).await.expect(204);
        with_cookie(&app, "/users/me", &before).await.expect_error(401, "INVALID_CREDENTIAL");
        ada.get("/users/me").await.expect_error(401, "INVALID_CREDENTIAL");
        app.anonymous().with_token(key["secret"].as_str()).get("/users/me").await.expect(200);
        with_cookie(&app, "/users/me", &bobs).await.expect(200);
        app.app.world.clock.advance(chrono::TimeDelta::seconds(1));
        let after = format!("{COOKIE}={}", token(&claims(&app, &id, &json!({}))));
        with_cookie(&app, "/users/me", &after).await.expect(200);
    }

    async fn people_unknown_here_are_refused_linked_or_made_as_configured(app: TestApp) {
        let configure = |unknown: &str, trust: bool| {
            let mut config = Config::clone(&app.app.config());
            config.studio_sessions.unknown_users = unknown.to_owned();
            config.studio_sessions.trust_emails = trust;
            assert_eq!(app.app.reconfigure(config), Vec::<&str>::new());
        };
        let ada = app.sign_up("ada").await;
        let key = ada.post("/auth/api-keys", json!({ "name": "ci" })).await.expect(201);
        let key = app.anonymous().with_token(key["secret"].as_str());
        let email = json!({ "email": "ADA@example.com", "emailVerified": "2026-01-01T00:00:00Z" });
        let unverified = json!({ "email": "ada@example.com" });
        let studios = |subject: &str, more: &Value| format!("{COOKIE}={}", token(&claims(&app, subject, more)));

        let refused = with_cookie(&app, "/users/me", &studios("cuid-ada", &email)).await;
        refused.expect_error(403, "ACCOUNT_NOT_LINKED");
        configure("link", false);
        with_cookie(&app, "/users/me", &studios("cuid-ada", &unverified)).await.expect_error(403, "ACCOUNT_NOT_LINKED");
        let nobody = json!({ "email": "new@example.com", "email_verified": true, "name": "Newcomer" });
        with_cookie(&app, "/users/me", &studios("cuid-new", &nobody)).await.expect_error(403, "ACCOUNT_NOT_LINKED");
        ada.get("/users/me").await.expect(200);

        // Linked; and whoever had made the account with a password nobody verified is out.
        let me = with_cookie(&app, "/users/me", &studios("cuid-ada", &email)).await.expect(200);
        assert_eq!(me["email"], "ada@example.com");
        ada.get("/users/me").await.expect_error(401, "INVALID_CREDENTIAL");
        key.get("/users/me").await.expect_error(401, "INVALID_CREDENTIAL");
        let login = json!({ "email": "ada@example.com", "password": "correct horse" });
        app.anonymous().post("/auth/login", login).await.expect_error(401, "INVALID_LOGIN");
        // From now on the address does not matter any more, and somebody else's does not become theirs.
        let same = with_cookie(&app, "/users/me", &studios("cuid-ada", &json!({}))).await.expect(200);
        assert_eq!(same["id"], me["id"]);

        configure("create", true);
        let made = studios("cuid-new", &json!({ "email": "new@example.com", "name": "Newcomer" }));
        let session = with_cookie(&app, "/auth/session", &made).await.expect(200);
        assert_eq!((&session["user"]["name"], &session["organizations"][0]["role"]), (&json!("Newcomer"), &json!("owner")));
        with_cookie(&app, "/users/me", &studios("cuid-x", &json!({ "email": "no address" }))).await.expect_error(403, "ACCOUNT_NOT_LINKED");
        // Their key works, and the session's end does not take it along.
        let api = app.anonymous().with_token(made.split_once('=').map(|(_, token)| token));
        let key = api.post("/auth/api-keys", json!({ "name": "ci" })).await.expect(201);
        api.post("/auth/logout", json!({})).await.expect(204);
        app.anonymous().with_token(key["secret"].as_str()).get("/users/me").await.expect(200);
    }

    async fn the_current_session_may_be_one_of_studios_and_ends_at_every_replica_within_a_second(app: TestApp) {
        let replica = app.replica().await;
        let ada = app.sign_up("ada").await;
        let id = uuid_of(&ada).await;
        let session = |jti: &str| app.anonymous().with_token(Some(&token(&claims(&app, &id, &json!({ "jti": jti })))));
        let (one, two) = (session("one"), session("two"));
        let (one_there, two_there, ours_there) = (replica.api(&one), replica.api(&two), replica.api(&ada));
        for caller in [&one, &two, &one_there, &two_there, &ours_there] {
            caller.get("/users/me").await.expect(200);
        }
        one.delete("/auth/sessions/current").await.expect(204);
        let ended = std::time::Instant::now();
        one.get("/users/me").await.expect_error(401, "INVALID_CREDENTIAL");
        eventually("it ends at the other replica", || async { (one_there.get("/users/me").await.status == 401).then_some(()) }).await;
        assert!(ended.elapsed() < std::time::Duration::from_secs(1), "{:?}", ended.elapsed());
        for (who, caller) in [("two", &two), ("two there", &two_there), ("ours there", &ours_there)] {
            assert_eq!(caller.get("/users/me").await.status, 200, "{who}");
        }
        // One of ours is meant as well.
        ours_there.delete("/auth/sessions/current").await.expect(204);
        let ended = std::time::Instant::now();
        eventually("ours ends here", || async { (ada.get("/users/me").await.status == 401).then_some(()) }).await;
        assert!(ended.elapsed() < std::time::Duration::from_secs(1), "{:?}", ended.elapsed());
        two.get("/users/me").await.expect(200);
        let log = two.get("/users/me/audit-log?action=session.ended").await.expect(200);
        assert_eq!(log["entries"].as_array().unwrap().len(), 2, "{log}");
        replica.stop().await;
    }

    async fn many_first_requests_at_once_make_one_account(app: TestApp) {
        let mut config = Config::clone(&app.app.config());
        config.studio_sessions.unknown_users = "create".to_owned();
        app.app.reconfigure(config);
        let more = json!({ "email": "ada@example.com", "email_verified": true, "name": "Ada" });
        let calls: Vec<_> = (0..40).map(|n| {
            // Different tokens of one person: nothing shares their look-up.
            let mut more = more.clone();
            more["jti"] = json!(format!("{n}"));
            let api = app.anonymous().with_token(Some(&token(&claims(&app, "cuid-ada", &more))));
            tokio::spawn(async move { api.get("/auth/session").await.expect(200) })
        }).collect();
        let mut seen = Vec::new();
        for call in calls {
            let session = call.await.unwrap();
            assert_eq!(session["organizations"].as_array().unwrap().len(), 1, "{session}");
            seen.push((session["user"]["id"].clone(), session["organizations"][0]["id"].clone()));
        }
        seen.dedup();
        assert_eq!(seen.len(), 1, "{seen:?}");
    }

    async fn a_session_of_studios_is_exchanged_for_a_token_that_ends_no_later(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let id = uuid_of(&ada).await;
        let exchange = async |token: &str| {
            let body = json!({
                "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange", "subject_token": token,
                "subject_token_type": "urn:ietf:params:oauth:token-type:jwt", "client_id": "studio",
            });
            app.anonymous().post("/auth/token", body).await
        };
        let now = app.app.world.now().timestamp();
        let short = token(&claims(&app, &id, &json!({ "exp": now + 600 })));
        let tokens = exchange(&short).await.expect(200);
        assert_eq!((&tokens["token_type"], tokens.get("refresh_token")), (&json!("Bearer"), None));
        assert_eq!(tokens["issued_token_type"], "urn:ietf:params:oauth:token-type:access_token");
        // With the leeway that clocks have.
        assert!((600..=615).contains(&tokens["expires_in"].as_u64().unwrap()), "{tokens}");
        let program = app.anonymous().with_token(tokens["access_token"].as_str());
        let session = program.get("/auth/session").await.expect(200);
        assert_eq!((&session["method"], &session["sessionKind"]), (&json!("session"), &json!("cli")));
        assert!(!session["scopes"].as_array().unwrap().contains(&json!("admin")));
        assert_eq!(uuid_of(&program).await, id);
        let long = exchange(&token(&claims(&app, &id, &json!({})))).await.expect(200);
        assert_eq!(long["expires_in"], 3600);
        for wrong in ["x", &format!("{short}x"), &token(&claims(&app, &id, &json!({ "exp": now - 60 })))] {
            assert_eq!(exchange(wrong).await.expect(400)["error"], "invalid_grant", "{wrong}");
        }
        // Ended there, it is worth nothing here.
        app.anonymous().with_token(Some(&short)).post("/auth/logout", json!({})).await.expect(204);
        assert_eq!(exchange(&short).await.expect(400)["error"], "invalid_grant");
        app.app.world.clock.advance(chrono::TimeDelta::seconds(616));
        program.get("/users/me").await.expect_error(401, "CREDENTIAL_EXPIRED");
    }

    async fn a_new_secret_counts_from_the_next_request_on_beside_the_old_one(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let all = claims(&app, &uuid_of(&ada).await, &json!({}));
        let plain = json!({ "alg": "dir", "enc": "A256GCM" });
        let (old, new) = (format!("{COOKIE}={}", token(&all)), format!("{COOKIE}={}", sealed(&plain, "new", &all)));
        with_cookie(&app, "/users/me", &new).await.expect_error(401, "INVALID_CREDENTIAL");
        let mut config = Config::clone(&app.app.config());
        config.studio_sessions.secrets.insert(0, Secret::new("new"));
        app.app.reconfigure(config.clone());
        for cookie in [&old, &new] {
            with_cookie(&app, "/users/me", cookie).await.expect(200);
        }
        config.studio_sessions.secrets.pop();
        app.app.reconfigure(config);
        with_cookie(&app, "/users/me", &new).await.expect(200);
        // Remembered for a second at most.
        eventually("the old secret no longer counts", || async {
            (with_cookie(&app, "/users/me", &old).await.status == 401).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_setting_studios_cookies_mean_nothing() {
    let app = TestApp::start(Database::Sqlite).await;
    let ada = app.sign_up("ada").await;
    let token = token(&claims(&app, &uuid_of(&ada).await, &json!({})));
    with_cookie(&app, "/users/me", &format!("{COOKIE}={token}")).await.expect_error(401, "UNAUTHENTICATED");
    app.anonymous().with_token(Some(&token)).get("/users/me").await.expect_error(401, "INVALID_CREDENTIAL");
    app.stop().await;
}
