//! Everything a request may use, put together once at start.
//!
//! Two planes share it: data-plane threads (one runtime each) answer requests; the control plane (one runtime for all)
//! owns the database's and Ghost's connections. [`App::on_control`] is the only way from one to the other.

use crate::{
    access_log::AccessLog,
    billing::metering::Metering,
    bridge::Bridge,
    callers::Callers,
    config::{Config, Secret},
    error::Failure,
    hooks::Hooks,
    identities::Identities,
    limits::Limiter,
    logs::Logs,
    mail::Mailer,
    metrics::{self, Counters},
    objects::Objects,
    passwords::Passwords,
    places::Places,
    secrets::Sealer,
    settings::{Current, Settings},
    traces::Traces,
    tracker::Tracker,
    uses::Uses,
    work::Work,
    world::World,
};
use arc_swap::Guard;
use ogel_api::error::Error;
use ogel_cache::{Responses, Shared};
use ogel_ghost::{Ghost, GhostConfig, SetupError};
use ogel_proxy::{BreakerConfig, Connector, EjectionConfig, Limits, Random, UpstreamConfig, UpstreamError};
use ogel_store::{StatementLog, Store, StudioDatabase};
use parking_lot::Mutex;
use std::{
    future::Future,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};
use tokio::{runtime::Handle, task::JoinHandle};
use tokio_util::{
    sync::CancellationToken,
    task::{AbortOnDropHandle, TaskTracker},
};

/// Cheap to clone; lives as long as the process.
pub type App = Arc<AppState>;

pub struct AppState {
    settings: Current,
    pub world: World,
    pub store: Store,
    /// What replicas share.
    pub shared: Shared,
    /// Answers of Ghost's and the database's, for a moment.
    pub responses: Arc<Responses>,
    /// The day's figures on their way to where they are kept.
    pub(crate) daily: tokio::sync::Mutex<metrics::daily::Collected>,
    /// Tells this process from others.
    pub(crate) process: String,
    /// The control plane's connections to Ghost.
    pub ghost: Ghost,
    pub sealer: Sealer,
    /// Studio's own session rows, where it keeps them in a database.
    pub studio_database: Option<StudioDatabase>,
    pub bridge: Bridge,
    pub logs: Logs,
    pub tracker: Tracker,
    /// What changed of late about who may do what.
    pub identities: Arc<Identities>,
    /// This process's share of the work that outlives it.
    pub work: Work,
    pub callers: Callers,
    /// Which of Ghost's sites and domains has which id of ours.
    pub objects: Objects,
    /// Which project deployments and builds are in.
    pub places: Places,
    pub limiter: Limiter,
    pub hooks: Hooks,
    pub access_log: AccessLog,
    /// What is counted for billing, on its way to the database.
    pub metering: Metering,
    /// One of each data-plane thread, for the scrape.
    counters: Mutex<Vec<Arc<Counters>>>,
    /// Where mail goes.
    pub mailer: Mailer,
    /// The few threads that hash passwords.
    pub passwords: Passwords,
    /// The way to whoever collects traces.
    pub(crate) traces: Option<Arc<Traces>>,
    /// When credentials were used.
    pub uses: Uses,
    /// Whether load balancers should look elsewhere; a while before [`Self::shutdown`].
    pub leaving: AtomicBool,
    /// Says "take no new connections" to listeners; a moment before [`Self::shutdown`].
    pub closing: CancellationToken,
    /// Says "we are shutting down" to connections, streams and background tasks.
    pub shutdown: CancellationToken,
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
    pub(crate) fn connect(&self) -> Result<Ghost, SetupError> {
        Ghost::new(self.config.clone(), self.connector.clone(), self.random.clone())
    }
}

/// What [`AppState::new`] is made of.
pub struct Parts {
    pub config: Config,
    pub world: World,
    pub store: Store,
    pub shared: Shared,
    pub upstream: Upstream,
    pub sealer: Sealer,
    pub access_log: AccessLog,
    pub passwords: Passwords,
    pub mailer: Mailer,
    pub traces: Option<Arc<Traces>>,
    pub control: Handle,
    pub studio_database: Option<StudioDatabase>,
}

