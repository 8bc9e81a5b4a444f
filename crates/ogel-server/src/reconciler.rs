//! Compares everything Studio knows with everything Ghost knows, every some minutes: one replica at a time, by a job like any
//! other. What can be set right is; the rest is a finding for the operators.
//!
//! The way of a single deployment does not depend on this: its own job follows it (`tracker.rs`). This finds what fell out
//! of every net: rows without a job, jobs that were buried, work at Ghost that nobody here knows or believes to be over.

use crate::{
    bridge::{GhostProject, STEP},
    doing,
    error::Result,
    state::App,
    work::{Doer, Outcome},
};
use chrono::{DateTime, TimeDelta, Utc};
use ogel_api::{
    admin::{FindingKind, Queue},
    deployments::DeploymentStatus,
    id::ProjectId,
    operations::OperationKind,
};
use ogel_ghost::{CallContext, Credential, ListDeployments};
use ogel_store::{Compared, Comparison, Job, NewJob, StoreError};
use std::{collections::HashMap, time::Duration};
use uuid::Uuid;

/// There is one job.
const JOB: Uuid = Uuid::nil();
/// Rows and documents looked at in one go.
const PAGE: u32 = 100;
/// What is younger may be on its way from one side to the other.
const SETTLED: TimeDelta = TimeDelta::minutes(2);
/// One project's deployments held in memory; older ones are not compared.
const MOST: usize = 10_000;

/// Writes the job down unless it is there, and has it done now if `at_once`.
pub(crate) async fn ask(app: &App, at_once: bool) -> Result<(), StoreError> {
    let now = app.world.now();
    if app.store.job(Queue::Reconciliation, JOB).await?.is_none() {
        let job = NewJob { queue: Queue::Reconciliation, id: JOB, due_at: now, hold: None, created_at: now };
        app.store.enqueue(&job).await?;
    }
    if at_once {
        crate::work::hasten(app, Queue::Reconciliation, JOB).await?;
    }
    Ok(())
}

/// The comparison, as this process does it.
pub(crate) struct Comparing(App);

impl Doer for Comparing {
    const QUEUE: Queue = Queue::Reconciliation;

    fn new(app: &App, _: Uuid) -> Self {
        Self(app.clone())
    }

    async fn step(&mut self, _: &Job) -> Outcome {
        match compare(&self.0).await {
            Ok(done) => {
                tracing::info!(
                    done.projects,
                    done.deployments,
                    done.repaired,
                    "records compared with the deployment backend's"
                );
                Outcome::Later(every(&self.0))
            }
            Err(failure) => Outcome::Failed(failure),
        }
    }

    /// It is never given up.
    fn pause(&self, app: &App, job: &Job) -> Option<Duration> {
        Some(crate::work::backoff(app, job.attempts.unsigned_abs()))
    }
}

fn every(app: &App) -> Duration {
    Duration::from_secs(app.config().work.reconcile_minutes.max(1) * 60)
}

