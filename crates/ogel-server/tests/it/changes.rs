//! Changes of sites and domains, which are Ghost's: whenever a replica dies around one, the audit log and the webhooks say what
//! became of it, once.

use crate::{
    invitations::organization,
    on_both,
    sites::text,
    webhooks::{Receiver, make},
};
use http::Method;
use ogel_api::admin::Queue;
use ogel_testkit::{Api, TestApp, eventually};
use serde_json::{Value, json};

/// More reads and writes than any of these calls takes.
const ENOUGH: u64 = 12;

/// Somebody with a project, who has webhooks tell of it, and a domain whose harmless change lets a replica get its token.
struct Stage {
    ada: Api,
    organization: String,
    project: String,
    warm: String,
    receiver: Receiver,
}

impl Stage {
    async fn set(app: &TestApp) -> Self {
        let ada = app.sign_up("ada").await;
        let (organization, project) = (organization(&ada).await, ada.project("shop").await);
        let receiver = Receiver::start().await;
        let warm = ada.post("/domains", json!({ "projectId": project, "domain": "warm.test" })).await.expect(201);
        make(&ada, &receiver, json!({ "projectId": project })).await;
        Self { ada, organization, project, warm: format!("/domains/{}", text(&warm["id"])), receiver }
    }

    /// Asks for it at a replica whose connections to Ghost stand still after `step` more reads and writes, and which is
    /// then killed. Whether it died before it answered.
    async fn asks_one_that_dies(&self, app: &TestApp, step: u64, method: Method, path: &str, body: &Value) -> bool {
        let replica = app.replica().await;
        let there = replica.api(&self.ada);
        there.patch(&self.warm, json!({})).await.expect(200);
        replica.network.stand_still_after(step);
        let request = there.request(method, path).header("idempotency-key", format!("k{step}")).json(body);
        let asking = tokio::spawn(async move { request.send().await.map(|answer| answer.status()) });
        let died = tokio::select! {
            () = replica.network.stands_still() => true,
            () = eventually("it is answered", || async { asking.is_finished().then_some(()) }) => false,
        };
        replica.kill().await;
        died
    }

    /// Entries of the log about the thing.
    async fn entries(&self, action: &str, target: &str) -> usize {
        let path = format!("/organizations/{}/audit-log?action={action}&target={target}", self.organization);
        self.ada.get(&path).await.expect(200)["entries"].as_array().unwrap().len()
    }

    fn events(&self, kind: &str, domain: &str) -> usize {
        let events = self.receiver.events();
        events.iter().filter(|(_, event)| event["type"] == kind && event["data"]["domainId"] == domain).count()
    }

    /// The log has one entry of it and webhooks were told once, if it `happened`; nothing otherwise.
    async fn is_told_once(&self, happened: bool, action: &str, kind: &str, domain: &str) {
        let times = usize::from(happened);
        eventually("webhooks are told", || async { (self.events(kind, domain) >= times).then_some(()) }).await;
        let told = (self.entries(action, domain).await, self.events(kind, domain));
        assert_eq!(told, (times, times), "{action} of {domain}");
    }

    /// Everything of the list, by id.
    async fn there(&self, noun: &str) -> Vec<Value> {
        let list = self.ada.get(&format!("/{noun}?projectId={}&limit=100", self.project)).await.expect(200);
        list[noun].as_array().unwrap().clone()
    }
}

/// Leases end, calls that were on their way have come or never come, and everything has been settled.
async fn settled(app: &TestApp) {
    app.app.world.clock.advance(chrono::TimeDelta::seconds(90));
    eventually("every change is settled", || async {
        let figures = app.app.store.queue_figures(app.app.world.now()).await.unwrap();
        figures.iter().all(|queue| queue.queue != Queue::Changes).then_some(())
    })
    .await;
}

