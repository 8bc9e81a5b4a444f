//! Deployments: the record that says what was asked for, and what became of it.
//!
//! A row that has not ended is at the same time the note that there is work to do: whoever finds it may go on with it.

use crate::{
    Act, Entry, Hold, Job, NewJob, Page, PageRequest, Result, Store, StoreError, Viewer,
    audit::write_down,
    error::Cap,
    events::{ADD, Said, add_event},
    operations::{NewOperation, add_operation},
    pool::{on_list, on_read, on_write},
    usage::{ADD_FOR_PROJECT, hour_of},
    viewer::{seen_by, sees_project},
    words::{Seen, row},
    work::enqueue,
};
use chrono::{DateTime, TimeDelta, Utc};
use ogel_api::{
    admin::Queue,
    audit::AuditAction,
    billing::Metric,
    deployments::{DeploymentEventType, DeploymentStatus},
    id::{BuildId, DeploymentId, OperationId, OrganizationId, ProjectId, UserId},
    operations::OperationKind,
    organizations::Role,
};

#[derive(Clone, PartialEq, Eq)]
pub struct Deployment {
    pub id: DeploymentId,
    pub project_id: ProjectId,
    /// The id at Ghost; ours, so it is known before Ghost is asked.
    pub ogel_deployment_id: String,
    pub build_id: BuildId,
    /// Known once Ghost has accepted.
    pub ogel_build_id: Option<String>,
    pub repo_url: String,
    pub branch: String,
    pub commit_sha: Option<String>,
    pub commit_message: Option<String>,
    /// What was asked for, or what was found.
    pub framework: Option<String>,
    /// What was asked for.
    pub asked_framework: Option<String>,
    pub root_directory: Option<String>,
    pub install_command: Option<String>,
    pub build_command: Option<String>,
    pub output_directory: Option<String>,
    /// Sealed.
    pub env: Option<String>,
    pub tags: Vec<String>,
    pub status: DeploymentStatus,
    pub error: Option<String>,
    pub preview_url: Option<String>,
    /// Whether it is the one of its project that is in production.
    pub is_active: bool,
    /// When it last became that.
    pub promoted_at: Option<DateTime<Utc>>,
    pub created_by: Option<UserId>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    /// When Ghost accepted it.
    pub submitted_at: Option<DateTime<Utc>>,
    pub cancel_requested_at: Option<DateTime<Utc>>,
    pub completed_at: Option<DateTime<Utc>>,
}
row!(Deployment, columns of "deployments" {
    id,
    project_id,
    ogel_deployment_id,
    build_id,
    ogel_build_id,
    repo_url,
    branch,
    commit_sha,
    commit_message,
    framework,
    asked_framework,
    root_directory,
    install_command,
    build_command,
    output_directory,
    env,
    tags,
    status,
    error,
    preview_url,
    is_active,
    promoted_at,
    created_by,
    created_at,
    updated_at,
    submitted_at,
    cancel_requested_at,
    completed_at,
});

pub(crate) use columns as deployment_columns;

// Here, because it uses `columns!`.
mod progress;

pub use progress::Progress;

impl std::fmt::Debug for Deployment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Deployment").field("id", &self.id).field("status", &self.status).finish_non_exhaustive()
    }
}

/// How much an organization may deploy; `None` is no limit. Asked for in the transaction that makes a deployment, which
/// holds the organization's row, so that nobody gets past it by being quick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caps {
    pub unfinished: Option<i64>,
    /// In the 24 hours before, counted by the hour.
    pub per_day: Option<i64>,
    /// Since the month began.
    pub per_month: Option<i64>,
    pub build_seconds_per_month: Option<i64>,
    /// When the month began.
    pub month: DateTime<Utc>,
}

impl Caps {
    /// Each limit with what it is about, from which hour on, of which metric.
    fn on_usage(&self, now: DateTime<Utc>) -> [(Cap, Option<i64>, DateTime<Utc>, Metric); 3] {
        let day = hour_of(now) - TimeDelta::hours(23);
        [
            (Cap::PerDay, self.per_day, day, Metric::Deployments),
            (Cap::PerMonth, self.per_month, self.month, Metric::Deployments),
            (Cap::BuildSeconds, self.build_seconds_per_month, self.month, Metric::BuildSeconds),
        ]
    }
}

/// A deployment about to be asked for.
#[derive(Clone)]
pub struct NewDeployment {
    pub id: DeploymentId,
    pub project_id: ProjectId,
    pub build_id: BuildId,
    pub repo_url: String,
    pub branch: String,
    pub commit_sha: Option<String>,
    pub framework: Option<String>,
    pub root_directory: Option<String>,
    pub install_command: Option<String>,
    pub build_command: Option<String>,
    pub output_directory: Option<String>,
    pub env: Option<String>,
    pub tags: Vec<String>,
    /// The one it repeats.
    pub redeploy_of: Option<DeploymentId>,
    pub caps: Caps,
    pub created_by: UserId,
    pub created_at: DateTime<Utc>,
    /// Who hands it to Ghost.
    pub hold: Hold,
    /// Its maker's doing.
    pub act: Act,
    /// Names of the variables in `env`.
    pub env_names: Vec<String>,
}

