//! Deployments: the record that says what was asked for, and what became of it.
//!
//! A row that has not ended is at the same time the note that there is work to do: whoever finds it may go on with it.

use crate::{
    Page, PageRequest, Promotion, Result, Store, StoreError, Viewer,
    events::{ADD, ADD_ONCE, Said, add_event},
    pool::{on_read, on_write},
    production::put_into_production,
    viewer::{seen_by, sees_project},
    words::{Seen, row},
};
use chrono::{DateTime, Utc};
use ogel_api::{
    deployments::{DeploymentEventType, DeploymentStatus},
    id::{BuildId, DeploymentId, ProjectId, UserId},
    organizations::Role,
};
use uuid::Uuid;

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

impl std::fmt::Debug for Deployment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Deployment").field("id", &self.id).field("status", &self.status).finish_non_exhaustive()
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
    pub created_by: UserId,
    pub created_at: DateTime<Utc>,
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

/// What is in production of project `$1`.
pub(crate) const ACTIVE_OF_PROJECT: &str =
    concat!("SELECT ", columns!(), " FROM deployments WHERE project_id = $1 AND is_active");
/// Puts `$1` of project `$2` there at `$4`; if `$3`, only if it was there before.
pub(crate) const MAKE_ACTIVE: &str = concat!(
    "UPDATE deployments SET is_active = TRUE, promoted_at = $4, updated_at = $4 \
     WHERE id = $1 AND project_id = $2 AND status = 'success' AND (promoted_at IS NOT NULL OR NOT $3) RETURNING ",
    columns!()
);
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

impl Store {
    /// `pending`, under the caller's id. `ForeignKey` when there is no such project among its maker's.
    pub async fn create_deployment(&self, new: &NewDeployment) -> Result<Deployment> {
        let tags = serde_json::to_string(&new.tags).map_err(|error| StoreError::Other(Box::new(error)))?;
        let row: Option<Deployment> = on_write!(self, db => {
            let mut tx = db.begin_with(BEGIN).await?;
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
                let by = Said { actor: Some(new.created_by), ..Said::default() };
                let said = Said { related: new.redeploy_of, ..by };
                add_event!(tx, ADD, new.id, DeploymentEventType::Created, said, new.created_at);
                if let Some(repeated) = new.redeploy_of {
                    // Changes nothing, but holds the row: events are counted.
                    sqlx::query("UPDATE deployments SET status = status WHERE id = $1").bind(repeated.0).execute(&mut *tx).await?;
                    let said = Said { related: Some(new.id), ..by };
                    add_event!(tx, ADD, repeated, DeploymentEventType::Redeployed, said, new.created_at);
                }
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
        let rows = on_read!(self, db => seen_by!(sqlx::query_as(sql), viewer)
            .bind(filter.project.map(|id| id.0)).bind(filter.status.map(DeploymentStatus::as_str)).bind(&filter.branch)
            .bind(request.after_time()).bind(request.after_id()).bind(request.fetch())
            .fetch_all(db).await?);
        Ok(request.page(rows, |row: &Deployment| (row.created_at, row.id.0)))
    }

    /// Ghost accepted it. A row that ended meanwhile stays as it ended.
    pub async fn record_submission(&self, id: DeploymentId, ogel_build_id: &str, now: DateTime<Utc>) -> Result<()> {
        on_write!(self, db => sqlx::query(
            "UPDATE deployments SET ogel_build_id = $2, submitted_at = COALESCE(submitted_at, $3), updated_at = $3 \
             WHERE id = $1 AND status IN ('pending', 'building')")
            .bind(id.0).bind(ogel_build_id).bind(now).execute(db).await?.rows_affected());
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
                if to.active && to.status == DeploymentStatus::Success {
                    let promotion = Promotion {
                        deployment: id,
                        project: known.project_id,
                        kind: DeploymentEventType::Promoted,
                        actor: None,
                        reason: Some(FIRST_SUCCESS),
                        at: now,
                    };
                    row = put_into_production!(tx, &promotion).or(row);
                }
            }
            tx.commit().await?;
            row
        }))
    }

    /// Notes the wish; whoever follows the row acts on it. `None` when the row has ended.
    pub async fn request_cancel(
        &self,
        id: DeploymentId,
        actor: UserId,
        now: DateTime<Utc>,
    ) -> Result<Option<Deployment>> {
        Ok(on_write!(self, db => {
            let mut tx = db.begin_with(BEGIN).await?;
            let row = sqlx::query_as(concat!(
                "UPDATE deployments SET cancel_requested_at = COALESCE(cancel_requested_at, $2), updated_at = $2 \
                 WHERE id = $1 AND status IN ('pending', 'building') RETURNING ", columns!()))
                .bind(id.0).bind(now).fetch_all(&mut *tx).await?.pop();
            if row.is_some() {
                let said = Said { actor: Some(actor), ..Said::default() };
                add_event!(tx, ADD_ONCE, id, DeploymentEventType::CancelRequested, said, now);
            }
            tx.commit().await?;
            row
        }))
    }

    /// For the follower, which acts for nobody: not to be answered to a caller.
    pub async fn deployment_for_follower(&self, id: DeploymentId) -> Result<Option<Deployment>> {
        Ok(on_read!(self, db => sqlx::query_as(concat!(
            "SELECT ", columns!(), " FROM deployments WHERE id = $1"))
            .bind(id.0).fetch_optional(db).await?))
    }

    /// For the follower at start: everybody's deployments that have not ended, newest first.
    pub async fn unfinished_deployments(
        &self,
        limit: u32,
        after: Option<(DateTime<Utc>, Uuid)>,
    ) -> Result<Page<Deployment>> {
        let request = PageRequest { limit, after };
        let rows = on_read!(self, db => sqlx::query_as(concat!(
            "SELECT ", columns!(), " FROM deployments WHERE status IN ('pending', 'building') \
             AND (created_at, id) < ($1, $2) ORDER BY created_at DESC, id DESC LIMIT $3"))
            .bind(request.after_time()).bind(request.after_id()).bind(request.fetch())
            .fetch_all(db).await?);
        Ok(request.page(rows, |row: &Deployment| (row.created_at, row.id.0)))
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

#[cfg(test)]
mod tests {
    use super::*;
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
