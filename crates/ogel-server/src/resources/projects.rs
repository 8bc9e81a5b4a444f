//! Projects, by id or by slug among the caller's own.

use super::{
    shared::{self, PagedByOrganization, refused},
    webhooks::MOST_PER_ORGANIZATION as MOST_WEBHOOKS,
};
use crate::{
    caller::{Allowed, scope},
    error::{Failure, Result},
    extract::{Json, MaybeJson, NoParameters, Path, Query, Versioned, invalid_field},
    permissions::rule,
    pipeline::{IfMatch, Made},
    router::{Routes, routes},
    state::App,
};
use axum::{extract::State, http::StatusCode};
use ogel_api::{
    error::{Error, ErrorCode},
    id::{Id as _, IdError, ProjectId},
    organizations::Role,
    projects::{NewProject, Project, ProjectList, RestoreProject, TransferProject, UpdateProject},
};
use ogel_store::{Act, PageRequest, Refusal, StoreError, Viewer};
use std::str::FromStr;

pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list_projects, create_project))
        .routes(routes!(get_project, update_project, delete_project))
        .routes(routes!(restore_project))
        .routes(routes!(transfer_project))
        .routes(routes!(super::deployments::list_project_deployments))
}

pub(crate) fn wire(row: &ogel_store::Project) -> Project {
    Project {
        id: row.id,
        organization_id: row.organization_id,
        name: row.name.clone(),
        slug: row.plain_slug().to_owned(),
        created_at: row.created_at.into(),
        updated_at: row.updated_at.into(),
        deleted_at: None,
        purge_at: None,
    }
}

/// A deleted one, with the time it has left.
fn wire_deleted(app: &App, row: &ogel_store::Project) -> Project {
    let deleted_at = row.deleted_at.map(Into::into);
    let purge_at = row.deleted_at.map(|at| (at + shared::restore_window(app)).into());
    Project { deleted_at, purge_at, ..wire(row) }
}

/// How a path names a project.
pub(crate) enum ProjectRef {
    Id(ProjectId),
    Slug(String),
}

impl FromStr for ProjectRef {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        // An underscore never stands in a slug, so a mistyped id is told as such.
        match text.parse() {
            Ok(id) => Ok(Self::Id(id)),
            Err(_) if shared::slug(text).is_ok() => Ok(Self::Slug(text.to_owned())),
            Err(error) => Err(error),
        }
    }
}

/// The project, if the caller may know of it.
pub(crate) async fn visible(app: &App, viewer: &Viewer, project: &ProjectRef) -> Result<(ogel_store::Project, Role)> {
    match project {
        ProjectRef::Id(id) => {
            Ok(app.store.project(viewer, *id).await?.ok_or_else(|| Error::not_found("project", id))?)
        }
        ProjectRef::Slug(slug) => {
            let mut found = app.store.projects_by_slug(viewer, slug).await?;
            match (found.pop(), found.is_empty()) {
                (Some(project), true) => Ok(project),
                (Some(_), false) => {
                    let message = format!("`{slug}` names a project in several of your organizations; use the id");
                    Err(Failure::new(ErrorCode::AmbiguousSlug, message))
                }
                (None, _) => Err(Error::not_found("project", slug).into()),
            }
        }
    }
}

/// The caller's projects, newest first. `deleted=true` lists those that can still be restored, to admins.
#[utoipa::path(get, path = "/projects", operation_id = "list_projects", tag = "projects",
    params(("organizationId" = Option<ogel_api::id::OrganizationId>, Query), ("deleted" = Option<bool>, Query),
        ("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = ProjectList)), security(("bearer" = [])))]
async fn list_projects(
    State(app): State<App>,
    caller: Allowed<scope::ProjectsRead>,
    Query(query): Query<PagedByOrganization>,
) -> Result<Json<ProjectList>> {
    let viewer = &caller.caller.viewer;
    let filters = format!("{:?} {}", query.organization_id, query.deleted);
    let request = query.page.request(&filters)?;
    let page = if query.deleted {
        let roles = [Role::Admin, Role::Owner];
        app.store.deleted_projects(viewer, roles, query.organization_id, &request).await?
    } else {
        app.store.projects(viewer, query.organization_id, &request).await?
    };
    let pagination = shared::pagination(&page, &filters);
    let projects = page.rows.iter().map(|(row, _)| wire_deleted(&app, row)).collect();
    Ok(Json(ProjectList { projects, pagination }))
}

/// Makes a project. Takes the role developer in its organization.
#[utoipa::path(post, path = "/projects", operation_id = "create_project", tag = "projects", request_body = NewProject,
    responses((status = 201, body = Project)), security(("bearer" = [])))]
