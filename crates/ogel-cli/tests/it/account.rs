//! Taking along what is kept, and leaving.

use crate::{
    ogel::{Ogel, session},
    server::{Reply, Seen, Server},
};
use serde_json::json;

fn by_login() -> serde_json::Value {
    let mut own = session();
    own["method"] = "session".into();
    own
}

fn script(seen: &Seen) -> Reply {
    match seen.operation().as_str() {
        "GET auth/session" => Reply::Json(200, by_login()),
        "GET users/me/export" => Reply::Json(200, json!({ "user": { "name": "Ada" } })),
        "DELETE users/me" if seen.body == json!({}) => Reply::Error(403, "REAUTHENTICATION_REQUIRED", 0),
        "DELETE users/me" => Reply::Text(204, ""),
        _ => Reply::Error(404, "ROUTE_NOT_FOUND", 0),
    }
}

#[tokio::test]
async fn an_export_goes_to_stdout_or_to_a_new_file_of_its_owners() {
    let server = Server::start(script).await;
    let ogel = Ogel::at(&server);
    let ran = ogel.run(&["account", "export"]).await;
    assert_eq!((ran.code, ran.json()), (Some(0), json!({ "user": { "name": "Ada" } })), "{ran:?}");
    let file = ogel.home.path().join("me.json");
    let args = ["account", "export", "--output", "me.json"];
    let ran = ogel.run(&args).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), ""), "{ran:?}");
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap()["user"]["name"], "Ada");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    // A file that is there is somebody's work.
    let ran = ogel.run(&args).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("exists"), "{}", ran.stderr);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
}

#[tokio::test]
async fn an_account_is_deleted_only_by_who_says_so() {
    let server = Server::start(script).await;
    let ogel = Ogel::at(&server);
    // Nobody is there to be asked.
    assert_eq!(ogel.run(&["account", "delete"]).await.code, Some(2));
    assert!(server.asked("DELETE users/me").is_empty());
    let ran = ogel.run(&["account", "delete", "--yes"]).await;
    assert_eq!(ran.code, Some(5), "{ran:?}");
    assert!(ran.stderr.contains("ogel login"), "{}", ran.stderr);
    let ran = ogel.run_with_input(&["account", "delete", "--yes", "--password-stdin"], "correct horse\n").await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(server.asked("DELETE users/me").last().unwrap().body, json!({ "password": "correct horse" }));
    assert!(!ran.stderr.contains("correct horse"));
}
