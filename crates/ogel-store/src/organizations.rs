//! Organizations, through their members' eyes. Whoever changes one, its members or its projects' places in it holds its
//! row first: such changes happen one after the other.

use crate::{
    Act, Entry, Expected, Outcome, Page, PageRequest, Refusal, Result, Store, Viewer,
    audit::audited,
    change::is_expected,
    pool::{on_list, on_read, on_write},
    viewer::{seen_by, sees_any_organization, sees_organization},
    words::{Seen, row},
};
use chrono::{DateTime, Utc};
use ogel_api::{
    audit::AuditAction,
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
    /// One more with every change.
    pub row_version: i64,
    /// Since when it is only there to be restored.
    pub deleted_at: Option<DateTime<Utc>>,
}
row!(Organization, columns of "organizations" {
    id,
    name,
    slug,
    plan,
    created_at,
    updated_at,
    row_version,
    deleted_at
});

pub(crate) use columns as organization_columns;

impl Organization {
    pub(crate) fn made(&self) -> Entry {
        Entry::new(self.id, AuditAction::OrganizationCreated, self.id)
            .after("name", &self.name)
            .after("slug", &self.slug)
            .after("plan", self.plan)
    }
}

pub(crate) const INSERT: &str =
    "INSERT INTO organizations (id, name, slug, plan, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6)";
pub(crate) const INSERT_MEMBER: &str =
    "INSERT INTO organization_members (organization_id, user_id, role, created_at) VALUES ($1, $2, $3, $4)";
/// Whether somebody else holds the slug `$1`. `$2` is the organization that may have it, `$3` the time.
pub(crate) const SLUG_HELD: &str =
    "SELECT COUNT(*) FROM organization_slugs WHERE slug = $1 AND organization_id <> $2 AND held_until > $3";
/// Changes nothing, but holds the row: whoever does the same waits. No row: there is none, or it is deleted.
pub(crate) const HOLD: &str = "UPDATE organizations SET row_version = row_version WHERE id = $1 AND deleted_at IS NULL";

impl Store {
    pub async fn create_organization(
        &self,
        act: &Act,
        organization: &Organization,
        owner: UserId,
    ) -> Result<Outcome<()>> {
        Ok(audited!(self, act, tx => {
            let held: i64 = sqlx::query_scalar(SLUG_HELD)
                .bind(&organization.slug).bind(organization.id.0).bind(act.at).fetch_one(&mut *tx).await?;
            if held > 0 {
                Err(Refusal::SlugHeld)
            } else {
                sqlx::query(INSERT)
                    .bind(organization.id.0).bind(&organization.name).bind(&organization.slug)
                    .bind(organization.plan.as_str()).bind(organization.created_at).bind(organization.updated_at)
                    .execute(&mut *tx).await?;
                sqlx::query(INSERT_MEMBER)
                    .bind(organization.id.0).bind(owner.0).bind(Role::Owner.as_str()).bind(organization.created_at)
                    .execute(&mut *tx).await?;
                Ok(((), vec![organization.made()]))
            }
        }))
    }

    /// Those the viewer belongs to. A key bound to a project sees that project's only.
    pub async fn organizations(&self, viewer: &Viewer, request: &PageRequest) -> Result<Page<(Organization, Role)>> {
        let rows: Vec<Seen<Organization>> = on_list!(self, db => seen_by!(sqlx::query_as(concat!(
            "SELECT ", columns!(), ", m.role FROM organizations", sees_organization!(),
            "WHERE (organizations.created_at, organizations.id) < ($4, $5) \
             ORDER BY organizations.created_at DESC, organizations.id DESC LIMIT $6")), viewer)
            .bind(request.after_time()).bind(request.after_id()).bind(request.fetch())
            .fetch_all(db).await?);
        let rows = rows.into_iter().map(Into::into).collect();
        Ok(request.page(rows, |(row, _): &(Organization, Role)| (row.created_at, row.id.0)))
    }