async fn create_project(
    State(app): State<App>,
    caller: Allowed<scope::ProjectsWrite>,
    made: Made,
    Json(body): Json<NewProject>,
) -> Result<(StatusCode, Versioned<Project>)> {
    let act = |row: &_| made.answered(&app, caller.act(&app), StatusCode::CREATED, &wire(row));
    let row = new_project(&app, act, &caller.caller.viewer, &body).await?;
    Ok((StatusCode::CREATED, Versioned(row.row_version, wire(&row))))
}

/// Also how `ogeld dev` makes its first project. `act` is told what is about to be made.
pub(crate) async fn new_project(
    app: &App,
    act: impl Fn(&ogel_store::Project) -> Result<Act>,
    viewer: &Viewer,
    body: &NewProject,
) -> Result<ogel_store::Project> {
    if viewer.project.is_some() {
        return Err(Failure::new(ErrorCode::Forbidden, "this API key is bound to one project; use one that is not"));
    }
    let name = shared::name(&body.name)?;
    let (organization, role) = match body.organization_id {
        Some(id) => app.store.organization(viewer, id).await?.ok_or_else(|| Error::not_found("organization", id))?,
        None => {
            let mut mine = app.store.organizations(viewer, &PageRequest { limit: 2, after: None }).await?.rows;
            match (mine.pop(), mine.is_empty()) {
                (Some(only), true) => only,
                _ => {
                    let message = "`organizationId` is missing, and you belong to more than one organization or none";
                    let fix = "add `organizationId`; `GET organizations` lists yours";
                    return Err(invalid_field(ErrorCode::MissingField, "body.organizationId", message, Some(fix)));
                }
            }
        }
    };
    rule::CREATE_PROJECT.permit(role)?;
    let now = app.world.now();
    let id = ProjectId(app.world.uuid());
    let slug = body.slug.as_deref().map_or_else(|| Ok(shared::slug_of(&name, id.uuid())), shared::chosen_slug)?;
    let mut row = ogel_store::Project {
        id,
        organization_id: organization.id,
        name,
        slug,
        created_at: now,
        updated_at: now,
        row_version: 1,
        deleted_at: None,
    };
    match app.store.create_project(&act(&row)?, &row).await {
        Err(StoreError::Unique { what: "projects.slug" }) if body.slug.is_none() => {
            row.slug = shared::another_slug(&row.slug, id.uuid());
            app.store.create_project(&act(&row)?, &row).await?
        }
        other => other?,
    }
    .map_err(|refusal| refused(refusal, "organization", organization.id))?;
    Ok(row)
}

/// One project, by id or slug.
#[utoipa::path(get, path = "/projects/{id}", operation_id = "get_project", tag = "projects",
    params(("id" = String, Path, description = "Id or slug")), responses((status = 200, body = Project)), security(("bearer" = [])))]
async fn get_project(
    State(app): State<App>,
    caller: Allowed<scope::ProjectsRead>,
    Path(project): Path<ProjectRef>,
    _: Query<NoParameters>,
) -> Result<Versioned<Project>> {
    let (row, _) = visible(&app, &caller.caller.viewer, &project).await?;
    Ok(Versioned(row.row_version, wire(&row)))
}

/// Renames a project. Takes the role developer.
#[utoipa::path(patch, path = "/projects/{id}", operation_id = "update_project", tag = "projects",
    params(("id" = String, Path, description = "Id or slug"), ("If-Match" = Option<String>, Header)),
    request_body = UpdateProject,
    responses((status = 200, body = Project)), security(("bearer" = [])))]
async fn update_project(
    State(app): State<App>,
    caller: Allowed<scope::ProjectsWrite>,
    Path(project): Path<ProjectRef>,
    IfMatch(expected): IfMatch,
    Json(body): Json<UpdateProject>,
) -> Result<Versioned<Project>> {
    let viewer = &caller.caller.viewer;
    let (project, role) = visible(&app, viewer, &project).await?;
    rule::UPDATE_PROJECT.permit(role)?;
    let name = body.name.as_deref().map(shared::name).transpose()?;
    let slug = body.slug.as_deref().map(shared::chosen_slug).transpose()?;
    let change = (name.as_deref(), slug.as_deref());
    let outcome = app.store.update_project(&caller.act(&app), viewer, project.id, change, &expected).await?;
    let (row, _) = outcome.map_err(|refusal| refused(refusal, "project", project.id))?;
    app.identities.forget(project.id.0);
    Ok(Versioned(row.row_version, wire(&row)))
}

/// Deletes a project: nobody sees it any more, and its slug is free. Admins can restore it for a while; then it is purged
/// with all it deployed. Takes the role admin. Deployments that are still running must be canceled first.
#[utoipa::path(delete, path = "/projects/{id}", operation_id = "delete_project", tag = "projects",
    params(("id" = String, Path, description = "Id or slug"), ("If-Match" = Option<String>, Header)),
    responses((status = 204, description = "Deleted")), security(("bearer" = [])))]
