//! Who may do what: every operation of `openapi.json` tried by everybody there is, against the running service.
//!
//! An operation without a case in `authorization/cases.rs` fails [`every_operation_has_a_case`]; an exemption must say why. What
//! each of [`COLUMNS`] is answered stands in docs/authorization.md, which one of these tests keeps as it is: with `OGEL_BLESS=1` it
//! writes the page anew.

mod cases;
mod page;

use crate::on_both;
use cases::{Open, cases, open};
use http::Method;
use ogel_api::organizations::Role;
use ogel_testkit::{Api, Repository, TestApp};
use page::{COLUMNS, Row};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

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

/// Things that are a person's: no role of an organization opens them.
const PERSONAL: [&str; 3] = ["{key}", "{session}", "{token}"];
/// Things of the project: a key of another one is told that they do not exist.
const OF_PROJECT: [&str; 8] =
    ["{project}", "{deployment}", "{build}", "{site}", "{domain}", "{webhook}", "{delivery}", "{operation}"];
/// Answered with 404 although the caller may: there is nothing of theirs to find in this set-up.
const NOTHING_THERE: [&str; 5] =
    ["accept_invitation", "get_device_login", "approve_device_login", "deny_device_login", "get_own_api_key"];
/// After these the caller has to log in again.
const END_THE_LOGIN: [&str; 3] = ["logout", "revoke_all_sessions", "delete_session"];

impl Case {
    fn names(&self, things: &[&str]) -> bool {
        things.iter().any(|thing| self.path.contains(thing) || self.body.to_string().contains(thing))
    }
}

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
    let open: BTreeSet<_> = open().iter().map(|open| open.operation.to_owned()).collect();
    let covered: BTreeSet<_> = cases.union(&open).cloned().collect();
    assert_eq!(operations, covered, "left: what the API has; right: what is tried here");
}

/// The one table of roles, and what is tried here, say the same.
#[test]
fn the_cases_and_the_permissions_agree() {
    let rules = ogel_server::permissions::RULES;
    for case in cases().iter().filter(|case| case.stranger == Stranger::NotFound && case.role != Role::Viewer) {
        if case.names(&PERSONAL) {
            continue;
        }
        let same = ["rollback_deployment", "cancel_build", "get_invoice_page", "get_usage_of_organization"];
        let rule = rules.iter().find(|rule| rule.operation == case.operation);
        assert!(rule.is_some() || same.contains(&case.operation), "`{}` has no row in permissions.rs", case.operation);
        assert!(rule.is_none_or(|rule| rule.role == case.role), "{}: {rule:?}, tried as {}", case.operation, case.role);
    }
}

type Things = BTreeMap<&'static str, String>;

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// The owner's things, by the names the cases use.
async fn things(app: &TestApp, owner: &Api, guest: &Api, repository: &Repository) -> Things {
    let organization = text(&owner.get("/organizations").await.expect(200)["organizations"][0]["id"]);
    let project = owner.project("shop").await;
    let deployment = owner.deploy(&project, &repository.url(), json!({})).await;
    let deployment = owner.ended(&deployment["id"]).await;
    let webhook =
        owner.post("/webhooks", json!({ "url": "http://127.0.0.1:9/", "projectId": project })).await.expect(201);
    let webhook = text(&webhook["webhook"]["id"]);
    let delivery = owner.post(&format!("/webhooks/{webhook}/test"), json!({})).await.expect(202);
    let budget = owner.request(Method::PUT, &format!("/organizations/{organization}/billing/budget"));
    owner.send(budget.json(&json!({ "amount": 1_000_000 }))).await.expect(200);
    let mut things = Things::from([
        ("{organization}", organization.clone()),
        // Making the deployment is an operation with its id.
        ("{operation}", text(&deployment["id"]).replace("dpl_", "op_")),
        ("{deployment}", text(&deployment["id"])),
        ("{build}", text(&deployment["buildId"])),
        ("{repository}", repository.url()),
        ("{token}", "ogeli_whatever".to_owned()),
        ("{user}", text(&guest.get("/users/me").await.expect(200)["id"])),
        ("{project}", project),
        ("{session}", text(&owner.get("/auth/session").await.expect(200)["sessionId"])),
        ("{delivery}", text(&delivery["id"])),
        ("{webhook}", webhook),
        ("{invoice}", crate::billing::invoice_of(app, &organization).await),
    ]);
    for name in ["{site}", "{domain}", "{key}", "{invitation}"] {
        let made = another(owner, &things, name).await;
        things.insert(name, made);
    }
    things
}

