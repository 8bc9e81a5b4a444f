//! What happened, in numbers: every data-plane thread counts for itself, and a scrape adds the threads up.
//!
//! A counter has one writer, its thread, so counting is a plain load and store that no other core waits for. Labels are
//! the nouns of the resource table and status classes: their number is fixed, whatever callers send.

pub mod daily;
mod histogram;
mod queues;
mod text;
mod upstreams;

pub use histogram::Histogram;
pub(crate) use queues::render_queues;
pub use text::{render, render_redis};

use crate::{
    limits::{POLICIES, Policy},
    resources::{Backend, RESOURCES},
};
use ogel_proxy::Upstream;
use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// A number that only its own thread changes.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, by: u64) {
        self.set(self.get().wrapping_add(by));
    }

    pub fn sub(&self, by: u64) {
        self.set(self.get().wrapping_sub(by));
    }

    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Requests for one noun.
#[derive(Default)]
pub struct Requests {
    /// By status class: 1xx to 5xx.
    pub by_class: [Counter; 5],
    pub durations: Histogram,
}

/// What one thread has counted.
pub struct Counters {
    /// One per noun in the table's order, and one for paths without a noun.
    requests: Box<[Requests]>,
    pub(crate) daily: daily::Daily,
    pub in_flight: Counter,
    /// Of those, the ones that need a backend, by [`Backend`].
    pub waiting_for: [Counter; Backend::ALL.len()],
    pub connections: Counter,
    pub connections_resting: Counter,
    pub connections_opened: Counter,
    pub shed: Counter,
    pub limited: [Counter; POLICIES],
    pub log_lines_lost: Counter,
    pub upstream_attempts: Counter,
    pub upstream_failures: Counter,
    /// This thread's upstreams by name, to be asked how they are at a scrape.
    upstreams: OnceLock<Vec<(&'static str, Upstream)>>,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            requests: (0..=RESOURCES.len()).map(|_| Requests::default()).collect(),
            daily: daily::Daily::default(),
            in_flight: Counter::default(),
            waiting_for: Default::default(),
            connections: Counter::default(),
            connections_resting: Counter::default(),
            connections_opened: Counter::default(),
            shed: Counter::default(),
            limited: Default::default(),
            log_lines_lost: Counter::default(),
            upstream_attempts: Counter::default(),
            upstream_failures: Counter::default(),
            upstreams: OnceLock::new(),
        }
    }
}

impl Counters {
    /// One request is over. `noun` is its place in the table.
    pub fn request(&self, noun: Option<usize>, status: http::StatusCode, took: Duration) {
        let requests = &self.requests[noun.unwrap_or(RESOURCES.len()).min(RESOURCES.len())];
        requests.by_class[usize::from(status.as_u16() / 100).clamp(1, 5) - 1].add(1);
        requests.durations.observe(took);
    }

    /// Once, when the thread has its upstreams.
    pub(crate) fn watch(&self, upstreams: Vec<(&'static str, Upstream)>) {
        // Who comes second has nothing else to watch.
        let _ = self.upstreams.set(upstreams);
    }

    pub fn limited(&self, policy: Policy) {
        self.limited[policy as usize].add(1);
    }
}
