//! The circuit breaker of one upstream: after too many failures it is left alone, then tried with a few requests, and
//! trusted again once those succeed. Belongs to one `Upstream`, hence to one thread: its mutex is not contended.
//! Refuses to know what a failure is; the caller says so. Next: `upstream.rs`.

use http::StatusCode;
use parking_lot::Mutex;
use std::time::Duration;
use tokio::time::Instant;

/// The window is counted in this many steps.
const STEPS: usize = 10;

/// When to leave an upstream alone, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct BreakerConfig {
    /// So many failures without a success between them.
    pub consecutive_failures: u32,
    /// Or this part of the requests of the last `window`, if there were at least `min_requests`.
    pub failure_rate: f64,
    pub min_requests: u32,
    pub window: Duration,
    /// The first pause; each later one without a recovery between is twice the one before, up to `max_pause`. Up to a
    /// quarter of it is taken off by chance, so that threads do not probe together.
    pub pause: Duration,
    pub max_pause: Duration,
    /// After a pause so many requests are let through at a time, and so many have to succeed.
    pub probes: u32,
    /// A caller's deadline that passed counts against the upstream only if it had at least this long.
    pub deadline_counts_after: Duration,
    /// Which answers are failures.
    pub is_failure: fn(StatusCode) -> bool,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self {
            consecutive_failures: 10,
            failure_rate: 0.5,
            min_requests: 20,
            window: Duration::from_secs(10),
            pause: Duration::from_millis(500),
            max_pause: Duration::from_secs(5),
            probes: 2,
            deadline_counts_after: Duration::from_secs(1),
            is_failure: is_gateway_failure,
        }
    }
}

/// 502, 503 and 504.
pub fn is_gateway_failure(status: StatusCode) -> bool {
    matches!(status.as_u16(), 502..=504)
}

/// What the breaker does at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    Closed,
    Open,
    HalfOpen,
}

pub(crate) struct Breaker {
    config: BreakerConfig,
    inner: Mutex<Inner>,
}

struct Inner {
    phase: Phase,
    /// Failures in a row.
    streak: u32,
    /// Pauses in a row.
    pauses: u32,
    /// The step `steps[now % STEPS]` counts, numbered from `start`.
    start: Instant,
    now: u64,
    steps: [Step; STEPS],
}

#[derive(Clone, Copy, Default)]
struct Step {
    successes: u32,
    failures: u32,
}

#[derive(Clone, Copy)]
enum Phase {
    Closed,
    Open { until: Instant },
    HalfOpen { running: u32, succeeded: u32 },
}

/// How a request that was let through ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Judgement {
    Success,
    Failure,
    /// It says nothing about the upstream.
    Neither,
}

/// Leave to send one request; dropped unused, it counts as neither success nor failure.
pub(crate) struct Permit<'a> {
    breaker: &'a Breaker,
    is_probe: bool,
    judged: bool,
}

impl Permit<'_> {
    /// `at`: when it ended. `random` shortens the pause that may follow.
    pub(crate) fn judge(mut self, judgement: Judgement, at: Instant, random: impl FnOnce() -> u64) {
        self.judged = true;
        self.breaker.settle(self.is_probe, judgement, at, random);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if !self.judged {
            self.breaker.settle(self.is_probe, Judgement::Neither, Instant::now(), || 0);
        }
    }
}

impl Breaker {
    pub(crate) fn new(config: BreakerConfig) -> Self {
        let inner = Inner {
            phase: Phase::Closed,
            streak: 0,
            pauses: 0,
            start: Instant::now(),
            now: 0,
            steps: [Step::default(); STEPS],
        };
        Self { config, inner: Mutex::new(inner) }
    }

    pub(crate) fn config(&self) -> &BreakerConfig {
        &self.config
    }