/// One more thing of the kind that `name` stands for.
async fn another(owner: &Api, things: &Things, name: &str) -> String {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    let n = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let project = things["{project}"].as_str();
    let made = async |path: &str, body: Value| owner.post(path, body).await.expect(201);
    match name {
        "{site}" => text(&crate::sites::make(owner, project, &format!("Web {n}"), json!({})).await["id"]),
        "{domain}" => {
            text(&made("/domains", json!({ "projectId": project, "domain": format!("d{n}.test") })).await["id"])
        }
        "{key}" => text(&made("/auth/api-keys", json!({ "name": "k" })).await["apiKey"]["id"]),
        "{invitation}" => {
            let path = format!("/organizations/{}/invitations", things["{organization}"]);
            text(&made(&path, json!({ "email": format!("g{n}@example.com"), "role": "viewer" })).await["id"])
        }
        "{project}" => {
            let body = json!({ "name": format!("p{n}"), "organizationId": things["{organization}"] });
            text(&made("/projects", body).await["id"])
        }
        "{webhook}" => {
            let body = json!({ "url": "http://127.0.0.1:9/", "projectId": project });
            text(&made("/webhooks", body).await["webhook"]["id"])
        }
        "{deployment}" => {
            let deployment = owner.deploy(project, &things["{repository}"], json!({})).await;
            text(&owner.ended(&deployment["id"]).await["id"])
        }
        other => things[other].clone(),
    }
}

async fn attempt(case: &Case, caller: &Api, things: &Things) -> ogel_testkit::Answer {
    let fill = |text: &str| things.iter().fold(text.to_owned(), |text, (name, id)| text.replace(name, id));
    let request = caller.request(case.method.clone(), &fill(case.path));
    let request = match &case.body {
        Value::Null => request,
        body => request.header("content-type", "application/json").body(fill(&body.to_string())),
    };
    caller.send(request).await
}

/// An operation that takes no caller.
async fn sent_to(app: &TestApp, open: &Open, caller: &Api) -> ogel_testkit::Answer {
    let body = open.body.to_string().replace("{fresh}", &format!("fresh{}", app.app.world.uuid().simple()));
    let mut request = caller.request(open.method.clone(), open.path);
    if open.is_signed {
        request = request.header("x-appwrite-webhook-signature", crate::ghost_events::signature(app, &body));
    }
    if open.body != Value::Null {
        request = request.header("content-type", "application/json").body(body);
    }
    caller.send(request).await
}

/// Everybody who tries.
struct Everybody {
    anonymous: Api,
    expired: Api,
    revoked: Api,
    /// The owner's, by the scope they lack.
    keys: BTreeMap<&'static str, Api>,
    other_project: Api,
    /// `stranger`, `viewer`, `developer`, `admin`, `owner`.
    people: BTreeMap<&'static str, Api>,
}

const ROLES: [(&str, Role); 4] =
    [("viewer", Role::Viewer), ("developer", Role::Developer), ("admin", Role::Admin), ("owner", Role::Owner)];

