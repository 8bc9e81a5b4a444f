//! Who may do what, and what wrong calls are told.

use http::Method;
use serde_json::{Value, json};

use crate::support::{Ghost, KEY, Repo, config, ghost, ghost_with};

type Case<'a> = (Vec<(&'a str, &'a str)>, u16, &'a str);

const CONSOLE: (&str, &str) = ("x-appwrite-project", "console");

async fn make_user(ghost: &Ghost, id: &str) -> String {
    let body = json!({ "userId": id, "email": format!("{id}@example.test"), "name": id });
    assert_eq!(ghost.call(Method::POST, "/v1/users", body).await.0, 201);
    let (status, body) = ghost.call(Method::POST, "/v1/account/sessions/jwt", json!({ "userId": id })).await;
    assert_eq!(status, 201);
    body["jwt"].as_str().unwrap().to_owned()
}

async fn make_key(ghost: &Ghost, project: &str, scopes: Value) -> String {
    let path = format!("/v1/projects/{project}/keys");
    let (status, body) = ghost.call(Method::POST, &path, json!({ "name": "k", "scopes": scopes })).await;
    assert_eq!(status, 201, "{body}");
    body["secret"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn exactly_one_valid_credential_is_needed() {
    let (ghost, _dir) = ghost().await;
    let jwt = make_user(&ghost, "ada").await;
    let tampered = format!("{}x", &jwt[..jwt.len() - 1]);
    let stranger = make_user(&ghost, "eve").await;
    ghost.make_project("other").await;
    let reader = make_key(&ghost, "shop", json!(["deployments.read"])).await;
    let foreign = make_key(&ghost, "other", json!(["deployments.read"])).await;
    let key = ("x-appwrite-key", KEY);
    let path = "/v1/projects/shop/deployments";
    let cases: Vec<Case<'_>> = vec![
        (vec![CONSOLE, key], 200, ""),
        (vec![CONSOLE, key, ("x-appwrite-jwt", &jwt)], 400, "general_argument_invalid"),
        (vec![CONSOLE], 401, "user_unauthorized"),
        (vec![key], 401, "user_unauthorized"),
        (vec![("x-appwrite-project", "shop"), key], 404, "project_not_found"),
        (vec![CONSOLE, ("x-appwrite-key", "wrong")], 401, "user_unauthorized"),
        (vec![CONSOLE, ("x-appwrite-jwt", &tampered)], 401, "user_jwt_invalid"),
        (vec![CONSOLE, ("x-appwrite-jwt", &stranger)], 404, "project_not_found"),
        (vec![CONSOLE, ("x-appwrite-key", &reader)], 200, ""),
        (vec![("x-appwrite-project", "shop"), ("x-appwrite-key", &reader)], 200, ""),
        (vec![CONSOLE, ("x-appwrite-key", &foreign)], 404, "project_not_found"),
    ];
    for (headers, status, kind) in cases {
        let (got, body) = ghost.call_as(&headers, Method::GET, path, Value::Null).await;
        assert_eq!((got.as_u16(), body["type"].as_str().unwrap_or_default()), (status, kind), "{headers:?}: {body}");
        if status != 200 {
            assert_eq!(body["code"], status);
            assert!(body["message"].is_string() && body["version"].is_string());
        }
    }
    let headers = [CONSOLE, ("x-appwrite-key", reader.as_str())];
    let body = json!({ "repoUrl": "https://example.org/x.git" });
    let (status, body) = ghost.call_as(&headers, Method::POST, path, body).await;
    assert_eq!((status.as_u16(), body["type"].as_str().unwrap()), (401, "general_unauthorized_scope"));
    let (status, body) = ghost.call_as(&headers, Method::POST, "/v1/users", json!({})).await;
    assert_eq!((status.as_u16(), body["type"].as_str().unwrap()), (401, "general_unauthorized_scope"));
    assert_eq!(ghost.call_as(&[], Method::GET, "/v1/health", Value::Null).await.0, 200);
    assert_eq!(ghost.call_as(&[], Method::GET, "/v1/health/version", Value::Null).await.0, 200);
    assert_eq!(ghost.call(Method::GET, "/v1/nope", Value::Null).await.1["type"], "general_route_not_found");
    ghost.inner.shutdown().await;
}

#[tokio::test]
async fn a_user_sees_what_it_made_and_what_it_was_granted() {
    let (ghost, _dir) = ghost().await;
    let jwt = make_user(&ghost, "ada").await;
    let ada = [CONSOLE, ("x-appwrite-jwt", jwt.as_str())];
    let own = json!({ "projectId": "own", "name": "Own" });
    assert_eq!(ghost.call_as(&ada, Method::POST, "/v1/projects", own).await.0, 201);
    assert_eq!(ghost.call_as(&ada, Method::GET, "/v1/projects/own", Value::Null).await.0, 200);
    assert_eq!(ghost.call_as(&ada, Method::GET, "/v1/projects/shop", Value::Null).await.0, 404);
    let grant = json!({ "userId": "ada" });
    for _ in 0..2 {
        assert_eq!(ghost.call(Method::POST, "/v1/projects/shop/members", grant.clone()).await.0, 201);
    }
    assert_eq!(ghost.call_as(&ada, Method::GET, "/v1/projects/shop/deployments", Value::Null).await.0, 200);
    assert_eq!(ghost.call(Method::DELETE, "/v1/projects/shop/members/ada", Value::Null).await.0, 204);
    assert_eq!(ghost.call_as(&ada, Method::GET, "/v1/projects/shop/deployments", Value::Null).await.0, 404);
    ghost.inner.shutdown().await;
}

#[tokio::test]
async fn a_token_expires_after_fifteen_minutes() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};
    let dir = tempfile::tempdir().unwrap();
    let mut settings = config(dir.path());
    let (real, shift) = (settings.clock.clone(), Arc::new(AtomicI64::new(0)));
    let turned = shift.clone();
    settings.clock = Arc::new(move || real() + chrono::TimeDelta::seconds(turned.load(Ordering::Relaxed)));
    let ghost = ghost_with(settings).await;
    let jwt = make_user(&ghost, "ada").await;
    let ada = [CONSOLE, ("x-appwrite-jwt", jwt.as_str())];
    let own = json!({ "projectId": "own", "name": "Own" });
    assert_eq!(ghost.call_as(&ada, Method::POST, "/v1/projects", own).await.0, 201);
    shift.store(15 * 60 + 1, Ordering::Relaxed);
    let (status, body) = ghost.call_as(&ada, Method::GET, "/v1/projects/own", Value::Null).await;
    assert_eq!((status.as_u16(), body["type"].as_str().unwrap()), (401, "user_jwt_invalid"));
    ghost.inner.shutdown().await;
}

