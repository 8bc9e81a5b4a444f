//! `ogel-cache` over memory and over real servers: one Redis, a cluster, a master that a Sentinel knows.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

mod failover;
mod kinds;
mod responses;
mod server;
mod trouble;
