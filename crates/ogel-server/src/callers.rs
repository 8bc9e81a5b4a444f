//! Callers in memory: a hot caller costs no database trip. What is revoked here ends at once, what is revoked elsewhere
//! within a second.
//!
//! Two levels. Each data-plane thread keeps the callers it has seen ([`ThreadCallers`], no lock another thread holds);
//! behind them [`Callers`] makes sure that many requests of one caller ask the database once.

use crate::{caller::Caller, error::Failure, secrets::TokenHash};
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// How long an answer of the database is shared between threads; with [`FRESH_FOR`] the second that is promised.
const SHARED_FOR: Duration = Duration::from_millis(200);
/// How long a thread goes on with what it knows.
const FRESH_FOR: Duration = Duration::from_millis(800);
/// From here on it asks again beside the request, so that a busy caller never waits for the answer. Late, because each
/// caller in use costs a trip to the database that often.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(650);
/// Callers one thread remembers.
const MOST: usize = 8192;

/// What many threads share.
pub struct Callers {
    found: moka::future::Cache<TokenHash, Option<Arc<Caller>>>,
    /// Grows with every revocation: what was found before one is not used after it.
    revocations: AtomicU64,
}

impl Default for Callers {
    fn default() -> Self {
        let found = moka::future::Cache::builder().max_capacity(100_000).time_to_live(SHARED_FOR).build();
        Self { found, revocations: AtomicU64::new(0) }
    }
}

impl Callers {
    /// The caller with this credential; `look_up` runs once for all who ask at the same time. Control plane only.
    pub(crate) async fn find(
        &self,
        hash: TokenHash,
        look_up: impl Future<Output = Result<Option<Caller>, Failure>>,
    ) -> Result<Option<Arc<Caller>>, Failure> {
        let look_up = async { Ok(look_up.await?.map(Arc::new)) };
        self.found.try_get_with(hash, look_up).await.map_err(crate::bridge::shared)
    }

    /// Nobody is remembered any more: something about callers changed.
    pub fn forget_all(&self) {
        self.found.invalidate_all();
        self.revocations.fetch_add(1, Ordering::Release);
    }

    pub(crate) fn generation(&self) -> u64 {
        self.revocations.load(Ordering::Acquire)
    }
}

/// What one thread remembers. The lock is that thread's alone.
#[derive(Default)]
pub(crate) struct ThreadCallers(Mutex<HashMap<TokenHash, Known>>);

struct Known {
    caller: Arc<Caller>,
    since: Instant,
    generation: u64,
    asking: bool,
}

/// What a thread knows of a credential.
pub(crate) enum Remembered {
    Nothing,
    Fresh(Arc<Caller>),
    /// Good for this request; whoever is told so asks again.
    Aging(Arc<Caller>),
}

impl ThreadCallers {
    pub(crate) fn get(&self, hash: &TokenHash, generation: u64, now: Instant) -> Remembered {
        let mut known = self.0.lock();
        let Some(entry) = known.get_mut(hash) else { return Remembered::Nothing };
        let age = now.saturating_duration_since(entry.since);
        if entry.generation != generation || age >= FRESH_FOR {
            known.remove(hash);
            return Remembered::Nothing;
        }
        if age >= ASK_AGAIN_AFTER && !entry.asking {
            entry.asking = true;
            return Remembered::Aging(entry.caller.clone());
        }
        Remembered::Fresh(entry.caller.clone())
    }

    /// `generation` is the one from before the database was asked.
    pub(crate) fn put(&self, hash: TokenHash, caller: Arc<Caller>, generation: u64, now: Instant) {
        let mut known = self.0.lock();
        if known.len() >= MOST && !known.contains_key(&hash) {
            known.retain(|_, entry| now.saturating_duration_since(entry.since) < FRESH_FOR);
            if known.len() >= MOST {
                known.clear();
            }
        }
        known.insert(hash, Known { caller, since: now, generation, asking: false });
    }

    pub(crate) fn remove(&self, hash: &TokenHash) {
        self.0.lock().remove(hash);
    }
}
