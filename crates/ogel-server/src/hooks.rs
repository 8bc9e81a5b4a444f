//! Webhooks in both directions: what Ghost tells us, and what we tell the platform's users.
//!
//! # Layout
//! - `signature.rs`: both ways in which Ghost signs, and the way we do; what is received is in `resources/webhooks/ghost.rs`
//! - `dispatch.rs`: what happened becomes deliveries; `deliver.rs`: each is tried until it succeeds or days have passed
//! - `receiver.rs`: posting to an address that somebody else chose, and never into our own network
//! - [`Hooks`]: what was counted, for operators

pub(crate) mod deliver;
pub(crate) mod dispatch;
pub(crate) mod receiver;
pub(crate) mod signature;

use crate::{state::App, work};
use chrono::TimeDelta;
use std::{
    fmt::Write as _,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Starts telling the platform's users what happens.
pub(crate) fn start(app: &App) {
    work::start::<deliver::Delivering>(app);
    let state = app.clone();
    app.in_background(async move { dispatch::run(&state).await });
    let state = app.clone();
    app.in_background(async move { clean(&state).await });
}

/// Removes what is kept no longer, a bounded batch at a time.
async fn clean(app: &App) {
    const EVERY: Duration = Duration::from_secs(600);
    const BATCH: u32 = 1000;
    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = app.shutdown.cancelled() => return,
        }
        let now = app.world.now();
        let days = i64::try_from(app.config().webhooks.retention_days).unwrap_or(30);
        let before = now - TimeDelta::try_days(days).unwrap_or(TimeDelta::days(30));
        let events = app.store.delete_expired_ghost_events(now, BATCH).await;
        let deliveries = app.store.delete_old_webhook_deliveries(before, BATCH).await;
        match (events, deliveries) {
            (Ok(events), Ok(deliveries)) => tracing::debug!(events, deliveries, "old webhooks removed"),
            (Err(error), _) | (_, Err(error)) => tracing::warn!(%error, "old webhooks could not be removed"),
        }
    }
}

/// What became of an event that Ghost sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    Applied,
    Duplicate,
    /// Of a deployment that is over, or that we do not have.
    Irrelevant,
    UnknownType,
    /// Its signature does not hold.
    Refused,
    /// Its effect could not be written down.
    Failed,
}

const RECEIVED: [(Received, &str); 6] = [
    (Received::Applied, "applied"),
    (Received::Duplicate, "duplicate"),
    (Received::Irrelevant, "irrelevant"),
    (Received::UnknownType, "unknown_type"),
    (Received::Refused, "refused"),
    (Received::Failed, "failed"),
];

/// What webhooks have come and gone in this process.
#[derive(Default)]
pub struct Hooks {
    received: [AtomicU64; RECEIVED.len()],
    /// Attempts to tell somebody: failed, and succeeded.
    attempts: [AtomicU64; 2],
    pub(crate) receivers: receiver::Receivers,
}

impl Hooks {
    pub(crate) fn count_received(&self, what: Received) {
        self.received[what as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_attempt(&self, succeeded: bool) {
        self.attempts[usize::from(succeeded)].fetch_add(1, Ordering::Relaxed);
    }

    /// For the page `/metrics`.
    pub(crate) fn render(&self) -> String {
        let mut page = String::from(
            "# HELP ogel_ghost_events_total Webhooks of the deployment backend, by what became of them.\n\
             # TYPE ogel_ghost_events_total counter\n",
        );
        for (what, word) in RECEIVED {
            let count = self.received[what as usize].load(Ordering::Relaxed);
            let _ = writeln!(page, "ogel_ghost_events_total{{outcome=\"{word}\"}} {count}");
        }
        page.push_str(
            "# HELP ogel_webhook_attempts_total Attempts to post an event to a webhook of a user's.\n\
             # TYPE ogel_webhook_attempts_total counter\n",
        );
        for (count, word) in self.attempts.iter().zip(["failed", "succeeded"]) {
            let _ =
                writeln!(page, "ogel_webhook_attempts_total{{outcome=\"{word}\"}} {}", count.load(Ordering::Relaxed));
        }
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_is_counted_under_its_own_name() {
        let hooks = Hooks::default();
        for (times, (what, _)) in (1..).zip(RECEIVED) {
            (0..times).for_each(|_| hooks.count_received(what));
        }
        let page = hooks.render();
        for (times, (_, word)) in (1..).zip(RECEIVED) {
            assert!(page.contains(&format!("{{outcome=\"{word}\"}} {times}\n")), "{page}");
        }
    }
}
