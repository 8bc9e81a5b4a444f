//! Promoting, repeating, and domains: what is sent, what people read, and how it ends.

use crate::{
    ogel::{DEPLOYMENT, DOMAIN, Ogel, PROJECT, domain, healthy},
    server::{Reply, Seen, Server},
};
use serde_json::json;

#[tokio::test]
async fn a_redeployment_prints_its_id_and_says_what_it_takes() {
    let server = Server::start(|seen: &Seen| healthy(seen, "success")).await;
    let ogel = Ogel::at(&server);
    let ran = ogel.run(&["deployments", "redeploy", DEPLOYMENT, "--latest"]).await;
    assert_eq!((ran.code, ran.stdout), (Some(0), format!("{DEPLOYMENT}\n")));
    ogel.run(&["deployments", "promote", DEPLOYMENT, "--reason", "looks good"]).await;
    let ran = ogel.run(&["deployments", "rollback", DEPLOYMENT]).await;
    assert_eq!(ran.stderr, format!("Production is back at {DEPLOYMENT}\n"));
    let bodies: Vec<_> = server.seen().into_iter().map(|seen| seen.body).collect();
    assert_eq!(bodies, [json!({"latest": true}), json!({"reason": "looks good"}), json!({})]);
    let ran = ogel.run(&["deployments", "promote", "bld_01h455vb4pex5vsknk084sn02q"]).await;
    assert_eq!(ran.code, Some(2), "{ran:?}");
}

#[tokio::test]
async fn domains_and_sites_are_tables_for_people() {
    let server = Server::start(|seen: &Seen| healthy(seen, "success")).await;
    let ogel = Ogel::at(&server);
    let listed = ogel.run(&["domains", "list"]).await.stdout;
    assert_eq!(listed, format!("DOMAIN     STATUS   ID\nshop.test  pending  {DOMAIN}\n"));
    let listed = ogel.run(&["sites", "list", "--project", "shop"]).await.stdout;
    assert!(listed.starts_with("NAME  FRAMEWORK  BRANCH  ID"), "{listed}");
    let added = ogel.run(&["domains", "add", "shop.test"]).await;
    assert_eq!(added.stdout, format!("{DOMAIN}\n"));
    assert!(added.stderr.starts_with("Added shop.test; have DNS say A 192.0.2.1\n"), "{}", added.stderr);
    assert_eq!(server.asked("POST domains")[0].body, json!({"projectId": PROJECT, "domain": "shop.test"}));
    // Nobody can be asked here, so nothing is done unasked.
    let refused = ogel.run(&["domains", "rm", DOMAIN]).await;
    assert_eq!((refused.code, server.asked(&format!("DELETE domains/{DOMAIN}")).len()), (Some(2), 0), "{refused:?}");
    assert!(refused.stderr.contains("add `--yes` if you mean it"), "{}", refused.stderr);
    assert_eq!(ogel.run(&["domains", "rm", DOMAIN, "--yes"]).await.stderr, format!("Removed {DOMAIN}\n"));
}

#[tokio::test]
async fn a_domain_that_points_elsewhere_fails_and_says_what_to_do() {
    let server = Server::start(|_: &Seen| Reply::Json(200, domain("pending"))).await;
    let ran = Ogel::at(&server).run(&["domains", "verify", DOMAIN]).await;
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("`shop.test` does not point here yet"), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("DNS says nothing") && ran.stderr.contains("have it say A 192.0.2.1"),
        "{}",
        ran.stderr
    );
}
