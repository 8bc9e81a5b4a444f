//! What happened to a deployment: counted, in order, and never apart from the change it records.

use crate::support::*;
use ogel_api::{
    deployments::{DeploymentEventType as Kind, DeploymentStatus},
    id::{DeploymentId, OperationId},
};
use ogel_store::{DeploymentEvent, NewDeployment, Progress};

/// All of them, oldest first.
pub(crate) async fn history(bench: &Bench, person: &Person, id: DeploymentId) -> Vec<DeploymentEvent> {
    let mut page = bench.store.deployment_events(&person.viewer(), id, &first(100)).await.unwrap().rows;
    page.reverse();
    let numbers: Vec<_> = page.iter().map(|event| event.n).collect();
    assert_eq!(numbers, (1..=i64::try_from(page.len()).unwrap()).collect::<Vec<_>>());
    page
}

pub(crate) fn kinds(events: &[DeploymentEvent]) -> Vec<Kind> {
    events.iter().map(|event| event.kind).collect()
}

on_both! {
    async fn each_step_is_written_once_with_who_took_it(bench: Bench) {
        let person = bench.person().await;
        let made = bench.deployment_of(&person).await;
        let building = Progress::to(DeploymentStatus::Building);
        bench.store.record_progress(made.id, &building, at(1)).await.unwrap().unwrap();
        bench.store.record_progress(made.id, &building, at(2)).await.unwrap().unwrap();
        bench.store.request_cancel(&act(&person.user, 3), made.id, OperationId(id())).await.unwrap().unwrap();
        bench.store.request_cancel(&act(&person.user, 4), made.id, OperationId(id())).await.unwrap().unwrap();
        let failed = Progress { error: Some("exit 2".to_owned()), ..Progress::to(DeploymentStatus::Failed) };
        bench.store.record_progress(made.id, &failed, at(5)).await.unwrap().unwrap();
        assert_eq!(bench.store.record_progress(made.id, &failed, at(6)).await.unwrap(), None);
        assert_eq!(bench.store.request_cancel(&act(&person.user, 7), made.id, OperationId(id())).await.unwrap(), None);
        let events = history(&bench, &person, made.id).await;
        assert_eq!(kinds(&events), [Kind::Created, Kind::Building, Kind::CancelRequested, Kind::Failed]);
        let times: Vec<_> = events.iter().map(|event| event.created_at).collect();
        assert_eq!(times, [at(0), at(1), at(3), at(5)]);
        let actors: Vec<_> = events.iter().map(|event| event.actor).collect();
        assert_eq!(actors, [Some(person.user.id), None, Some(person.user.id), None]);
        assert_eq!(events[3].reason.as_deref(), Some("exit 2"));
    }

    async fn a_redeployment_and_what_it_repeats_name_each_other(bench: Bench) {
        let person = bench.person().await;
        let old = bench.deployment_of(&person).await;
        let again = NewDeployment { redeploy_of: Some(old.id), created_at: at(9), ..deployment(&person) };
        let new = bench.store.create_deployment(&again).await.unwrap();
        let events = history(&bench, &person, old.id).await;
        assert_eq!(kinds(&events), [Kind::Created, Kind::Redeployed]);
        assert_eq!((events[1].related_id, events[1].actor), (Some(new.id), Some(person.user.id)));
        assert_eq!(history(&bench, &person, new.id).await[0].related_id, Some(old.id));
    }

    async fn strangers_see_no_events_and_pages_follow_each_other(bench: Bench) {
        let (person, stranger) = (bench.person().await, bench.person().await);
        let made = bench.deployment_of(&person).await;
        for (turn, status) in [DeploymentStatus::Building, DeploymentStatus::Success].into_iter().enumerate() {
            let at = at(i64::try_from(turn).unwrap());
            bench.store.record_progress(made.id, &Progress::to(status), at).await.unwrap().unwrap();
        }
        assert!(bench.store.deployment_events(&stranger.viewer(), made.id, &first(9)).await.unwrap().rows.is_empty());
        let mut request = first(2);
        let page = bench.store.deployment_events(&person.viewer(), made.id, &request).await.unwrap();
        assert_eq!(kinds(&page.rows), [Kind::Success, Kind::Building]);
        request.after = page.next;
        let rest = bench.store.deployment_events(&person.viewer(), made.id, &request).await.unwrap();
        assert_eq!((kinds(&rest.rows), rest.next), (vec![Kind::Created], None));
    }

    async fn steps_taken_at_once_are_counted_without_holes(bench: Bench) {
        let person = bench.person().await;
        let old = bench.deployment_of(&person).await;
        at_once(8, |_| {
            let store = bench.store.clone();
            let again = NewDeployment { redeploy_of: Some(old.id), ..deployment(&person) };
            async move { store.create_deployment(&again).await.unwrap() }
        })
        .await;
        assert_eq!(history(&bench, &person, old.id).await.len(), 9);
        assert!(bench.store.delete_deployment(&person.viewer(), old.id).await.unwrap());
    }
}
