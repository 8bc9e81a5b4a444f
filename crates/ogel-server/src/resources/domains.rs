//! Domains: kept by Ghost, asked of it on the caller's behalf. What is read stays on the thread that accepted the request.

use super::{
    proxied::{self, ListParameters},
    sites,
};
use crate::{
    access::{self, Access},
    acting::{Acting, acting, refused},
    caller::{Allowed, Caller, scope},
    changes::{self, Change},
    error::{Failure, Result},
    extract::{Json, NoParameters, Path, Query, invalid_field},
    objects::{self, Ids},
    permissions::rule,
    pipeline::RequestContext,
    responses::{self, DOMAINS, Wish},
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
    domains::{DnsRecord, Domain, DomainList, DomainStatus, NewDomain, UpdateDomain},
    error::{Error, ErrorCode},
    id::{DomainId, ProjectId, SiteId},
};
use ogel_ghost::{CreateDomain, DnsRecordDoc, DomainDoc};
use ogel_store::{Entry, GhostObject, ObjectKind, ObjectOutcome};
use std::{fmt, sync::Arc};

pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(create_domain))
        .routes(routes!(update_domain, delete_domain))
        .routes(routes!(verify_domain))
}

pub(crate) fn data_plane() -> Routes {
    Routes::new().routes(routes!(list_domains)).routes(routes!(get_domain))
}

fn wire<'a>(id: DomainId, project_id: ProjectId, document: DomainDoc<'a>, sites: &Ids) -> Domain<'a> {
    let records = |records: Vec<DnsRecordDoc<'a>>| {
        records.into_iter().map(|one| DnsRecord { kind: one.kind, name: one.name, value: one.value }).collect()
    };
    Domain {
        id,
        project_id,
        domain: document.domain,
        site_id: document.site_id.and_then(|site| sites.get(&*site)).map(|id| SiteId(*id)),
        status: known(document.status),
        expected: records(document.expected),
        observed: records(document.observed),
        checked_at: document.checked_at,
        created_at: document.created_at,
        updated_at: document.updated_at,
    }
}

/// A word this build does not know is not a promise that the domain is served.
fn known(status: DomainStatus) -> DomainStatus {
    if status == DomainStatus::Verified { status } else { DomainStatus::Pending }
}

/// As the wire has it.
pub(crate) async fn as_json(app: &App, object: &GhostObject, document: DomainDoc<'_>) -> Result<serde_json::Value> {
    let sites = sites_of(app, object.project_id, std::slice::from_ref(&document)).await?;
    let domain = wire(DomainId(object.id), object.project_id, document, &sites);
    Ok(serde_json::to_value(domain).map_err(Error::internal)?)
}

fn entry(access: &Access, action: AuditAction, id: DomainId) -> Entry {
    Entry::new(access.project.organization_id, action, id)
}