async fn delete_project(
    State(app): State<App>,
    caller: Allowed<scope::ProjectsWrite>,
    Path(project): Path<ProjectRef>,
    IfMatch(expected): IfMatch,
    _: Query<NoParameters>,
) -> Result<StatusCode> {
    let viewer = &caller.caller.viewer;
    let (project, role) = visible(&app, viewer, &project).await?;
    rule::DELETE_PROJECT.permit(role)?;
    if app.store.count_unfinished(project.id).await? > 0 {
        let message = "the project has deployments that are still running; cancel them first";
        return Err(Failure::new(ErrorCode::Conflict, message));
    }
    let outcome = app.store.delete_project(&caller.act(&app), viewer, project.id, &expected).await?;
    outcome.map_err(|refusal| refused(refusal, "project", project.id))?;
    app.identities.forget(project.id.0);
    Ok(StatusCode::NO_CONTENT)
}

/// Brings a deleted project back with all it deployed, under the slug it had or the one given. 409 once its removal for good
/// has begun. Takes the role admin.
#[utoipa::path(post, path = "/projects/{id}/restore", operation_id = "restore_project", tag = "projects",
    params(("id" = ProjectId, Path)), request_body(content = Option<RestoreProject>),
    responses((status = 200, body = Project)), security(("bearer" = [])))]
async fn restore_project(
    State(app): State<App>,
    caller: Allowed<scope::ProjectsWrite>,
    Path(id): Path<ProjectId>,
    MaybeJson(body): MaybeJson<RestoreProject>,
) -> Result<Versioned<Project>> {
    let viewer = &caller.caller.viewer;
    let chosen = body.slug.as_deref().map(shared::chosen_slug).transpose()?;
    let row = match app.store.deleted_project(viewer, id).await? {
        Some((row, role)) => {
            rule::RESTORE_PROJECT.permit(role)?;
            let slug = chosen.as_deref().unwrap_or_else(|| row.plain_slug());
            let outcome = app.store.restore_project(&caller.act(&app), viewer, id, slug).await?;
            outcome.map_err(|refusal| refused(refusal, "project", id))?.0
        }
        // One that is not deleted is as it should be.
        None => {
            let (row, role) = visible(&app, viewer, &ProjectRef::Id(id)).await?;
            rule::RESTORE_PROJECT.permit(role)?;
            row
        }
    };
    app.identities.forget(id.0);
    Ok(Versioned(row.row_version, wire(&row)))
}

/// Moves a project to another organization, with all it deployed and the API keys and webhooks that are bound to it. Takes
/// the role admin in both.
#[utoipa::path(post, path = "/projects/{id}/transfer", operation_id = "transfer_project", tag = "projects",
    params(("id" = String, Path, description = "Id or slug")), request_body = TransferProject,
    responses((status = 200, body = Project)), security(("bearer" = [])))]
async fn transfer_project(
    State(app): State<App>,
    caller: Allowed<scope::ProjectsWrite>,
    Path(project): Path<ProjectRef>,
    Json(body): Json<TransferProject>,
) -> Result<Versioned<Project>> {
    let viewer = &caller.caller.viewer;
    let (project, role) = visible(&app, viewer, &project).await?;
    rule::TRANSFER_PROJECT.permit(role)?;
    let to = body.organization_id;
    let slug = body.slug.as_deref().map(shared::chosen_slug).transpose()?;
    let (_, there) = app.store.organization(viewer, to).await?.ok_or_else(|| Error::not_found("organization", to))?;
    rule::TRANSFER_PROJECT.permit(there)?;
    if viewer.organization.is_some() || viewer.project.is_some() {
        let message = "this API key is bound to one organization or project; use one that is not";
        return Err(Failure::new(ErrorCode::Forbidden, message));
    }
    // The roles are looked at once more in the transaction: either may have changed meanwhile.
    let may = |here, there| rule::TRANSFER_PROJECT.allows(here) && rule::TRANSFER_PROJECT.allows(there);
    let change = (to, slug.as_deref());
    let outcome = app.store.transfer_project(&caller.act(&app), viewer, project.id, change, MOST_WEBHOOKS, may).await?;
    let row = outcome.map_err(|refusal| match refusal {
        Refusal::TooMany => {
            let message =
                format!("the organization there would have more than {MOST_WEBHOOKS} webhooks; remove some first");
            Failure::new(ErrorCode::QuotaExceeded, message)
        }
        Refusal::NotAllowed => Failure::new(ErrorCode::Forbidden, "this takes the role `admin` in both organizations"),
        other => refused(other, "project", project.id),
    })?;
    app.identities.forget(row.id.0);
    Ok(Versioned(row.row_version, wire(&row)))
}
