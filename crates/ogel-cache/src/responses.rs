//! Answers kept for a short time: in this process (L1) and, where there is one, in Redis (L2).
//!
//! An entry is kept under its scope, its name, and the epochs that its tags had *before* it was read. Whoever changes
//! something gives the tags a new epoch, here at once and everywhere by pub/sub; entries of another epoch are never
//! found again. So a read that began before a change can not bring it back, whichever process it ran in. The scope is the
//! tenant: nothing is found without it.
//!
//! Next: `responses/entry.rs`, what is kept; `responses/tag.rs`, what an answer depends on; `responses/token.rs`, how a
//! writer's next read sees the write.

mod entry;
mod tag;
mod token;

pub use entry::Entry;
pub use tag::Tag;
pub use token::Token;

use crate::{Event, Shared, Unavailable};
use foldhash::fast::RandomState;
use moka::{future, policy::EvictionPolicy, sync};
use parking_lot::Mutex;
use std::{
    borrow::Cow,
    collections::BTreeMap,
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Whose answer to what.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The tenant.
    pub scope: Arc<str>,
    /// Class of caller, route, and query in one spelling.
    pub name: Arc<str>,
}

/// For how long an answer is what.
#[derive(Clone, Copy, Debug)]
pub struct Lifetimes {
    pub fresh: Duration,
    /// That there is no such thing.
    pub negative: Duration,
    /// Beyond that: given out while a newer one is fetched.
    pub while_revalidating: Duration,
    /// Beyond that: given out when none can be fetched.
    pub if_error: Duration,
}

/// What is in memory.
#[derive(Clone, Debug)]
pub enum Look {
    Fresh(Arc<Entry>),
    /// May be given out while a newer one is fetched.
    Aging(Arc<Entry>),
    /// May be given out if none can be fetched.
    Old(Arc<Entry>),
    Nothing,
}

/// How often what happened.
#[derive(Debug, Default)]
pub struct Counts {
    pub hits: AtomicU64,
    pub shared_hits: AtomicU64,
    pub misses: AtomicU64,
    pub stale: AtomicU64,
}

/// While other replicas are not heard, an answer is trusted no longer than this.
const DEAF: Duration = Duration::from_secs(1);
/// Epochs and answers that are larger, or more, are not kept.
const MOST_EPOCHS: u64 = 200_000;
const LARGEST: usize = 1 << 20;
/// Changes that Redis has not been told of yet.
const MOST_UNTOLD: usize = 4096;
/// An epoch is forgotten when nothing kept under it can be left.
const EPOCHS_KEPT: Duration = Duration::from_secs(3600);

type Epochs = Box<[u64]>;
/// What others are still to be told, by scope and tag.
type Untold = BTreeMap<(Box<str>, Box<str>), u64>;

pub struct Responses {
    shared: Shared,
    entries: sync::Cache<Key, Arc<Entry>, RandomState>,
    epochs: sync::Cache<(Arc<str>, Box<str>), u64>,
    /// Grows with every new epoch, so that what was found to hold need not be looked at again until something changes.
    changes: AtomicU64,
    /// Reads under way: of what, and whether a kept answer will do.
    flights: future::Cache<(Key, Epochs, bool), Arc<Entry>>,
    /// Tokens of writes that no Redis knows, with the tag they were seen for, so that each counts once.
    seen: sync::Cache<(Token, Cow<'static, str>), ()>,
    untold: Mutex<Untold>,
    pub counts: Counts,
}

impl Responses {
    /// Holds at most `max_bytes` in this process.
    pub fn new(shared: Shared, max_bytes: u64) -> Self {
        let weight = |key: &Key, entry: &Arc<Entry>| {
            u32::try_from(256 + key.name.len() + key.scope.len() + entry.body.len()).unwrap_or(u32::MAX)
        };
        Self {
            shared,
            entries: sync::Cache::builder()
                .max_capacity(max_bytes)
                .weigher(weight)
                .build_with_hasher(RandomState::default()),
            // The one unused for longest makes room: nothing kept under it is young any more. By how often they are used, a
            // change of what is seldom looked at would find no room, and not count.
            epochs: sync::Cache::builder()
                .max_capacity(MOST_EPOCHS)
                .eviction_policy(EvictionPolicy::lru())
                .time_to_idle(EPOCHS_KEPT)
                .build(),
            changes: AtomicU64::new(1),
            flights: future::Cache::builder().max_capacity(100_000).time_to_live(Duration::from_secs(1)).build(),
            seen: sync::Cache::builder().max_capacity(10_000).time_to_live(Duration::from_secs(60)).build(),
            untold: Mutex::default(),
            counts: Counts::default(),
        }
    }

