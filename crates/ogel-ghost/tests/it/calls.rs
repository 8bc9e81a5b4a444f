//! What each call sends: its method, its path, its body, and exactly one credential.

use crate::{
    config, ctx, ghost,
    scripted::{Reply, Scripted, answer},
};
use ogel_api::{deployments::DeploymentStatus, error::ErrorCode};
use ogel_ghost::{
    CallContext, CreateDeployment, CreateDomain, Credential, Ghost, GhostError, GhostErrorKind, ListDeployments,
    Secret, SiteFields,
};
use std::{sync::Arc, time::Duration};

/// A document that every call can read.
const ANYTHING: &str = r#"{"$id":"x","email":"e","name":"n","jwt":"t","secret":"s","buildId":"b","status":"building",
    "total":0,"documents":[],"lines":[],"version":"1"}"#;

fn obliging() -> Scripted {
    Scripted::new(|_| answer(200, "application/json", ANYTHING))
}

/// Makes every call once, in this order, those that take a credential with `credential`.
async fn make_every_call(ghost: &Ghost, credential: Credential<'_>) -> Result<(), GhostError> {
    let deployment =
        CreateDeployment { deployment_id: "d1".into(), repo_url: "https://r".into(), ..Default::default() };
    let list = ListDeployments {
        limit: Some(5),
        cursor: Some("d/0"),
        status: Some(DeploymentStatus::Failed),
        branch: Some("a&b"),
    };
    ghost.create_user(ctx(), "u1", "e@example.test", "E").await?;
    ghost.mint_jwt(ctx(), "u1").await?;
    ghost.create_project(ctx(), "p1", "P", "default").await?;
    ghost.get_project(ctx(), "p1").await?;
    ghost.update_project(ctx(), "p1", "Q").await?;
    ghost.delete_project(ctx(), "p1").await?;
    ghost.add_project_member(ctx(), "p1", "u1").await?;
    ghost.create_project_key(ctx(), "p1", "studio", &["deployments.read"]).await?;
    ghost.health(ctx()).await?;
    ghost.version(ctx()).await?;
    ghost.create_deployment(ctx(), credential, "p1", &deployment).await?;
    ghost.list_deployments(ctx(), credential, "p1", list).await?;
    ghost.get_deployment(ctx(), credential, "p1", "d1").await?;
    ghost.delete_deployment(ctx(), credential, "p1", "d1").await?;
    ghost.cancel_deployment(ctx(), credential, "p1", "d1").await?;
    ghost.activate_deployment(ctx(), credential, "p1", "d1").await?;
    ghost.get_build(ctx(), credential, "b1").await?;
    ghost.build_logs(ctx(), credential, "b1", 41, 100).await?;
    let site = SiteFields { site_id: Some("s1"), name: Some("S"), ..SiteFields::default() };
    let domain = CreateDomain { domain_id: "x1", domain: "x.test", site_id: Some("s1") };
    ghost.list_sites(ctx(), credential, "p1", 5, None).await?;
    ghost.create_site(ctx(), credential, "p1", &site).await?;
    ghost.get_site(ctx(), credential, "p1", "s1").await?;
    ghost
        .update_site(ctx(), credential, "p1", "s1", &SiteFields { framework: Some(None), ..Default::default() })
        .await?;
    ghost.delete_site(ctx(), credential, "p1", "s1").await?;
    ghost.list_domains(ctx(), credential, "p1", 5, Some("x/0")).await?;
    ghost.create_domain(ctx(), credential, "p1", &domain).await?;
    ghost.get_domain(ctx(), credential, "p1", "x1").await?;
    ghost.update_domain(ctx(), credential, "p1", "x1", None).await?;
    ghost.verify_domain(ctx(), credential, "p1", "x1").await?;
    ghost.delete_domain(ctx(), credential, "p1", "x1").await?;
    Ok(())
}

