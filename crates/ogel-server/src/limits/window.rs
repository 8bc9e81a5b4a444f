//! One counter of a sliding window, in one word, so that threads count together without a lock.
//!
//! Two fixed windows, the earlier one weighed by how much of it the sliding window still covers. At the border of two
//! windows this can be wrong by what came unevenly in the earlier one; it never admits more than the limit within a
//! fixed window. A refused request is not counted: whoever keeps knocking is let in as soon as their turn comes. A request that
//! looked at its clock in the window before counts in the one that others have begun since, as if it had come at its start.

#[cfg(loom)]
use loom::sync::atomic::{AtomicU64, Ordering};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicU64, Ordering};

/// What a window says of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    pub allowed: bool,
    pub limit: u64,
    /// How many more would be let in now.
    pub remaining: u64,
    /// Milliseconds until one more is let in, if none is now; else until the current window ends.
    pub reset_ms: u64,
}

/// The number of the current window in 16 bits, what the one before it counted in 24, what this one has in 24.
#[derive(Debug, Default)]
pub struct Window(AtomicU64);

/// The highest limit a window can hold.
pub const MAX_LIMIT: u64 = (1 << 24) - 1;

impl Window {
    /// Counts one request at `now_ms` if fewer than `limit` came in the last `length_ms`.
    pub fn take(&self, now_ms: u64, length_ms: u64, limit: u64) -> Decision {
        let (limit, length_ms) = (limit.min(MAX_LIMIT), length_ms.max(1));
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            let at = if is_next(word, now_ms / length_ms) { (now_ms / length_ms + 1) * length_ms } else { now_ms };
            let (number, elapsed) = (at / length_ms, at % length_ms);
            let (before, current) = counts(word, number);
            let used = weighed(before, length_ms, elapsed) + current;
            if used >= limit {
                let reset_ms = at - now_ms + until_free(before, current, limit, length_ms, elapsed);
                return Decision { allowed: false, limit, remaining: 0, reset_ms };
            }
            let next = (number & 0xffff) << 48 | before << 24 | (current + 1);
            match self.0.compare_exchange_weak(word, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => {
                    let remaining = limit - used - 1;
                    return Decision { allowed: true, limit, remaining, reset_ms: at - now_ms + length_ms - elapsed };
                }
                Err(newer) => word = newer,
            }
        }
    }

    /// One that was counted and not used after all.
    pub fn give_back_at(&self, now_ms: u64, length_ms: u64) {
        let number = (now_ms / length_ms.max(1)) & 0xffff;
        let one_less = |word: u64| (word >> 48 == number && word & MAX_LIMIT > 0).then(|| word - 1);
        // Of a window that is over it makes no difference.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
    }
}

/// What the earlier window counts for when `elapsed` of the current one is over.
pub(super) fn weighed(before: u64, length_ms: u64, elapsed: u64) -> u64 {
    (before * (length_ms - elapsed)).div_ceil(length_ms)
}

/// Whether the word is of the window after `number`.
fn is_next(word: u64, number: u64) -> bool {
    word >> 48 == (number + 1) & 0xffff && word & ((1 << 48) - 1) != 0
}

/// What the window before `number` and `number` itself have counted.
fn counts(word: u64, number: u64) -> (u64, u64) {
    let (stored, before, current) = (word >> 48, (word >> 24) & MAX_LIMIT, word & MAX_LIMIT);
    match (number & 0xffff).wrapping_sub(stored) & 0xffff {
        0 => (before, current),
        1 => (current, 0),
        _ => (0, 0),
    }
}

