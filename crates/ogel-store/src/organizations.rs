//! Organizations and who belongs to them.

use crate::{
    Page, PageRequest, Result, Store, StoreError, Viewer,
    pool::{on_read, on_write},
    viewer::{seen_by, sees_organization},
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
row!(Organization, columns of "organizations" { id, name, slug, plan, created_at, updated_at });

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
        let rows: Vec<Seen<Organization>> = on_read!(self, db => seen_by!(sqlx::query_as(concat!(
            "SELECT ", columns!(), ", m.role FROM organizations", sees_organization!(),
            "WHERE (organizations.created_at, organizations.id) < ($4, $5) \
             ORDER BY organizations.created_at DESC, organizations.id DESC LIMIT $6")), viewer)
            .bind(request.after_time()).bind(request.after_id()).bind(request.fetch())
            .fetch_all(db).await?);
        let rows = rows.into_iter().map(Into::into).collect();
        Ok(request.page(rows, |(row, _): &(Organization, Role)| (row.created_at, row.id.0)))
    }

    pub async fn organization(&self, viewer: &Viewer, id: OrganizationId) -> Result<Option<(Organization, Role)>> {
        let found: Option<Seen<Organization>> = on_read!(self, db => seen_by!(sqlx::query_as(concat!(
            "SELECT ", columns!(), ", m.role FROM organizations", sees_organization!(), "WHERE organizations.id = $4")), viewer)
            .bind(id.0).fetch_optional(db).await?);
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
        let found: Option<Seen<Organization>> = on_write!(self, db => seen_by!(sqlx::query_as(concat!(
            "UPDATE organizations SET name = COALESCE($5, name), slug = COALESCE($6, slug), updated_at = $7 \
             WHERE id IN (SELECT organizations.id FROM organizations", sees_organization!(), "WHERE organizations.id = $4) \
             RETURNING ", columns!(), ", (SELECT r.role FROM organization_members r \
                           WHERE r.organization_id = organizations.id AND r.user_id = $1) AS role")), viewer)
            .bind(id.0).bind(name).bind(slug).bind(now).fetch_all(db).await?.pop());
        Ok(found.map(Into::into))
    }

    /// Only without projects: their deployments live at Ghost, and deleting those is the caller's to decide first.
    pub async fn delete_organization(&self, viewer: &Viewer, id: OrganizationId) -> Result<DeleteOutcome> {
        let deleted = async {
            Ok::<_, StoreError>(on_write!(self, db => seen_by!(sqlx::query(concat!(
                "DELETE FROM organizations WHERE id IN (SELECT organizations.id FROM organizations", sees_organization!(),
                "WHERE organizations.id = $4) AND NOT EXISTS (SELECT 1 FROM projects WHERE organization_id = $4)")), viewer)
                .bind(id.0).execute(db).await?.rows_affected()))
        };
        match deleted.await {
            Ok(0) => {}
            Ok(_) => return Ok(DeleteOutcome::Deleted),
            // A project came between the look and the deletion.
            Err(StoreError::ForeignKey) => {}
            Err(error) => return Err(error),
        }
        let seen = self.organization(viewer, id).await?.is_some();
        Ok(if seen { DeleteOutcome::InUse } else { DeleteOutcome::NotFound })
    }

    /// The best plan among the organizations the viewer sees; `free` without one.
    pub async fn best_plan(&self, viewer: &Viewer) -> Result<Plan> {
        let plans: Vec<String> = on_read!(self, db => seen_by!(sqlx::query_scalar(concat!(
            "SELECT DISTINCT organizations.plan FROM organizations", sees_organization!())), viewer)
            .fetch_all(db).await?);
        let rank = |plan: &Plan| match plan {
            Plan::Team => 2,
            Plan::Pro => 1,
            Plan::Free | Plan::Unrecognized => 0,
        };
        let plans = plans.iter().filter_map(|plan| plan.parse().ok());
        Ok(plans.max_by_key(rank).unwrap_or(Plan::Free))
    }
}