const PLATFORM_CALLS: &[(&str, &str)] = &[
    ("POST /v1/users", r#"{"email":"e@example.test","name":"E","userId":"u1"}"#),
    ("POST /v1/account/sessions/jwt", r#"{"userId":"u1"}"#),
    ("POST /v1/projects", r#"{"name":"P","projectId":"p1","region":"default"}"#),
    ("GET /v1/projects/p1", ""),
    ("PATCH /v1/projects/p1", r#"{"name":"Q"}"#),
    ("DELETE /v1/projects/p1", ""),
    ("POST /v1/projects/p1/members", r#"{"userId":"u1"}"#),
    ("POST /v1/projects/p1/keys", r#"{"name":"studio","scopes":["deployments.read"]}"#),
];
const ANONYMOUS_CALLS: &[(&str, &str)] = &[("GET /v1/health", ""), ("GET /v1/health/version", "")];
const CALLS_WITH_A_CREDENTIAL: &[(&str, &str)] = &[
    ("POST /v1/projects/p1/deployments", r#"{"deploymentId":"d1","repoUrl":"https://r"}"#),
    ("GET /v1/projects/p1/deployments?limit=5&cursor=d%2F0&status=failed&branch=a%26b", ""),
    ("GET /v1/projects/p1/deployments/d1", ""),
    ("DELETE /v1/projects/p1/deployments/d1", ""),
    ("PATCH /v1/projects/p1/deployments/d1/status", r#"{"status":"canceled"}"#),
    ("PATCH /v1/projects/p1/deployments/d1/activate", ""),
    ("GET /v1/builds/b1", ""),
    ("GET /v1/builds/b1/logs?after=41&limit=100", ""),
    ("GET /v1/projects/p1/sites?limit=5", ""),
    ("POST /v1/projects/p1/sites", r#"{"siteId":"s1","name":"S"}"#),
    ("GET /v1/projects/p1/sites/s1", ""),
    ("PATCH /v1/projects/p1/sites/s1", r#"{"framework":null}"#),
    ("DELETE /v1/projects/p1/sites/s1", ""),
    ("GET /v1/projects/p1/domains?limit=5&cursor=x%2F0", ""),
    ("POST /v1/projects/p1/domains", r#"{"domainId":"x1","domain":"x.test","siteId":"s1"}"#),
    ("GET /v1/projects/p1/domains/x1", ""),
    ("PATCH /v1/projects/p1/domains/x1", r#"{"siteId":null}"#),
    ("POST /v1/projects/p1/domains/x1/verify", ""),
    ("DELETE /v1/projects/p1/domains/x1", ""),
];

#[tokio::test(start_paused = true)]
async fn every_call_has_its_path_its_body_and_exactly_one_credential() {
    let none: (&[&str], &[&str]) = (&[], &[]);
    for (credential, expected) in [
        (Credential::Platform, (&["platform-key"][..], &[][..])),
        (Credential::ProjectKey("project-key"), (&["project-key"][..], &[][..])),
        (Credential::Jwt("token"), (&[][..], &["token"][..])),
    ] {
        let scripted = obliging();
        make_every_call(&ghost(&scripted), credential).await.unwrap();
        let platform = PLATFORM_CALLS.iter().map(|call| (call, (&["platform-key"][..], &[][..])));
        let anonymous = ANONYMOUS_CALLS.iter().map(|call| (call, none));
        let chosen = CALLS_WITH_A_CREDENTIAL.iter().map(|call| (call, expected));
        let expected: Vec<_> = platform.chain(anonymous).chain(chosen).collect();
        let seen = scripted.seen();
        assert_eq!(seen.len(), expected.len());
        for (seen, ((line, body), (keys, tokens))) in seen.iter().zip(expected) {
            assert_eq!((seen.line(), seen.body.as_str()), (*line, *body));
            assert_eq!(
                (seen.headers("x-appwrite-key"), seen.headers("x-appwrite-jwt")),
                (keys.to_vec(), tokens.to_vec())
            );
            assert_eq!(seen.headers("x-appwrite-project"), ["console"], "{line}");
            assert_eq!(seen.headers("x-appwrite-response-format"), ["1.8.0"], "{line}");
            assert_eq!(seen.headers("host"), ["ghost.test"], "{line}");
            assert_eq!(seen.headers("content-type").len(), usize::from(!body.is_empty()), "{line}");
        }
        assert_eq!(scripted.connects(), 1, "one connection for all of them");
    }
}

#[tokio::test(start_paused = true)]
async fn the_trace_travels_with_the_call() {
    let scripted = obliging();
    let trace = CallContext { request_id: Some("req_1"), traceparent: Some("00-ab-cd-01"), ..ctx() };
    ghost(&scripted).get_project(trace, "p1").await.unwrap();
    let strange = CallContext { request_id: Some("a\r\nb: c"), ..ctx() };
    ghost(&scripted).get_project(strange, "p1").await.unwrap();
    let seen = scripted.seen();
    assert_eq!((seen[0].headers("x-request-id"), seen[0].headers("traceparent")), (vec!["req_1"], vec!["00-ab-cd-01"]));
    assert_eq!((seen[1].headers("x-request-id"), seen[1].headers("b")), (vec![], vec![]));
}

#[tokio::test(start_paused = true)]
async fn ids_that_would_leave_their_place_are_not_sent() {
    let scripted = obliging();
    let ghost = ghost(&scripted);
    for id in ["", ".", "..", "a\0"] {
        let error = ghost.get_deployment(ctx(), Credential::Platform, "p1", id).await.unwrap_err();
        assert_eq!((error.kind, error.code), (GhostErrorKind::UNSENDABLE, ErrorCode::ValidationFailed));
    }
    assert_eq!(scripted.seen().len(), 0);
    ghost.get_deployment(ctx(), Credential::Platform, "p1", "../../users?x").await.unwrap();
    assert_eq!(scripted.seen()[0].line(), "GET /v1/projects/p1/deployments/..%2F..%2Fusers%3Fx");
}

#[tokio::test(start_paused = true)]
async fn a_credential_that_is_no_header_is_not_sent() {
    let scripted = obliging();
    for jwt in ["", "a\r\nx-appwrite-key: k"] {
        let error = ghost(&scripted).get_build(ctx(), Credential::Jwt(jwt), "b1").await.unwrap_err();
        assert_eq!(error.kind, GhostErrorKind::UNSENDABLE);
    }
    assert_eq!(scripted.seen().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_success_that_makes_no_sense_is_an_invalid_response_that_may_have_been_processed() {
    for (content_type, body) in [
        ("text/html", "<!DOCTYPE html><html>welcome</html>"),
        ("application/json", ""),
        ("application/json", r#"{"$id":"d1","status":"pen"#),
        ("application/json", r#"{"$id":"d1"}"#),
        ("application/json", "null"),
    ] {
        let scripted = Scripted::new(move |_| answer(200, content_type, body));
        let error = ghost(&scripted).get_deployment(ctx(), Credential::Platform, "p1", "d1").await.unwrap_err();
        let code = if body.is_empty() { ErrorCode::UpstreamEmpty } else { ErrorCode::UpstreamInvalidResponse };
        assert_eq!(error.code, code, "{body}");
        assert!(error.may_have_been_processed && error.public_message.is_none());
        assert!(!error.to_string().contains("welcome"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_too_large_or_cut_short_says_so() {
    let scripted = Scripted::new(|_| answer(200, "application/json", &format!("\"{}\"", "x".repeat(5 << 20))));
    let error = ghost(&scripted).get_build(ctx(), Credential::Platform, "b1").await.unwrap_err();
    assert_eq!((error.code, scripted.seen().len()), (ErrorCode::UpstreamTooLarge, 1));
    let cut = "HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{";
    let scripted = Scripted::new(move |_| Reply::Last(cut.to_owned()));
    let error = ghost(&scripted).get_build(ctx(), Credential::Platform, "b1").await.unwrap_err();
    assert_eq!((error.code, scripted.seen().len()), (ErrorCode::UpstreamTruncated, 3));
}

#[test]
fn a_configuration_that_cannot_work_is_refused() {
    let make = |change: fn(&mut ogel_ghost::GhostConfig)| {
        let mut config = config();
        change(&mut config);
        Ghost::new(config, obliging().connector(), Arc::new(|| 0))
    };
    assert!(make(|_| {}).is_ok());
    assert!(make(|config| config.base_url = "https://ghost.test:8443/base".into()).is_ok());
    for wrong in
        ["", "ghost.test", "ftp://ghost.test", "http://ghost.test/v1", "http://ghost.test/v1/", "http://g/?x=1"]
    {
        let mut config = config();
        config.base_url = wrong.into();
        let error = Ghost::new(config, obliging().connector(), Arc::new(|| 0)).unwrap_err();
        assert!(error.to_string().contains("base URL"), "{wrong}: {error}");
    }
    assert!(make(|config| config.platform_key = Secret::default()).is_err());
    assert!(make(|config| config.platform_key = Secret::new("a\nb")).is_err());
    assert!(make(|config| config.response_format = "1\n".into()).is_err());
    assert_eq!(config().call_timeout, Duration::from_secs(10));
}
