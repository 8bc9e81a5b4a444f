//! One build from clone to published output, as named steps. Knows the order and how each failure reads; how a command
//! runs is `exec.rs`, what to run is `detect.rs`. Refuses to change the deployment's status: `queue.rs` does that once,
//! when everything else is over.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};

use crate::deployments::Spec;
use crate::exec::{self, Bounds, End};
use crate::publish;
use crate::queue::Job;
use crate::repo::RepoUrl;
use crate::{detect, git};

/// Why a build did not succeed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The text becomes the deployment's `error`.
    Failed(String),
    /// Cancelled, or the process goes down.
    Stopped,
}

/// What a successful build says about itself.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) single_page: bool,
}

/// Runs the whole build of `job`.
pub(crate) async fn run(bounds: &Bounds, job: &Job) -> Result<Built, Failure> {
    let app = &bounds.app;
    let build_dir = app.build_dir(&job.build_id);
    for dir in ["home", "tmp"] {
        tokio::fs::create_dir_all(build_dir.join(dir)).await.map_err(|error| disk("the build directory", &error))?;
    }
    tokio::fs::create_dir_all(app.root.join("cache").join("npm"))
        .await
        .map_err(|error| disk("the npm cache", &error))?;
    let repo = RepoUrl::parse(&job.repo_url, app.config.allow_file_urls, app.config.allow_private_hosts)
        .map_err(|reason| Failure::Failed(format!("the repository is not allowed: {reason}")))?;

    let source = build_dir.join("src");
    let mut steps = Steps { bounds, position: 0 };
    let step = steps.begin("clone").await;
    let branch = if git::is_default(&job.branch) { "the default branch" } else { &job.branch };
    bounds.log.system(format!("Cloning {} ({branch})", repo.redacted())).await;
    let cloned = git::clone(bounds, &repo, &job.branch, job.commit_sha.as_deref(), &build_dir, &source).await;
    let commit = steps.end(step, cloned).await?;
    bounds.log.system(format!("Checked out {} {}", commit.sha, commit.message)).await;
    record_commit(bounds, job, &commit).await?;

    let project = inside(&source, job.spec.root_directory.as_deref().unwrap_or("."))
        .map_err(|reason| Failure::Failed(format!("rootDirectory {reason}")))?;
    let plan = {
        let (project, spec) = (project.clone(), job.spec.clone());
        let path = exec::base_env(app, &build_dir).into_iter().find(|(name, _)| name == "PATH").map(|(_, path)| path);
        let planned = tokio::task::spawn_blocking(move || {
            detect::plan(&project, &spec, |tool| is_installed(tool, path.as_ref()))
        });
        planned
            .await
            .map_err(|_| Failure::Failed("the framework could not be detected".to_owned()))?
            .map_err(Failure::Failed)?
    };
    bounds.log.system(format!("Framework: {}", plan.framework)).await;
    for note in &plan.notes {
        bounds.log.system(note.clone()).await;
    }
    record_framework(bounds, job, &plan.framework).await?;

    let env = build_env(bounds, &build_dir, &job.spec);
    for (name, command) in [("install", &plan.install), ("build", &plan.build)] {
        let Some(command) = command else { continue };
        let step = steps.begin(name).await;
        let outcome = shell(bounds, command, &project, &env).await;
        steps.end(step, outcome).await?;
    }

    let step = steps.begin("publish").await;
    let published = publish::publish(app, &source, &project, &plan, &job.deployment_id).await;
    let published = steps.end(step, published.map_err(Failure::Failed)).await?;
    bounds.log.system(format!("Published {} files from {}", published.files, published.directory)).await;
    let spa = published.single_html && detect::is_single_page(&plan.framework);
    Ok(Built { single_page: spa })
}

async fn shell(bounds: &Bounds, command: &str, cwd: &Path, env: &[(OsString, OsString)]) -> Result<(), Failure> {
    bounds.log.system(format!("$ {command}")).await;
    bounds.log.begin_command().await;
    let end = exec::run(bounds, "/bin/sh", &["-c", command], cwd, env, &[]).await;
    match end {
        End::Exited(status) if status.success() => Ok(()),
        end => {
            let tail = bounds.log.tail().await;
            Err(failure(bounds, "", command, end, &tail))
        }
    }
}

