//! The jobs this process holds: one statement at a time prolongs all of them, and whoever works on one that was lost is
//! told to stop.

use super::{Key, hold, lease};
use crate::state::App;
use ogel_store::Job;
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

#[derive(Default)]
pub(super) struct Leases(Mutex<HashMap<Key, Held>>);

struct Held {
    fence: i64,
    /// Before the statement that took or prolonged it.
    since: Instant,
    /// When we came to know of it.
    known: Instant,
    lost: CancellationToken,
}

/// A job as long as it is worked on.
pub(crate) struct Guard<'a> {
    leases: &'a Leases,
    key: Key,
    fence: i64,
    lost: CancellationToken,
}

impl Guard<'_> {
    pub(super) async fn lost(&self) {
        self.lost.cancelled().await;
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        let mut held = self.leases.0.lock();
        if held.get(&self.key).is_some_and(|held| held.fence == self.fence) {
            held.remove(&self.key);
        }
    }
}

impl Leases {
    /// `asked` is before the statement that took it.
    pub(super) fn add(&self, job: &Job, asked: Instant) {
        let held = Held { fence: job.fence, since: asked, known: Instant::now(), lost: CancellationToken::new() };
        if let Some(before) = self.0.lock().insert((job.queue, job.id), held) {
            before.lost.cancel();
        }
    }

    /// For the one who works on it.
    pub(super) fn guard(&self, job: &Job) -> Guard<'_> {
        let key = (job.queue, job.id);
        let held = self.0.lock();
        let known = held.get(&key).filter(|held| held.fence == job.fence);
        // Not there: lost before we came to it.
        let lost = known.map_or_else(
            || {
                let lost = CancellationToken::new();
                lost.cancel();
                lost
            },
            |held| held.lost.clone(),
        );
        Guard { leases: self, key, fence: job.fence, lost }
    }

    /// `ours` is what the database says we hold, `asked` before the question. Answers with what is in there and not here.
    fn confirm(&self, ours: &HashSet<(Key, i64)>, asked: Instant) -> HashSet<(Key, i64)> {
        let mut held = self.0.lock();
        for (key, held) in held.iter_mut().filter(|(_, held)| held.known < asked) {
            if ours.contains(&(*key, held.fence)) {
                held.since = asked;
            } else {
                held.lost.cancel();
            }
        }
        let is_here = |(key, fence): &(Key, i64)| held.get(key).is_some_and(|held| held.fence == *fence);
        ours.iter().filter(|job| !is_here(job)).copied().collect()
    }

    fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }
}

/// Prolongs what is held, three times in the life of a lease. What the database says is no longer ours is lost, and so is
/// everything when the database stays away for the life of a lease.
pub(super) async fn renew(app: &App) {
    let leases = &app.work.leases;
    // Leased to us, but not worked on. Once that may be a job being taken; twice it was forgotten, and nobody else could
    // take it as long as we prolong it.
    let mut forgotten: HashSet<(Key, i64)> = HashSet::new();
    loop {
        let lease = lease(app);
        tokio::select! {
            () = tokio::time::sleep(lease / 3) => {}
            () = app.shutdown.cancelled() => return,
        }
        if leases.is_empty() && forgotten.is_empty() {
            continue;
        }
        let asked = Instant::now();
        match app.store.renew_leases(hold(app)).await {
            Ok(ours) => {
                let ours = ours.into_iter().map(|(queue, id, fence)| ((queue, id), fence)).collect();
                let unknown = leases.confirm(&ours, asked);
                for ((queue, id), fence) in unknown.intersection(&forgotten) {
                    if let Err(error) = app.store.release(*queue, *id, *fence).await {
                        tracing::warn!(%queue, job.id = %id, %error, "forgotten work could not be released");
                    }
                }
                forgotten = unknown;
            }
            Err(error) => {
                tracing::warn!(%error, "leases could not be prolonged");
                for held in leases.0.lock().values().filter(|held| held.since.elapsed() >= lease) {
                    held.lost.cancel();
                }
            }
        }
    }
}
