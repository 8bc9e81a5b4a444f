//! Cookies made by the real next-auth 4 and @auth/core, as a running `ogeld` gets them.

use super::{uuid_of, with_cookie};
use ogel_server::config::Secret;
use ogel_testkit::{Database, TestApp};
use serde_json::{Value, json};
use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

/// Installs the packages into `folder` and has them make what is wished for.
fn minted(folder: &Path, wishes: &Value) -> Vec<Value> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/studio");
    for file in ["package.json", "package-lock.json", ".npmrc", "mint.mjs"] {
        std::fs::copy(source.join(file), folder.join(file)).unwrap();
    }
    let installed = Command::new("npm").args(["ci", "--ignore-scripts"]).current_dir(folder).output().unwrap();
    assert!(installed.status.success(), "{installed:?}");
    let mut node = Command::new("node");
    node.arg("mint.mjs").current_dir(folder).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut node = node.spawn().unwrap();
    node.stdin.take().unwrap().write_all(wishes.to_string().as_bytes()).unwrap();
    let output = node.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cookies_of_the_real_packages_are_recognised() {
    let own = "studio.sid";
    let app = TestApp::start_with(Database::Sqlite, |config| {
        config.studio_sessions.strategy = "jwt".to_owned();
        config.studio_sessions.secrets = ["newest", "older", "oldest"].map(Secret::new).to_vec();
        config.studio_sessions.cookie_names = [
            own,
            "__Secure-authjs.session-token",
            "authjs.session-token",
            "__Secure-next-auth.session-token",
            "next-auth.session-token",
        ]
        .map(str::to_owned)
        .to_vec();
    })
    .await;
    let ada = app.sign_up("ada").await;
    let short = json!({ "sub": uuid_of(&ada).await, "name": "Ada", "email": "ada@example.com", "picture": null });
    let mut long = short.clone();
    long["permissions"] = json!("p".repeat(9000));

    let mut wishes = Vec::new();
    for (family, secrets) in
        [("v4", [json!("newest"), json!("oldest")]), ("v5", [json!(["newest", "older"]), json!(["older", "oldest"])])]
    {
        for secret in secrets {
            for claims in [&short, &long] {
                for (secure, name) in [(false, None), (true, None), (true, Some(own))] {
                    wishes.push(
                        json!({ "family": family, "secret": secret, "secure": secure, "name": name, "claims": claims }),
                    );
                }
            }
        }
    }
    let strange = wishes.len();
    for (family, secret, name, max_age) in [
        ("v4", "nobody's", None, 60),
        ("v5", "nobody's", None, 60),
        ("v5", "newest", Some("other.sid"), 60),
        ("v4", "newest", None, -60),
        ("v5", "newest", None, -60),
    ] {
        wishes.push(json!({ "family": family, "secret": secret, "secure": false, "name": name, "claims": short, "maxAge": max_age }));
    }
    let folder = tempfile::tempdir().unwrap();
    let made = minted(folder.path(), &Value::Array(wishes.clone()));
    assert_eq!(made.len(), wishes.len());
    for (wish, made) in wishes.iter().zip(&made).take(strange) {
        let (cookie, token) = (made["cookie"].as_str().unwrap(), made["token"].as_str().unwrap());
        let is_long = wish["claims"]["permissions"].is_string();
        assert_eq!(cookie.contains(".2="), is_long, "{wish}");
        let session = with_cookie(&app, "/auth/session", &format!("theme=dark; {cookie}")).await.expect(200);
        assert_eq!((&session["method"], &session["user"]["name"]), (&json!("studioSession"), &json!("ada")), "{wish}");
        app.anonymous().with_token(Some(token)).get("/users/me").await.expect(200);
    }
    for (wish, made) in wishes.iter().zip(&made).skip(strange) {
        let token = made["token"].as_str().unwrap();
        let answer = app.anonymous().with_token(Some(token)).get("/users/me").await;
        let code = if wish["maxAge"] == -60 { "CREDENTIAL_EXPIRED" } else { "INVALID_CREDENTIAL" };
        answer.expect_error(401, code);
    }
    app.stop().await;
}
