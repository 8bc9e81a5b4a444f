//! What the store refuses or bounds by itself, whatever its caller forgot.

use crate::support::*;
use chrono::TimeDelta;
use ogel_api::{
    deployments::DeploymentStatus,
    id::{ApiKeyId, ProjectId},
};
use ogel_store::{Cap, Caps, DeploymentFilter, KeyUse, NewDeployment, Progress, StoreError};

on_both! {
    async fn nobody_deploys_into_a_project_of_others(bench: Bench) {
        let (person, stranger) = (bench.person().await, bench.person().await);
        for new in [
            NewDeployment { created_by: stranger.user.id, ..deployment(&person) },
            NewDeployment { project_id: ProjectId(id()), ..deployment(&person) },
        ] {
            let error = bench.store.create_deployment(&new).await.unwrap_err();
            assert!(matches!(error, StoreError::ForeignKey), "{error:?}");
        }
    }

    async fn nobody_gets_past_a_limit_by_being_quick(bench: Bench) {
        let person = bench.person().await;
        let capped = |caps| NewDeployment { caps, ..deployment(&person) };
        let caps = Caps { unfinished: Some(3), ..Caps::default() };
        let tries = (0..12).map(|_| {
            let (store, new) = (bench.store.clone(), capped(caps));
            tokio::spawn(async move { store.create_deployment(&new).await })
        });
        let mut made = Vec::new();
        for task in tries.collect::<Vec<_>>() {
            match task.await.unwrap() {
                Ok(row) => made.push(row),
                Err(error) => assert!(matches!(error, StoreError::Capped(Cap::Unfinished)), "{error:?}"),
            }
        }
        assert_eq!(made.len(), 3);
        // One that ends makes room for one.
        bench.store.record_progress(made[0].id, &Progress::to(DeploymentStatus::Failed), at(1)).await.unwrap().unwrap();
        bench.store.create_deployment(&capped(caps)).await.unwrap();
        bench.store.create_deployment(&capped(caps)).await.unwrap_err();
        // Four were made today and this month, whatever became of them.
        for (caps, cap) in [
            (Caps { per_day: Some(4), ..Caps::default() }, Cap::PerDay),
            (Caps { per_month: Some(4), ..Caps::default() }, Cap::PerMonth),
            (Caps { build_seconds_per_month: Some(0), ..Caps::default() }, Cap::BuildSeconds),
        ] {
            let error = bench.store.create_deployment(&capped(caps)).await.unwrap_err();
            assert!(matches!(error, StoreError::Capped(found) if found == cap), "{error:?}");
        }
        // A day later the day's limit says nothing any more, the next month nothing the month's.
        let later = at(86_400);
        let tomorrow = NewDeployment { created_at: later, ..capped(Caps { per_day: Some(1), ..Caps::default() }) };
        bench.store.create_deployment(&tomorrow).await.unwrap();
        let next_month = capped(Caps { per_month: Some(1), month: at(172_800), ..Caps::default() });
        bench.store.create_deployment(&next_month).await.unwrap();
        // Another organization is not asked.
        let other = bench.person().await;
        let caps = Caps { unfinished: Some(1), ..Caps::default() };
        bench.store.create_deployment(&NewDeployment { caps, ..deployment(&other) }).await.unwrap();
    }

    async fn the_same_lengths_are_refused_on_both(bench: Bench) {
        let person = bench.person().await;
        let fits = NewDeployment { branch: "ü".repeat(255), ..deployment(&person) };
        bench.store.create_deployment(&fits).await.unwrap();
        for new in [
            NewDeployment { branch: "b".repeat(256), ..deployment(&person) },
            NewDeployment { commit_sha: Some("a".repeat(41)), ..deployment(&person) },
        ] {
            let error = bench.store.create_deployment(&new).await.unwrap_err();
            assert!(matches!(error, StoreError::Other(_)), "{error:?}");
        }
    }

    async fn whatever_ends_gets_the_time_it_ended_and_nothing_else_does(bench: Bench) {
        let person = bench.person().await;
        let made = bench.deployment_of(&person).await;
        let early = Progress { completed_at: Some(at(1)), ..Progress::to(DeploymentStatus::Building) };
        let row = bench.store.record_progress(made.id, &early, at(1)).await.unwrap().unwrap();
        assert_eq!(row.completed_at, None);
        let end = Progress::to(DeploymentStatus::Failed);
        let row = bench.store.record_progress(made.id, &end, at(2)).await.unwrap().unwrap();
        assert_eq!(row.completed_at, Some(at(2)));
    }

    async fn many_keys_are_touched_at_once_and_never_turned_back(bench: Bench) {
        let person = bench.person().await;
        let mut uses = Vec::new();
        for second in 0..300 {
            let key = api_key(&person.user);
            bench.store.create_api_key(&due(0), &key).await.unwrap();
            uses.push(KeyUse { id: key.id, at: at(1000 - second), ip: IP });
        }
        uses.push(KeyUse { id: ApiKeyId(id()), at: at(1), ip: IP });
        bench.store.touch_api_keys(&uses).await.unwrap();
        // Replicas report the same keys in any order, at the same time.
        let outcomes = at_once(8, |turn| {
            let store = bench.store.clone();
            let mut older: Vec<_> = uses.iter().map(|used| KeyUse { at: used.at - TimeDelta::seconds(1), ..*used }).collect();
            older.rotate_left(turn * 30);
            async move { store.touch_api_keys(&older).await }
        })
        .await;
        for outcome in outcomes {
            outcome.unwrap();
        }
        for used in &uses[..300] {
            let found = bench.store.api_key(&eyes(&person.user), used.id).await.unwrap().unwrap();
            assert_eq!((found.last_used_at, found.last_used_ip), (Some(used.at), Some(IP)));
        }
        bench.store.touch_api_keys(&[]).await.unwrap();
    }

    async fn a_page_has_at_least_one_row_and_at_most_a_thousand(bench: Bench) {
        let person = bench.person().await;
        bench.deployment_of(&person).await;
        bench.deployment_of(&person).await;
        let (eyes, every) = (person.viewer(), DeploymentFilter::default());
        let none = bench.store.deployments(&eyes, &every, &first(0)).await.unwrap();
        assert_eq!((none.rows.len(), none.next.is_some()), (1, true));
        let all = bench.store.deployments(&eyes, &every, &first(u32::MAX)).await.unwrap();
        assert_eq!((all.rows.len(), all.next), (2, None));
    }
}
