//! Projects, seen through the memberships of their organization.

use crate::{
    Page, PageRequest, Result, Store, Viewer,
    pool::{on_read, on_write},
    words::{Seen, row},
};
use chrono::{DateTime, Utc};
use ogel_api::{
    id::{OrganizationId, ProjectId},
    organizations::Role,
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    pub id: ProjectId,
    pub organization_id: OrganizationId,
    pub name: String,
    /// Unique within the organization.
    pub slug: String,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}
row!(Project { id, organization_id, name, slug, created_at, updated_at });

pub(crate) const INSERT: &str =
    "INSERT INTO projects (id, organization_id, name, slug, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6)";

impl Store {
    pub async fn create_project(&self, project: &Project) -> Result<()> {
        on_write!(self, db => sqlx::query(INSERT)
            .bind(project.id.0).bind(project.organization_id.0).bind(&project.name).bind(&project.slug)
            .bind(project.created_at).bind(project.updated_at)
            .execute(db).await?.rows_affected());
        Ok(())
    }

    pub async fn projects(
        &self,
        viewer: &Viewer,
        organization: Option<OrganizationId>,
        request: &PageRequest,
    ) -> Result<Page<(Project, Role)>> {
        let rows: Vec<Seen<Project>> = on_read!(self, db => sqlx::query_as(
            "SELECT p.*, m.role FROM projects p \
             JOIN organization_members m ON m.organization_id = p.organization_id AND m.user_id = $1 \
             WHERE ($2 IS NULL OR p.organization_id = $2) AND ($3 IS NULL OR p.id = $3) \
               AND ($4 IS NULL OR p.organization_id = $4) \
               AND ($5 IS NULL OR (p.created_at, p.id) < ($5, $6)) \
             ORDER BY p.created_at DESC, p.id DESC LIMIT $7")
            .bind(viewer.user.0).bind(viewer.organization.map(|id| id.0)).bind(viewer.project.map(|id| id.0))
            .bind(organization.map(|id| id.0))
            .bind(request.after_time()).bind(request.after_id()).bind(request.fetch())
            .fetch_all(db).await?);
        let rows = rows.into_iter().map(Into::into).collect();
        Ok(request.page(rows, |(row, _): &(Project, Role)| (row.created_at, row.id.0)))
    }

    pub async fn project(&self, viewer: &Viewer, id: ProjectId) -> Result<Option<(Project, Role)>> {
        let found: Option<Seen<Project>> = on_read!(self, db => sqlx::query_as(
            "SELECT p.*, m.role FROM projects p \
             JOIN organization_members m ON m.organization_id = p.organization_id AND m.user_id = $1 \
             WHERE p.id = $2 AND ($3 IS NULL OR p.organization_id = $3) AND ($4 IS NULL OR p.id = $4)")
            .bind(viewer.user.0).bind(id.0).bind(viewer.organization.map(|id| id.0)).bind(viewer.project.map(|id| id.0))
            .fetch_optional(db).await?);
        Ok(found.map(Into::into))
    }

    /// Those with this slug among the viewer's organizations; at most two, which is enough to know it is ambiguous.
    pub async fn projects_by_slug(&self, viewer: &Viewer, slug: &str) -> Result<Vec<(Project, Role)>> {
        let rows: Vec<Seen<Project>> = on_read!(self, db => sqlx::query_as(
            "SELECT p.*, m.role FROM projects p \
             JOIN organization_members m ON m.organization_id = p.organization_id AND m.user_id = $1 \
             WHERE p.slug = $2 AND ($3 IS NULL OR p.organization_id = $3) AND ($4 IS NULL OR p.id = $4) \
             ORDER BY p.id LIMIT 2")
            .bind(viewer.user.0).bind(slug).bind(viewer.organization.map(|id| id.0)).bind(viewer.project.map(|id| id.0))
            .fetch_all(db).await?);
        Ok(rows.into_iter().map(Into::into).collect())
    }

    /// What is `None` stays as it is. The project itself `None`: the viewer may not see it.
    pub async fn update_project(
        &self,
        viewer: &Viewer,
        id: ProjectId,
        name: Option<&str>,
        slug: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<Option<(Project, Role)>> {
        if self.project(viewer, id).await?.is_none() {
            return Ok(None);
        }
        on_write!(self, db => sqlx::query(
            "UPDATE projects SET name = COALESCE($2, name), slug = COALESCE($3, slug), updated_at = $4 WHERE id = $1")
            .bind(id.0).bind(name).bind(slug).bind(now).execute(db).await?.rows_affected());
        self.project(viewer, id).await
    }

    /// With its deployments and its half at Ghost's records. Whether there was one the viewer may see.
    pub async fn delete_project(&self, viewer: &Viewer, id: ProjectId) -> Result<bool> {
        if self.project(viewer, id).await?.is_none() {
            return Ok(false);
        }
        let done = on_write!(self, db => sqlx::query("DELETE FROM projects WHERE id = $1")
            .bind(id.0).execute(db).await?.rows_affected());
        Ok(done > 0)
    }
}