impl AppState {
    /// Opens nothing yet. The error is a setting of Ghost's that cannot be used.
    pub fn new(parts: Parts) -> Result<App, SetupError> {
        let Parts {
            config,
            world,
            store,
            shared,
            upstream,
            sealer,
            access_log,
            passwords,
            mailer,
            traces,
            control,
            studio_database,
        } = parts;
        let ghost = upstream.connect()?;
        let identities = Arc::<Identities>::default();
        let responses = Arc::new(Responses::new(shared.clone(), config.cache.max_bytes));
        let process = format!("{:016x}", world.entropy.next());
        Ok(Arc::new(Self {
            bridge: Bridge::new(store.clone(), ghost.clone(), sealer.clone(), world.clone()),
            logs: Logs::new(ghost.clone()),
            tracker: Tracker::default(),
            callers: Callers::new(identities.clone()),
            work: Work::new(world.uuid(), config.work.concurrency),
            limiter: Limiter::default(),
            hooks: Hooks::default(),
            access_log,
            metering: Metering::new(world.uuid()),
            counters: Mutex::default(),
            leaving: AtomicBool::new(false),
            identities,
            objects: Objects::default(),
            places: Places::default(),
            passwords,
            mailer,
            traces,
            uses: Uses::default(),
            closing: CancellationToken::new(),
            shutdown: CancellationToken::new(),
            background: TaskTracker::new(),
            studio_database,
            settings: Current::new(config),
            world,
            store,
            daily: tokio::sync::Mutex::default(),
            responses,
            process,
            shared,
            ghost,
            sealer,
            control,
            upstream,
        }))
    }

    /// The configuration as it is now. Take it once per request.
    pub fn config(&self) -> Guard<Arc<Settings>> {
        self.settings.load()
    }

    /// Swaps the configuration; returns the keys whose change shows only after a restart.
    pub fn reconfigure(&self, config: Config) -> Vec<&'static str> {
        let keys = config.secrets.keys().map_err(|error| error.to_string());
        let swapped = keys
            .and_then(|keys| self.sealer.replace(keys.iter().map(Secret::expose)).map_err(|error| error.to_string()));
        if let Err(error) = swapped {
            tracing::error!(error, "the encryption keys cannot be used; the ones before stay");
        }
        let pending = self.settings.replace(config);
        // A secret of Studio's that counts no more must not be remembered to count.
        self.callers.forget_all();
        pending
    }

    /// New counters, for one data-plane thread.
    pub(crate) fn counters(&self) -> Arc<Counters> {
        let counters = Arc::<Counters>::default();
        self.counters.lock().push(counters.clone());
        counters
    }

    /// What every thread has counted.
    pub fn all_counters(&self) -> Vec<Arc<Counters>> {
        self.counters.lock().clone()
    }

    /// A client of Ghost's with connections of its own, for one data-plane thread.
    pub fn ghost_of_a_thread(&self) -> Result<Ghost, SetupError> {
        self.upstream.connect()
    }

    /// Connections to Studio's backend, for one data-plane thread; none where nothing is forwarded.
    pub(crate) fn studio_of_a_thread(&self) -> Result<Option<ogel_proxy::Upstream>, UpstreamError> {
        let config = self.config();
        let studio = &config.studio;
        if studio.forward.is_empty() {
            return Ok(None);
        }
        let bases = studio.url.split(',').map(|url| url.trim().parse().map_err(|_| UpstreamError::bad_address(url)));
        let limits = Limits {
            first_byte_timeout: Duration::from_secs(studio.timeout_seconds.max(1)),
            body_idle_timeout: Duration::from_secs(studio.idle_seconds.max(1)),
            request_idle_timeout: Duration::from_secs(config.server.stall_timeout_seconds.max(1)),
            max_age: Duration::from_secs(config.server.upstream_connection_seconds.max(1)),
            ..Limits::default()
        };
        let upstream = UpstreamConfig {
            limits,
            breaker: Some(BreakerConfig::default()),
            ejection: EjectionConfig::default(),
            random: self.upstream.random.clone(),
        };
        ogel_proxy::Upstream::new(bases.collect::<Result<_, _>>()?, self.upstream.connector.clone(), upstream).map(Some)
    }

    /// Runs `work` on the control plane and waits for it. If the caller goes away meanwhile the work goes on: what has
    /// begun to change things must come to its end.
    pub async fn on_control<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Failure> {
        match self.spawn(work).await {
            Ok(value) => Ok(value),
            Err(panicked) => Err(Error::internal(panicked).into()),
        }
    }

    /// The same for what only reads: if the caller goes away, past its deadline say, it ends there, and gives back the
    /// connection it had.
    pub(crate) async fn read_on_control<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Failure> {
        match AbortOnDropHandle::new(self.spawn(work)).await {
            Ok(value) => Ok(value),
            Err(panicked) => Err(Error::internal(panicked).into()),
        }
    }

    /// What the database is asked there belongs to the same request.
    fn spawn<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        match StatementLog::current() {
            None => self.control.spawn(work),
            Some(log) => self.control.spawn(StatementLog::noting(log, work)),
        }
    }

    /// Starts background work on the control plane; shutdown waits for it.
    pub fn in_background(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.background.spawn_on(work, &self.control);
    }

    /// Starts something small on the control plane whose loss would do no harm.
    pub(crate) fn in_passing(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.control.spawn(work);
    }

    /// Runs what blocks or computes for long on a thread of its own.
    pub async fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
        self.control.spawn_blocking(work).await.map_err(|panicked| Error::internal(panicked).into())
    }
}