impl Everybody {
    async fn of(app: &TestApp, owner: &Api) -> Self {
        let revoked = app.sign_up("gone").await;
        let expired = app.log_in("gone").await;
        revoked.post("/auth/logout", json!({})).await.expect(204);
        let whose = "user_id = (SELECT id FROM users WHERE email = 'gone@example.com')";
        app.at_database(&format!("UPDATE sessions SET expires_at = '2001-01-01T00:00:00+00:00' WHERE {whose}")).await;
        let key = async |body: Value| {
            owner.with_token(owner.post("/auth/api-keys", body).await.expect(201)["secret"].as_str())
        };
        let all: Vec<_> = ogel_api::auth::Scope::ALL.iter().map(|scope| scope.as_str()).collect();
        let mut keys = BTreeMap::from([("", key(json!({ "name": "k", "scopes": ["sites:read"] })).await)]);
        for case in cases().iter().filter(|case| !case.scope.is_empty()) {
            if !keys.contains_key(case.scope) {
                let rest: Vec<_> = all.iter().filter(|scope| **scope != case.scope).collect();
                keys.insert(case.scope, key(json!({ "name": "k", "scopes": rest })).await);
            }
        }
        let other = owner.project("other").await;
        let other_project = key(json!({ "name": "k", "scopes": all, "projectId": other })).await;
        let mut people = BTreeMap::from([("stranger", app.sign_up("stranger").await), ("owner", owner.clone())]);
        for (name, role) in &ROLES[..3] {
            let person = app.sign_up(name).await;
            app.add_member(owner, &person, *role).await;
            people.insert(name, person);
        }
        Self { anonymous: app.anonymous(), expired, revoked, keys, other_project, people }
    }

    fn who(&self, column: &str, case: &Case) -> &Api {
        match column {
            "key without the scope" => &self.keys[case.scope],
            other => self.who_is(other),
        }
    }

    fn who_is(&self, column: &str) -> &Api {
        match column {
            "anonymous" => &self.anonymous,
            "expired session" => &self.expired,
            "revoked session" => &self.revoked,
            "key of another project" => &self.other_project,
            person => &self.people[person],
        }
    }
}

/// Whether a member with this role is let in, as far as the case says.
fn is_let_in(case: &Case, role: Role) -> bool {
    let rank = |role: Role| Role::ALL.iter().position(|one| *one == role);
    let strongest_first = rank(Role::Owner) < rank(Role::Viewer);
    let enough = if strongest_first { rank(role) <= rank(case.role) } else { rank(role) >= rank(case.role) };
    match case.stranger {
        Stranger::NoOperator => false,
        Stranger::OwnThingsOnly => true,
        Stranger::NotFound if case.names(&PERSONAL) => role == Role::Owner,
        Stranger::NotFound => enough,
    }
}

/// What must be, whatever the page says.
fn check(case: &Case, column: &str, answer: &ogel_testkit::Answer) {
    let (name, status) = (case.operation, answer.status.as_u16());
    let code = answer.body["error"]["code"].as_str().unwrap_or_default();
    let told = format!("{name} by {column}: {answer:?}");
    let refused = |status: u16| [401, 403, 404].contains(&status);
    match column {
        "anonymous" => assert_eq!((status, code), (401, "UNAUTHENTICATED"), "{told}"),
        "expired session" => assert_eq!((status, code), (401, "CREDENTIAL_EXPIRED"), "{told}"),
        "revoked session" => assert_eq!((status, code), (401, "INVALID_CREDENTIAL"), "{told}"),
        "key without the scope" if case.scope.is_empty() => assert_ne!(status, 401, "{told}"),
        "key without the scope" => {
            assert_eq!((status, code), (403, "MISSING_SCOPE"), "{told}");
            assert!(answer.body["error"]["message"].as_str().unwrap().contains(case.scope), "{told}");
        }
        "key of another project" if case.stranger == Stranger::NotFound && case.names(&OF_PROJECT) => {
            assert_eq!((status, code), (404, "NOT_FOUND"), "{told}");
        }
        "key of another project" => assert_ne!(status, 401, "{told}"),
        _ if case.stranger == Stranger::NoOperator => {
            assert_eq!((status, code), (403, "FORBIDDEN"), "{told}");
            assert!(answer.body["error"]["message"].as_str().unwrap().contains("auth.operators"), "{told}");
        }
        "stranger" if case.stranger == Stranger::NotFound => assert_eq!((status, code), (404, "NOT_FOUND"), "{told}"),
        "stranger" => assert!(!refused(status) || NOTHING_THERE.contains(&name), "{told}"),
        member => {
            let role = ROLES.iter().find(|(name, _)| *name == member).unwrap().1;
            match (is_let_in(case, role), case.names(&PERSONAL)) {
                (true, _) => assert!(!refused(status) || NOTHING_THERE.contains(&name), "{told}"),
                (false, true) => assert_eq!((status, code), (404, "NOT_FOUND"), "{told}"),
                (false, false) => assert_eq!((status, code), (403, "FORBIDDEN"), "{told}"),
            }
        }
    }
}

