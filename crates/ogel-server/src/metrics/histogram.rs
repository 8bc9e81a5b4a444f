//! Durations in fixed buckets.

use super::Counter;
use std::time::Duration;

/// Upper bounds in microseconds; what is longer is in a last bucket without bound.
pub(super) const BOUNDS_US: [u64; 16] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    10_000_000, 30_000_000,
];

#[derive(Default)]
pub struct Histogram {
    buckets: [Counter; BOUNDS_US.len() + 1],
    sum_us: Counter,
}

impl Histogram {
    pub fn observe(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_US.iter().position(|bound| micros <= *bound).unwrap_or(BOUNDS_US.len());
        self.buckets[bucket].add(1);
        self.sum_us.add(micros);
    }

    /// Adds what this one has to the sums.
    pub(super) fn add_to(&self, buckets: &mut [u64; BOUNDS_US.len() + 1], sum_us: &mut u64) {
        for (sum, bucket) in buckets.iter_mut().zip(&self.buckets) {
            *sum += bucket.get();
        }
        *sum_us += self.sum_us.get();
    }
}
