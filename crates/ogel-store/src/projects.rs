//! Projects, seen through the memberships of their organization.

use crate::{
    Act, ApiKey, Entry, Expected, Outcome, Page, PageRequest, Refusal, Result, Store, Viewer,
    api_keys::{api_key_columns, revoked},
    audit::audited,
    change::is_expected,
    members::own_role,
    organizations::HOLD,
    pool::{on_list, on_read, on_write},
    viewer::{seen_by, sees_any_project, sees_project},
    words::{Seen, row},
};
use chrono::{DateTime, Utc};
use ogel_api::{
    audit::AuditAction,
    id::{OrganizationId, ProjectId},
    organizations::Role,
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    pub id: ProjectId,
    pub organization_id: OrganizationId,
    pub name: String,
    /// Unique within the organization. A deleted project's is followed by `~` and its id, so that others may have it.
    pub slug: String,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    /// One more with every change.
    pub row_version: i64,
    /// Since when it is only there to be restored.
    pub deleted_at: Option<DateTime<Utc>>,
}
row!(Project, columns of "projects" {
    id,
    organization_id,
    name,
    slug,
    created_at,
    updated_at,
    row_version,
    deleted_at
});

impl Project {
    pub(crate) fn made(&self) -> Entry {
        Entry::new(self.organization_id, AuditAction::ProjectCreated, self.id)
            .after("name", &self.name)
            .after("slug", &self.slug)
    }

    /// The slug it has, or had before it was deleted.
    pub fn plain_slug(&self) -> &str {
        self.slug.split('~').next().unwrap_or_default()
    }
}

/// Whether a project can be removed for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purge {
    Begun,
    /// It was restored, or not deleted long enough ago.
    NotDue,
    /// There is no such project any more.
    Done,
}

pub(crate) const INSERT: &str =
    "INSERT INTO projects (id, organization_id, name, slug, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6)";

/// A deleted project whose time to be restored is over: it was deleted before `$parameter`, or nobody is left who could
/// restore it.
macro_rules! is_due_to_purge {
    ($parameter:literal) => {
        concat!(
            " projects.deleted_at IS NOT NULL AND (projects.deleted_at < ",
            $parameter,
            " OR NOT EXISTS (SELECT 1 FROM organization_members m WHERE m.organization_id = projects.organization_id)) "
        )
    };
}

impl Store {
    /// The caller has looked whether its maker may: an organization is not asked for here but named.
    pub async fn create_project(&self, act: &Act, project: &Project) -> Result<Outcome<()>> {
        Ok(audited!(self, act, tx => {
            let held = sqlx::query(HOLD).bind(project.organization_id.0).execute(&mut *tx).await?.rows_affected();
            if held == 0 {
                Err(Refusal::NotFound)
            } else {
                sqlx::query(INSERT)
                    .bind(project.id.0).bind(project.organization_id.0).bind(&project.name).bind(&project.slug)
                    .bind(project.created_at).bind(project.updated_at)
                    .execute(&mut *tx).await?;
                Ok(((), vec![project.made()]))
            }
        }))
    }

    pub async fn projects(
        &self,
        viewer: &Viewer,
        organization: Option<OrganizationId>,
        request: &PageRequest,
    ) -> Result<Page<(Project, Role)>> {
        let rows: Vec<Seen<Project>> = on_list!(self, db => seen_by!(sqlx::query_as(concat!(
            "SELECT ", columns!(), ", m.role FROM projects", sees_project!(),
            "WHERE ($4 IS NULL OR projects.organization_id = $4) AND (projects.created_at, projects.id) < ($5, $6) \
             ORDER BY projects.created_at DESC, projects.id DESC LIMIT $7")), viewer)
            .bind(organization.map(|id| id.0))
            .bind(request.after_time()).bind(request.after_id()).bind(request.fetch())
            .fetch_all(db).await?);
        let rows = rows.into_iter().map(Into::into).collect();
        Ok(request.page(rows, |(row, _): &(Project, Role)| (row.created_at, row.id.0)))
    }

