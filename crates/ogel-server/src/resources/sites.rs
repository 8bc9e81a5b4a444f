//! Sites: kept by Ghost, asked of it on the caller's behalf. What is read stays on the thread that accepted the request.

use super::{
    proxied::{self, ListParameters},
    shared,
};
use crate::{
    access::{self, Access},
    acting::{Acting, acting, refused},
    caller::{Allowed, Caller, scope},
    changes,
    error::{Failure, Result},
    extract::{Json, NoParameters, Path, Query},
    objects,
    permissions::rule,
    pipeline::RequestContext,
    repository,
    responses::{self, SITES, SITES_AND_DOMAINS, Wish},
    router::{Routes, routes},
    state::App,
};
use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
};
use ogel_api::{
    audit::AuditAction,
    error::Error,
    id::{ProjectId, SiteId},
    sites::{NewSite, Site, SiteList, UpdateSite},
};
use ogel_ghost::{SiteDoc, SiteFields};
use ogel_store::{Entry, GhostObject, ObjectKind, ObjectOutcome};
use std::{fmt, sync::Arc};

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(create_site)).routes(routes!(update_site, delete_site))
}

pub(crate) fn data_plane() -> Routes {
    Routes::new().routes(routes!(list_sites)).routes(routes!(get_site))
}