impl NewDeployment {
    fn new_job(&self) -> NewJob {
        NewJob {
            queue: Queue::Deployments,
            id: self.id.0,
            due_at: self.created_at,
            hold: Some(self.hold),
            created_at: self.created_at,
        }
    }

    /// Its log is to be kept: soon, because nothing is printed yet.
    fn log_job(&self) -> NewJob {
        let due_at = self.created_at + TimeDelta::seconds(5);
        NewJob { queue: Queue::BuildLogs, id: self.build_id.0, due_at, hold: None, created_at: self.created_at }
    }

    /// Has the deployment's id: there is one of each.
    fn operation(&self) -> NewOperation<'_> {
        NewOperation {
            id: OperationId(self.id.0),
            kind: OperationKind::CreateDeployment,
            project_id: self.project_id,
            deployment_id: Some(self.id),
            requested_by: Some(self.created_by),
            reason: None,
            created_at: self.created_at,
            act: Some(&self.act),
        }
    }

    /// In the log of `organization`: what is to be deployed; of the environment only names.
    fn entry(&self, organization: OrganizationId) -> Entry {
        let action = match self.redeploy_of {
            Some(_) => AuditAction::DeploymentRedeployed,
            None => AuditAction::DeploymentCreated,
        };
        let entry = Entry::new(organization, action, self.id)
            .after("projectId", self.project_id)
            .after("repoUrl", &self.repo_url)
            .after("branch", &self.branch)
            .after("commitSha", &self.commit_sha)
            .after("env", &self.env_names);
        match self.redeploy_of {
            Some(id) => entry.after("redeployOf", id),
            None => entry,
        }
    }

    /// What its maker holds once it is written.
    pub fn job(&self) -> Job {
        self.new_job().taken()
    }
}

impl std::fmt::Debug for NewDeployment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewDeployment").field("id", &self.id).finish_non_exhaustive()
    }
}

/// What a list is narrowed to.
#[derive(Clone, Debug, Default)]
pub struct DeploymentFilter {
    pub project: Option<ProjectId>,
    pub status: Option<DeploymentStatus>,
    pub branch: Option<String>,
}

/// The one with id `$1`.
pub(crate) const BY_ID: &str = concat!("SELECT ", columns!(), " FROM deployments WHERE id = $1");
/// Removes the one with id `$1`, if it has ended.
pub(crate) const DELETE_ENDED: &str =
    concat!("DELETE FROM deployments WHERE id = $1 AND status NOT IN ('pending', 'building') RETURNING ", columns!());
/// What is in production of project `$1`.
pub(crate) const ACTIVE_OF_PROJECT: &str =
    concat!("SELECT ", columns!(), " FROM deployments WHERE project_id = $1 AND is_active");
/// Puts `$1` of project `$2` there at `$4`; if `$3`, only if it was there before.
pub(crate) const MAKE_ACTIVE: &str = concat!(
    "UPDATE deployments SET is_active = TRUE, promoted_at = $4, updated_at = $4 \
     WHERE id = $1 AND project_id = $2 AND status = 'success' AND (promoted_at IS NOT NULL OR NOT $3) RETURNING ",
    columns!()
);
/// A page of what the viewer sees, narrowed by `$narrower`.
macro_rules! page_of_deployments {
    ($narrower:literal) => {
        concat!(
            "SELECT ",
            columns!(),
            " FROM deployments JOIN projects ON projects.id = deployments.project_id",
            sees_project!(),
            "WHERE (deployments.created_at, deployments.id) < ($7, $8) AND ($5 IS NULL OR deployments.status = $5) AND ($6 IS NULL OR deployments.branch = $6) ",
            $narrower,
            " ORDER BY deployments.created_at DESC, deployments.id DESC LIMIT $9"
        )
    };
}
// With a project named, its index gives the page in order; "no project or this one" would hide that from SQLite.
const PAGE_OF_PROJECT: &str = page_of_deployments!("AND deployments.project_id = $4");
const PAGE_OF_ALL: &str = page_of_deployments!("");

