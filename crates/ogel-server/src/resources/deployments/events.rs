//! What happened to a deployment, for people and for whoever audits them.

use super::visible;
use crate::{
    caller::{Allowed, scope},
    error::Result,
    extract::{Json, Path, Query},
    resources::shared::{self, Paged},
    state::App,
};
use axum::extract::State;
use ogel_api::{
    deployments::{DeploymentEvent, DeploymentEventList},
    id::DeploymentId,
};

fn wire(row: &ogel_store::DeploymentEvent) -> DeploymentEvent {
    DeploymentEvent {
        n: row.n.unsigned_abs(),
        deployment_id: row.deployment_id,
        kind: row.kind,
        actor: row.actor,
        reason: row.reason.clone(),
        related_deployment_id: row.related_id,
        created_at: row.created_at.into(),
    }
}

/// What happened to a deployment, newest first: its states, and who promoted, rolled back, redeployed or canceled it.
#[utoipa::path(get, path = "/deployments/{id}/events", operation_id = "list_deployment_events", tag = "deployments",
    params(("id" = DeploymentId, Path), ("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = DeploymentEventList)), security(("bearer" = [])))]
pub(super) async fn list_deployment_events(
    State(app): State<App>,
    caller: Allowed<scope::DeploymentsRead>,
    Path(id): Path<DeploymentId>,
    Query(Paged(query)): Query<Paged>,
) -> Result<Json<DeploymentEventList>> {
    let viewer = &caller.caller.viewer;
    visible(&app, viewer, id).await?;
    // A cursor counts within one deployment only.
    let filters = id.to_string();
    let page = app.store.deployment_events(viewer, id, &query.request(&filters)?).await?;
    let pagination = shared::pagination(&page, &filters);
    Ok(Json(DeploymentEventList { events: page.rows.iter().map(wire).collect(), pagination }))
}
