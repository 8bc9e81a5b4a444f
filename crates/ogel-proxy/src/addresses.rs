//! The addresses of one upstream: the less busy of two random ones is taken, and one that fails again and again is
//! left out for a while. Everything is counted in relaxed atomics: an `Upstream` belongs to one thread.
//! Refuses to leave out more than its share, so that a fault of our own cannot take every address away.
//! Next: `pool.rs`, each address's connections.

use crate::{error::UpstreamError, pool::Pool, retry::Random, upstream::Limits};
use http::{HeaderValue, Uri};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::time::Instant;

/// When an address is left out, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct EjectionConfig {
    /// So many failures without an answer between them; 0 switches it off.
    pub consecutive_failures: u32,
    /// The first time; each later one is twice the one before, up to `max_time`. Up to a quarter is taken off by chance.
    pub time: Duration,
    pub max_time: Duration,
    /// Of a hundred addresses, so many may be out at a time.
    pub max_ejected_percent: u8,
}

impl Default for EjectionConfig {
    fn default() -> Self {
        Self {
            consecutive_failures: 5,
            time: Duration::from_secs(2),
            max_time: Duration::from_secs(60),
            max_ejected_percent: 50,
        }
    }
}

pub(crate) struct Address {
    pub(crate) base: Uri,
    pub(crate) host: HeaderValue,
    /// `host:port`, for the log.
    pub(crate) label: Arc<str>,
    pub(crate) pool: Pool,
    /// Requests whose response has not ended.
    pending: AtomicUsize,
    streak: AtomicU32,
    ejections: AtomicU32,
    /// In microseconds since the start; 0 when it is in.
    out_until: AtomicU64,
}

impl Address {
    /// Errors: no scheme, no host.
    pub(crate) fn new(base: Uri, limits: Limits) -> Result<Self, UpstreamError> {
        let host = base.authority().map(|a| a.as_str().rsplit('@').next().unwrap_or_default().to_owned());
        let host = host.filter(|_| base.scheme().is_some()).unwrap_or_default();
        if host.is_empty() {
            return Err(UpstreamError::protocol("the upstream's address has no scheme and host"));
        }
        let label = match base.port_u16() {
            Some(_) => host.as_str().into(),
            None if base.scheme_str() == Some("https") => format!("{host}:443").into(),
            None => format!("{host}:80").into(),
        };
        let host = HeaderValue::try_from(host).map_err(UpstreamError::protocol)?;
        Ok(Self {
            base,
            host,
            label,
            pool: Pool::new(limits),
            pending: AtomicUsize::new(0),
            streak: AtomicU32::new(0),
            ejections: AtomicU32::new(0),
            out_until: AtomicU64::new(0),
        })
    }

    pub(crate) fn pending(&self) -> usize {
        self.pending.load(Relaxed)
    }

    pub(crate) fn begin(&self) {
        self.pending.fetch_add(1, Relaxed);
    }

    pub(crate) fn end(&self) {
        self.pending.fetch_sub(1, Relaxed);
    }
}

pub(crate) struct Addresses {
    all: Box<[Address]>,
    config: EjectionConfig,
    random: Random,
    start: Instant,
    /// How many were left out and have not answered since.
    out: AtomicUsize,
}

impl Addresses {
    pub(crate) fn new(all: Vec<Address>, config: EjectionConfig, random: Random) -> Self {
        Self { all: all.into(), config, random, start: Instant::now(), out: AtomicUsize::new(0) }
    }

    pub(crate) fn all(&self) -> &[Address] {
        &self.all
    }

    pub(crate) fn random(&self) -> u64 {
        (self.random)()
    }

    fn now(&self) -> u64 {
        self.start.elapsed().as_micros() as u64
    }

    /// The place of the address to use; `but_not` is one that has just failed.
    pub(crate) fn pick(&self, but_not: Option<usize>) -> usize {
        let n = self.all.len();
        if n == 1 {
            return 0;
        }
        let now = if self.out.load(Relaxed) == 0 { u64::MAX } else { self.now() };
        let is_in = |at: &usize| Some(*at) != but_not && self.all[*at].out_until.load(Relaxed) <= now;
        let usable = (0..n).filter(is_in).count();
        let nth = |n: usize| (0..self.all.len()).filter(is_in).nth(n).unwrap_or_default();
        match usable {
            // The one that comes back first: better a doubtful address than none.
            0 => {
                let others = (0..n).filter(|at| Some(*at) != but_not);
                others.min_by_key(|at| self.all[*at].out_until.load(Relaxed)).unwrap_or_default()
            }
            1 => nth(0),
            _ => {
                let dice = self.random();
                let first = (dice as u32 as usize) % usable;
                let second = (first + 1 + ((dice >> 32) as usize) % (usable - 1)) % usable;
                let (first, second) = (nth(first), nth(second));
                if self.all[second].pending() < self.all[first].pending() { second } else { first }
            }
        }
    }

