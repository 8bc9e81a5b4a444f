//! The Ghost client against a Ghost that does as the test says, in memory: no sockets, no real waiting.

#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

mod calls;
mod realtime;
mod recorded;
mod retries;
#[path = "../../../ogel-proxy/tests/it/scripted.rs"]
mod scripted;

use ogel_ghost::{CallContext, Ghost, GhostConfig, Secret};
use ogel_proxy::Connector;
use std::{sync::Arc, time::Duration};

const DEPLOYMENT: &str = r#"{"$id":"d1","projectId":"p1","buildId":"b1","status":"pending"}"#;

fn config() -> GhostConfig {
    GhostConfig::new("http://ghost.test", Secret::new("platform-key"))
}

/// A Ghost whose dice always give the longest wait.
fn ghost_with(config: GhostConfig, connector: Connector) -> Ghost {
    Ghost::new(config, connector, Arc::new(|| u64::MAX)).unwrap()
}

fn ghost(scripted: &scripted::Scripted) -> Ghost {
    ghost_with(config(), scripted.connector())
}

fn ctx() -> CallContext<'static> {
    CallContext::within(Duration::from_secs(60))
}
