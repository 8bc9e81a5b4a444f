//! Webhooks: where the platform's users want to be told what happens. Those of the deployment backend come in by
//! `ghost.rs`, those of the payment service by `stripe.rs`; what became of telling is in `deliveries.rs`.

mod deliveries;
mod ghost;
mod stripe;

use super::{
    projects::{self, ProjectRef},
    shared::{self, PageParameters, refused},
};
use crate::{
    caller::{Allowed, scope},
    error::{Failure, Result},
    extract::{Json, MaybeJson, NoParameters, Parameters, Path, Query, Versioned, invalid_field, parameter},
    hooks::{deliver, receiver},
    permissions::{Rule, rule},
    pipeline::{IfMatch, Made},
    router::{Routes, routes},
    state::App,
};
use axum::{extract::State, http::StatusCode};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use chrono::TimeDelta;
use ogel_api::{
    error::{Error, ErrorCode},
    id::{OrganizationId, ProjectId, WebhookId},
    webhooks::{NewWebhook, UpdateWebhook, Webhook, WebhookCreated, WebhookEventType, WebhookList},
};
use ogel_store::{PageRequest, Refusal, Viewer, WebhookChange};
use serde::Deserialize;
use utoipa::ToSchema;

/// Each costs a row per event.
pub(super) const MOST_PER_ORGANIZATION: u32 = 20;

pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list_webhooks, create_webhook))
        .routes(routes!(get_webhook, update_webhook, delete_webhook))
        .routes(routes!(rotate_webhook_secret))
        .merge(deliveries::routes())
        .merge(ghost::routes())
        .routes(routes!(stripe::receive_stripe_event))
}

pub(crate) fn wire(row: &ogel_store::Webhook) -> Webhook {
    Webhook {
        id: row.id,
        organization_id: row.organization_id,
        project_id: row.project_id,
        url: row.url.clone(),
        description: row.description.clone(),
        events: row.events.clone(),
        enabled: row.is_enabled,
        disabled_reason: row.disabled_reason,
        failing_since: row.failing_since.map(Into::into),
        previous_secret_expires_at: row.previous_secret_expires_at.map(Into::into),
        created_at: row.created_at.into(),
        updated_at: row.updated_at.into(),
    }
}

/// The webhook, if the caller may know of it and has the role that `needed` takes.
async fn allowed(app: &App, viewer: &Viewer, id: WebhookId, needed: Rule) -> Result<ogel_store::Webhook> {
    let (row, held) = app.store.webhook(viewer, id).await?.ok_or_else(|| Error::not_found("webhook", id))?;
    needed.permit(held)?;
    Ok(row)
}

fn url(app: &App, text: &str) -> Result<String> {
    match receiver::check(text, app.config().webhooks.allow_private_hosts) {
        Ok(_) => Ok(text.to_owned()),
        Err(problem) => {
            let message = format!("`url` cannot be posted to: {problem}");
            Err(invalid_field(ErrorCode::InvalidValue, "body.url", &message, None))
        }
    }
}

fn description(text: &str) -> Result<String> {
    if text.chars().count() <= 200 && !text.chars().any(char::is_control) {
        return Ok(text.trim().to_owned());
    }
    let message = "`description` takes at most 200 characters, none of them a control character";
    Err(invalid_field(ErrorCode::InvalidValue, "body.description", message, None))
}

fn events(events: Vec<WebhookEventType>) -> Result<Vec<WebhookEventType>> {
    let refuse =
        |message: String, fix: &str| Err(invalid_field(ErrorCode::InvalidValue, "body.events", &message, Some(fix)));
    if events.is_empty() {
        return refuse("`events` is empty, so nothing would be told".to_owned(), "leave it out for everything");
    }
    if events.contains(&WebhookEventType::Unrecognized) {
        let known: Vec<_> = WebhookEventType::ALL.iter().map(|kind| format!("`{kind}`")).collect();
        return refuse("`events` names one that does not exist".to_owned(), &format!("there are {}", known.join(", ")));
    }
    let mut unique = Vec::new();
    for event in events {
        if !unique.contains(&event) {
            unique.push(event);
        }
    }
    Ok(unique)
}

/// A fresh secret: as it is shown, and sealed.
fn new_secret(app: &App, id: WebhookId) -> Result<(String, String)> {
    let secret = format!("whsec_{}", BASE64_STANDARD.encode(app.world.entropy.bytes::<32>()));
    let sealed = app.sealer.seal(&deliver::secret_context(id), secret.as_bytes()).map_err(Error::internal)?;
    Ok((secret, sealed))
}

/// What the list is narrowed to.
#[derive(Default)]
struct ListParameters {
    page: PageParameters,
    organization: Option<OrganizationId>,
    project: Option<ProjectId>,
}

impl Parameters for ListParameters {
    const KNOWN: &'static [&'static str] = &["organizationId", "projectId", "limit", "cursor"];
    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "organizationId" => self.organization = Some(parameter(value)?),
            "projectId" => self.project = Some(parameter(value)?),
            _ => self.page.set(name, value)?,
        }
        Ok(())
    }
}

