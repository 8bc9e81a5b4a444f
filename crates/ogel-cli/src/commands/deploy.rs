//! `ogel deploy`: one deployment from the folder to the preview URL, its exit code the build's verdict.

mod source;
mod watch;

use crate::{
    Context, Result,
    args::DeployArgs,
    failure::{Exit, Failure},
    lookup,
};
use ogel_api::deployments::{Deployment, DeploymentStatus, NewDeployment};
use ogel_client::{Client, ClientError};
use source::Source;
use std::{
    collections::BTreeMap,
    future::pending,
    time::{Duration, Instant},
};
use tokio::{signal::ctrl_c, time::sleep};
use watch::Watch;

pub(crate) async fn run(context: &Context, args: Box<DeployArgs>) -> Result {
    // What can be wrong on this machine is found before anything is created on another.
    let source = Source::find(context, &args)?;
    let client = context.client()?;
    let started = Instant::now();
    let (timeout, no_wait) = (args.timeout.map(Duration::from_secs), args.no_wait);
    let deployment = tokio::select! {
        created = create(context, &client, &source, *args) => created?,
        _ = ctrl_c() => return Err(interrupted("interrupted before the server had confirmed the deployment")
            .hint("`ogel deployments list` shows whether it was created")),
    };
    if no_wait {
        return announce(context, &deployment);
    }
    let mut watch = Watch::new(context, &client, deployment);
    let ended = tokio::select! {
        ended = watch.run() => ended,
        failure = cut_short(timeout) => Err(failure),
    };
    let deployment = watch.into_deployment();
    match ended {
        Ok(()) => verdict(context, &deployment, started.elapsed()),
        Err(failure) => Err(left_alone(context, failure, &deployment)),
    }
}

async fn create(context: &Context, client: &Client, source: &Source, args: DeployArgs) -> Result<Deployment> {
    let project = lookup::project(context, client, args.project.as_deref()).await?;
    let output = &context.output;
    output.note(&format!("Deploying \x1b[1m{}\x1b[0m to project \x1b[1m{}\x1b[0m", source.label(), project.slug));
    let env: BTreeMap<String, String> = args.env.into_iter().collect();
    let new = NewDeployment {
        project_id: project.id,
        repo_url: source.repo_url.clone(),
        branch: source.branch.clone(),
        commit_sha: source.commit_sha.clone(),
        framework: args.framework,
        root_directory: source.root_directory.clone(),
        install_command: args.install_command,
        build_command: args.build_command,
        output_directory: args.output_directory,
        env: Some(env).filter(|env| !env.is_empty()),
        tags: Some(args.tag).filter(|tags| !tags.is_empty()),
    };
    let deployment = client.create_deployment(&new).await.map_err(|error| refused(context, source, error))?;
    output.note(&format!("\x1b[2m{} · {}\x1b[0m", deployment.id, deployment.build_id));
    Ok(deployment)
}

/// A server elsewhere cannot read this machine; the repository's origin it can.
fn refused(context: &Context, source: &Source, error: ClientError) -> Failure {
    let is_about_url = matches!(error.code(), Some("REPO_SCHEME_NOT_ALLOWED" | "REPO_HOST_NOT_ALLOWED"));
    let failure = context.explain(error);
    match &source.origin {
        Some(origin) if is_about_url => failure.hint(format!("push it, then run `ogel deploy {origin}`")),
        None if is_about_url && source.is_local => {
            failure.hint("this server cannot read this machine's files: push the repository, then deploy its URL")
        }
        _ => failure,
    }
}

fn announce(context: &Context, deployment: &Deployment) -> Result {
    context.output.note(&format!("Follow it with `ogel logs {} --follow`", deployment.id));
    if context.output.json { context.output.json(deployment) } else { context.output.data(&deployment.id.to_string()) }
}

/// Ctrl-C, or the end of `--timeout`.
async fn cut_short(limit: Option<Duration>) -> Failure {
    let time_is_up = async {
        match limit {
            Some(limit) => sleep(limit).await,
            None => pending().await,
        }
    };
    tokio::select! {
        _ = ctrl_c() => interrupted("interrupted; the deployment goes on"),
        () = time_is_up => {
            let seconds = limit.unwrap_or_default().as_secs();
            Failure::new(Exit::TimedOut, "TIMED_OUT", format!("not over after {seconds} s; the deployment goes on"))
        }
    }
}

fn interrupted(message: &str) -> Failure {
    Failure::new(Exit::Interrupted, "INTERRUPTED", message)
}

/// We stop watching, the deployment does not stop.
fn left_alone(context: &Context, failure: Failure, deployment: &Deployment) -> Failure {
    let id = deployment.id;
    let hint = format!("follow it with `ogel logs {id} --follow`, stop it with `ogel deployments cancel {id}`");
    let stopped_by_us = matches!(failure.exit, Exit::Interrupted | Exit::TimedOut);
    // The id is what a script needs now. If stdout is broken, the exit code remains.
    if stopped_by_us && context.output.json && context.output.json(deployment).is_ok() {
        return failure.hint(hint).reported();
    }
    failure.hint(hint)
}

fn verdict(context: &Context, deployment: &Deployment, elapsed: Duration) -> Result {
    let output = &context.output;
    let seconds = format!("{:.1}s", elapsed.as_secs_f64());
    if deployment.status == DeploymentStatus::Success {
        output.note(&format!("\x1b[1;32mReady\x1b[0m in {seconds}"));
        return match &deployment.preview_url {
            _ if output.json => output.json(deployment),
            Some(url) => output.data(url),
            None => {
                output.warn("the server named no preview URL");
                Ok(())
            }
        };
    }
    let (code, message) = match deployment.status {
        DeploymentStatus::Failed => ("BUILD_FAILED", format!("Build failed after {seconds}")),
        DeploymentStatus::Canceled => ("CANCELED", format!("Deployment was canceled after {seconds}")),
        status => {
            ("UNKNOWN_STATUS", format!("Deployment ended after {seconds} as `{status}`; this `ogel` may be too old"))
        }
    };
    let mut failure = Failure::new(Exit::Failed, code, message);
    if let Some(error) = &deployment.error {
        failure = failure.detail(error);
    }
    failure = failure.hint(format!("`ogel logs {}` shows the whole log", deployment.build_id));
    // A broken stdout does not change the verdict.
    if output.json && output.json(deployment).is_ok() {
        failure = failure.reported();
    }
    Err(failure)
}
