//! `GET organizations/{id}/audit-log`: who changed what. A page of JSON, or all of it as NDJSON.

use super::{refuse_project_key, visible};
use crate::{
    caller::{Allowed, scope},
    error::Result,
    extract::{Json, Parameters, Path, Query, parameter},
    permissions::rule,
    resources::shared::{self, PageParameters},
    state::App,
    written,
};
use axum::{
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse as _, Response},
};
use ogel_api::{
    audit::{ActorType, AuditActor, AuditEntry, AuditLog},
    id::{OrganizationId, UserId},
    time::Timestamp,
};
use ogel_store::{AuditFilter, AuditRecord, PageRequest};

/// What the log is narrowed to.
#[derive(Default)]
pub(crate) struct Parts {
    pub(crate) page: PageParameters,
    pub(crate) filter: AuditFilter,
}

impl Parameters for Parts {
    const KNOWN: &'static [&'static str] =
        &["actor", "action", "target", "createdAfter", "createdBefore", "limit", "cursor"];
    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let time = |name: &str| {
            let parsed = chrono::DateTime::parse_from_rfc3339(value).map(|at| at.to_utc());
            parsed.map_err(|_| format!("`{name}` takes a time such as `2026-11-22T10:00:03.120Z`"))
        };
        match name {
            "actor" => self.filter.actor = Some(parameter::<UserId>(value)?),
            "action" => self.filter.action = Some(parameter(value)?),
            "target" => self.filter.target = Some(value.to_owned()),
            "createdAfter" => self.filter.created_after = Some(time(name)?),
            "createdBefore" => self.filter.created_before = Some(time(name)?),
            _ => self.page.set(name, value)?,
        }
        Ok(())
    }
}

pub(crate) fn wire(row: &AuditRecord) -> AuditEntry {
    let r#type = match (row.actor_user, row.actor_key) {
        (None, _) => ActorType::System,
        (Some(_), None) => ActorType::User,
        (Some(_), Some(_)) => ActorType::ApiKey,
    };
    AuditEntry {
        id: row.id,
        organization_id: row.organization_id,
        created_at: row.created_at.into(),
        actor: AuditActor { r#type, user_id: row.actor_user, api_key_id: row.actor_key, name: row.actor_name.clone() },
        action: row.action,
        target: row.target.clone(),
        before: row.before_fields.clone(),
        after: row.after_fields.clone(),
        ip: row.ip.clone(),
        request_id: row.request_id.clone(),
    }
}

/// Who changed what in an organization, newest first. `Accept: application/x-ndjson` gives all that the filters leave, one
/// entry a line. Takes the role admin.
#[utoipa::path(get, path = "/organizations/{id}/audit-log", operation_id = "get_audit_log", tag = "organizations",
    params(("id" = OrganizationId, Path), ("actor" = Option<UserId>, Query), ("action" = Option<String>, Query),
        ("target" = Option<String>, Query, description = "The id of the thing that was changed"),
        ("createdAfter" = Option<Timestamp>, Query), ("createdBefore" = Option<Timestamp>, Query),
        ("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, content((AuditLog = "application/json"), (AuditEntry = "application/x-ndjson")))),
    security(("bearer" = [])))]
pub(super) async fn get_audit_log(
    State(app): State<App>,
    caller: Allowed<scope::OrganizationsRead>,
    Path(id): Path<OrganizationId>,
    Query(query): Query<Parts>,
    headers: HeaderMap,
) -> Result<Response> {
    let viewer = caller.caller.viewer.clone();
    let (_, role) = visible(&app, &viewer, id).await?;
    refuse_project_key(&viewer)?;
    rule::GET_AUDIT_LOG.permit(role)?;
    let filter = query.filter;
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !accept.split(',').any(|one| one.trim().starts_with(written::NDJSON)) {
        let filters = format!("{filter:?}");
        let page = app.store.audit_log(&viewer, id, &filter, &query.page.request(&filters)?).await?;
        let pagination = shared::pagination(&page, &filters);
        return Ok(Json(AuditLog { entries: page.rows.iter().map(wire).collect(), pagination }).into_response());
    }
    let store = app.store.clone();
    Ok(written::answer(&app, written::NDJSON, move |out| async move {
        let mut request = PageRequest { limit: 500, after: None };
        loop {
            let page = store.audit_log(&viewer, id, &filter, &request).await?;
            let mut lines = Vec::new();
            for row in &page.rows {
                serde_json::to_writer(&mut lines, &wire(row)).map_err(ogel_api::error::Error::internal)?;
                lines.push(b'\n');
            }
            out.write(lines).await?;
            match page.next {
                Some(next) => request.after = Some(next),
                None => return Ok(()),
            }
        }
    }))
}
