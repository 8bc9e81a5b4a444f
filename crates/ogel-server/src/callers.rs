//! Callers in memory: a hot caller costs no database trip. What is revoked here ends at once, what is revoked elsewhere
//! within a second ([`crate::identities`]).
//!
//! Two levels. Each data-plane thread keeps the callers it has seen ([`ThreadCallers`], no lock another thread holds);
//! behind them [`Callers`] makes sure that many requests of one caller ask the database once.

use crate::{
    caller::Caller,
    error::Failure,
    identities::{Identities, KEPT, Version},
    secrets::TokenHash,
};
use ogel_api::id::UserId;
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    future::Future,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

/// How long an answer of the database is shared between threads.
const SHARED_FOR: Duration = Duration::from_millis(200);
/// From here on, and up to [`SPREAD`] later, a thread asks again beside the request, so that a busy caller never waits for
/// the answer. Nothing has changed then; but nothing is believed for ever.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(80);
/// By the credential, so that those who came together do not all come again together.
const SPREAD: Duration = Duration::from_secs(30);
/// How long somebody is remembered whose session is a row of Studio's: nothing tells us when Studio removes it.
const ROW_KEPT: Duration = Duration::from_secs(2);
/// Callers one thread remembers.
const MOST: usize = 8192;

/// What many threads share.
pub struct Callers {
    found: moka::future::Cache<TokenHash, Found>,
    identities: Arc<Identities>,
}

/// An answer of the database, and from before which version of things it is.
#[derive(Clone)]
pub(crate) struct Found {
    pub(crate) caller: Option<Arc<Caller>>,
    pub(crate) asked: Version,
}

impl Callers {
    pub(crate) fn new(identities: Arc<Identities>) -> Self {
        let found = moka::future::Cache::builder().max_capacity(100_000).time_to_live(SHARED_FOR).build();
        Self { found, identities }
    }

    /// The caller with this credential; `look_up` runs once for all who ask at the same time. Control plane only.
    pub(crate) async fn find(
        &self,
        hash: TokenHash,
        look_up: impl Future<Output = Result<Option<Caller>, Failure>>,
    ) -> Result<Found, Failure> {
        let look_up = pin!(async {
            let asked = self.identities.version();
            Ok(Found { caller: look_up.await?.map(Arc::new), asked })
        });
        self.found.try_get_with(hash, look_up).await.map_err(crate::bridge::shared)
    }

    /// Something about this person changed: their name, their credentials, where they belong.
    pub fn forget(&self, user: UserId) {
        self.identities.forget(user.0);
    }

    /// The shared answer is too old.
    pub(crate) async fn drop_shared(&self, hash: &TokenHash) {
        self.found.invalidate(hash).await;
    }

    /// Nobody is remembered any more: something about many callers changed.
    pub fn forget_all(&self) {
        self.found.invalidate_all();
        self.identities.forget_all();
    }
}

/// What one thread remembers. The lock is that thread's alone.
#[derive(Default)]
pub(crate) struct ThreadCallers(Mutex<HashMap<TokenHash, Known>>);

struct Known {
    caller: Arc<Caller>,
    since: Instant,
    asked: Version,
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
    pub(crate) fn get(&self, hash: &TokenHash, identities: &Identities, now: Instant) -> Remembered {
        let mut known = self.0.lock();
        let Some(entry) = known.get_mut(hash) else { return Remembered::Nothing };
        let age = now.saturating_duration_since(entry.since);
        let holds = identities.holds(entry.asked, &[entry.caller.user.id.0]);
        let is_row = entry.caller.studio.as_ref().is_some_and(|studio| studio.is_row);
        let Some(asked) = holds.filter(|_| age < if is_row { ROW_KEPT } else { KEPT }) else {
            known.remove(hash);
            return Remembered::Nothing;
        };
        entry.asked = asked;
        if age >= ASK_AGAIN_AFTER + SPREAD * u32::from(hash[0]) / 256 && !entry.asking {
            entry.asking = true;
            return Remembered::Aging(entry.caller.clone());
        }
        Remembered::Fresh(entry.caller.clone())
    }

    /// `asked` is the version from before the database was asked.
    pub(crate) fn put(&self, hash: TokenHash, caller: Arc<Caller>, asked: Version, now: Instant) {
        let mut known = self.0.lock();
        if known.len() >= MOST && !known.contains_key(&hash) {
            known.retain(|_, entry| now.saturating_duration_since(entry.since) < KEPT);
            if known.len() >= MOST {
                known.clear();
            }
        }
        known.insert(hash, Known { caller, since: now, asked, asking: false });
    }

    pub(crate) fn remove(&self, hash: &TokenHash) {
        self.0.lock().remove(hash);
    }
}
