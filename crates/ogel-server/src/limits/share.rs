//! A replica's share of a window that all replicas count together, so that deciding does not mean asking.
//!
//! Shares are taken from Redis in one step each and are valid in the fixed window they were counted in. A request that
//! finds some of the share left takes it; at the last of it more is fetched beside the request. The first request of a
//! window is let in on credit. Only a burst that uses a share up faster than Redis answers waits, `redis.wait_ms` at most.
//! So N replicas admit at most N more than the limit in a window, one on credit each. None of them is in the way of whoever
//! waits until the time that a refusal named: they are counted once somebody is let in after it. Without an answer from
//! Redis each counts for itself.

use super::{
    window::{self, Decision},
    word::Word,
};
use crate::state::AppState;
use ogel_cache::{Lease, Redis};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

/// What all replicas together say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Together {
    Decided(Decision),
    /// No answer: count for yourself.
    Unknown,
}

/// The limit that is asked for and the moment it is asked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    pub now_ms: u64,
    pub length_ms: u64,
    pub limit: u64,
    /// Every request asks, and waits for the answer.
    pub strict: bool,
}

impl Ask {
    /// The fixed window, as a [`Word`] names it.
    fn number(&self) -> u32 {
        u32::try_from((self.now_ms / self.length_ms) & u64::from(u32::MAX)).unwrap_or_default()
    }

    fn elapsed(&self) -> u64 {
        self.now_ms % self.length_ms
    }

    /// How many are fetched at once.
    fn lease(&self) -> u64 {
        if self.strict { 0 } else { (self.limit / 10).clamp(1, 1000) }
    }
}

pub(crate) struct Share {
    /// Whose it is, at Redis.
    holder: Box<str>,
    word: Word,
    /// Until when nobody is let in, in Unix milliseconds, and under which limit.
    full_until: AtomicU64,
    full_under: AtomicU64,
    /// How many more all replicas would let in, as of the last answer.
    free: AtomicU64,
    asking: AtomicBool,
    failed: AtomicBool,
    /// Let in on credit, and not told to Redis yet.
    debt: AtomicU64,
    waiting: AtomicU32,
    news: Notify,
}

impl Share {
    pub(crate) fn new(holder: impl Into<Box<str>>) -> Self {
        Self {
            holder: holder.into(),
            word: Word::new(),
            full_until: AtomicU64::new(0),
            full_under: AtomicU64::new(0),
            free: AtomicU64::new(0),
            asking: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            debt: AtomicU64::new(0),
            waiting: AtomicU32::new(0),
            news: Notify::new(),
        }
    }

    /// One that was taken and not used after all.
    pub(crate) fn give_back(&self, ask: Ask) {
        self.word.add(ask.number(), 1);
    }

    /// A request that looked at its clock in the window before is taken for one at the start of the window that others have
    /// begun since.
    fn in_time(&self, ask: Ask) -> Ask {
        match self.word.window_of(ask.number()) == ask.number() {
            true => ask,
            false => Ask { now_ms: ask.now_ms - ask.elapsed() + ask.length_ms, ..ask },
        }
    }

    fn full(&self, ask: Ask) -> Option<Decision> {
        let reset_ms = self.full_until.load(Ordering::Relaxed).saturating_sub(ask.now_ms);
        // No window is full for longer than two of its length: that was said by a clock that has been set back since. And a
        // limit that was raised meanwhile may have room.
        let holds = (1..=2 * ask.length_ms).contains(&reset_ms) && self.full_under.load(Ordering::Relaxed) >= ask.limit;
        holds.then_some(Decision { allowed: false, limit: ask.limit, remaining: 0, reset_ms })
    }

    fn admitted(&self, ask: Ask, left: u32) -> Together {
        let remaining = (self.free.load(Ordering::Relaxed) + u64::from(left)).min(ask.limit.saturating_sub(1));
        Together::Decided(Decision {
            allowed: true,
            limit: ask.limit,
            remaining,
            reset_ms: ask.length_ms - ask.elapsed(),
        })
    }

    /// Decides from what is here, as far as that goes.
    fn here(&self, ask: Ask) -> Option<Together> {
        let taken = self.word.take(ask.number()).map(|left| self.admitted(ask, left));
        taken.or_else(|| self.full(ask).map(Together::Decided))
    }

