//! Which build runs when, and the only place that moves a deployment from `pending` to `building` to its end.
//! `max_concurrent_builds` run, the rest wait in order of creation. A cancelled deployment says so only once its
//! processes are gone. A start after a crash kills what was left running, fails it with a reason, and goes on with what
//! was queued. Next: `pipeline.rs` for what a build does.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use parking_lot::Mutex;
use sqlx::SqlitePool;
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::deployments::{Deployment, Spec};
use crate::error::{ApiError, ApiResult};
use crate::exec::Bounds;
use crate::pipeline::{self, Built, Failure};
use crate::state::App;
use crate::{db, group, log, publish};

/// How long a cancel waits for the end of a build: two seconds of grace, ten for the kill, the rest for a slow disk.
const CANCEL_WAIT: Duration = Duration::from_secs(30);
const INTERRUPTED: &str = "interrupted: Ghost restarted while this build ran";

/// Builds that run now, and the bell for new ones.
#[derive(Default)]
pub(crate) struct Queue {
    bell: Notify,
    running: Mutex<HashMap<String, CancellationToken>>,
    /// Held while a deployment is created and announced, and while one is claimed: a build that starts at once must not
    /// be announced before its deployment is.
    pub(crate) order: tokio::sync::Mutex<()>,
}

/// A deployment whose build is due.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) deployment_id: String,
    pub(crate) build_id: String,
    pub(crate) repo_url: String,
    pub(crate) branch: String,
    pub(crate) commit_sha: Option<String>,
    pub(crate) spec: Spec,
}

impl Queue {
    /// Says that something may be pending.
    pub(crate) fn ring(&self) {
        self.bell.notify_one();
    }
}

/// Starts builds until the process ends.
pub(crate) async fn schedule(app: Arc<App>) {
    let slots = Arc::new(Semaphore::new(app.config.max_concurrent_builds.max(1)));
    loop {
        let slot = tokio::select! {
            () = app.stop.cancelled() => return,
            slot = slots.clone().acquire_owned() => slot,
        };
        // The semaphore is never closed.
        let Ok(slot) = slot else { return };
        let job = loop {
            match claim(&app).await {
                Ok(Some(job)) => break job,
                Ok(None) => tokio::select! {
                    () = app.stop.cancelled() => return,
                    () = app.queue.bell.notified() => {}
                },
                Err(error) => {
                    tracing::error!(error.kind = error.kind, "the next build could not be claimed");
                    tokio::select! {
                        () = app.stop.cancelled() => return,
                        () = tokio::time::sleep(Duration::from_secs(1)) => {}
                    }
                }
            }
        };
        let owner = app.clone();
        app.spawn(async move {
            build(&owner, &job).await;
            drop(slot);
        });
    }
}

type Claimed = (String, String, String, String, Option<String>, String);

async fn claim(app: &App) -> ApiResult<Option<Job>> {
    if app.stop.is_cancelled() {
        return Ok(None);
    }
    let _order = app.queue.order.lock().await;
    let row: Option<Claimed> = sqlx::query_as(
        "UPDATE deployments SET status = 'building', started_at = $1, updated_at = $1 \
         WHERE seq = (SELECT seq FROM deployments WHERE status = 'pending' ORDER BY seq LIMIT 1) \
         RETURNING id, build_id, repo_url, branch, commit_sha, spec",
    )
    .bind(app.stamp())
    .fetch_optional(&app.db)
    .await?;
    let Some((deployment_id, build_id, repo_url, branch, commit_sha, spec)) = row else { return Ok(None) };
    let spec = serde_json::from_str(&spec)?;
    Ok(Some(Job { deployment_id, build_id, repo_url, branch, commit_sha, spec }))
}

