//! Operations: written with their job, ended with their effect, by whoever holds the job and nobody else.

use crate::support::*;
use ogel_api::{
    admin::Queue,
    deployments::DeploymentStatus,
    id::{OperationId, ProjectId},
    operations::{OperationKind, OperationState},
};
use ogel_store::{Ending, NewOperation, Progress, StoreError};

fn deletion<'a>(person: &Person, deployment: &ogel_store::Deployment, at_seconds: i64) -> NewOperation<'a> {
    NewOperation {
        id: OperationId(id()),
        kind: OperationKind::DeleteDeployment,
        project_id: person.project.id,
        deployment_id: Some(deployment.id),
        requested_by: Some(person.user.id),
        reason: None,
        created_at: at(at_seconds),
        act: None,
    }
}

async fn ended(bench: &Bench, person: &Person) -> ogel_store::Deployment {
    let made = bench.deployment_of(person).await;
    bench.store.record_submission(made.id, "b", at(1)).await.unwrap();
    bench.store.record_progress(made.id, &Progress::to(DeploymentStatus::Success), at(2)).await.unwrap().unwrap()
}

on_both! {
    async fn of_many_who_ask_for_a_deletion_one_begins_it_and_all_get_the_same(bench: Bench) {
        let person = bench.person().await;
        let row = ended(&bench, &person).await;
        let begun = at_once(20, |turn| {
            let (store, new) = (bench.store.clone(), deletion(&person, &row, 3 + i64::try_from(turn).unwrap()));
            async move { store.begin_operation(&new, hold(60)).await.unwrap() }
        })
        .await;
        assert_eq!(begun.iter().filter(|(_, job)| job.is_some()).count(), 1);
        assert!(begun.iter().all(|(operation, _)| operation.id == begun[0].0.id));
        let (operation, job) = begun.into_iter().find(|(_, job)| job.is_some()).unwrap();
        assert!(bench.store.end_deployment_deletion(&job.unwrap(), &operation, row.id, at(9)).await.unwrap());
        assert_eq!(bench.store.deployment_for_follower(row.id).await.unwrap(), None);
        let done = bench.store.operation(&person.viewer(), operation.id).await.unwrap().unwrap();
        assert_eq!((done.state, done.completed_at), (OperationState::Succeeded, Some(at(9))));
        assert_eq!(bench.store.job(Queue::Operations, operation.id.0).await.unwrap(), None);
    }

    async fn whoever_lost_the_job_changes_nothing(bench: Bench) {
        let person = bench.person().await;
        let row = ended(&bench, &person).await;
        let (operation, job) = bench.store.begin_operation(&deletion(&person, &row, 3), hold(10)).await.unwrap();
        let slow = job.unwrap();
        let next = bench.store.take_due(Queue::Operations, hold(60), at(10), 1).await.unwrap().remove(0);
        assert!(!bench.store.end_deployment_deletion(&slow, &operation, row.id, at(11)).await.unwrap());
        assert!(!bench.store.end_operation(&slow, Ending::Success, at(11)).await.unwrap());
        assert!(!bench.store.bury_operations(&slow, "x", at(11)).await.unwrap());
        assert!(bench.store.deployment_for_follower(row.id).await.unwrap().is_some());
        let failure = Ending::Failure { code: "CONFLICT", message: "no" };
        assert!(bench.store.end_operation(&next, failure, at(12)).await.unwrap());
        let done = bench.store.operation_for_worker(operation.id).await.unwrap().unwrap();
        assert_eq!((done.state, done.error_code.as_deref(), done.error.as_deref()), (OperationState::Failed, Some("CONFLICT"), Some("no")));
    }

    async fn a_dead_operation_is_retried_once(bench: Bench) {
        let person = bench.person().await;
        let row = ended(&bench, &person).await;
        let (operation, job) = bench.store.begin_operation(&deletion(&person, &row, 3), hold(60)).await.unwrap();
        assert_eq!(bench.store.retry_operation(operation.id, at(4)).await.unwrap(), None, "it is not dead");
        assert!(bench.store.bury_operations(&job.unwrap(), "gone", at(4)).await.unwrap());
        let dead = bench.store.operations(Some(OperationState::Dead), &first(10)).await.unwrap().rows;
        assert_eq!((dead.len(), dead[0].id), (1, operation.id));
        let alive = bench.store.retry_operation(operation.id, at(5)).await.unwrap().unwrap();
        assert_eq!(alive.state, OperationState::Pending);
        assert_eq!(bench.store.retry_operation(operation.id, at(5)).await.unwrap(), None);
        assert_eq!(bench.store.take_due(Queue::Operations, hold(60), at(5), 1).await.unwrap()[0].id, operation.id.0);
    }

    async fn making_and_canceling_end_with_the_deployment(bench: Bench) {
        let person = bench.person().await;
        let state = async |id: OperationId| bench.store.operation_for_worker(id).await.unwrap().unwrap().state;
        let accepted = ended(&bench, &person).await;
        assert_eq!(state(OperationId(accepted.id.0)).await, OperationState::Succeeded);
        // Never accepted, and wished to be canceled: that came true, so it was not made.
        let made = bench.deployment_of(&person).await;
        assert_eq!(state(OperationId(made.id.0)).await, OperationState::Pending);
        let cancellation = OperationId(id());
        bench.store.request_cancel(&act(&person.user, 1), made.id, cancellation).await.unwrap().unwrap();
        bench.store.request_cancel(&act(&person.user, 2), made.id, OperationId(id())).await.unwrap().unwrap();
        let open = bench.store.open_operation(made.id, OperationKind::CancelDeployment).await.unwrap().unwrap();
        assert_eq!(open.id, cancellation, "there is one");
        bench.store.record_progress(made.id, &Progress::to(DeploymentStatus::Canceled), at(3)).await.unwrap().unwrap();
        assert_eq!(state(cancellation).await, OperationState::Succeeded);
        assert_eq!(state(OperationId(made.id.0)).await, OperationState::Failed);
    }

    async fn operations_are_seen_by_members_only_and_removed_when_they_are_old(bench: Bench) {
        let (person, stranger) = (bench.person().await, bench.person().await);
        let row = ended(&bench, &person).await;
        let new = NewOperation { kind: OperationKind::DeleteProject, deployment_id: None, ..deletion(&person, &row, 3) };
        let (operation, job) = bench.store.begin_operation(&new, hold(60)).await.unwrap();
        assert!(bench.store.end_operation(&job.unwrap(), Ending::Success, at(4)).await.unwrap());
        assert!(bench.store.operation(&person.viewer(), operation.id).await.unwrap().is_some());
        assert_eq!(bench.store.operation(&stranger.viewer(), operation.id).await.unwrap(), None);
        assert_eq!(bench.store.operation(&person.bound_to_project(ProjectId(id())), operation.id).await.unwrap(), None);
        let nowhere = NewOperation { id: OperationId(id()), project_id: ProjectId(id()), ..new };
        let error = bench.store.begin_operation(&nowhere, hold(60)).await.unwrap_err();
        assert!(matches!(error, StoreError::ForeignKey), "{error:?}");
        bench.store.delete_old_operations(at(4), 10).await.unwrap();
        assert!(bench.store.operation_for_worker(operation.id).await.unwrap().is_some());
        bench.store.delete_old_operations(at(5), 10).await.unwrap();
        assert_eq!(bench.store.operation_for_worker(operation.id).await.unwrap(), None);
    }
}
