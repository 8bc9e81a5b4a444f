//! What is in production: one deployment of a project at most, whoever promotes when.

use crate::{
    events::{history, kinds},
    support::*,
};
use ogel_api::deployments::{DeploymentEventType as Kind, DeploymentStatus};
use ogel_store::{Deployment, Progress, Promotion};

async fn succeeded(bench: &Bench, person: &Person, active: bool) -> Deployment {
    let made = bench.deployment_of(person).await;
    let end = Progress { active, ..Progress::to(DeploymentStatus::Success) };
    bench.store.record_progress(made.id, &end, at(1)).await.unwrap().unwrap()
}

fn promotion(person: &Person, row: &Deployment, kind: Kind) -> Promotion<'static> {
    let actor = Some(person.user.id);
    Promotion { deployment: row.id, project: row.project_id, kind, actor, reason: Some("why"), at: at(5), act: None }
}

on_both! {
    async fn the_first_success_is_in_production_and_a_later_one_replaces_it(bench: Bench) {
        let person = bench.person().await;
        let first = succeeded(&bench, &person, true).await;
        assert_eq!((first.is_active, first.promoted_at), (true, Some(at(1))));
        let second = succeeded(&bench, &person, false).await;
        assert_eq!((second.is_active, second.promoted_at), (false, None));
        let row = bench.store.promote(&promotion(&person, &second, Kind::Promoted)).await.unwrap().unwrap();
        assert_eq!((row.is_active, row.promoted_at), (true, Some(at(5))));
        // Once more changes nothing.
        bench.store.promote(&promotion(&person, &second, Kind::Promoted)).await.unwrap().unwrap();
        let (first, _) = bench.store.deployment(&person.viewer(), first.id).await.unwrap().unwrap();
        assert_eq!((first.is_active, first.promoted_at), (false, Some(at(1))));
        assert_eq!(bench.store.active_deployment(person.project.id).await.unwrap().unwrap().id, second.id);
        let events = history(&bench, &person, first.id).await;
        assert_eq!(kinds(&events), [Kind::Created, Kind::Success, Kind::Promoted, Kind::Replaced]);
        assert_eq!((events[2].actor, events[3].related_id), (None, Some(second.id)));
        let events = history(&bench, &person, second.id).await;
        assert_eq!(kinds(&events), [Kind::Created, Kind::Success, Kind::Promoted]);
        assert_eq!((events[2].actor, events[2].reason.as_deref()), (Some(person.user.id), Some("why")));
    }

    async fn what_failed_or_never_was_there_is_not_put_into_production(bench: Bench) {
        let person = bench.person().await;
        let there = succeeded(&bench, &person, true).await;
        let pending = bench.deployment_of(&person).await;
        assert_eq!(bench.store.promote(&promotion(&person, &pending, Kind::Promoted)).await.unwrap(), None);
        let fresh = succeeded(&bench, &person, false).await;
        assert_eq!(bench.store.promote(&promotion(&person, &fresh, Kind::RolledBack)).await.unwrap(), None);
        assert_eq!(bench.store.active_deployment(person.project.id).await.unwrap().unwrap().id, there.id);
        bench.store.promote(&promotion(&person, &fresh, Kind::Promoted)).await.unwrap().unwrap();
        bench.store.promote(&promotion(&person, &there, Kind::RolledBack)).await.unwrap().unwrap();
        assert_eq!(history(&bench, &person, there.id).await.last().unwrap().kind, Kind::RolledBack);
        assert_eq!(history(&bench, &person, fresh.id).await.last().unwrap().kind, Kind::Replaced);
    }

    async fn of_many_who_promote_at_once_the_last_wins_and_each_is_written_down(bench: Bench) {
        let person = bench.person().await;
        let mut rows = Vec::new();
        for _ in 0..6 {
            rows.push(succeeded(&bench, &person, false).await);
        }
        at_once(6, |turn| {
            let (store, promotion) = (bench.store.clone(), promotion(&person, &rows[turn], Kind::Promoted));
            async move { store.promote(&promotion).await.unwrap().unwrap() }
        })
        .await;
        let (mut promoted, mut replaced) = (0, 0);
        for row in &rows {
            let kinds = kinds(&history(&bench, &person, row.id).await);
            promoted += kinds.iter().filter(|kind| **kind == Kind::Promoted).count();
            replaced += kinds.iter().filter(|kind| **kind == Kind::Replaced).count();
        }
        assert_eq!((promoted, replaced), (6, 5));
    }

    async fn deleting_what_is_in_production_leaves_nothing_there(bench: Bench) {
        let person = bench.person().await;
        let there = succeeded(&bench, &person, true).await;
        assert!(bench.store.delete_deployment(&person.viewer(), there.id).await.unwrap());
        assert_eq!(bench.store.active_deployment(person.project.id).await.unwrap(), None);
    }
}
