//! How a deployment goes on: accepted, building, ended, or wished to be canceled. Each step is one `UPDATE` that cannot move
//! a row backwards, with the event that says so.

use crate::{
    Act, Deployment, Ending, Entry, NewOperation, Promotion, Result, Store,
    audit::write_down,
    events::{ADD_ONCE, Said, add_event},
    operations::{add_operation, end_operation_of},
    pool::on_write,
    production::put_into_production,
    usage::{ADD_FOR_PROJECT, hour_of},
};
use chrono::{DateTime, Utc};
use ogel_api::{
    audit::AuditAction,
    billing::Metric,
    deployments::{DeploymentEventType, DeploymentStatus},
    error::ErrorCode,
    id::{DeploymentId, OperationId, OrganizationId},
    operations::OperationKind,
};

/// What became known. `None` leaves a column as it is.
#[derive(Clone, Debug)]
pub struct Progress {
    pub status: DeploymentStatus,
    pub ogel_build_id: Option<String>,
    pub branch: Option<String>,
    pub commit_sha: Option<String>,
    pub commit_message: Option<String>,
    pub framework: Option<String>,
    pub preview_url: Option<String>,
    pub error: Option<String>,
    /// Ghost has put it into production, which it does with a project's first that succeeds.
    pub active: bool,
    pub completed_at: Option<DateTime<Utc>>,
}

impl Progress {
    /// Whether writing it to `row` would make a difference.
    pub fn changes(&self, row: &Deployment) -> bool {
        let news = |new: &Option<String>, known: &Option<String>| new.is_some() && new != known;
        self.status != row.status
            || news(&self.ogel_build_id, &row.ogel_build_id)
            || self.branch.as_ref().is_some_and(|branch| *branch != row.branch)
            || news(&self.commit_sha, &row.commit_sha)
            || news(&self.commit_message, &row.commit_message)
            || news(&self.framework, &row.framework)
            || news(&self.preview_url, &row.preview_url)
            || news(&self.error, &row.error)
            || (self.active && !row.is_active)
            || (self.completed_at.is_some() && self.completed_at != row.completed_at)
    }

    /// Only the status.
    pub fn to(status: DeploymentStatus) -> Self {
        Self {
            status,
            ogel_build_id: None,
            branch: None,
            commit_sha: None,
            commit_message: None,
            framework: None,
            preview_url: None,
            error: None,
            active: false,
            completed_at: None,
        }
    }
}

/// Said of the deployment that Ghost puts into production by itself.
const FIRST_SUCCESS: &str = "the first of its project that succeeded";

/// The event that says a deployment has come to `status`.
fn event_of(status: DeploymentStatus) -> Option<DeploymentEventType> {
    match status {
        DeploymentStatus::Building => Some(DeploymentEventType::Building),
        DeploymentStatus::Success => Some(DeploymentEventType::Success),
        DeploymentStatus::Failed => Some(DeploymentEventType::Failed),
        DeploymentStatus::Canceled => Some(DeploymentEventType::Canceled),
        DeploymentStatus::Pending | DeploymentStatus::Unrecognized => None,
    }
}

/// What a build is charged: each second it has begun, from when it was seen building, or else was accepted.
fn build_seconds(began: DateTime<Utc>, ended: DateTime<Utc>) -> i64 {
    ((ended - began).num_milliseconds().max(0) + 999) / 1000
}

/// How making and canceling a deployment end that has ended like this.
fn endings(ended: &Deployment) -> (Ending<'_>, Ending<'_>) {
    let made = match (ended.submitted_at, ended.status) {
        (Some(_), _) | (None, DeploymentStatus::Success) => Ending::Success,
        (None, DeploymentStatus::Canceled) => {
            Ending::Failure { code: ErrorCode::Conflict.as_str(), message: "canceled before it began" }
        }
        (None, _) => Ending::Failure {
            code: ErrorCode::Conflict.as_str(),
            message: ended.error.as_deref().unwrap_or("the deployment failed before it began"),
        },
    };
    let canceled = if ended.status == DeploymentStatus::Canceled {
        Ending::Success
    } else {
        Ending::Failure { code: ErrorCode::NotCancelable.as_str(), message: "the deployment ended first" }
    };
    (made, canceled)
}

