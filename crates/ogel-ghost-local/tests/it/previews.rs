//! What the preview server gives, and what it refuses to give.

use http::Method;
use serde_json::json;

use crate::support::{Repo, ghost};

#[tokio::test]
async fn nothing_outside_the_output_can_be_read() {
    let (ghost, dir) = ghost().await;
    let repo = Repo::new(&[("index.html", "x"), (".env", "SECRET=1"), ("docs/index.html", "docs")]);
    let link = repo.path().join("leak");
    std::os::unix::fs::symlink(dir.path().join("ghost.db"), link).unwrap();
    std::os::unix::fs::symlink("/etc", repo.path().join("etc")).unwrap();
    std::os::unix::fs::symlink("docs/index.html", repo.path().join("inner.html")).unwrap();
    repo.commit("links", &[]);
    ghost.deploy("one", &repo, json!({})).await;
    ghost.succeeded("one").await;
    for path in [
        "/../../ghost.db",
        "/%2e%2e/%2e%2e/ghost.db",
        "/..%2f..%2fghost.db",
        "/docs/../../../ghost.db",
        "/leak",
        "/etc/passwd",
        "/etc/",
        "/.env",
        "/.git/HEAD",
        "//etc/passwd",
        "/docs%00",
    ] {
        let (status, _, body) = ghost.preview("d-one.localhost", path, "").await;
        assert_eq!(status, 404, "{path}: {body}");
    }
    assert_eq!(ghost.preview("d-one.localhost", "/inner", "").await.2, "docs");
    assert_eq!(ghost.preview("d-..localhost", "/", "").await.0, 404);
    assert_eq!(ghost.preview("example.test", "/", "").await.0, 404);
    assert_eq!(ghost.preview_by("POST", "d-one.localhost", "/", "").await.0, 405);
    ghost.inner.shutdown().await;
}

#[tokio::test]
async fn pages_directories_and_unknown_paths_are_found_as_on_a_static_host() {
    let (ghost, _dir) = ghost().await;
    let big = "0123456789abcdef".repeat(20_000);
    let repo = Repo::new(&[
        ("index.html", "home"),
        ("about.html", "about"),
        ("docs/index.html", "docs"),
        ("404.html", "lost"),
        ("big.txt", &big),
    ]);
    ghost.deploy("one", &repo, json!({})).await;
    ghost.succeeded("one").await;
    let host = "d-one.localhost";
    for (path, status, body) in
        [("/", 200, "home"), ("/about", 200, "about"), ("/docs/", 200, "docs"), ("/no", 404, "lost")]
    {
        let (got, _, text) = ghost.preview(host, path, "").await;
        assert_eq!((got, text.as_str()), (status, body), "{path}");
    }
    let (status, head, _) = ghost.preview(host, "/docs?q=1", "").await;
    assert!(status == 308 && head.contains("location: /docs/?q=1"), "{head}");
    assert_eq!(ghost.preview(host, "/big.txt", "").await.2.len(), big.len());
    let (status, head, body) = ghost.preview_by("HEAD", host, "/big.txt", "").await;
    assert!(status == 200 && body.is_empty() && head.contains(&format!("content-length: {}", big.len())), "{head}");
    let etag = head.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap().to_owned();
    let (status, _, body) = ghost.preview(host, "/big.txt", &format!("If-None-Match: {etag}\r\n")).await;
    assert_eq!((status, body.as_str()), (304, ""));
    ghost.inner.shutdown().await;
}

#[tokio::test]
async fn a_project_serves_its_active_deployment_and_its_verified_domains() {
    let (ghost, _dir) = ghost().await;
    let repo = Repo::new(&[("index.html", "first")]);
    ghost.deploy("one", &repo, json!({})).await;
    ghost.succeeded("one").await;
    repo.commit("second", &[("index.html", "second")]);
    ghost.deploy("two", &repo, json!({})).await;
    ghost.succeeded("two").await;
    let shown = async |host: &str| ghost.preview(host, "/", "").await.2;
    assert_eq!(shown("p-shop.localhost").await, "first");
    let (status, body) = ghost.call(Method::PATCH, "/v1/projects/shop/deployments/two/activate", json!({})).await;
    assert_eq!((status.as_u16(), &body["active"]), (200, &json!(true)));
    assert_eq!(shown("p-shop.localhost").await, "second");
    let domain = json!({ "domainId": "x", "domain": "localhost" });
    let (status, body) = ghost.call(Method::POST, "/v1/projects/shop/domains", domain).await;
    assert_eq!((status.as_u16(), body["status"].as_str().unwrap()), (201, "pending"), "{body}");
    assert_eq!(ghost.preview("localhost", "/", "").await.0, 404);
    let (_, body) = ghost.call(Method::POST, "/v1/projects/shop/domains/x/verify", json!({})).await;
    assert_eq!(body["status"], "verified", "{body}");
    assert_eq!(body["expected"][0], json!({ "type": "A", "name": "localhost", "value": "127.0.0.1" }));
    assert_eq!(shown("localhost").await, "second");
    assert_eq!(ghost.call(Method::DELETE, "/v1/projects/shop/deployments/two", json!(null)).await.0, 204);
    assert_eq!(ghost.preview("localhost", "/", "").await.0, 404);
    ghost.inner.shutdown().await;
}
