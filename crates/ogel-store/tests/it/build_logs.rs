//! The copy of a build's log: every line once and in order, whoever writes.

use crate::support::*;
use ogel_api::organizations::Plan;
use ogel_store::{BuildLog, LogChunk, StoreError};

fn chunk(first_n: i64, last_n: i64) -> LogChunk {
    LogChunk { first_n, last_n, data: vec![0, 1, 255] }
}

on_both! {
    async fn of_many_that_write_the_same_lines_one_does(bench: Bench) {
        let person = bench.person().await;
        let build = bench.deployment_of(&person).await.build_id;
        assert_eq!(bench.store.build_log(build).await.unwrap(), None);
        for (after, next) in [(0, chunk(1, 10)), (10, chunk(11, 15))] {
            let wrote = at_once(10, |_| {
                let (store, next) = (bench.store.clone(), next.clone());
                async move { store.append_build_log(build, after, &next, 100, at(1)).await.unwrap() }
            })
            .await;
            assert_eq!(wrote.into_iter().filter(|wrote| *wrote).count(), 1);
        }
        // Not after what is there: too late, and too early.
        for (after, other) in [(10, chunk(11, 20)), (20, chunk(21, 30))] {
            assert!(!bench.store.append_build_log(build, after, &other, 100, at(2)).await.unwrap());
        }
        let log = BuildLog { last_n: 15, bytes: 200, is_complete: false, cut_after: None };
        assert_eq!(bench.store.build_log(build).await.unwrap(), Some(log));
        assert_eq!(bench.store.build_log_chunks(build, 0, 10).await.unwrap(), [chunk(1, 10), chunk(11, 15)]);
        assert_eq!(bench.store.build_log_chunks(build, 9, 1).await.unwrap(), [chunk(1, 10)]);
        assert_eq!(bench.store.build_log_chunks(build, 10, 10).await.unwrap(), [chunk(11, 15)]);
        bench.store.complete_build_log(build, Some(15), at(3)).await.unwrap();
        assert!(!bench.store.append_build_log(build, 15, &chunk(16, 20), 100, at(4)).await.unwrap());
        let log = BuildLog { is_complete: true, cut_after: Some(15), ..log };
        assert_eq!(bench.store.build_log(build).await.unwrap(), Some(log));
        let nobodys = ogel_api::id::BuildId(id());
        let error = bench.store.append_build_log(nobodys, 0, &chunk(1, 1), 1, at(1)).await.unwrap_err();
        assert!(matches!(error, StoreError::ForeignKey), "{error:?}");
    }

    async fn logs_go_when_their_plan_says_so_and_with_their_deployment(bench: Bench) {
        let (free, team) = (bench.person().await, bench.person().await);
        for (person, plan) in [(&free, "free"), (&team, "team")] {
            bench.raw(&format!("UPDATE organizations SET plan = '{plan}' WHERE slug = '{}'", person.organization.slug)).await;
        }
        let mut builds = Vec::new();
        for person in [&free, &free, &team] {
            let row = bench.deployment_of(person).await;
            bench.store.append_build_log(row.build_id, 0, &chunk(1, 2), 10, at(5)).await.unwrap();
            bench.store.complete_build_log(row.build_id, None, at(5)).await.unwrap();
            builds.push(row);
        }
        let running = bench.deployment_of(&free).await;
        bench.store.append_build_log(running.build_id, 0, &chunk(1, 2), 10, at(5)).await.unwrap();
        assert_eq!(bench.store.delete_old_build_logs(Plan::Free, at(5), 10).await.unwrap(), 0);
        assert_eq!(bench.store.delete_old_build_logs(Plan::Free, at(6), 1).await.unwrap(), 1);
        assert_eq!(bench.store.delete_old_build_logs(Plan::Free, at(6), 10).await.unwrap(), 1);
        for (row, there) in [(&builds[0], false), (&builds[1], false), (&builds[2], true), (&running, true)] {
            assert_eq!(bench.store.build_log(row.build_id).await.unwrap().is_some(), there);
            assert_eq!(bench.store.build_log_chunks(row.build_id, 0, 10).await.unwrap().is_empty(), !there);
        }
        assert!(bench.store.delete_deployment(&team.viewer(), builds[2].id).await.unwrap());
        assert_eq!(bench.store.build_log(builds[2].build_id).await.unwrap(), None);
    }
}