macro_rules! of_its_organization {
    () => {
        "(SELECT organization_id FROM projects WHERE projects.id = $1)"
    };
}
/// Changes nothing, but holds the row: who counts next sees what is made now.
const HOLD_ORGANIZATION: &str = concat!("UPDATE organizations SET plan = plan WHERE id = ", of_its_organization!());
const COUNT_UNFINISHED: &str = concat!(
    "SELECT COUNT(*) FROM deployments JOIN projects ON projects.id = deployments.project_id \
     WHERE deployments.status IN ('pending', 'building') AND projects.organization_id = ",
    of_its_organization!()
);
const SUM_USED: &str = concat!(
    "SELECT CAST(SUM(quantity) AS BIGINT) FROM usage_hourly WHERE hour >= $2 AND metric = $3 AND organization_id = ",
    of_its_organization!()
);

/// `Capped` if one of `$new.caps` is reached. Nothing is asked where there is no limit.
macro_rules! refuse_over_caps {
    ($tx:expr, $new:expr) => {{
        let new: &NewDeployment = $new;
        if (Caps { month: new.caps.month, ..Caps::default() }) != new.caps {
            sqlx::query(HOLD_ORGANIZATION).bind(new.project_id.0).execute(&mut *$tx).await?;
        }
        if let Some(most) = new.caps.unfinished {
            let count: i64 = sqlx::query_scalar(COUNT_UNFINISHED).bind(new.project_id.0).fetch_one(&mut *$tx).await?;
            if count >= most {
                return Err(StoreError::Capped(Cap::Unfinished));
            }
        }
        for (cap, most, since, metric) in new.caps.on_usage(new.created_at) {
            let Some(most) = most else { continue };
            let used: Option<i64> = sqlx::query_scalar(SUM_USED)
                .bind(new.project_id.0)
                .bind(since)
                .bind(metric.as_str())
                .fetch_one(&mut *$tx)
                .await?;
            if used.unwrap_or(0) >= most {
                return Err(StoreError::Capped(cap));
            }
        }
    }};
}

impl Store {
    /// `pending`, under the caller's id, together with the job to bring it to its end. `Capped` when the organization has as
    /// many as it may have, `ForeignKey` when there is no such project among its maker's.
    pub async fn create_deployment(&self, new: &NewDeployment) -> Result<Deployment> {
        let tags = serde_json::to_string(&new.tags).map_err(|error| StoreError::Other(Box::new(error)))?;
        let row: Option<Deployment> = on_write!(self, db => {
            let mut tx = db.begin_with(BEGIN).await?;
            refuse_over_caps!(tx, new);
            let row = sqlx::query_as(concat!(
                "INSERT INTO deployments (id, project_id, ogel_deployment_id, build_id, repo_url, branch, commit_sha, framework, \
                 asked_framework, root_directory, install_command, build_command, output_directory, env, tags, status, created_by, \
                 created_at, updated_at, submitted_at) \
                 SELECT $1, projects.id, $3, $4, $5, $6, $7, $8, $8, $9, $10, $11, $12, $13, $14, 'pending', m.user_id, $16, $16, NULL \
                 FROM projects JOIN organization_members m ON m.organization_id = projects.organization_id AND m.user_id = $15 \
                 WHERE projects.id = $2 RETURNING ", columns!()))
                .bind(new.id.0).bind(new.project_id.0).bind(new.id.0.to_string()).bind(new.build_id.0)
                .bind(&new.repo_url).bind(&new.branch).bind(&new.commit_sha).bind(&new.framework)
                .bind(&new.root_directory).bind(&new.install_command).bind(&new.build_command).bind(&new.output_directory)
                .bind(&new.env).bind(&tags).bind(new.created_by.0).bind(new.created_at)
                .fetch_all(&mut *tx).await?.pop();
            if row.is_some() {
                sqlx::query(ADD_FOR_PROJECT).bind(new.project_id.0).bind(Metric::Deployments.as_str())
                    .bind(hour_of(new.created_at)).bind(1i64).execute(&mut *tx).await?;
                let by = Said { actor: Some(new.created_by), ..Said::default() };
                let said = Said { related: new.redeploy_of, ..by };
                add_event!(tx, ADD, new.id, DeploymentEventType::Created, said, new.created_at);
                if let Some(repeated) = new.redeploy_of {
                    // Changes nothing, but holds the row: events are counted.
                    sqlx::query("UPDATE deployments SET status = status WHERE id = $1").bind(repeated.0).execute(&mut *tx).await?;
                    let said = Said { related: Some(new.id), ..by };
                    add_event!(tx, ADD, repeated, DeploymentEventType::Redeployed, said, new.created_at);
                }
                enqueue!(tx, &new.new_job());
                enqueue!(tx, &new.log_job());
                // The deployment's id is fresh, so this is.
                let _is_new = add_operation!(tx, &new.operation());
                let organization: uuid::Uuid = sqlx::query_scalar("SELECT organization_id FROM projects WHERE id = $1")
                    .bind(new.project_id.0).fetch_one(&mut *tx).await?;
                write_down!(tx, &new.act, [new.entry(OrganizationId(organization))]);
            }
            tx.commit().await?;
            row
        });
        row.ok_or(StoreError::ForeignKey)
    }

