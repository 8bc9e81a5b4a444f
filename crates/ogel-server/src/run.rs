//! From a configuration to a running server, and back down again.

use crate::{
    access_log::{AccessLog, Destination},
    billing::{closing, metering},
    changes,
    config::Config,
    departed, doing,
    edge::{Edge, Tls},
    hooks, identities, keys, logs, operations,
    passwords::Passwords,
    reconciler, reload, replicas,
    state::{App, AppState, Parts, Upstream},
    studio,
    takeover::{self, Predecessor},
    traces::{self, Traces},
    tracker, uses, work,
    world::World,
};
use ogel_ghost::GhostConfig;
use ogel_proxy::{Connector, Limits};
use ogel_store::{Act, Store, StoreConfig};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
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
        read_url: config.database.read_url.expose().to_owned(),
        acquire_timeout: Duration::from_secs(config.database.acquire_timeout_seconds),
        statement_timeout: Duration::from_secs(config.database.statement_timeout_seconds.max(1)),
    })
    .await
    .doing("cannot open the database (`database.url`)")
}

/// `ogeld sessions revoke`: logs somebody out everywhere; answers with their id.
pub async fn revoke_sessions(config: &Config, email: &str) -> Result<String, StartError> {
    let store = open_store(config).await?;
    let user = store.user_by_email(email.trim()).await.doing("cannot look for the person")?;
    let user = user.ok_or("look at how it is written").doing(format!("nobody has the e-mail address `{email}`"))?;
    let studio = studio::database(config, &store).await?;
    let world = World::system();
    let act = Act::by_the_system(world.uuid(), world.now());
    let ended = studio::ending::end_in_store(&store, studio.as_ref(), &act, user.id).await;
    ended.doing("cannot end their sessions")?;
    store.close().await;
    Ok(user.id.to_string())
}

/// Puts the state together: database opened and migrated, Ghost's client ready. Must run on the control plane.
pub async fn assemble(config: Config, world: World, connector: Connector) -> Result<App, StartError> {
    let store = open_store(&config).await?;
    store.migrate().await.doing("cannot migrate the database")?;
    let sealer = keys::sealer(&config).doing("cannot use the keys of `secrets`")?;
    let studio_database = studio::database(&config, &store).await?;
    let upstream = upstream_of(&config, &world, connector);
    let access_log = AccessLog::start(&Destination::parse(&config.log.access))
        .doing(format!("cannot open the access log `{}` (`log.access`)", config.log.access))?;
    let shared = replicas::shared(&config, &world)?;
    let threads = usize::try_from(config.auth.concurrent_logins).unwrap_or(usize::MAX);
    let mailer = crate::mail::Mailer::new(&config).doing("cannot send mail")?;
    let passwords = Passwords::start(threads).doing("cannot start the threads that check passwords")?;
    let traces = Traces::new(&config).doing("cannot export traces (`otlp.endpoint`)")?;
    AppState::new(Parts {
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
        control: Handle::current(),
        studio_database,
    })
    .doing("cannot use `ghost.url` with `ghost.api_key`")
}

/// How the configuration says that Ghost is reached.
pub(crate) fn upstream_of(config: &Config, world: &World, connector: Connector) -> Upstream {
    let entropy = world.entropy.clone();
    let mut urls = config.ghost.url.split(',').map(|url| url.trim().to_owned());
    let first = urls.next().unwrap_or_default();
    let ghost = GhostConfig {
        more_base_urls: urls.collect(),
        response_format: config.ghost.response_format.clone(),
        call_timeout: Duration::from_secs(config.ghost.timeout_seconds.max(1)),
        limits: Limits {
            max_age: Duration::from_secs(config.server.upstream_connection_seconds.max(1)),
            ..Limits::default()
        },
        ..GhostConfig::new(first, ogel_ghost::Secret::new(config.ghost.api_key.expose()))
    };
    Upstream { config: ghost, connector, random: Arc::new(move || entropy.next()) }
}

/// A server that answers.
pub struct Running {
    pub edge: Edge,
    /// Where operators look.
    pub operations: Option<SocketAddr>,
    pub(crate) tls: Option<Tls>,
}

