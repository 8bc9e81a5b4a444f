//! When to try again: full-jitter exponential backoff under one deadline, at most a few attempts, and a budget over
//! all requests, so that an upstream in trouble sees a fifth more requests and not three times as many.
//! Refuses to know which requests may be repeated: the caller's verdict says so.
//! Next: `error.rs`, whose `may_have_been_processed` most verdicts ask.

use crate::error::UpstreamError;
use parking_lot::Mutex;
use std::{fmt, future::Future, sync::Arc, time::Duration};
use tokio::time::{Instant, sleep};

/// Where random bits come from; tests pass their own.
pub type Random = Arc<dyn Fn() -> u64 + Send + Sync>;

/// How often and how fast.
#[derive(Clone, Copy, Debug)]
pub struct RetryPolicy {
    /// Including the first one.
    pub max_attempts: u32,
    /// The first wait is between zero and this; each later bound is twice the one before.
    pub base: Duration,
    /// No wait we choose is longer.
    pub cap: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { max_attempts: 3, base: Duration::from_millis(50), cap: Duration::from_secs(2) }
    }
}

impl RetryPolicy {
    /// The wait before attempt `attempt + 1`, evenly spread between zero and the bound ("full jitter").
    pub fn backoff(&self, attempt: u32, random: u64) -> Duration {
        let bound = self.base.saturating_mul(1_u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX));
        // 53 bits are what an f64 holds exactly.
        bound.min(self.cap).mul_f64((random >> 11) as f64 / (1_u64 << 53) as f64)
    }
}

/// A token bucket over all requests to one upstream: each request adds a fraction of a retry, time adds a floor.
#[derive(Debug)]
pub struct RetryBudget {
    per_request: f64,
    per_second: f64,
    most: f64,
    state: Mutex<(f64, Instant)>,
}

impl Default for RetryBudget {
    /// A fifth of the requests, and 10 a second in any case.
    fn default() -> Self {
        Self::new(0.2, 10.0)
    }
}

impl RetryBudget {
    /// At most ten seconds' worth of the floor can be saved up.
    pub fn new(per_request: f64, per_second: f64) -> Self {
        let most = (per_second * 10.0).max(1.0);
        Self { per_request, per_second, most, state: Mutex::new((per_second.clamp(0.0, most), Instant::now())) }
    }

    /// Counts a request (not a retry).
    pub fn deposit(&self) {
        self.change(self.per_request);
    }

    /// Takes one retry out, if there is one.
    pub fn withdraw(&self) -> bool {
        self.change(-1.0)
    }

    fn change(&self, by: f64) -> bool {
        let mut state = self.state.lock();
        let now = Instant::now();
        let refill = now.saturating_duration_since(state.1).as_secs_f64() * self.per_second;
        let tokens = (state.0 + refill).min(self.most);
        let allowed = tokens + by >= 0.0;
        *state = (if allowed { (tokens + by).min(self.most) } else { tokens }, now);
        allowed
    }
}

/// What a failure means for the attempt after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Tell the caller.
    Stop,
    /// Try again, not before `after` if the upstream named a time.
    Retry { after: Option<Duration> },
}

impl Verdict {
    /// The usual one. `may_repeat`: a second time does no harm, because the method is idempotent or the upstream knows
    /// the request again by its key.
    pub fn of(error: &UpstreamError, may_repeat: bool) -> Self {
        let is_safe = may_repeat || !error.may_have_been_processed();
        if is_safe && error.is_transient() { Self::Retry { after: None } } else { Self::Stop }
    }
}

/// A policy, its budget and its dice, shared by all requests to one upstream.
#[derive(Clone)]
pub struct Retrier {
    policy: RetryPolicy,
    budget: Arc<RetryBudget>,
    random: Random,
}

impl fmt::Debug for Retrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retrier").field("policy", &self.policy).field("budget", &self.budget).finish_non_exhaustive()
    }
}

impl Retrier {
    pub fn new(policy: RetryPolicy, budget: RetryBudget, random: Random) -> Self {
        Self { policy, budget: Arc::new(budget), random }
    }