#[tokio::test]
async fn what_exists_already_is_a_conflict_and_what_does_not_is_not_found() {
    let (ghost, _dir) = ghost().await;
    make_user(&ghost, "ada").await;
    let repo = Repo::new(&[("index.html", "x")]);
    ghost.deploy("one", &repo, json!({})).await;
    let deployment = json!({ "deploymentId": "one", "repoUrl": repo.url(), "branch": "main" });
    let user = json!({ "userId": "ada", "email": "x@example.test" });
    let mail = json!({ "userId": "bob", "email": "ADA@example.test" });
    let cases = [
        (Method::POST, "/v1/users", user, 409, "user_already_exists"),
        (Method::POST, "/v1/users", mail, 409, "user_already_exists"),
        (Method::POST, "/v1/projects", json!({ "projectId": "shop", "name": "x" }), 409, "project_already_exists"),
        (Method::POST, "/v1/projects/shop/deployments", deployment, 409, "deployment_already_exists"),
        (Method::POST, "/v1/account/sessions/jwt", json!({ "userId": "bob" }), 404, "user_not_found"),
        (Method::GET, "/v1/projects/none", Value::Null, 404, "project_not_found"),
        (Method::GET, "/v1/projects/shop/deployments/none", Value::Null, 404, "deployment_not_found"),
        (Method::DELETE, "/v1/projects/shop/deployments/none", Value::Null, 404, "deployment_not_found"),
        (Method::GET, "/v1/builds/none/logs", Value::Null, 404, "build_not_found"),
        (Method::GET, "/v1/projects/shop/deployments?limit=1&limit=2", Value::Null, 400, "general_bad_request"),
        (Method::GET, "/v1/builds/%ff", Value::Null, 400, "general_bad_request"),
        (Method::GET, "/v1/realtime", Value::Null, 400, "general_bad_request"),
        (Method::PUT, "/v1/users", Value::Null, 404, "general_route_not_found"),
        (Method::GET, "/v1/projects/shop/deployments?cursor=none", Value::Null, 400, "general_cursor_not_found"),
    ];
    for (method, path, body, status, kind) in cases {
        let (got, body) = ghost.call(method, path, body).await;
        assert_eq!((got.as_u16(), body["type"].as_str().unwrap()), (status, kind), "{path}: {body}");
    }
    ghost.inner.shutdown().await;
}