/// Webhooks of the caller's organizations, newest first. Takes the role developer.
#[utoipa::path(get, path = "/webhooks", operation_id = "list_webhooks", tag = "webhooks",
    params(("organizationId" = Option<OrganizationId>, Query), ("projectId" = Option<ProjectId>, Query),
        ("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = WebhookList)), security(("bearer" = [])))]
async fn list_webhooks(
    State(app): State<App>,
    caller: Allowed<scope::WebhooksRead>,
    Query(query): Query<ListParameters>,
) -> Result<Json<WebhookList>> {
    let viewer = &caller.caller.viewer;
    // A stranger's thing is 404, not an empty list that would look like an answer.
    if let Some(id) = query.project {
        rule::LIST_WEBHOOKS.permit(projects::visible(&app, viewer, &ProjectRef::Id(id)).await?.1)?;
    }
    if let Some(id) = query.organization {
        rule::LIST_WEBHOOKS.permit(organization(&app, viewer, id).await?.1)?;
    }
    let filters = format!("{:?} {:?}", query.organization, query.project);
    let page = app.store.webhooks(viewer, query.organization, query.project, &query.page.request(&filters)?).await?;
    let pagination = shared::pagination(&page, &filters);
    Ok(Json(WebhookList { webhooks: page.rows.iter().map(wire).collect(), pagination }))
}

async fn organization(
    app: &App,
    viewer: &Viewer,
    id: OrganizationId,
) -> Result<(ogel_store::Organization, ogel_api::organizations::Role)> {
    Ok(app.store.organization(viewer, id).await?.ok_or_else(|| Error::not_found("organization", id))?)
}

/// Makes a webhook of an organization or of one of its projects. Takes the role admin. The secret is shown here only.
#[utoipa::path(post, path = "/webhooks", operation_id = "create_webhook", tag = "webhooks",
    request_body = NewWebhook, responses((status = 201, body = WebhookCreated)), security(("bearer" = [])))]
async fn create_webhook(
    State(app): State<App>,
    caller: Allowed<scope::WebhooksWrite>,
    made: Made,
    Json(body): Json<NewWebhook>,
) -> Result<(StatusCode, Versioned<WebhookCreated>)> {
    let (organization_id, project_id) = owner(&app, &caller.caller.viewer, &body).await?;
    let now = app.world.now();
    let id = WebhookId(app.world.uuid());
    let (secret, sealed) = new_secret(&app, id)?;
    let row = ogel_store::Webhook {
        id,
        organization_id,
        project_id,
        url: url(&app, &body.url)?,
        description: description(body.description.as_deref().unwrap_or_default())?,
        events: body.events.map(events).transpose()?,
        secret: sealed,
        previous_secret: None,
        previous_secret_expires_at: None,
        is_enabled: true,
        disabled_reason: None,
        failing_since: None,
        created_at: now,
        updated_at: now,
        row_version: 1,
    };
    let created = WebhookCreated { webhook: wire(&row), secret };
    let act = made.answered(&app, caller.act(&app), StatusCode::CREATED, &created)?;
    let outcome = app.store.create_webhook(&act, &row, MOST_PER_ORGANIZATION).await?;
    outcome.map_err(|refusal| match refusal {
        Refusal::TooMany => {
            let message = format!("the organization has {MOST_PER_ORGANIZATION} webhooks already; remove one first");
            Failure::new(ErrorCode::QuotaExceeded, message)
        }
        other => refused(other, "organization", organization_id),
    })?;
    Ok((StatusCode::CREATED, Versioned(row.row_version, created)))
}

/// Whose the new webhook is, if the caller may make it one of theirs.
async fn owner(app: &App, viewer: &Viewer, body: &NewWebhook) -> Result<(OrganizationId, Option<ProjectId>)> {
    if let Some(id) = body.project_id {
        let (project, role) = projects::visible(app, viewer, &ProjectRef::Id(id)).await?;
        rule::CREATE_WEBHOOK.permit(role)?;
        if body.organization_id.is_some_and(|organization| organization != project.organization_id) {
            let message = "`projectId` is a project of another organization; leave `organizationId` out";
            return Err(invalid_field(ErrorCode::InvalidValue, "body.organizationId", message, None));
        }
        return Ok((project.organization_id, Some(id)));
    }
    let (organization, role) = match body.organization_id {
        Some(id) => organization(app, viewer, id).await?,
        None => {
            let mut mine = app.store.organizations(viewer, &PageRequest { limit: 2, after: None }).await?.rows;
            match (mine.pop(), mine.is_empty()) {
                (Some(only), true) => only,
                _ => {
                    let message =
                        "neither `organizationId` nor `projectId` is there, and you have not just one organization";
                    let fix = "add `projectId` or `organizationId`";
                    return Err(invalid_field(ErrorCode::MissingField, "body.organizationId", message, Some(fix)));
                }
            }
        }
    };
    rule::CREATE_WEBHOOK.permit(role)?;
    if viewer.project.is_some() {
        let message = "this API key is bound to one project; add its `projectId`, or use a key that is not";
        return Err(Failure::new(ErrorCode::Forbidden, message));
    }
    Ok((organization.id, None))
}

