//! The edge of the Unified API: listeners, pipeline, resources. The binary `ogeld` is a thin shell around it.
//!
//! Refuses SQL (that is `ogel-store`) and URLs of Ghost (that is `ogel-ghost`).
//!
//! # Layout, in reading order
//! - [`config`]: one struct, its defaults, its reference page; [`world`]: clock, ids, randomness; [`state`]: [`state::App`]
//! - [`edge`]: one thread per core, each with its own listener; [`router`]: every route; [`pipeline`]: what each request passes
//! - [`resources`]: the table of nouns, and one file per noun
//! - [`callers`], [`uses`], [`passwords`]: who calls, from memory; when they last did; the threads that hash
//! - [`bridge`]: Studio's people and projects as Ghost knows them; [`submission`] and [`tracker`]: how a deployment gets
//!   to Ghost and how its status comes back; `doing.rs`, `changes.rs` and `departed.rs`: what else is asked of Ghost; [`work`]: jobs that outlive a process; [`logs`]: build log streams
//! - [`access`], `acting.rs` and [`objects`]: what is Ghost's and only passed on: who may, as whom, under which id; [`places`]:
//!   where a deployment is; `responses.rs`: answers that are kept
//! - [`hooks`]: what Ghost tells us, and what we tell the platform's users
//! - [`studio`]: sessions of Studio's own login
//! - [`billing`]: plans, metering, invoices, budgets
//! - [`traces`]: what a collector is told of requests
//! - [`dev`]: everything on one machine with nothing installed

// A request's whole way is one future, and its type is as deep as the way is long.
#![recursion_limit = "256"]

pub mod access;
pub mod access_log;
mod acting;
pub mod billing;
pub mod bridge;
pub mod caller;
pub mod callers;
mod changes;
pub mod config;
mod departed;
pub mod dev;
pub mod doctor;
mod doing;
pub mod edge;
mod error;
mod extract;
mod header_text;
pub mod hooks;
pub mod identities;
pub mod keys;
pub mod limits;
pub mod limits_cli;
pub mod logs;
pub mod lone_ghost;
mod mail;
mod memory;
pub mod metrics;
pub mod objects;
pub mod openapi;
mod operations;
pub mod operators;
mod outgoing;
pub mod passwords;
pub mod permissions;
pub mod pipeline;
pub mod places;
pub mod purge;
mod reconciler;
mod reload;
mod replicas;
mod repository;
pub mod resources;
mod responses;
pub mod router;
pub mod run;
pub mod secrets;
pub mod settings;
pub mod state;
pub mod studio;
mod submission;
pub mod takeover;
pub mod traces;
pub mod tracker;
pub mod uses;
pub mod work;
pub mod world;
mod written;
