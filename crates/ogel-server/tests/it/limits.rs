//! How often callers may call: by key, login and address, by plan, and what they are told of it.

use crate::on_both;
use chrono::{DateTime, TimeDelta, Utc};
use ogel_api::organizations::Plan;
use ogel_server::config::Config;
use ogel_store::PlanChange;
use ogel_testkit::{Api, Database, Replica, TestApp, eventually};
use serde_json::json;

/// The limits as they are by default.
async fn strict(database: Database) -> TestApp {
    TestApp::start_with(database, |config| {
        let login = config.limits.login;
        config.limits = Config::default().limits;
        config.limits.login = login;
    })
    .await
}

async fn key_of(api: &Api) -> Api {
    let key = api.post("/auth/api-keys", json!({ "name": "k" })).await.expect(201);
    api.with_token(key["secret"].as_str())
}

/// How many of `tries` requests are let in.
async fn admitted(api: &Api, tries: usize) -> usize {
    let mut count = 0;
    for _ in 0..tries {
        let answer = api.get("/auth/session").await;
        match answer.status.as_u16() {
            200 => count += 1,
            _ => drop(answer.expect_error(429, "RATE_LIMITED")),
        }
    }
    count
}

on_both! {
    async fn every_limited_answer_says_what_is_left(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let headers = ada.get("/users/me").await.headers;
        let number = |name: &str| headers[name].to_str().unwrap().parse::<u64>().unwrap();
        assert_eq!(number("x-ratelimit-limit") - number("x-ratelimit-remaining"), 1);
        let now = app.app.world.now().timestamp().unsigned_abs();
        assert!((now..=now + 11).contains(&number("x-ratelimit-reset")), "{headers:?}");
        assert_eq!(headers["ratelimit-policy"], "\"calls\";q=10000;w=10");
        assert!(headers["ratelimit"].to_str().unwrap().starts_with("\"calls\";r=9999;t="), "{headers:?}");
        assert!(!app.anonymous().get("/health").await.headers.contains_key("ratelimit"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_on_the_free_plan_may_call_ten_times_in_ten_seconds() {
    let app = strict(Database::Sqlite).await;
    let ada = app.sign_up("ada").await;
    let key = key_of(&ada).await;
    assert_eq!(admitted(&key, 14).await, 10);
    let refused = key.get("/auth/session").await;
    let wait = refused.headers["retry-after"].to_str().unwrap().parse::<i64>().unwrap();
    let error = refused.expect_error(429, "RATE_LIMITED");
    assert!(error["message"].as_str().unwrap().contains("10 per 10 seconds"), "{error}");
    assert_eq!(error["retryable"], true);
    // The time that is named is the time that counts; refusals cost nothing.
    app.app.world.clock.advance(TimeDelta::seconds(wait - 1));
    assert_eq!(admitted(&key, 1).await, 0);
    app.app.world.clock.advance(TimeDelta::seconds(1));
    assert_eq!(admitted(&key, 1).await, 1);
    // Another key, and the login, have windows of their own.
    assert_eq!(admitted(&key_of(&ada).await, 14).await, 10);
    assert_eq!(admitted(&ada, 30).await, 30);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_better_plan_raises_the_limit_without_a_new_key() {
    let app = strict(Database::Sqlite).await;
    let ada = app.sign_up("ada").await;
    let key = key_of(&ada).await;
    assert_eq!(admitted(&key, 12).await, 10);
    let organization = ada.get("/organizations").await.expect(200);
    let id = organization["organizations"][0]["id"].as_str().unwrap().parse().unwrap();
    let act = ogel_store::Act::by_the_system(app.app.world.uuid(), app.app.world.now());
    let change = PlanChange { id: app.app.world.uuid(), organization: id, plan: Plan::Team, act };
    app.app.store.change_plan(&change).await.unwrap();
    let limit = eventually("the plan shows", || async {
        let headers = key.get("/auth/session").await.headers;
        Some(headers["x-ratelimit-limit"].to_str().unwrap().to_owned()).filter(|limit| limit != "10")
    });
    assert_eq!(limit.await, "1000");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logins_deployments_and_addresses_have_limits_of_their_own() {
    let app = TestApp::start_with(Database::Sqlite, |config| {
        config.limits.login = 3;
        config.limits.deploy = 1;
    })
    .await;
    let ada = app.sign_up("ada").await;
    let wrong = || json!({ "email": "ada@example.com", "password": "not this one" });
    for _ in 0..2 {
        app.anonymous().post("/auth/login", wrong()).await.expect_error(401, "INVALID_LOGIN");
    }
    let refused = app.anonymous().post("/auth/login", wrong()).await;
    assert_eq!(refused.headers["ratelimit-policy"], "\"logins\";q=3;w=10");
    refused.expect_error(429, "RATE_LIMITED");
    let body = json!({ "projectId": ada.project("shop").await, "repoUrl": "no url" });
    ada.post("/deployments", body.clone()).await.expect(400);
    let refused = ada.post("/deployments", body).await;
    assert_eq!(refused.headers["ratelimit-policy"], "\"deployments\";q=1;w=10");
    refused.expect_error(429, "RATE_LIMITED");
    ada.get("/deployments").await.expect(200);
    app.stop().await;
}

/// Whoever of an organization deploys, it counts for the organization; the plan says how much that is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_organization_deploys_only_so_often_whoever_of_it_does() {
    let app = TestApp::start_with(Database::Sqlite, |config| {
        config.limits.deploy = 3;
        config.limits.deploy_pro = 5;
    })
    .await;
    let (ada, ben, eve) = (app.sign_up("ada").await, app.sign_up("ben").await, app.sign_up("eve").await);
    app.add_member(&ada, &ben, ogel_api::organizations::Role::Developer).await;
    let body = json!({ "projectId": ada.project("shop").await, "repoUrl": "no url" });
    let tried = async |api: &Api| api.post("/deployments", body.clone()).await;
    tried(&ada).await.expect(400);
    tried(&ada).await.expect(400);
    tried(&ben).await.expect(400);
    // Neither has used up what is their own.
    let mut wait = 0;
    for api in [&ben, &ada] {
        let refused = tried(api).await;
        wait = refused.headers["retry-after"].to_str().unwrap().parse::<i64>().unwrap();
        // A sliding window of ten seconds forgets within twenty.
        assert!((1..=20).contains(&wait), "{wait}");
        let error = refused.expect_error(429, "RATE_LIMITED");
        assert!(error["message"].as_str().unwrap().contains("the limit `deployments` is 3"), "{error}");
    }
    let theirs = json!({ "projectId": eve.project("shop").await, "repoUrl": "no url" });
    eve.post("/deployments", theirs).await.expect(400);
    // To the second, and what is refused costs nothing.
    let later = |seconds| app.app.world.clock.advance(TimeDelta::seconds(seconds));
    later(wait - 1);
    tried(&ada).await.expect(429);
    later(1);
    tried(&ada).await.expect(400);
    // What a better plan allows is asked of the organization, not of the person.
    later(21);
    let organization = crate::billing::organization(&ada).await;
    crate::billing::change_plan(&ada, &organization, "pro").await;
    let mut admitted = 0;
    for turn in 0..8 {
        admitted += u32::from(tried(if turn % 2 == 0 { &ada } else { &ben }).await.status == 400);
    }
    assert_eq!(admitted, 5);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_from_one_address_is_refused_whatever_it_sends() {
    let app = TestApp::start_with(Database::Sqlite, |config| config.limits.address = 5).await;
    for _ in 0..5 {
        app.anonymous().get("/nonsense").await.expect_error(404, "ROUTE_NOT_FOUND");
    }
    let key = app.anonymous().with_token(Some("ogel_nonsense"));
    key.get("/users/me").await.expect_error(429, "RATE_LIMITED");
    let (_, metrics) = app.operations("/metrics").await;
    assert!(metrics.contains("ogel_rate_limited_total{policy=\"address\"} 1"), "{metrics}");
    app.stop().await;
}

/// Requests in random order over all replicas at once; how many were let in.
async fn storm(keys: &[Api], tries: usize, random: &ogel_server::world::Entropy) -> usize {
    let calls = (0..tries).map(|_| {
        let key = keys[usize::try_from(random.next()).unwrap() % keys.len()].clone();
        async move { key.get("/auth/session").await.status.as_u16() }
    });
    futures_util::future::join_all(calls).await.into_iter().filter(|status| *status == 200).count()
}

const REPLICAS: usize = 3;

/// As many as there are, and one key at each of them.
async fn together(strict: bool) -> (TestApp, [Replica; REPLICAS - 1], Vec<Api>) {
    let app = crate::replicas::shared_with(Database::Postgres, |config| {
        config.limits = Config::default().limits;
        config.limits.strict = strict;
        config.limits.login = 1000;
        // The bound is of replicas that hear from Redis: on a busy machine two milliseconds are no time, and who hears
        // nothing counts alone.
        config.redis.wait_ms = 2000;
    })
    .await;
    let others = [app.replica().await, app.replica().await];
    crate::replicas::connected(&app.app).await;
    let ada = app.sign_up("ada").await;
    let key = key_of(&ada).await;
    let mut keys = vec![key.clone()];
    for other in &others {
        crate::replicas::connected(&other.app).await;
        keys.push(other.api(&key));
    }
    (app, others, keys)
}

/// Sets the clock of all.
fn to(app: &TestApp, others: &[Replica], at: DateTime<Utc>) {
    for app in others.iter().map(|other| &other.app).chain([&app.app]) {
        let clock = &app.world.clock;
        clock.advance(at - clock.now());
    }
}

/// The middle of a window that nothing weighs on.
fn middle(app: &TestApp) -> DateTime<Utc> {
    DateTime::from_timestamp(app.app.world.clock.now().timestamp() / 10 * 10 + 35, 0).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_together_admit_the_limit_and_at_most_one_more_each() {
    for strict in [false, true] {
        let (app, others, keys) = together(strict).await;
        let to = |at| to(&app, &others, at);
        let start = middle(&app);
        let seed = ogel_server::world::Entropy::System.next();
        let random = ogel_server::world::Entropy::seeded(seed);
        for round in 0..6 {
            // Windows with nothing between them, so that nothing of one weighs on the next.
            to(start + TimeDelta::seconds(30 * round));
            let admitted = storm(&keys, 60, &random).await;
            let most = if strict { 10 } else { 10 + REPLICAS };
            assert!(admitted <= most, "seed {seed}, strict {strict}: {admitted}");
            // What a replica has fetched and not used is missing elsewhere: one each, at this limit.
            assert!(admitted >= 10 - REPLICAS, "seed {seed}, strict {strict}: {admitted}");
        }
        // A refusal names the second in which it ends, at whichever replica, though some are let in on credit before.
        let credit = if strict { 0 } else { REPLICAS };
        let refused = keys[1].get("/auth/session").await;
        let wait: i64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
        let now = app.app.world.clock.now();
        to(now + TimeDelta::seconds(wait - 1));
        let early = storm(&keys, 9, &random).await;
        assert!(early <= credit, "seed {seed}, strict {strict}: {early}");
        to(now + TimeDelta::seconds(wait));
        assert!(storm(&keys, 9, &random).await >= 1, "seed {seed}, strict {strict}");
        for other in others {
            other.stop().await;
        }
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_as_long_as_they_were_told_is_let_in_whatever_others_are_let_in_on_credit() {
    let (app, others, keys) = together(false).await;
    let to = |at| to(&app, &others, at);
    let moment = TimeDelta::milliseconds(1);
    for (back_at, ends_later) in (0..REPLICAS).flat_map(|back_at| [(back_at, false), (back_at, true)]) {
        to(middle(&app));
        assert_eq!(admitted(&keys[0], 14).await, 10);
        // The wait ends in the window after this one, or in the same in which it begins.
        if !ends_later {
            to(app.app.world.clock.now() + TimeDelta::seconds(10));
            assert_eq!(admitted(&keys[0], 14).await, 5);
        }
        let refused = keys[0].get("/auth/session").await;
        let wait: i64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
        let due = app.app.world.clock.now() + TimeDelta::seconds(wait);
        to(due - moment);
        for other in &keys[1..] {
            assert_eq!(admitted(other, 3).await, 1, "they have not heard that it is full");
        }
        assert_eq!(admitted(&keys[0], 1).await, 0);
        to(due);
        assert_eq!(admitted(&keys[back_at], 1).await, 1, "at {back_at}, {ends_later}");
        assert_eq!(admitted(&keys[back_at], 1).await, 0, "at {back_at}, {ends_later}");
        // From now on those who were let in on credit count.
        to(due + TimeDelta::seconds(1));
        assert_eq!(admitted(&keys[1], 1).await, 0, "at {back_at}, {ends_later}");
    }
    for other in others {
        other.stop().await;
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_refused_under_a_limit_is_let_in_when_an_operator_raises_it() {
    let app = crate::replicas::shared_with(Database::Sqlite, |config| {
        config.limits = Config::default().limits;
        config.limits.login = 1000;
    })
    .await;
    crate::replicas::connected(&app.app).await;
    let ada = app.sign_up("ada").await;
    let made = ada.post("/auth/api-keys", json!({ "name": "k" })).await.expect(201);
    let key = ada.with_token(made["secret"].as_str());
    assert_eq!(admitted(&key, 14).await, 10);
    let command = ogel_server::limits_cli::Command::Set {
        holder: made["apiKey"]["id"].as_str().unwrap().to_owned(),
        policy: "calls".to_owned(),
        max_requests: 20,
        hours: 1,
    };
    ogel_server::limits_cli::run(&app.app.config(), command).await.unwrap();
    eventually("the new limit counts", || async { (admitted(&key, 1).await == 1).then_some(()) }).await;
    assert_eq!(admitted(&key, 14).await, 9);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_each_replica_counts_for_itself_and_nobody_is_refused_for_it() {
    let mut redis = ogel_testkit::RedisServer::start();
    let url = redis.url();
    let app = TestApp::start_with(Database::Sqlite, |config| {
        config.limits = Config::default().limits;
        config.limits.login = 1000;
        config.redis.url = ogel_server::config::Secret::new(url);
    })
    .await;
    crate::replicas::connected(&app.app).await;
    let ada = app.sign_up("ada").await;
    let key = key_of(&ada).await;
    assert_eq!(admitted(&key, 4).await, 4);
    redis.kill();
    // What was let in before counts on.
    assert_eq!(admitted(&key, 14).await, 6);
    app.app.world.clock.advance(TimeDelta::seconds(30));
    assert_eq!(admitted(&key, 14).await, 10);
    redis.up();
    crate::replicas::connected(&app.app).await;
    app.app.world.clock.advance(TimeDelta::seconds(30));
    redis.pause();
    assert_eq!(admitted(&key, 14).await, 10);
    redis.resume();
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_one_organization_share_its_limit_and_an_operator_can_raise_it_for_a_while() {
    let app = TestApp::start_with(Database::Sqlite, |config| {
        config.limits.organization_free = 15;
        config.limits.project_free = 5;
    })
    .await;
    let ada = app.sign_up("ada").await;
    let organization = ada.get("/organizations").await.expect(200)["organizations"][0]["id"].clone();
    let project = ada.project("shop").await;
    let bound = |field: &'static str, id: serde_json::Value| {
        let ada = &ada;
        async move {
            let mut body = json!({ "name": "k" });
            body[field] = id;
            let made = ada.post("/auth/api-keys", body).await.expect(201);
            ada.with_token(made["secret"].as_str())
        }
    };
    let (one, two) =
        (bound("organizationId", organization.clone()).await, bound("organizationId", organization.clone()).await);
    assert_eq!(admitted(&one, 9).await + admitted(&two, 9).await, 15);
    let refused = one.get("/auth/session").await;
    assert!(refused.headers["ratelimit-policy"].to_str().unwrap().starts_with("\"organization\";q=15"));
    assert_eq!(admitted(&bound("projectId", json!(project)).await, 9).await, 5);
    // An operator, at the terminal.
    let config = app.app.config();
    let run = |command| ogel_server::limits_cli::run(&config, command);
    use ogel_server::limits_cli::Command;
    let holder = organization.as_str().unwrap().to_owned();
    let set =
        |hours| Command::Set { holder: holder.clone(), policy: "organization".to_owned(), max_requests: 40, hours };
    assert!(run(set(1)).await.unwrap().contains("40 until"));
    assert!(run(Command::List).await.unwrap().contains("organization 40 until"));
    eventually("the override is known", || async { (admitted(&one, 1).await == 1).then_some(()) }).await;
    let raised = one.get("/auth/session").await;
    assert!(
        raised.headers["ratelimit-policy"].to_str().unwrap().starts_with("\"organization\";q=40"),
        "{:?}",
        raised.headers
    );
    // It ends by itself. (The terminal's clock is the machine's, which has gone on a little.)
    app.app.world.clock.advance(TimeDelta::minutes(61));
    assert_eq!(admitted(&one, 20).await, 15);
    assert!(run(Command::Remove { holder: "nobody".to_owned(), policy: "calls".to_owned() }).await.is_err());
    assert!(run(Command::Remove { holder, policy: "organization".to_owned() }).await.is_ok());
    drop(config);
    app.stop().await;
}
