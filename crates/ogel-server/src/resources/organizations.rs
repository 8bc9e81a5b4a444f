//! Organizations: who owns projects.

pub(crate) mod audit_log;
pub(crate) mod invitations;
mod members;

use super::shared::{self, PagedDeleted, refused};
use crate::{
    caller::{Allowed, scope},
    error::{Failure, Result},
    extract::{Json, NoParameters, Path, Query, Versioned},
    permissions::rule,
    pipeline::{IfMatch, Made},
    router::{Routes, routes},
    state::App,
};
use axum::{extract::State, http::StatusCode};
use ogel_api::{
    error::{Error, ErrorCode},
    id::OrganizationId,
    organizations::{NewOrganization, Organization, OrganizationList, Plan, Role, UpdateOrganization},
};
use ogel_store::{Refusal, StoreError, Viewer};

pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list_organizations, create_organization))
        .routes(routes!(get_organization, update_organization, delete_organization))
        .routes(routes!(restore_organization))
        .routes(routes!(audit_log::get_audit_log))
        .routes(routes!(members::list_members))
        .routes(routes!(members::get_member, members::update_member, members::remove_member))
        .routes(routes!(members::list_roles))
        .routes(routes!(invitations::list_invitations, invitations::create_invitation))
        .routes(routes!(invitations::resend_invitation))
        .routes(routes!(invitations::revoke_invitation))
}

pub(crate) fn wire((row, role): &(ogel_store::Organization, Role)) -> Organization {
    Organization {
        id: row.id,
        name: row.name.clone(),
        slug: row.slug.clone(),
        plan: row.plan,
        role: *role,
        created_at: row.created_at.into(),
        updated_at: row.updated_at.into(),
        deleted_at: None,
        purge_at: None,
    }
}

/// A deleted one, with the time it has left.
fn wire_deleted(app: &App, (row, role): &(ogel_store::Organization, Role)) -> Organization {
    let deleted_at = row.deleted_at.map(Into::into);
    let purge_at = row.deleted_at.map(|at| (at + shared::restore_window(app)).into());
    Organization { deleted_at, purge_at, ..wire(&(row.clone(), *role)) }
}

/// The organization, if the caller may know of it.
async fn visible(app: &App, viewer: &Viewer, id: OrganizationId) -> Result<(ogel_store::Organization, Role)> {
    Ok(app.store.organization(viewer, id).await?.ok_or_else(|| Error::not_found("organization", id))?)
}

/// A key for one project may look at the organization around it, but not change it.
fn refuse_project_key(viewer: &Viewer) -> Result<()> {
    if viewer.project.is_none() {
        return Ok(());
    }
    Err(Failure::new(ErrorCode::Forbidden, "this API key is bound to one project; use one that is not"))
}

/// The organizations the caller belongs to, newest first. `deleted=true` lists those that can still be restored, to their
/// owners.
#[utoipa::path(get, path = "/organizations", operation_id = "list_organizations", tag = "organizations",
    params(("deleted" = Option<bool>, Query), ("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = OrganizationList)), security(("bearer" = [])))]
async fn list_organizations(
    State(app): State<App>,
    caller: Allowed<scope::OrganizationsRead>,
    Query(query): Query<PagedDeleted>,
) -> Result<Json<OrganizationList>> {
    let viewer = &caller.caller.viewer;
    let filters = if query.deleted { "deleted" } else { "" };
    let request = query.page.request(filters)?;
    let (page, organizations) = if query.deleted {
        let page = app.store.deleted_organizations(viewer, Role::Owner, &request).await?;
        let wired = page.rows.iter().map(|row| wire_deleted(&app, row)).collect();
        (page, wired)
    } else {
        let page = app.store.organizations(viewer, &request).await?;
        let wired = page.rows.iter().map(wire).collect();
        (page, wired)
    };
    let pagination = shared::pagination(&page, filters);
    Ok(Json(OrganizationList { organizations, pagination }))
}

/// Makes an organization whose owner is the caller.
#[utoipa::path(post, path = "/organizations", operation_id = "create_organization", tag = "organizations",
    request_body = NewOrganization, responses((status = 201, body = Organization)), security(("bearer" = [])))]
async fn create_organization(
    State(app): State<App>,
    caller: Allowed<scope::OrganizationsWrite>,
    made: Made,
    Json(body): Json<NewOrganization>,
) -> Result<(StatusCode, Versioned<Organization>)> {
    let viewer = &caller.caller.viewer;
    if viewer.organization.is_some() || viewer.project.is_some() {
        let message = "this API key is bound to one organization or project; use one that is not";
        return Err(Failure::new(ErrorCode::Forbidden, message));
    }
    let now = app.world.now();
    let id = OrganizationId(app.world.uuid());
    let name = shared::name(&body.name)?;
    let slug = body.slug.as_deref().map_or_else(|| Ok(shared::slug_of(&name, id.0)), shared::chosen_slug)?;
    let mut row = ogel_store::Organization {
        id,
        name,
        slug,
        plan: Plan::Free,
        created_at: now,
        updated_at: now,
        row_version: 1,
        deleted_at: None,
    };
    let act = |row: &ogel_store::Organization| {
        made.answered(&app, caller.act(&app), StatusCode::CREATED, &wire(&(row.clone(), Role::Owner)))
    };
    match app.store.create_organization(&act(&row)?, &row, viewer.user).await {
        // A slug of our own making must not be the caller's problem.
        Err(StoreError::Unique { what: "organizations.slug" }) | Ok(Err(Refusal::SlugHeld)) if body.slug.is_none() => {
            row.slug = shared::another_slug(&row.slug, id.0);
            app.store.create_organization(&act(&row)?, &row, viewer.user).await?
        }
        other => other?,
    }
    .map_err(|refusal| refused(refusal, "organization", id))?;
    app.callers.forget_all();
    Ok((StatusCode::CREATED, Versioned(row.row_version, wire(&(row, Role::Owner)))))
}

