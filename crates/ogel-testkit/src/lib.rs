//! The whole service in a test: a database, an embedded Ghost that really builds, repositories to deploy.
//!
//! Everything goes through HTTP on a free port. Nothing here sleeps: tests wait for conditions ([`eventually`]), and
//! time that matters is turned by hand on the app's clock. Panics are how a test fails, so this crate may panic.
//!
//! # Layout
//! - [`TestApp`] and [`Api`]: the service, and a caller of it; [`Database`]: which database it uses;
//!   [`Network`]: its connections to Ghost, to be broken; [`Replica`]: one more service on the same, to be killed
//! - [`Repository`]: a git repository made of a few files; [`streams`]: log streams as lists of frames

#![expect(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a test that cannot go on must fail")]

mod api;
mod app;
mod database;
mod faults;
mod gate;
mod redis;
mod replica;
mod repository;
pub mod streams;

pub use api::{Answer, Api};
pub use app::{GHOST_SECRET, TestApp};
pub use database::Database;
pub use faults::Network;
pub use gate::Gate;
pub use redis::{RedisServer, WatchedRedis, redis_hash, redis_prefix, redis_url};
pub use replica::Replica;
pub use repository::Repository;

use std::time::Duration;

/// A client for loopback: no proxy, and a certificate store that is there although nothing here is https.
pub fn http_client() -> reqwest::Client {
    // The first test to come here installs it for the process; the others find it installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap()
}

/// How long a test waits for what must happen.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Asks until the answer is there; panics with `what` when it never is.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(tokio::time::Instant::now() < deadline, "this never happened: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