    pub(crate) fn state(&self) -> BreakerState {
        match self.inner.lock().phase {
            Phase::Closed => BreakerState::Closed,
            Phase::Open { until } if Instant::now() < until => BreakerState::Open,
            Phase::Open { .. } | Phase::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// Errors: how long to stay away.
    pub(crate) fn admit(&self) -> Result<Permit<'_>, Duration> {
        let mut inner = self.inner.lock();
        if let Phase::Closed = inner.phase {
            return Ok(Permit { breaker: self, is_probe: false, judged: false });
        }
        if let Phase::Open { until } = inner.phase {
            let left = until.saturating_duration_since(Instant::now());
            if !left.is_zero() {
                return Err(left);
            }
            inner.phase = Phase::HalfOpen { running: 0, succeeded: 0 };
        }
        match &mut inner.phase {
            Phase::HalfOpen { running, .. } if *running < self.config.probes.max(1) => {
                *running += 1;
                Ok(Permit { breaker: self, is_probe: true, judged: false })
            }
            // The probes that run decide; until then the shortest pause is a fair guess.
            _ => Err(self.config.pause),
        }
    }

    /// A failure that shows only after the head of the response had counted as a success.
    pub(crate) fn blame(&self, random: impl FnOnce() -> u64) {
        self.settle(false, Judgement::Failure, Instant::now(), random);
    }

    fn settle(&self, is_probe: bool, judgement: Judgement, at: Instant, random: impl FnOnce() -> u64) {
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        match &mut inner.phase {
            Phase::HalfOpen { running, succeeded } if is_probe => {
                *running = running.saturating_sub(1);
                match judgement {
                    Judgement::Neither => {}
                    Judgement::Failure => self.open(inner, random()),
                    Judgement::Success => {
                        *succeeded += 1;
                        if *succeeded >= self.config.probes.max(1) {
                            (inner.phase, inner.streak, inner.pauses) = (Phase::Closed, 0, 0);
                            inner.steps = [Step::default(); STEPS];
                        }
                    }
                }
            }
            // A request from before the pause says nothing about the time after it.
            Phase::HalfOpen { .. } | Phase::Open { .. } => {}
            Phase::Closed => self.count(inner, judgement, at, random),
        }
    }

    fn count(&self, inner: &mut Inner, judgement: Judgement, at: Instant, random: impl FnOnce() -> u64) {
        let step = inner.step(self.config.window, at);
        match judgement {
            Judgement::Neither => return,
            Judgement::Success => {
                step.successes += 1;
                inner.streak = 0;
                return;
            }
            Judgement::Failure => step.failures += 1,
        }
        inner.streak += 1;
        let (successes, failures) = inner.steps.iter().fold((0, 0), |(s, f), x| (s + x.successes, f + x.failures));
        let all = successes + failures;
        let too_many =
            all >= self.config.min_requests && f64::from(failures) >= self.config.failure_rate * f64::from(all);
        if inner.streak >= self.config.consecutive_failures || too_many {
            self.open(inner, random());
        }
    }

    fn open(&self, inner: &mut Inner, random: u64) {
        let doubled = self.config.pause.saturating_mul(1_u32.checked_shl(inner.pauses).unwrap_or(u32::MAX));
        let pause = doubled.min(self.config.max_pause);
        let shorter = pause.mul_f64(0.25 * (random >> 11) as f64 / (1_u64 << 53) as f64);
        inner.phase = Phase::Open { until: Instant::now() + (pause - shorter) };
        inner.pauses = inner.pauses.saturating_add(1);
        inner.streak = 0;
        inner.steps = [Step::default(); STEPS];
    }
}

impl Inner {
    /// The step of this moment; those that time has passed over are emptied.
    fn step(&mut self, window: Duration, at: Instant) -> &mut Step {
        let width = (window.as_micros() as u64 / STEPS as u64).max(1);
        let now = at.saturating_duration_since(self.start).as_micros() as u64 / width;
        if now.saturating_sub(self.now) >= STEPS as u64 {
            self.steps = [Step::default(); STEPS];
        } else {
            for passed in self.now + 1..=now {
                self.steps[passed as usize % STEPS] = Step::default();
            }
        }
        self.now = self.now.max(now);
        &mut self.steps[self.now as usize % STEPS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaker() -> Breaker {
        Breaker::new(BreakerConfig { consecutive_failures: 3, ..BreakerConfig::default() })
    }

    fn run(breaker: &Breaker, judgement: Judgement) -> bool {
        breaker.admit().map(|permit| permit.judge(judgement, Instant::now(), || 0)).is_ok()
    }

    async fn pass(time: Duration) {
        tokio::time::advance(time).await;
    }

    #[tokio::test(start_paused = true)]
    async fn failures_in_a_row_open_it_and_a_success_between_them_does_not() {
        let breaker = breaker();
        for judgement in
            [Judgement::Failure, Judgement::Failure, Judgement::Success, Judgement::Failure, Judgement::Failure]
        {
            assert!(run(&breaker, judgement));
        }
        assert_eq!(breaker.state(), BreakerState::Closed);
        assert!(run(&breaker, Judgement::Failure));
        assert_eq!(breaker.state(), BreakerState::Open);
        assert_eq!(breaker.admit().err(), Some(Duration::from_millis(500)));
    }

    #[tokio::test(start_paused = true)]
    async fn half_of_the_requests_of_a_window_open_it_and_old_ones_are_forgotten() {
        let breaker = breaker();
        for _ in 0..9 {
            run(&breaker, Judgement::Failure);
            run(&breaker, Judgement::Success);
        }
        assert_eq!(breaker.state(), BreakerState::Closed, "18 requests are too few to judge by");
        pass(Duration::from_secs(11)).await;
        run(&breaker, Judgement::Success);
        run(&breaker, Judgement::Failure);
        assert_eq!(breaker.state(), BreakerState::Closed);
        for _ in 0..9 {
            run(&breaker, Judgement::Success);
            run(&breaker, Judgement::Failure);
        }
        assert_eq!(breaker.state(), BreakerState::Open);
    }

    #[tokio::test(start_paused = true)]
    async fn after_the_pause_a_few_probes_decide() {
        let breaker = breaker();
        assert!((0..3).all(|_| run(&breaker, Judgement::Failure)));
        pass(Duration::from_millis(500)).await;
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        let (first, second) = (breaker.admit().ok().unwrap(), breaker.admit().ok().unwrap());
        assert!(breaker.admit().is_err(), "two probes at a time");
        drop(first);
        let third = breaker.admit().ok().unwrap();
        third.judge(Judgement::Success, Instant::now(), || 0);
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        second.judge(Judgement::Success, Instant::now(), || 0);
        assert_eq!(breaker.state(), BreakerState::Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn each_failed_probe_doubles_the_pause_up_to_its_cap() {
        let breaker = breaker();
        assert!((0..3).all(|_| run(&breaker, Judgement::Failure)));
        for millis in [500, 1000, 2000, 4000, 5000, 5000] {
            assert_eq!(breaker.admit().err(), Some(Duration::from_millis(millis)));
            pass(Duration::from_millis(millis)).await;
            assert!(run(&breaker, Judgement::Failure));
        }
        assert!(breaker.admit().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn what_began_before_the_pause_neither_closes_nor_lengthens_it() {
        let breaker = breaker();
        let (early, late) = (breaker.admit().ok().unwrap(), breaker.admit().ok().unwrap());
        assert!((0..3).all(|_| run(&breaker, Judgement::Failure)));
        early.judge(Judgement::Success, Instant::now(), || 0);
        assert_eq!(breaker.state(), BreakerState::Open);
        pass(Duration::from_millis(500)).await;
        drop(breaker.admit());
        late.judge(Judgement::Failure, Instant::now(), || 0);
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
    }
}