/// A stranger cannot tell the owner's thing from one that does not exist.
async fn check_that_nothing_shows(case: &Case, stranger: &Api, things: &Things, seen: &ogel_testkit::Answer) {
    let mut nothing = things.clone();
    for (name, id) in &mut nothing {
        // The same kind of id, of something nobody has.
        if !["{repository}", "{fresh}"].contains(name) {
            *id = format!("{}_01h455vb4pex5vsknk084sn02q", id.split('_').next().unwrap());
        }
    }
    let unknown = attempt(case, stranger, &nothing).await.expect_error(404, "NOT_FOUND")["message"].to_string();
    let blank = |text: String, ids: &Things| ids.values().fold(text, |text, id| text.replace(id, "?"));
    let seen = seen.body["error"]["message"].to_string();
    assert_eq!(blank(seen, things), blank(unknown, &nothing), "{}", case.operation);
}

on_both! {
    async fn everybody_is_answered_as_the_page_says(app: TestApp) {
        let owner = app.sign_up("owner").await;
        let guest = app.sign_up("guest").await;
        app.add_member(&owner, &guest, Role::Viewer).await;
        let repository = Repository::of_a_page("x");
        let mut things = things(&app, &owner, &guest, &repository).await;
        let mut everybody = Everybody::of(&app, &owner).await;
        let mut rows = Vec::new();
        for case in cases() {
            // The next window of every limit.
            app.app.world.clock.advance(chrono::TimeDelta::seconds(11));
            if case.operation == "logout" {
                // After all of that the owner still has everything.
                for path in ["/organizations/{organization}", "/projects/{project}", "/deployments/{deployment}", "/sites/{site}", "/domains/{domain}", "/auth/api-keys/{key}", "/auth/sessions/{session}"] {
                    let path = things.iter().fold(path.to_owned(), |text, (name, id)| text.replace(name, id));
                    everybody.people["owner"].get(&path).await.expect(200);
                }
            }
            let mut row = Row::of(case.operation, case.scope);
            for column in COLUMNS {
                let mut used = things.clone();
                used.insert("{fresh}", format!("fresh{}", app.app.world.uuid().simple()));
                let role = ROLES.iter().find(|(name, _)| *name == column).map(|(_, role)| *role);
                // Whoever is let in uses things up.
                if case.method == Method::DELETE && role.is_some_and(|role| is_let_in(&case, role)) {
                    for name in ["{site}", "{domain}", "{key}", "{invitation}", "{project}", "{webhook}", "{deployment}"] {
                        if case.path.contains(name) {
                            used.insert(name, another(&everybody.people["owner"], &things, name).await);
                        }
                    }
                }
                let answer = attempt(&case, everybody.who(column, &case), &used).await;
                check(&case, column, &answer);
                row.push(answer.status.as_u16());
                if column == "stranger" && case.stranger == Stranger::NotFound {
                    check_that_nothing_shows(&case, everybody.who(column, &case), &used, &answer).await;
                }
                if answer.status.is_success() && END_THE_LOGIN.contains(&case.operation) && !column.starts_with("key") {
                    let again = app.log_in(column).await;
                    if column == "owner" {
                        things.insert("{session}", text(&again.get("/auth/session").await.expect(200)["sessionId"]));
                    }
                    everybody.people.insert(column, again);
                }
                if answer.status.is_success() && case.operation == "remove_member" {
                    app.add_member(&everybody.people["owner"], &guest, Role::Viewer).await;
                }
            }
            rows.push(row);
        }
        let open = open();
        for open in &open {
            let mut row = Row::of(open.operation, "");
            // Whoever they are, and whatever became of their credential: it is not asked for.
            let keys = &everybody.keys[""];
            for column in COLUMNS {
                let caller = if column == "key without the scope" { keys } else { everybody.who_is(column) };
                let answer = sent_to(&app, open, caller).await;
                assert_eq!(answer.status.as_u16(), open.answer, "{} by {column}: {answer:?}", open.operation);
                row.push(answer.status.as_u16());
            }
            rows.push(row);
        }
        page::keep(&rows, &open);
    }
}