    /// Runs `attempt` (given its number, from 1) until it succeeds, `judge` says stop, the attempts or the budget are
    /// used up, or the next one could not begin before `deadline`. The last error is returned.
    pub async fn run<T, E, F: Future<Output = Result<T, E>>>(
        &self,
        deadline: Instant,
        mut attempt: impl FnMut(u32) -> F,
        judge: impl Fn(&E) -> Verdict,
    ) -> Result<T, E> {
        self.budget.deposit();
        let mut number = 1;
        loop {
            let error = match attempt(number).await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let Verdict::Retry { after } = judge(&error) else { return Err(error) };
            if number >= self.policy.max_attempts {
                return Err(error);
            }
            // On top of what the upstream asked for, or all who were told the same time would come back together.
            let wait = self.policy.backoff(number, (self.random)()).saturating_add(after.unwrap_or_default());
            // Waiting for an attempt that cannot happen would only make the caller wait for the same error. The
            // budget is asked last, so that it pays for attempts that are made.
            let too_late = Instant::now().checked_add(wait).is_none_or(|at| at >= deadline);
            if too_late || !self.budget.withdraw() {
                return Err(error);
            }
            sleep(wait).await;
            number += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    const RETRY: fn(&&'static str) -> Verdict = |_| Verdict::Retry { after: None };

    fn retrier(per_second: f64) -> Retrier {
        Retrier::new(RetryPolicy::default(), RetryBudget::new(0.2, per_second), Arc::new(|| u64::MAX))
    }

    fn in_seconds(seconds: u64) -> Instant {
        Instant::now() + Duration::from_secs(seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn three_attempts_with_growing_waits_and_then_the_last_error() {
        let started = Instant::now();
        let mut numbers = Vec::new();
        let attempt = |number| {
            numbers.push(number);
            async move { Err::<(), _>(["a", "b", "c"][number as usize - 1]) }
        };
        assert_eq!(retrier(10.0).run(in_seconds(60), attempt, RETRY).await, Err("c"));
        assert_eq!(numbers, [1, 2, 3]);
        let waited = started.elapsed();
        assert!((149..=152).contains(&waited.as_millis()), "50 ms and 100 ms, but it was {waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_verdict_is_the_last_word() {
        let calls = AtomicU32::new(0);
        let attempt = |_| async { Err::<(), _>(calls.fetch_add(1, Ordering::Relaxed)) };
        assert_eq!(retrier(10.0).run(in_seconds(60), attempt, |_| Verdict::Stop).await, Err(0));
    }

    #[tokio::test(start_paused = true)]
    async fn retry_after_is_waited_for_unless_the_deadline_comes_first() {
        let judge = |_: &u32| Verdict::Retry { after: Some(Duration::from_secs(5)) };
        let attempt = |number| async move { if number == 1 { Err(number) } else { Ok(number) } };
        let started = Instant::now();
        assert_eq!(retrier(10.0).run(in_seconds(3), attempt, judge).await, Err(1));
        assert_eq!(started.elapsed(), Duration::ZERO);
        assert_eq!(retrier(10.0).run(in_seconds(30), attempt, judge).await, Ok(2));
        assert!(started.elapsed() >= Duration::from_secs(5));
    }

    #[tokio::test(start_paused = true)]
    async fn the_budget_caps_retries_at_a_fifth_of_the_requests_and_a_floor() {
        let retrier = retrier(10.0);
        let calls = AtomicU32::new(0);
        // All at one moment, so that time adds nothing: 10 of the floor, 20 % of 100, and the dice give no wait.
        let retrier = Retrier { random: Arc::new(|| 0), ..retrier };
        for _ in 0..100 {
            let attempt = |_| {
                calls.fetch_add(1, Ordering::Relaxed);
                async { Err::<(), _>("down") }
            };
            retrier.run(in_seconds(60), attempt, RETRY).await.unwrap_err();
        }
        let made = calls.load(Ordering::Relaxed);
        assert!((125..=140).contains(&made), "100 requests made {made} attempts");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!((0..9).all(|_| retrier.budget.withdraw()), "a second brings ten more");
    }

    #[test]
    fn what_may_have_been_done_is_repeated_only_if_it_may_be_and_an_open_breaker_never() {
        let (retry, stop) = (Verdict::Retry { after: None }, Verdict::Stop);
        let unsent = UpstreamError::ConnectTimeout;
        let silent = UpstreamError::FirstByteTimeout;
        let open = UpstreamError::BreakerOpen { retry_after: Duration::from_secs(1) };
        for (error, keyed, unkeyed) in [(unsent, retry, retry), (silent, retry, stop), (open, stop, stop)] {
            assert_eq!((Verdict::of(&error, true), Verdict::of(&error, false)), (keyed, unkeyed), "{error}");
        }
    }

    #[test]
    fn jitter_spreads_over_the_whole_range_and_never_exceeds_the_cap() {
        let policy = RetryPolicy::default();
        assert_eq!(policy.backoff(1, 0), Duration::ZERO);
        assert!(policy.backoff(1, u64::MAX / 2).abs_diff(Duration::from_millis(25)) < Duration::from_millis(1));
        for attempt in [1, 2, 10, 32, 33, 1000] {
            assert!(policy.backoff(attempt, u64::MAX) <= policy.cap);
        }
    }
}
