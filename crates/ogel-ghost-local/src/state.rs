//! What every part shares: configuration, database, realtime hub, webhooks, the build queue, and the two ways to stop.
//! Refuses logic of its own beyond announcing a change. Next: `queue.rs` for builds, `routes.rs` for HTTP.

use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::SqlitePool;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::deployments::Deployment;
use crate::faults::Faults;
use crate::queue::Queue;
use crate::realtime::Hub;
use crate::webhooks::Webhooks;

/// The one state of an embedded Ghost.
pub(crate) struct App {
    pub(crate) config: Config,
    pub(crate) db: SqlitePool,
    pub(crate) jwt_secret: Vec<u8>,
    pub(crate) faults: Faults,
    pub(crate) hub: Hub,
    pub(crate) webhooks: Webhooks,
    pub(crate) queue: Queue,
    /// Canonical form of the data directory: paths below it are compared after symlinks are resolved.
    pub(crate) root: PathBuf,
    pub(crate) preview: PreviewBase,
    /// Bumped at every change of a deployment; waiters look again.
    pub(crate) changes: watch::Sender<u64>,
    /// Ends everything.
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
}

/// How preview URLs are written: `scheme://d-<id>.<host><port>/`.
#[derive(Debug, Clone)]
pub(crate) struct PreviewBase {
    pub(crate) scheme: String,
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
    pub(crate) bound: std::net::SocketAddr,
}

impl PreviewBase {
    pub(crate) fn url(&self, label: &str) -> String {
        let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        format!("{}://{label}.{}{port}/", self.scheme, self.host)
    }
}

impl App {
    pub(crate) fn now(&self) -> DateTime<Utc> {
        (self.config.clock)()
    }

    pub(crate) fn stamp(&self) -> String {
        crate::db::stamp(self.now())
    }

    /// Where clones and private homes of builds live while they run.
    pub(crate) fn build_dir(&self, build_id: &str) -> PathBuf {
        self.root.join("builds").join(build_id)
    }

    /// What is kept of a finished build.
    pub(crate) fn output_dir(&self, deployment_id: &str) -> PathBuf {
        self.root.join("outputs").join(deployment_id)
    }

    /// Tells realtime subscribers and the webhook about a deployment, and wakes those who wait for it.
    /// `event` is `create`, `update` or `delete`.
    pub(crate) fn announce(&self, deployment: &Deployment, event: &str) {
        self.changes.send_modify(|n| *n += 1);
        let channel = format!("projects.{}.deployments", deployment.project_id);
        let name = format!("{channel}.{}.{event}", deployment.id);
        self.hub.publish(&channel, &name, &self.stamp(), || deployment.to_json(&self.preview));
        let kind = match event {
            "create" => "deployment.created",
            "update" => "deployment.updated",
            _ => return,
        };
        self.post_webhook(kind, deployment);
        if event == "update" && deployment.is_finished() && deployment.announces_end() {
            self.post_webhook("build.completed", deployment);
        }
    }

    fn post_webhook(&self, kind: &str, deployment: &Deployment) {
        if !self.webhooks.has_target() {
            return;
        }
        let Ok(suffix) = crate::db::random_id() else {
            tracing::error!("no random bytes");
            return;
        };
        let id = format!("evt_{suffix}");
        let body = json!({
            "type": kind,
            "id": id,
            "projectId": deployment.project_id,
            "deploymentId": deployment.id,
            "buildId": deployment.build_id,
            "status": deployment.status,
            "timestamp": self.stamp(),
        });
        self.webhooks.enqueue(id, body.to_string());
    }

    /// Runs a task that `shutdown` waits for.
    pub(crate) fn spawn<F>(self: &Arc<App>, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.tasks.spawn(task);
    }
}
