//! What is wrong with a request is said in one envelope, under its own code, and reaches neither git nor Ghost.

use crate::on_both;
use http::Method;
use ogel_testkit::{Api, Database, TestApp};
use serde_json::{Value, json};

async fn post_raw(api: &Api, path: &str, body: impl Into<reqwest::Body>) -> ogel_testkit::Answer {
    api.send(api.request(Method::POST, path).header("content-type", "application/json").body(body)).await
}

on_both! {
    async fn each_mistake_has_its_own_code(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let project = ada.project("shop").await;
        let good = json!({ "projectId": project, "repoUrl": "https://example.com/a/b" });
        let with = |field: &str, value: Value| {
            let mut body = good.clone();
            body[field] = value;
            body
        };
        let many_tags: Vec<_> = (0..21).map(|n| n.to_string()).collect();
        for (body, code, location) in [
            (json!({}), "MISSING_FIELD", "body.projectId"),
            (json!([]), "WRONG_TYPE", ""),
            (with("branch", json!(7)), "WRONG_TYPE", "body.branch"),
            (with("env", json!("A=1")), "WRONG_TYPE", "body.env"),
            (with("repoURL", json!("x")), "UNKNOWN_FIELD", "body.repoURL"),
            (with("projectId", json!("nope")), "INVALID_VALUE", "body.projectId"),
            (with("repoUrl", json!("not a url")), "INVALID_REPO_URL", "body.repoUrl"),
            (with("repoUrl", json!("--upload-pack=x")), "INVALID_REPO_URL", "body.repoUrl"),
            (with("repoUrl", json!("ftp://example.com/a")), "REPO_SCHEME_NOT_ALLOWED", "body.repoUrl"),
            (with("repoUrl", json!("https://u:p@example.com/a")), "REPO_URL_HAS_CREDENTIALS", "body.repoUrl"),
            (with("branch", json!("-x")), "INVALID_BRANCH", "body.branch"),
            (with("branch", json!("a..b")), "INVALID_BRANCH", "body.branch"),
            (with("commitSha", json!("HEAD~1")), "INVALID_VALUE", "body.commitSha"),
            (with("rootDirectory", json!("../..")), "INVALID_VALUE", "body.rootDirectory"),
            (with("outputDirectory", json!("/etc")), "INVALID_VALUE", "body.outputDirectory"),
            (with("framework", json!("Next.js!")), "INVALID_VALUE", "body.framework"),
            (with("env", json!({ "1A": "x" })), "INVALID_VALUE", "body.env"),
            (with("tags", json!(many_tags)), "INVALID_VALUE", "body.tags"),
        ] {
            let error = ada.post("/deployments", body.clone()).await.expect_error(400, code);
            if !location.is_empty() {
                assert_eq!(error["details"][0]["location"], location, "{body}");
            }
        }
        let error = ada.post("/deployments", json!({ "branch": 1, "x": 2 })).await.expect_error(400, "VALIDATION_FAILED");
        assert_eq!(error["details"].as_array().unwrap().len(), 4, "{error}");
        assert_eq!(ada.get("/deployments").await.expect(200)["deployments"], json!([]));
        assert_eq!(app.deployments_at_ghost(&project).await, 0);
    }

    async fn what_is_no_json_or_too_much_is_refused(app: TestApp) {
        let ada = app.sign_up("ada").await;
        post_raw(&ada, "/projects", "{\"name\":").await.expect_error(400, "MALFORMED_JSON");
        post_raw(&ada, "/projects", "{\"name\":\"x\"} trailing").await.expect_error(400, "MALFORMED_JSON");
        post_raw(&ada, "/projects", vec![0xff, 0xfe]).await.expect_error(400, "MALFORMED_JSON");
        post_raw(&ada, "/projects", "[".repeat(100_000)).await.expect_error(400, "MALFORMED_JSON");
        post_raw(&ada, "/projects", vec![b' '; 10_000_000]).await.expect_error(413, "PAYLOAD_TOO_LARGE");
        let form = ada.request(Method::POST, "/projects").header("content-type", "text/plain").body("{\"name\":\"x\"}");
        ada.send(form).await.expect_error(415, "UNSUPPORTED_MEDIA_TYPE");
    }

    async fn paths_and_queries_are_taken_literally(app: TestApp) {
        let ada = app.sign_up("ada").await;
        ada.get("/deployments/nonsense").await.expect_error(400, "INVALID_ID");
        ada.get("/builds/proj_01h455vb4pex5vsknk084sn02q").await.expect_error(400, "INVALID_ID");
        ada.get("/deployments/dpl_01h455vb4pex5vsknk084sn02q").await.expect_error(404, "NOT_FOUND");
        ada.get("/nonsense").await.expect_error(404, "ROUTE_NOT_FOUND");
        let error = ada.get("/project").await.expect_error(404, "ROUTE_NOT_FOUND");
        assert!(error["message"].as_str().unwrap().contains("`projects`"), "{error}");
        let answer = ada.send(ada.request(Method::PUT, "/projects")).await;
        assert_eq!(answer.headers["allow"], "GET,HEAD,POST");
        answer.expect_error(405, "METHOD_NOT_ALLOWED");
        let error = ada.get("/projects?limt=1").await.expect_error(400, "UNKNOWN_PARAMETER");
        assert!(error["message"].as_str().unwrap().contains("`limit`"), "{error}");
        ada.get("/users/me?x=1").await.expect_error(400, "UNKNOWN_PARAMETER");
        for path in ["/projects/a%2fb", "/projects/%2e%2e/users/me", "/projects/../users/me", "//projects", "/projects/a%00", "/projects;x", "/projects/a%5cb"] {
            let answer = get_literally(&app, path).await;
            assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("\"INVALID_PATH\""), "{path}: {answer}");
        }
    }
}

/// The answer to a path that a client library would tidy up.
async fn get_literally(app: &TestApp, path: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(app.address()).await.unwrap();
    let request = format!("GET /api/v2{path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// Production does not clone from its own disk or its own network.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_and_private_hosts_are_refused_unless_configured() {
    let app = TestApp::start_with(Database::Sqlite, |config| {
        config.deployments.allow_file_urls = false;
        config.deployments.allow_private_hosts = false;
    })
    .await;
    let ada = app.sign_up("ada").await;
    let project = ada.project("shop").await;
    for (url, code) in [
        ("file:///etc", "REPO_SCHEME_NOT_ALLOWED"),
        ("http://127.0.0.1/a/b", "REPO_HOST_NOT_ALLOWED"),
        ("http://169.254.169.254/latest/meta-data", "REPO_HOST_NOT_ALLOWED"),
        ("http://localhost:8080/a/b", "REPO_HOST_NOT_ALLOWED"),
        ("ssh://git@[::1]/a/b", "REPO_HOST_NOT_ALLOWED"),
        ("http://0x7f000001/a/b", "REPO_HOST_NOT_ALLOWED"),
    ] {
        let body = json!({ "projectId": project, "repoUrl": url });
        ada.post("/deployments", body).await.expect_error(400, code);
    }
    assert_eq!(app.deployments_at_ghost(&project).await, 0);
    app.stop().await;
}
