//! The edge of the Unified API: listeners, pipeline, resources. The binary `ogeld` is a thin shell around it.
//!
//! Refuses SQL (that is `ogel-store`) and URLs of Ghost (that is `ogel-ghost`).
//!
//! # Layout, in reading order
//! - [`config`]: one struct, its defaults, its reference page; [`world`]: clock, ids, randomness; [`state`]: [`state::App`]
//! - [`edge`]: one thread per core, each with its own listener; [`router`]: every route; [`pipeline`]: what each request passes
//! - [`resources`]: the table of nouns, and one file per noun
//! - [`bridge`]: Studio's people and projects as Ghost knows them; [`submission`] and [`tracker`]: how a deployment gets
//!   to Ghost and how its status comes back; [`logs`]: build log streams
//! - [`access`], `acting.rs` and [`objects`]: what is Ghost's and only passed on: who may, as whom, under which id
//! - [`dev`]: everything on one machine with nothing installed

pub mod access;
mod acting;
pub mod bridge;
pub mod caller;
pub mod config;
pub mod dev;
pub mod edge;
mod error;
mod extract;
pub mod logs;
pub mod objects;
pub mod openapi;
pub mod pipeline;
mod repository;
pub mod resources;
pub mod router;
pub mod run;
pub mod secrets;
pub mod state;
mod submission;
pub mod tracker;
pub mod world;