on_both! {
    async fn a_domain_added_by_a_replica_that_dies_is_told_once(app: TestApp) {
        let stage = Stage::set(&app).await;
        let body = |step: u64| json!({ "projectId": stage.project, "domain": format!("d{step}.test") });
        let (mut deaths, mut repeated) = (0, Vec::new());
        for step in 0..ENOUGH {
            if !stage.asks_one_that_dies(&app, step, Method::POST, "/domains", &body(step)).await {
                break;
            }
            deaths += 1;
            // Every other client comes again elsewhere, at once: nothing has been settled.
            if step % 2 == 1 {
                let again = stage.ada.request(Method::POST, "/domains").header("idempotency-key", format!("k{step}"));
                app.app.world.clock.advance(chrono::TimeDelta::seconds(11));
                repeated.push(text(&stage.ada.send(again.json(&body(step))).await.expect(201)["id"]).to_owned());
            }
        }
        assert!(deaths >= 2, "one call has two ends, but there were {deaths} points to die at");
        settled(&app).await;
        let domains = stage.there("domains").await;
        let made: Vec<&str> = domains.iter().map(|one| text(&one["id"])).filter(|id| !stage.warm.ends_with(id)).collect();
        assert!(repeated.iter().all(|id| made.contains(&&**id)) && made.len() > repeated.len(), "{made:?}");
        for id in &made {
            stage.is_told_once(true, "domain.created", "domain.added", id).await;
        }
        let path = format!("/organizations/{}/audit-log?action=domain.created&limit=100", stage.organization);
        let entries = stage.ada.get(&path).await.expect(200)["entries"].as_array().unwrap().len();
        assert_eq!(entries, domains.len(), "nothing is said of what was not made");
    }

    async fn a_domain_removed_or_looked_at_by_a_replica_that_dies_is_told_once(app: TestApp) {
        let stage = Stage::set(&app).await;
        let (mut asked, mut deaths) = (Vec::new(), 0);
        for step in 0..ENOUGH {
            let body = json!({ "projectId": stage.project, "domain": format!("d{step}.test") });
            let path = format!("/domains/{}", text(&stage.ada.post("/domains", body).await.expect(201)["id"]));
            let died = stage.asks_one_that_dies(&app, step, Method::DELETE, &path, &Value::Null).await;
            asked.push(path.rsplit('/').next().unwrap().to_owned());
            deaths += usize::from(died);
            if !died {
                break;
            }
        }
        assert!(deaths >= 2, "one call has two ends, but there were {deaths} points to die at");
        settled(&app).await;
        let left = stage.there("domains").await;
        for id in &asked {
            let is_gone = !left.iter().any(|one| one["id"] == **id);
            stage.is_told_once(is_gone, "domain.deleted", "domain.removed", id).await;
        }
        assert!(left.len() < asked.len() + 1, "none was removed");

        // The same for looking: only one domain can be found on this machine, so it is made anew each time.
        for step in 0..ENOUGH {
            let body = json!({ "projectId": stage.project, "domain": "localhost" });
            let id = text(&stage.ada.post("/domains", body).await.expect(201)["id"]).to_owned();
            let path = format!("/domains/{id}");
            let died = stage.asks_one_that_dies(&app, step, Method::POST, &format!("{path}/verify"), &json!({})).await;
            settled(&app).await;
            let is_verified = stage.ada.get(&path).await.expect(200)["status"] == "verified";
            stage.is_told_once(is_verified, "domain.checked", "domain.verified", &id).await;
            stage.ada.delete(&path).await.expect(204);
            if !died {
                assert!(is_verified && step >= 2);
                break;
            }
        }
    }

    async fn a_site_changed_by_a_replica_that_dies_is_written_down_once(app: TestApp) {
        let stage = Stage::set(&app).await;
        let mut asked = Vec::new();
        for step in 0..ENOUGH {
            let body = json!({ "projectId": stage.project, "name": format!("s{step}") });
            let id = text(&stage.ada.post("/sites", body).await.expect(201)["id"]).to_owned();
            let change = json!({ "name": "changed", "buildCommand": "make", "framework": null });
            let died = stage.asks_one_that_dies(&app, step, Method::PATCH, &format!("/sites/{id}"), &change).await;
            asked.push(id);
            if !died {
                break;
            }
        }
        assert!(asked.len() > 2);
        settled(&app).await;
        let (sites, mut changed) = (stage.there("sites").await, 0);
        for id in &asked {
            let site = sites.iter().find(|one| one["id"] == **id).unwrap();
            let is_changed = site["name"] == "changed";
            changed += usize::from(is_changed);
            assert_eq!(stage.entries("site.updated", id).await, usize::from(is_changed), "{site}");
        }
        assert!(changed >= 2, "neither one that died after Ghost had done it, nor the last");
    }

    /// Ghost has done it, and the answer does not come: the caller is told that nobody knows, the log soon knows.
    async fn an_answer_that_is_lost_is_found_out(app: TestApp) {
        let stage = Stage::set(&app).await;
        let place = format!("/v1/projects/{}/domains", stage.project.parse::<ogel_api::id::ProjectId>().unwrap().0);
        let faults = app.ghost.faults();
        faults.drop_next_answers(1, Some(Method::POST), &place);
        faults.drop_next_connections(50, None, &place);
        let body = json!({ "projectId": stage.project, "domain": "lost.test" });
        let failed = stage.ada.post("/domains", body).await;
        assert!(failed.status.is_server_error(), "{failed:?}");
        faults.clear();
        settled(&app).await;
        let domains = stage.there("domains").await;
        let id = text(&domains.iter().find(|one| one["domain"] == "lost.test").unwrap()["id"]);
        stage.is_told_once(true, "domain.created", "domain.added", id).await;
    }
}
