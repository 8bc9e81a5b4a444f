//! The service through HTTP, in process, on both databases. One module per subject.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

mod accounts;
mod admin;
mod api_keys;
mod audit_log;
mod authorization;
mod bad_input;
mod billing;
mod bridge;
mod builds;
mod cache;
mod changes;
mod connection;
mod database;
mod deleted;
mod delivery;
mod deployments;
mod dev;
mod device_login;
mod domains;
mod durable;
mod edge;
mod foreign;
mod forward;
mod ghost_events;
mod http2;
mod idempotency;
mod invitations;
mod kept_logs;
mod keys;
mod leaving;
mod lifecycle;
mod limits;
mod logs;
mod mail;
mod members;
mod metrics;
mod operations;
mod organizations;
mod preconditions;
mod production;
mod protocol;
mod raw;
mod remembered;
mod replicas;
mod resting;
mod scripted;
mod secrets;
mod sessions;
mod sites;
mod studio_sessions;
mod traces;
mod webhook_catalogue;
mod webhooks;

/// Makes two tests of each case: one on SQLite, one on PostgreSQL.
macro_rules! on_both {
    ($($(#[$meta:meta])* async fn $name:ident($app:ident: TestApp) $body:block)+) => { $(
        $(#[$meta])*
        mod $name {
            #[allow(unused_imports, reason = "not every case names something from outside")]
            use super::*;

            async fn case(database: ogel_testkit::Database) {
                let $app = ogel_testkit::TestApp::start(database).await;
                $body
                $app.stop().await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_sqlite() {
                case(ogel_testkit::Database::Sqlite).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_postgres() {
                case(ogel_testkit::Database::Postgres).await;
            }
        }
    )+ };
}
pub(crate) use on_both;
