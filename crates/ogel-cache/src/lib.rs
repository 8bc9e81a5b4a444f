//! Short-lived state: what replicas of a service share through Redis, and what a single process keeps in memory instead.
//!
//! Knows no resource: callers name scopes, tags, holders. Nothing that must survive is kept here, and nothing here makes a
//! request fail: whoever asks gets an answer within some milliseconds or [`Unavailable`], and goes on without.
//!
//! # Layout
//! - [`Shared`]: memory, or Redis; `redis.rs` and below: how Redis is spoken to
//! - [`Responses`]: answers kept for a short time, in memory and in Redis

mod event;
mod redis;
mod responses;

pub use event::Event;
pub use redis::{Found, Redis};
pub use responses::{Entry, Key as CacheKey, Lifetimes, Look, Responses, Tag, Token};

use std::{sync::Arc, time::Duration};
use tokio::{runtime::Handle, sync::broadcast};

/// Where Redis is and how it is used.
#[derive(Clone)]
pub struct RedisConfig {
    /// `redis://`, `rediss://`, `redis+sentinel://…/MASTER` or `redis+cluster://`.
    pub url: String,
    /// What a request waits for an answer, at most.
    pub wait: Duration,
    /// Before every key and channel, where several installations share a server.
    pub prefix: String,
    pub cache_database: i64,
    pub limits_database: i64,
    pub metrics_database: i64,
    /// A random number: tells this process from other replicas.
    pub process: u64,
}

/// The URL may hold a password.
impl std::fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisConfig").field("wait", &self.wait).field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// What is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
#[error("{problem}")]
pub struct SetupError {
    problem: &'static str,
}

/// No answer in time: decide without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the shared state did not answer in time")]
pub struct Unavailable;

/// A wish for a share of somebody's window.
#[derive(Clone, Copy, Debug)]
pub struct Lease<'a> {
    /// Whose window it is.
    pub holder: &'a str,
    pub limit: u64,
    pub now_ms: u64,
    pub length_ms: u64,
    /// How many are wanted; below zero are given back.
    pub want: i64,
    /// How many were let in before anybody was asked.
    pub debt: u64,
    /// Whether there is room when the counts say so to whoever gets nothing: until somebody gets something again, what is let
    /// in unasked or given back does not change them.
    pub keeps_promises: bool,
}

/// What came of a [`Lease`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    pub granted: u64,
    /// What all replicas have taken in this window, the grant included, and took in the one before.
    pub current: u64,
    pub before: u64,
}

/// Cheap to clone.
#[derive(Clone)]
pub enum Shared {
    /// This process is alone: it hears itself only, and needs to ask nobody.
    Memory(broadcast::Sender<Event>),
    Redis(Arc<Redis>),
}

impl Shared {
    pub fn memory() -> Self {
        Self::Memory(broadcast::channel(64).0)
    }

    /// Does not wait for Redis, which may come and go. Errors: a URL that makes no sense.
    pub fn redis(config: &RedisConfig, handle: &Handle) -> Result<Self, SetupError> {
        Redis::start(config, handle).map(Self::Redis)
    }

    pub fn as_redis(&self) -> Option<&Arc<Redis>> {
        match self {
            Self::Memory(_) => None,
            Self::Redis(redis) => Some(redis),
        }
    }

    /// What other replicas say from now on.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        match self {
            Self::Memory(events) => events.subscribe(),
            Self::Redis(redis) => redis.events.subscribe(),
        }
    }

    /// Whether an event is news here: what this process said itself it knows.
    pub fn is_news(&self, event: &Event) -> bool {
        match (self, event) {
            (Self::Redis(redis), Event::Signal { process, .. }) => !redis.is_own(process),
            _ => true,
        }
    }

    /// Tells the other replicas something by its name.
    pub async fn signal(&self, name: &str) {
        if let Self::Redis(redis) = self {
            redis.signal(name).await;
        }
    }
}
