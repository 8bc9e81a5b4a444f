//! What else is asked of Ghost and must come to its end: promotions, deletions, and stopping there what has ended here.
//! Each is an operation with a job of its own; the handler that asked waits for it some seconds, then answers 202.
//!
//! Every step may be repeated: Ghost's "not there" means deleted, and who is in production is set, not toggled.

use crate::{
    bridge::STEP,
    error::{Failure, Result},
    purge,
    responses::{self, EVERYTHING},
    state::App,
    submission,
    work::{self, Doer, Outcome},
};
use ogel_api::{
    admin::Queue,
    deployments::DeploymentEventType,
    error::{Error, ErrorCode},
    id::{DeploymentId, OperationId, ProjectId},
    operations::{OperationKind, OperationState},
};
use ogel_ghost::{CallContext, Credential, GhostError};
use ogel_store::{Act, Deployment, Ending, Job, NewOperation, Operation, Promotion, StoreError, Viewer};
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

/// Between two looks at an operation that is waited for.
const FIRST_LOOK: Duration = Duration::from_millis(10);
const LAST_LOOK: Duration = Duration::from_millis(500);
/// Each further round takes somebody else's promotion in between.
const ROUNDS: usize = 20;

/// What is asked for.
pub(crate) struct Asked<'a> {
    pub(crate) kind: OperationKind,
    pub(crate) project: ProjectId,
    pub(crate) deployment: Option<DeploymentId>,
    /// `None`: it is due by itself.
    pub(crate) act: Option<&'a Act>,
    pub(crate) reason: Option<&'a str>,
}

/// Writes it down and begins. One that is under way already is answered with as it stands.
pub(crate) async fn begin(app: &App, asked: &Asked<'_>) -> Result<Operation> {
    let new = NewOperation {
        id: OperationId(app.world.uuid()),
        kind: asked.kind,
        project_id: asked.project,
        deployment_id: asked.deployment,
        requested_by: asked.act.and_then(Act::user),
        reason: asked.reason,
        created_at: app.world.now(),
        act: asked.act,
    };
    let (operation, job) = app.store.begin_operation(&new, work::hold(app)).await?;
    match job {
        Some(job) => work::begin::<Operating>(app, job),
        None => work::hasten(app, Queue::Operations, operation.id.0).await?,
    }
    Ok(operation)
}

/// The operation once it has ended, or as it stands after `wait`.
pub(crate) async fn wait(app: &App, operation: Operation, wait: Duration) -> Result<Operation> {
    let deadline = Instant::now() + wait;
    let (mut operation, mut pause) = (operation, FIRST_LOOK);
    while operation.completed_at.is_none() && operation.state != OperationState::Dead && Instant::now() < deadline {
        tokio::select! {
            () = tokio::time::sleep_until(deadline.min(Instant::now() + pause)) => {}
            () = app.shutdown.cancelled() => break,
        }
        pause = LAST_LOOK.min(pause * 2);
        match app.store.operation_for_worker(operation.id).await? {
            Some(row) => operation = row,
            None => break,
        }
    }
    Ok(operation)
}

/// Begins, waits as long as an answer waits for Ghost, and says whether it is done; an operation that failed is the
/// failure.
pub(crate) async fn done(app: &App, asked: &Asked<'_>) -> Result<(Operation, bool)> {
    let operation = begin(app, asked).await?;
    let patience = Duration::from_secs(app.config().deployments.accept_wait_seconds.max(1));
    let operation = wait(app, operation, patience).await?;
    match operation.state {
        OperationState::Failed => Err(failure_of(&operation)),
        state => Ok((operation, state == OperationState::Succeeded)),
    }
}

fn failure_of(operation: &Operation) -> Failure {
    let code = operation.error_code.as_deref();
    let code = ErrorCode::ALL.iter().find(|known| Some(known.as_str()) == code).copied().unwrap_or(ErrorCode::Internal);
    Failure::new(code, operation.error.clone().unwrap_or_else(|| "it could not be done".to_owned()))
}

/// One operation, as this process does it.
pub(crate) struct Operating {
    app: App,
    id: OperationId,
}

impl Doer for Operating {
    const QUEUE: Queue = Queue::Operations;

    fn new(app: &App, id: Uuid) -> Self {
        Self { app: app.clone(), id: OperationId(id) }
    }

    async fn step(&mut self, job: &Job) -> Outcome {
        match self.advance(job).await {
            Ok(()) => Outcome::Done,
            Err(failure) if submission::is_final(&failure) => {
                let (code, message) = (failure.code().as_str(), failure.0.message.to_string());
                let ending = Ending::Failure { code, message: &message };
                match self.app.store.end_operation(job, ending, self.app.world.now()).await {
                    Ok(_) => Outcome::Done,
                    Err(error) => Outcome::Failed(error.into()),
                }
            }
            Err(failure) => Outcome::Failed(failure),
        }
    }

    async fn bury(&self, app: &App, job: &Job, error: &str) -> Result<bool, StoreError> {
        app.store.bury_operations(job, error, app.world.now()).await
    }
}

