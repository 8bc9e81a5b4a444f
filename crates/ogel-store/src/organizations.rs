//! Organizations and who belongs to them.

use crate::{
    Page, PageRequest, Result, Store, StoreError, Viewer,
    pool::{on_read, on_write},
    words::{Seen, row},
};
use chrono::{DateTime, Utc};
use ogel_api::{
    id::{OrganizationId, UserId},
    organizations::{Plan, Role},
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Organization {
    pub id: OrganizationId,
    pub name: String,
    pub slug: String,
    pub plan: Plan,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}
row!(Organization { id, name, slug, plan, created_at, updated_at });

/// What became of a deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeleteOutcome {
    Deleted,
    NotFound,
    /// It still has projects.
    InUse,
}

pub(crate) const INSERT: &str =
    "INSERT INTO organizations (id, name, slug, plan, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6)";
pub(crate) const INSERT_MEMBER: &str =
    "INSERT INTO organization_members (organization_id, user_id, role, created_at) VALUES ($1, $2, $3, $4)";

impl Store {
    pub async fn create_organization(&self, organization: &Organization, owner: UserId) -> Result<()> {
        on_write!(self, db => {
            let mut tx = db.begin_with(BEGIN).await?;
            sqlx::query(INSERT)
                .bind(organization.id.0).bind(&organization.name).bind(&organization.slug).bind(organization.plan.as_str())
                .bind(organization.created_at).bind(organization.updated_at)
                .execute(&mut *tx).await?;
            sqlx::query(INSERT_MEMBER)
                .bind(organization.id.0).bind(owner.0).bind(Role::Owner.as_str()).bind(organization.created_at)
                .execute(&mut *tx).await?;
            tx.commit().await?;
        });
        Ok(())
    }

    /// Those the viewer belongs to. A key bound to a project sees that project's only.
    pub async fn organizations(&self, viewer: &Viewer, request: &PageRequest) -> Result<Page<(Organization, Role)>> {
        let rows: Vec<Seen<Organization>> = on_read!(self, db => sqlx::query_as(
            "SELECT o.*, m.role FROM organizations o \
             JOIN organization_members m ON m.organization_id = o.id AND m.user_id = $1 \
             WHERE ($2 IS NULL OR o.id = $2) \
               AND ($3 IS NULL OR EXISTS (SELECT 1 FROM projects p WHERE p.id = $3 AND p.organization_id = o.id)) \
               AND ($4 IS NULL OR (o.created_at, o.id) < ($4, $5)) \
             ORDER BY o.created_at DESC, o.id DESC LIMIT $6")
            .bind(viewer.user.0).bind(viewer.organization.map(|id| id.0)).bind(viewer.project.map(|id| id.0))
            .bind(request.after_time()).bind(request.after_id()).bind(request.fetch())
            .fetch_all(db).await?);
        let rows = rows.into_iter().map(Into::into).collect();
        Ok(request.page(rows, |(row, _): &(Organization, Role)| (row.created_at, row.id.0)))
    }

    pub async fn organization(&self, viewer: &Viewer, id: OrganizationId) -> Result<Option<(Organization, Role)>> {
        let found: Option<Seen<Organization>> = on_read!(self, db => sqlx::query_as(
            "SELECT o.*, m.role FROM organizations o \
             JOIN organization_members m ON m.organization_id = o.id AND m.user_id = $1 \
             WHERE o.id = $2 AND ($3 IS NULL OR o.id = $3) \
               AND ($4 IS NULL OR EXISTS (SELECT 1 FROM projects p WHERE p.id = $4 AND p.organization_id = o.id))")
            .bind(viewer.user.0).bind(id.0).bind(viewer.organization.map(|id| id.0)).bind(viewer.project.map(|id| id.0))
            .fetch_optional(db).await?);
        Ok(found.map(Into::into))
    }

    /// What is `None` stays as it is. The organization itself `None`: the viewer may not see it.
    pub async fn update_organization(
        &self,
        viewer: &Viewer,
        id: OrganizationId,
        name: Option<&str>,
        slug: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<Option<(Organization, Role)>> {
        if self.organization(viewer, id).await?.is_none() {
            return Ok(None);
        }
        on_write!(self, db => sqlx::query(
            "UPDATE organizations SET name = COALESCE($2, name), slug = COALESCE($3, slug), updated_at = $4 WHERE id = $1")
            .bind(id.0).bind(name).bind(slug).bind(now).execute(db).await?.rows_affected());
        self.organization(viewer, id).await
    }

    /// Only without projects: their deployments live at Ghost, and deleting those is the caller's to decide first.
    pub async fn delete_organization(&self, viewer: &Viewer, id: OrganizationId) -> Result<DeleteOutcome> {
        if self.organization(viewer, id).await?.is_none() {
            return Ok(DeleteOutcome::NotFound);
        }
        let deleted = async {
            Ok::<_, StoreError>(on_write!(self, db => sqlx::query(
                "DELETE FROM organizations WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM projects WHERE organization_id = $1)")
                .bind(id.0).execute(db).await?.rows_affected()))
        };
        match deleted.await {
            Ok(0) | Err(StoreError::ForeignKey) => Ok(DeleteOutcome::InUse),
            Ok(_) => Ok(DeleteOutcome::Deleted),
            Err(error) => Err(error),
        }
    }

    pub async fn set_plan(&self, id: OrganizationId, plan: Plan, now: DateTime<Utc>) -> Result<()> {
        on_write!(self, db => sqlx::query("UPDATE organizations SET plan = $2, updated_at = $3 WHERE id = $1")
            .bind(id.0).bind(plan.as_str()).bind(now).execute(db).await?.rows_affected());
        Ok(())
    }
}