/// Words for a command that did not succeed: what, how it ended, and its last lines.
pub(crate) fn failure(bounds: &Bounds, what: &str, command: &str, end: End, tail: &[String]) -> Failure {
    let config = &bounds.app.config;
    let how = match end {
        End::Stopped => return Failure::Stopped,
        End::OutOfTime => {
            let limit = config.build_timeout;
            return Failure::Failed(format!(
                "the build took longer than its time limit of {limit:?} and was stopped during `{command}`"
            ));
        }
        End::OutOfMemory(used) => {
            return Failure::Failed(format!(
                "the build used {} of memory, more than its memory limit of {}, and was stopped during `{command}`",
                mebibytes(used),
                mebibytes(config.build_memory_bytes)
            ));
        }
        End::NotStarted(error) => format!("`{command}` could not be started: {error}"),
        End::Exited(status) => match (status.code(), status.signal()) {
            (Some(code), _) => format!("`{command}` exited with code {code}"),
            (None, Some(signal)) => format!("`{command}` was killed by signal {signal}"),
            (None, None) => format!("`{command}` failed"),
        },
    };
    let mut text = if what.is_empty() { how } else { format!("{what}: {how}") };
    for line in tail {
        text.push('\n');
        text.push_str(line);
    }
    Failure::Failed(text)
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

fn build_env(bounds: &Bounds, build_dir: &Path, spec: &Spec) -> Vec<(OsString, OsString)> {
    let mut env = exec::base_env(&bounds.app, build_dir);
    env.extend(spec.env.iter().map(|(name, value)| (name.into(), value.into())));
    env
}

fn is_installed(tool: &str, path: Option<&OsString>) -> bool {
    path.is_some_and(|path| std::env::split_paths(path).any(|dir| dir.join(tool).is_file()))
}

/// `path` below `base` with symlinks resolved; anything that leads out is refused.
pub(crate) fn inside(base: &Path, path: &str) -> Result<PathBuf, String> {
    let base = base.canonicalize().map_err(|error| format!("cannot be read: {error}"))?;
    let full = base.join(path).canonicalize().map_err(|_| format!("`{path}` does not exist in the repository"))?;
    if !full.starts_with(&base) {
        return Err(format!("`{path}` leads out of the repository"));
    }
    if !full.is_dir() {
        return Err(format!("`{path}` is not a directory"));
    }
    Ok(full)
}

async fn record_commit(bounds: &Bounds, job: &Job, commit: &git::Commit) -> Result<(), Failure> {
    sqlx::query(
        "UPDATE deployments SET commit_sha = $2, commit_author = $3, commit_message = $4, \
         branch = coalesce($5, branch), updated_at = $6 WHERE id = $1",
    )
    .bind(&job.deployment_id)
    .bind(&commit.sha)
    .bind(&commit.author)
    .bind(&commit.message)
    // The default branch has a name now.
    .bind(&commit.branch)
    .bind(bounds.app.stamp())
    .execute(&bounds.app.db)
    .await
    .map_err(database)?;
    Ok(())
}

async fn record_framework(bounds: &Bounds, job: &Job, framework: &str) -> Result<(), Failure> {
    // What the caller asked for stays as it was asked.
    sqlx::query("UPDATE deployments SET framework = coalesce(framework, $2), updated_at = $3 WHERE id = $1")
        .bind(&job.deployment_id)
        .bind(framework)
        .bind(bounds.app.stamp())
        .execute(&bounds.app.db)
        .await
        .map_err(database)?;
    crate::queue::announce_update(&bounds.app, &job.deployment_id).await;
    Ok(())
}

/// The steps of one build, as `GET /v1/builds/{b}` shows them.
struct Steps<'a> {
    bounds: &'a Bounds,
    position: i64,
}

impl Steps<'_> {
    async fn begin(&mut self, name: &str) -> i64 {
        self.position += 1;
        let done = sqlx::query(
            "INSERT INTO build_steps (build_id, position, name, status, started_at) VALUES ($1, $2, $3, 'building', $4)",
        )
        .bind(&self.bounds.build_id)
        .bind(self.position)
        .bind(name)
        .bind(self.bounds.app.stamp())
        .execute(&self.bounds.app.db)
        .await;
        note(done);
        self.position
    }

    async fn end<T>(&self, position: i64, outcome: Result<T, Failure>) -> Result<T, Failure> {
        let status = match &outcome {
            Ok(_) => "success",
            Err(Failure::Failed(_)) => "failed",
            Err(Failure::Stopped) => "canceled",
        };
        let done =
            sqlx::query("UPDATE build_steps SET status = $3, completed_at = $4 WHERE build_id = $1 AND position = $2")
                .bind(&self.bounds.build_id)
                .bind(position)
                .bind(status)
                .bind(self.bounds.app.stamp())
                .execute(&self.bounds.app.db)
                .await;
        note(done);
        if self.bounds.stop.is_cancelled() { Err(Failure::Stopped) } else { outcome }
    }
}

fn note(done: Result<sqlx::sqlite::SqliteQueryResult, sqlx::Error>) {
    if let Err(error) = done {
        tracing::error!(%error, "a build step could not be recorded");
    }
}

fn disk(what: &str, error: &std::io::Error) -> Failure {
    Failure::Failed(format!("{what} could not be made: {error}"))
}

#[expect(clippy::needless_pass_by_value, reason = "shaped for `map_err`")]
fn database(error: sqlx::Error) -> Failure {
    tracing::error!(%error, "ghost database failed during a build");
    Failure::Failed("Ghost could not record the build".to_owned())
}
