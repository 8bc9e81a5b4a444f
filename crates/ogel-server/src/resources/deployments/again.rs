//! Deploying the same once more: the settings of a deployment that is over become those of a new one.

use super::{accepted, env_context, start, visible};
use crate::{
    caller::{Allowed, scope},
    error::{Failure, Result},
    extract::{MaybeJson, Path},
    permissions::rule,
    pipeline::Made,
    state::App,
};
use axum::{extract::State, response::Response};
use ogel_api::{
    deployments::{Deployment, NewDeployment, Redeploy},
    error::{Error, ErrorCode},
    id::DeploymentId,
};

/// Deploys again with the same settings: the same commit, or the branch's newest with `latest`. A new deployment, as from
/// `POST deployments`: 201 once Ghost has accepted it, 202 when it has not answered yet. Takes the role developer; one
/// that is not over yet is 409.
#[utoipa::path(post, path = "/deployments/{id}/redeploy", operation_id = "redeploy_deployment", tag = "deployments",
    params(("id" = DeploymentId, Path)), request_body(content = Option<Redeploy>),
    responses((status = 201, body = Deployment), (status = 202, body = Deployment, description = "Ghost has not answered yet")),
    security(("bearer" = [])))]
pub(super) async fn redeploy_deployment(
    State(app): State<App>,
    caller: Allowed<scope::DeploymentsWrite>,
    Path(id): Path<DeploymentId>,
    made: Made,
    MaybeJson(body): MaybeJson<Redeploy>,
) -> Result<Response> {
    let (row, role) = visible(&app, &caller.caller.viewer, id).await?;
    rule::REDEPLOY_DEPLOYMENT.permit(role)?;
    if !row.status.is_terminal() {
        let message = format!("the deployment is still `{}`; wait until it is over, or cancel it", row.status);
        return Err(Failure::new(ErrorCode::Conflict, message));
    }
    let env = match &row.env {
        Some(sealed) => {
            let plain = app.sealer.open(&env_context(row.id), sealed).map_err(Error::internal)?;
            Some(serde_json::from_slice(&plain).map_err(Error::internal)?)
        }
        None => None,
    };
    let new = NewDeployment {
        project_id: row.project_id,
        repo_url: row.repo_url,
        // It ended before the repository's default branch was known.
        branch: Some(row.branch).filter(|branch| branch != "HEAD"),
        commit_sha: row.commit_sha.filter(|_| !body.latest),
        // What was asked for, not what was found: another commit may be of another framework.
        framework: row.asked_framework,
        root_directory: row.root_directory,
        install_command: row.install_command,
        build_command: row.build_command,
        output_directory: row.output_directory,
        env,
        tags: Some(row.tags),
    };
    let made = start(&app, caller.act(&app), &caller.caller, made, &new, Some(id)).await?;
    Ok(accepted(&app, made).await)
}
