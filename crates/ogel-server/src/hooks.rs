//! Webhooks in both directions: what Ghost tells us, and what we tell the platform's users.
//!
//! # Layout
//! - `signature.rs`: both ways in which Ghost signs
//! - [`Hooks`]: what was counted, for operators; what is received is in `resources/webhooks/ghost.rs`

pub(crate) mod signature;

use std::{
    fmt::Write as _,
    sync::atomic::{AtomicU64, Ordering},
};

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
}

impl Hooks {
    pub(crate) fn count_received(&self, what: Received) {
        self.received[what as usize].fetch_add(1, Ordering::Relaxed);
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
