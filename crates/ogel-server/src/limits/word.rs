//! What is left of a share, and of which fixed window, in one word: threads take from it, add to it and turn it to the next
//! window together, without a lock.
//!
//! Windows are named by 32 bits of their number. A request that looked at its clock in the window before counts in the one
//! that others have begun since.

#[cfg(loom)]
use loom::sync::atomic::{AtomicU64, Ordering};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicU64, Ordering};

/// The window's number in the high half, what is left in the low one.
pub(crate) struct Word(AtomicU64);

impl Word {
    /// Of a window that is never now, with nothing left.
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(u64::from(u32::MAX) << 32))
    }

    /// The window that a request of `number` counts in.
    pub(crate) fn window_of(&self, number: u32) -> u32 {
        let (known, _) = halves(self.0.load(Ordering::Relaxed));
        if is_next(known, number) { known } else { number }
    }

    /// How much is left, of whichever window.
    pub(crate) fn left(&self) -> u32 {
        halves(self.0.load(Ordering::Relaxed)).1
    }

    /// One of what is left; answers with what is left then.
    pub(crate) fn take(&self, number: u32) -> Option<u32> {
        let one_less = |word: u64| (halves(word).0 == number && halves(word).1 > 0).then(|| word - 1);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).ok().map(|word| halves(word).1 - 1)
    }

    /// Whoever comes first in a window, and nobody after, gets the last window's number and what remained of it. A clock
    /// that was set back further than a window begins anew.
    pub(crate) fn begin(&self, number: u32) -> Option<(u32, u32)> {
        let fresh = |word: u64| {
            let (known, _) = halves(word);
            (known != number && !is_next(known, number)).then(|| u64::from(number) << 32)
        };
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fresh).ok().map(halves)
    }

    /// More of a window; one that is over needs none of it.
    pub(crate) fn add(&self, number: u32, more: u64) {
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        let added = |word: u64| {
            let (known, left) = halves(word);
            (known == number).then(|| u64::from(number) << 32 | u64::from(left.saturating_add(more)))
        };
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, added);
    }
}

fn is_next(known: u32, number: u32) -> bool {
    known == number.wrapping_add(1)
}

fn halves(word: u64) -> (u32, u32) {
    (u32::try_from(word >> 32).unwrap_or_default(), u32::try_from(word & u64::from(u32::MAX)).unwrap_or_default())
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use loom::{sync::Arc, thread};

    /// Two threads around a border, one of which still believes in the window before; in every order.
    #[test]
    fn each_window_is_begun_once_whoever_is_late() {
        loom::model(|| {
            let word = Arc::new(Word::new());
            assert!(word.begin(7).is_some());
            word.add(7, 2);
            let begun = |word: &Word, number: u32| u32::from(word.begin(word.window_of(number)).is_some());
            let late = {
                let word = word.clone();
                thread::spawn(move || (begun(&word, 7), word.take(word.window_of(7)).is_some()))
            };
            let first = begun(&word, 8);
            let again = begun(&word, 8);
            let (by_late, _) = late.join().unwrap();
            assert_eq!((first, again, by_late), (1, 0, 0), "a window begun twice lets two in on credit");
        });
    }

    #[test]
    fn what_is_taken_was_added_in_the_same_window() {
        loom::model(|| {
            let word = Arc::new(Word::new());
            word.begin(7);
            let adds = {
                let word = word.clone();
                thread::spawn(move || word.add(7, 1))
            };
            let turns = {
                let word = word.clone();
                thread::spawn(move || word.begin(8).map_or(0, |(_, left)| left))
            };
            let taken = u32::from(word.take(7).is_some()) + u32::from(word.take(7).is_some());
            adds.join().unwrap();
            let left_over = turns.join().unwrap();
            // Taken, handed over to the one who began the next window, or added too late for anybody: never twice.
            assert!(taken + left_over <= 1 && word.left() == 0);
        });
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_of_the_window_before_goes_to_whoever_begins_the_next() {
        let word = Word::new();
        assert_eq!(word.begin(7), Some((u32::MAX, 0)));
        word.add(7, 3);
        assert_eq!((word.take(7), word.left()), (Some(2), 2));
        assert_eq!((word.begin(7), word.begin(8), word.begin(8)), (None, Some((7, 2)), None));
        assert_eq!((word.take(7), word.take(8)), (None, None));
        // Whoever is late counts in the window that has begun; a clock that was set back begins anew.
        assert_eq!((word.window_of(7), word.begin(7), word.window_of(6)), (8, None, 6));
        assert_eq!(word.begin(6), Some((8, 0)));
    }
}