    /// Waits at most `wait`, and only where the share is used up.
    pub(crate) async fn decide(
        self: &Arc<Self>,
        app: &AppState,
        redis: &Arc<Redis>,
        wait: Duration,
        ask: Ask,
    ) -> Together {
        if redis.limits_are_away() {
            return Together::Unknown;
        }
        let ask = self.in_time(ask);
        if let Some(decided) = self.here(ask) {
            // Ahead of need; who is refused needs nothing.
            let is_in = matches!(decided, Together::Decided(Decision { allowed: true, .. }));
            if is_in && !ask.strict && u64::from(self.word.left()) <= ask.lease() / 4 {
                self.fetch(app, redis, ask);
            }
            return decided;
        }
        if let Some(leftover) = self.word.begin(ask.number()) {
            self.give_back_at_redis(app, redis, ask, leftover);
            if !ask.strict {
                // What was free in the window before says nothing of this one.
                self.free.store(ask.limit.saturating_sub(1), Ordering::Relaxed);
                // While something else is being asked it is told with the next question.
                self.debt.store(1, Ordering::Relaxed);
                self.fetch(app, redis, ask);
                return self.admitted(ask, 0);
            }
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let decided = self.wait(app, redis, Instant::now() + wait, ask).await;
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        decided
    }

    async fn wait(self: &Arc<Self>, app: &AppState, redis: &Arc<Redis>, until: Instant, ask: Ask) -> Together {
        loop {
            let mut news = std::pin::pin!(self.news.notified());
            news.as_mut().enable();
            let ask = self.in_time(ask);
            if let Some(decided) = self.here(ask) {
                return decided;
            }
            self.failed.store(false, Ordering::Relaxed);
            self.fetch(app, redis, ask);
            if timeout_at(until, news).await.is_err() || self.failed.load(Ordering::Relaxed) {
                return Together::Unknown;
            }
        }
    }

    /// Asks Redis for more, unless that is being done.
    fn fetch(self: &Arc<Self>, app: &AppState, redis: &Arc<Redis>, ask: Ask) {
        if self.asking.swap(true, Ordering::Acquire) {
            return;
        }
        let (share, redis) = (self.clone(), redis.clone());
        app.in_passing(async move {
            let want = ask.lease().max(share.waiting.load(Ordering::Relaxed).into());
            let debt = share.debt.swap(0, Ordering::Relaxed);
            let answer = redis.lease(&share.lease(ask, i64::try_from(want).unwrap_or(i64::MAX), debt)).await;
            match answer {
                Ok(grant) => share.hear(ask, want, grant.granted, grant.before, grant.current),
                Err(_) => share.failed.store(true, Ordering::Relaxed),
            }
            share.asking.store(false, Ordering::Release);
            share.news.notify_waiters();
        });
    }

    fn lease(&self, ask: Ask, want: i64, debt: u64) -> Lease<'_> {
        let Ask { now_ms, length_ms, limit, .. } = ask;
        Lease { holder: &self.holder, limit, now_ms, length_ms, want, debt, keeps_promises: true }
    }

    fn hear(&self, ask: Ask, want: u64, granted: u64, before: u64, current: u64) {
        let used = window::weighed(before, ask.length_ms, ask.elapsed()) + current;
        self.free.store(ask.limit.saturating_sub(used), Ordering::Relaxed);
        if granted > 0 {
            self.word.add(ask.number(), granted);
        } else if want > 0 {
            let reset = window::until_free(before, current, ask.limit, ask.length_ms, ask.elapsed());
            self.full_under.store(ask.limit, Ordering::Relaxed);
            self.full_until.store(ask.now_ms + reset, Ordering::Relaxed);
        }
    }

    /// What nobody took in the window before must not weigh on this one.
    fn give_back_at_redis(self: &Arc<Self>, app: &AppState, redis: &Arc<Redis>, ask: Ask, (number, left): (u32, u32)) {
        if left == 0 || number != ask.number().wrapping_sub(1) {
            return;
        }
        let (share, redis) = (self.clone(), redis.clone());
        let then = Ask { now_ms: ask.now_ms.saturating_sub(ask.length_ms), ..ask };
        app.in_passing(async move {
            // Lost, or not taken because somebody was told by it when to come back, it makes the limit a little tighter for
            // one window.
            let _ = redis.lease(&share.lease(then, -i64::from(left), 0)).await;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_back_holds_nobody_up() {
        let ask = Ask { now_ms: 3_600_000, length_ms: 10_000, limit: 20, strict: false };
        let share = Share::new("key");
        share.hear(ask, 2, 0, 20, 20);
        assert!(share.full(ask).is_some_and(|refused| refused.reset_ms <= 2 * ask.length_ms));
        assert!(share.full(Ask { now_ms: 0, ..ask }).is_none());
    }
}
