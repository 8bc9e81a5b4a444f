//! The embedded Ghost: real git clones, real builds, real previews on this machine, behind the same REST, realtime and
//! webhooks as Ogel Ghost. It stands in for another product, so it has a listener, a database and a preview port of its
//! own. Refuses production: builds run as the user of this process, bounded in time and memory and watched to their
//! last process, but not in a sandbox. Do not build what you would not run.
//!
//! Where to go next: `routes.rs` lists the calls, `queue.rs` the life of a build, `pipeline.rs` its steps.
//!
//! What the contract leaves open and we decided:
//! - `POST /v1/projects/{p}/members {userId}` (platform key, 201, idempotent) grants a user a project;
//!   `DELETE …/members/{userId}` takes it back. Who makes a project with a JWT is a member.
//! - Deployment ids are `^[a-z0-9][a-z0-9_-]{0,35}$` and unique over all projects: they are host names of previews.
//! - The first success of a project becomes active by itself; later ones when activated.
//! - `previewUrl` is null until the deployment succeeded. `buildDuration` is in seconds.
//! - A realtime subscription is confirmed by `{"type":"response","data":{"to":"subscribe","success":true,…}}`.

use std::sync::Arc;

use sqlx::SqlitePool;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

mod auth;
mod body;
mod builds;
mod config;
mod control;
mod databases;
mod db;
mod deployments;
mod detect;
mod documents;
mod domains;
mod error;
mod exec;
mod faults;
mod git;
mod group;
mod jwt;
mod lines;
mod log;
mod page;
mod pipeline;
mod preview;
mod projects;
mod publish;
mod query;
mod queue;
mod realtime;
mod repo;
mod routes;
mod serve;
mod sites;
mod state;
mod users;
mod webhooks;

use std::net::SocketAddr;

pub use config::{Clock, Config, Webhook};
pub use error::StartError;
pub use faults::Faults;

use state::{App, PreviewBase};

/// A running embedded Ghost. Dropping it stops it too, but only `shutdown` waits for its processes to be gone.
pub struct LocalGhost {
    app: Arc<App>,
    api: SocketAddr,
    /// Held for the life of the process: the lock on the data directory.
    lock: std::fs::File,
}

impl LocalGhost {
    /// Opens the state, ends what a crash left behind, binds both addresses, and goes on with what was queued.
    /// Errors: the data directory is in use or unusable, an address is taken, a setting is wrong.
    pub async fn start(config: Config) -> Result<LocalGhost, StartError> {
        if config.platform_key.len() < 8 {
            let reason = "it must have at least 8 characters".to_owned();
            return Err(StartError::Setting { name: "platform_key", reason });
        }
        let (root, lock) = prepare(&config)?;
        let db = db::open(&root.join("ghost.db")).await?;
        let jwt_secret = jwt_secret(&db).await?;
        let api_listener = serve::bind(config.api_listen).await?;
        let preview_listener = serve::bind(config.preview_listen).await?;
        let local = |listener: &tokio::net::TcpListener, address| {
            listener.local_addr().map_err(|source| StartError::Listen { address, source })
        };
        let api = local(&api_listener, config.api_listen)?;
        let preview = preview_base(&config, local(&preview_listener, config.preview_listen)?)?;
        let (webhooks, outgoing) = webhooks::queue();
        if let Some(webhook) = config.webhook.clone() {
            webhooks.set_target(webhook)?;
        }
        let app = Arc::new(App {
            config,
            db,
            jwt_secret,
            faults: Faults::new(),
            hub: realtime::Hub::new(),
            webhooks,
            queue: queue::Queue::default(),
            root,
            preview,
            changes: watch::Sender::new(0),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        app.spawn(webhooks::deliver(app.clone(), outgoing));
        if let Err(error) = queue::recover(&app).await {
            app.stop.cancel();
            return Err(error.into());
        }
        app.spawn(queue::schedule(app.clone()));
        app.spawn(serve::listen(app.clone(), preview_listener, preview::site(app.clone()), false));
        app.spawn(serve::listen(app.clone(), api_listener, routes::api(app.clone()), true));
        tracing::info!(ghost.api = %api, ghost.preview = %app.preview.bound, "embedded ghost started");
        Ok(LocalGhost { app, api, lock })
    }

    /// Address of the API.
    pub fn api_addr(&self) -> SocketAddr {
        self.api
    }

    /// Base URL of the API, without a slash at the end.
    pub fn api_url(&self) -> String {
        format!("http://{}", self.api)
    }

    /// Address of the preview server.
    pub fn preview_addr(&self) -> SocketAddr {
        self.app.preview.bound
    }

    /// Posts events there from now on: for a receiver whose address is known only once Ghost runs.
    /// Errors: the URL is none that can be posted to.
    pub fn set_webhook(&self, webhook: Webhook) -> Result<(), StartError> {
        self.app.webhooks.set_target(webhook)
    }

    /// Faults to inject while it runs.
    pub fn faults(&self) -> &Faults {
        &self.app.faults
    }

    /// Stops accepting, kills the process group of every build and waits for it. What was running is failed with a
    /// reason by the next start; what was queued goes on then. Takes up to the 12 s a process may resist being killed.
    pub async fn shutdown(self) {
        self.app.stop.cancel();
        self.app.tasks.close();
        self.app.tasks.wait().await;
        self.app.db.close().await;
        tracing::info!("embedded ghost stopped");
    }
}

impl Drop for LocalGhost {
    fn drop(&mut self) {
        self.app.stop.cancel();
        // Closing it does not suffice: a program that is just being started still has it open, and with it the lock.
        let _ = self.lock.unlock();
    }
}

/// Makes the directories and takes the lock: two Ghosts would kill each other's builds.
fn prepare(config: &Config) -> Result<(std::path::PathBuf, std::fs::File), StartError> {
    let path = &config.data_dir;
    let failed = |source| StartError::DataDir { path: path.clone(), source };
    std::fs::create_dir_all(path).map_err(failed)?;
    let root = path.canonicalize().map_err(failed)?;
    let lock = std::fs::File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(root.join("ghost.lock"))
        .map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok((root, lock)),
        Err(std::fs::TryLockError::WouldBlock) => Err(StartError::DataDirInUse(root)),
        Err(std::fs::TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// Tokens outlive a restart, so their secret does too.
async fn jwt_secret(db: &SqlitePool) -> Result<Vec<u8>, StartError> {
    let fresh = db::random_secret()?;
    sqlx::query("INSERT INTO settings (name, value) VALUES ('jwt_secret', $1) ON CONFLICT DO NOTHING")
        .bind(fresh)
        .execute(db)
        .await?;
    let secret: String =
        sqlx::query_scalar("SELECT value FROM settings WHERE name = 'jwt_secret'").fetch_one(db).await?;
    Ok(secret.into_bytes())
}

fn preview_base(config: &Config, bound: SocketAddr) -> Result<PreviewBase, StartError> {
    let Some(base) = &config.preview_public_base else {
        let (scheme, host) = ("http".to_owned(), "localhost".to_owned());
        return Ok(PreviewBase { scheme, host, port: Some(bound.port()), bound });
    };
    let wrong = |reason: &str| StartError::Setting { name: "preview_public_base", reason: reason.to_owned() };
    let url = url::Url::parse(base).map_err(|_| wrong("it is not a URL"))?;
    match (url.scheme(), url.host()) {
        ("http" | "https", Some(url::Host::Domain(host))) => {
            Ok(PreviewBase { scheme: url.scheme().to_owned(), host: host.to_owned(), port: url.port(), bound })
        }
        _ => Err(wrong("it must be http or https with a host name")),
    }
}
