//! The example a first run deploys: files compiled into the binary, made into a git repository on the spot.

use super::{SAMPLE_PATIENCE, caller, due, welcome};
use crate::{resources::deployments, state::App, tracker};
use ogel_api::{
    deployments::{DeploymentStatus, NewDeployment},
    id::{ProjectId, UserId},
};
use ogel_store::{DeploymentFilter, PageRequest, Viewer};
use std::path::Path;
use tokio::process::Command;

/// The example's files.
const FILES: &[(&str, &str)] = &[
    ("index.html", include_str!("../../../../examples/hello-site/index.html")),
    ("style.css", include_str!("../../../../examples/hello-site/style.css")),
    ("build.sh", include_str!("../../../../examples/hello-site/build.sh")),
    ("README.md", include_str!("../../../../examples/hello-site/README.md")),
];

/// Deploys the example unless the project has a deployment already, and tells people where to look.
pub(super) async fn deploy_once(app: &App, data_dir: &Path, user: UserId, project: ProjectId, json: bool) {
    if let Err(reason) = try_deploy(app, data_dir, user, project, json).await {
        tracing::warn!(reason, "the example could not be deployed");
    }
}

async fn try_deploy(app: &App, data_dir: &Path, user: UserId, project: ProjectId, json: bool) -> Result<(), String> {
    let describe = |failure: crate::error::Failure| failure.0.message.to_string();
    let viewer = Viewer { user, organization: None, project: None };
    let filter = DeploymentFilter { project: Some(project), ..DeploymentFilter::default() };
    let request = PageRequest { limit: 20, after: None };
    let page = app.store.deployments(&viewer, &filter, &request).await.map_err(|error| error.to_string())?;
    if !page.rows.is_empty() {
        let latest = page.rows.iter().find(|row| row.status == DeploymentStatus::Success);
        if let Some(row) = latest.filter(|_| !json) {
            welcome::site("Your newest site", row);
        }
        return Ok(());
    }
    if !json {
        welcome::deploying();
    }
    let repository = data_dir.join("hello-site");
    make_repository(&repository).await?;
    let Some(user) = app.store.user(user).await.map_err(|error| error.to_string())? else { return Ok(()) };
    let url = url::Url::from_directory_path(&repository).map_err(|()| "the data directory has no URL".to_owned())?;
    let new = NewDeployment {
        project_id: project,
        repo_url: url.as_str().trim_end_matches('/').to_owned(),
        branch: Some("main".to_owned()),
        commit_sha: None,
        framework: None,
        root_directory: None,
        install_command: None,
        build_command: Some("sh build.sh".to_owned()),
        output_directory: Some("dist".to_owned()),
        env: None,
        tags: Some(vec!["example".to_owned()]),
    };
    let row = deployments::deploy(app, due(app), &caller(app, user), &new).await.map_err(describe)?;
    let row = tracker::wait_until(app, row, SAMPLE_PATIENCE, |row| row.status.is_terminal()).await;
    if !json {
        welcome::site("The example site", &row);
    }
    Ok(())
}

/// A repository with one commit. What the person's own git is configured to do (sign, run hooks) must not matter.
async fn make_repository(folder: &Path) -> Result<(), String> {
    let write = || {
        std::fs::create_dir_all(folder)?;
        FILES.iter().try_for_each(|(name, text)| std::fs::write(folder.join(name), text))
    };
    write().map_err(|error| format!("cannot write the example: {error}"))?;
    let identity = ["-c", "user.name=Ogel", "-c", "user.email=hello@ogel.localhost", "-c", "commit.gpgsign=false"];
    for arguments in [
        &["init", "--quiet", "--initial-branch=main"][..],
        &["add", "--all"],
        &["commit", "--quiet", "--no-verify", "--allow-empty", "-m", "Say hello"],
    ] {
        let output = Command::new("git")
            .args(identity)
            .args(arguments)
            .current_dir(folder)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .kill_on_drop(true)
            .output()
            .await
            .map_err(|error| format!("cannot run git, which deployments need: {error}"))?;
        if !output.status.success() {
            return Err(format!("git {} failed: {}", arguments[0], String::from_utf8_lossy(&output.stderr).trim()));
        }
    }
    Ok(())
}
