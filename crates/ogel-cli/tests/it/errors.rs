//! How failures look, and which exit code they have.

use crate::{
    ogel::{DEPLOYMENT, Ogel},
    server::{Reply, Server, envelope},
};

#[tokio::test]
async fn every_kind_of_failure_has_its_exit_code() {
    for (status, code, exit) in [
        (400, "INVALID_VALUE", 2),
        (401, "UNAUTHENTICATED", 4),
        (403, "MISSING_SCOPE", 5),
        (404, "NOT_FOUND", 3),
        (409, "NOT_CANCELABLE", 1),
        (429, "RATE_LIMITED", 6),
        (500, "INTERNAL_ERROR", 1),
        (503, "UPSTREAM_UNAVAILABLE", 7),
    ] {
        let server = Server::start(move |_| Reply::Error(status, code, 3600)).await;
        let ogel = Ogel::at(&server);
        for args in [
            &["whoami"][..],
            &["projects", "list"],
            &["deployments", "list"],
            &["deployments", "cancel", DEPLOYMENT],
            &["logs", DEPLOYMENT],
            &["deploy", "https://h.org/a/shop"],
            &["api", "GET", "users/me"],
        ] {
            let ran = ogel.run(&[args, &["--json"]].concat()).await;
            assert_eq!(ran.code, Some(exit), "{args:?} {ran:?}");
            assert_eq!(ran.json(), envelope(status, code), "{args:?}");
            assert!(ran.stderr.starts_with(&format!("error: the message of `{code}`")), "{ran:?}");
        }
    }
}

#[tokio::test]
async fn failures_say_what_to_do_next() {
    let server = Server::start(|seen| match seen.path.as_str() {
        "auth/session" => Reply::Error(401, "CREDENTIAL_EXPIRED", 0),
        "projects" => Reply::Error(503, "UPSTREAM_BUSY", 3600),
        "deployments" => Reply::Text(200, "<h1>Welcome to nginx</h1>"),
        _ => Reply::Error(404, "NOT_FOUND", 0),
    })
    .await;
    let ogel = Ogel::at(&server);
    let mut all = String::new();
    for args in [
        &["whoami"][..],
        &["projects", "list"],
        &["deployments", "list"],
        &["deployments", "get", DEPLOYMENT],
        &["deployments", "get", "bld_01h455vb4pex5vsknk084sn02q"],
        &["deploy", "https://h.org/a/b", "--project", "nope"],
    ] {
        all.push_str(&ogel.run(args).await.stderr);
    }
    insta::assert_snapshot!(all.replace(&server.url, "[URL]"), @"
    error: the message of `CREDENTIAL_EXPIRED`

    hint: replace the token in `OGEL_TOKEN`
    error: the message of `UPSTREAM_BUSY`

    hint: try again in 3600 s

    request id: req_1
    error: `[URL]` did not answer as the Ogel API does (HTTP 200): expected value at line 1 column 1
      <h1>Welcome to nginx</h1>

    hint: is `[URL]` an Ogel server? Another one is named by `--api-url`
    error: the message of `NOT_FOUND`
    error: `bld_01h455vb4pex5vsknk084sn02q` is not a deployment id; those start with `dpl_`

    hint: `ogel deployments list` shows the ids
    error: the message of `NOT_FOUND`

    hint: `ogel projects list` shows yours
    ");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_exit_code_7() {
    let ran = Ogel::new().run(&["whoami", "--api-url", "http://127.0.0.1:1", "--json"]).await;
    assert_eq!(ran.code, Some(7));
    assert_eq!(ran.json()["error"]["code"], "CONNECTION_FAILED");
    insta::assert_snapshot!(ran.stderr, @"
    error: cannot reach `http://127.0.0.1:1`: connection refused

    hint: is the address right and the server running? It is set by `--api-url`, `OGEL_API_URL` or `ogel login`
    ");
}

#[tokio::test]
async fn wrong_usage_is_json_too_if_asked_for() {
    let ogel = Ogel::new();
    let ran = ogel.run(&["deployments", "list", "--status", "odd", "--json"]).await;
    assert_eq!((ran.code, &ran.json()["error"]["code"]), (Some(2), &"USAGE".into()));
    let ran = ogel.run(&["logs", "nonsense", "--json"]).await;
    assert_eq!((ran.code, &ran.json()["error"]["code"]), (Some(2), &"USAGE".into()));
    let ran = ogel.run(&["--version"]).await;
    assert_eq!((ran.code, ran.stdout), (Some(0), format!("ogel {}\n", env!("CARGO_PKG_VERSION"))));
    let help = ogel.command(&["--help"]).env("OGEL_TOKEN", "ogel_secret").spawn().unwrap();
    assert!(!crate::ogel::ran(help).await.stdout.contains("ogel_secret"));
}
