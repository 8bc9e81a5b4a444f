//! Figures by resource and day: `metrics:proxy:{resource}:{YYYY-MM-DD}` in Redis, or a table where there is none.
//!
//! Threads count as they do for `/metrics`, each for itself; a background task collects what is new every some seconds and
//! at the end of the process. What was collected is sent as a batch with a number until it has arrived; a batch that
//! arrives twice counts once. A crash loses what was not collected yet, a restart nothing.

use super::Counter;
use crate::{error::Result, resources::RESOURCES, state::App};
use chrono::{DateTime, Days, NaiveDate, Utc};
use ogel_store::DailyCount;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// How often what is new is collected.
const EVERY: Duration = Duration::from_secs(5);
/// How long a day's figures are kept.
pub(crate) const KEPT_DAYS: u64 = 30;
/// Days that wait for a Redis that is away; the oldest go first.
const MOST_WAITING: usize = 1000;

const STATUSES: usize = 500;
const NOUNS: usize = RESOURCES.len();
/// Statuses of all nouns, then durations in microseconds of all nouns.
const COUNTS: usize = NOUNS * (STATUSES + 1);

/// What one thread has counted. Two rows by turns, odd days and even ones, so that a day ends exactly at midnight.
pub(crate) struct Daily([Box<[Counter]>; 2]);

impl Default for Daily {
    fn default() -> Self {
        let row = || (0..COUNTS).map(|_| Counter::default()).collect();
        Self([row(), row()])
    }
}

/// Days since 1970.
fn day_of(at: DateTime<Utc>) -> u64 {
    at.timestamp().max(0).unsigned_abs() / 86_400
}

fn date_of(day: u64) -> NaiveDate {
    DateTime::UNIX_EPOCH.date_naive().checked_add_days(Days::new(day)).unwrap_or_default()
}

impl Daily {
    pub(crate) fn count(&self, at: DateTime<Utc>, noun: usize, status: u16, took: Duration) {
        let row = &self.0[usize::from(day_of(at) % 2 == 1)];
        let place = usize::from(status.clamp(100, 599) - 100);
        row[noun * STATUSES + place].add(1);
        row[NOUNS * STATUSES + noun].add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }
}

/// What has been collected and is on its way.
pub struct Collected {
    /// All threads' sums at the last look.
    seen: [Vec<u64>; 2],
    /// By day and noun: status or duration, and how much.
    waiting: BTreeMap<(u64, usize), BTreeMap<String, u64>>,
    /// Sent, and not known to have arrived.
    sent: BTreeMap<(u64, usize), (u64, BTreeMap<String, u64>)>,
    batches: u64,
}

impl Default for Collected {
    fn default() -> Self {
        let nothing = || vec![0; COUNTS];
        Self { seen: [nothing(), nothing()], waiting: BTreeMap::new(), sent: BTreeMap::new(), batches: 0 }
    }
}

/// In the store, durations are whole microseconds.
const DURATION: &str = "total_duration";

impl Collected {
    fn collect(&mut self, app: &App) {
        let today = day_of(app.world.now());
        let threads = app.all_counters();
        for (row, seen) in self.seen.iter_mut().enumerate() {
            // The row of the other parity is yesterday's.
            let day = if (today % 2 == 1) == (row == 1) { today } else { today.saturating_sub(1) };
            for (place, seen) in seen.iter_mut().enumerate() {
                let sum: u64 = threads.iter().map(|thread| thread.daily.0[row][place].get()).sum();
                let new = sum - std::mem::replace(seen, sum);
                if new == 0 {
                    continue;
                }
                let (noun, field) = match place.checked_sub(NOUNS * STATUSES) {
                    Some(noun) => (noun, DURATION.to_owned()),
                    None => (place / STATUSES, format!("status_{}", place % STATUSES + 100)),
                };
                let fields = self.waiting.entry((day, noun)).or_default();
                if field != DURATION {
                    *fields.entry("total".to_owned()).or_default() += new;
                }
                *fields.entry(field).or_default() += new;
            }
        }
        while self.waiting.len() > MOST_WAITING {
            self.waiting.pop_first();
        }
    }

