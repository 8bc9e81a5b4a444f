//! Lists, single things, and what stdout holds.

use crate::{
    ogel::{DEPLOYMENT, DOMAIN, Ogel, PROJECT, deployment, domain, healthy, page, project, session, site},
    server::{Reply, Seen, Server},
};
use serde_json::json;

#[tokio::test]
async fn json_is_what_stdout_holds_and_parses() {
    let server = Server::start(|seen: &Seen| match seen.operation().as_str() {
        "POST projects" => Reply::Json(201, project("blog")),
        _ => healthy(seen, "success"),
    })
    .await;
    let ogel = Ogel::at(&server);
    for (args, expected) in [
        (&["deployments", "list"][..], json!([deployment("success")])),
        (&["deployments", "get", DEPLOYMENT], deployment("success")),
        (&["deployments", "cancel", DEPLOYMENT], deployment("canceled")),
        (&["deployments", "redeploy", DEPLOYMENT], deployment("pending")),
        (&["deployments", "promote", DEPLOYMENT], deployment("success")),
        (&["deployments", "rollback", DEPLOYMENT], deployment("success")),
        (&["domains", "list"], json!([domain("pending")])),
        (&["domains", "add", "shop.test"], domain("pending")),
        (&["domains", "verify", DOMAIN], domain("verified")),
        (&["domains", "rm", DOMAIN, "--yes"], json!({"id": DOMAIN})),
        (&["sites", "list"], json!([site()])),
        (&["projects", "list"], json!([project("shop")])),
        (&["projects", "create", "Blog"], project("blog")),
        (&["whoami"], session()),
        (&["api", "GET", "auth/session"], session()),
    ] {
        let ran = ogel.run(&[args, &["--json"]].concat()).await;
        assert_eq!((ran.code, ran.json()), (Some(0), expected), "{args:?}");
    }
}

#[tokio::test]
async fn people_get_tables() {
    let server = Server::start(|seen: &Seen| match seen.operation().as_str() {
        "GET deployments" => {
            let odd = json!({"id": DEPLOYMENT, "branch": "a\u{1b}[31m\nb", "status": "superseded", "commitSha": null});
            let mut row = deployment("pending");
            row.as_object_mut().unwrap().extend(odd.as_object().unwrap().clone());
            Reply::Json(200, page("deployments", &[deployment("success"), row]))
        }
        _ => healthy(seen, "failed"),
    })
    .await;
    let ogel = Ogel::at(&server);
    let mut all = String::new();
    for args in [&["deployments", "list"][..], &["projects", "list"], &["deployments", "get", DEPLOYMENT], &["whoami"]]
    {
        all.push_str(&ogel.run(args).await.stdout);
        all.push('\n');
    }
    // What the script gives is of the year 2000.
    let all = (20..=99).fold(all.replace(&server.url, "[URL]"), |all, n| all.replace(&format!("{n}y ago"), "[N]y ago"));
    insta::assert_snapshot!(all, @"
    ID                              STATUS        BRANCH  COMMIT   CREATED  PREVIEW
    dpl_01h455vb4pex5vsknk084sn02q  success       main    abcdef1  [N]y ago  http://shop.localhost:8787/
    dpl_01h455vb4pex5vsknk084sn02q  unrecognized  a b     -        [N]y ago  -

    SLUG  NAME  ID                               CREATED
    shop  Shop  proj_01h455vb4pex5vsknk084sn02q  [N]y ago

    id          dpl_01h455vb4pex5vsknk084sn02q
    status      failed
    project     proj_01h455vb4pex5vsknk084sn02q
    build       bld_01h455vb4pex5vsknk084sn02q
    repository  https://h.org/a/shop
    branch      main
    commit      abcdef1
    message     First
    framework   vite
    preview     http://shop.localhost:8787/
    created     [N]y ago
    completed   [N]y ago
    error       `npm run build` ended with 2
    error       missing script: build

    user    Ada <ada@example.com>
    server  [URL]
    token   API key key_01h455vb4pex5vsknk084sn02q, from `OGEL_TOKEN`, does not expire
    scopes  users:read deployments:write
    ");
}

#[tokio::test]
async fn an_empty_list_is_no_failure() {
    let server = Server::start(|seen: &Seen| Reply::Json(200, page(&seen.path, &[]))).await;
    let ogel = Ogel::at(&server);
    for list in [["deployments", "list"], ["projects", "list"]] {
        let ran = ogel.run(&list).await;
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), ""));
        assert!(ran.stderr.starts_with("No "), "{}", ran.stderr);
        let ran = ogel.run(&[list[0], list[1], "--json"]).await;
        assert_eq!(ran.stdout, "[]\n");
    }
}

#[tokio::test]
async fn long_lists_are_fetched_by_the_page() {
    let server = Server::start(|seen: &Seen| match seen.path.as_str() {
        "deployments" => Reply::Json(
            200,
            json!({
                "deployments": vec![deployment("success"); 100],
                "pagination": {"nextCursor": format!("c{}", seen.nth), "hasMore": true},
            }),
        ),
        _ => healthy(seen, "success"),
    })
    .await;
    let args = ["deployments", "list", "-n", "150", "--project", "shop", "--status", "success", "--branch", "main"];
    assert_eq!(Ogel::at(&server).run(&args).await.code, Some(0));
    let queries: Vec<String> = server.asked("GET deployments").into_iter().map(|seen| seen.query).collect();
    let filter = format!("projectId={PROJECT}&status=success&branch=main");
    assert_eq!(queries, [format!("{filter}&limit=100"), format!("{filter}&cursor=c0&limit=50")]);
}

#[tokio::test]
async fn a_project_is_made_in_the_organization_of_that_slug() {
    let organization = json!({"id": "org_01h455vb4pex5vsknk084sn02q", "name": "Acme", "slug": "acme", "plan": "pro",
        "role": "owner", "createdAt": "2026-11-22T10:00:03.120Z", "updatedAt": "2026-11-22T10:00:03.120Z"});
    let server = Server::start(move |seen: &Seen| match seen.path.as_str() {
        "organizations" => Reply::Json(200, page("organizations", std::slice::from_ref(&organization))),
        _ => Reply::Json(201, project("blog")),
    })
    .await;
    let ogel = Ogel::at(&server);
    let ran = ogel.run(&["projects", "create", "Blog", "--organization", "acme", "--slug", "blog"]).await;
    assert_eq!((ran.code, ran.stdout), (Some(0), format!("{PROJECT}\n")));
    let sent = &server.asked("POST projects")[0].body;
    assert_eq!(*sent, json!({"name": "Blog", "organizationId": "org_01h455vb4pex5vsknk084sn02q", "slug": "blog"}));
    assert_eq!(ogel.run(&["projects", "create", "Blog", "--organization", "other"]).await.code, Some(3));
}
