//! Time, ids and randomness as part of the state, so that a test can hold them still.

use chrono::{DateTime, SubsecRound as _, Utc};
use parking_lot::Mutex;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use uuid::Uuid;

/// Where "now" comes from. Whole milliseconds: what is stored is what the wire shows.
#[derive(Clone)]
pub enum Clock {
    /// The machine's.
    System,
    /// Stands still until it is told otherwise.
    Manual(Arc<Mutex<DateTime<Utc>>>),
}

impl Clock {
    /// A clock that a test turns by hand.
    pub fn manual(at: DateTime<Utc>) -> Self {
        Self::Manual(Arc::new(Mutex::new(at.trunc_subsecs(3))))
    }

    pub fn now(&self) -> DateTime<Utc> {
        match self {
            #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the machine's clock")]
            Self::System => Utc::now().trunc_subsecs(3),
            Self::Manual(at) => *at.lock(),
        }
    }

    /// Moves a manual clock; the machine's cannot be moved.
    pub fn advance(&self, by: chrono::TimeDelta) {
        if let Self::Manual(at) = self {
            *at.lock() += by;
        }
    }
}

/// Where randomness comes from: the operating system, or a seed in tests.
#[derive(Clone)]
pub enum Entropy {
    System,
    /// Repeatable, never for production: SplitMix64 over a counter.
    Seeded(Arc<AtomicU64>),
}

impl Entropy {
    pub fn seeded(seed: u64) -> Self {
        Self::Seeded(Arc::new(AtomicU64::new(seed)))
    }

    /// `N` random bytes.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        match self {
            Self::System => getrandom::fill(&mut bytes).expect("an operating system without randomness cannot run us"),
            Self::Seeded(_) => {
                for chunk in bytes.chunks_mut(8) {
                    chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
                }
            }
        }
        bytes
    }

    /// One random number.
    pub fn next(&self) -> u64 {
        match self {
            Self::System => u64::from_le_bytes(self.bytes()),
            Self::Seeded(state) => {
                let mut z = state.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
                z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                z ^ (z >> 31)
            }
        }
    }
}

/// Clock and randomness together, and the ids made from both.
#[derive(Clone)]
pub struct World {
    pub clock: Clock,
    pub entropy: Entropy,
}

impl World {
    /// The real one.
    pub fn system() -> Self {
        Self { clock: Clock::System, entropy: Entropy::System }
    }

    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// A fresh UUIDv7: sorts by time of creation.
    pub fn uuid(&self) -> Uuid {
        let millis = self.now().timestamp_millis().max(0).unsigned_abs();
        uuid::Builder::from_unix_timestamp_millis(millis, &self.entropy.bytes()).into_uuid()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seeded_world_repeats_itself_and_ids_sort_by_time() {
        let at = DateTime::UNIX_EPOCH + chrono::TimeDelta::days(20_000);
        let world = || World { clock: Clock::manual(at), entropy: Entropy::seeded(7) };
        let (a, b) = (world(), world());
        assert_eq!(a.uuid(), b.uuid());
        let earlier = a.uuid();
        a.clock.advance(chrono::TimeDelta::milliseconds(1));
        assert!(a.uuid() > earlier);
        assert_eq!(a.uuid().get_version_num(), 7);
    }
}
