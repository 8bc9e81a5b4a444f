//! What Ogel Ghost looks like: typed calls, error translation, the realtime client.
//!
//! Ghost's URLs, headers and words appear here and nowhere else. This crate refuses to keep state about callers or
//! deployments: it forgets every call when it returns, and a realtime event is only ever a hint.
//!
//! # Layout
//! - [`config`]: what a client needs, [`Credential`] and [`CallContext`]
//! - [`client`]: one call, its headers, its attempts; `calls.rs`: every call, typed; [`model`]: the documents
//! - `answer.rs`: answers that are decoded in place, for what is only passed on
//! - [`error`]: why a call failed, by the table in `translate.rs`
//! - [`realtime`]: subscriptions over a WebSocket that comes back by itself

mod answer;
mod calls;
pub mod channel;
pub mod client;
pub mod config;
pub mod error;
pub mod model;
pub mod realtime;
mod translate;

pub use answer::{Answer, Shape};
pub use client::Ghost;
pub use config::{CallContext, Credential, GhostConfig, OwnedCredential, RealtimeConfig, Secret, SetupError};
pub use error::{GhostError, GhostErrorKind};
pub use model::{
    BuildDoc, BuildStep, CreateDeployment, CreateDomain, DeploymentDoc, DeploymentPage, DnsRecordDoc, DomainDoc,
    GhostProject, GhostUser, Health, Jwt, ListDeployments, LogLines, Page, ProjectKey, SiteDoc, SiteFields, Version,
};
pub use ogel_api::builds::LogLine;
pub use realtime::{Realtime, RealtimeEvent, RealtimeStats, Subscription};
