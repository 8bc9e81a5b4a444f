//! Callers in memory: a hot caller costs no database trip. What is revoked here ends at once, what is revoked elsewhere
//! within a second ([`crate::identities`]).
//!
//! Two levels. Each data-plane thread keeps the callers it has seen ([`ThreadCallers`], no lock another thread holds);
//! behind them [`Callers`] makes sure that many requests of one caller ask the database once.

use crate::{
    caller::Caller,
    error::Failure,
    identities::{Identities, Version},
    memory::Memory,
    secrets::TokenHash,
};
use ogel_api::id::UserId;
use std::{
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

/// What one thread remembers.
#[derive(Default)]
pub(crate) struct ThreadCallers(Memory<TokenHash, Known>);

struct Known {
    caller: Arc<Caller>,
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
        let subjects = |known: &Known| [known.caller.user.id.0];
        let found = self.0.get(hash, (identities, now), subjects, |known, age| {
            let is_row = known.caller.studio.as_ref().is_some_and(|studio| studio.is_row);
            if is_row && age >= ROW_KEPT {
                return None;
            }
            if age >= ASK_AGAIN_AFTER + SPREAD * u32::from(hash[0]) / 256 && !known.asking {
                known.asking = true;
                return Some(Remembered::Aging(known.caller.clone()));
            }
            Some(Remembered::Fresh(known.caller.clone()))
        });
        found.unwrap_or(Remembered::Nothing)
    }

    /// `asked` is the version from before the database was asked.
    pub(crate) fn put(&self, hash: TokenHash, caller: Arc<Caller>, asked: Version, now: Instant) {
        self.0.put(hash, Known { caller, asking: false }, asked, now);
    }

    pub(crate) fn remove(&self, hash: &TokenHash) {
        self.0.remove(hash);
    }
}
