//! The configuration as it is now: swapped as a whole when its file changes, never half of one and half of another.
//!
//! Whoever reads it takes a snapshot per request; nobody waits for anybody.

use crate::{billing::catalog::Catalog, config::Config, limits::Limits, resources::RESOURCES, studio::StudioAuth};
use arc_swap::{ArcSwap, Guard};
use ipnet::IpNet;
use std::{ops::Deref, sync::Arc, time::Duration};

/// A configuration and what is worked out from it once.
pub struct Settings {
    config: Config,
    pub limits: Limits,
    pub plans: Catalog,
    /// Networks of proxies in front of us.
    pub trusted: Vec<IpNet>,
    /// How long memory is trusted while nobody can say what has changed.
    pub trust_without_database: Duration,
    /// Whether Studio's backend answers for the noun at this place of the resource table.
    forwarded: Vec<bool>,
    /// Studio's own sessions, where they are taken.
    pub(crate) studio_auth: Option<StudioAuth>,
}

impl Settings {
    fn new(config: Config) -> Self {
        let forwarded = RESOURCES.iter().map(|resource| config.studio.forward.iter().any(|name| name == resource.name));
        Self {
            limits: Limits::new(&config),
            trust_without_database: Duration::from_secs(config.auth.trust_without_database_seconds.min(30)),
            plans: Catalog::load_or_default(&config),
            trusted: config.trusted_networks().unwrap_or_default(),
            forwarded: forwarded.collect(),
            studio_auth: StudioAuth::new(&config),
            config,
        }
    }

    pub fn is_forwarded(&self, noun: Option<usize>) -> bool {
        noun.and_then(|place| self.forwarded.get(place)).is_some_and(|forwarded| *forwarded)
    }
}

impl Deref for Settings {
    type Target = Config;

    fn deref(&self) -> &Config {
        &self.config
    }
}

/// What cannot change while the process runs: sockets that are bound, connections that are in use.
fn fixed(config: &Config) -> [(&'static str, String); 9] {
    let server = &config.server;
    [
        ("server.listen", server.listen.clone()),
        ("server.threads", server.threads.to_string()),
        ("server.operations_listen", server.operations_listen.clone()),
        ("server.takeover_socket", server.takeover_socket.clone()),
        ("studio_sessions.strategy and its database", {
            let studio = &config.studio_sessions;
            format!("{} {} {:?}", studio.strategy == "database", studio.database_url.expose(), studio.tables())
        }),
        ("database, ghost, studio", {
            // Secrets are compared, never printed.
            let (database, ghost) = (&config.database, &config.ghost);
            format!(
                "{} {} {} {} {} {} {} {} {:?}",
                database.url.expose(),
                database.read_url.expose(),
                database.max_connections,
                database.acquire_timeout_seconds,
                // Not its webhooks' secrets: they are changed while serving.
                ghost.url,
                ghost.response_format,
                ghost.timeout_seconds,
                ghost.api_key.expose(),
                config.studio,
            )
        }),
        ("otlp", format!("{} {:?}", config.otlp.headers.expose(), config.otlp)),
        ("work.concurrency", config.work.concurrency.to_string()),
        ("redis", format!("{} {:?}", config.redis.url.expose(), config.redis)),
    ]
}

/// The current [`Settings`].
pub struct Current(ArcSwap<Settings>);

impl Current {
    pub fn new(config: Config) -> Self {
        Self(ArcSwap::from_pointee(Settings::new(config)))
    }

    pub fn load(&self) -> Guard<Arc<Settings>> {
        self.0.load()
    }

    /// Takes over `config`; returns the keys whose change shows only after a restart.
    pub fn replace(&self, config: Config) -> Vec<&'static str> {
        let before = fixed(&self.load().config);
        let pending =
            before.iter().zip(fixed(&config)).filter(|(old, new)| **old != *new).map(|(old, _)| old.0).collect();
        self.0.store(Arc::new(Settings::new(config)));
        pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swap_takes_effect_at_once_and_names_what_waits_for_a_restart() {
        let current = Current::new(Config::default());
        let mut next = Config::default();
        next.server.request_timeout_seconds = 7;
        assert_eq!(current.replace(next.clone()), Vec::<&str>::new());
        assert_eq!(current.load().server.request_timeout_seconds, 7);
        next.server.threads = 3;
        next.ghost.api_key = crate::config::Secret::new("other");
        assert_eq!(current.replace(next), ["server.threads", "database, ghost, studio"]);
    }
}
