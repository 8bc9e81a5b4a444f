//! Everything a request may use, put together once at start.
//!
//! Two planes share it: data-plane threads (one runtime each) answer requests; the control plane (one runtime for all)
//! owns the database's and Ghost's connections. [`App::on_control`] is the only way from one to the other.

use crate::{
    access::Accesses,
    bridge::Bridge,
    caller::Caller,
    config::Config,
    error::Failure,
    logs::Logs,
    objects::Objects,
    secrets::{Sealer, TokenHash},
    tracker::Tracker,
    world::World,
};
use ogel_api::error::Error;
use ogel_ghost::{Ghost, GhostConfig, SetupError};
use ogel_proxy::{Connector, Random};
use ogel_store::Store;
use std::{future::Future, sync::Arc};
use tokio::{runtime::Handle, sync::Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Cheap to clone; lives as long as the process.
pub type App = Arc<AppState>;

pub struct AppState {
    pub config: Config,
    pub world: World,
    pub store: Store,
    /// The control plane's connections to Ghost.
    pub ghost: Ghost,
    pub sealer: Sealer,
    pub bridge: Bridge,
    pub logs: Logs,
    pub tracker: Tracker,
    /// Callers by the hash of their credential, for a second: a hot caller costs no database trip, and what is
    /// revoked elsewhere ends within that second. What is revoked here ends at once.
    pub callers: moka::sync::Cache<TokenHash, Arc<Caller>>,
    /// Who may do what in which project, for a second.
    pub accesses: Accesses,
    /// Which of Ghost's sites and domains has which id of ours.
    pub objects: Objects,
    /// Password checks take a core each, so only a few run at a time.
    pub logins: Semaphore,
    /// Says "we are shutting down" to listeners, streams and background tasks.
    pub shutdown: CancellationToken,
    /// WebSockets that must say goodbye before their thread ends.
    pub streams: TaskTracker,
    /// Background work that must end before the process does.
    pub background: TaskTracker,
    control: Handle,
    upstream: Upstream,
}

/// How Ghost is reached. Every data-plane thread makes connections of its own from it.
#[derive(Clone)]
pub struct Upstream {
    pub config: GhostConfig,
    pub connector: Connector,
    pub random: Random,
}

impl Upstream {
    fn connect(&self) -> Result<Ghost, SetupError> {
        Ghost::new(self.config.clone(), self.connector.clone(), self.random.clone())
    }
}

/// What [`AppState::new`] is made of.
pub struct Parts {
    pub config: Config,
    pub world: World,
    pub store: Store,
    pub upstream: Upstream,
    pub sealer: Sealer,
    pub control: Handle,
}

impl AppState {
    /// Opens nothing yet. The error is a setting of Ghost's that cannot be used.
    pub fn new(parts: Parts) -> Result<App, SetupError> {
        let Parts { config, world, store, upstream, sealer, control } = parts;
        let ghost = upstream.connect()?;
        Ok(Arc::new(Self {
            bridge: Bridge::new(store.clone(), ghost.clone(), sealer.clone(), world.clone()),
            logs: Logs::new(ghost.clone()),
            tracker: Tracker::default(),
            callers: moka::sync::Cache::builder()
                .max_capacity(100_000)
                .time_to_live(std::time::Duration::from_secs(1))
                .build(),
            accesses: Accesses::default(),
            objects: Objects::default(),
            logins: Semaphore::new(usize::try_from(config.auth.concurrent_logins.max(1)).unwrap_or(1)),
            shutdown: CancellationToken::new(),
            streams: TaskTracker::new(),
            background: TaskTracker::new(),
            config,
            world,
            store,
            ghost,
            sealer,
            control,
            upstream,
        }))
    }

    /// A client of Ghost's with connections of its own, for one data-plane thread.
    pub fn ghost_of_a_thread(&self) -> Result<Ghost, SetupError> {
        self.upstream.connect()
    }

    /// Runs `work` on the control plane and waits for it. If the caller goes away meanwhile the work goes on: what has
    /// begun to change things must come to its end.
    pub async fn on_control<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Failure> {
        match self.control.spawn(work).await {
            Ok(value) => Ok(value),
            Err(panicked) => Err(Error::internal(panicked).into()),
        }
    }

    /// Starts background work on the control plane; shutdown waits for it.
    pub fn in_background(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.background.spawn_on(work, &self.control);
    }

    /// Runs what blocks or computes for long on a thread of its own.
    pub async fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
        self.control.spawn_blocking(work).await.map_err(|panicked| Error::internal(panicked).into())
    }
}
