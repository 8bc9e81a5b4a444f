//! What replicas tell each other: whom to forget. What this process forgot itself needs no Redis; the news of others makes
//! an end at once of what would otherwise end by its age.

use crate::{
    config::Config,
    limits, metrics, responses,
    run::{Doing as _, StartError},
    state::App,
    world::World,
};
use ogel_cache::{Event, RedisConfig, Shared};
use std::time::Duration;
use tokio::{
    runtime::Handle,
    sync::broadcast::{self, error::RecvError},
};

/// Somebody or something changed; its id follows.
const IDENTITY: &str = "identity:";
/// Anybody and anything may have.
const IDENTITIES: &str = "identities";

/// Memory, or the Redis of the configuration. Must run on the control plane.
pub(crate) fn shared(config: &Config, world: &World) -> Result<Shared, StartError> {
    let redis = &config.redis;
    if redis.url.is_empty() {
        return Ok(Shared::memory());
    }
    let database = |number: u64| i64::try_from(number).unwrap_or(0);
    let config = RedisConfig {
        url: redis.url.expose().to_owned(),
        wait: Duration::from_millis(redis.wait_ms.max(1)),
        prefix: redis.prefix.clone(),
        cache_database: database(redis.cache_database),
        limits_database: database(redis.limits_database),
        metrics_database: database(redis.metrics_database),
        process: world.entropy.next(),
    };
    Shared::redis(&config, &Handle::current()).doing("cannot use `redis.url`")
}

/// Hears and tells until shutdown.
pub(crate) fn start(app: &App) {
    let state = app.clone();
    let events = app.shared.events();
    app.in_background(async move {
        tokio::select! {
            () = hear(&state, events) => {}
            () = tell(&state) => {}
            () = state.shutdown.cancelled() => {}
        }
    });
    let state = app.clone();
    app.in_background(async move { responses::tell(&state).await });
    let state = app.clone();
    app.in_background(async move { limits::follow(&state).await });
    let state = app.clone();
    app.in_background(async move { metrics::daily::follow(&state).await });
}

async fn hear(app: &App, mut events: broadcast::Receiver<Event>) {
    loop {
        match events.recv().await {
            Ok(event) if !app.shared.is_news(&event) => {}
            Ok(event @ Event::Changed { .. }) => app.responses.hear(&event),
            Ok(Event::Signal { name, .. }) => match name.strip_prefix(IDENTITY).map(str::parse) {
                Some(Ok(subject)) => app.identities.forget_here(subject),
                None if &*name == IDENTITIES => app.identities.forget_all_here(),
                // Another build's.
                _ => {}
            },
            Ok(Event::Missed) | Err(RecvError::Lagged(_)) => {
                app.identities.forget_all_here();
                app.responses.hear(&Event::Missed);
            }
            // The state is kept by the application, so this is its end.
            Err(RecvError::Closed) => return,
        }
    }
}

async fn tell(app: &App) {
    loop {
        app.identities.news.notified().await;
        let untold = app.identities.untold();
        if untold.everything {
            app.shared.signal(IDENTITIES).await;
            continue;
        }
        for subject in untold.subjects {
            app.shared.signal(&format!("{IDENTITY}{subject}")).await;
        }
    }
}
