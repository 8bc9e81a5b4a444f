//! Follows every deployment that has not ended: hands it to Ghost, writes down what Ghost says of it, and tells those
//! who wait. Ghost's realtime events and webhooks make it look, and it looks by itself when none come.
//!
//! A deployment that has not ended is a job of the queue `deployments` (`work.rs`): one replica follows it at a time, and
//! another one takes over when that dies. Those who wait for it, on whatever replica, watch the row ([`follow`]).

mod watch;

pub use watch::Tracker;
pub(crate) use watch::{follow, wait_until};

use crate::{
    bridge::STEP,
    doing,
    error::Result,
    responses,
    state::App,
    submission,
    work::{self, Doer, Outcome},
};
use chrono::TimeDelta;
use ogel_api::{
    admin::Queue, deployments::DeploymentStatus, error::ErrorCode, id::DeploymentId, operations::OperationKind,
};
use ogel_ghost::{CallContext, Credential, DeploymentDoc};
use ogel_store::{Deployment, Job, Progress, StoreError};
use std::{sync::Arc, time::Duration};
use uuid::Uuid;

type Row = Arc<Deployment>;

/// Between two questions to Ghost: soon at first, then rarely, because events come as well.
const FIRST_POLL: Duration = Duration::from_millis(250);
const LAST_POLL: Duration = Duration::from_secs(5);

/// Something happened to the deployment, or should happen to it: whoever follows it looks at once.
pub(crate) async fn nudge(app: &App, id: DeploymentId) -> Result<(), StoreError> {
    work::hasten(app, Queue::Deployments, id.0).await
}

