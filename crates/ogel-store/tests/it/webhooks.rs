//! What happens is written for those who listen, and for nobody else; it is told once, whoever comes for it.

use crate::support::*;
use ogel_api::{
    audit::AuditAction,
    deployments::DeploymentStatus,
    id::{EventId, OrganizationId, WebhookDeliveryId, WebhookId},
    webhooks::{WebhookDeliveryStatus, WebhookEventType},
};
use ogel_store::{
    ApiKey, Attempt, Attempted, AuditFilter, NewDelivery, OutboxEvent, Progress, Project, Store, Verdict, Webhook,
    WebhookChange,
};
use serde_json::json;

fn webhook(person: &Person) -> Webhook {
    Webhook {
        id: WebhookId(id()),
        organization_id: person.organization.id,
        project_id: None,
        url: "https://example.com/".to_owned(),
        description: String::new(),
        events: None,
        secret: "sealed".to_owned(),
        previous_secret: None,
        previous_secret_expires_at: None,
        is_enabled: true,
        disabled_reason: None,
        failing_since: None,
        created_at: at(0),
        updated_at: at(0),
        row_version: 1,
    }
}

fn delivery(webhook: WebhookId, kind: WebhookEventType, payload: &str) -> NewDelivery {
    let (id, event_id) = (WebhookDeliveryId(id()), EventId(id()));
    let payload = payload.to_owned();
    NewDelivery { id, webhook_id: webhook, event_id, kind, payload, redelivery_of: None, created_at: at(1) }
}

/// Makes deliveries of everything; says of what for whom.
async fn told(store: &Store) -> Vec<(WebhookEventType, WebhookId)> {
    let told = std::sync::Mutex::new(Vec::new());
    let make = |event: &OutboxEvent, webhook: &Webhook| {
        told.lock().unwrap().push((event.kind, webhook.id));
        delivery(webhook.id, event.kind, &event.data)
    };
    store.dispatch_events(1000, make).await.unwrap();
    told.into_inner().unwrap()
}

/// Somebody's key for a project or an organization.
async fn key_for(
    bench: &Bench,
    whose: &Person,
    project: Option<&Project>,
    organization: Option<OrganizationId>,
) -> ApiKey {
    let key = ApiKey { project_id: project.map(|one| one.id), organization_id: organization, ..api_key(&whose.user) };
    bench.store.create_api_key(&due(0), &key).await.unwrap();
    key
}

/// The keys whose end is in the organization's log.
async fn ended(bench: &Bench, of: &Person) -> Vec<String> {
    let filter = AuditFilter { action: Some(AuditAction::ApiKeyRevoked), ..AuditFilter::default() };
    let log = bench.store.audit_log(&of.viewer(), of.organization.id, &filter, &first(20)).await.unwrap();
    let mut ended: Vec<_> = log.rows.into_iter().map(|entry| entry.target).collect();
    ended.sort();
    ended
}

/// As the log names them.
fn named(keys: &[&ApiKey]) -> Vec<String> {
    let mut names: Vec<_> = keys.iter().map(|key| key.id.to_string()).collect();
    names.sort();
    names
}

