//! What one data-plane thread remembers of the database: nothing here is waited for, and nothing that has changed since is
//! given out ([`crate::identities`]). The lock is that thread's but for what works for one of its requests elsewhere.

use crate::identities::{Identities, KEPT, Version};
use foldhash::fast::RandomState;
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    hash::Hash,
    time::{Duration, Instant},
};
use uuid::Uuid;

/// Things one thread remembers of a kind.
const MOST: usize = 8192;

pub(crate) struct Memory<K, V>(Mutex<HashMap<K, Known<V>, RandomState>>);

struct Known<V> {
    value: V,
    since: Instant,
    /// Nothing has changed up to this version.
    asked: Version,
}

impl<K, V> Default for Memory<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, V> Memory<K, V> {
    /// What `take` makes of what is remembered and of its age, unless something about `subjects` has changed meanwhile. What
    /// it makes nothing of is forgotten.
    pub(crate) fn get<T, const N: usize>(
        &self,
        key: &K,
        (identities, now): (&Identities, Instant),
        subjects: impl FnOnce(&V) -> [Uuid; N],
        take: impl FnOnce(&mut V, Duration) -> Option<T>,
    ) -> Option<T> {
        let mut known = self.0.lock();
        let entry = known.get_mut(key)?;
        let age = now.saturating_duration_since(entry.since);
        let asked = identities.holds(entry.asked, &subjects(&entry.value)).filter(|_| age < KEPT);
        let taken = asked.and_then(|asked| {
            // Quicker to say the next time.
            entry.asked = asked;
            take(&mut entry.value, age)
        });
        if taken.is_none() {
            known.remove(key);
        }
        taken
    }

    /// `asked` is the version from before the database was asked.
    pub(crate) fn put(&self, key: K, value: V, asked: Version, now: Instant) {
        let mut known = self.0.lock();
        if known.len() >= MOST && !known.contains_key(&key) {
            // The half that was asked longest ago makes room: seldom, and never for all of those who call now.
            let mut asked: Vec<_> = known.values().map(|entry| entry.since).collect();
            let (_, middle, _) = asked.select_nth_unstable(MOST / 2);
            known.retain(|_, entry| entry.since > *middle);
        }
        known.insert(key, Known { value, since: now, asked });
    }

    pub(crate) fn remove(&self, key: &K) {
        self.0.lock().remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_longest_ago_makes_room() {
        let (identities, start) = (Identities::default(), Instant::now());
        let (memory, asked) = (Memory::default(), identities.version());
        let most = u64::try_from(MOST).unwrap();
        let at = |number| start + Duration::from_millis(number);
        for number in 0..=most {
            memory.put(number, number, asked, at(number));
        }
        let get = |key| memory.get(&key, (&identities, at(most)), |_| [Uuid::nil()], |value, _| Some(*value));
        assert_eq!((get(0), get(most / 2)), (None, None));
        assert_eq!((get(most / 2 + 1), get(most)), (Some(most / 2 + 1), Some(most)));
    }

    #[test]
    fn what_has_changed_or_is_too_old_is_not_given_out() {
        let (identities, now) = (Identities::default(), Instant::now());
        let (memory, ada) = (Memory::default(), Uuid::from_u128(1));
        let get = |now| memory.get(&"key", (&identities, now), |_| [ada], |value, _| Some(*value));
        memory.put("key", 1, identities.version(), now);
        identities.forget(Uuid::from_u128(2));
        assert_eq!(get(now), Some(1), "somebody else has changed");
        identities.forget(ada);
        assert_eq!(get(now), None);
        memory.put("key", 2, identities.version(), now);
        assert_eq!(get(now + KEPT), None);
        assert_eq!(get(now), None, "what was too old is forgotten");
    }
}
