//! The idle connections of one upstream: last in, first out, so that a quiet hour leaves the few that are needed and
//! lets the others expire. A connection is here only while nobody uses it.
//!
//! One list per address of an [`crate::Upstream`], which belongs to one data-plane thread (or to the control plane): the
//! mutex is there for the type checker and is not contended. It is never held across an await.
//! Next: `upstream.rs`.

use crate::{exchange::Sender, upstream::Limits};
use parking_lot::Mutex;
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use tokio::time::{Instant, timeout};

/// How long a connection that looks busy may take to become free: it has only to be polled once more.
const BECOMES_READY_WITHIN: Duration = Duration::from_millis(20);

pub(crate) struct Pool {
    idle: Mutex<Vec<Idle>>,
    limits: Limits,
    opened: AtomicU64,
}

struct Idle {
    sender: Sender,
    since: Instant,
}

impl Pool {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { idle: Mutex::new(Vec::new()), limits, opened: AtomicU64::new(0) }
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

    /// The connection used last of those that can be used at once. One that was given back a moment ago has to be polled
    /// once more; waiting for it needs a timer, and there is often another one below it.
    pub(crate) fn take_ready(&self) -> Option<Sender> {
        let mut idle = self.idle.lock();
        let at = idle.iter().rposition(|idle| idle.sender.is_ready())?;
        let is_fresh = idle[at].since.elapsed() < self.limits.idle_timeout;
        is_fresh.then(|| idle.remove(at).sender)
    }

    /// The connection used last that is still open.
    pub(crate) async fn take(&self) -> Option<Sender> {
        loop {
            let mut sender = self.pop()?;
            if sender.is_ready() {
                return Some(sender);
            }
            if !sender.is_closed() && matches!(timeout(BECOMES_READY_WITHIN, sender.ready()).await, Ok(Ok(()))) {
                return Some(sender);
            }
        }
    }

    fn pop(&self) -> Option<Sender> {
        let mut idle = self.idle.lock();
        let newest = idle.pop()?;
        if newest.since.elapsed() < self.limits.idle_timeout {
            return Some(newest.sender);
        }
        // The newest has expired, so the others have too.
        idle.clear();
        None
    }

    /// Gives a connection back. The oldest go first when there are too many or they have expired.
    pub(crate) fn put(&self, sender: Sender) {
        if sender.is_closed() || self.limits.max_idle_per_thread == 0 {
            return;
        }
        let mut idle = self.idle.lock();
        let expired = idle.iter().take_while(|idle| idle.since.elapsed() >= self.limits.idle_timeout).count();
        let too_many = (idle.len() + 1).saturating_sub(self.limits.max_idle_per_thread);
        let leaving = expired.max(too_many);
        if leaving > 0 {
            idle.drain(..leaving);
        }
        idle.push(Idle { sender, since: Instant::now() });
    }
}