/// One organization of the caller's.
#[utoipa::path(get, path = "/organizations/{id}", operation_id = "get_organization", tag = "organizations",
    params(("id" = OrganizationId, Path)), responses((status = 200, body = Organization)), security(("bearer" = [])))]
async fn get_organization(
    State(app): State<App>,
    caller: Allowed<scope::OrganizationsRead>,
    Path(id): Path<OrganizationId>,
    _: Query<NoParameters>,
) -> Result<Versioned<Organization>> {
    let row = visible(&app, &caller.caller.viewer, id).await?;
    Ok(Versioned(row.0.row_version, wire(&row)))
}

/// Renames an organization. A slug it gives up is held for it for a while. Takes the role admin.
#[utoipa::path(patch, path = "/organizations/{id}", operation_id = "update_organization", tag = "organizations",
    params(("id" = OrganizationId, Path), ("If-Match" = Option<String>, Header)), request_body = UpdateOrganization,
    responses((status = 200, body = Organization)), security(("bearer" = [])))]
async fn update_organization(
    State(app): State<App>,
    caller: Allowed<scope::OrganizationsWrite>,
    Path(id): Path<OrganizationId>,
    IfMatch(expected): IfMatch,
    Json(body): Json<UpdateOrganization>,
) -> Result<Versioned<Organization>> {
    let viewer = &caller.caller.viewer;
    let (_, role) = visible(&app, viewer, id).await?;
    refuse_project_key(viewer)?;
    rule::UPDATE_ORGANIZATION.permit(role)?;
    let name = body.name.as_deref().map(shared::name).transpose()?;
    let slug = body.slug.as_deref().map(shared::chosen_slug).transpose()?;
    let hold_until = app.world.now() + shared::restore_window(&app);
    let change = (name.as_deref(), slug.as_deref());
    let row = app.store.update_organization(&caller.act(&app), viewer, id, change, hold_until, &expected).await?;
    let row = row.map_err(|refusal| refused(refusal, "organization", id))?;
    Ok(Versioned(row.0.row_version, wire(&row)))
}

/// Deletes an organization that has no projects left. Its owners can restore it for a while. Takes the role owner.
#[utoipa::path(delete, path = "/organizations/{id}", operation_id = "delete_organization", tag = "organizations",
    params(("id" = OrganizationId, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 204, description = "Deleted")), security(("bearer" = [])))]
async fn delete_organization(
    State(app): State<App>,
    caller: Allowed<scope::OrganizationsWrite>,
    Path(id): Path<OrganizationId>,
    IfMatch(expected): IfMatch,
    _: Query<NoParameters>,
) -> Result<StatusCode> {
    let viewer = &caller.caller.viewer;
    let (_, role) = visible(&app, viewer, id).await?;
    refuse_project_key(viewer)?;
    rule::DELETE_ORGANIZATION.permit(role)?;
    let outcome = app.store.delete_organization(&caller.act(&app), viewer, id, &expected).await?;
    outcome.map_err(|refusal| refused(refusal, "organization", id))?;
    app.callers.forget_all();
    Ok(StatusCode::NO_CONTENT)
}

/// Brings a deleted organization back. Takes the role owner.
#[utoipa::path(post, path = "/organizations/{id}/restore", operation_id = "restore_organization", tag = "organizations",
    params(("id" = OrganizationId, Path)), responses((status = 200, body = Organization)), security(("bearer" = [])))]
async fn restore_organization(
    State(app): State<App>,
    caller: Allowed<scope::OrganizationsWrite>,
    Path(id): Path<OrganizationId>,
    _: Query<NoParameters>,
) -> Result<Versioned<Organization>> {
    let viewer = &caller.caller.viewer;
    let row = match app.store.deleted_organization(viewer, id).await? {
        Some((_, role)) => {
            refuse_project_key(viewer)?;
            rule::RESTORE_ORGANIZATION.permit(role)?;
            let outcome = app.store.restore_organization(&caller.act(&app), viewer, id).await?;
            outcome.map_err(|refusal| refused(refusal, "organization", id))?
        }
        // One that is not deleted is as it should be.
        None => {
            let row = visible(&app, viewer, id).await?;
            refuse_project_key(viewer)?;
            rule::RESTORE_ORGANIZATION.permit(row.1)?;
            row
        }
    };
    app.callers.forget_all();
    Ok(Versioned(row.0.row_version, wire(&row)))
}
