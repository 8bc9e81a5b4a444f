//! Operations: how what was answered with 202 stands.

use crate::{
    caller::{Allowed, scope},
    doing,
    error::Result,
    extract::{Json, NoParameters, Parameters, Path, Query},
    pipeline::RequestContext,
    router::{Routes, routes},
    state::App,
};
use axum::extract::State;
use ogel_api::{
    error::Error,
    id::OperationId,
    operations::{Operation, OperationError},
};
use ogel_store::Viewer;
use std::time::Duration;
use tokio::time::Instant;

/// The longest wait, and the one of who names none.
const LONGEST_WAIT: u64 = 60;
const WAIT: u64 = 20;
/// Time to answer in, before the request's own deadline.
const MARGIN: Duration = Duration::from_millis(500);

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(get_operation)).routes(routes!(wait_for_operation))
}

pub(crate) fn wire(row: &ogel_store::Operation) -> Operation {
    let error = row.error_code.clone().zip(row.error.clone());
    Operation {
        id: row.id,
        kind: row.kind,
        state: row.state,
        project_id: row.project_id,
        deployment_id: row.deployment_id,
        requested_by: row.requested_by,
        error: error.map(|(code, message)| OperationError { code, message }),
        created_at: row.created_at.into(),
        updated_at: row.updated_at.into(),
        completed_at: row.completed_at.map(Into::into),
    }
}

async fn visible(app: &App, viewer: &Viewer, id: OperationId) -> Result<ogel_store::Operation> {
    Ok(app.store.operation(viewer, id).await?.ok_or_else(|| Error::not_found("operation", id))?)
}

/// How an operation stands.
#[utoipa::path(get, path = "/operations/{id}", operation_id = "get_operation", tag = "operations",
    params(("id" = OperationId, Path)), responses((status = 200, body = Operation)), security(("bearer" = [])))]
async fn get_operation(
    State(app): State<App>,
    caller: Allowed<scope::DeploymentsRead>,
    Path(id): Path<OperationId>,
    _: Query<NoParameters>,
) -> Result<Json<Operation>> {
    Ok(Json(wire(&visible(&app, &caller.caller.viewer, id).await?)))
}

/// `timeout`, in seconds.
struct WaitParameters(u64);

impl Default for WaitParameters {
    fn default() -> Self {
        Self(WAIT)
    }
}

impl Parameters for WaitParameters {
    const KNOWN: &'static [&'static str] = &["timeout"];
    fn set(&mut self, _: &str, value: &str) -> Result<(), String> {
        self.0 = value
            .parse()
            .ok()
            .filter(|seconds| (0..=LONGEST_WAIT).contains(seconds))
            .ok_or_else(|| format!("`timeout` takes whole seconds from 0 to {LONGEST_WAIT}"))?;
        Ok(())
    }
}

/// Waits until an operation has ended, or until `timeout` (20 seconds unless named) or the request's own time is nearly
/// over, and answers with how it stands then.
#[utoipa::path(get, path = "/operations/{id}/wait", operation_id = "wait_for_operation", tag = "operations",
    params(("id" = OperationId, Path), ("timeout" = Option<u64>, Query)),
    responses((status = 200, body = Operation)), security(("bearer" = [])))]
async fn wait_for_operation(
    State(app): State<App>,
    context: RequestContext,
    caller: Allowed<scope::DeploymentsRead>,
    Path(id): Path<OperationId>,
    Query(WaitParameters(seconds)): Query<WaitParameters>,
) -> Result<Json<Operation>> {
    let operation = visible(&app, &caller.caller.viewer, id).await?;
    let left = context.deadline.saturating_duration_since(Instant::now()).saturating_sub(MARGIN);
    let operation = doing::wait(&app, operation, left.min(Duration::from_secs(seconds))).await?;
    Ok(Json(wire(&operation)))
}
