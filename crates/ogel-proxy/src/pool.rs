//! The idle connections of one upstream: last in, first out, so that a quiet hour leaves the few that are needed and
//! lets the others expire. A connection is here only while nobody uses it, and not beyond its age.
//!
//! One list per address of an [`crate::Upstream`], which belongs to one data-plane thread (or to the control plane): the
//! mutex is there for the type checker and is not contended. It is never held across an await. While the list is not
//! empty, one task for all of it closes what has expired and what the other side has closed.
//! Next: `upstream.rs`.

use crate::{
    connection::Connection,
    upstream::{Inner, Limits},
};
use parking_lot::Mutex;
use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::time::{Instant, sleep};

/// How much longer than the idle time a connection may stay when nobody asks for it, in parts of that time.
const SWEEPS_PER_IDLE_TIME: u32 = 4;
const LEAST_BETWEEN_SWEEPS: Duration = Duration::from_secs(1);

pub(crate) struct Pool {
    idle: Mutex<Vec<Idle>>,
    limits: Limits,
    opened: AtomicU64,
    is_swept: AtomicBool,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

impl Pool {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { idle: Mutex::new(Vec::new()), limits, opened: AtomicU64::new(0), is_swept: AtomicBool::new(false) }
    }

    pub(crate) fn count_opened(&self) {
        self.opened.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    pub(crate) fn idle_connections(&self) -> usize {
        self.idle.lock().len()
    }

    /// The connection used last that is still open and has said nothing since.
    pub(crate) fn take(&self, now: Instant) -> Option<Connection> {
        let mut idle = self.idle.lock();
        loop {
            let mut newest = idle.pop()?;
            if now.saturating_duration_since(newest.since) >= self.limits.idle_timeout {
                // The newest has expired, so the others have too.
                idle.clear();
                return None;
            }
            if now < newest.connection.until && newest.connection.is_silent() {
                return Some(newest.connection);
            }
        }
    }

    /// Gives a connection back. The oldest go first when there are too many or they have expired. Whether nobody looks
    /// after the idle ones yet.
    fn put(&self, connection: Connection, now: Instant) -> bool {
        if self.limits.max_idle_per_thread == 0 {
            return false;
        }
        if now >= connection.until {
            return false;
        }
        let mut idle = self.idle.lock();
        let has_expired = |idle: &&Idle| now.saturating_duration_since(idle.since) >= self.limits.idle_timeout;
        let expired = idle.iter().take_while(has_expired).count();
        let too_many = (idle.len() + 1).saturating_sub(self.limits.max_idle_per_thread);
        let leaving = expired.max(too_many);
        if leaving > 0 {
            idle.drain(..leaving);
        }
        idle.push(Idle { connection, since: now });
        !self.is_swept.swap(true, Ordering::Relaxed)
    }

    /// Whether anything is left after what has expired or said something is gone.
    fn sweep(&self) -> bool {
        let now = Instant::now();
        let mut idle = self.idle.lock();
        idle.retain_mut(|idle| {
            now.saturating_duration_since(idle.since) < self.limits.idle_timeout
                && now < idle.connection.until
                && idle.connection.is_silent()
        });
        // Under the lock, so that whoever adds one now starts the next sweeper.
        self.is_swept.store(!idle.is_empty(), Ordering::Relaxed);
        !idle.is_empty()
    }
}

/// Gives a connection of the upstream's address `at` back.
pub(crate) fn put(upstream: &Arc<Inner>, at: usize, connection: Connection, now: Instant) {
    let pool = &upstream.addresses.all()[at].pool;
    if pool.put(connection, now) {
        tokio::spawn(sweep_until_empty(Arc::downgrade(upstream), at, pool.limits.idle_timeout / SWEEPS_PER_IDLE_TIME));
    }
}

async fn sweep_until_empty(upstream: Weak<Inner>, at: usize, pause: Duration) {
    loop {
        sleep(pause.max(LEAST_BETWEEN_SWEEPS)).await;
        let Some(upstream) = upstream.upgrade() else { return };
        if !upstream.addresses.all()[at].pool.sweep() {
            return;
        }
    }
}