/// Starts listening and takes up the work that had not ended. `inherited` are a predecessor's sockets.
pub async fn start(app: &App, inherited: Vec<std::net::TcpListener>) -> Result<Running, StartError> {
    let config = app.config();
    let server = &config.server;
    let listen = address("server.listen", &server.listen)?;
    let tls = match (&*server.tls_certificate, &*server.tls_key) {
        ("", _) | (_, "") => None,
        (certificate, key) => {
            Some(Tls::load(Path::new(certificate), Path::new(key)).doing("cannot use `server.tls_certificate`")?)
        }
    };
    let (state, feed) = (app.clone(), app.store.identity_feed());
    app.in_background(async move { identities::follow(&state, feed).await });
    let edge = Edge::start(app, listen, inherited, tls.as_ref()).doing(format!("cannot listen on {listen}"))?;
    let operations = match &*server.operations_listen {
        "" => None,
        text => {
            let listen = address("server.operations_listen", text)?;
            let doing = format!("cannot listen on {listen} (`server.operations_listen`)");
            Some(operations::start(app, listen).await.doing(doing)?)
        }
    };
    traces::start(app);
    work::start_renewing(app);
    work::start::<tracker::Following>(app);
    hooks::start(app);
    logs::kept::start(app);
    work::start::<doing::Operating>(app);
    work::start::<changes::Settling>(app);
    work::start::<departed::Departing>(app);
    work::start::<reconciler::Comparing>(app);
    reconciler::ask(app, false).await.doing("cannot write the job of comparing records")?;
    // Rows of a program that writes no jobs. In a moment more of them come to light than one batch: the next round.
    let orphans =
        app.store.enqueue_unfinished(app.world.now(), BATCH).await.doing("cannot read unfinished deployments")?;
    if orphans > 0 {
        tracing::info!(orphans, "deployments without a job taken up");
    }
    replicas::start(app);
    let state = app.clone();
    app.in_background(async move { crate::mail::deliver(&state).await });
    let state = app.clone();
    app.in_background(async move { housekeeping(&state).await });
    let state = app.clone();
    app.in_background(async move { metering::run(&state).await });
    let state = app.clone();
    app.in_background(async move { closing::run(&state).await });
    let state = app.clone();
    app.in_background(async move { uses::write_behind(&state).await });
    Ok(Running { edge, operations, tls })
}

fn address(key: &str, text: &str) -> Result<SocketAddr, StartError> {
    text.parse().doing(format!("`{key}` is `{text}`, which is not an address and port"))
}

/// Rows looked at in one go.
const BATCH: u32 = 1000;

/// Removes what has expired, a bounded batch at a time.
async fn housekeeping(app: &App) {
    const EVERY: Duration = Duration::from_secs(600);
    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = app.shutdown.cancelled() => return,
        }
        crate::purge::purge_due(app).await;
        let now = app.world.now();
        let sessions = app.store.delete_expired_sessions(now, BATCH).await;
        let keys = app.store.delete_expired_idempotency(now, BATCH).await;
        let changes = app.store.delete_identity_changes(now - chrono::TimeDelta::hours(1), BATCH).await;
        // Kept a while longer: a device that asks late is told that its code has expired, not that it never was.
        let logins = app.store.delete_expired_device_logins(now - chrono::TimeDelta::minutes(10), BATCH).await;
        let first_day = now - chrono::TimeDelta::days(i64::try_from(crate::metrics::daily::KEPT_DAYS).unwrap_or(30));
        let overrides = app.store.delete_expired_limit_overrides(now, BATCH).await;
        let days = app.store.delete_daily_before(&first_day.date_naive().to_string()).await;
        let operation_days = i64::try_from(app.config().work.operation_days).unwrap_or(30);
        let operations = app.store.delete_old_operations(now - chrono::TimeDelta::days(operation_days), BATCH).await;
        for (what, outcome) in [
            ("operations", operations),
            ("sessions", sessions),
            ("overrides of limits", overrides),
            ("daily figures", days),
            ("idempotency keys", keys),
            ("identity changes", changes),
            ("device logins", logins),
        ] {
            match outcome {
                Ok(count) => tracing::debug!(what, count, "expired records removed"),
                Err(error) => tracing::warn!(what, %error, "expired records could not be removed"),
            }
        }
        if let Err(error) = app.store.delete_expired_revocations(now, BATCH).await {
            tracing::warn!(%error, "revocations of sessions that are over could not be removed");
        }
        if let Err(error) = app.store.delete_expired_closures(now, BATCH).await {
            tracing::warn!(%error, "what was kept of deleted accounts could not be removed");
        }
        let flushes = app.store.delete_old_flushes(now - chrono::TimeDelta::days(7)).await;
        let events = app.store.delete_old_payment_events(now - chrono::TimeDelta::days(90)).await;
        if let (Err(error), _) | (_, Err(error)) = (flushes, events) {
            tracing::warn!(%error, "old billing records could not be removed");
        }
    }
}

