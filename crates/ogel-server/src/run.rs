//! From a configuration to a running server, and back down again.

use crate::{
    config::Config,
    edge::Edge,
    secrets::Sealer,
    state::{App, AppState, Parts, Upstream},
    tracker,
    world::World,
};
use ogel_ghost::GhostConfig;
use ogel_proxy::Connector;
use ogel_store::{Store, StoreConfig};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{runtime::Handle, signal};

/// Why a server does not start: what it was doing, and why that failed.
#[derive(Debug, thiserror::Error)]
#[error("{doing}")]
pub struct StartError {
    doing: String,
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl StartError {
    pub(crate) fn new(doing: impl Into<String>) -> impl FnOnce(Box<dyn std::error::Error + Send + Sync>) -> StartError {
        let doing = doing.into();
        move |source| StartError { doing, source }
    }
}

/// `.map_err(Into::into).map_err(StartError::new(…))` in one word.
pub(crate) trait Doing<T> {
    fn doing(self, doing: impl Into<String>) -> Result<T, StartError>;
}

impl<T, E: Into<Box<dyn std::error::Error + Send + Sync>>> Doing<T> for Result<T, E> {
    fn doing(self, doing: impl Into<String>) -> Result<T, StartError> {
        self.map_err(|error| StartError::new(doing)(error.into()))
    }
}

/// Opens the database.
pub async fn open_store(config: &Config) -> Result<Store, StartError> {
    Store::connect(&StoreConfig {
        url: config.database.url.expose().to_owned(),
        max_connections: u32::try_from(config.database.max_connections).unwrap_or(16),
        acquire_timeout: Duration::from_secs(config.database.acquire_timeout_seconds),
    })
    .await
    .doing("cannot open the database (`database.url`)")
}

/// Puts the state together: database opened and migrated, Ghost's client ready. Must run on the control plane.
pub async fn assemble(config: Config, world: World, connector: Connector) -> Result<App, StartError> {
    let store = open_store(&config).await?;
    store.migrate().await.doing("cannot migrate the database")?;
    let sealer = Sealer::new(config.secrets.encryption_key.expose(), world.entropy.clone())
        .doing("cannot use `secrets.encryption_key`")?;
    let entropy = world.entropy.clone();
    let ghost = GhostConfig {
        response_format: config.ghost.response_format.clone(),
        call_timeout: Duration::from_secs(config.ghost.timeout_seconds.max(1)),
        ..GhostConfig::new(&*config.ghost.url, ogel_ghost::Secret::new(config.ghost.api_key.expose()))
    };
    let upstream = Upstream { config: ghost, connector, random: Arc::new(move || entropy.next()) };
    AppState::new(Parts { config, world, store, upstream, sealer, control: Handle::current() })
        .doing("cannot use `ghost.url` with `ghost.api_key`")
}

/// Starts listening and takes up the work that had not ended.
pub async fn start(app: &App) -> Result<Edge, StartError> {
    let listen: SocketAddr = app
        .config
        .server
        .listen
        .parse()
        .doing(format!("`server.listen` is `{}`, which is not an address and port", app.config.server.listen))?;
    let edge = Edge::start(app, listen).doing(format!("cannot listen on {listen}"))?;
    let count = tracker::resume(app)
        .await
        .map_err(|failure| failure.0.cause.unwrap_or("database".into()))
        .doing("cannot read unfinished deployments")?;
    if count > 0 {
        tracing::info!(count, "unfinished deployments taken up");
    }
    let state = app.clone();
    app.in_background(async move { housekeeping(&state).await });
    Ok(edge)
}

/// Removes what has expired, a bounded batch at a time.
async fn housekeeping(app: &App) {
    const EVERY: Duration = Duration::from_secs(600);
    const BATCH: u32 = 1000;
    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = app.shutdown.cancelled() => return,
        }
        let now = app.world.now();
        let sessions = app.store.delete_expired_sessions(now, BATCH).await;
        let keys = app.store.delete_expired_idempotency(now, BATCH).await;
        match (sessions, keys) {
            (Ok(sessions), Ok(keys)) => tracing::debug!(sessions, keys, "expired records removed"),
            (Err(error), _) | (_, Err(error)) => tracing::warn!(%error, "expired records could not be removed"),
        }
    }
}

/// Ends everything in order: no new connections, requests finished, streams told, background work done, database closed.
pub async fn stop(app: &App, edge: Edge) {
    app.shutdown.cancel();
    if tokio::task::spawn_blocking(move || edge.join()).await.is_err() {
        tracing::error!("the data plane did not end cleanly");
    }
    app.background.close();
    if tokio::time::timeout(Duration::from_secs(app.config.server.drain_seconds), app.background.wait()).await.is_err()
    {
        tracing::warn!("background work was still running when the time to drain was over");
    }
    app.store.close().await;
}

/// Resolves on Ctrl-C or SIGTERM.
pub async fn asked_to_stop() {
    let terminate = async {
        match signal::unix::signal(signal::unix::SignalKind::terminate()) {
            Ok(mut terminate) => {
                terminate.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = signal::ctrl_c() => {}
        () = terminate => {}
    }
}

/// `ogeld serve`: until it is asked to stop.
pub async fn serve(config: Config) -> Result<(), StartError> {
    config.check().doing("the configuration is not complete")?;
    let app =
        assemble(config, World::system(), Connector::direct().doing("cannot read this machine's root certificates")?)
            .await?;
    let edge = start(&app).await?;
    tracing::info!(address = %edge.address, database = app.store.kind(), ghost = app.config.ghost.url, "ready");
    asked_to_stop().await;
    tracing::info!("draining");
    stop(&app, edge).await;
    Ok(())
}
