//! The contract of the Ogel Unified API: what travels between `ogeld` and its clients.
//!
//! Wire types live here and nowhere else: the server answers with them, the Rust client and the CLI decode them, and
//! `openapi.json` is generated from them. JSON is camelCase, times are RFC 3339 in UTC with milliseconds, ids are
//! TypeIDs. This crate refuses I/O: no clock, no randomness, no sockets, no database types.
//!
//! # Layout
//! - [`error`]: the one error table and the envelope every failure travels in
//! - [`id`]: typed ids; [`time`]: the timestamp; [`page`]: lists and cursors; [`money`]: amounts
//! - one module per noun: [`auth`], [`users`], [`organizations`], [`audit`], [`projects`], [`deployments`], [`builds`],
//!   [`sites`], [`domains`], [`operations`], [`billing`], [`admin`], [`meta`]

pub mod admin;
pub mod audit;
pub mod auth;
pub mod billing;
pub mod builds;
pub mod deployments;
pub mod domains;
pub mod error;
pub mod id;
pub mod meta;
pub mod metrics;
pub mod money;
pub mod operations;
pub mod organizations;
pub mod page;
pub mod projects;
pub mod sites;
mod string_enum;
pub mod time;
pub mod users;
pub mod webhooks;

/// Every path of the API starts with this.
pub const BASE_PATH: &str = "/api/v2";
