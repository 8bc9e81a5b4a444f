//! Which deployment a project's domains show. Ghost serves it, our record says since when and by whom.
//!
//! Ghost is asked first: what it refuses is not written down. Two who promote at once may reach Ghost in one order and the
//! record in the other, so each looks afterwards whether Ghost shows what the record says ([`settle`]). The same heals what a
//! crash between the two left behind, at the next promotion.

use super::{visible, wire};
use crate::{
    access,
    acting::{Acting, acting, refused},
    caller::{Allowed, Caller, require_role, scope},
    error::{Failure, Result},
    extract::{Json, MaybeJson, Path, invalid_field},
    pipeline::RequestContext,
    state::App,
};
use axum::extract::State;
use ogel_api::{
    deployments::{Deployment, DeploymentEventType, DeploymentStatus, Promotion},
    error::ErrorCode,
    id::{DeploymentId, ProjectId},
    organizations::Role,
};
use std::sync::Arc;

/// Puts a deployment into production: the project's domains show it from now on. Only one that succeeded, else 409. Asking
/// again is fine. Takes the role developer.
#[utoipa::path(post, path = "/deployments/{id}/promote", operation_id = "promote_deployment", tag = "deployments",
    params(("id" = DeploymentId, Path)), request_body(content = Option<Promotion>),
    responses((status = 200, body = Deployment)), security(("bearer" = [])))]
pub(super) async fn promote_deployment(
    State(app): State<App>,
    context: RequestContext,
    caller: Allowed<scope::DeploymentsWrite>,
    Path(id): Path<DeploymentId>,
    MaybeJson(body): MaybeJson<Promotion>,
) -> Result<Json<Deployment>> {
    put(&app, &context, &caller.caller, id, &body, DeploymentEventType::Promoted).await
}

/// Takes production back to this deployment, which must have been there before: one that never was is 409. Does what
/// `promote` does, but is written down as `rolled_back`. Asking again is fine. Takes the role developer.
#[utoipa::path(post, path = "/deployments/{id}/rollback", operation_id = "rollback_deployment", tag = "deployments",
    params(("id" = DeploymentId, Path)), request_body(content = Option<Promotion>),
    responses((status = 200, body = Deployment)), security(("bearer" = [])))]
pub(super) async fn rollback_deployment(
    State(app): State<App>,
    context: RequestContext,
    caller: Allowed<scope::DeploymentsWrite>,
    Path(id): Path<DeploymentId>,
    MaybeJson(body): MaybeJson<Promotion>,
) -> Result<Json<Deployment>> {
    put(&app, &context, &caller.caller, id, &body, DeploymentEventType::RolledBack).await
}

async fn put(
    app: &App,
    context: &RequestContext,
    caller: &Arc<Caller>,
    id: DeploymentId,
    body: &Promotion,
    kind: DeploymentEventType,
) -> Result<Json<Deployment>> {
    let (row, role) = visible(app, &caller.viewer, id).await?;
    require_role(role, Role::Developer)?;
    let reason = body.reason.as_deref().map(str::trim).filter(|reason| !reason.is_empty());
    if reason.is_some_and(|reason| reason.chars().count() > 500 || reason.contains('\0')) {
        let message = "`reason` takes at most 500 characters";
        return Err(invalid_field(ErrorCode::InvalidValue, "body.reason", message, None));
    }
    if row.status != DeploymentStatus::Success {
        return Err(not_ready(row.status));
    }
    if kind == DeploymentEventType::RolledBack && row.promoted_at.is_none() {
        let message = "the deployment never was in production, so nothing can be rolled back to it; promote it instead";
        return Err(Failure::new(ErrorCode::Conflict, message));
    }
    let access = access::of_thing(app, caller, row.project_id, "deployment", id).await?;
    context.meter(&access.project);
    let mut acting = Acting::made(app, caller, &access).await?;
    let at_ghost = &row.ogel_deployment_id;
    acting!(app, acting, |credential, at| app.ghost.activate_deployment(context.call(), credential, at, at_ghost))
        .map_err(|error| refused(error, "deployment", id))?;
    let promotion = ogel_store::Promotion {
        deployment: id,
        project: row.project_id,
        kind,
        actor: Some(caller.user.id),
        reason,
        at: app.world.now(),
    };
    let row = app.store.promote(&promotion).await?;
    settle(app, context, &mut acting, promotion.project).await?;
    // Deleted meanwhile.
    let row = row.ok_or_else(|| ogel_api::error::Error::not_found("deployment", id))?;
    Ok(Json(wire(&row)))
}

/// Has Ghost show what the record says is in production. Looks again after each change it makes: between reading the record
/// and changing Ghost somebody else may have written. So whoever changes Ghost last has seen that both agree.
async fn settle(app: &App, context: &RequestContext, acting: &mut Acting, project: ProjectId) -> Result<()> {
    // Each further round takes somebody else's promotion in between.
    for _ in 0..20 {
        let Some(there) = app.store.active_deployment(project).await? else { return Ok(()) };
        let at_ghost = &there.ogel_deployment_id;
        let shown =
            acting!(app, acting, |credential, at| app.ghost.get_deployment(context.call(), credential, at, at_ghost));
        match shown {
            Ok(document) if document.active => return Ok(()),
            // About to be deleted: gone from Ghost already, from the record in a moment.
            Err(error) if error.code == ErrorCode::NotFound => return Ok(()),
            other => drop(other?),
        }
        tracing::info!(project.id = %project, deployment.id = %there.id, "the record's deployment is put into production again");
        acting!(app, acting, |credential, at| app.ghost.activate_deployment(context.call(), credential, at, at_ghost))?;
    }
    Ok(())
}

fn not_ready(status: DeploymentStatus) -> Failure {
    let message = if status.is_terminal() {
        format!("the deployment ended as `{status}`; only one that succeeded can be in production")
    } else {
        format!("the deployment is still `{status}`; wait until it has succeeded")
    };
    Failure::new(ErrorCode::Conflict, message)
}