/// One webhook. Takes the role developer.
#[utoipa::path(get, path = "/webhooks/{id}", operation_id = "get_webhook", tag = "webhooks",
    params(("id" = WebhookId, Path)), responses((status = 200, body = Webhook)), security(("bearer" = [])))]
async fn get_webhook(
    State(app): State<App>,
    caller: Allowed<scope::WebhooksRead>,
    Path(id): Path<WebhookId>,
    _: Query<NoParameters>,
) -> Result<Versioned<Webhook>> {
    let row = allowed(&app, &caller.caller.viewer, id, rule::GET_WEBHOOK).await?;
    Ok(Versioned(row.row_version, wire(&row)))
}

/// Changes a webhook, or switches it off and on. Takes the role admin. Off ends what it was still to be told.
#[utoipa::path(patch, path = "/webhooks/{id}", operation_id = "update_webhook", tag = "webhooks",
    params(("id" = WebhookId, Path), ("If-Match" = Option<String>, Header)), request_body = UpdateWebhook, responses((status = 200, body = Webhook)),
    security(("bearer" = [])))]
async fn update_webhook(
    State(app): State<App>,
    caller: Allowed<scope::WebhooksWrite>,
    Path(id): Path<WebhookId>,
    IfMatch(expected): IfMatch,
    Json(body): Json<UpdateWebhook>,
) -> Result<Versioned<Webhook>> {
    let viewer = &caller.caller.viewer;
    allowed(&app, viewer, id, rule::UPDATE_WEBHOOK).await?;
    let change = WebhookChange {
        url: body.url.as_deref().map(|text| url(&app, text)).transpose()?,
        description: body.description.as_deref().map(description).transpose()?,
        events: body.events.map(|wanted| wanted.map(events).transpose()).transpose()?,
        enabled: body.enabled,
    };
    let outcome = app.store.update_webhook(&caller.act(&app), viewer, id, &change, &expected).await?;
    let row = outcome.map_err(|refusal| refused(refusal, "webhook", id))?;
    Ok(Versioned(row.row_version, wire(&row)))
}

/// Removes a webhook and the log of its deliveries. Takes the role admin.
#[utoipa::path(delete, path = "/webhooks/{id}", operation_id = "delete_webhook", tag = "webhooks",
    params(("id" = WebhookId, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 204, description = "Removed")), security(("bearer" = [])))]
async fn delete_webhook(
    State(app): State<App>,
    caller: Allowed<scope::WebhooksWrite>,
    Path(id): Path<WebhookId>,
    IfMatch(expected): IfMatch,
    _: Query<NoParameters>,
) -> Result<StatusCode> {
    let viewer = &caller.caller.viewer;
    allowed(&app, viewer, id, rule::DELETE_WEBHOOK).await?;
    let outcome = app.store.delete_webhook(&caller.act(&app), viewer, id, &expected).await?;
    outcome.map_err(|refusal| refused(refusal, "webhook", id))?;
    Ok(StatusCode::NO_CONTENT)
}

/// Nothing to say.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// Makes a new secret, shown here only. Takes the role admin. The one before goes on signing beside it until
/// `previousSecretExpiresAt`.
#[utoipa::path(post, path = "/webhooks/{id}/rotate-secret", operation_id = "rotate_webhook_secret", tag = "webhooks",
    params(("id" = WebhookId, Path)), responses((status = 200, body = WebhookCreated)), security(("bearer" = [])))]
async fn rotate_webhook_secret(
    State(app): State<App>,
    caller: Allowed<scope::WebhooksWrite>,
    Path(id): Path<WebhookId>,
    _: Query<NoParameters>,
    made: Made,
    _: MaybeJson<Nothing>,
) -> Result<Json<WebhookCreated>> {
    let viewer = &caller.caller.viewer;
    let row = allowed(&app, viewer, id, rule::ROTATE_WEBHOOK_SECRET).await?;
    let (secret, sealed) = new_secret(&app, id)?;
    let act = caller.act(&app);
    let now = act.at;
    let grace = i64::try_from(app.config().webhooks.secret_grace_hours).unwrap_or(24);
    let until = now + TimeDelta::try_hours(grace).unwrap_or(TimeDelta::days(1));
    let rotated = ogel_store::Webhook { previous_secret_expires_at: Some(until), updated_at: now, ..row };
    let rotated = WebhookCreated { webhook: wire(&rotated), secret };
    let act = made.answered(&app, act, StatusCode::OK, &rotated)?;
    let outcome = app.store.rotate_webhook_secret(&act, viewer, id, &sealed, until).await?;
    outcome.map_err(|refusal| refused(refusal, "webhook", id))?;
    Ok(Json(rotated))
}