    fn known(&self, scope: &Arc<str>, tag: &str) -> u64 {
        self.epochs.get(&(scope.clone(), tag.into())).unwrap_or_default()
    }

    fn raise(&self, scope: &Arc<str>, tag: &str, epoch: u64) {
        if epoch <= self.known(scope, tag) {
            return;
        }
        let newer = |known: Option<moka::Entry<_, u64>>| known.map_or(epoch, |known| epoch.max(known.into_value()));
        self.epochs.entry((scope.clone(), tag.into())).and_upsert_with(newer);
        // After the epoch: whoever sees this sees that.
        self.changes.fetch_add(1, Ordering::Release);
    }

    /// Whether nothing that the entry was read from has changed since.
    fn holds(&self, entry: &Entry, scope: &Arc<str>, tags: &[Tag]) -> bool {
        // Before the epochs: what changes while they are looked at is a later change.
        let change = self.changes.load(Ordering::Acquire);
        if entry.holds_at.load(Ordering::Relaxed) == change {
            return true;
        }
        let holds = entry.is_of(tags.iter().map(|tag| self.known(scope, &tag.name())));
        if holds {
            entry.holds_at.store(change, Ordering::Relaxed);
        }
        holds
    }

    fn epochs_of(&self, scope: &Arc<str>, tags: &[Tag]) -> Epochs {
        tags.iter().map(|tag| self.known(scope, &tag.name())).collect()
    }

    /// What is in memory: no wait, no trip.
    pub fn look(&self, key: &Key, tags: &[Tag], now_ms: u64, lifetimes: &Lifetimes) -> Look {
        let Some(entry) = self.entries.get(key) else { return Look::Nothing };
        if !self.holds(&entry, &key.scope, tags) {
            return Look::Nothing;
        }
        let age = Duration::from_millis(now_ms.saturating_sub(entry.filled_ms));
        let mut fresh = if entry.is_negative() { lifetimes.negative } else { lifetimes.fresh };
        if self.shared.as_redis().is_some_and(|redis| !redis.is_hearing()) {
            fresh = fresh.min(DEAF);
        }
        match age {
            age if age < fresh => Look::Fresh(entry),
            // That something was not there is not worth repeating.
            _ if entry.is_negative() => Look::Nothing,
            age if age < fresh + lifetimes.while_revalidating => Look::Aging(entry),
            age if age < fresh + lifetimes.while_revalidating + lifetimes.if_error => Look::Old(entry),
            _ => Look::Nothing,
        }
    }

    /// Fetches the answer, from Redis or by `read`: once for all who ask at the same time, on whatever thread. When the one
    /// who reads goes away, one of those who wait reads instead. Says whether Redis had it.
    pub async fn fetch<E: Send + Sync + 'static>(
        self: &Arc<Self>,
        key: &Key,
        tags: &[Tag],
        now_ms: u64,
        lifetimes: &Lifetimes,
        only_new: bool,
        read: impl Future<Output = Result<Entry, E>>,
    ) -> Result<Arc<Entry>, Arc<E>> {
        let epochs = self.epochs_of(&key.scope, tags);
        let flight = (key.clone(), epochs, only_new);
        // Pinned here: the cache would move all of what reads from layer to layer, and have room for it in each.
        let read = pin!(read);
        let once = pin!(self.fetch_once(key, tags, now_ms, lifetimes, only_new, read));
        let result = self.flights.try_get_with(flight.clone(), once).await;
        self.flights.invalidate(&flight).await;
        result
    }

    async fn fetch_once<E>(
        self: &Arc<Self>,
        key: &Key,
        tags: &[Tag],
        now_ms: u64,
        lifetimes: &Lifetimes,
        only_new: bool,
        read: impl Future<Output = Result<Entry, E>>,
    ) -> Result<Arc<Entry>, E> {
        let names = names(tags);
        if let Some(redis) = self.shared.as_redis()
            && let Ok(found) = redis.find(&key.scope, &names, &key.name).await
        {
            for (name, epoch) in names.iter().zip(&found.epochs) {
                self.raise(&key.scope, name, *epoch);
            }
            let fresh = |entry: &Entry| {
                let fresh = if entry.is_negative() { lifetimes.negative } else { lifetimes.fresh };
                now_ms.saturating_sub(entry.filled_ms) < u64::try_from(fresh.as_millis()).unwrap_or(u64::MAX)
            };
            let entry = found.value.as_ref().and_then(Entry::decode).filter(fresh).filter(|_| !only_new);
            if let Some(entry) = entry.filter(|entry| entry.is_of(self.epochs_of(&key.scope, tags).iter().copied())) {
                self.counts.shared_hits.fetch_add(1, Ordering::Relaxed);
                let entry = Arc::new(entry);
                self.entries.insert(key.clone(), entry.clone());
                return Ok(entry);
            }
        }
        // Before the read: what changes meanwhile is newer than what it finds.
        let epochs = self.epochs_of(&key.scope, tags);
        let entry = Arc::new(Entry { epochs: epochs.clone(), filled_ms: now_ms, ..read.await? });
        self.counts.misses.fetch_add(1, Ordering::Relaxed);
        if entry.body.len() > LARGEST {
            return Ok(entry);
        }
        self.entries.insert(key.clone(), entry.clone());
        if let Some(redis) = self.shared.as_redis() {
            let (redis, key, kept) = (redis.clone(), key.clone(), entry.clone());
            let life = if entry.is_negative() { lifetimes.negative } else { lifetimes.fresh };
            // Nobody waits for it; lost, it costs another read.
            tokio::spawn(async move {
                let tags: Vec<_> = names.into_iter().zip(epochs).collect();
                let _ = redis.keep(&key.scope, &tags, &key.name, &kept.encode(), life).await;
            });
        }
        Ok(entry)
    }

