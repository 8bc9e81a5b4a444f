//! Projects, seen through the memberships of their organization.

use crate::{
    Page, PageRequest, Result, Store, Viewer,
    pool::{on_read, on_write},
    viewer::{seen_by, sees_project},
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
row!(Project, columns of "projects" { id, organization_id, name, slug, created_at, updated_at });

pub(crate) const INSERT: &str =
    "INSERT INTO projects (id, organization_id, name, slug, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6)";

impl Store {
    /// The caller has looked whether its maker may: an organization is not asked for here but named.
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
        let rows: Vec<Seen<Project>> = on_read!(self, db => seen_by!(sqlx::query_as(concat!(
            "SELECT ", columns!(), ", m.role FROM projects", sees_project!(),
            "WHERE ($4 IS NULL OR projects.organization_id = $4) AND (projects.created_at, projects.id) < ($5, $6) \
             ORDER BY projects.created_at DESC, projects.id DESC LIMIT $7")), viewer)
            .bind(organization.map(|id| id.0))
            .bind(request.after_time()).bind(request.after_id()).bind(request.fetch())
            .fetch_all(db).await?);
        let rows = rows.into_iter().map(Into::into).collect();
        Ok(request.page(rows, |(row, _): &(Project, Role)| (row.created_at, row.id.0)))
    }

    pub async fn project(&self, viewer: &Viewer, id: ProjectId) -> Result<Option<(Project, Role)>> {
        let found: Option<Seen<Project>> = on_read!(self, db => seen_by!(sqlx::query_as(concat!(
            "SELECT ", columns!(), ", m.role FROM projects", sees_project!(), "WHERE projects.id = $4")), viewer)
            .bind(id.0).fetch_optional(db).await?);
        Ok(found.map(Into::into))
    }

    /// Those with this slug among the viewer's organizations; at most two, which is enough to know it is ambiguous.
    pub async fn projects_by_slug(&self, viewer: &Viewer, slug: &str) -> Result<Vec<(Project, Role)>> {
        let rows: Vec<Seen<Project>> = on_read!(self, db => seen_by!(sqlx::query_as(concat!(
            "SELECT ", columns!(), ", m.role FROM projects", sees_project!(), "WHERE projects.slug = $4 ORDER BY projects.id LIMIT 2")), viewer)
            .bind(slug).fetch_all(db).await?);
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
        let found: Option<Seen<Project>> = on_write!(self, db => seen_by!(sqlx::query_as(concat!(
            "UPDATE projects SET name = COALESCE($5, name), slug = COALESCE($6, slug), updated_at = $7 \
             WHERE id IN (SELECT projects.id FROM projects", sees_project!(), "WHERE projects.id = $4) \
             RETURNING ", columns!(), ", (SELECT r.role FROM organization_members r \
                           WHERE r.organization_id = projects.organization_id AND r.user_id = $1) AS role")), viewer)
            .bind(id.0).bind(name).bind(slug).bind(now).fetch_all(db).await?.pop());
        Ok(found.map(Into::into))
    }

    /// With its deployments and what ties it to Ghost. Whether there was one the viewer may see.
    pub async fn delete_project(&self, viewer: &Viewer, id: ProjectId) -> Result<bool> {
        let done = on_write!(self, db => seen_by!(sqlx::query(concat!(
            "DELETE FROM projects WHERE id IN (SELECT projects.id FROM projects", sees_project!(), "WHERE projects.id = $4)")), viewer)
            .bind(id.0).execute(db).await?.rows_affected());
        Ok(done > 0)
    }
}
