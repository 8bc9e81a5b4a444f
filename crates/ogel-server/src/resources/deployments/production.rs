//! Which deployment a project's domains show. Ghost serves it, our record says since when and by whom.
//!
//! `doing.rs` does it: Ghost is asked first, what it refuses is not written down, and who changes Ghost last has seen that
//! both agree.

use super::{visible, wire, wire_pending};
use crate::{
    access,
    caller::{Allowed, Caller, scope},
    doing,
    error::{Failure, Result},
    extract::{Json, MaybeJson, Path, invalid_field},
    permissions::rule,
    pipeline::RequestContext,
    responses::{self, DEPLOYMENTS_AND_BUILDS},
    state::App,
};
use axum::{extract::State, http::StatusCode};
use ogel_api::{
    deployments::{Deployment, DeploymentStatus, Promotion},
    error::ErrorCode,
    id::DeploymentId,
    operations::OperationKind,
};
use ogel_store::Act;

type Answer = (StatusCode, Json<Deployment>);

/// Puts a deployment into production: the project's domains show it from now on. Only one that succeeded, else 409. Asking
/// again is fine. Takes the role developer.
#[utoipa::path(post, path = "/deployments/{id}/promote", operation_id = "promote_deployment", tag = "deployments",
    params(("id" = DeploymentId, Path)), request_body(content = Option<Promotion>),
    responses((status = 200, body = Deployment), (status = 202, body = Deployment, description = "Ghost has not answered yet")),
    security(("bearer" = [])))]
pub(super) async fn promote_deployment(
    State(app): State<App>,
    context: RequestContext,
    caller: Allowed<scope::DeploymentsWrite>,
    Path(id): Path<DeploymentId>,
    MaybeJson(body): MaybeJson<Promotion>,
) -> Result<Answer> {
    put(&app, &context, &caller.act(&app), &caller.caller, id, &body, OperationKind::PromoteDeployment).await
}

/// Takes production back to this deployment, which must have been there before: one that never was is 409. Does what
/// `promote` does, but is written down as `rolled_back`. Asking again is fine. Takes the role developer.
#[utoipa::path(post, path = "/deployments/{id}/rollback", operation_id = "rollback_deployment", tag = "deployments",
    params(("id" = DeploymentId, Path)), request_body(content = Option<Promotion>),
    responses((status = 200, body = Deployment), (status = 202, body = Deployment, description = "Ghost has not answered yet")),
    security(("bearer" = [])))]
pub(super) async fn rollback_deployment(
    State(app): State<App>,
    context: RequestContext,
    caller: Allowed<scope::DeploymentsWrite>,
    Path(id): Path<DeploymentId>,
    MaybeJson(body): MaybeJson<Promotion>,
) -> Result<Answer> {
    put(&app, &context, &caller.act(&app), &caller.caller, id, &body, OperationKind::RollBackDeployment).await
}

async fn put(
    app: &App,
    context: &RequestContext,
    act: &Act,
    caller: &Caller,
    id: DeploymentId,
    body: &Promotion,
    kind: OperationKind,
) -> Result<Answer> {
    let (row, role) = visible(app, &caller.viewer, id).await?;
    rule::PROMOTE_DEPLOYMENT.permit(role)?;
    let reason = body.reason.as_deref().map(str::trim).filter(|reason| !reason.is_empty());
    if reason.is_some_and(|reason| reason.chars().count() > 500 || reason.contains('\0')) {
        let message = "`reason` takes at most 500 characters";
        return Err(invalid_field(ErrorCode::InvalidValue, "body.reason", message, None));
    }
    if row.status != DeploymentStatus::Success {
        return Err(not_ready(row.status));
    }
    if kind == OperationKind::RollBackDeployment && row.promoted_at.is_none() {
        let message = "the deployment never was in production, so nothing can be rolled back to it; promote it instead";
        return Err(Failure::new(ErrorCode::Conflict, message));
    }
    let access = access::of_thing(context, caller, row.project_id, "deployment", id).await?;
    context.meter(&access.project);
    let asked = doing::Asked { kind, project: row.project_id, deployment: Some(id), act: Some(act), reason };
    let (operation, is_done) = doing::done(app, &asked).await?;
    responses::changed(app, row.project_id, DEPLOYMENTS_AND_BUILDS).await;
    let (row, _) = visible(app, &caller.viewer, id).await?;
    Ok(if is_done {
        (StatusCode::OK, Json(wire(&row)))
    } else {
        (StatusCode::ACCEPTED, Json(wire_pending(&row, operation.id)))
    })
}

fn not_ready(status: DeploymentStatus) -> Failure {
    let message = if status.is_terminal() {
        format!("the deployment ended as `{status}`; only one that succeeded can be in production")
    } else {
        format!("the deployment is still `{status}`; wait until it has succeeded")
    };
    Failure::new(ErrorCode::Conflict, message)
}