    /// What is tagged like this in the scope has changed: nobody gets an older answer any more, here from now on,
    /// elsewhere as soon as they hear of it. The token is for the writer's next read.
    pub async fn advance(&self, scope: &Arc<str>, tags: &[Tag], now_ms: u64) -> Token {
        let names = names(tags);
        let above = names.iter().map(|name| self.known(scope, name) + 1).max().unwrap_or_default();
        let mut epoch = above.max(now_ms);
        for name in &names {
            self.raise(scope, name, epoch);
        }
        // Alone, there is nobody who would put writes of several processes in order.
        let mut is_shared = self.shared.as_redis().is_some();
        if let Some(redis) = self.shared.as_redis() {
            match redis.advance(scope, &names, epoch, false).await {
                Ok(higher) => {
                    epoch = higher;
                    for name in &names {
                        self.raise(scope, name, epoch);
                    }
                }
                Err(Unavailable) => {
                    is_shared = false;
                    let mut untold = self.untold.lock();
                    for name in &names {
                        if untold.len() < MOST_UNTOLD {
                            untold.insert((scope.as_ref().into(), name.as_ref().into()), epoch);
                        }
                    }
                }
            }
        }
        Token::new(scope, &names, epoch, is_shared)
    }

    /// A caller has seen this write, so they get nothing older of what is tagged like this. Only for a scope they may see. A
    /// token is the caller's to write: what else it names is not remembered.
    pub fn observe(&self, token: &Token, tags: &[Tag]) {
        let scope: Arc<str> = token.scope().into();
        for name in names(tags).into_iter().filter(|name| token.tags().any(|tag| tag == name)) {
            if token.is_shared() {
                self.raise(&scope, &name, token.epoch());
                continue;
            }
            // Clocks differ, and no Redis has put this write in order: everything from before now is too old.
            let after = token.epoch().max(self.known(&scope, &name) + 1);
            let seen = (token.clone(), name);
            if !self.seen.contains_key(&seen) {
                self.raise(&scope, &seen.1, after);
                self.seen.insert(seen, ());
            }
        }
    }

    /// What another replica, or the way to it, says.
    pub fn hear(&self, event: &Event) {
        match event {
            Event::Changed { scope, epoch, tags } => {
                let scope: Arc<str> = scope.as_ref().into();
                for tag in tags {
                    self.raise(&scope, tag, *epoch);
                }
            }
            Event::Missed => {
                self.entries.invalidate_all();
                self.epochs.invalidate_all();
                self.changes.fetch_add(1, Ordering::Release);
            }
            Event::Signal { .. } => {}
        }
    }

    /// Tells Redis of the changes it could not be told of; for a background task. True when nothing is left.
    pub async fn tell(&self) -> bool {
        let Some(redis) = self.shared.as_redis() else { return true };
        loop {
            let Some(((scope, tag), epoch)) =
                self.untold.lock().first_key_value().map(|(key, epoch)| (key.clone(), *epoch))
            else {
                return true;
            };
            match redis.advance(&scope, &[&*tag], epoch, true).await {
                Ok(higher) => {
                    self.raise(&scope.as_ref().into(), &tag, higher);
                    self.untold.lock().remove(&(scope, tag));
                }
                Err(Unavailable) => return false,
            }
        }
    }

    /// Entries and bytes in memory, as far as is known now.
    pub fn size(&self) -> (u64, u64) {
        (self.entries.entry_count(), self.entries.weighted_size())
    }
}

fn names(tags: &[Tag]) -> Vec<Cow<'static, str>> {
    tags.iter().map(|tag| tag.name()).collect()
}
