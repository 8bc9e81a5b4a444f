//! Follows every deployment that has not ended: hands it to Ghost, writes down what Ghost says of it, and tells those
//! who wait. One task per deployment; Ghost's realtime events wake it, and it asks by itself when none come.
//!
//! The row in the store is the truth. After a restart [`resume`] takes up every row that has not ended.

use crate::{bridge::STEP, error::Result, state::App, submission};
use chrono::TimeDelta;
use ogel_api::{deployments::DeploymentStatus, error::ErrorCode, id::DeploymentId};
use ogel_ghost::{CallContext, Credential, DeploymentDoc};
use ogel_store::{Deployment, Progress};
use parking_lot::Mutex;
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::sync::{Notify, watch};

type Row = Arc<Deployment>;

/// What others know of a task.
struct Followed {
    row: watch::Receiver<Row>,
    nudge: Arc<Notify>,
}

/// The running tasks, by deployment.
#[derive(Default)]
pub struct Tracker {
    followed: Mutex<HashMap<DeploymentId, Followed>>,
}

/// Between two questions to Ghost: soon at first, then rarely, because events come as well.
const FIRST_POLL: Duration = Duration::from_millis(250);
const LAST_POLL: Duration = Duration::from_secs(5);

/// The row as it changes. Starts a task unless one runs; an ended row never changes again.
pub(crate) fn follow(app: &App, row: &Row) -> watch::Receiver<Row> {
    if row.status.is_terminal() {
        return watch::channel(row.clone()).1;
    }
    let mut followed = app.tracker.followed.lock();
    if let Some(known) = followed.get(&row.id) {
        return known.row.clone();
    }
    let (sender, receiver) = watch::channel(row.clone());
    let nudge = Arc::new(Notify::new());
    followed.insert(row.id, Followed { row: receiver.clone(), nudge: nudge.clone() });
    drop(followed);
    let state = app.clone();
    let id = row.id;
    app.in_background(async move {
        let task = Task { app: state.clone(), row: sender, nudge };
        tokio::select! {
            () = task.run() => {}
            // The row stays as it is; the next start takes it up.
            () = state.shutdown.cancelled() => {}
        }
        state.tracker.followed.lock().remove(&id);
    });
    receiver
}

/// Wakes the task of a deployment whose row was changed by somebody else.
pub(crate) fn nudge(app: &App, id: DeploymentId) {
    if let Some(followed) = app.tracker.followed.lock().get(&id) {
        followed.nudge.notify_one();
    }
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
            let task = Task { app: app.clone(), row: watch::channel(Arc::new(row)).0, nudge: Arc::default() };
            task.record(&document).await?;
            nudge(app, id);
            Ok(())
        }
        // Said of something that Ghost does not have: the follower decides what that means.
        Err(error) if error.code == ErrorCode::NotFound => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The row once `done` holds for it, or as it stands after `wait`.
pub(crate) async fn wait_until(app: &App, row: Row, wait: Duration, done: impl Fn(&Deployment) -> bool) -> Row {
    let mut receiver = follow(app, &row);
    let _ = tokio::time::timeout(wait, receiver.wait_for(|row| done(row))).await;
    receiver.borrow().clone()
}

/// Takes up every deployment that had not ended when the process stopped.
pub(crate) async fn resume(app: &App) -> Result<usize> {
    let mut after = None;
    let mut count = 0;
    loop {
        let page = app.store.unfinished_deployments(500, after).await?;
        for row in &page.rows {
            follow(app, &Arc::new(row.clone()));
        }
        count += page.rows.len();
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(count),
        }
    }
}

/// One deployment's follower.
struct Task {
    app: App,
    row: watch::Sender<Row>,
    nudge: Arc<Notify>,
}

impl Task {
    async fn run(&self) {
        let mut failures = 0u32;
        let mut pause = FIRST_POLL;
        let mut events = None;
        loop {
            match self.step().await {
                Ok(()) => failures = 0,
                Err(failure) => {
                    failures += 1;
                    let (code, cause) = (failure.code(), failure.0.cause.as_deref().map(ToString::to_string));
                    let id = self.current().id;
                    tracing::warn!(deployment.id = %id, %code, cause, attempt = failures, "deployment could not be advanced");
                }
            }
            let row = self.current();
            if row.status.is_terminal() {
                return;
            }
            if events.is_none() && row.submitted_at.is_some() {
                events = self.subscribe().await;
            }
            // Full jitter, so that many deployments do not ask a recovering Ghost in step.
            let base =
                if failures > 0 { LAST_POLL.min(FIRST_POLL * 2u32.saturating_pow(failures.min(8))) } else { pause };
            let jitter = base.mul_f64((self.app.world.entropy.next() % 1000) as f64 / 1000.0);
            let sleep = if failures > 0 { jitter.max(FIRST_POLL) } else { base };
            pause = LAST_POLL.min(pause * 2);
            self.wait(sleep, &mut events).await;
        }
    }

    fn current(&self) -> Row {
        self.row.borrow().clone()
    }

