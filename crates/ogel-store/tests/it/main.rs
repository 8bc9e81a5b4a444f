//! The store on both of its databases: every case is one sentence, and runs on SQLite and on PostgreSQL.

#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

mod adoption;
mod api_keys;
mod audit;
mod build_logs;
mod deployments;
mod device_logins;
mod events;
mod ghost;
mod ghost_events;
mod guards;
mod idempotency;
mod identity_changes;
mod leaving;
mod objects;
mod operations;
mod organizations;
mod pool;
mod production;
mod projects;
mod sessions;
mod statements;
mod studio;
mod support;
mod users;
mod webhooks;
mod work;
