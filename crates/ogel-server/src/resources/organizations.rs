//! Organizations: who owns projects.

use super::shared::{self, Paged};
use crate::{
    caller::{Allowed, require_role, scope},
    error::{Failure, Result},
    extract::{Json, NoParameters, Path, Query},
    state::App,
};
use axum::{extract::State, http::StatusCode};
use ogel_api::{
    error::{Error, ErrorCode},
    id::OrganizationId,
    organizations::{NewOrganization, Organization, OrganizationList, Plan, Role, UpdateOrganization},
};
use ogel_store::{DeleteOutcome, StoreError, Viewer};
use utoipa_axum::{router::OpenApiRouter, routes};

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_organizations, create_organization)).routes(routes!(
        get_organization,
        update_organization,
        delete_organization
    ))
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
    }
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

/// The organizations the caller belongs to, newest first.
#[utoipa::path(get, path = "/organizations", operation_id = "list_organizations", tag = "organizations",
    params(("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = OrganizationList)), security(("bearer" = [])))]
async fn list_organizations(
    State(app): State<App>,
    caller: Allowed<scope::OrganizationsRead>,
    Query(Paged(query)): Query<Paged>,
) -> Result<Json<OrganizationList>> {
    let page = app.store.organizations(&caller.caller.viewer, &query.request("")?).await?;
    let pagination = shared::pagination(&page, "");
    Ok(Json(OrganizationList { organizations: page.rows.iter().map(wire).collect(), pagination }))
}

/// Makes an organization whose owner is the caller.
#[utoipa::path(post, path = "/organizations", operation_id = "create_organization", tag = "organizations",
    request_body = NewOrganization, responses((status = 201, body = Organization)), security(("bearer" = [])))]
async fn create_organization(
    State(app): State<App>,
    caller: Allowed<scope::OrganizationsWrite>,
    Json(body): Json<NewOrganization>,
) -> Result<(StatusCode, Json<Organization>)> {
    let viewer = &caller.caller.viewer;
    if viewer.organization.is_some() || viewer.project.is_some() {
        let message = "this API key is bound to one organization or project; use one that is not";
        return Err(Failure::new(ErrorCode::Forbidden, message));
    }
    let now = app.world.now();
    let id = OrganizationId(app.world.uuid());
    let name = shared::name(&body.name)?;
    let slug = body.slug.as_deref().map_or_else(|| Ok(shared::slug_of(&name, id.0)), shared::slug)?;
    let mut row = ogel_store::Organization { id, name, slug, plan: Plan::Free, created_at: now, updated_at: now };
    match app.store.create_organization(&row, viewer.user).await {
        // A slug of our own making must not be the caller's problem.
        Err(StoreError::Unique { what: "organizations.slug" }) if body.slug.is_none() => {
            row.slug = shared::another_slug(&row.slug, id.0);
            app.store.create_organization(&row, viewer.user).await?;
        }
        other => other?,
    }
    Ok((StatusCode::CREATED, Json(wire(&(row, Role::Owner)))))
}

/// One organization of the caller's.
#[utoipa::path(get, path = "/organizations/{id}", operation_id = "get_organization", tag = "organizations",
    params(("id" = OrganizationId, Path)), responses((status = 200, body = Organization)), security(("bearer" = [])))]
async fn get_organization(
    State(app): State<App>,
    caller: Allowed<scope::OrganizationsRead>,
    Path(id): Path<OrganizationId>,
    _: Query<NoParameters>,
) -> Result<Json<Organization>> {
    Ok(Json(wire(&visible(&app, &caller.caller.viewer, id).await?)))
}

/// Renames an organization. Takes the role admin.
#[utoipa::path(patch, path = "/organizations/{id}", operation_id = "update_organization", tag = "organizations",
    params(("id" = OrganizationId, Path)), request_body = UpdateOrganization,
    responses((status = 200, body = Organization)), security(("bearer" = [])))]
async fn update_organization(
    State(app): State<App>,
    caller: Allowed<scope::OrganizationsWrite>,
    Path(id): Path<OrganizationId>,
    Json(body): Json<UpdateOrganization>,
) -> Result<Json<Organization>> {
    let viewer = &caller.caller.viewer;
    let (_, role) = visible(&app, viewer, id).await?;
    refuse_project_key(viewer)?;
    require_role(role, Role::Admin)?;
    let name = body.name.as_deref().map(shared::name).transpose()?;
    let slug = body.slug.as_deref().map(shared::slug).transpose()?;
    let row = app.store.update_organization(viewer, id, name.as_deref(), slug.as_deref(), app.world.now()).await?;
    Ok(Json(wire(&row.ok_or_else(|| Error::not_found("organization", id))?)))
}

/// Deletes an organization that has no projects left. Takes the role owner.
#[utoipa::path(delete, path = "/organizations/{id}", operation_id = "delete_organization", tag = "organizations",
    params(("id" = OrganizationId, Path)), responses((status = 204, description = "Deleted")), security(("bearer" = [])))]
async fn delete_organization(
    State(app): State<App>,
    caller: Allowed<scope::OrganizationsWrite>,
    Path(id): Path<OrganizationId>,
    _: Query<NoParameters>,
) -> Result<StatusCode> {
    let (_, role) = visible(&app, &caller.caller.viewer, id).await?;
    refuse_project_key(&caller.caller.viewer)?;
    require_role(role, Role::Owner)?;
    match app.store.delete_organization(&caller.caller.viewer, id).await? {
        DeleteOutcome::Deleted => Ok(StatusCode::NO_CONTENT),
        DeleteOutcome::NotFound => Err(Error::not_found("organization", id).into()),
        DeleteOutcome::InUse => {
            Err(Failure::new(ErrorCode::Conflict, "the organization still has projects; delete or move them first"))
        }
    }
}
