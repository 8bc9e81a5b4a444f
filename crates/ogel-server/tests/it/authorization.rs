//! Who may do what: every operation of `openapi.json` tried by everybody who should not succeed.
//!
//! An operation without a case in `authorization/cases.rs` fails [`every_operation_has_a_case`]; an exemption must say why.

mod cases;

use crate::on_both;
use cases::cases;
use http::Method;
use ogel_api::organizations::Role;
use ogel_testkit::{Api, Repository};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// One operation: how it is called on `owner`'s things, and who must be refused how.
struct Case {
    operation: &'static str,
    method: Method,
    /// `{…}` is replaced by the owner's thing of that name.
    path: &'static str,
    body: Value,
    /// The scope a key must have; empty when being somebody is enough.
    scope: &'static str,
    stranger: Stranger,
    /// The least role that may.
    role: Role,
}

#[derive(Clone, Copy, PartialEq)]
enum Stranger {
    /// The thing named is not theirs to know of.
    NotFound,
    /// It only ever touches the caller's own things.
    OwnThingsOnly,
    /// Whoever does not operate the platform is told to ask those who do.
    NoOperator,
}

/// Operations everybody may call, and why.
const OPEN: &[(&str, &str)] = &[
    ("signup", "makes the caller"),
    ("login", "makes the caller"),
    ("receive_ghost_event", "signed by the deployment backend: see ghost_events.rs"),
    ("start_device_login", "whoever confirms it is asked"),
    ("issue_token", "takes a token that proves itself"),
    ("revoke_token", "takes a token that proves itself"),
    ("get_health", "for load balancers"),
    ("get_ready", "for load balancers"),
    ("get_version", "tells nothing about anybody"),
    ("get_openapi", "tells nothing about anybody"),
    ("list_plans", "tells nothing about anybody"),
    ("receive_stripe_event", "the signature over the body is the credential"),
];

#[test]
fn every_operation_has_a_case() {
    let document: Value = serde_json::from_str(&ogel_server::openapi::json()).unwrap();
    let mut operations = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap_or_else(|| panic!("{method} {path} has no operationId"));
            assert!(operations.insert(id.to_owned()), "{id} stands twice");
        }
    }
    let cases: BTreeSet<_> = cases().iter().map(|case| case.operation.to_owned()).collect();
    let open: BTreeSet<_> = OPEN.iter().map(|(operation, _)| (*operation).to_owned()).collect();
    let covered: BTreeSet<_> = cases.union(&open).cloned().collect();
    assert_eq!(operations, covered, "left: what the API has; right: what is tried here");
}

/// The one table of roles, and what is tried here, say the same.
#[test]
fn the_cases_and_the_permissions_agree() {
    let rules = ogel_server::permissions::RULES;
    for case in cases().iter().filter(|case| case.stranger == Stranger::NotFound && case.role != Role::Viewer) {
        // A key is its person's; no role of an organization opens it.
        if ["{key}", "{session}", "{token}"].iter().any(|own| case.path.contains(own)) {
            continue;
        }
        let same = ["rollback_deployment", "cancel_build", "get_invoice_page", "get_usage_of_organization"];
        let rule = rules.iter().find(|rule| rule.operation == case.operation);
        assert!(rule.is_some() || same.contains(&case.operation), "`{}` has no row in permissions.rs", case.operation);
        assert!(rule.is_none_or(|rule| rule.role == case.role), "{}: {rule:?}, tried as {}", case.operation, case.role);
    }
}

/// The owner's things, by the names the cases use.
async fn things(owner: &Api) -> Vec<(&'static str, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let organization = text(&owner.get("/organizations").await.expect(200)["organizations"][0]["id"]);
    let project = owner.project("shop").await;
    let repository = Repository::of_a_page("x");
    let deployment = owner.deploy(&project, &repository.url(), json!({})).await;
    let deployment = owner.ended(&deployment["id"]).await;
    let key = owner.post("/auth/api-keys", json!({ "name": "k" })).await.expect(201);
    let webhook =
        owner.post("/webhooks", json!({ "url": "http://127.0.0.1:9/", "projectId": project })).await.expect(201);
    let webhook = text(&webhook["webhook"]["id"]);
    let delivery = owner.post(&format!("/webhooks/{webhook}/test"), json!({})).await.expect(202);
    vec![
        ("{organization}", organization.clone()),
        // Making the deployment is an operation with its id.
        ("{operation}", text(&deployment["id"]).replace("dpl_", "op_")),
        ("{deployment}", text(&deployment["id"])),
        ("{build}", text(&deployment["buildId"])),
        ("{site}", text(&crate::sites::make(owner, &project, "Web", json!({})).await["id"])),
        ("{domain}", {
            let body = json!({ "projectId": project, "domain": "owner.test" });
            text(&owner.post("/domains", body).await.expect(201)["id"])
        }),
        ("{invitation}", {
            let body = json!({ "email": "guest@example.com", "role": "viewer" });
            text(&owner.post(&format!("/organizations/{organization}/invitations"), body).await.expect(201)["id"])
        }),
        ("{token}", "ogeli_whatever".to_owned()),
        ("{user}", text(&owner.get("/users/me").await.expect(200)["id"])),
        ("{project}", project),
        ("{key}", text(&key["apiKey"]["id"])),
        ("{session}", text(&owner.get("/auth/session").await.expect(200)["sessionId"])),
        ("{delivery}", text(&delivery["id"])),
        ("{webhook}", webhook),
    ]
}

