//! Answers that are kept: for whom, how long, and how soon a change shows, here and at another replica.

use crate::{
    deployments::WAIT_FOREVER,
    invitations::organization,
    on_both,
    replicas::{connected, shared_with},
    sites::{make, text},
};
use http::Method;
use ogel_api::organizations::Role;
use ogel_server::{config::Config, world::Entropy};
use ogel_testkit::{Answer, Api, Database, Replica, Repository, TestApp, eventually};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

fn with_cache(config: &mut Config) {
    config.cache = Config::default().cache;
}

fn how(answer: &Answer) -> &str {
    answer.headers["x-cache"].to_str().unwrap()
}

/// A deployment's answer, and its build's.
fn answers_of(deployment: &Value) -> [String; 2] {
    [format!("/deployments/{}", text(&deployment["id"])), format!("/builds/{}", text(&deployment["buildId"]))]
}

/// Waits until all of them are kept where `api` asks.
async fn keep(api: &Api, paths: &[String]) {
    for path in paths {
        eventually("it is kept", || async { (how(&api.get(path).await) == "hit").then_some(()) }).await;
    }
}

/// How each of them was found.
async fn hows(api: &Api, paths: &[String]) -> Vec<String> {
    let mut hows = Vec::new();
    for path in paths {
        hows.push(how(&api.get(path).await).to_owned());
    }
    hows
}

/// A deployment whose build does not end by itself, once it builds.
async fn begun(api: &Api, project: &str, repository: &Repository) -> Value {
    let made = api.deploy(project, &repository.url(), json!({ "buildCommand": WAIT_FOREVER })).await;
    api.building(&made["id"]).await
}