impl Store {
    /// Ghost accepted it. A row that ended meanwhile stays as it ended.
    pub async fn record_submission(&self, id: DeploymentId, ogel_build_id: &str, now: DateTime<Utc>) -> Result<()> {
        on_write!(self, db => {
            let mut tx = db.begin_with(BEGIN).await?;
            let done = sqlx::query(
                "UPDATE deployments SET ogel_build_id = $2, submitted_at = COALESCE(submitted_at, $3), updated_at = $3 \
                 WHERE id = $1 AND status IN ('pending', 'building')")
                .bind(id.0).bind(ogel_build_id).bind(now).execute(&mut *tx).await?.rows_affected();
            if done > 0 {
                end_operation_of!(tx, id, OperationKind::CreateDeployment, Ending::Success, now);
            }
            tx.commit().await?;
        });
        Ok(())
    }

    /// Takes a step forward, in one statement: a row that has ended stays as it ended, and none goes back to `pending`.
    /// `None` when there was no such step to take. Whatever ends gets the time it ended.
    pub async fn record_progress(
        &self,
        id: DeploymentId,
        to: &Progress,
        now: DateTime<Utc>,
    ) -> Result<Option<Deployment>> {
        if to.status == DeploymentStatus::Unrecognized {
            return Ok(None);
        }
        let completed_at = to.status.is_terminal().then(|| to.completed_at.unwrap_or(now));
        let event = event_of(to.status);
        Ok(on_write!(self, db => {
            let mut tx = db.begin_with(BEGIN).await?;
            let mut row: Option<Deployment> = sqlx::query_as(concat!(
                "UPDATE deployments SET status = $2, ogel_build_id = COALESCE($3, ogel_build_id), branch = COALESCE($4, branch), \
                   commit_sha = COALESCE($5, commit_sha), commit_message = COALESCE($6, commit_message), \
                   framework = COALESCE($7, framework), preview_url = COALESCE($8, preview_url), error = COALESCE($9, error), \
                   completed_at = COALESCE($10, completed_at), updated_at = $11 \
                 WHERE id = $1 AND status IN ('pending', 'building') AND NOT (status = 'building' AND $2 = 'pending') RETURNING ", columns!()))
                .bind(id.0).bind(to.status.as_str()).bind(&to.ogel_build_id).bind(&to.branch).bind(&to.commit_sha)
                .bind(&to.commit_message).bind(&to.framework).bind(&to.preview_url).bind(&to.error)
                .bind(completed_at).bind(now)
                .fetch_all(&mut *tx).await?.pop();
            if let Some(known) = &row {
                if let Some(kind) = event {
                    let reason = known.error.as_deref().filter(|_| kind == DeploymentEventType::Failed);
                    add_event!(tx, ADD_ONCE, id, kind, Said { reason, ..Said::default() }, now);
                }
                // Here, because a deployment ends once: its build counts once.
                if let (true, Some(began), Some(ended)) = (to.status.is_terminal(), known.submitted_at, known.completed_at) {
                    let building: Option<DateTime<Utc>> = sqlx::query_scalar(
                        "SELECT created_at FROM deployment_events WHERE deployment_id = $1 AND kind = 'building'")
                        .bind(id.0).fetch_optional(&mut *tx).await?;
                    let seconds = build_seconds(building.unwrap_or(began), ended);
                    if seconds > 0 {
                        sqlx::query(ADD_FOR_PROJECT).bind(known.project_id.0).bind(Metric::BuildSeconds.as_str())
                            .bind(hour_of(now)).bind(seconds).execute(&mut *tx).await?;
                    }
                }
                if to.status.is_terminal() {
                    let (made, canceled) = endings(known);
                    end_operation_of!(tx, id, OperationKind::CreateDeployment, made, now);
                    end_operation_of!(tx, id, OperationKind::CancelDeployment, canceled, now);
                }
                if to.active && to.status == DeploymentStatus::Success {
                    let promotion = Promotion {
                        deployment: id,
                        project: known.project_id,
                        kind: DeploymentEventType::Promoted,
                        actor: None,
                        reason: Some(FIRST_SUCCESS),
                        at: now,
                        act: None,
                    };
                    row = put_into_production!(tx, &promotion).or(row);
                }
            }
            tx.commit().await?;
            row
        }))
    }

