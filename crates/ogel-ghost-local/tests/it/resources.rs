//! Sites and domains.

use http::Method;
use serde_json::{Value, json};

use crate::support::ghost;

#[tokio::test]
async fn a_site_is_made_changed_listed_and_removed() {
    let (ghost, _dir) = ghost().await;
    let site = json!({ "siteId": "web", "name": "Web", "framework": "vite", "productionBranch": "main" });
    assert_eq!(ghost.call(Method::POST, "/v1/projects/shop/sites", site.clone()).await.0, 201);
    assert_eq!(ghost.call(Method::POST, "/v1/projects/shop/sites", site).await.1["type"], "site_already_exists");
    let change = json!({ "name": "Website", "framework": null, "buildCommand": "make" });
    let (_, body) = ghost.call(Method::PATCH, "/v1/projects/shop/sites/web", change).await;
    assert_eq!((&body["name"], &body["framework"]), (&json!("Website"), &Value::Null));
    assert_eq!((&body["buildCommand"], &body["productionBranch"]), (&json!("make"), &json!("main")));
    let list = ghost.get("/v1/projects/shop/sites").await;
    assert_eq!((&list["total"], &list["documents"][0]["$id"]), (&json!(1), &json!("web")));
    let (_, body) = ghost.call(Method::PATCH, "/v1/projects/shop/sites/web", json!({ "rootDirectory": "../x" })).await;
    assert_eq!(body["type"], "general_argument_invalid");
    assert_eq!(ghost.call(Method::DELETE, "/v1/projects/shop/sites/web", Value::Null).await.0, 204);
    assert_eq!(ghost.call(Method::GET, "/v1/projects/shop/sites/web", Value::Null).await.1["type"], "site_not_found");
    ghost.inner.shutdown().await;
}

#[tokio::test]
async fn a_domain_that_points_elsewhere_stays_pending() {
    let (ghost, _dir) = ghost().await;
    let path = "/v1/projects/shop/domains";
    let domain = json!({ "domainId": "x", "domain": "No-Such-Name.invalid." });
    let (status, body) = ghost.call(Method::POST, path, domain.clone()).await;
    assert_eq!((status.as_u16(), &body["domain"]), (201, &json!("no-such-name.invalid")));
    assert_eq!(ghost.call(Method::POST, path, domain).await.1["type"], "rule_already_exists");
    let (status, body) = ghost.call(Method::POST, &format!("{path}/x/verify"), json!({})).await;
    assert_eq!((status.as_u16(), &body["status"], &body["observed"]), (200, &json!("pending"), &json!([])));
    for bad in ["", "a b", "-x.test", "127.0.0.1", "d-one.localhost", "x..y"] {
        let (_, body) = ghost.call(Method::POST, path, json!({ "domain": bad })).await;
        assert_eq!(body["type"], "general_argument_invalid", "{bad}");
    }
    assert_eq!(ghost.get(path).await["total"], 1);
    assert_eq!(ghost.call(Method::DELETE, &format!("{path}/x"), Value::Null).await.0, 204);
    ghost.inner.shutdown().await;
}