/// Milliseconds until the weighed sum leaves room for one.
pub(super) fn until_free(before: u64, current: u64, limit: u64, length: u64, elapsed: u64) -> u64 {
    // `count` in the earlier window weighs at most `room` once this much of the sliding window has passed it.
    let passed = |count: u64, room: u64| length - (room * length / count.max(1)).min(length);
    if current < limit {
        return passed(before, limit - 1 - current).saturating_sub(elapsed).max(1);
    }
    // Not in this window: in the next one, in which what this one counted is the earlier.
    (length - elapsed + passed(current, limit.saturating_sub(1))).max(1)
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use loom::{sync::Arc, thread};

    const LENGTH: u64 = 10;

    /// Two threads around a border, in every order: the late one forgets nothing of what the other has counted.
    #[test]
    fn threads_around_a_border_admit_the_limit() {
        loom::model(|| {
            let window = Arc::new(Window::default());
            assert!(window.take(LENGTH - 1, LENGTH, 2).allowed);
            let late = {
                let window = window.clone();
                thread::spawn(move || u32::from(window.take(LENGTH - 1, LENGTH, 2).allowed))
            };
            let early = (0..2).filter(|_| window.take(LENGTH, LENGTH, 2).allowed).count() as u32;
            let admitted = 1 + early + late.join().unwrap();
            assert!(admitted <= 2, "{admitted} within one window's length");
            assert_eq!(u32::from(window.take(LENGTH, LENGTH, 2).allowed), 2 - admitted);
        });
    }

    #[test]
    fn what_is_given_back_is_one_and_never_more() {
        loom::model(|| {
            let window = Arc::new(Window::default());
            assert!(window.take(0, LENGTH, 2).allowed);
            let gives = {
                let window = window.clone();
                thread::spawn(move || window.give_back_at(0, LENGTH))
            };
            let taken = (0..2).filter(|_| window.take(0, LENGTH, 2).allowed).count();
            gives.join().unwrap();
            let rest = (0..2).filter(|_| window.take(0, LENGTH, 2).allowed).count();
            assert_eq!(taken + rest, 2);
        });
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const LENGTH: u64 = 10_000;

    fn admitted(window: &Window, at: u64, tries: u64, limit: u64) -> u64 {
        (0..tries).filter(|_| window.take(at, LENGTH, limit).allowed).count() as u64
    }

    #[test]
    fn a_window_admits_exactly_its_limit() {
        let window = Window::default();
        assert_eq!(admitted(&window, 1_000_000, 50, 10), 10);
        let refused = window.take(1_000_000, LENGTH, 10);
        assert_eq!(refused, Decision { allowed: false, limit: 10, remaining: 0, reset_ms: 11_000 });
        assert_eq!(admitted(&window, 1_000_000 + 2 * LENGTH, 50, 10), 10);
    }

    #[test]
    fn what_came_before_weighs_less_as_the_window_slides() {
        let window = Window::default();
        assert_eq!(admitted(&window, 9_999, 50, 10), 10);
        assert_eq!(admitted(&window, 10_000, 50, 10), 0);
        assert_eq!(admitted(&window, 15_000, 50, 10), 5);
        assert_eq!(admitted(&window, 20_000, 50, 10), 5);
    }

    #[test]
    fn the_time_named_by_a_refusal_is_exact() {
        for (limit, first) in [(10, 0), (10, 3), (1, 0), (7, 6), (100, 50)] {
            let window = Window::default();
            admitted(&window, 3_000, first, limit);
            let mut now = 14_321;
            for _ in 0..30 {
                admitted(&window, now, limit, limit);
                let refused = window.take(now, LENGTH, limit);
                assert!(!refused.allowed);
                assert!(!window.take(now + refused.reset_ms - 1, LENGTH, limit).allowed, "{limit} {first} {now}");
                now += refused.reset_ms;
                assert!(window.take(now, LENGTH, limit).allowed, "{limit} {first} {now}");
            }
        }
    }

    #[test]
    fn what_is_given_back_can_be_taken_again_in_its_own_window() {
        let window = Window::default();
        assert_eq!(admitted(&window, 5_000, 10, 10), 10);
        window.give_back_at(5_000, LENGTH);
        assert_eq!(admitted(&window, 5_000, 10, 10), 1);
        window.give_back_at(5_000 + LENGTH, LENGTH);
        assert_eq!(admitted(&window, 5_000, 10, 10), 0, "of another window");
    }

    #[test]
    fn threads_count_together() {
        let window = Window::default();
        let total: u64 = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| admitted(&window, 5_000, 10_000, 777))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(total, 777);
    }

    #[test]
    fn whoever_is_late_counts_in_the_window_that_has_begun_since() {
        let window = Window::default();
        assert_eq!(admitted(&window, 9_999, 4, 10), 4);
        assert_eq!(admitted(&window, 10_000, 50, 10), 6);
        // This thread looked at its clock a moment before.
        let late = window.take(9_999, LENGTH, 10);
        assert_eq!((late.allowed, late.reset_ms), (false, window.take(10_000, LENGTH, 10).reset_ms + 1));
        assert_eq!(admitted(&window, 10_000, 50, 10), 0, "and forgets nothing of it");
        // A clock that was set back further is no late thread.
        assert_eq!(admitted(&window, 100_000, 50, 10), 10);
        assert_eq!(admitted(&window, 40_000, 50, 10), 10);
    }

    proptest::proptest! {
        /// However requests come, and however late threads act on what their clock said: what is admitted into a fixed window is
        /// the limit at most, and nobody is refused while the sliding window has room.
        #[test]
        fn a_window_admits_its_limit_at_most_whoever_is_late(
            limit in 1_u64..20,
            steps in proptest::collection::vec((0_u64..3_000, 0_u64..500), 1..300),
        ) {
            let (window, mut now, mut begun) = (Window::default(), 1_000_000, 0);
            let mut admitted = std::collections::BTreeMap::<u64, u64>::new();
            for (step, late) in steps {
                now += step;
                let looked = now - late;
                let decision = window.take(looked, LENGTH, limit);
                let number = (looked / LENGTH).max(begun);
                let (before, here) = (admitted.get(&(number - 1)).copied(), admitted.get(&number).copied());
                let elapsed = looked.saturating_sub(number * LENGTH);
                let used = weighed(before.unwrap_or_default(), LENGTH, elapsed) + here.unwrap_or_default();
                proptest::prop_assert_eq!(decision.allowed, used < limit);
                if decision.allowed {
                    begun = number;
                    *admitted.entry(number).or_default() += 1;
                }
            }
            proptest::prop_assert!(admitted.values().all(|count| *count <= limit), "{:?}", admitted);
        }
    }

    #[test]
    fn a_window_left_alone_for_long_starts_afresh() {
        let window = Window::default();
        admitted(&window, 5_000, 10, 10);
        assert_eq!(admitted(&window, 5_000 + 1_000 * LENGTH, 50, 10), 10);
    }
}