/// How long connections that are in use get to end by themselves, each with its next answer: one that is cut while
/// idle may be cut under a request that is on its way.
const LINGER: Duration = Duration::from_secs(1);

/// The gentle part of stopping: load balancers look elsewhere, then no connection is taken any more, and those there
/// are end with their next answer.
async fn leave(app: &App) {
    app.leaving.store(true, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(app.config().server.unready_seconds)).await;
    app.closing.cancel();
    tokio::time::sleep(LINGER).await;
}

/// Ends everything in order: no new connections, requests finished, streams told, background work done, database closed.
pub async fn stop(app: &App, running: Running) {
    app.leaving.store(true, Ordering::Relaxed);
    app.closing.cancel();
    app.shutdown.cancel();
    if tokio::task::spawn_blocking(move || running.edge.join()).await.is_err() {
        tracing::error!("the data plane did not end cleanly");
    }
    if let Some(traces) = &app.traces {
        traces.end();
    }
    let drain = Duration::from_secs(app.config().server.drain_seconds);
    crate::metrics::daily::flush_last(app, drain).await;
    app.background.close();
    if tokio::time::timeout(drain, app.background.wait()).await.is_err() {
        tracing::warn!("background work was still running when the time to drain was over");
    }
    // The threads have handed over their last counters.
    if let Err(error) = app.metering.write(app).await {
        tracing::error!(%error, "the last usage counters could not be written and are lost");
    }
    if let Err(failure) = app.uses.flush(app).await {
        tracing::warn!(error = ?failure.0, "the last uses of credentials could not be written");
    }
    app.store.close().await;
    let log = app.access_log.clone();
    let _ = tokio::task::spawn_blocking(move || log.flush()).await;
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

/// Swaps what is logged; says what is wrong with a filter that cannot be.
pub type SetFilter = Box<dyn Fn(&str) -> Result<(), String> + Send + Sync>;

/// Where a configuration came from, to read it again.
pub struct Origin {
    pub file: Option<PathBuf>,
    pub variable: fn(&str) -> Option<String>,
    pub set_filter: SetFilter,
}

/// `ogeld serve`: until it is asked to stop, or a successor has taken over.
pub async fn serve(config: Config, origin: Origin) -> Result<(), StartError> {
    config.check().doing("the configuration is not complete")?;
    let takeover = Some(PathBuf::from(&config.server.takeover_socket)).filter(|path| !path.as_os_str().is_empty());
    let connector = Connector::direct().doing("cannot read this machine's root certificates")?;
    let app = assemble(config, World::system(), connector).await?;
    let asking = takeover.clone();
    let predecessor = tokio::task::spawn_blocking(move || asking.map(|path| Predecessor::ask(&path)).transpose())
        .await
        .doing("taking over panicked")?
        .doing("cannot take the sockets over from the running server (`server.takeover_socket`)")?
        .flatten();
    let (inherited, predecessor) = match predecessor {
        Some(Predecessor { sockets, .. }) if sockets.is_empty() => (Vec::new(), None),
        Some(mut predecessor) => (std::mem::take(&mut predecessor.sockets), Some(predecessor)),
        None => (Vec::new(), None),
    };
    let running = start(&app, inherited).await?;
    tracing::info!(
        address = %running.edge.address,
        database = app.store.kind(),
        ghost = app.config().ghost.url,
        took_over = predecessor.is_some(),
        "ready"
    );
    let sockets = running.edge.sockets().doing("cannot keep the sockets for a successor")?;
    let replaced = async {
        // The predecessor leaves its name to us before it drains.
        if let Some(predecessor) = predecessor
            && let Err(error) = predecessor.may_leave()
        {
            tracing::warn!(%error, "the predecessor could not be told to leave");
        }
        let Some(path) = &takeover else { return std::future::pending().await };
        if let Err(error) = takeover::successor(path, &sockets).await {
            tracing::error!(%error, "nobody can take over from this process");
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = asked_to_stop() => {}
        () = replaced => tracing::info!("a successor has taken over"),
        () = reload::watch(&app, &running, &origin) => {}
    }
    tracing::info!("draining");
    leave(&app).await;
    drop(sockets);
    stop(&app, running).await;
    Ok(())
}
