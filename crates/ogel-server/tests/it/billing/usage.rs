//! What is metered: each request, byte, build and deployment once, restarts and lost answers included.

use super::{month_start, organization};
use crate::{
    lifecycle::{Folder, Process},
    on_both,
};
use ogel_api::id::{Id as _, OrganizationId, ProjectId};
use ogel_store::{Used, hour_of};
use ogel_testkit::{Api, Database, Repository, TestApp, eventually};
use serde_json::{Value, json};

/// What was used of a metric.
fn quantity(report: &Value, metric: &str) -> i64 {
    let row = report["usage"].as_array().unwrap().iter().find(|row| row["metric"] == metric);
    row.map_or(0, |row| row["quantity"].as_i64().unwrap())
}

async fn used(api: &Api, organization: &str, metric: &str) -> i64 {
    quantity(&api.get(&format!("/organizations/{organization}/billing/usage")).await.expect(200), metric)
}

/// Waits until a metric has come to `expected`; what it shows is never more.
async fn comes_to(api: &Api, organization: &str, metric: &str, expected: i64) {
    eventually(metric, || async move {
        let seen = used(api, organization, metric).await;
        assert!(seen <= expected, "{seen} {metric} are more than the {expected} there were");
        (seen == expected).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_and_their_bytes_are_counted_once_over_restarts() {
    for database in [Database::Sqlite, Database::Postgres] {
        let app = TestApp::start(database).await;
        let ada = app.sign_up("ada").await;
        let (id, project) = (organization(&ada).await, ada.project("shop").await);
        let made = crate::sites::make(&ada, &project, "Web", json!({})).await;
        let site = format!("/sites/{}", made["id"].as_str().unwrap());
        let mut bytes = made.to_string().len() as i64;
        for _ in 0..20 {
            bytes += ada.get(&site).await.expect(200).to_string().len() as i64;
        }
        // Nothing of this is the project's: not found, not allowed, nobody's.
        app.anonymous().get(&site).await.expect(401);
        app.sign_up("eve").await.get(&site).await.expect(404);
        ada.get("/organizations").await.expect(200);
        // The counters of the last second are on their way while the server stops.
        let app = app.restart().await;
        let ada = ada.at(app.anonymous().base);
        assert_eq!(used(&ada, &id, "requests").await, 21);
        assert_eq!(used(&ada, &id, "egressBytes").await, bytes);
        for _ in 0..5 {
            ada.get(&site).await.expect(200);
        }
        comes_to(&ada, &id, "requests", 26).await;
        let app = app.restart().await;
        let ada = ada.at(app.anonymous().base);
        assert_eq!(used(&ada, &id, "requests").await, 26);
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn builds_and_deployments_count_in_the_change_that_makes_or_ends_them() {
    for database in [Database::Sqlite, Database::Postgres] {
        let app = TestApp::start(database).await;
        let ada = app.sign_up("ada").await;
        let (id, project) = (organization(&ada).await, ada.project("shop").await);
        let package = r#"{"scripts":{"build":"sleep 1.2 && mkdir -p dist && echo ok > dist/index.html"}}"#;
        let repository = Repository::new(&[("package.json", package)]);
        let deployment = ada.deploy(&project, &repository.url(), json!({})).await;
        assert_eq!((used(&ada, &id, "deployments").await, used(&ada, &id, "buildSeconds").await), (1, 0));
        let deployment = ada.ended(&deployment["id"]).await;
        assert_eq!(deployment["status"], "success", "{deployment}");
        // The test's clock stands still, Ghost's does not: what Ghost says of the end counts.
        let seconds = used(&ada, &id, "buildSeconds").await;
        assert!((1..60).contains(&seconds), "{seconds}");
        // Deleting it gives nothing back, and nobody counts it again.
        ada.delete(&format!("/deployments/{}", deployment["id"].as_str().unwrap())).await.expect(204);
        let app = app.restart().await;
        let ada = ada.at(app.anonymous().base);
        assert_eq!((used(&ada, &id, "deployments").await, used(&ada, &id, "buildSeconds").await), (1, seconds));
        app.stop().await;
    }
}

/// The bound that is promised: what was written stays, what was not is lost, and nothing counts twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_process_loses_only_what_it_had_not_written() {
    let folder = Folder::new();
    folder.configure("127.0.0.1:0", "[billing]\nusage_flush_seconds = 1\n");
    let base = |process: &Process| format!("http://{}/api/v2", process.address);
    let process = folder.start();
    let anonymous = Api::new(base(&process), None);
    let body = json!({ "email": "ada@example.com", "password": "correct horse", "name": "Ada" });
    let session = anonymous.post("/auth/signup", body).await.expect(201);
    let ada = anonymous.with_token(session["session"]["token"].as_str());
    let (id, project) = (organization(&ada).await, ada.project("shop").await);
    let sites = format!("/sites?projectId={project}");
    for _ in 0..30 {
        ada.get(&sites).await.expect(200);
    }
    comes_to(&ada, &id, "requests", 30).await;
    for _ in 0..10 {
        ada.get(&sites).await.expect(200);
    }
    process.kill();

    let process = folder.start();
    let ada = ada.at(base(&process));
    let kept = used(&ada, &id, "requests").await;
    assert!((30..=40).contains(&kept), "{kept}");
    for _ in 0..5 {
        ada.get(&sites).await.expect(200);
    }
    comes_to(&ada, &id, "requests", kept + 5).await;
    process.kill();
    // What was written once is there, and only once.
    let process = folder.start();
    assert_eq!(used(&ada.at(base(&process)), &id, "requests").await, kept + 5);
}

on_both! {
    async fn a_batch_whose_commit_was_not_heard_of_counts_once(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let (id, project) = (organization(&ada).await, ada.project("shop").await);
        let now = app.app.world.now();
        let (organization_id, project): (OrganizationId, ProjectId) = (id.parse().unwrap(), project.parse().unwrap());
        let batch = [Used {
            organization: organization_id,
            project,
            metric: ogel_api::billing::Metric::Requests,
            hour: hour_of(now),
            quantity: 7,
        }];
        let (one, other) = (app.app.world.uuid(), app.app.world.uuid());
        let store = &app.app.store;
        assert!(store.add_usage(one, 1, &batch, now).await.unwrap());
        assert!(!store.add_usage(one, 1, &batch, now).await.unwrap(), "the same again");
        assert!(store.add_usage(other, 1, &batch, now).await.unwrap(), "another process has numbers of its own");
        assert!(store.add_usage(one, 2, &batch, now).await.unwrap());
        assert!(!store.add_usage(one, 1, &batch, now).await.unwrap(), "an old one");
        assert_eq!(used(&ada, &id, "requests").await, 21);
    }

    async fn usage_is_added_up_by_hour_day_and_project(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let id = organization(&ada).await;
        let projects = [ada.project("one").await, ada.project("two").await];
        let organization_id: OrganizationId = id.parse().unwrap();
        let day = month_start(&app, 0);
        let hour = |hour: i64| day + chrono::TimeDelta::hours(hour);
        let used = |project: usize, at, quantity| Used {
            organization: organization_id,
            project: projects[project].parse().unwrap(),
            metric: ogel_api::billing::Metric::Requests,
            hour: at,
            quantity,
        };
        let batch = [used(0, hour(0), 1), used(0, hour(23), 2), used(1, hour(23), 4), used(1, hour(24), 8), used(0, hour(-1), 16)];
        app.app.store.add_usage(app.app.world.uuid(), 1, &batch, day).await.unwrap();
        let time = |at: chrono::DateTime<chrono::Utc>| at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
        let range = format!("from={}&to={}", time(hour(0)), time(hour(48)));
        let path = format!("/organizations/{id}/billing/usage?{range}");
        let rows = |report: Value| report["usage"].as_array().unwrap().clone();
        let row = |quantity: i64, more: Value| {
            let mut row = json!({ "metric": "requests", "quantity": quantity });
            row.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            row
        };
        assert_eq!(rows(ada.get(&path).await.expect(200)), [row(15, json!({}))]);
        let by_hour = rows(ada.get(&format!("{path}&groupBy=hour")).await.expect(200));
        let at = |n| json!({ "from": time(hour(n)) });
        assert_eq!(by_hour, [row(1, at(0)), row(6, at(23)), row(8, at(24))]);
        let by_day = rows(ada.get(&format!("{path}&groupBy=day")).await.expect(200));
        assert_eq!(by_day, [row(7, at(0)), row(8, at(24))]);
        let mut by_project = [row(3, json!({ "projectId": projects[0] })), row(12, json!({ "projectId": projects[1] }))];
        by_project.sort_by_key(|row| row["projectId"].as_str().unwrap().parse::<ProjectId>().unwrap().uuid());
        // The same under the other path.
        let other = format!("/billing/usage?organizationId={id}&{range}&groupBy=project&metric=requests");
        assert_eq!(rows(ada.get(&other).await.expect(200)), by_project);
        assert_eq!(rows(ada.get(&format!("{path}&metric=deployments")).await.expect(200)), Vec::<Value>::new());

        for (query, location) in [
            ("from=yesterday", "query.from"),
            ("groupBy=week", "query.groupBy"),
            ("from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "query.from"),
            ("from=2026-01-01T00:00:00Z&to=2026-06-01T00:00:00Z", "query.to"),
            ("from=2026-01-01T00:00:00Z&to=2026-03-01T00:00:00Z&groupBy=hour", "query.to"),
        ] {
            let error = ada.get(&format!("/organizations/{id}/billing/usage?{query}")).await.expect_error(400, "INVALID_VALUE");
            assert_eq!(error["details"][0]["location"], location, "{query}");
        }
        ada.get("/billing/usage").await.expect_error(400, "MISSING_FIELD");
    }
}