    pub async fn deployment(&self, viewer: &Viewer, id: DeploymentId) -> Result<Option<(Deployment, Role)>> {
        let found: Option<Seen<Deployment>> = on_read!(self, db => seen_by!(sqlx::query_as(concat!(
            "SELECT ", columns!(), ", m.role FROM deployments JOIN projects ON projects.id = deployments.project_id", sees_project!(),
            "WHERE deployments.id = $4")), viewer)
            .bind(id.0).fetch_optional(db).await?);
        Ok(found.map(Into::into))
    }

    pub async fn deployment_by_build(&self, viewer: &Viewer, id: BuildId) -> Result<Option<(Deployment, Role)>> {
        let found: Option<Seen<Deployment>> = on_read!(self, db => seen_by!(sqlx::query_as(concat!(
            "SELECT ", columns!(), ", m.role FROM deployments JOIN projects ON projects.id = deployments.project_id", sees_project!(),
            "WHERE deployments.build_id = $4")), viewer)
            .bind(id.0).fetch_optional(db).await?);
        Ok(found.map(Into::into))
    }

    /// One page in one statement, however long it is.
    pub async fn deployments(
        &self,
        viewer: &Viewer,
        filter: &DeploymentFilter,
        request: &PageRequest,
    ) -> Result<Page<Deployment>> {
        let sql = if filter.project.is_some() { PAGE_OF_PROJECT } else { PAGE_OF_ALL };
        let rows = on_list!(self, db => seen_by!(sqlx::query_as(sql), viewer)
            .bind(filter.project.map(|id| id.0)).bind(filter.status.map(DeploymentStatus::as_str)).bind(&filter.branch)
            .bind(request.after_time()).bind(request.after_id()).bind(request.fetch())
            .fetch_all(db).await?);
        Ok(request.page(rows, |row: &Deployment| (row.created_at, row.id.0)))
    }

    /// For the follower, which acts for nobody: not to be answered to a caller.
    pub async fn deployment_for_follower(&self, id: DeploymentId) -> Result<Option<Deployment>> {
        Ok(on_read!(self, db => sqlx::query_as(BY_ID).bind(id.0).fetch_optional(db).await?))
    }

    /// The same by its build.
    pub async fn deployment_of_build(&self, id: BuildId) -> Result<Option<Deployment>> {
        Ok(on_read!(self, db => sqlx::query_as(concat!(
            "SELECT ", columns!(), " FROM deployments WHERE build_id = $1"))
            .bind(id.0).fetch_optional(db).await?))
    }

    /// The same by the id at Ghost, which Ghost's events name.
    pub async fn deployment_at_ghost(&self, ogel_deployment_id: &str) -> Result<Option<Deployment>> {
        Ok(on_read!(self, db => sqlx::query_as(concat!(
            "SELECT ", columns!(), " FROM deployments WHERE ogel_deployment_id = $1"))
            .bind(ogel_deployment_id).fetch_optional(db).await?))
    }

    /// Writes a job for at most `limit` deployments that have not ended and have none: rows that another program wrote, or
    /// an older one of ours. Answers how many.
    pub async fn enqueue_unfinished(&self, now: DateTime<Utc>, limit: u32) -> Result<u64> {
        Ok(on_write!(self, db => sqlx::query(
            "INSERT INTO work (queue, id, due_at, attempts, fence, created_at) \
             SELECT 'deployments', id, $1, 0, 0, $1 FROM deployments WHERE status IN ('pending', 'building') \
               AND NOT EXISTS (SELECT 1 FROM work WHERE work.queue = 'deployments' AND work.id = deployments.id) \
             ORDER BY created_at LIMIT $2 ON CONFLICT (queue, id) DO NOTHING")
            .bind(now).bind(i64::from(limit)).execute(db).await?.rows_affected()))
    }

    /// How many of the project's deployments have not ended.
    pub async fn count_unfinished(&self, project: ProjectId) -> Result<i64> {
        Ok(on_read!(self, db => sqlx::query_scalar(
            "SELECT COUNT(*) FROM deployments WHERE project_id = $1 AND status IN ('pending', 'building')")
            .bind(project.0).fetch_one(db).await?))
    }

    /// Whether there was one the viewer may see.
    pub async fn delete_deployment(&self, viewer: &Viewer, id: DeploymentId) -> Result<bool> {
        let done = on_write!(self, db => seen_by!(sqlx::query(concat!(
            "DELETE FROM deployments WHERE id IN (SELECT deployments.id FROM deployments \
             JOIN projects ON projects.id = deployments.project_id",
            sees_project!(), "WHERE deployments.id = $4)")), viewer)
            .bind(id.0).execute(db).await?.rows_affected());
        Ok(done > 0)
    }
}