    /// Returns early when somebody nudges or Ghost says something of this deployment.
    async fn wait(&self, sleep: Duration, events: &mut Option<ogel_ghost::Subscription>) {
        let deadline = tokio::time::Instant::now() + sleep;
        loop {
            let event = async {
                match events.as_mut() {
                    Some(subscription) => subscription.next().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = tokio::time::sleep_until(deadline) => return,
                () = self.nudge.notified() => return,
                event = event => match event {
                    Some(ogel_ghost::RealtimeEvent::Deployment(document)) if document.id == self.current().ogel_deployment_id => return,
                    Some(ogel_ghost::RealtimeEvent::Deployment(_) | ogel_ghost::RealtimeEvent::Log { .. }) => {}
                    Some(_) => return,
                    None => *events = None,
                },
            }
        }
    }

    async fn subscribe(&self) -> Option<ogel_ghost::Subscription> {
        let project = self.app.bridge.known_project(self.current().project_id).await.ok()??;
        Some(self.app.logs.realtime().subscribe(&ogel_ghost::channel::project_deployments(&project.id)).await)
    }

    /// Brings the row one step further.
    async fn step(&self) -> Result<()> {
        // What others wrote meanwhile: a wish to cancel.
        let row = self.reload().await?;
        if row.status.is_terminal() {
            return Ok(());
        }
        let age = self.app.world.now() - row.created_at;
        if age > TimeDelta::minutes(i64::try_from(self.app.config().deployments.deadline_minutes).unwrap_or(60)) {
            return self.give_up(&row).await;
        }
        if row.submitted_at.is_none() {
            return self.submit(&row).await;
        }
        let Some(project) = self.app.bridge.known_project(row.project_id).await? else {
            return self.submit(&row).await;
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

    async fn submit(&self, row: &Row) -> Result<()> {
        if row.cancel_requested_at.is_some() && !self.reached_ghost(row).await? {
            return self.end(DeploymentStatus::Canceled, "canceled before it began").await;
        }
        match submission::submit(&self.app, row).await {
            Ok(document) => {
                self.app.store.record_submission(row.id, &document.build_id, self.app.world.now()).await?;
                self.record(&document).await
            }
            Err(failure) if submission::is_final(&failure) => {
                let reason = failure.0.message.to_string();
                tracing::warn!(deployment.id = %row.id, code = %failure.code(), "deployment refused");
                self.end(DeploymentStatus::Failed, &reason).await
            }
            Err(failure) => Err(failure),
        }
    }

    /// Whether an earlier attempt, whose answer was lost, got through.
    async fn reached_ghost(&self, row: &Row) -> Result<bool> {
        let Some(project) = self.app.bridge.known_project(row.project_id).await? else { return Ok(false) };
        let credential = Credential::ProjectKey(&project.key);
        let context = CallContext::within(STEP);
        match self.app.ghost.get_deployment(context, credential, &project.id, &row.ogel_deployment_id).await {
            Ok(_) => Ok(true),
            Err(error) if error.code == ErrorCode::NotFound => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes down what Ghost says, and tells those who wait.
    async fn record(&self, document: &DeploymentDoc) -> Result<()> {
        let status = match document.status {
            // A word this build does not know is not an end, so it changes nothing.
            DeploymentStatus::Unrecognized => self.current().status,
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

    async fn end(&self, status: DeploymentStatus, reason: &str) -> Result<()> {
        let error = (status == DeploymentStatus::Failed).then(|| reason.to_owned());
        self.write(Progress { error, completed_at: Some(self.app.world.now()), ..Progress::to(status) }).await
    }

    /// Past its deadline: Ghost is asked to stop, but its answer is not waited for any longer.
    async fn give_up(&self, row: &Row) -> Result<()> {
        if let Some(project) = self.app.bridge.known_project(row.project_id).await? {
            let credential = Credential::ProjectKey(&project.key);
            let context = CallContext::within(STEP);
            let stopped =
                self.app.ghost.cancel_deployment(context, credential, &project.id, &row.ogel_deployment_id).await;
            if let Err(error) = stopped {
                tracing::warn!(deployment.id = %row.id, code = %error.code, "deployment past its deadline could not be stopped");
            }
        }
        let minutes = self.app.config().deployments.deadline_minutes;
        self.end(DeploymentStatus::Failed, &format!("it did not end within {minutes} minutes")).await
    }

    async fn write(&self, progress: Progress) -> Result<()> {
        // Most answers bring nothing new, and each write is a commit to disk.
        if !progress.changes(&self.current()) {
            return Ok(());
        }
        match self.app.store.record_progress(self.current().id, &progress, self.app.world.now()).await? {
            Some(row) => {
                self.row.send_replace(Arc::new(row));
                Ok(())
            }
            // It had ended already, or Ghost told us old news.
            None => self.reload().await.map(drop),
        }
    }

    /// The row as the store has it now. One that was deleted counts as canceled.
    async fn reload(&self) -> Result<Row> {
        let known = self.current();
        let row = match self.app.store.deployment_for_follower(known.id).await? {
            Some(row) => row,
            None => Deployment { status: DeploymentStatus::Canceled, ..(*known).clone() },
        };
        let row = Arc::new(row);
        if row != known {
            self.row.send_replace(row.clone());
        }
        Ok(row)
    }
}