    /// Notes the wish, as an operation under `operation` if none is open; whoever follows the row acts on it. `None` when
    /// the row has ended.
    pub async fn request_cancel(
        &self,
        act: &Act,
        id: DeploymentId,
        operation: OperationId,
    ) -> Result<Option<Deployment>> {
        let (actor, now) = (act.user(), act.at);
        Ok(on_write!(self, db => {
            let mut tx = db.begin_with(BEGIN).await?;
            let row: Option<Deployment> = sqlx::query_as(concat!(
                "UPDATE deployments SET cancel_requested_at = COALESCE(cancel_requested_at, $2), updated_at = $2 \
                 WHERE id = $1 AND status IN ('pending', 'building') RETURNING ", columns!()))
                .bind(id.0).bind(now).fetch_all(&mut *tx).await?.pop();
            if let Some(row) = &row {
                let said = Said { actor, ..Said::default() };
                add_event!(tx, ADD_ONCE, id, DeploymentEventType::CancelRequested, said, now);
                let operation = NewOperation {
                    id: operation,
                    kind: OperationKind::CancelDeployment,
                    project_id: row.project_id,
                    deployment_id: Some(id),
                    requested_by: actor,
                    reason: None,
                    created_at: now,
                    act: Some(act),
                };
                // Asked for before and still under way: that one goes on.
                if add_operation!(tx, &operation) {
                    let organization: uuid::Uuid = sqlx::query_scalar("SELECT organization_id FROM projects WHERE id = $1")
                        .bind(row.project_id.0).fetch_one(&mut *tx).await?;
                    let entry = Entry::new(OrganizationId(organization), AuditAction::DeploymentCancelRequested, id);
                    write_down!(tx, act, [entry]);
                }
            }
            tx.commit().await?;
            row
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ogel_api::id::{BuildId, ProjectId};
    use uuid::Uuid;

    #[test]
    fn only_news_is_worth_a_write() {
        let at = DateTime::UNIX_EPOCH;
        let row = Deployment {
            id: DeploymentId(Uuid::nil()),
            project_id: ProjectId(Uuid::nil()),
            ogel_deployment_id: String::new(),
            build_id: BuildId(Uuid::nil()),
            ogel_build_id: Some("b".to_owned()),
            repo_url: String::new(),
            branch: "main".to_owned(),
            commit_sha: None,
            commit_message: None,
            framework: None,
            asked_framework: None,
            root_directory: None,
            install_command: None,
            build_command: None,
            output_directory: None,
            env: None,
            tags: Vec::new(),
            status: DeploymentStatus::Building,
            error: None,
            preview_url: None,
            is_active: false,
            promoted_at: None,
            created_by: None,
            created_at: at,
            updated_at: at,
            submitted_at: None,
            cancel_requested_at: None,
            completed_at: None,
        };
        let same = Progress {
            ogel_build_id: Some("b".to_owned()),
            branch: Some("main".to_owned()),
            ..Progress::to(DeploymentStatus::Building)
        };
        assert!(!same.changes(&row));
        assert!(!Progress::to(DeploymentStatus::Building).changes(&row));
        let text = || Some("new".to_owned());
        for news in [
            Progress::to(DeploymentStatus::Success),
            Progress { ogel_build_id: text(), ..same.clone() },
            Progress { branch: text(), ..same.clone() },
            Progress { commit_sha: text(), ..same.clone() },
            Progress { commit_message: text(), ..same.clone() },
            Progress { framework: text(), ..same.clone() },
            Progress { preview_url: text(), ..same.clone() },
            Progress { error: text(), ..same.clone() },
            Progress { active: true, ..same.clone() },
            Progress { completed_at: Some(at), ..same.clone() },
        ] {
            assert!(news.changes(&row), "{news:?}");
        }
    }
}
