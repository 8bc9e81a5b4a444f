//! What comparing Studio's record with Ghost's brought to light, and the rows that are compared. Acts for nobody: operators
//! see it, callers do not.

use crate::{
    Result, Store,
    pool::{on_read, on_write},
    words::row,
};
use chrono::{DateTime, Utc};
use ogel_api::{
    admin::FindingKind,
    deployments::DeploymentStatus,
    id::{DeploymentId, ProjectId},
};
use uuid::Uuid;

/// One disagreement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub kind: FindingKind,
    pub project_id: ProjectId,
    /// The deployment's id at Ghost; empty where the whole project is meant.
    pub ghost_id: String,
    pub detail: String,
    pub first_seen_at: DateTime<Utc>,
    pub last_seen_at: DateTime<Utc>,
}
row!(Finding, columns of "reconciliation_findings" { kind, project_id, ghost_id, detail, first_seen_at, last_seen_at });

/// One comparison of everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    pub started_at: DateTime<Utc>,
    pub finished_at: DateTime<Utc>,
    pub projects: i64,
    pub deployments: i64,
    pub repaired: i64,
}
row!(Comparison { started_at, finished_at, projects, deployments, repaired });

/// A deployment as far as it is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compared {
    pub id: DeploymentId,
    pub ogel_deployment_id: String,
    pub status: DeploymentStatus,
    pub submitted_at: Option<DateTime<Utc>>,
    pub updated_at: DateTime<Utc>,
}
row!(Compared { id, ogel_deployment_id, status, submitted_at, updated_at });

impl Store {
    /// The projects that Ghost knows, a page at a time, in the order of their ids.
    pub async fn projects_at_ghost(&self, after: Option<ProjectId>, limit: u32) -> Result<Vec<ProjectId>> {
        let ids: Vec<Uuid> = on_read!(self, db => sqlx::query_scalar(
            "SELECT project_id FROM ogel_projects WHERE project_id > $1 ORDER BY project_id LIMIT $2")
            .bind(after.map_or(Uuid::nil(), |id| id.0)).bind(i64::from(limit)).fetch_all(db).await?);
        Ok(ids.into_iter().map(ProjectId).collect())
    }

    /// A project's deployments a page at a time, in the order of their ids, but for those that are being deleted.
    pub async fn compared_deployments(
        &self,
        project: ProjectId,
        after: Option<DeploymentId>,
        limit: u32,
    ) -> Result<Vec<Compared>> {
        Ok(on_read!(self, db => sqlx::query_as(
            "SELECT id, ogel_deployment_id, status, submitted_at, updated_at FROM deployments \
             WHERE project_id = $1 AND id > $2 AND NOT EXISTS (SELECT 1 FROM operations WHERE operations.completed_at IS NULL \
               AND operations.deployment_id = deployments.id AND operations.kind = 'delete_deployment') \
             ORDER BY id LIMIT $3")
            .bind(project.0).bind(after.map_or(Uuid::nil(), |id| id.0)).bind(i64::from(limit)).fetch_all(db).await?))
    }

    /// Of these ids at Ghost, those that a deployment of ours has.
    pub async fn known_at_ghost(&self, ghost_id: &str) -> Result<bool> {
        Ok(on_read!(self, db => sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM deployments WHERE ogel_deployment_id = $1)")
            .bind(ghost_id).fetch_one(db).await?))
    }

    /// Notes a disagreement, or that it is still there.
    pub async fn record_finding(
        &self,
        kind: FindingKind,
        project: ProjectId,
        ghost_id: &str,
        detail: &str,
        now: DateTime<Utc>,
    ) -> Result<()> {
        on_write!(self, db => sqlx::query(
            "INSERT INTO reconciliation_findings (kind, project_id, ghost_id, detail, first_seen_at, last_seen_at) \
             VALUES ($1, $2, $3, $4, $5, $5) \
             ON CONFLICT (kind, project_id, ghost_id) DO UPDATE SET detail = excluded.detail, last_seen_at = excluded.last_seen_at")
            .bind(kind.as_str()).bind(project.0).bind(ghost_id).bind(detail).bind(now).execute(db).await?.rows_affected());
        Ok(())
    }

    /// A comparison is over: what it did not see any more is settled.
    pub async fn record_comparison(&self, done: &Comparison) -> Result<()> {
        on_write!(self, db => {
            let mut tx = db.begin_with(BEGIN).await?;
            sqlx::query("DELETE FROM reconciliation_findings WHERE last_seen_at < $1")
                .bind(done.started_at).execute(&mut *tx).await?;
            sqlx::query(
                "INSERT INTO reconciliations (id, started_at, finished_at, projects, deployments, repaired) VALUES (1, $1, $2, $3, $4, $5) \
                 ON CONFLICT (id) DO UPDATE SET started_at = excluded.started_at, finished_at = excluded.finished_at, \
                   projects = excluded.projects, deployments = excluded.deployments, repaired = excluded.repaired")
                .bind(done.started_at).bind(done.finished_at).bind(done.projects).bind(done.deployments).bind(done.repaired)
                .execute(&mut *tx).await?;
            tx.commit().await?;
        });
        Ok(())
    }

    pub async fn last_comparison(&self) -> Result<Option<Comparison>> {
        Ok(on_read!(self, db => sqlx::query_as(
            "SELECT started_at, finished_at, projects, deployments, repaired FROM reconciliations WHERE id = 1")
            .fetch_optional(db).await?))
    }

    /// Those seen first first.
    pub async fn findings(&self, limit: u32) -> Result<Vec<Finding>> {
        Ok(on_read!(self, db => sqlx::query_as(concat!(
            "SELECT ", columns!(), " FROM reconciliation_findings ORDER BY first_seen_at, kind, ghost_id LIMIT $1"))
            .bind(i64::from(limit)).fetch_all(db).await?))
    }

    /// Buried jobs of deployments that were made before `before`, and have not ended: their time is over, and somebody must
    /// write that down.
    pub async fn revive_overdue(&self, before: DateTime<Utc>, now: DateTime<Utc>) -> Result<u64> {
        Ok(on_write!(self, db => sqlx::query(
            "UPDATE work SET dead_at = NULL, attempts = 0, due_at = $2 WHERE queue = 'deployments' AND dead_at IS NOT NULL \
             AND id IN (SELECT id FROM deployments WHERE status IN ('pending', 'building') AND created_at < $1)")
            .bind(before).bind(now).execute(db).await?.rows_affected()))
    }
}
