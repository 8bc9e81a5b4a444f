//! Deployments: who sees them, which of them, and the only ways they change.

use crate::support::*;
use ogel_api::{
    deployments::DeploymentStatus,
    id::{BuildId, DeploymentId, OperationId, ProjectId},
};
use ogel_store::{Deployment, DeploymentFilter, NewDeployment, Progress, Store, StoreError, Viewer};
use std::collections::HashSet;

const ENDS: [DeploymentStatus; 3] = [DeploymentStatus::Success, DeploymentStatus::Failed, DeploymentStatus::Canceled];

/// The ids of all that `eyes` see through `filter`.
async fn seen(store: &Store, eyes: &Viewer, filter: DeploymentFilter) -> HashSet<DeploymentId> {
    let page = store.deployments(eyes, &filter, &first(100)).await.unwrap();
    assert!(page.next.is_none());
    page.rows.into_iter().map(|row| row.id).collect()
}

on_both! {
    async fn a_new_deployment_is_pending_and_reads_back_as_it_was_asked_for(bench: Bench) {
        let person = bench.person().await;
        let new = NewDeployment {
            commit_sha: Some("a".repeat(40)),
            framework: Some("astro".to_owned()),
            root_directory: Some("web".to_owned()),
            install_command: Some("npm ci".to_owned()),
            build_command: Some("npm run build".to_owned()),
            output_directory: Some("dist".to_owned()),
            env: Some("sealed".to_owned()),
            tags: vec!["a \"tag\"".to_owned(), "ünïcode".to_owned()],
            branch: "feature/ünïcode".to_owned(),
            created_at: at(3),
            ..deployment(&person)
        };
        let made = bench.store.create_deployment(&new).await.unwrap();
        let expected = Deployment {
            id: new.id,
            project_id: new.project_id,
            ogel_deployment_id: new.id.0.to_string(),
            build_id: new.build_id,
            ogel_build_id: None,
            repo_url: new.repo_url,
            branch: new.branch,
            commit_sha: new.commit_sha,
            commit_message: None,
            framework: new.framework.clone(),
            asked_framework: new.framework,
            root_directory: new.root_directory,
            install_command: new.install_command,
            build_command: new.build_command,
            output_directory: new.output_directory,
            env: new.env,
            tags: new.tags,
            status: DeploymentStatus::Pending,
            error: None,
            preview_url: None,
            is_active: false,
            promoted_at: None,
            created_by: Some(person.user.id),
            created_at: at(3),
            updated_at: at(3),
            submitted_at: None,
            cancel_requested_at: None,
            completed_at: None,
        };
        assert_eq!(made, expected);
        let eyes = person.viewer();
        assert_eq!(bench.store.deployment(&eyes, made.id).await.unwrap().unwrap().0, expected);
        assert_eq!(bench.store.deployment_by_build(&eyes, made.build_id).await.unwrap().unwrap().0, expected);
        assert_eq!(bench.store.deployment_for_follower(made.id).await.unwrap(), Some(expected));
    }

    async fn a_stranger_sees_and_changes_no_deployment(bench: Bench) {
        let (person, stranger) = (bench.person().await, bench.person().await);
        let made = bench.deployment_of(&person).await;
        for eyes in [
            stranger.viewer(),
            stranger.bound_to_organization(person.organization.id),
            stranger.bound_to_project(person.project.id),
        ] {
            assert_eq!(bench.store.deployment(&eyes, made.id).await.unwrap(), None);
            assert_eq!(bench.store.deployment_by_build(&eyes, made.build_id).await.unwrap(), None);
            for filter in [
                DeploymentFilter::default(),
                DeploymentFilter { project: Some(person.project.id), ..DeploymentFilter::default() },
            ] {
                assert!(seen(&bench.store, &eyes, filter).await.is_empty());
            }
            assert!(!bench.store.delete_deployment(&eyes, made.id).await.unwrap());
        }
        assert_eq!(bench.store.deployment(&person.viewer(), made.id).await.unwrap().unwrap().0, made);
    }

    async fn a_bound_viewer_sees_only_the_deployments_of_what_it_is_bound_to(bench: Bench) {
        let person = bench.person().await;
        let sibling = bench.project_in(&person.organization).await;
        let elsewhere = bench.organization_of(&person).await;
        let far = bench.project_in(&elsewhere).await;
        let near = bench.deployment_of(&person).await;
        let mut hidden = Vec::new();
        for project in [&sibling, &far] {
            let new = NewDeployment { project_id: project.id, ..deployment(&person) };
            hidden.push(bench.store.create_deployment(&new).await.unwrap());
        }
        let narrow = person.bound_to_project(person.project.id);
        let wide = person.bound_to_organization(person.organization.id);
        let all = DeploymentFilter::default;
        assert_eq!(seen(&bench.store, &narrow, all()).await, HashSet::from([near.id]));
        assert_eq!(seen(&bench.store, &wide, all()).await, HashSet::from([near.id, hidden[0].id]));
        assert_eq!(seen(&bench.store, &person.viewer(), all()).await.len(), 3);
        let filter = DeploymentFilter { project: Some(far.id), ..all() };
        assert!(seen(&bench.store, &wide, filter).await.is_empty());

        for (eyes, row) in [(&narrow, &hidden[0]), (&narrow, &hidden[1]), (&wide, &hidden[1])] {
            assert_eq!(bench.store.deployment(eyes, row.id).await.unwrap(), None);
            assert_eq!(bench.store.deployment_by_build(eyes, row.build_id).await.unwrap(), None);
            assert!(!bench.store.delete_deployment(eyes, row.id).await.unwrap());
        }
        assert!(bench.store.delete_deployment(&wide, hidden[0].id).await.unwrap());
        assert!(bench.store.delete_deployment(&narrow, near.id).await.unwrap());
        assert!(!bench.store.delete_deployment(&narrow, near.id).await.unwrap());
    }

    async fn a_list_is_filtered_by_project_status_and_branch(bench: Bench) {
        let person = bench.person().await;
        let sibling = bench.project_in(&person.organization).await;
        let mut rows = Vec::new();
        for project in [person.project.id, sibling.id] {
            for branch in ["main", "next"] {
                for status in [DeploymentStatus::Pending, DeploymentStatus::Building, DeploymentStatus::Failed] {
                    let new = NewDeployment { project_id: project, branch: branch.to_owned(), ..deployment(&person) };
                    let row = bench.store.create_deployment(&new).await.unwrap();
                    bench.store.record_progress(row.id, &Progress::to(status), at(1)).await.unwrap().unwrap();
                    rows.push((row.id, project, branch, status));
                }
            }
        }
        let projects = [None, Some(person.project.id), Some(sibling.id), Some(ProjectId(id()))];
        let statuses = [None, Some(DeploymentStatus::Pending), Some(DeploymentStatus::Failed), Some(DeploymentStatus::Success)];
        for project in projects {
            for status in statuses {
                for branch in [None, Some("main"), Some("Main")] {
                    let expected: HashSet<_> = rows
                        .iter()
                        .filter(|row| project.is_none_or(|wanted| row.1 == wanted))
                        .filter(|row| branch.is_none_or(|wanted| row.2 == wanted))
                        .filter(|row| status.is_none_or(|wanted| row.3 == wanted))
                        .map(|row| row.0)
                        .collect();
                    let filter = DeploymentFilter { project, status, branch: branch.map(str::to_owned) };
                    assert_eq!(seen(&bench.store, &person.viewer(), filter).await, expected);
                }
            }
        }
    }

    async fn pages_of_deployments_are_complete_and_repeat_nothing(bench: Bench) {
        let (person, other) = (bench.person().await, bench.person().await);
        let mut expected = Vec::new();
        for _ in 0..45 {
            expected.push(bench.deployment_of(&person).await.id.0);
        }
        bench.deployment_of(&other).await;
        let list = |request| {
            let (store, eyes) = (bench.store.clone(), person.viewer());
            async move { store.deployments(&eyes, &DeploymentFilter::default(), &request).await }
        };
        for limit in [10, 15, 45] {
            assert_pages(&expected, limit, |row: &Deployment| row.id.0, list).await;
        }
    }

    async fn the_newest_comes_first_to_the_microsecond(bench: Bench) {
        let person = bench.person().await;
        // Where times are text, a whole second, milliseconds and microseconds are written in different lengths.
        let micros = [1_000_000, 1_000_001, 1_001_000, 999_999, 1_500_000, 2_000_000];
        let mut rows = Vec::new();
        for after in micros {
            let created_at = at(0) + chrono::TimeDelta::microseconds(after);
            let new = NewDeployment { created_at, ..deployment(&person) };
            rows.push((after, bench.store.create_deployment(&new).await.unwrap()));
        }
        rows.sort_by_key(|(after, _)| std::cmp::Reverse(*after));
        let mut request = first(1);
        for (_, expected) in &rows {
            let page = bench.store.deployments(&person.viewer(), &DeploymentFilter::default(), &request).await.unwrap();
            assert_eq!(page.rows, std::slice::from_ref(expected));
            request.after = page.next;
        }
        assert_eq!(request.after, None);
    }

    async fn deployments_made_while_paging_neither_repeat_nor_hide_others(bench: Bench) {
        let person = bench.person().await;
        let (older, newer) = (bench.deployment_of(&person).await, bench.deployment_of(&person).await);
        let all = DeploymentFilter::default();
        let page = bench.store.deployments(&person.viewer(), &all, &first(1)).await.unwrap();
        assert_eq!(page.rows, [newer]);
        bench.store.create_deployment(&NewDeployment { created_at: at(1), ..deployment(&person) }).await.unwrap();
        let request = ogel_store::PageRequest { limit: 1, after: page.next };
        let page = bench.store.deployments(&person.viewer(), &all, &request).await.unwrap();
        assert_eq!(page.rows, [older]);
        assert!(page.next.is_none());
    }

    async fn progress_keeps_what_it_says_nothing_about(bench: Bench) {
        let person = bench.person().await;
        let made = bench.deployment_of(&person).await;
        let told = Progress {
            ogel_build_id: Some("b1".to_owned()),
            branch: Some("trunk".to_owned()),
            commit_sha: Some("c".repeat(40)),
            commit_message: Some("It works".to_owned()),
            framework: Some("vite".to_owned()),
            preview_url: Some("https://p.example.test".to_owned()),
            ..Progress::to(DeploymentStatus::Building)
        };
        let building = bench.store.record_progress(made.id, &told, at(1)).await.unwrap().unwrap();
        let expected = Deployment {
            status: DeploymentStatus::Building,
            ogel_build_id: told.ogel_build_id,
            branch: "trunk".to_owned(),
            commit_sha: told.commit_sha,
            commit_message: told.commit_message,
            framework: told.framework,
            preview_url: told.preview_url,
            updated_at: at(1),
            ..made
        };
        assert_eq!(building, expected);
        let end = Progress {
            error: Some("exit code 1".to_owned()),
            completed_at: Some(at(1)),
            ..Progress::to(DeploymentStatus::Failed)
        };
        let failed = bench.store.record_progress(made.id, &end, at(2)).await.unwrap().unwrap();
        let expected = Deployment {
            status: DeploymentStatus::Failed,
            error: end.error,
            completed_at: Some(at(1)),
            updated_at: at(2),
            ..expected
        };
        assert_eq!(failed, expected);
        assert_eq!(bench.store.deployment_for_follower(made.id).await.unwrap(), Some(expected));
    }

    async fn an_ended_deployment_never_changes_again(bench: Bench) {
        let person = bench.person().await;
        for end in ENDS {
            let made = bench.deployment_of(&person).await;
            let ended = bench.store.record_progress(made.id, &Progress::to(end), at(1)).await.unwrap().unwrap();
            assert_eq!(ended.completed_at, Some(at(1)));
            for &next in DeploymentStatus::ALL {
                let late = Progress { error: Some("late".to_owned()), ..Progress::to(next) };
                assert_eq!(bench.store.record_progress(made.id, &late, at(2)).await.unwrap(), None);
            }
            assert_eq!(bench.store.request_cancel(&act(&person.user, 2), made.id, OperationId(id())).await.unwrap(), None);
            bench.store.record_submission(made.id, "late", at(2)).await.unwrap();
            assert_eq!(bench.store.deployment_for_follower(made.id).await.unwrap(), Some(ended));
        }
    }

    async fn no_deployment_goes_back_to_pending(bench: Bench) {
        let person = bench.person().await;
        let made = bench.deployment_of(&person).await;
        let (pending, building) = (Progress::to(DeploymentStatus::Pending), Progress::to(DeploymentStatus::Building));
        assert!(bench.store.record_progress(made.id, &pending, at(1)).await.unwrap().is_some());
        assert!(bench.store.record_progress(made.id, &building, at(2)).await.unwrap().is_some());
        assert!(bench.store.record_progress(made.id, &building, at(3)).await.unwrap().is_some());
        assert_eq!(bench.store.record_progress(made.id, &pending, at(4)).await.unwrap(), None);
        let kept = bench.store.deployment_for_follower(made.id).await.unwrap().unwrap();
        assert_eq!((kept.status, kept.updated_at), (DeploymentStatus::Building, at(3)));
    }

    async fn a_status_this_build_does_not_know_is_not_written(bench: Bench) {
        let person = bench.person().await;
        let made = bench.deployment_of(&person).await;
        let unknown = Progress::to(DeploymentStatus::Unrecognized);
        assert_eq!(bench.store.record_progress(made.id, &unknown, at(1)).await.unwrap(), None);
        assert_eq!(bench.store.deployment_for_follower(made.id).await.unwrap(), Some(made));
    }

    async fn of_many_ends_at_once_one_stays(bench: Bench) {
        let person = bench.person().await;
        let made = bench.deployment_of(&person).await;
        let steps = at_once(20, |turn| {
            let (store, id) = (bench.store.clone(), made.id);
            async move { store.record_progress(id, &Progress::to(ENDS[turn % 3]), at(1)).await.unwrap() }
        })
        .await;
        let taken: Vec<_> = steps.into_iter().flatten().collect();
        assert_eq!(taken.len(), 1);
        assert_eq!(bench.store.deployment_for_follower(made.id).await.unwrap().as_ref(), taken.first());
    }

    async fn a_submission_is_dated_once(bench: Bench) {
        let person = bench.person().await;
        let made = bench.deployment_of(&person).await;
        bench.store.record_submission(made.id, "b1", at(1)).await.unwrap();
        bench.store.record_submission(made.id, "b1", at(2)).await.unwrap();
        let row = bench.store.deployment_for_follower(made.id).await.unwrap().unwrap();
        assert_eq!((row.ogel_build_id.as_deref(), row.submitted_at, row.updated_at), (Some("b1"), Some(at(1)), at(2)));
    }

    async fn a_wish_to_cancel_is_dated_once_and_changes_no_status(bench: Bench) {
        let person = bench.person().await;
        let made = bench.deployment_of(&person).await;
        bench.store.request_cancel(&act(&person.user, 1), made.id, OperationId(id())).await.unwrap().unwrap();
        bench.store.record_progress(made.id, &Progress::to(DeploymentStatus::Building), at(2)).await.unwrap().unwrap();
        let row = bench.store.request_cancel(&act(&person.user, 3), made.id, OperationId(id())).await.unwrap().unwrap();
        assert_eq!((row.cancel_requested_at, row.status), (Some(at(1)), DeploymentStatus::Building));
        assert_eq!(bench.store.request_cancel(&act(&person.user, 4), DeploymentId(id()), OperationId(id())).await.unwrap(), None);
    }

    async fn everybodys_unfinished_deployments_are_counted(bench: Bench) {
        let (person, other) = (bench.person().await, bench.person().await);
        for (turn, owner) in [&person, &other, &person, &other, &person, &person].into_iter().enumerate() {
            let row = bench.deployment_of(owner).await;
            let status = [DeploymentStatus::Pending, DeploymentStatus::Building, DeploymentStatus::Success][turn % 3];
            bench.store.record_progress(row.id, &Progress::to(status), at(1)).await.unwrap().unwrap();
        }
        assert_eq!(bench.store.count_unfinished(person.project.id).await.unwrap(), 2);
        assert_eq!(bench.store.count_unfinished(other.project.id).await.unwrap(), 2);
        assert_eq!(bench.store.count_unfinished(ProjectId(id())).await.unwrap(), 0);
    }

    async fn an_id_is_used_once(bench: Bench) {
        let person = bench.person().await;
        let made = bench.deployment_of(&person).await;
        let twin = NewDeployment { id: made.id, ..deployment(&person) };
        let error = bench.store.create_deployment(&twin).await.unwrap_err();
        assert!(matches!(error, StoreError::Unique { what: "deployments.id" }), "{error:?}");
        let twin = NewDeployment { build_id: made.build_id, ..deployment(&person) };
        let error = bench.store.create_deployment(&twin).await.unwrap_err();
        assert!(matches!(error, StoreError::Unique { .. }), "{error:?}");
    }

    async fn a_deployment_of_no_project_is_refused(bench: Bench) {
        let person = bench.person().await;
        let new = NewDeployment { project_id: ProjectId(id()), ..deployment(&person) };
        let error = bench.store.create_deployment(&new).await.unwrap_err();
        assert!(matches!(error, StoreError::ForeignKey), "{error:?}");
    }

    async fn a_status_written_by_a_newer_build_is_told_apart_from_a_failure(bench: Bench) {
        let person = bench.person().await;
        let made = bench.deployment_of(&person).await;
        bench.raw("UPDATE deployments SET status = 'paused'").await;
        let error = bench.store.deployment(&person.viewer(), made.id).await.unwrap_err();
        assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
    }

    async fn an_unknown_deployment_is_not_there(bench: Bench) {
        let person = bench.person().await;
        let unknown = DeploymentId(id());
        assert_eq!(bench.store.deployment(&person.viewer(), unknown).await.unwrap(), None);
        assert_eq!(bench.store.deployment_by_build(&person.viewer(), BuildId(id())).await.unwrap(), None);
        assert_eq!(bench.store.deployment_for_follower(unknown).await.unwrap(), None);
        let step = Progress::to(DeploymentStatus::Building);
        assert_eq!(bench.store.record_progress(unknown, &step, at(1)).await.unwrap(), None);
    }
}
