//! What the data plane counts for billing, on its way to the database.
//!
//! A thread adds to a map of its own and hands it over once a second; a request costs no lock another thread holds and no
//! trip. The control plane writes batches, each under a number: one whose commit was not heard of is sent again as it was,
//! and the database takes it once. A process that is killed loses what it had not written: at most
//! `billing.usage_flush_seconds` and the second before.

use crate::{config::Billing, state::App};
use axum::body::Body;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use foldhash::fast::RandomState;
use http_body::{Body as _, Frame, SizeHint};
use ogel_api::{
    billing::Metric,
    id::{OrganizationId, ProjectId},
};
use ogel_store::{StoreError, Used, hour_of};
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};
use tokio::sync::mpsc;
use uuid::Uuid;

/// What a request counts for.
pub(crate) type Payer = (OrganizationId, ProjectId);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Amounts {
    requests: u64,
    bytes: u64,
}

impl Amounts {
    fn add(&mut self, other: Self) {
        self.requests = self.requests.saturating_add(other.requests);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

type Batch = HashMap<Payer, Amounts, RandomState>;

/// How often a thread hands over.
const HAND_OVER_EVERY: Duration = Duration::from_secs(1);
/// Projects a thread counts at most between two handovers; further ones are lost, and said to be.
const MOST: usize = 65_536;
/// Batches on their way at most: some minutes' worth of a database that is away.
const BATCHES: usize = 1024;

/// One thread's. The locks are that thread's alone.
pub(crate) struct ThreadUsage {
    counted: Mutex<Batch>,
    handed_over: Mutex<Instant>,
    to: mpsc::Sender<Batch>,
    lost: Arc<AtomicU64>,
}

impl ThreadUsage {
    pub(crate) fn add(&self, payer: Payer, requests: u64, bytes: u64) {
        let mut counted = self.counted.lock();
        if counted.len() >= MOST && !counted.contains_key(&payer) {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        counted.entry(payer).or_default().add(Amounts { requests, bytes });
    }

    /// Called by the thread several times a second.
    pub(crate) fn tick(&self) {
        if self.handed_over.lock().elapsed() >= HAND_OVER_EVERY {
            self.hand_over();
        }
    }

    /// Where there is no room, what was counted stays and goes with the next batch.
    pub(crate) fn hand_over(&self) {
        *self.handed_over.lock() = Instant::now();
        let mut counted = self.counted.lock();
        if counted.is_empty() {
            return;
        }
        if let Ok(place) = self.to.try_reserve() {
            // As many are counted in the next second, mostly.
            let next = Batch::with_capacity_and_hasher(counted.len(), RandomState::default());
            place.send(std::mem::replace(&mut *counted, next));
        }
    }
}

/// The way from the threads to the database.
pub struct Metering {
    to: mpsc::Sender<Batch>,
    lost: Arc<AtomicU64>,
    writer: tokio::sync::Mutex<Writer>,
}

struct Writer {
    from: mpsc::Receiver<Batch>,
    /// Names the batches of this process.
    process: Uuid,
    sequence: i64,
    /// Of which hour, because a batch may wait for its turn.
    pending: HashMap<(Payer, DateTime<Utc>), Amounts>,
    /// Was sent; whether it arrived is not known. Sent again as it is until it is.
    in_flight: Option<(i64, Vec<Used>)>,
}

impl Metering {
    pub(crate) fn new(process: Uuid) -> Self {
        let (to, from) = mpsc::channel(BATCHES);
        let writer = Writer { from, process, sequence: 0, pending: HashMap::new(), in_flight: None };
        Self { to, lost: Arc::default(), writer: tokio::sync::Mutex::new(writer) }
    }

    pub(crate) fn of_a_thread(&self) -> ThreadUsage {
        ThreadUsage {
            counted: Mutex::default(),
            handed_over: Mutex::new(Instant::now()),
            to: self.to.clone(),
            lost: self.lost.clone(),
        }
    }

    /// Writes what has been handed over. An error leaves it for the next time.
    pub(crate) async fn write(&self, app: &App) -> Result<(), StoreError> {
        let mut writer = self.writer.lock().await;
        let hour = hour_of(app.world.now());
        while let Ok(batch) = writer.from.try_recv() {
            for (payer, amounts) in batch {
                writer.pending.entry((payer, hour)).or_default().add(amounts);
            }
        }
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            tracing::error!(lost, "requests were not metered: one thread served too many projects at once");
        }
        while let Some((sequence, rows)) = writer.next() {
            app.store.add_usage(writer.process, sequence, &rows, app.world.now()).await?;
            writer.in_flight = None;
        }
        Ok(())
    }
}

impl Writer {
    /// What to send: what may not have arrived, else what is new.
    fn next(&mut self) -> Option<(i64, Vec<Used>)> {
        if self.in_flight.is_none() && !self.pending.is_empty() {
            self.sequence += 1;
            let rows = self.pending.drain().flat_map(|(((organization, project), hour), amounts)| {
                let used = move |metric, quantity: u64| {
                    let quantity = i64::try_from(quantity).unwrap_or(i64::MAX);
                    Used { organization, project, metric, hour, quantity }
                };
                [used(Metric::Requests, amounts.requests), used(Metric::EgressBytes, amounts.bytes)]
            });
            self.in_flight = Some((self.sequence, rows.filter(|used| used.quantity > 0).collect()));
        }
        self.in_flight.clone()
    }
}

/// Writes until shutdown; what comes in while the threads drain is written by [`crate::run::stop`].
pub(crate) async fn run(app: &App) {
    loop {
        let every = Duration::from_secs(flush_seconds(&app.config().billing));
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = app.shutdown.cancelled() => return,
        }
        if let Err(error) = app.metering.write(app).await {
            tracing::warn!(%error, "usage could not be written; it is kept for the next time");
        }
    }
}

fn flush_seconds(config: &Billing) -> u64 {
    config.usage_flush_seconds.clamp(1, 300)
}

/// Counts an answer: at once where its length is known, else as it leaves.
pub(crate) fn meter(usage: &Arc<ThreadUsage>, payer: Payer, body: Body) -> Body {
    if let Some(length) = body.size_hint().exact() {
        usage.add(payer, 1, length);
        return body;
    }
    usage.add(payer, 1, 0);
    Body::new(Metered { body, usage: usage.clone(), payer })
}

/// A body whose bytes count as they leave.
struct Metered {
    body: Body,
    usage: Arc<ThreadUsage>,
    payer: Payer,
}

impl http_body::Body for Metered {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        let frame = Pin::new(&mut this.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &frame
            && let Some(data) = frame.data_ref()
        {
            this.usage.add(this.payer, 0, data.len() as u64);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;

    fn payer(n: u128) -> Payer {
        (OrganizationId(Uuid::from_u128(n)), ProjectId(Uuid::from_u128(n)))
    }

    #[tokio::test]
    async fn a_stream_counts_as_it_leaves_and_a_known_length_at_once() {
        let metering = Metering::new(Uuid::nil());
        let usage = Arc::new(metering.of_a_thread());
        drop(meter(&usage, payer(1), Body::from("12345")));
        let frames = [Ok::<_, std::io::Error>("123"), Ok("45"), Ok("6")];
        let mut body = meter(&usage, payer(2), Body::from_stream(futures_util::stream::iter(frames)));
        body.frame().await.unwrap().unwrap();
        body.frame().await.unwrap().unwrap();
        let counted = usage.counted.lock().clone();
        assert_eq!(counted[&payer(1)], Amounts { requests: 1, bytes: 5 });
        assert_eq!(counted[&payer(2)], Amounts { requests: 1, bytes: 5 }, "the last frame was never asked for");
    }

    #[test]
    fn what_may_not_have_arrived_is_sent_again_as_it_was_and_without_what_came_since() {
        let metering = Metering::new(Uuid::nil());
        let mut writer = metering.writer.try_lock().unwrap();
        let hour = DateTime::UNIX_EPOCH;
        writer.pending.insert((payer(1), hour), Amounts { requests: 2, bytes: 0 });
        let first = writer.next().unwrap();
        assert_eq!((first.0, first.1.len()), (1, 1), "nothing is written of what is nothing");
        writer.pending.insert((payer(2), hour), Amounts { requests: 1, bytes: 1 });
        assert_eq!(writer.next().unwrap(), first);
        writer.in_flight = None;
        let second = writer.next().unwrap();
        assert_eq!((second.0, second.1.len()), (2, 2));
        writer.in_flight = None;
        assert_eq!(writer.next(), None);
    }

    #[test]
    fn a_full_way_loses_nothing_that_was_counted() {
        let metering = Metering::new(Uuid::nil());
        let usage = metering.of_a_thread();
        for _ in 0..BATCHES + 5 {
            usage.add(payer(1), 1, 0);
            usage.hand_over();
        }
        let mut writer = metering.writer.try_lock().unwrap();
        let mut requests = 0;
        while let Ok(batch) = writer.from.try_recv() {
            requests += batch[&payer(1)].requests;
        }
        usage.hand_over();
        requests += writer.from.try_recv().unwrap()[&payer(1)].requests;
        assert_eq!(requests, BATCHES as u64 + 5);
    }
}