    /// Deleted ones of organizations in which the viewer has one of these two roles.
    pub async fn deleted_projects(
        &self,
        viewer: &Viewer,
        roles: [Role; 2],
        organization: Option<OrganizationId>,
        request: &PageRequest,
    ) -> Result<Page<(Project, Role)>> {
        let rows: Vec<Seen<Project>> = on_read!(self, db => seen_by!(sqlx::query_as(concat!(
            "SELECT ", columns!(), ", m.role FROM projects", sees_any_project!(),
            "JOIN organizations o ON o.id = projects.organization_id AND o.deleted_at IS NULL \
             WHERE projects.deleted_at IS NOT NULL AND m.role IN ($8, $9) \
             AND ($4 IS NULL OR projects.organization_id = $4) AND (projects.created_at, projects.id) < ($5, $6) \
             ORDER BY projects.created_at DESC, projects.id DESC LIMIT $7")), viewer)
            .bind(organization.map(|id| id.0))
            .bind(request.after_time()).bind(request.after_id()).bind(request.fetch())
            .bind(roles[0].as_str()).bind(roles[1].as_str())
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

    /// One that can still be restored.
    pub async fn deleted_project(&self, viewer: &Viewer, id: ProjectId) -> Result<Option<(Project, Role)>> {
        let found: Option<Seen<Project>> = on_read!(self, db => seen_by!(sqlx::query_as(concat!(
            "SELECT ", columns!(), ", m.role FROM projects", sees_any_project!(),
            "JOIN organizations o ON o.id = projects.organization_id AND o.deleted_at IS NULL \
             WHERE projects.id = $4 AND projects.deleted_at IS NOT NULL")), viewer)
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

    /// What is `None` stays as it is.
    pub async fn update_project(
        &self,
        act: &Act,
        viewer: &Viewer,
        id: ProjectId,
        change: (Option<&str>, Option<&str>),
        expected: &Expected,
    ) -> Result<Outcome<(Project, Role)>> {
        let (name, slug) = change;
        let outcome = audited!(self, act, tx => {
            // Answers with the row as it was, and keeps it until the end: nobody changes it between the two statements.
            let before: Option<Seen<Project>> = seen_by!(sqlx::query_as(concat!(
                "UPDATE projects SET row_version = row_version + 1 \
                 WHERE id IN (SELECT projects.id FROM projects", sees_project!(), "WHERE projects.id = $4) AND ",
                is_expected!("projects", "$5"),
                " RETURNING ", columns!(), ", (SELECT r.role FROM organization_members r \
                           WHERE r.organization_id = projects.organization_id AND r.user_id = $1) AS role")), viewer)
                .bind(id.0).bind(expected.text()).fetch_all(&mut *tx).await?.pop();
            match before.map(<(Project, Role)>::from) {
                None => Err(Refusal::Stale),
                Some((before, role)) => {
                    let after: Project = sqlx::query_as(concat!(
                        "UPDATE projects SET name = COALESCE($2, name), slug = COALESCE($3, slug), updated_at = $4 \
                         WHERE id = $1 RETURNING ", columns!()))
                        .bind(id.0).bind(name).bind(slug).bind(act.at)
                        .fetch_all(&mut *tx).await?.pop().ok_or(sqlx::Error::RowNotFound)?;
                    let entry = Entry::new(after.organization_id, AuditAction::ProjectUpdated, id)
                        .changed("name", &before.name, &after.name)
                        .changed("slug", &before.slug, &after.slug);
                    Ok(((after, role), vec![entry]))
                }
            }
        });
        self.stale_or_gone_project(viewer, id, outcome).await
    }

    /// Moves it to another organization, with the keys and webhooks that are bound to it. `may` is told the viewer's roles
    /// here and there. Written down in both. `TooMany`: the organization there would have more than `most_webhooks`.
    pub async fn transfer_project(
        &self,
        act: &Act,
        viewer: &Viewer,
        id: ProjectId,
        (to, slug): (OrganizationId, Option<&str>),
        most_webhooks: u32,
        may: impl Fn(Role, Role) -> bool,
    ) -> Result<Outcome<Project>> {
        Ok(audited!(self, act, tx => {
            let before: Option<Seen<Project>> = seen_by!(sqlx::query_as(concat!(
                "UPDATE projects SET row_version = row_version + 1 \
                 WHERE id IN (SELECT projects.id FROM projects", sees_project!(), "WHERE projects.id = $4) \
                 RETURNING ", columns!(), ", (SELECT r.role FROM organization_members r \
                           WHERE r.organization_id = projects.organization_id AND r.user_id = $1) AS role")), viewer)
                .bind(id.0).fetch_all(&mut *tx).await?.pop();
            let there = own_role!(tx, viewer, to);
            match (before.map(<(Project, Role)>::from), there) {
                (None, _) | (_, None) => Err(Refusal::NotFound),
                (Some((_, here)), Some(there)) if !may(here, there) => Err(Refusal::NotAllowed),
                (Some((before, _)), Some(_)) => {
                    let after: Project = sqlx::query_as(concat!(
                        "UPDATE projects SET organization_id = $2, slug = COALESCE($3, slug), updated_at = $4 \
                         WHERE id = $1 RETURNING ", columns!()))
                        .bind(id.0).bind(to.0).bind(slug).bind(act.at)
                        .fetch_all(&mut *tx).await?.pop().ok_or(sqlx::Error::RowNotFound)?;
                    sqlx::query("UPDATE api_keys SET organization_id = $2 WHERE project_id = $1 AND organization_id IS NOT NULL")
                        .bind(id.0).bind(to.0).execute(&mut *tx).await?;
                    let webhooks = sqlx::query("UPDATE webhooks SET organization_id = $2, updated_at = $3, \
                                                row_version = row_version + 1 WHERE project_id = $1")
                        .bind(id.0).bind(to.0).bind(act.at).execute(&mut *tx).await?.rows_affected();
                    let there: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM webhooks WHERE organization_id = $1")
                        .bind(to.0).fetch_one(&mut *tx).await?;
                    let entry = |organization| {
                        let entry = Entry::new(organization, AuditAction::ProjectTransferred, id)
                            .changed("organizationId", before.organization_id, after.organization_id)
                            .changed("slug", &before.slug, &after.slug);
                        if webhooks > 0 { entry.after("webhooks", webhooks) } else { entry }
                    };
                    let entries = vec![entry(before.organization_id), entry(to)];
                    let is_too_many = webhooks > 0 && there > i64::from(most_webhooks);
                    if is_too_many { Err(Refusal::TooMany) } else { Ok((after, entries)) }
                }
            }
        }))
    }

    async fn stale_or_gone_project<T>(
        &self,
        viewer: &Viewer,
        id: ProjectId,
        outcome: Outcome<T>,
    ) -> Result<Outcome<T>> {
        if matches!(outcome, Err(Refusal::Stale)) && self.project(viewer, id).await?.is_none() {
            return Ok(Err(Refusal::NotFound));
        }
        Ok(outcome)
    }

    /// Nobody sees it any more, and its slug is free; until it is purged it can be restored.
    pub async fn delete_project(
        &self,
        act: &Act,
        viewer: &Viewer,
        id: ProjectId,
        expected: &Expected,
    ) -> Result<Outcome<()>> {
        let outcome = audited!(self, act, tx => {
            let deleted: Option<Project> = seen_by!(sqlx::query_as(concat!(
                "UPDATE projects SET row_version = row_version + 1, deleted_at = $5, updated_at = $5, slug = slug || $7 \
                 WHERE id IN (SELECT projects.id FROM projects", sees_project!(), "WHERE projects.id = $4) AND ",
                is_expected!("projects", "$6"), " RETURNING ", columns!())), viewer)
                .bind(id.0).bind(act.at).bind(expected.text()).bind(format!("~{}", id.0.simple()))
                .fetch_all(&mut *tx).await?.pop();
            match deleted {
                None => Err(Refusal::Stale),
                Some(row) => {
                    let entry = Entry::new(row.organization_id, AuditAction::ProjectDeleted, id)
                        .before("name", &row.name).before("slug", row.plain_slug());
                    Ok(((), vec![entry]))
                }
            }
        });
        self.stale_or_gone_project(viewer, id, outcome).await
    }

    /// Brings a deleted one back, under this slug. `Purging`: it is too late.
    pub async fn restore_project(
        &self,
        act: &Act,
        viewer: &Viewer,
        id: ProjectId,
        slug: &str,
    ) -> Result<Outcome<(Project, Role)>> {
        Ok(audited!(self, act, tx => {
            let restored: Option<Seen<Project>> = seen_by!(sqlx::query_as(concat!(
                "UPDATE projects SET row_version = row_version + 1, deleted_at = NULL, updated_at = $5, slug = $6 \
                 WHERE deleted_at IS NOT NULL AND purging_at IS NULL AND id IN (SELECT projects.id FROM projects", sees_any_project!(),
                "WHERE projects.id = $4) RETURNING ", columns!(), ", (SELECT r.role FROM organization_members r \
                           WHERE r.organization_id = projects.organization_id AND r.user_id = $1) AS role")), viewer)
                .bind(id.0).bind(act.at).bind(slug).fetch_all(&mut *tx).await?.pop();
            let purging: i64 = seen_by!(sqlx::query_scalar(concat!(
                "SELECT COUNT(*) FROM projects", sees_any_project!(),
                "WHERE projects.id = $4 AND projects.purging_at IS NOT NULL")), viewer)
                .bind(id.0).fetch_one(&mut *tx).await?;
            match restored.map(<(Project, Role)>::from) {
                None if purging > 0 => Err(Refusal::Purging),
                None => Err(Refusal::NotFound),
                Some((row, role)) => {
                    // An organization deleted meanwhile keeps its projects deleted.
                    let held = sqlx::query(HOLD).bind(row.organization_id.0).execute(&mut *tx).await?.rows_affected();
                    let entry = Entry::new(row.organization_id, AuditAction::ProjectRestored, id)
                        .after("name", &row.name).after("slug", &row.slug);
                    if held == 0 { Err(Refusal::NotFound) } else { Ok(((row, role), vec![entry])) }
                }
            }
        }))
    }

    /// Deleted before then or by nobody to be restored, oldest first: what is due to be purged. Acts for nobody.
    pub async fn projects_to_purge(&self, before: DateTime<Utc>, limit: u32) -> Result<Vec<Project>> {
        Ok(on_read!(self, db => sqlx::query_as(concat!(
            "SELECT ", columns!(), " FROM projects WHERE", is_due_to_purge!("$1"), "ORDER BY deleted_at LIMIT $2"))
            .bind(before).bind(i64::from(limit)).fetch_all(db).await?))
    }

    /// From now on a project that is due cannot be restored. One that was restored first stays as it is.
    pub async fn begin_purge(&self, id: ProjectId, before: DateTime<Utc>, now: DateTime<Utc>) -> Result<Purge> {
        let begun = on_write!(self, db => sqlx::query(concat!(
            "UPDATE projects SET purging_at = COALESCE(purging_at, $3) WHERE id = $1 AND (purging_at IS NOT NULL OR (",
            is_due_to_purge!("$2"), "))"))
            .bind(id.0).bind(before).bind(now).execute(db).await?.rows_affected());
        if begun > 0 {
            return Ok(Purge::Begun);
        }
        let is_there: bool = on_read!(self, db => sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM projects WHERE id = $1)")
            .bind(id.0).fetch_one(db).await?);
        Ok(if is_there { Purge::NotDue } else { Purge::Done })
    }

    /// Removes a project whose purge has begun, with its deployments and what ties it to Ghost.
    pub async fn purge_project(&self, act: &Act, id: ProjectId) -> Result<Outcome<()>> {
        Ok(audited!(self, act, tx => {
            // While there is a project whose webhooks can be told.
            let keys: Vec<ApiKey> = sqlx::query_as(concat!(
                "DELETE FROM api_keys WHERE project_id = $1 RETURNING ", api_key_columns!()))
                .bind(id.0).fetch_all(&mut *tx).await?;
            let mut entries = revoked!(tx, keys, act);
            let gone: Option<Project> = sqlx::query_as(concat!(
                "DELETE FROM projects WHERE id = $1 AND purging_at IS NOT NULL RETURNING ", columns!()))
                .bind(id.0).fetch_all(&mut *tx).await?.pop();
            match gone {
                None => Err(Refusal::NotFound),
                Some(row) => {
                    entries.push(Entry::new(row.organization_id, AuditAction::ProjectPurged, id)
                        .before("name", &row.name).before("slug", row.plain_slug()));
                    Ok(((), entries))
                }
            }
        }))
    }
}