impl Operating {
    async fn advance(&self, job: &Job) -> Result<()> {
        let (app, now) = (&self.app, self.app.world.now());
        let Some(operation) = app.store.operation_for_worker(self.id).await? else { return Ok(()) };
        if operation.completed_at.is_some() {
            return Ok(());
        }
        let deployment = match operation.deployment_id {
            Some(id) => app.store.deployment_for_follower(id).await?,
            None => None,
        };
        match (operation.kind, deployment) {
            (OperationKind::DeleteProject, _) => purge::project(app, operation.project_id).await?,
            (OperationKind::DeleteDeployment, Some(row)) => {
                app.bridge.delete_deployment(&row).await?;
                app.store.end_deployment_deletion(job, &operation, row.id, now).await?;
                responses::changed(app, row.project_id, &responses::with_its_build(&row)).await;
                return Ok(());
            }
            (OperationKind::WithdrawDeployment, Some(row)) => withdraw(app, &row).await?,
            (OperationKind::PromoteDeployment, Some(row)) => {
                promote(app, job, &operation, &row, DeploymentEventType::Promoted).await?;
            }
            (OperationKind::RollBackDeployment, Some(row)) => {
                promote(app, job, &operation, &row, DeploymentEventType::RolledBack).await?;
            }
            // Deleted meanwhile.
            (OperationKind::PromoteDeployment | OperationKind::RollBackDeployment, None) => {
                return Err(Failure::new(ErrorCode::NotFound, "the deployment was deleted before this was done"));
            }
            // Left to a replica of a newer build, which knows how.
            (OperationKind::Unrecognized, _) => {
                return Err(Error::internal("a newer build asked for an operation that this one does not know").into());
            }
            // The deployment's own job does it.
            _ => {}
        }
        app.store.end_operation(job, Ending::Success, now).await?;
        Ok(())
    }
}

/// Stops at Ghost what has ended here. That it is over there or not there is as good.
async fn withdraw(app: &App, row: &Deployment) -> Result<()> {
    let Some(project) = app.bridge.known_project(row.project_id).await? else { return Ok(()) };
    let credential = Credential::ProjectKey(&project.key);
    let context = CallContext::within(STEP);
    match app.ghost.cancel_deployment(context, credential, &project.id, &row.ogel_deployment_id).await {
        Ok(_) => Ok(()),
        Err(error) if matches!(error.code, ErrorCode::NotCancelable | ErrorCode::NotFound) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Puts a deployment into production: Ghost first, on behalf of whoever asked, then the record, then a look whether both
/// agree.
async fn promote(
    app: &App,
    job: &Job,
    operation: &Operation,
    row: &Deployment,
    kind: DeploymentEventType,
) -> Result<()> {
    // The first attempt comes at once: those who ask in the same moment need no judge. A late one must not undo what was
    // asked for after it.
    if job.fence > 1 && app.store.is_superseded(operation).await? {
        let message = "somebody asked for another deployment in production before this one was there";
        return Err(Failure::new(ErrorCode::Conflict, message));
    }
    activate_as(app, operation, row).await?;
    let promotion = Promotion {
        deployment: row.id,
        project: row.project_id,
        kind,
        actor: operation.requested_by,
        reason: operation.reason.as_deref(),
        at: app.world.now(),
        act: Some(&operation.act(app.world.now())),
    };
    if app.store.promote(&promotion).await?.is_none() {
        return Err(Failure::new(ErrorCode::Conflict, "the deployment cannot be in production any more"));
    }
    responses::changed(app, row.project_id, EVERYTHING).await;
    settle(app, row.project_id).await
}

/// Ghost decides by its own rules whether the person may, and writes down that it was them.
async fn activate_as(app: &App, operation: &Operation, row: &Deployment) -> Result<()> {
    let person = match operation.requested_by {
        Some(id) => app.store.user(id).await?,
        None => None,
    };
    let Some(person) = person else {
        return Err(Failure::new(ErrorCode::Conflict, "the person who asked for this was removed"));
    };
    let viewer = Viewer { user: person.id, organization: None, project: None };
    let Some((project, _)) = app.store.project(&viewer, row.project_id).await? else {
        return Err(Failure::new(ErrorCode::Conflict, "the person who asked for this has left the project"));
    };
    let at_ghost = app.bridge.project(&project).await?;
    app.bridge.member(&project, &person).await?;
    let (mut has_new_token, mut has_joined) = (false, false);
    loop {
        let token = app.bridge.token(&person).await?;
        let context = CallContext::within(STEP);
        let id = &row.ogel_deployment_id;
        let activated = app.ghost.activate_deployment(context, Credential::Jwt(&token), &at_ghost.id, id).await;
        match activated {
            Ok(_) => return Ok(()),
            Err(error) if error.refuses_token() && !has_new_token => {
                has_new_token = true;
                app.bridge.another_token(&person, &token).await?;
            }
            Err(error) if error.hides_project() && !has_joined => {
                has_joined = true;
                app.bridge.join_again(&project, &person).await?;
            }
            Err(error) if error.code == ErrorCode::NotFound => return Err(gone(row.id, error)),
            Err(error) => return Err(error.into()),
        }
    }
}

fn gone(id: DeploymentId, error: GhostError) -> Failure {
    Error::not_found("deployment", id).caused_by(error).into()
}

/// Has Ghost show what the record says is in production. Looks again after each change it makes: between reading the record
/// and changing Ghost somebody else may have written. So whoever changes Ghost last has seen that both agree.
pub(crate) async fn settle(app: &App, project: ProjectId) -> Result<()> {
    let Some(at_ghost) = app.bridge.known_project(project).await? else { return Ok(()) };
    let credential = Credential::ProjectKey(&at_ghost.key);
    for _ in 0..ROUNDS {
        let Some(there) = app.store.active_deployment(project).await? else { return Ok(()) };
        let id = &there.ogel_deployment_id;
        let shown = app.ghost.get_deployment(CallContext::within(STEP), credential, &at_ghost.id, id).await;
        match shown {
            Ok(document) if document.active => return Ok(()),
            // About to be deleted: gone from Ghost already, from the record in a moment.
            Err(error) if error.code == ErrorCode::NotFound => return Ok(()),
            other => drop(other?),
        }
        tracing::info!(project.id = %project, deployment.id = %there.id, "the record's deployment is put into production again");
        app.ghost.activate_deployment(CallContext::within(STEP), credential, &at_ghost.id, id).await?;
    }
    Ok(())
}