    /// Collects what is new and sends what has not arrived; true when all has.
    async fn flush(&mut self, app: &App) -> bool {
        self.collect(app);
        let keys: BTreeSet<_> = self.sent.keys().chain(self.waiting.keys()).copied().collect();
        for key in keys {
            // The one before first: numbers must not overtake each other.
            if !self.send(app, key).await || !self.send(app, key).await {
                return false;
            }
        }
        self.sent.is_empty() && self.waiting.is_empty()
    }

    async fn send(&mut self, app: &App, key: (u64, usize)) -> bool {
        if !self.sent.contains_key(&key) {
            let Some(fields) = self.waiting.remove(&key) else { return true };
            self.batches += 1;
            self.sent.insert(key, (self.batches, fields));
        }
        let Some((batch, fields)) = self.sent.get(&key) else { return true };
        let (date, resource) = (date_of(key.0).to_string(), RESOURCES[key.1].name);
        let arrived = match app.shared.as_redis() {
            Some(redis) => {
                let text = |(field, amount): (&String, &u64)| {
                    let amount = match &**field {
                        // The document has milliseconds.
                        DURATION => format!("{}.{:03}", amount / 1000, amount % 1000),
                        _ => amount.to_string(),
                    };
                    (field.clone(), amount)
                };
                let fields: Vec<_> = fields.iter().map(text).collect();
                let kept = Duration::from_secs(KEPT_DAYS * 86_400);
                redis.tally(resource, &date, *batch, kept, &fields).await.is_ok()
            }
            None => {
                let row = |(field, amount): (&String, &u64)| DailyCount { field: field.clone(), amount: *amount };
                let counts: Vec<_> = fields.iter().map(row).collect();
                let stored = app.store.add_daily(&app.process, *batch, resource, &date, &counts).await;
                if let Err(error) = &stored {
                    tracing::debug!(%error, "the day's figures could not be stored; they are kept until they can");
                }
                stored.is_ok()
            }
        };
        if arrived {
            self.sent.remove(&key);
        }
        arrived
    }
}

/// Collects and sends until shutdown. On the control plane.
pub(crate) async fn follow(app: &App) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = app.shutdown.cancelled() => return,
        }
        flush(app).await;
    }
}

/// Everything that was counted up to now is where it belongs, if this says true.
pub async fn flush(app: &App) -> bool {
    app.daily.lock().await.flush(app).await
}

/// The end of the process: when no thread counts any more. A disk that is slow just then costs time to drain, not figures.
pub(crate) async fn flush_last(app: &App, patience: Duration) {
    if !matches!(tokio::time::timeout(patience, flush(app)).await, Ok(true)) {
        tracing::warn!("the last seconds of the day's figures could not be stored");
    }
}

/// A day of a resource, field by field; durations in milliseconds.
pub(crate) async fn of_day(app: &App, resource: &str, date: NaiveDate) -> Result<BTreeMap<String, f64>> {
    // What this process has is there, too; what others have comes within seconds.
    flush(app).await;
    let date = date.to_string();
    if let Some(redis) = app.shared.as_redis() {
        let fields = redis.tallies(resource, &date).await.map_err(|away| {
            let message = "the figures of all replicas are added up in Redis, which does not answer now; they are kept until it does";
            ogel_api::error::Error::new(ogel_api::error::ErrorCode::SharedStateUnavailable, message)
                .retry_after(Duration::from_secs(5))
                .caused_by(away)
        })?;
        return Ok(fields.into_iter().filter_map(|(field, text)| Some((field, text.parse().ok()?))).collect());
    }
    let counts = app.store.daily(resource, &date).await?;
    let number = |count: DailyCount| {
        let amount = count.amount as f64;
        (count.field.clone(), if count.field == DURATION { amount / 1000.0 } else { amount })
    };
    Ok(counts.into_iter().map(number).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_ends_exactly_at_midnight() {
        let midnight = DateTime::UNIX_EPOCH + Days::new(20_001);
        let daily = Daily::default();
        daily.count(midnight - chrono::TimeDelta::milliseconds(1), 0, 200, Duration::from_micros(5));
        daily.count(midnight, 0, 200, Duration::from_micros(7));
        daily.count(midnight, 0, 200, Duration::from_micros(7));
        let counted: Vec<u64> = daily.0.iter().map(|row| row[100].get()).collect();
        assert_eq!(counted, [1, 2]);
        assert_eq!(date_of(20_001), midnight.date_naive());
    }
}
