//! One's own account, at the real service: logins, the password, API keys, and what operators see.

use crate::{
    end_to_end::ogel,
    ogel::{Ogel, ran},
};
use ogel_testkit::{Database, TestApp, eventually};
use serde_json::json;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_was_let_in_says_what_it_is() {
    let app = TestApp::start(Database::Sqlite).await;
    let ada = app.sign_up("ada").await;
    let machine = Ogel::new();
    let mut login = machine.command(&["login", "--api-url", &ada.base]).spawn().unwrap();
    let mut lines = BufReader::new(login.stderr.take().unwrap()).lines();
    let code = loop {
        let line = lines.next_line().await.unwrap().expect("it shows the code");
        if let Some((_, code)) = line.split_once("user_code=") {
            break code.to_owned();
        }
    };
    ada.post("/auth/device/approve", json!({ "userCode": code })).await.expect(204);
    assert!(login.wait().await.unwrap().success());
    let whoami = machine.run(&["whoami"]).await;
    assert_eq!(whoami.code, Some(0), "{whoami:?}");
    assert!(whoami.stdout.contains("ada <ada@example.com>"), "{}", whoami.stdout);
    assert!(whoami.stdout.contains("login of a program, which renews it, from `ogel login`"), "{}", whoami.stdout);
    let session = machine.run(&["whoami", "--json"]).await.json();
    assert_eq!((&session["method"], &session["sessionKind"]), (&json!("session"), &json!("cli")));

    // It stands in the list, is told apart, and can be ended from elsewhere.
    let listed = machine.run(&["sessions", "list", "--json"]).await.json();
    let own = listed.as_array().unwrap().iter().find(|one| one["current"] == true).unwrap().clone();
    assert_eq!((&own["kind"], &own["clientId"]), (&json!("cli"), &json!("ogel-cli")));
    let table = machine.run(&["sessions", "list"]).await.stdout;
    assert!(table.lines().any(|line| line.starts_with("*  cli      ogel-cli ")), "{table}");
    let id = own["id"].as_str().unwrap();
    let unasked = machine.run(&["sessions", "end", id]).await;
    assert_eq!(unasked.code, Some(2), "the login in use is not ended unasked: {unasked:?}");
    assert_eq!(ogel(&ada, &["sessions", "end", id]).await.code, Some(0));
    // Nor can it be renewed.
    assert_eq!(machine.run(&["whoami"]).await.code, Some(4));
    assert_eq!(ogel(&ada, &["sessions", "end", id]).await.code, Some(3));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_logins_end_and_a_password_is_changed() {
    let app = TestApp::start(Database::Sqlite).await;
    let ada = app.sign_up("ada").await;
    let other = app.log_in("ada").await;
    assert_eq!(ogel(&ada, &["sessions", "end"]).await.code, Some(2));
    let unasked = ogel(&ada, &["sessions", "end", "--all-others", "--json"]).await;
    assert_eq!((unasked.code, &unasked.json()["error"]["code"]), (Some(2), &json!("NOT_CONFIRMED")));
    other.get("/users/me").await.expect(200);
    assert_eq!(ogel(&ada, &["sessions", "end", "--all-others", "--yes"]).await.code, Some(0));
    other.get("/users/me").await.expect_error(401, "INVALID_CREDENTIAL");

    let other = app.log_in("ada").await;
    let password = async |lines: &str| {
        let machine = Ogel::new();
        let mut command = machine.command(&["password"]);
        command.env("OGEL_API_URL", &ada.base).env("OGEL_TOKEN", ada.token.as_deref().unwrap());
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(lines.as_bytes()).await.unwrap();
        ran(child).await
    };
    assert_eq!(password("correct horse\n").await.code, Some(2));
    let wrong = password("wrong horse\nbattery staple\n").await;
    assert!(wrong.code != Some(0) && !wrong.stderr.contains("battery"), "{wrong:?}");
    other.get("/users/me").await.expect(200);
    let changed = password("correct horse\nbattery staple\n").await;
    assert_eq!((changed.code, changed.stdout.as_str()), (Some(0), ""), "{changed:?}");
    other.get("/users/me").await.expect_error(401, "INVALID_CREDENTIAL");
    ada.get("/users/me").await.expect(200);
    let login = json!({ "email": "ada@example.com", "password": "battery staple" });
    app.anonymous().post("/auth/login", login).await.expect(200);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_made_listed_rotated_and_revoked() {
    let app = TestApp::start(Database::Sqlite).await;
    let ada = app.sign_up("ada").await;
    ada.project("shop").await;
    let none = ogel(&ada, &["keys", "list"]).await;
    assert_eq!((none.code, none.stdout.as_str()), (Some(0), ""));
    let make = ["keys", "create", "ci", "--scope", "projects:read", "--project", "shop", "--days", "30"];
    let made = ogel(&ada, &make).await;
    assert_eq!(made.code, Some(0), "{made:?}");
    // The secret alone, for `… | secret-store`.
    let secret = made.stdout.trim_end();
    assert!(secret.starts_with("ogel_") && !secret.contains(char::is_whitespace), "{made:?}");
    assert!(!made.stderr.contains(secret));
    let key = app.anonymous().with_token(Some(secret));
    assert_eq!(ogel(&key, &["projects", "list"]).await.code, Some(0));
    let refused = ogel(&key, &["keys", "list"]).await;
    assert_eq!(refused.code, Some(5), "{refused:?}");
    assert!(refused.stderr.contains("keys:read"), "{}", refused.stderr);

    let listed = ogel(&ada, &["keys", "list", "--json"]).await.json();
    let id = listed[0]["id"].as_str().unwrap();
    assert_eq!(listed[0]["scopes"], json!(["projects:read"]));
    let table = ogel(&ada, &["keys", "list"]).await.stdout;
    assert!(table.contains("ci    ogel_") && table.contains("in 29d") && !table.contains(secret), "{table}");

    let rotated = ogel(&ada, &["keys", "rotate", id, "--grace", "0"]).await;
    assert_eq!(rotated.code, Some(0), "{rotated:?}");
    let fresh = app.anonymous().with_token(Some(rotated.stdout.trim_end()));
    assert_eq!(ogel(&key, &["projects", "list"]).await.code, Some(4));
    assert_eq!(ogel(&fresh, &["projects", "list"]).await.code, Some(0));

    assert_eq!(ogel(&ada, &["keys", "revoke", id]).await.code, Some(2));
    assert_eq!(ogel(&fresh, &["projects", "list"]).await.code, Some(0));
    assert_eq!(ogel(&ada, &["keys", "revoke", id, "--yes"]).await.code, Some(0));
    assert_eq!(ogel(&fresh, &["projects", "list"]).await.code, Some(4));
    assert_eq!(ogel(&ada, &["keys", "revoke", id, "--yes"]).await.code, Some(3));
    assert_eq!(ogel(&ada, &["keys", "create", "x", "--scope", "everything"]).await.code, Some(2));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_see_a_days_figures_and_others_do_not() {
    let operators = vec!["ops@example.com".to_owned()];
    let app = TestApp::start_with(Database::Sqlite, |config| config.auth.operators = operators).await;
    let (ops, eve) = (app.sign_up("ops").await, app.sign_up("eve").await);
    ops.project("shop").await;
    eventually("the request is counted", || async {
        let day = ogel(&ops, &["metrics", "projects", "domains", "--json"]).await.json();
        (day[0]["total"] == 1 && day[1]["total"] == 0).then_some(())
    })
    .await;
    let table = ogel(&ops, &["metrics", "projects"]).await.stdout;
    let words: Vec<_> = table.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!((words[0], &words[2..7]), ("projects", &["1", "1", "0", "0", "0"][..]), "{table}");
    assert_eq!(ogel(&ops, &["metrics", "nothing"]).await.code, Some(3));
    assert_eq!(ogel(&ops, &["metrics", "projects", "--date", "yesterday"]).await.code, Some(2));
    assert_eq!(ogel(&eve, &["metrics", "projects"]).await.code, Some(5));
    app.stop().await;
}