async fn build(app: &Arc<App>, job: &Job) {
    let stop = app.stop.child_token();
    app.queue.running.lock().insert(job.deployment_id.clone(), stop.clone());
    // A cancel that came between the claim and this line found no token; it left a mark instead.
    if cancel_requested(&app.db, &job.deployment_id).await {
        stop.cancel();
    }
    announce_update(app, &job.deployment_id).await;
    tracing::info!(deployment.id = %job.deployment_id, build.id = %job.build_id, "build started");
    let (log, writer) = log::start(app, &job.build_id);
    let deadline = Instant::now() + app.config.build_timeout;
    let bounds = Bounds { app: app.clone(), build_id: job.build_id.clone(), log, stop, deadline };
    let outcome = AssertUnwindSafe(pipeline::run(&bounds, job)).catch_unwind().await;
    let outcome = outcome.unwrap_or_else(|_| Err(Failure::Failed("Ghost failed while it ran this build".to_owned())));
    // Whatever happened above, nothing of the build may live on.
    group::sweep(&job.build_id).await;
    let end = match outcome {
        Ok(built) => Ending::Success(built),
        Err(Failure::Failed(error)) => Ending::Failed(error),
        Err(Failure::Stopped) if app.stop.is_cancelled() && !cancel_requested(&app.db, &job.deployment_id).await => {
            Ending::Interrupted
        }
        Err(Failure::Stopped) => Ending::Canceled,
    };
    match &end {
        Ending::Success(_) => bounds.log.system("Build succeeded").await,
        Ending::Failed(error) => {
            bounds.log.system(format!("Build failed: {}", error.lines().next().unwrap_or_default())).await
        }
        Ending::Canceled => bounds.log.system("Build canceled").await,
        Ending::Interrupted => bounds.log.system("Build interrupted: Ghost is stopping").await,
    }
    drop(bounds);
    let complete = writer.finish().await;
    publish::remove_dir(app.build_dir(&job.build_id)).await;
    let end = match end {
        Ending::Success(_) if !complete => Ending::Failed("the log of the build could not be stored".to_owned()),
        end => end,
    };
    if !matches!(end, Ending::Success(_)) {
        publish::remove_dir(app.output_dir(&job.deployment_id)).await;
    }
    finish(app, job, end).await;
    app.queue.running.lock().remove(&job.deployment_id);
    app.changes.send_modify(|n| *n += 1);
}

enum Ending {
    Success(Built),
    Failed(String),
    Canceled,
    /// The process goes down: the row stays `building`, and the next start fails it with a reason.
    Interrupted,
}

async fn finish(app: &App, job: &Job, end: Ending) {
    let (status, error, spa) = match end {
        Ending::Success(built) => ("success", None, built.single_page),
        Ending::Failed(error) => ("failed", Some(error), false),
        Ending::Canceled => ("canceled", None, false),
        Ending::Interrupted => return,
    };
    let recorded = record_end(app, &job.deployment_id, status, error.as_deref(), spa).await;
    if let Err(error) = recorded {
        tracing::error!(%error, deployment.id = %job.deployment_id, "the end of a build could not be recorded");
    }
    tracing::info!(deployment.id = %job.deployment_id, build.id = %job.build_id, build.status = status, "build ended");
    announce_update(app, &job.deployment_id).await;
}

async fn record_end(app: &App, id: &str, status: &str, error: Option<&str>, spa: bool) -> Result<(), sqlx::Error> {
    let now = app.stamp();
    let mut tx = db::write(&app.db).await?;
    sqlx::query(
        "UPDATE deployments SET status = $2, error = $3, spa = $4, updated_at = $5, completed_at = $5 \
         WHERE id = $1 AND status = 'building'",
    )
    .bind(id)
    .bind(status)
    .bind(error)
    .bind(spa)
    .bind(&now)
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "UPDATE build_steps SET status = $2, completed_at = $3 WHERE status = 'building' \
         AND build_id = (SELECT build_id FROM deployments WHERE id = $1)",
    )
    .bind(id)
    .bind(status)
    .bind(&now)
    .execute(&mut *tx)
    .await?;
    if status == "success" {
        // The first success is served at once; later ones wait to be activated.
        sqlx::query(
            "UPDATE projects SET active_deployment_id = $1 WHERE active_deployment_id IS NULL \
             AND id = (SELECT project_id FROM deployments WHERE id = $1 AND status = 'success')",
        )
        .bind(id)
        .execute(&mut *tx)
        .await?;
    }
    tx.commit().await
}