async fn compare(app: &App) -> Result<Comparison> {
    let started_at = app.world.now();
    let mut done = Comparison { started_at, finished_at: started_at, projects: 0, deployments: 0, repaired: 0 };
    done.repaired += signed(app.store.enqueue_unfinished(started_at, PAGE * 10).await?);
    // What was buried was not accepted.
    let deadline = i64::try_from(app.config().deployments.accept_deadline_minutes).unwrap_or(30);
    let overdue = started_at - TimeDelta::minutes(deadline);
    done.repaired += signed(app.store.revive_overdue(overdue, started_at).await?);
    let mut after = None;
    loop {
        let projects = app.store.projects_at_ghost(after, PAGE).await?;
        let Some(last) = projects.last().copied() else { break };
        for project in projects {
            let Some(at_ghost) = app.bridge.known_project(project).await? else { continue };
            done.projects += 1;
            if let Err(failure) = compare_project(app, project, &at_ghost, &mut done).await {
                // The others are not to suffer for it.
                let detail = format!("{}: {}", failure.code(), failure.0.message);
                app.store.record_finding(FindingKind::NotChecked, project, "", &detail, app.world.now()).await?;
            }
        }
        after = Some(last);
    }
    done.finished_at = app.world.now();
    app.store.record_comparison(&done).await?;
    Ok(done)
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

async fn compare_project(app: &App, project: ProjectId, at_ghost: &GhostProject, done: &mut Comparison) -> Result<()> {
    let ours = ours(app, project).await?;
    let is_settled = |at: DateTime<Utc>| at + SETTLED < done.started_at;
    let mut theirs: HashMap<String, DeploymentStatus> = HashMap::new();
    let mut cursor: Option<String> = None;
    while theirs.len() < MOST {
        let list = ListDeployments { limit: Some(PAGE), cursor: cursor.as_deref(), status: None, branch: None };
        let credential = Credential::ProjectKey(&at_ghost.key);
        let page = app.ghost.list_deployments(CallContext::within(STEP), credential, &at_ghost.id, list).await?;
        let full = page.documents.len() >= PAGE as usize;
        cursor = page.documents.last().map(|document| document.id.clone());
        for document in page.documents {
            done.deployments += 1;
            match ours.get(&document.id) {
                // Those who are being deleted are not among ours.
                None if document.created_at.is_none_or(is_settled)
                    && !app.store.known_at_ghost(&document.id).await? =>
                {
                    let detail = format!("`{}` of {}", document.status, document.repo_url);
                    finding(app, FindingKind::UnknownHere, project, &document.id, &detail).await?;
                }
                Some(row)
                    if row.status.is_terminal() && row.status != document.status && is_settled(row.updated_at) =>
                {
                    let detail = format!("`{}` here, `{}` there", row.status, document.status);
                    finding(app, FindingKind::StatusDiffers, project, &document.id, &detail).await?;
                    if !document.status.is_terminal() {
                        // It costs somebody money: what is over here is over there.
                        let asked = doing::Asked {
                            kind: OperationKind::WithdrawDeployment,
                            project,
                            deployment: Some(row.id),
                            act: None,
                            reason: None,
                        };
                        doing::begin(app, &asked).await?;
                        done.repaired += 1;
                    }
                }
                _ => {}
            }
            theirs.insert(document.id, document.status);
        }
        if !full {
            break;
        }
    }
    if theirs.len() < MOST {
        for (id, row) in &ours {
            // A row that has not ended finds this out by itself.
            let should_be_there = row.status == DeploymentStatus::Success && row.submitted_at.is_some();
            if should_be_there && is_settled(row.updated_at) && !theirs.contains_key(id) {
                finding(app, FindingKind::MissingAtGhost, project, id, "it succeeded, but its site is gone").await?;
            }
        }
    }
    if let Some(active) = app.store.active_deployment(project).await?
        && theirs.contains_key(&active.ogel_deployment_id)
    {
        doing::settle(app, project).await?;
    }
    Ok(())
}

async fn finding(app: &App, kind: FindingKind, project: ProjectId, id: &str, detail: &str) -> Result<()> {
    tracing::warn!(%kind, project.id = %project, ghost.id = id, detail, "records disagree");
    Ok(app.store.record_finding(kind, project, id, detail, app.world.now()).await?)
}

/// By their ids at Ghost.
async fn ours(app: &App, project: ProjectId) -> Result<HashMap<String, Compared>> {
    let (mut ours, mut after) = (HashMap::new(), None);
    while ours.len() < MOST {
        let rows = app.store.compared_deployments(project, after, PAGE).await?;
        let Some(last) = rows.last() else { break };
        after = Some(last.id);
        ours.extend(rows.into_iter().map(|row| (row.ogel_deployment_id.clone(), row)));
    }
    Ok(ours)
}