fn wire(id: SiteId, project_id: ProjectId, document: SiteDoc<'_>) -> Site<'_> {
    Site {
        id,
        project_id,
        name: document.name,
        framework: document.framework,
        repo_url: document.repo_url,
        production_branch: document.production_branch,
        root_directory: document.root_directory,
        install_command: document.install_command,
        build_command: document.build_command,
        output_directory: document.output_directory,
        created_at: document.created_at,
        updated_at: document.updated_at,
    }
}

/// As the wire has it.
pub(crate) fn as_json(object: &GhostObject, document: SiteDoc<'_>) -> Result<serde_json::Value> {
    Ok(serde_json::to_value(wire(SiteId(object.id), object.project_id, document)).map_err(Error::internal)?)
}

fn entry(access: &Access, action: AuditAction, id: SiteId) -> Entry {
    Entry::new(access.project.organization_id, action, id)
}

/// The site's place at Ghost and the caller's role around it, if the caller may know of it.
pub(super) async fn visible(
    context: &RequestContext,
    caller: &Caller,
    id: SiteId,
) -> Result<(Arc<GhostObject>, Arc<Access>)> {
    let object =
        objects::find(&context.core.app, id.0, ObjectKind::Site).await?.ok_or_else(|| Error::not_found("site", id))?;
    let access = access::of_thing(context, caller, object.project_id, "site", id).await?;
    Ok((object, access))
}

/// Sites of a project, newest first.
#[utoipa::path(get, path = "/sites", operation_id = "list_sites", tag = "sites",
    params(("projectId" = ProjectId, Query), ("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = SiteList<'static>)), security(("bearer" = [])))]
async fn list_sites(
    State(app): State<App>,
    caller: Allowed<scope::SitesRead>,
    Query(query): Query<ListParameters>,
    wish: Wish,
    context: RequestContext,
) -> Result<Response> {
    let project = query.project()?;
    let access = access::of_project(&context, &caller.caller, project).await?;
    context.meter(&access.project);
    let after = query.after(&app, project, ObjectKind::Site).await?;
    let (limit, last) = (query.limit, after.as_ref().map(|object| object.id));
    let (state, at) = (app.clone(), access.clone());
    let read = move || read_page(state, caller.caller, query, context, at, after);
    responses::answer(&app, wish, &access, SITES, fmt::from_fn(move |f| write!(f, "sites|{limit}|{last:?}")), read)
        .await
}

async fn read_page(
    app: App,
    caller: Arc<Caller>,
    query: ListParameters,
    context: RequestContext,
    access: Arc<Access>,
    after: Option<Arc<GhostObject>>,
) -> Result<Response> {
    let project = access.project.id;
    let Some(mut acting) = Acting::known(&app, &caller, &access).await? else {
        let pagination = proxied::pagination(None, false);
        return Ok(Json(SiteList { sites: Vec::new(), pagination }).into_response());
    };
    let ghost = &context.core.ghost;
    let mut list = async |limit, after: Option<&str>| {
        let call =
            acting!(&app, acting, |credential, at| ghost.list_sites(context.call(), credential, at, limit, after));
        Ok::<_, Failure>(call?)
    };
    let answer = list(query.fetch(), after.as_ref().map(|object| object.ghost_id.as_str())).await?;
    let mut page = answer.read()?;
    let has_more = match query.cut(&mut page.documents, page.total) {
        Some(known) => known,
        None => !list(1, page.documents.last().map(|last| &*last.id)).await?.read()?.documents.is_empty(),
    };
    let ids = objects::ids(&app, project, ObjectKind::Site, page.documents.iter().map(|site| &*site.id)).await?;
    let mut sites = Vec::with_capacity(page.documents.len());
    for document in page.documents {
        let id = ids.get(&*document.id).ok_or_else(|| Error::internal("a site has no id of ours"))?;
        sites.push(wire(SiteId(*id), project, document));
    }
    let pagination = proxied::pagination(sites.last().map(|site| site.id.0), has_more);
    Ok(Json(SiteList { sites, pagination }).into_response())
}

/// One site.
#[utoipa::path(get, path = "/sites/{id}", operation_id = "get_site", tag = "sites",
    params(("id" = SiteId, Path)), responses((status = 200, body = Site<'static>)), security(("bearer" = [])))]
async fn get_site(
    State(app): State<App>,
    caller: Allowed<scope::SitesRead>,
    Path(id): Path<SiteId>,
    _: Query<NoParameters>,
    wish: Wish,
    context: RequestContext,
) -> Result<Response> {
    let (object, access) = visible(&context, &caller.caller, id).await?;
    context.meter(&access.project);
    let (state, at) = (app.clone(), access.clone());
    let read = move || read_one(state, caller.caller, id, context, object, at);
    responses::answer(&app, wish, &access, SITES, fmt::from_fn(move |f| write!(f, "site|{id}")), read).await
}

async fn read_one(
    app: App,
    caller: Arc<Caller>,
    id: SiteId,
    context: RequestContext,
    object: Arc<GhostObject>,
    access: Arc<Access>,
) -> Result<Response> {
    let known = Acting::known(&app, &caller, &access).await?;
    let mut acting = known.ok_or_else(|| Error::not_found("site", id))?;
    let answer = acting!(&app, acting, |credential, at| context.core.ghost.get_site(
        context.call(),
        credential,
        at,
        &object.ghost_id
    ));
    let answer = answer.map_err(|error| refused(error, "site", id))?;
    Ok(Json(wire(id, object.project_id, answer.read()?)).into_response())
}

/// Makes a site. Takes the role developer.
#[utoipa::path(post, path = "/sites", operation_id = "create_site", tag = "sites", request_body = NewSite,
    responses((status = 201, body = Site<'static>)), security(("bearer" = [])))]
async fn create_site(
    State(app): State<App>,
    context: RequestContext,
    caller: Allowed<scope::SitesWrite>,
    headers: HeaderMap,
    Json(body): Json<NewSite>,
) -> Result<Response> {
    let access = access::of_project(&context, &caller.caller, body.project_id).await?;
    context.meter(&access.project);
    rule::CREATE_SITE.permit(access.role)?;
    let name = shared::name(&body.name)?;
    let fields = SiteFields {
        site_id: None,
        name: Some(&name),
        framework: body.framework.as_deref().map(Some),
        repo_url: body.repo_url.as_deref().map(Some),
        production_branch: body.production_branch.as_deref().map(Some),
        root_directory: body.root_directory.as_deref().map(Some),
        install_command: body.install_command.as_deref().map(Some),
        build_command: body.build_command.as_deref().map(Some),
        output_directory: body.output_directory.as_deref().map(Some),
    };
    repository::check_site(&app, &fields).await?;
    let id = SiteId(proxied::made_id(&app, &caller.caller, &headers, &body)?);
    let mut acting = Acting::made(&app, &caller.caller, &access).await?;
    let object = objects::new(id.0, body.project_id, ObjectKind::Site);
    let fields = SiteFields { site_id: Some(&object.ghost_id), ..fields };
    let entry = entry(&access, AuditAction::SiteCreated, id).after("projectId", body.project_id).after("name", &name);
    let change = changes::begin(&app, &access, &object, &caller.act(&app), &entry, None).await?;
    let made = acting!(&app, acting, |credential, at| app.ghost.create_site(context.call(), credential, at, &fields));
    match made {
        Ok(answer) => {
            change.end(ObjectOutcome::Done).await;
            let response = (StatusCode::CREATED, Json(wire(id, body.project_id, answer.read()?))).into_response();
            Ok(responses::after_change(&app, body.project_id, SITES, response).await)
        }
        Err(error) => {
            change.failed(&error).await;
            responses::changed(&app, body.project_id, SITES).await;
            Err(error.into())
        }
    }
}

/// Changes a site: a field that is left out stays, `null` clears it. Takes the role developer.
#[utoipa::path(patch, path = "/sites/{id}", operation_id = "update_site", tag = "sites",
    params(("id" = SiteId, Path)), request_body = UpdateSite, responses((status = 200, body = Site<'static>)), security(("bearer" = [])))]
async fn update_site(
    State(app): State<App>,
    context: RequestContext,
    caller: Allowed<scope::SitesWrite>,
    Path(id): Path<SiteId>,
    Json(body): Json<UpdateSite>,
) -> Result<Response> {
    let (object, access) = visible(&context, &caller.caller, id).await?;
    context.meter(&access.project);
    rule::UPDATE_SITE.permit(access.role)?;
    let name = body.name.as_deref().map(shared::name).transpose()?;
    let fields = SiteFields {
        site_id: None,
        name: name.as_deref(),
        framework: body.framework.as_ref().map(Option::as_deref),
        repo_url: body.repo_url.as_ref().map(Option::as_deref),
        production_branch: body.production_branch.as_ref().map(Option::as_deref),
        root_directory: body.root_directory.as_ref().map(Option::as_deref),
        install_command: body.install_command.as_ref().map(Option::as_deref),
        build_command: body.build_command.as_ref().map(Option::as_deref),
        output_directory: body.output_directory.as_ref().map(Option::as_deref),
    };
    repository::check_site(&app, &fields).await?;
    let mut acting = Acting::made(&app, &caller.caller, &access).await?;
    let entry = changed_fields(entry(&access, AuditAction::SiteUpdated, id), name.as_deref(), &body);
    let change = changes::begin(&app, &access, &object, &caller.act(&app), &entry, None).await?;
    let (ghost, at_ghost) = (&app.ghost, &object.ghost_id);
    let changed =
        acting!(&app, acting, |credential, at| ghost.update_site(context.call(), credential, at, at_ghost, &fields));
    match changed {
        Ok(answer) => {
            change.end(ObjectOutcome::Done).await;
            let response = Json(wire(id, object.project_id, answer.read()?)).into_response();
            Ok(responses::after_change(&app, object.project_id, SITES, response).await)
        }
        Err(error) => {
            // It may have been done all the same.
            change.failed(&error).await;
            responses::changed(&app, object.project_id, SITES).await;
            Err(refused(error, "site", id))
        }
    }
}

/// Deletes a site; its deployments stay. Takes the role developer.
#[utoipa::path(delete, path = "/sites/{id}", operation_id = "delete_site", tag = "sites",
    params(("id" = SiteId, Path)), responses((status = 204, description = "Deleted")), security(("bearer" = [])))]
async fn delete_site(
    State(app): State<App>,
    context: RequestContext,
    caller: Allowed<scope::SitesWrite>,
    Path(id): Path<SiteId>,
    _: Query<NoParameters>,
) -> Result<Response> {
    let (object, access) = visible(&context, &caller.caller, id).await?;
    context.meter(&access.project);
    rule::DELETE_SITE.permit(access.role)?;
    let mut acting = Acting::made(&app, &caller.caller, &access).await?;
    let entry = entry(&access, AuditAction::SiteDeleted, id).before("projectId", object.project_id);
    let change = changes::begin(&app, &access, &object, &caller.act(&app), &entry, None).await?;
    let (ghost, at_ghost) = (&app.ghost, &object.ghost_id);
    match acting!(&app, acting, |credential, at| ghost.delete_site(context.call(), credential, at, at_ghost)) {
        Ok(()) => {
            change.end(ObjectOutcome::Done).await;
            let response = StatusCode::NO_CONTENT.into_response();
            Ok(responses::after_change(&app, object.project_id, SITES_AND_DOMAINS, response).await)
        }
        Err(error) => {
            change.failed(&error).await;
            responses::changed(&app, object.project_id, SITES_AND_DOMAINS).await;
            Err(refused(error, "site", id))
        }
    }
}

/// What was asked for, for the log. Ghost knows what was there before.
fn changed_fields(entry: Entry, name: Option<&str>, body: &UpdateSite) -> Entry {
    let fields = [
        ("framework", &body.framework),
        ("repoUrl", &body.repo_url),
        ("productionBranch", &body.production_branch),
        ("rootDirectory", &body.root_directory),
        ("installCommand", &body.install_command),
        ("buildCommand", &body.build_command),
        ("outputDirectory", &body.output_directory),
    ];
    let named = name.into_iter().fold(entry, |entry, name| entry.after("name", name));
    fields
        .into_iter()
        .filter_map(|(name, value)| Some((name, value.as_ref()?)))
        .fold(named, |entry, (name, value)| entry.after(name, value))
}