    /// Deleted ones in which the viewer has this role.
    pub async fn deleted_organizations(
        &self,
        viewer: &Viewer,
        role: Role,
        request: &PageRequest,
    ) -> Result<Page<(Organization, Role)>> {
        let rows: Vec<Seen<Organization>> = on_read!(self, db => seen_by!(sqlx::query_as(concat!(
            "SELECT ", columns!(), ", m.role FROM organizations", sees_any_organization!(),
            "WHERE organizations.deleted_at IS NOT NULL AND m.role = $7 \
             AND (organizations.created_at, organizations.id) < ($4, $5) \
             ORDER BY organizations.created_at DESC, organizations.id DESC LIMIT $6")), viewer)
            .bind(request.after_time()).bind(request.after_id()).bind(request.fetch()).bind(role.as_str())
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

    /// One that can still be restored.
    pub async fn deleted_organization(
        &self,
        viewer: &Viewer,
        id: OrganizationId,
    ) -> Result<Option<(Organization, Role)>> {
        let found: Option<Seen<Organization>> = on_read!(self, db => seen_by!(sqlx::query_as(concat!(
            "SELECT ", columns!(), ", m.role FROM organizations", sees_any_organization!(),
            "WHERE organizations.id = $4 AND organizations.deleted_at IS NOT NULL")), viewer)
            .bind(id.0).fetch_optional(db).await?);
        Ok(found.map(Into::into))
    }

    /// What is `None` stays as it is. A slug that is given up is held for the organization until `hold_until`.
    pub async fn update_organization(
        &self,
        act: &Act,
        viewer: &Viewer,
        id: OrganizationId,
        change: (Option<&str>, Option<&str>),
        hold_until: DateTime<Utc>,
        expected: &Expected,
    ) -> Result<Outcome<(Organization, Role)>> {
        let (name, slug) = change;
        let outcome = audited!(self, act, tx => {
            // Answers with the row as it was, and keeps it until the end: nobody changes it between the two statements.
            let before: Option<Seen<Organization>> = seen_by!(sqlx::query_as(concat!(
                "UPDATE organizations SET row_version = row_version + 1 \
                 WHERE id IN (SELECT organizations.id FROM organizations", sees_organization!(),
                "WHERE organizations.id = $4) AND ", is_expected!("organizations", "$5"),
                " RETURNING ", columns!(), ", (SELECT r.role FROM organization_members r \
                           WHERE r.organization_id = organizations.id AND r.user_id = $1) AS role")), viewer)
                .bind(id.0).bind(expected.text()).fetch_all(&mut *tx).await?.pop();
            match before.map(<(Organization, Role)>::from) {
                None => Err(Refusal::Stale),
                Some((before, role)) => {
                    let held: i64 = sqlx::query_scalar(SLUG_HELD)
                        .bind(slug).bind(id.0).bind(act.at).fetch_one(&mut *tx).await?;
                    if held > 0 {
                        Err(Refusal::SlugHeld)
                    } else {
                        let after: Organization = sqlx::query_as(concat!(
                            "UPDATE organizations SET name = COALESCE($2, name), slug = COALESCE($3, slug), updated_at = $4 \
                             WHERE id = $1 RETURNING ", columns!()))
                            .bind(id.0).bind(name).bind(slug).bind(act.at)
                            .fetch_all(&mut *tx).await?.pop().ok_or(sqlx::Error::RowNotFound)?;
                        if before.slug != after.slug {
                            sqlx::query("DELETE FROM organization_slugs WHERE slug IN ($1, $2)")
                                .bind(&before.slug).bind(&after.slug).execute(&mut *tx).await?;
                            sqlx::query("INSERT INTO organization_slugs (slug, organization_id, held_until) VALUES ($1, $2, $3)")
                                .bind(&before.slug).bind(id.0).bind(hold_until).execute(&mut *tx).await?;
                        }
                        let entry = Entry::new(id, AuditAction::OrganizationUpdated, id)
                            .changed("name", &before.name, &after.name)
                            .changed("slug", &before.slug, &after.slug);
                        Ok(((after, role), vec![entry]))
                    }
                }
            }
        });
        self.stale_or_gone(viewer, id, outcome).await
    }

    /// An organization that was not changed was another version only if it is to be seen at all.
    async fn stale_or_gone<T>(&self, viewer: &Viewer, id: OrganizationId, outcome: Outcome<T>) -> Result<Outcome<T>> {
        if matches!(outcome, Err(Refusal::Stale)) && self.organization(viewer, id).await?.is_none() {
            return Ok(Err(Refusal::NotFound));
        }
        Ok(outcome)
    }

    /// Only without projects: those are the caller's to delete or move first. Its slug stays its own until it is purged.
    pub async fn delete_organization(
        &self,
        act: &Act,
        viewer: &Viewer,
        id: OrganizationId,
        expected: &Expected,
    ) -> Result<Outcome<()>> {
        let outcome = audited!(self, act, tx => {
            let deleted: Option<Organization> = seen_by!(sqlx::query_as(concat!(
                "UPDATE organizations SET row_version = row_version + 1, deleted_at = $5, updated_at = $5 \
                 WHERE id IN (SELECT organizations.id FROM organizations", sees_organization!(),
                "WHERE organizations.id = $4) AND ", is_expected!("organizations", "$6"),
                " RETURNING ", columns!())), viewer)
                .bind(id.0).bind(act.at).bind(expected.text()).fetch_all(&mut *tx).await?.pop();
            let projects: i64 = sqlx::query_scalar(
                "SELECT COUNT(*) FROM projects WHERE organization_id = $1 AND deleted_at IS NULL")
                .bind(id.0).fetch_one(&mut *tx).await?;
            match deleted {
                None => Err(Refusal::Stale),
                Some(_) if projects > 0 => Err(Refusal::InUse),
                Some(row) => {
                    let entry = Entry::new(id, AuditAction::OrganizationDeleted, id)
                        .before("name", row.name).before("slug", row.slug);
                    Ok(((), vec![entry]))
                }
            }
        });
        self.stale_or_gone(viewer, id, outcome).await
    }

    /// Brings a deleted one back.
    pub async fn restore_organization(
        &self,
        act: &Act,
        viewer: &Viewer,
        id: OrganizationId,
    ) -> Result<Outcome<(Organization, Role)>> {
        Ok(audited!(self, act, tx => {
            let restored: Option<Seen<Organization>> = seen_by!(sqlx::query_as(concat!(
                "UPDATE organizations SET row_version = row_version + 1, deleted_at = NULL, updated_at = $5 \
                 WHERE deleted_at IS NOT NULL AND id IN (SELECT organizations.id FROM organizations",
                sees_any_organization!(), "WHERE organizations.id = $4) \
                 RETURNING ", columns!(), ", (SELECT r.role FROM organization_members r \
                           WHERE r.organization_id = organizations.id AND r.user_id = $1) AS role")), viewer)
                .bind(id.0).bind(act.at).fetch_all(&mut *tx).await?.pop();
            match restored.map(<(Organization, Role)>::from) {
                None => Err(Refusal::NotFound),
                Some((row, role)) => {
                    let entry = Entry::new(id, AuditAction::OrganizationRestored, id)
                        .after("name", &row.name).after("slug", &row.slug);
                    Ok(((row, role), vec![entry]))
                }
            }
        }))
    }

    /// Removes organizations that were deleted before then, or that nobody is left to restore, once they have no projects,
    /// with their members and their audit log; answers how many. Acts for nobody, and nobody is left who could read an
    /// entry about it.
    pub async fn purge_organizations(&self, before: DateTime<Utc>, limit: u32) -> Result<u64> {
        Ok(on_write!(self, db => sqlx::query(
            "DELETE FROM organizations WHERE deleted_at IS NOT NULL AND id IN (SELECT o.id FROM organizations o \
             WHERE o.deleted_at IS NOT NULL AND (o.deleted_at < $1 \
               OR NOT EXISTS (SELECT 1 FROM organization_members m WHERE m.organization_id = o.id)) \
             AND NOT EXISTS (SELECT 1 FROM projects p WHERE p.organization_id = o.id) LIMIT $2)")
            .bind(before).bind(i64::from(limit)).execute(db).await?.rows_affected()))
    }

    /// Slugs that are no longer held.
    pub async fn delete_lapsed_slugs(&self, now: DateTime<Utc>, limit: u32) -> Result<u64> {
        Ok(on_write!(self, db => sqlx::query(
            "DELETE FROM organization_slugs WHERE held_until <= $1 \
             AND slug IN (SELECT slug FROM organization_slugs WHERE held_until <= $1 LIMIT $2)")
            .bind(now).bind(i64::from(limit)).execute(db).await?.rows_affected()))
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