/// Asks Ghost now, because somebody said that the deployment changed. What Ghost says is written down when this returns;
/// it can only take the row forward, whatever was said.
pub(crate) async fn look(app: &App, row: Deployment) -> Result<()> {
    let Some(project) = app.bridge.known_project(row.project_id).await? else { return Ok(()) };
    let credential = Credential::ProjectKey(&project.key);
    let context = CallContext::within(STEP);
    match app.ghost.get_deployment(context, credential, &project.id, &row.ogel_deployment_id).await {
        Ok(document) => {
            let id = row.id;
            let mut following = Following::new(app, id.0);
            following.know(Some(row));
            following.record(&document).await?;
            Ok(nudge(app, id).await?)
        }
        // Said of something that Ghost does not have: the follower decides what that means.
        Err(error) if error.code == ErrorCode::NotFound => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The deadline of the row's state, in minutes, if it is over.
fn overdue(app: &App, row: &Deployment) -> Option<u64> {
    let deadlines = &app.config().deployments;
    let of_all = deadlines.deadline_minutes;
    let minutes = if row.submitted_at.is_none() { deadlines.accept_deadline_minutes.min(of_all) } else { of_all };
    let deadline = TimeDelta::minutes(i64::try_from(minutes).unwrap_or(60));
    (app.world.now() - row.created_at > deadline).then_some(minutes)
}

/// One deployment, as this process follows it.
pub(crate) struct Following {
    app: App,
    id: DeploymentId,
    /// As it was last read or written. `None`: it is no more.
    row: Option<Row>,
    events: Option<ogel_ghost::Subscription>,
    pause: Duration,
}

impl Doer for Following {
    const QUEUE: Queue = Queue::Deployments;

    fn new(app: &App, id: Uuid) -> Self {
        Self { app: app.clone(), id: DeploymentId(id), row: None, events: None, pause: FIRST_POLL }
    }

    async fn step(&mut self, job: &Job) -> Outcome {
        let advanced = self.advance(job.fence == 1).await;
        let Some(row) = &self.row else {
            return match advanced {
                Ok(()) => Outcome::Done,
                Err(failure) => Outcome::Failed(failure),
            };
        };
        if row.status.is_terminal() {
            return Outcome::Done;
        }
        match advanced {
            Ok(()) => {
                if self.events.is_none() && row.submitted_at.is_some() {
                    self.events = self.subscribe().await;
                }
                let pause = self.pause;
                self.pause = LAST_POLL.min(pause * 2);
                Outcome::Later(pause)
            }
            // Ghost has it, and will say how it ended whenever it can be asked again; the deadline is the end of that.
            Err(failure) if row.submitted_at.is_some() => {
                tracing::warn!(deployment.id = %self.id, code = %failure.code(), "deployment could not be looked at");
                Outcome::Later(work::backoff(&self.app, job.attempts.unsigned_abs()).max(self.pause).min(LAST_POLL))
            }
            Err(failure) => Outcome::Failed(failure),
        }
    }

    async fn bury(&self, app: &App, job: &Job, error: &str) -> Result<bool, StoreError> {
        app.store.bury_operations(job, error, app.world.now()).await
    }

    /// Ghost says something of this deployment.
    async fn event(&mut self) {
        loop {
            let Some(events) = &mut self.events else { return std::future::pending().await };
            match events.next().await {
                Some(ogel_ghost::RealtimeEvent::Deployment(document))
                    if self.row.as_ref().is_some_and(|row| document.id == row.ogel_deployment_id) =>
                {
                    return;
                }
                Some(ogel_ghost::RealtimeEvent::Deployment(_) | ogel_ghost::RealtimeEvent::Log { .. }) => {}
                Some(_) => return,
                None => self.events = None,
            }
        }
    }
}

impl Following {
    async fn subscribe(&self) -> Option<ogel_ghost::Subscription> {
        let project = self.app.bridge.known_project(self.row.as_ref()?.project_id).await.ok()??;
        Some(self.app.logs.realtime().subscribe(&ogel_ghost::channel::project_deployments(&project.id)).await)
    }

    /// Brings the row one step further.
    async fn advance(&mut self, is_first: bool) -> Result<()> {
        // What others wrote meanwhile: a wish to cancel.
        self.reload().await?;
        let Some(row) = self.row.clone().filter(|row| !row.status.is_terminal()) else { return Ok(()) };
        if let Some(minutes) = overdue(&self.app, &row) {
            return self.give_up(&row, minutes).await;
        }
        if row.submitted_at.is_none() {
            return self.submit(&row, is_first).await;
        }
        let Some(project) = self.app.bridge.known_project(row.project_id).await? else {
            return self.submit(&row, is_first).await;
        };
        let credential = Credential::ProjectKey(&project.key);
        let context = CallContext::within(STEP);
        if row.cancel_requested_at.is_some() {
            let canceled =
                self.app.ghost.cancel_deployment(context, credential, &project.id, &row.ogel_deployment_id).await;
            match canceled {
                Ok(document) => return self.record(&document).await,
                // It ended first; what it ended as is read below.
                Err(error) if error.code == ErrorCode::NotCancelable => {}
                Err(error) => return Err(error.into()),
            }
        }
        let context = CallContext::within(STEP);
        match self.app.ghost.get_deployment(context, credential, &project.id, &row.ogel_deployment_id).await {
            Ok(document) => self.record(&document).await,
            Err(error) if error.code == ErrorCode::NotFound => {
                self.end(DeploymentStatus::Failed, "the deployment backend knows nothing of this deployment any more")
                    .await
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Hands it to Ghost. Whoever does not come first asks before: an earlier attempt whose answer was lost may have got
    /// through.
    async fn submit(&mut self, row: &Row, is_first: bool) -> Result<()> {
        if !is_first && let Some(document) = self.at_ghost(row).await? {
            return self.accepted(&document).await;
        }
        if row.cancel_requested_at.is_some() {
            return self.end(DeploymentStatus::Canceled, "canceled before it began").await;
        }
        match submission::submit(&self.app, row).await {
            Ok(document) => self.accepted(&document).await,
            Err(failure) if submission::is_final(&failure) => {
                let reason = failure.0.message.to_string();
                tracing::warn!(deployment.id = %row.id, code = %failure.code(), "deployment refused");
                self.end(DeploymentStatus::Failed, &reason).await
            }
            Err(failure) => Err(failure),
        }
    }

    async fn accepted(&mut self, document: &DeploymentDoc) -> Result<()> {
        self.app.store.record_submission(self.id, &document.build_id, self.app.world.now()).await?;
        self.reload().await?;
        self.record(document).await
    }

    /// What Ghost has under the deployment's id.
    async fn at_ghost(&self, row: &Row) -> Result<Option<DeploymentDoc>> {
        let Some(project) = self.app.bridge.known_project(row.project_id).await? else { return Ok(None) };
        let credential = Credential::ProjectKey(&project.key);
        let context = CallContext::within(STEP);
        match self.app.ghost.get_deployment(context, credential, &project.id, &row.ogel_deployment_id).await {
            Ok(document) => Ok(Some(document)),
            Err(error) if error.code == ErrorCode::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes down what Ghost says, and tells those who wait.
    async fn record(&mut self, document: &DeploymentDoc) -> Result<()> {
        let Some(row) = &self.row else { return Ok(()) };
        let status = match document.status {
            // A word this build does not know is not an end, so it changes nothing.
            DeploymentStatus::Unrecognized => row.status,
            known => known,
        };
        let completed_at = status.is_terminal().then(|| document.completed_at.unwrap_or_else(|| self.app.world.now()));
        let branch = document.branch.clone().filter(|branch| !branch.is_empty());
        self.write(Progress {
            status,
            ogel_build_id: Some(document.build_id.clone()),
            branch,
            commit_sha: document.commit_sha.clone(),
            commit_message: document.commit_message.clone(),
            framework: document.framework.clone(),
            preview_url: document.preview_url.clone(),
            error: document.error.clone(),
            active: document.active,
            completed_at,
        })
        .await
    }

    async fn end(&mut self, status: DeploymentStatus, reason: &str) -> Result<()> {
        let error = (status == DeploymentStatus::Failed).then(|| reason.to_owned());
        self.write(Progress { error, completed_at: Some(self.app.world.now()), ..Progress::to(status) }).await
    }

    /// Past its deadline. That Ghost stops, too, is an operation of its own: it may take longer, and must not be forgotten.
    async fn give_up(&mut self, row: &Row, minutes: u64) -> Result<()> {
        let withdrawal = doing::Asked {
            kind: OperationKind::WithdrawDeployment,
            project: row.project_id,
            deployment: Some(row.id),
            act: None,
            reason: None,
        };
        // Before the end is written: afterwards nobody would come here again.
        doing::begin(&self.app, &withdrawal).await?;
        let reason = if row.submitted_at.is_none() {
            format!("the deployment backend did not accept it within {minutes} minutes")
        } else {
            format!("it did not end within {minutes} minutes")
        };
        self.end(DeploymentStatus::Failed, &reason).await
    }

    async fn write(&mut self, progress: Progress) -> Result<()> {
        // Most answers bring nothing new, and each write is a commit to disk.
        if self.row.as_ref().is_none_or(|row| !progress.changes(row)) {
            return Ok(());
        }
        match self.app.store.record_progress(self.id, &progress, self.app.world.now()).await? {
            Some(row) => {
                responses::changed(&self.app, row.project_id, &responses::after_step(&row)).await;
                let (over, build) = (row.status.is_terminal(), row.build_id);
                self.know(Some(row));
                // Its log can be copied to the end now. If this is forgotten, that happens a little later.
                if over && let Err(error) = work::hasten(&self.app, Queue::BuildLogs, build.0).await {
                    tracing::debug!(build.id = %build, %error, "the build's log waits for its turn");
                }
                Ok(())
            }
            // It had ended already, or Ghost told us old news.
            None => self.reload().await,
        }
    }

    async fn reload(&mut self) -> Result<()> {
        let row = self.app.store.deployment_for_follower(self.id).await?;
        self.know(row);
        Ok(())
    }

    fn know(&mut self, row: Option<Deployment>) {
        self.row = row.map(Arc::new);
        self.app.tracker.tell(self.id, self.row.as_ref());
    }
}