    /// It answered.
    pub(crate) fn worked(&self, at: usize) {
        let address = &self.all[at];
        if address.streak.load(Relaxed) != 0 {
            address.streak.store(0, Relaxed);
        }
        if self.out.load(Relaxed) != 0 && address.out_until.swap(0, Relaxed) != 0 {
            address.ejections.store(0, Relaxed);
            self.out.fetch_sub(1, Relaxed);
        }
    }

    /// It did not, and that is its own fault.
    pub(crate) fn failed(&self, at: usize) {
        if self.all.len() == 1 || self.config.consecutive_failures == 0 {
            return;
        }
        let address = &self.all[at];
        let now = self.now();
        let was_out = address.out_until.load(Relaxed);
        // Requests that were under way when it was left out do not lengthen the time.
        if was_out > now || address.streak.fetch_add(1, Relaxed) + 1 < self.config.consecutive_failures {
            return;
        }
        let others_out =
            self.all.iter().enumerate().filter(|(i, a)| *i != at && a.out_until.load(Relaxed) > now).count();
        if (others_out + 1) * 100 > self.all.len() * usize::from(self.config.max_ejected_percent) {
            return;
        }
        let times = address.ejections.fetch_add(1, Relaxed);
        let time =
            self.config.time.saturating_mul(1_u32.checked_shl(times).unwrap_or(u32::MAX)).min(self.config.max_time);
        let shorter = time.mul_f64(0.25 * (self.random() >> 11) as f64 / (1_u64 << 53) as f64);
        // At least 1: 0 means that it is in.
        address.out_until.store((now + (time - shorter).as_micros() as u64).max(1), Relaxed);
        // Back again, one more failure is enough.
        address.streak.store(self.config.consecutive_failures - 1, Relaxed);
        if was_out == 0 {
            self.out.fetch_add(1, Relaxed);
        }
        tracing::warn!(upstream.address = %address.label, out_for = ?time, "an upstream address is left out");
    }

    /// How many are left out at this moment.
    pub(crate) fn ejected(&self) -> usize {
        let now = self.now();
        self.all.iter().filter(|address| address.out_until.load(Relaxed) > now).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;

    /// Dice that go through all numbers.
    fn addresses(n: usize) -> Addresses {
        let all = (0..n).map(|i| Address::new(format!("http://h{i}").parse().unwrap(), Limits::default()).unwrap());
        let state = AtomicU64::new(1);
        let random = move || state.fetch_add(0x9e37_79b9_7f4a_7c15, Relaxed).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        Addresses::new(all.collect(), EjectionConfig::default(), Arc::new(random))
    }

    fn eject(addresses: &Addresses, at: usize) {
        (0..5).for_each(|_| addresses.failed(at));
    }

    fn picked(addresses: &Addresses) -> Vec<bool> {
        let mut seen = vec![false; addresses.all().len()];
        (0..200).for_each(|_| seen[addresses.pick(None)] = true);
        seen
    }

    #[tokio::test(start_paused = true)]
    async fn all_are_used_and_the_busiest_of_them_is_not() {
        let addresses = addresses(4);
        assert_eq!(picked(&addresses), [true; 4]);
        addresses.all()[2].begin();
        assert_eq!(picked(&addresses), [true, true, false, true]);
        assert!((0..100).all(|_| addresses.pick(Some(1)) != 1));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_fails_is_left_out_ever_longer_and_comes_back() {
        let addresses = addresses(3);
        (0..4).for_each(|_| addresses.failed(1));
        addresses.worked(1);
        addresses.failed(1);
        assert_eq!(addresses.ejected(), 0, "an answer between failures");
        (0..4).for_each(|_| addresses.failed(1));
        assert_eq!((addresses.ejected(), picked(&addresses)), (1, vec![true, false, true]));
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(picked(&addresses), [true; 3]);
        addresses.failed(1);
        tokio::time::advance(Duration::from_millis(2900)).await;
        assert_eq!(picked(&addresses), [true, false, true], "one failure, and twice the time");
        tokio::time::advance(Duration::from_millis(1200)).await;
        addresses.worked(1);
        assert_eq!((addresses.ejected(), picked(&addresses)), (0, vec![true; 3]));
        addresses.failed(1);
        assert_eq!(addresses.ejected(), 0, "an answer forgives");
    }

    #[tokio::test(start_paused = true)]
    async fn at_most_half_are_left_out_and_a_single_one_never() {
        let four = addresses(4);
        (0..4).for_each(|at| eject(&four, at));
        assert_eq!(four.ejected(), 2);
        let one = addresses(1);
        eject(&one, 0);
        assert_eq!((one.ejected(), one.pick(None), one.pick(Some(0))), (0, 0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn when_none_is_left_the_first_to_come_back_is_used() {
        let mut all = addresses(2);
        all.config.max_ejected_percent = 100;
        eject(&all, 1);
        tokio::time::advance(Duration::from_millis(600)).await;
        eject(&all, 0);
        assert_eq!((all.ejected(), all.pick(None)), (2, 1));
    }
}