/// Ends a deployment's build, and waits until it has ended. Answers the status it ended with.
pub(crate) async fn cancel(app: &App, id: &str) -> ApiResult<String> {
    let deadline = Instant::now() + CANCEL_WAIT;
    let mut changes = app.changes.subscribe();
    loop {
        changes.mark_unchanged();
        let now = app.stamp();
        let dropped = sqlx::query(
            "UPDATE deployments SET status = 'canceled', cancel_requested = 1, updated_at = $2, completed_at = $2 \
             WHERE id = $1 AND status = 'pending'",
        )
        .bind(id)
        .bind(&now)
        .execute(&app.db)
        .await?;
        if dropped.rows_affected() > 0 {
            announce_update(app, id).await;
            return Ok("canceled".to_owned());
        }
        let building = sqlx::query("UPDATE deployments SET cancel_requested = 1 WHERE id = $1 AND status = 'building'")
            .bind(id)
            .execute(&app.db)
            .await?;
        if building.rows_affected() == 0 {
            let status: Option<String> = sqlx::query_scalar("SELECT status FROM deployments WHERE id = $1")
                .bind(id)
                .fetch_optional(&app.db)
                .await?;
            return status.ok_or_else(|| ApiError::not_found("deployment_not_found", "Deployment"));
        }
        if let Some(token) = app.queue.running.lock().get(id) {
            token.cancel();
        }
        if tokio::time::timeout_at(deadline, changes.changed()).await.is_err() {
            tracing::error!(deployment.id = %id, "a cancelled build did not end");
            return Err(ApiError::internal());
        }
    }
}

async fn cancel_requested(db: &SqlitePool, id: &str) -> bool {
    let asked: Result<Option<bool>, _> =
        sqlx::query_scalar("SELECT cancel_requested FROM deployments WHERE id = $1").bind(id).fetch_optional(db).await;
    asked.is_ok_and(|asked| asked == Some(true))
}

/// Cleans up after a crash: kills leftovers, ends what was running, removes half-made files.
pub(crate) async fn recover(app: &App) -> Result<(), sqlx::Error> {
    let left: Vec<(String, i64, String)> =
        sqlx::query_as("SELECT build_id, pgid, mark FROM build_groups").fetch_all(&app.db).await?;
    for (build_id, pgid, mark) in left {
        let pgid = u32::try_from(pgid).unwrap_or_default();
        // The same number may belong to someone else by now; the start time tells.
        if pgid > 1 && !mark.is_empty() && group::mark(pgid).await.as_ref() == Some(&mark) {
            tracing::warn!(build.id = %build_id, process.group = pgid, "a build outlived the last run, ending it");
            group::end(pgid, || {}).await;
        }
    }
    let interrupted: Vec<(String, String, bool)> =
        sqlx::query_as("SELECT id, build_id, cancel_requested FROM deployments WHERE status = 'building'")
            .fetch_all(&app.db)
            .await?;
    for (id, build_id, canceled) in interrupted {
        group::sweep(&build_id).await;
        let (status, error) = if canceled { ("canceled", None) } else { ("failed", Some(INTERRUPTED)) };
        sqlx::query(
            "INSERT INTO build_lines (build_id, n, at, stream, text) \
             SELECT $1, coalesce(max(n), 0) + 1, $2, 'system', $3 FROM build_lines WHERE build_id = $1",
        )
        .bind(&build_id)
        .bind(app.stamp())
        .bind(format!("Build {}", error.unwrap_or(status)))
        .execute(&app.db)
        .await?;
        record_end(app, &id, status, error, false).await?;
        publish::remove_dir(app.output_dir(&id)).await;
        announce_update(app, &id).await;
    }
    sqlx::query("DELETE FROM build_groups").execute(&app.db).await?;
    publish::remove_dir(app.root.join("builds")).await;
    Ok(())
}

/// Tells the world how a deployment stands now.
pub(crate) async fn announce_update(app: &App, id: &str) {
    match Deployment::find(&app.db, id).await {
        Ok(Some(deployment)) => app.announce(&deployment, "update"),
        Ok(None) => {}
        Err(error) => tracing::error!(%error, "a deployment could not be announced"),
    }
}