on_both! {
    async fn a_deployments_way_is_written_only_where_somebody_listens(bench: Bench) {
        use WebhookEventType as Kind;
        let person = bench.person().await;
        let unheard = bench.deployment_of(&person).await;
        bench.store.record_progress(unheard.id, &Progress::to(DeploymentStatus::Building), at(1)).await.unwrap();
        let (all, ends) = (webhook(&person), Webhook { events: Some(vec![Kind::BuildCompleted]), ..webhook(&person) });
        let elsewhere = bench.person().await;
        for one in [&all, &ends, &webhook(&elsewhere)] {
            bench.store.create_webhook(&due(0), one, 20).await.unwrap().unwrap();
        }
        assert_eq!(told(&bench.store).await, []);
        let row = bench.deployment_of(&person).await;
        bench.store.record_progress(row.id, &Progress::to(DeploymentStatus::Building), at(1)).await.unwrap();
        // Said twice, told once.
        bench.store.record_progress(row.id, &Progress::to(DeploymentStatus::Building), at(1)).await.unwrap();
        bench.store.record_progress(row.id, &Progress::to(DeploymentStatus::Failed), at(2)).await.unwrap();
        let told = told(&bench.store).await;
        let mut kinds: Vec<_> = told.iter().filter(|(_, id)| *id == all.id).map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, [Kind::DeploymentCreated, Kind::DeploymentBuilding, Kind::BuildStarted, Kind::DeploymentFailed, Kind::BuildCompleted]);
        kinds = told.iter().filter(|(_, id)| *id == ends.id).map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, [Kind::BuildCompleted]);
        assert_eq!(told.len(), 6);
        let deliveries = bench.store.webhook_deliveries(ends.id, &first(10)).await.unwrap().rows;
        let data: serde_json::Value = serde_json::from_str(&deliveries[0].payload).unwrap();
        assert_eq!((&data["deploymentId"], &data["status"]), (&json!(row.id), &json!("failed")));
    }

    async fn a_webhook_that_is_switched_off_hides_no_other(bench: Bench) {
        let person = bench.person().await;
        let mut both = [webhook(&person), webhook(&person)];
        both.sort_by_key(|one| one.id.0);
        for one in &both {
            bench.store.create_webhook(&due(0), one, 20).await.unwrap().unwrap();
        }
        for (n, off) in both.iter().enumerate() {
            for one in &both {
                let change = WebhookChange { enabled: Some(one.id != off.id), ..WebhookChange::default() };
                bench.store.update_webhook(&due(1), &person.viewer(), one.id, &change, &any()).await.unwrap().unwrap();
            }
            let name = format!("{n}");
            let change = (Some(name.as_str()), None);
            bench.store.update_project(&due(2), &person.viewer(), person.project.id, change, &any()).await.unwrap().unwrap();
            let told: Vec<_> = told(&bench.store).await.into_iter().map(|(_, id)| id).collect();
            assert_eq!(told, [both[1 - n].id]);
        }
    }

    async fn of_ten_that_come_for_events_each_event_is_one_ones(bench: Bench) {
        let person = bench.person().await;
        let all = webhook(&person);
        bench.store.create_webhook(&due(0), &all, 20).await.unwrap().unwrap();
        for n in 0..50 {
            let (name, anything) = (format!("{n}"), any());
            let change = (Some(name.as_str()), None);
            bench.store.update_project(&due(n), &person.viewer(), person.project.id, change, &anything).await.unwrap().unwrap();
        }
        at_once(10, |_| {
            let store = bench.store.clone();
            // Two that take the same rows in another order may be told to try again, as a replica does.
            async move { while store.dispatch_events(7, |event, webhook| delivery(webhook.id, event.kind, &event.data)).await.map_or(true, |count| count > 0) {} }
        })
        .await;
        let rows = bench.store.webhook_deliveries(all.id, &first(100)).await.unwrap().rows;
        let mut numbers: Vec<_> = rows.iter().map(|row| serde_json::from_str::<serde_json::Value>(&row.payload).unwrap()["after"]["name"].as_str().unwrap().parse::<i64>().unwrap()).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..50).collect::<Vec<_>>());
    }

    async fn switching_off_ends_what_waits_and_old_deliveries_go(bench: Bench) {
        let person = bench.person().await;
        let one = webhook(&person);
        bench.store.create_webhook(&due(0), &one, 20).await.unwrap().unwrap();
        let (waiting, done) = (delivery(one.id, WebhookEventType::WebhookTest, "{}"), delivery(one.id, WebhookEventType::WebhookTest, "{}"));
        for new in [&waiting, &done] {
            bench.store.create_webhook_delivery(new).await.unwrap();
        }
        let attempt = Attempt { at: at(2), duration_ms: 3, status: Some(200), error: None, response: Some("ok".to_owned()) };
        let attempted = Attempted { attempts: vec![attempt.clone()], verdict: Verdict::Succeeded, at: at(2) };
        bench.store.record_webhook_attempt(&one, done.id, &attempted).await.unwrap();
        let row = bench.store.webhook_delivery(one.id, done.id).await.unwrap().unwrap();
        assert_eq!((row.attempts, row.status, row.completed_at), (vec![attempt], WebhookDeliveryStatus::Succeeded, Some(at(2))));
        assert_eq!(bench.store.next_webhook_attempt(one.id).await.unwrap(), Some(at(1)));
        let off = WebhookChange { enabled: Some(false), ..WebhookChange::default() };
        bench.store.update_webhook(&due(3), &person.viewer(), one.id, &off, &any()).await.unwrap().unwrap();
        assert_eq!(bench.store.next_webhook_attempt(one.id).await.unwrap(), None);
        let row = bench.store.webhook_delivery(one.id, waiting.id).await.unwrap().unwrap();
        assert_eq!((row.status, row.completed_at), (WebhookDeliveryStatus::Failed, Some(at(3))));
        // An answer that comes late changes nothing any more.
        bench.store.record_webhook_attempt(&one, waiting.id, &attempted).await.unwrap();
        assert_eq!(bench.store.webhook_delivery(one.id, waiting.id).await.unwrap().unwrap().status, WebhookDeliveryStatus::Failed);
        assert_eq!(bench.store.delete_old_webhook_deliveries(at(2), 10).await.unwrap(), 0);
        assert_eq!(bench.store.delete_old_webhook_deliveries(at(3), 10).await.unwrap(), 1);
        assert_eq!(bench.store.delete_old_webhook_deliveries(at(4), 10).await.unwrap(), 1);
    }

    async fn a_key_that_ends_with_something_else_is_written_down_and_told(bench: Bench) {
        let (owner, guest) = (bench.person().await, bench.person().await);
        let (home, place) = (owner.organization.id, Some(owner.organization.id));
        let doomed = bench.project_in(&owner.organization).await;
        bench.store.create_webhook(&due(0), &webhook(&owner), 20).await.unwrap().unwrap();
        bench.join(&owner, &guest, "developer").await;
        let ends = async || told(&bench.store).await.iter().filter(|(kind, _)| *kind == WebhookEventType::ApiKeyDeleted).count();

        // With the membership: those for the organization and for its projects, and no other.
        let with_membership = [
            key_for(&bench, &guest, None, place).await,
            key_for(&bench, &guest, Some(&owner.project), place).await,
        ];
        let own = key_for(&bench, &guest, None, None).await;
        ends().await;
        bench.store.remove_member(&act(&owner.user, 2), &owner.viewer(), home, guest.user.id, &any(), |_, _| true).await.unwrap().unwrap();
        let mut expected = named(&with_membership.iter().collect::<Vec<_>>());
        assert_eq!((ended(&bench, &owner).await, ends().await), (expected.clone(), 2));
        assert!(bench.store.api_key(&guest.viewer(), own.id).await.unwrap().is_some());

        // With the project.
        let with_project = key_for(&bench, &owner, Some(&doomed), None).await;
        bench.store.delete_project(&due(3), &owner.viewer(), doomed.id, &any()).await.unwrap().unwrap();
        bench.store.begin_purge(doomed.id, at(10), at(11)).await.unwrap();
        ends().await;
        bench.store.purge_project(&due(12), doomed.id).await.unwrap().unwrap();
        expected.extend(named(&[&with_project]));
        expected.sort();
        assert_eq!((ended(&bench, &owner).await, ends().await), (expected.clone(), 1));

        // With the password of whoever signed up with somebody else's address.
        bench.join(&owner, &guest, "developer").await;
        let linked = key_for(&bench, &guest, None, place).await;
        ends().await;
        bench.store.link_studio_user(&due(13), "guest-at-studio", guest.user.id).await.unwrap();
        expected.extend(named(&[&linked]));
        expected.sort();
        assert_eq!((ended(&bench, &owner).await, ends().await), (expected.clone(), 1));

        // With the account.
        let with_account = key_for(&bench, &guest, None, place).await;
        ends().await;
        bench.store.delete_account(&act(&guest.user, 14), guest.user.id, &[hash()], at(99)).await.unwrap().unwrap();
        expected.extend(named(&[&with_account]));
        expected.sort();
        assert_eq!((ended(&bench, &owner).await, ends().await), (expected, 1));
    }
}