/// How many calls the data plane has made to Ghost.
async fn calls(app: &TestApp) -> u64 {
    let page = app.operations("/metrics").await.1;
    let line = page.lines().find(|line| line.starts_with("ogel_upstream_attempts_total ")).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

async fn with_headers(api: &Api, path: &str, headers: &[(&str, &str)]) -> Answer {
    let request =
        headers.iter().fold(api.request(Method::GET, path), |request, (name, value)| request.header(*name, *value));
    api.send(request).await
}

async fn cached(database: Database) -> TestApp {
    TestApp::start_with(database, with_cache).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_is_kept_until_something_changes() {
    let app = cached(Database::Sqlite).await;
    let ada = app.sign_up("ada").await;
    let project = ada.project("shop").await;
    let site = make(&ada, &project, "web", json!({})).await;
    let (path, list) = (format!("/sites/{}", text(&site["id"])), format!("/sites?projectId={project}"));
    for path in [&path, &list] {
        let first = ada.get(path).await;
        assert_eq!(how(&first), "miss");
        let before = calls(&app).await;
        let again = ada.get(path).await;
        assert_eq!((how(&again), &again.body, &again.headers["etag"]), ("hit", &first.body, &first.headers["etag"]));
        assert_eq!(again.headers["cache-control"], "private, no-cache");
        let tag = first.headers["etag"].to_str().unwrap();
        let known = with_headers(&ada, path, &[("if-none-match", tag)]).await;
        assert_eq!((known.status.as_u16(), how(&known)), (304, "hit"));
        assert_eq!(calls(&app).await, before, "a hit asks nobody");
    }
    let changed = ada.send(ada.request(Method::PATCH, &path).json(&json!({ "name": "shop" }))).await;
    assert!(changed.headers.contains_key("x-ogel-consistency"), "{:?}", changed.headers);
    let after = ada.get(&path).await;
    assert_eq!((how(&after), &after.body["name"]), ("miss", &json!("shop")));
    assert_eq!(ada.get(&list).await.body["sites"][0]["name"], "shop");
    ada.delete(&path).await.expect(204);
    ada.get(&path).await.expect_error(404, "NOT_FOUND");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_and_its_build_are_kept_until_something_happens_to_them() {
    let app = cached(Database::Sqlite).await;
    let (ada, ben) = (app.sign_up("ada").await, app.sign_up("ben").await);
    app.add_member(&ada, &ben, Role::Viewer).await;
    let (organization, project) = (organization(&ada).await, ada.project("shop").await);
    let repository = Repository::of_a_page("x");
    let first = ada.ended(&ada.deploy(&project, &repository.url(), json!({})).await["id"]).await;
    assert_eq!((&first["status"], &first["active"]), (&json!("success"), &json!(true)), "no kept answer hides the end");
    let second = ada.ended(&ada.deploy(&project, &repository.url(), json!({})).await["id"]).await;
    let (path, build) =
        (format!("/deployments/{}", text(&first["id"])), format!("/builds/{}", text(&first["buildId"])));
    for path in [&path, &build] {
        let kept = ada.get(path).await;
        let again = ada.get(path).await;
        assert_eq!((how(&again), &again.body, &again.headers["etag"]), ("hit", &kept.body, &kept.headers["etag"]));
        // Whatever token it is: the writer may have changed this.
        let changed = ada.post("/organizations", json!({ "name": "other" })).await;
        let token = changed.headers["x-ogel-consistency"].to_str().unwrap();
        assert_eq!(how(&with_headers(&ada, path, &[("x-ogel-consistency", token)]).await), "bypass");
        // By role, and for members only.
        assert_eq!((how(&ben.get(path).await), how(&ben.get(path).await)), ("miss", "hit"));
    }
    ada.post(&format!("/deployments/{}/promote", text(&second["id"])), json!({})).await.expect(200);
    let replaced = ada.get(&path).await;
    assert_eq!((how(&replaced), &replaced.body["active"]), ("miss", &json!(false)), "another one took its place");
    let me = ben.get("/users/me").await.expect(200);
    assert_eq!((how(&ben.get(&build).await), how(&ben.get(&build).await)), ("miss", "hit"));
    ada.delete(&format!("/organizations/{organization}/members/{}", text(&me["id"]))).await.expect(204);
    ben.get(&build).await.expect_error(404, "NOT_FOUND");
    ada.get(&build).await.expect(200);
    ada.delete(&path).await.expect(204);
    ada.get(&path).await.expect_error(404, "NOT_FOUND");
    ada.get(&build).await.expect_error(404, "NOT_FOUND");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_can_ask_past_the_cache() {
    let app = cached(Database::Sqlite).await;
    let ada = app.sign_up("ada").await;
    let project = ada.project("shop").await;
    let site = make(&ada, &project, "web", json!({})).await;
    let path = format!("/sites/{}", text(&site["id"]));
    ada.get(&path).await.expect(200);
    // Somebody else changes it at Ghost, and nobody tells us.
    let at_ghost = format!("/sites/{}", text(&site["id"]).parse::<ogel_api::id::SiteId>().unwrap().0);
    assert_eq!(app.at_ghost(Method::PUT, &project, &at_ghost, json!({ "name": "new" })).await, 200);
    let kept = ada.get(&path).await;
    assert_eq!((how(&kept), &kept.body["name"]), ("hit", &json!("web")));
    let secret = with_headers(&ada, &path, &[("cache-control", "no-store")]).await;
    assert_eq!((how(&secret), &secret.body["name"]), ("bypass", &json!("new")));
    assert_eq!(how(&ada.get(&path).await), "hit", "no-store keeps nothing");
    let asked = with_headers(&ada, &path, &[("cache-control", "max-age=5, no-cache")]).await;
    assert_eq!((how(&asked), &asked.body["name"]), ("bypass", &json!("new")));
    let kept = ada.get(&path).await;
    assert_eq!((how(&kept), &kept.body["name"]), ("hit", &json!("new")), "no-cache keeps what it got");
    with_headers(&ada, &path, &[("x-ogel-consistency", "?")]).await.expect_error(400, "INVALID_VALUE");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_answer_is_given_while_a_newer_one_is_fetched_and_when_none_can_be() {
    let app = cached(Database::Sqlite).await;
    let ada = app.sign_up("ada").await;
    let project = ada.project("shop").await;
    let site = make(&ada, &project, "web", json!({})).await;
    let path = format!("/sites/{}", text(&site["id"]));
    ada.get(&path).await.expect(200);
    let at_ghost = format!("/sites/{}", text(&site["id"]).parse::<ogel_api::id::SiteId>().unwrap().0);
    assert_eq!(app.at_ghost(Method::PUT, &project, &at_ghost, json!({ "name": "new" })).await, 200);
    let cache = app.app.config().cache.clone();
    let later = |seconds: u64| app.app.world.clock.advance(chrono::TimeDelta::seconds(i64::try_from(seconds).unwrap()));
    later(cache.fresh_seconds);
    let stale = ada.get(&path).await;
    assert_eq!((how(&stale), &stale.body["name"]), ("stale", &json!("web")));
    eventually("the newer one is there", || async {
        let answer = ada.get(&path).await;
        (how(&answer) == "hit" && answer.body["name"] == "new").then_some(())
    })
    .await;
    later(cache.fresh_seconds + cache.revalidate_seconds);
    app.network.set_down(true);
    let old = ada.get(&path).await;
    assert_eq!((old.status.as_u16(), how(&old), &old.body["name"]), (200, "stale", &json!("new")));
    assert!(old.headers["warning"].to_str().unwrap().starts_with("111 "), "{:?}", old.headers);
    later(cache.stale_seconds);
    assert_eq!(ada.get(&path).await.status.as_u16(), 503);
    app.network.set_down(false);
    app.stop().await;
}

/// Removed at Ghost without us: that it is gone is remembered, but not for long, and not past a change.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_there_is_remembered_for_a_moment() {
    let app = cached(Database::Sqlite).await;
    let ada = app.sign_up("ada").await;
    let project = ada.project("shop").await;
    let site = make(&ada, &project, "web", json!({})).await;
    let path = format!("/sites/{}", text(&site["id"]));
    let uuid = text(&site["id"]).parse::<ogel_api::id::SiteId>().unwrap().0.to_string();
    let at_ghost = format!("/sites/{uuid}");
    let again = json!({ "siteId": uuid, "name": "web", "framework": "static" });
    let removed = async || assert_eq!(app.at_ghost(Method::DELETE, &project, &at_ghost, json!(null)).await, 204);
    let back = async || assert_eq!(app.at_ghost(Method::POST, &project, "/sites", again.clone()).await, 201);
    removed().await;
    ada.get(&path).await.expect_error(404, "NOT_FOUND");
    let before = calls(&app).await;
    back().await;
    for _ in 0..5 {
        ada.get(&path).await.expect_error(404, "NOT_FOUND");
    }
    assert_eq!(calls(&app).await, before, "nobody was asked");
    let seconds = i64::try_from(app.app.config().cache.negative_seconds).unwrap();
    app.app.world.clock.advance(chrono::TimeDelta::seconds(seconds));
    ada.get(&path).await.expect(200);
    assert!(calls(&app).await > before);
    // A change ends it at once.
    with_headers(&ada, &path, &[("cache-control", "no-cache")]).await.expect(200);
    removed().await;
    with_headers(&ada, &path, &[("cache-control", "no-cache")]).await.expect_error(404, "NOT_FOUND");
    back().await;
    ada.get(&path).await.expect_error(404, "NOT_FOUND");
    make(&ada, &project, "another", json!({})).await;
    ada.get(&path).await.expect(200);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_who_ask_at_once_ask_ghost_once() {
    let app = cached(Database::Sqlite).await;
    let ada = app.sign_up("ada").await;
    let project = ada.project("shop").await;
    make(&ada, &project, "web", json!({})).await;
    let list = format!("/sites?projectId={project}");
    // The token is made and the membership known before it is counted.
    with_headers(&ada, &list, &[("cache-control", "no-store")]).await.expect(200);
    let before = calls(&app).await;
    let answers = futures_util::future::join_all((0..50).map(|_| ada.get(&list))).await;
    assert!(answers.iter().all(|answer| answer.status == 200 && answer.body == answers[0].body));
    assert_eq!(calls(&app).await - before, 1);
    app.stop().await;
}

/// Two that share a Redis and a database, and somebody with a project who speaks to both.
struct TwoReplicas {
    app: TestApp,
    other: Replica,
    ada: Api,
    there: Api,
    project: String,
}

impl TwoReplicas {
    async fn start() -> Self {
        let app = shared_with(Database::Postgres, with_cache).await;
        let other = app.replica().await;
        connected(&app.app).await;
        connected(&other.app).await;
        let ada = app.sign_up("ada").await;
        let (there, project) = (other.api(&ada), ada.project("shop").await);
        Self { app, other, ada, there, project }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_at_one_replica_shows_at_the_other_at_once_with_its_token_and_soon_without() {
    let TwoReplicas { app, other, ada, there: ada_there, project } = TwoReplicas::start().await;
    let site = make(&ada, &project, "web", json!({})).await;
    let path = format!("/sites/{}", text(&site["id"]));
    // What one replica has read, the other finds in Redis.
    ada.get(&path).await.expect(200);
    eventually("it is in Redis", || async { (how(&ada_there.get(&path).await) == "hit").then_some(()) }).await;
    let mut quick = 0;
    for n in 0..10 {
        ada_there.get(&path).await.expect(200);
        let name = format!("web {n}");
        let changed = ada.send(ada.request(Method::PATCH, &path).json(&json!({ "name": name }))).await;
        let token = changed.headers["x-ogel-consistency"].to_str().unwrap().to_owned();
        let written = Instant::now();
        if n % 2 == 0 {
            let read = with_headers(&ada_there, &path, &[("x-ogel-consistency", &token)]).await;
            assert_eq!(read.body["name"], json!(name));
        } else {
            while ada_there.get(&path).await.body["name"] != json!(name) {}
            quick += u32::from(written.elapsed() < Duration::from_millis(100));
        }
    }
    // Without being told, an answer lives for seconds. One may be late on a busy machine.
    assert!(quick >= 4, "{quick} of 5");
    other.stop().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_to_a_deployment_at_one_replica_shows_at_the_other() {
    let TwoReplicas { app, other, ada, there, project } = TwoReplicas::start().await;
    let repository = Repository::of_a_page("x");
    let mut paths = Vec::new();
    for _ in 0..2 {
        let done = ada.ended(&ada.deploy(&project, &repository.url(), json!({})).await["id"]).await;
        paths.push(format!("/deployments/{}", text(&done["id"])));
    }
    let mut quick = 0;
    for n in 0..10 {
        let (path, before) = (&paths[(n + 1) % 2], &paths[n % 2]);
        // The clock stands still, so nothing ends by its age.
        for path in &paths {
            there.get(path).await.expect(200);
            assert_eq!(how(&there.get(path).await), "hit");
        }
        let promoted = ada.post(&format!("{path}/promote"), json!({})).await;
        let token = promoted.headers["x-ogel-consistency"].to_str().unwrap().to_owned();
        let written = Instant::now();
        if n % 2 == 0 {
            let read = with_headers(&there, path, &[("x-ogel-consistency", &token)]).await;
            assert_eq!(read.body["active"], true);
        } else {
            while there.get(path).await.body["active"] != true {}
            quick += u32::from(written.elapsed() < Duration::from_millis(100));
        }
        assert_eq!(ada.get(before).await.body["active"], false);
    }
    assert!(quick >= 4, "{quick} of 5");
    other.stop().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_to_one_deployment_ends_its_answers_at_both_replicas_and_no_others() {
    let TwoReplicas { app, other, ada, there, project } = TwoReplicas::start().await;
    let repository = Repository::of_a_page("x");
    let mut quiet = Vec::new();
    let mut last = json!(null);
    for _ in 0..2 {
        last = ada.ended(&ada.deploy(&project, &repository.url(), json!({})).await["id"]).await;
        quiet.extend(answers_of(&last));
    }
    let mut quick = 0;
    for _ in 0..5 {
        let changing = answers_of(&begun(&ada, &project, &repository).await);
        for api in [&ada, &there] {
            keep(api, &changing).await;
            keep(api, &quiet).await;
        }
        ada.post(&format!("{}/cancel", changing[0]), json!({})).await.expect(200);
        let canceled = Instant::now();
        for path in &changing {
            let shows = || async { (there.get(path).await.body["status"] == "canceled").then_some(()) };
            eventually("its end shows", shows).await;
        }
        quick += u32::from(canceled.elapsed() < Duration::from_millis(100));
        for path in &changing {
            assert_eq!(ada.get(path).await.body["status"], "canceled");
        }
        for api in [&ada, &there] {
            assert_eq!(hows(api, &quiet).await, ["hit"; 4]);
        }
    }
    assert!(quick >= 4, "{quick} of 5");
    // What takes the place of another one changes both.
    ada.post(&format!("/deployments/{}/promote", text(&last["id"])), json!({})).await.expect(200);
    let promoted = Instant::now();
    for path in quiet.iter().step_by(2) {
        let is_last = path.ends_with(text(&last["id"]));
        let shows = || async { (there.get(path).await.body["active"] == is_last).then_some(()) };
        eventually("what is in production shows", shows).await;
        assert_eq!(ada.get(path).await.body["active"], is_last);
    }
    assert!(promoted.elapsed() < Duration::from_secs(1), "{:?}", promoted.elapsed());
    other.stop().await;
    app.stop().await;
}

/// A build that ends is no change of ours, and yet no replica goes on showing what was before it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ghost_says_to_one_replica_ends_what_another_has_kept() {
    let TwoReplicas { app, other, ada, there, project } = TwoReplicas::start().await;
    app.listen_to_ghost();
    let list = format!("/sites?projectId={project}");
    let repository = ogel_testkit::Repository::of_a_page("x");
    let mut quick = 0;
    for _ in 0..5 {
        // The clock stands still, so nothing ends by its age.
        there.get(&list).await.expect(200);
        assert_eq!(how(&there.get(&list).await), "hit");
        let made = ada.deploy(&project, &repository.url(), json!({})).await;
        assert_eq!(ada.ended(&made["id"]).await["status"], "success");
        let ended = Instant::now();
        eventually("it is read anew", || async { (how(&there.get(&list).await) == "miss").then_some(()) }).await;
        quick += u32::from(ended.elapsed() < Duration::from_millis(100));
    }
    assert!(quick >= 4, "{quick} of 5");
    other.stop().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_ever_gets_what_was_kept_for_another_tenant() {
    let app = shared_with(Database::Sqlite, with_cache).await;
    connected(&app.app).await;
    let mut tenants = Vec::new();
    for name in ["ada", "eve"] {
        let api = app.sign_up(name).await;
        let project = api.project("shop").await;
        let mut paths = vec![format!("/sites?projectId={project}"), format!("/domains?projectId={project}")];
        for limit in [1, 2, 100] {
            paths.push(format!("/sites?projectId={project}&limit={limit}"));
            paths.push(format!("/domains?limit={limit}&projectId={project}"));
        }
        for n in 0..3 {
            let site = make(&api, &project, &format!("{name} {n}"), json!({})).await;
            paths.push(format!("/sites/{}", text(&site["id"])));
        }
        let repository = Repository::of_a_page("x");
        let done = api.ended(&api.deploy(&project, &repository.url(), json!({})).await["id"]).await;
        paths.extend([format!("/deployments/{}", text(&done["id"])), format!("/builds/{}", text(&done["buildId"]))]);
        tenants.push((api, project, paths));
    }
    let seed = Entropy::System.next();
    let random = Entropy::seeded(seed);
    let (mut own, mut foreign, mut kept) = (0, 0, 0);
    for _ in 0..400 {
        let who = usize::from(random.next().is_multiple_of(2));
        let whose = usize::from(random.next().is_multiple_of(2));
        let path = &tenants[whose].2[usize::try_from(random.next()).unwrap() % tenants[whose].2.len()];
        let answer = tenants[who].0.get(path).await;
        let body = answer.body.to_string();
        if who == whose {
            assert_eq!(answer.status.as_u16(), 200, "seed {seed}: {path}: {body}");
            assert!(!body.contains(&tenants[1 - who].1), "seed {seed}: {path}: {body}");
            kept += u32::from(how(&answer) == "hit");
            own += 1;
        } else {
            assert_eq!(answer.status.as_u16(), 404, "seed {seed}: {path}: {body}");
            assert!(!answer.headers.contains_key("x-cache"), "not even looked for");
            foreign += 1;
        }
    }
    assert!(own > 100 && foreign > 100 && kept > 100, "seed {seed}: {own} {foreign} {kept}");
    app.stop().await;
}

on_both! {
    async fn what_happens_to_one_deployment_leaves_what_is_kept_of_the_others(app: TestApp) {
        let mut config = Config::clone(&app.app.config());
        with_cache(&mut config);
        app.app.reconfigure(config);
        app.listen_to_ghost();
        let ada = app.sign_up("ada").await;
        let project = ada.project("shop").await;
        let repository = Repository::of_a_page("x");
        let deployed = async || {
            let made = ada.deploy(&project, &repository.url(), json!({})).await;
            ada.ended(&made["id"]).await
        };
        let (first, second) = (deployed().await, deployed().await);
        let quiet = [answers_of(&first), answers_of(&second)].concat();
        keep(&ada, &quiet).await;
        // It is accepted, built and ends, and Ghost says so by webhooks too.
        let third = answers_of(&deployed().await);
        assert_eq!(ada.get(&third[1]).await.body["status"], "success");
        assert_eq!(hows(&ada, &quiet).await, ["hit"; 4]);
        ada.delete(&third[0]).await.expect(204);
        for path in &third {
            ada.get(path).await.expect_error(404, "NOT_FOUND");
        }
        assert_eq!(hows(&ada, &quiet).await, ["hit"; 4]);
        for cancel in 0..2 {
            let canceled = answers_of(&begun(&ada, &project, &repository).await);
            keep(&ada, &canceled).await;
            ada.post(&format!("{}/cancel", canceled[cancel]), json!({})).await.expect(200);
            for path in &canceled {
                let after = ada.get(path).await;
                assert_eq!((how(&after), &after.body["status"]), ("miss", &json!("canceled")));
            }
            assert_eq!(hows(&ada, &quiet).await, ["hit"; 4]);
        }
        // What takes the place of another one changes both.
        ada.post(&format!("/deployments/{}/promote", text(&second["id"])), json!({})).await.expect(200);
        for (path, active) in [(&quiet[0], false), (&quiet[2], true)] {
            let after = ada.get(path).await;
            assert_eq!((how(&after), &after.body["active"]), ("miss", &json!(active)));
        }
        // So does what Ghost puts there by itself, because what was there is gone.
        keep(&ada, &quiet).await;
        let at_ghost = text(&second["id"]).parse::<ogel_api::id::DeploymentId>().unwrap().0;
        assert_eq!(app.at_ghost(Method::DELETE, &project, &format!("/deployments/{at_ghost}"), json!(null)).await, 204);
        assert_eq!(deployed().await["active"], true);
        let replaced = ada.get(&quiet[2]).await;
        assert_eq!((how(&replaced), &replaced.body["active"]), ("miss", &json!(false)));
    }

    async fn every_change_has_a_token_and_no_refusal_has(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let made = ada.post("/projects", json!({ "name": "shop" })).await;
        assert!(made.headers.contains_key("x-ogel-consistency"));
        let refused = ada.post("/projects", json!({ "name": "" })).await;
        assert!(refused.status == 400 && !refused.headers.contains_key("x-ogel-consistency"));
        assert!(!ada.get("/projects").await.headers.contains_key("x-ogel-consistency"));
    }
}