#[tokio::test]
async fn a_wrong_argument_is_named() {
    let (ghost, _dir) = ghost().await;
    for (name, value) in [
        ("repoUrl", json!(7)),
        ("repoUrl", json!("ext::sh -c id")),
        ("repoUrl", json!("--upload-pack=id")),
        ("branch", json!("-x")),
        ("branch", json!({})),
        ("commitSha", json!("HEAD")),
        ("rootDirectory", json!("../x")),
        ("outputDirectory", json!("/etc")),
        ("framework", json!("a b")),
        ("env", json!({ "A-B": "x" })),
        ("env", json!({ "A": 1 })),
        ("env", json!([])),
        ("buildCommand", json!(["x"])),
        ("deploymentId", json!("Über")),
    ] {
        let mut body = json!({ "repoUrl": "https://example.org/x.git", "branch": "main" });
        body[name] = value.clone();
        let (status, body) = ghost.call(Method::POST, "/v1/projects/shop/deployments", body).await;
        assert_eq!(
            (status.as_u16(), body["type"].as_str().unwrap()),
            (400, "general_argument_invalid"),
            "{name}={value}"
        );
        assert!(body["message"].as_str().unwrap().contains(name), "{body}");
    }
    let (status, body) = ghost.call(Method::POST, "/v1/users", json!({ "email": "x".repeat(2 << 20) })).await;
    assert_eq!((status.as_u16(), body["code"].as_u64().unwrap()), (413, 413));
    ghost.inner.shutdown().await;
}

#[tokio::test]
async fn private_hosts_and_files_are_refused_unless_allowed() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = config(dir.path());
    settings.allow_file_urls = false;
    settings.allow_private_hosts = false;
    let ghost = ghost_with(settings).await;
    ghost.make_project("shop").await;
    for url in ["file:///etc", "http://127.0.0.1:1/x", "http://10.1.2.3/x", "https://[::1]/x", "http://localhost/x"] {
        let body = json!({ "repoUrl": url, "branch": "main" });
        let (status, body) = ghost.call(Method::POST, "/v1/projects/shop/deployments", body).await;
        assert_eq!((status.as_u16(), body["type"].as_str().unwrap()), (400, "general_argument_invalid"), "{url}");
    }
    ghost.inner.shutdown().await;
}

#[tokio::test]
async fn deployments_are_listed_by_pages_newest_first() {
    let (ghost, _dir) = ghost().await;
    let repo = Repo::new(&[("README.md", "x")]);
    repo.git(&["branch", "dev"]);
    for (id, branch) in [("a", "main"), ("b", "dev"), ("c", "main"), ("d", "main")] {
        ghost.deploy(id, &repo, json!({ "branch": branch })).await;
    }
    for id in ["a", "b", "c", "d"] {
        ghost.finished(id).await;
    }
    let ids = async |query: &str| {
        let page = ghost.get(&format!("/v1/projects/shop/deployments?{query}")).await;
        let ids: Vec<String> =
            page["documents"].as_array().unwrap().iter().map(|d| d["$id"].as_str().unwrap().to_owned()).collect();
        (page["total"].as_i64().unwrap(), ids.join(""))
    };
    assert_eq!(ids("").await, (4, "dcba".to_owned()));
    assert_eq!(ids("limit=2").await, (4, "dc".to_owned()));
    assert_eq!(ids("limit=2&cursor=c").await, (4, "ba".to_owned()));
    assert_eq!(ids("branch=dev").await, (1, "b".to_owned()));
    assert_eq!(ids("status=success").await, (0, String::new()));
    assert_eq!(ids("status=failed&branch=main&cursor=d").await, (3, "ca".to_owned()));
    ghost.inner.shutdown().await;
}
