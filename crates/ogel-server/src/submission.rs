//! How a deployment's row becomes work at Ghost: account, project, then the deployment under our own id.
//!
//! Every step may be repeated: our ids make "exists already" the same as "done". So a crash or a lost answer anywhere
//! in here is mended by calling it again, and never makes a second deployment.

use crate::{
    bridge::STEP,
    error::{Failure, Result},
    resources::deployments::env_context,
    state::App,
};
use ogel_api::error::{Error, ErrorCode};
use ogel_ghost::{CallContext, CreateDeployment, Credential, DeploymentDoc};
use ogel_store::{Deployment, Viewer};

/// Hands the deployment to Ghost and answers with what Ghost knows of it.
pub(crate) async fn submit(app: &App, row: &Deployment) -> Result<DeploymentDoc> {
    let author = match row.created_by {
        Some(id) => app.store.user(id).await?,
        None => None,
    };
    let Some(author) = author else {
        return Err(Failure::new(ErrorCode::Conflict, "the person who asked for this deployment was removed"));
    };
    let viewer = Viewer { user: author.id, organization: None, project: None };
    let Some((project, _)) = app.store.project(&viewer, row.project_id).await? else {
        return Err(Failure::new(ErrorCode::Conflict, "the person who asked for this deployment has left the project"));
    };
    let ghost_project = app.bridge.project(&project).await?;
    app.bridge.member(&project, &author).await?;

    let env = match &row.env {
        Some(sealed) => {
            let plain = app.sealer.open(&env_context(row.id), sealed).map_err(Error::internal)?;
            serde_json::from_slice(&plain).map_err(Error::internal)?
        }
        None => Default::default(),
    };
    let body = CreateDeployment {
        deployment_id: row.ogel_deployment_id.clone(),
        repo_url: row.repo_url.clone(),
        branch: if row.branch == "HEAD" { String::new() } else { row.branch.clone() },
        framework: row.framework.clone(),
        commit_sha: row.commit_sha.clone(),
        root_directory: row.root_directory.clone(),
        install_command: row.install_command.clone(),
        build_command: row.build_command.clone(),
        output_directory: row.output_directory.clone(),
        env,
    };
    let (mut fresh_token, mut has_joined) = (false, false);
    loop {
        let token = app.bridge.token(&author).await?;
        let context = CallContext::within(STEP);
        let created = app.ghost.create_deployment(context, Credential::Jwt(&token), &ghost_project.id, &body).await;
        match created {
            Ok(document) => return Ok(document),
            // An earlier attempt got through after all.
            Err(error) if error.code == ErrorCode::Conflict => {
                let credential = Credential::ProjectKey(&ghost_project.key);
                let context = CallContext::within(STEP);
                return Ok(app
                    .ghost
                    .get_deployment(context, credential, &ghost_project.id, &row.ogel_deployment_id)
                    .await?);
            }
            // Ghost may have forgotten the token before its time; a fresh one settles it.
            Err(error) if error.code == ErrorCode::UpstreamAuth && !fresh_token => {
                fresh_token = true;
                app.bridge.drop_token(author.id).await;
            }
            // It may have forgotten the membership as well.
            Err(error) if error.hides_project() && !has_joined => {
                has_joined = true;
                app.bridge.join_again(&project, &author).await?;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Whether repeating a failed submission may help. Refusals of the values themselves stay refusals.
pub(crate) fn is_final(failure: &Failure) -> bool {
    matches!(
        failure.code(),
        ErrorCode::ValidationFailed
            | ErrorCode::NotFound
            | ErrorCode::Conflict
            | ErrorCode::Forbidden
            | ErrorCode::PayloadTooLarge
    )
}