/// Our ids of the sites the domains belong to.
async fn sites_of(app: &App, project: ProjectId, documents: &[DomainDoc<'_>]) -> Result<Arc<Ids>> {
    let named = documents.iter().filter_map(|domain| domain.site_id.as_deref());
    objects::ids(app, project, ObjectKind::Site, named).await
}

/// One domain as an answer.
async fn shown(
    app: &App,
    status: StatusCode,
    id: DomainId,
    project: ProjectId,
    document: DomainDoc<'_>,
) -> Result<Response> {
    let sites = sites_of(app, project, std::slice::from_ref(&document)).await?;
    Ok((status, Json(wire(id, project, document, &sites))).into_response())
}

/// The domain's place at Ghost and the caller's role around it, if the caller may know of it.
async fn visible(context: &RequestContext, caller: &Caller, id: DomainId) -> Result<(Arc<GhostObject>, Arc<Access>)> {
    let object = objects::find(&context.core.app, id.0, ObjectKind::Domain)
        .await?
        .ok_or_else(|| Error::not_found("domain", id))?;
    let access = access::of_thing(context, caller, object.project_id, "domain", id).await?;
    Ok((object, access))
}

/// Ghost's id of a site that a domain shall belong to; it must be one of the same project.
async fn site_at_ghost(
    context: &RequestContext,
    caller: &Caller,
    project: ProjectId,
    site: Option<SiteId>,
) -> Result<Option<String>> {
    let Some(id) = site else { return Ok(None) };
    let (object, _) = sites::visible(context, caller, id).await?;
    if object.project_id == project {
        return Ok(Some(object.ghost_id.clone()));
    }
    let message = "`siteId` is a site of another project";
    Err(invalid_field(ErrorCode::InvalidValue, "body.siteId", message, Some("`GET sites` lists those of a project")))
}

/// The name as DNS compares it, or 400.
fn host_name(text: &str) -> Result<String> {
    let name = text.trim_end_matches('.').to_ascii_lowercase();
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    if name.len() <= 253 && name.split('.').all(is_label) && name.parse::<std::net::Ipv4Addr>().is_err() {
        return Ok(name);
    }
    let message = "`domain` must be a host name of letters, digits, hyphens and dots";
    let fix = Some("send one like `www.example.com`; write other letters in punycode");
    Err(invalid_field(ErrorCode::InvalidValue, "body.domain", message, fix))
}

/// Domains of a project, newest first.
#[utoipa::path(get, path = "/domains", operation_id = "list_domains", tag = "domains",
    params(("projectId" = ProjectId, Query), ("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = DomainList<'static>)), security(("bearer" = [])))]
async fn list_domains(
    State(app): State<App>,
    caller: Allowed<scope::DomainsRead>,
    Query(query): Query<ListParameters>,
    wish: Wish,
    context: RequestContext,
) -> Result<Response> {
    let project = query.project()?;
    let access = access::of_project(&context, &caller.caller, project).await?;
    context.meter(&access.project);
    let after = query.after(&app, project, ObjectKind::Domain).await?;
    let (limit, last) = (query.limit, after.as_ref().map(|object| object.id));
    let (state, at) = (app.clone(), access.clone());
    let read = move || read_page(state, caller.caller, query, context, at, after);
    responses::answer(&app, wish, &access, DOMAINS, fmt::from_fn(move |f| write!(f, "domains|{limit}|{last:?}")), read)
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
        return Ok(Json(DomainList { domains: Vec::new(), pagination }).into_response());
    };
    let ghost = &context.core.ghost;
    let mut list = async |limit, after: Option<&str>| {
        let call =
            acting!(&app, acting, |credential, at| ghost.list_domains(context.call(), credential, at, limit, after));
        Ok::<_, Failure>(call?)
    };
    let answer = list(query.fetch(), after.as_ref().map(|object| object.ghost_id.as_str())).await?;
    let mut page = answer.read()?;
    let has_more = match query.cut(&mut page.documents, page.total) {
        Some(known) => known,
        None => !list(1, page.documents.last().map(|last| &*last.id)).await?.read()?.documents.is_empty(),
    };
    let ids = objects::ids(&app, project, ObjectKind::Domain, page.documents.iter().map(|one| &*one.id)).await?;
    let sites = sites_of(&app, project, &page.documents).await?;
    let mut domains = Vec::with_capacity(page.documents.len());
    for document in page.documents {
        let id = ids.get(&*document.id).ok_or_else(|| Error::internal("a domain has no id of ours"))?;
        domains.push(wire(DomainId(*id), project, document, &sites));
    }
    let pagination = proxied::pagination(domains.last().map(|domain| domain.id.0), has_more);
    Ok(Json(DomainList { domains, pagination }).into_response())
}

/// One domain.
#[utoipa::path(get, path = "/domains/{id}", operation_id = "get_domain", tag = "domains",
    params(("id" = DomainId, Path)), responses((status = 200, body = Domain<'static>)), security(("bearer" = [])))]
async fn get_domain(
    State(app): State<App>,
    caller: Allowed<scope::DomainsRead>,
    Path(id): Path<DomainId>,
    _: Query<NoParameters>,
    wish: Wish,
    context: RequestContext,
) -> Result<Response> {
    let (object, access) = visible(&context, &caller.caller, id).await?;
    context.meter(&access.project);
    let (state, at) = (app.clone(), access.clone());
    let read = move || read_one(state, caller.caller, id, context, object, at);
    responses::answer(&app, wish, &access, DOMAINS, fmt::from_fn(move |f| write!(f, "domain|{id}")), read).await
}

async fn read_one(
    app: App,
    caller: Arc<Caller>,
    id: DomainId,
    context: RequestContext,
    object: Arc<GhostObject>,
    access: Arc<Access>,
) -> Result<Response> {
    let known = Acting::known(&app, &caller, &access).await?;
    let mut acting = known.ok_or_else(|| Error::not_found("domain", id))?;
    let answer = acting!(&app, acting, |credential, at| context.core.ghost.get_domain(
        context.call(),
        credential,
        at,
        &object.ghost_id
    ));
    let answer = answer.map_err(|error| refused(error, "domain", id))?;
    shown(&app, StatusCode::OK, id, object.project_id, answer.read()?).await
}

/// Adds a domain, which is served once it is verified. Takes the role developer.
#[utoipa::path(post, path = "/domains", operation_id = "create_domain", tag = "domains", request_body = NewDomain,
    responses((status = 201, body = Domain<'static>)), security(("bearer" = [])))]
async fn create_domain(
    State(app): State<App>,
    context: RequestContext,
    caller: Allowed<scope::DomainsWrite>,
    headers: HeaderMap,
    Json(body): Json<NewDomain>,
) -> Result<Response> {
    let project = body.project_id;
    let access = access::of_project(&context, &caller.caller, project).await?;
    context.meter(&access.project);
    rule::CREATE_DOMAIN.permit(access.role)?;
    let name = host_name(&body.domain)?;
    let site = site_at_ghost(&context, &caller.caller, project, body.site_id).await?;
    let id = DomainId(proxied::made_id(&app, &caller.caller, &headers, &body)?);
    let mut acting = Acting::made(&app, &caller.caller, &access).await?;
    let object = objects::new(id.0, project, ObjectKind::Domain);
    let new = CreateDomain { domain_id: &object.ghost_id, domain: &name, site_id: site.as_deref() };
    let entry = entry(&access, AuditAction::DomainCreated, id)
        .after("projectId", project)
        .after("domain", &name)
        .after("siteId", body.site_id);
    let change = changes::begin(&app, &access, &object, &caller.act(&app), &entry, None).await?;
    let made = acting!(&app, acting, |credential, at| app.ghost.create_domain(context.call(), credential, at, &new));
    match made {
        Ok(answer) => {
            change.end(ObjectOutcome::Done).await;
            let response = shown(&app, StatusCode::CREATED, id, project, answer.read()?).await?;
            Ok(responses::after_change(&app, project, DOMAINS, response).await)
        }
        Err(error) => {
            change.failed(&error).await;
            responses::changed(&app, project, DOMAINS).await;
            Err(error.into())
        }
    }
}

/// Gives a domain to another site, or to none. Takes the role developer.
#[utoipa::path(patch, path = "/domains/{id}", operation_id = "update_domain", tag = "domains",
    params(("id" = DomainId, Path)), request_body = UpdateDomain,
    responses((status = 200, body = Domain<'static>)), security(("bearer" = [])))]
async fn update_domain(
    State(app): State<App>,
    context: RequestContext,
    caller: Allowed<scope::DomainsWrite>,
    Path(id): Path<DomainId>,
    Json(body): Json<UpdateDomain>,
) -> Result<Response> {
    let (object, access) = visible(&context, &caller.caller, id).await?;
    context.meter(&access.project);
    rule::UPDATE_DOMAIN.permit(access.role)?;
    let mut acting = Acting::made(&app, &caller.caller, &access).await?;
    let (ghost, at_ghost) = (&app.ghost, &object.ghost_id);
    let Some(site) = body.site_id else {
        let shown_now = acting!(&app, acting, |credential, at| context.core.ghost.get_domain(
            context.call(),
            credential,
            at,
            at_ghost
        ));
        let answer = shown_now.map_err(|error| refused(error, "domain", id))?;
        return shown(&app, StatusCode::OK, id, object.project_id, answer.read()?).await;
    };
    let there = site_at_ghost(&context, &caller.caller, object.project_id, site).await?;
    let there = there.as_deref();
    let entry = entry(&access, AuditAction::DomainUpdated, id).after("siteId", site);
    let change = changes::begin(&app, &access, &object, &caller.act(&app), &entry, None).await?;
    let changed =
        acting!(&app, acting, |credential, at| ghost.update_domain(context.call(), credential, at, at_ghost, there));
    answered(&app, id, object.project_id, change, changed, |_| ObjectOutcome::Done).await
}

/// The answer to a change, and what became of it; one that failed may have been done all the same.
async fn answered(
    app: &App,
    id: DomainId,
    project: ProjectId,
    change: Change<'_>,
    changed: Result<ogel_ghost::Answer<DomainDoc<'static>>, ogel_ghost::GhostError>,
    outcome: impl for<'a> FnOnce(&'a DomainDoc<'_>) -> ObjectOutcome<'a>,
) -> Result<Response> {
    match changed {
        Ok(answer) => {
            let document = answer.read()?;
            change.end(outcome(&document)).await;
            let response = shown(app, StatusCode::OK, id, project, document).await?;
            Ok(responses::after_change(app, project, DOMAINS, response).await)
        }
        Err(error) => {
            change.failed(&error).await;
            responses::changed(app, project, DOMAINS).await;
            Err(refused(error, "domain", id))
        }
    }
}

/// Asks DNS now. The answer shows what it should say and what it does say; `status` is the result. Takes the role developer.
#[utoipa::path(post, path = "/domains/{id}/verify", operation_id = "verify_domain", tag = "domains",
    params(("id" = DomainId, Path)), responses((status = 200, body = Domain<'static>)), security(("bearer" = [])))]
async fn verify_domain(
    State(app): State<App>,
    context: RequestContext,
    caller: Allowed<scope::DomainsWrite>,
    Path(id): Path<DomainId>,
    _: Query<NoParameters>,
) -> Result<Response> {
    let (object, access) = visible(&context, &caller.caller, id).await?;
    context.meter(&access.project);
    rule::VERIFY_DOMAIN.permit(access.role)?;
    let mut acting = Acting::made(&app, &caller.caller, &access).await?;
    let (ghost, at_ghost) = (&app.ghost, &object.ghost_id);
    let before = acting!(&app, acting, |credential, at| ghost.get_domain(context.call(), credential, at, at_ghost));
    let before = before.map_err(|error| refused(error, "domain", id))?.read()?.status;
    let entry = entry(&access, AuditAction::DomainChecked, id);
    let change = changes::begin(&app, &access, &object, &caller.act(&app), &entry, Some(known(before))).await?;
    let checked = acting!(&app, acting, |credential, at| ghost.verify_domain(context.call(), credential, at, at_ghost));
    answered(&app, id, object.project_id, change, checked, found).await
}

/// What the look found.
fn found<'a>(document: &'a DomainDoc<'_>) -> ObjectOutcome<'a> {
    ObjectOutcome::Checked { domain: &document.domain, status: known(document.status) }
}

/// Removes a domain, which is no longer served. Takes the role developer.
#[utoipa::path(delete, path = "/domains/{id}", operation_id = "delete_domain", tag = "domains",
    params(("id" = DomainId, Path)), responses((status = 204, description = "Deleted")), security(("bearer" = [])))]
async fn delete_domain(
    State(app): State<App>,
    context: RequestContext,
    caller: Allowed<scope::DomainsWrite>,
    Path(id): Path<DomainId>,
    _: Query<NoParameters>,
) -> Result<Response> {
    let (object, access) = visible(&context, &caller.caller, id).await?;
    context.meter(&access.project);
    rule::DELETE_DOMAIN.permit(access.role)?;
    let mut acting = Acting::made(&app, &caller.caller, &access).await?;
    let (ghost, at_ghost) = (&app.ghost, &object.ghost_id);
    let entry = entry(&access, AuditAction::DomainDeleted, id).before("projectId", object.project_id);
    let change = changes::begin(&app, &access, &object, &caller.act(&app), &entry, None).await?;
    match acting!(&app, acting, |credential, at| ghost.delete_domain(context.call(), credential, at, at_ghost)) {
        Ok(()) => {
            change.end(ObjectOutcome::Done).await;
            let response = StatusCode::NO_CONTENT.into_response();
            Ok(responses::after_change(&app, object.project_id, DOMAINS, response).await)
        }
        Err(error) => {
            change.failed(&error).await;
            responses::changed(&app, object.project_id, DOMAINS).await;
            Err(refused(error, "domain", id))
        }
    }
}