async fn attempt(case: &Case, caller: &Api, things: &[(&str, String)]) -> ogel_testkit::Answer {
    let fill = |text: &str| things.iter().fold(text.to_owned(), |text, (name, id)| text.replace(name, id));
    let request = caller.request(case.method.clone(), &fill(case.path));
    let request = match &case.body {
        Value::Null => request,
        body => request.header("content-type", "application/json").body(fill(&body.to_string())),
    };
    caller.send(request).await
}

on_both! {
    async fn nobody_gets_further_than_they_may(app: TestApp) {
        let owner = app.sign_up("owner").await;
        let mut things = things(&owner).await;
        things.push(("{invoice}", crate::billing::invoice_of(&app, &things[0].1).await));
        let things = things;
        let anonymous = app.anonymous();
        let stranger = app.sign_up("stranger").await;
        let viewer = app.sign_up("viewer").await;
        app.add_member(&owner, &viewer, Role::Viewer).await;
        let developer = app.sign_up("developer").await;
        app.add_member(&owner, &developer, Role::Developer).await;
        let expired = app.anonymous().with_token(Some("ogel_000000000000000000000000000000000000000000000000000000"));

        for case in cases() {
            let name = case.operation;
            let answer = attempt(&case, &anonymous, &things).await;
            assert_eq!(answer.status, 401, "{name} without a credential: {answer:?}");
            answer.expect_error(401, "UNAUTHENTICATED");
            attempt(&case, &expired, &things).await.expect_error(401, "INVALID_CREDENTIAL");

            // A key that lacks just this scope.
            if !case.scope.is_empty() {
                let scopes: Vec<_> = ogel_api::auth::Scope::ALL.iter().map(|scope| scope.as_str()).filter(|scope| *scope != case.scope).collect();
                let key = owner.post("/auth/api-keys", json!({ "name": "k", "scopes": scopes })).await.expect(201);
                let key = anonymous.with_token(key["secret"].as_str());
                let error = attempt(&case, &key, &things).await.expect_error(403, "MISSING_SCOPE");
                assert!(error["message"].as_str().unwrap().contains(case.scope), "{name}: {error}");
            }

            if case.stranger == Stranger::NoOperator {
                for somebody in [&owner, &stranger] {
                    let error = attempt(&case, somebody, &things).await.expect_error(403, "FORBIDDEN");
                    assert!(error["message"].as_str().unwrap().contains("auth.operators"), "{name}: {error}");
                }
                continue;
            }

            // A stranger cannot tell the owner's thing from one that does not exist.
            if case.stranger == Stranger::NotFound {
                let answer = attempt(&case, &stranger, &things).await;
                assert_eq!(answer.status, 404, "{name} by a stranger: {answer:?}");
                let seen = answer.expect_error(404, "NOT_FOUND")["message"].to_string();
                let mut nothing = things.clone();
                for (_, id) in &mut nothing {
                    // The same kind of id, of something nobody has.
                    let prefix = id.split('_').next().unwrap();
                    *id = format!("{prefix}_01h455vb4pex5vsknk084sn02q");
                }
                let unknown = attempt(&case, &stranger, &nothing).await.expect_error(404, "NOT_FOUND")["message"].to_string();
                let blank = |text: String, ids: &[(&str, String)]| ids.iter().fold(text, |text, (_, id)| text.replace(id, "?"));
                assert_eq!(blank(seen, &things), blank(unknown, &nothing), "{name}");
            }

            // Members with too little a role.
            let too_little: &[&Api] = match case.role {
                Role::Developer => &[&viewer],
                Role::Admin | Role::Owner if case.stranger == Stranger::NotFound && !case.path.contains("{key}") && !case.path.contains("{session}") && !case.path.contains("{token}") => &[&viewer, &developer],
                _ => &[],
            };
            for member in too_little {
                let answer = attempt(&case, member, &things).await;
                assert_eq!(answer.status, 403, "{name} by a member without the role: {answer:?}");
                answer.expect_error(403, "FORBIDDEN");
            }
            if case.role == Role::Viewer && !["logout", "revoke_all_sessions"].contains(&case.operation) {
                let answer = attempt(&case, &viewer, &things).await;
                assert!(answer.status.is_success(), "{name} by a viewer: {answer:?}");
            }
        }
        // After all of that the owner still has everything.
        for path in ["/organizations/{organization}", "/projects/{project}", "/deployments/{deployment}", "/sites/{site}", "/domains/{domain}", "/auth/api-keys/{key}", "/auth/sessions/{session}"] {
            let path = things.iter().fold(path.to_owned(), |text, (name, id)| text.replace(name, id));
            owner.get(&path).await.expect(200);
        }
    }
}
