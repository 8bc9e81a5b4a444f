//! Does the jobs of the store's queues: takes what is due, keeps its leases alive while it works, and puts back what is
//! not done yet. Any number of replicas share the queues; a job is with one of them at a time.
//!
//! Whoever has a queue implements [`Doer`]. A step may be cut off at any point and done again by another replica, so each
//! must be harmless to repeat. Between two steps of a job that come soon, this process *sits* at it: it waits for the time
//! or for an event itself, and takes the job again before others would. If it dies they find the job due moments later.

mod leases;

pub(crate) use leases::Guard as Held;

use crate::{error::Failure, state::App};
use chrono::TimeDelta;
use futures_util::FutureExt as _;
use leases::Leases;
use ogel_api::admin::Queue;
use ogel_store::{Hold, Job, StoreError};
use parking_lot::Mutex;
use std::{collections::HashMap, panic::AssertUnwindSafe, sync::Arc, time::Duration};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use uuid::Uuid;

type Key = (Queue, Uuid);

/// How long a queue that had nothing is left alone. Others make jobs due without telling us.
const LOOK: Duration = Duration::from_secs(1);
/// Jobs taken with one statement.
const BATCH: usize = 32;
/// How much later than for ourselves a job is due for others.
const GRACE: Duration = Duration::from_secs(2);
/// Longer pauses are not sat out: the job becomes due for whoever looks first.
const LONGEST_SIT: Duration = Duration::from_secs(60);
/// More jobs are not sat at by one process.
const MOST_SITTING: usize = 4096;
/// The pause after the first failure, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LAST_PAUSE: Duration = Duration::from_secs(30);

/// How a step ended.
pub(crate) enum Outcome {
    /// There is nothing left to do. A step that ended the job in a transaction of its own says this too.
    Done,
    /// It went well, and the next step comes after this time.
    Later(Duration),
    /// It did not go well; it is done again after a pause, until it has failed too often.
    Failed(Failure),
}

/// What does the jobs of one queue; one value for each job this process is at.
pub(crate) trait Doer: Send + 'static {
    const QUEUE: Queue;

    fn new(app: &App, id: Uuid) -> Self;

    /// Does what can be done now.
    fn step(&mut self, job: &Job) -> impl Future<Output = Outcome> + Send;

    /// Resolves when something happened that makes the next step due before its time.
    fn event(&mut self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }

    /// The pause before the next attempt of one that failed; `None` buries the job.
    fn pause(&self, app: &App, job: &Job) -> Option<Duration> {
        let attempts = job.attempts.unsigned_abs();
        (attempts < app.config().work.max_attempts.max(1)).then(|| backoff(app, attempts))
    }

    /// Takes the job out of the queue because it failed too often. Whether it was still ours.
    fn bury(&self, app: &App, job: &Job, error: &str) -> impl Future<Output = Result<bool, StoreError>> + Send {
        let (app, job, error) = (app.clone(), job.clone(), error.to_owned());
        async move { app.store.bury(&job, &error, app.world.now()).await }
    }
}

/// Doubling, with half of it left to chance: many jobs must not ask a recovering backend in step.
pub(crate) fn backoff(app: &App, attempts: u64) -> Duration {
    let doublings = u32::try_from(attempts.saturating_sub(1)).unwrap_or(u32::MAX).min(16);
    let full = LAST_PAUSE.min(FIRST_PAUSE.saturating_mul(1 << doublings));
    full.mul_f64(0.5 + 0.5 * (app.world.entropy.next() % 1000) as f64 / 1000.0)
}

/// One queue, in this process.
struct Lane {
    slots: Arc<Semaphore>,
    /// Says that something became due.
    look: Notify,
}

/// This process's share of the queues.
pub struct Work {
    /// What the store knows this process as.
    owner: Uuid,
    lanes: HashMap<Queue, Lane>,
    leases: Leases,
    sitting: Mutex<HashMap<Key, Arc<Notify>>>,
}

impl Work {
    pub(crate) fn new(owner: Uuid, concurrency: u64) -> Self {
        let slots = usize::try_from(concurrency.clamp(1, 10_000)).unwrap_or(1);
        let lane = || Lane { slots: Arc::new(Semaphore::new(slots)), look: Notify::new() };
        Self {
            owner,
            lanes: Queue::ALL.iter().map(|queue| (*queue, lane())).collect(),
            leases: Leases::default(),
            sitting: Mutex::default(),
        }
    }

    fn lane(&self, queue: Queue) -> &Lane {
        &self.lanes[&queue]
    }
}

fn lease(app: &App) -> Duration {
    Duration::from_secs(app.config().work.lease_seconds.max(1))
}

/// What this process takes jobs with, from now on.
pub(crate) fn hold(app: &App) -> Hold {
    Hold { owner: app.work.owner, until: app.world.now() + lease(app) }
}

/// Starts doing a queue's jobs.
pub(crate) fn start<D: Doer>(app: &App) {
    let state = app.clone();
    app.in_background(async move { look::<D>(&state).await });
}

/// Keeps this process's leases alive.
pub(crate) fn start_renewing(app: &App) {
    let state = app.clone();
    app.in_background(async move { leases::renew(&state).await });
}

/// Begins at once with a job that was written with [`hold`]: nobody else can have it.
pub(crate) fn begin<D: Doer>(app: &App, job: Job) {
    app.work.leases.add(&job, Instant::now());
    let state = app.clone();
    app.in_background(async move {
        let permit = state.work.lane(D::QUEUE).slots.clone().acquire_owned().await;
        if let Ok(permit) = permit {
            sit::<D>(&state, job, permit).await;
        }
    });
}

/// Keeps the lease of a job that was written with [`hold`] and is done outside of its queue, as long as the value lives.
pub(crate) fn keep<'a>(app: &'a App, job: &Job, asked: Instant) -> Held<'a> {
    app.work.leases.add(job, asked);
    app.work.leases.guard(job)
}

/// Something happened that makes a job due now, wherever it is.
pub(crate) async fn hasten(app: &App, queue: Queue, id: Uuid) -> Result<(), StoreError> {
    app.store.hasten(queue, id, app.world.now()).await?;
    let sitting = app.work.sitting.lock().get(&(queue, id)).cloned();
    match sitting {
        Some(sitting) => sitting.notify_one(),
        None => app.work.lane(queue).look.notify_one(),
    }
    Ok(())
}

/// A job was made due in a transaction of the store's: this process need not wait until it looks by itself.
pub(crate) fn notice(app: &App, queue: Queue) {
    app.work.lane(queue).look.notify_one();
}

/// Takes what is due, as many jobs as there are free slots.
async fn look<D: Doer>(app: &App) {
    let lane = app.work.lane(D::QUEUE);
    loop {
        let first = tokio::select! {
            permit = lane.slots.clone().acquire_owned() => permit,
            () = app.shutdown.cancelled() => return,
        };
        let mut permits: Vec<OwnedSemaphorePermit> = first.into_iter().collect();
        while permits.len() < BATCH
            && let Ok(permit) = lane.slots.clone().try_acquire_owned()
        {
            permits.push(permit);
        }
        let asked = Instant::now();
        let limit = u32::try_from(permits.len()).unwrap_or(1);
        match app.store.take_due(D::QUEUE, hold(app), app.world.now(), limit).await {
            Ok(jobs) => {
                let full = jobs.len() == permits.len();
                for (job, permit) in jobs.into_iter().zip(permits.drain(..)) {
                    app.work.leases.add(&job, asked);
                    let state = app.clone();
                    app.in_background(async move { sit::<D>(&state, job, permit).await });
                }
                if full {
                    continue;
                }
            }
            Err(error) => tracing::warn!(queue = %D::QUEUE, %error, "due work could not be looked for"),
        }
        drop(permits);
        // Replicas must not all look in the same moment.
        let pause = LOOK.mul_f64(0.75 + 0.5 * (app.world.entropy.next() % 1000) as f64 / 1000.0);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = lane.look.notified() => {}
            () = app.shutdown.cancelled() => return,
        }
    }
}

/// Stays with a job as long as its steps come soon.
async fn sit<D: Doer>(app: &App, job: Job, permit: OwnedSemaphorePermit) {
    let key = (D::QUEUE, job.id);
    let nudge = Arc::new(Notify::new());
    // Whoever sat here before notices that the job was taken from them.
    app.work.sitting.lock().insert(key, nudge.clone());
    let mut doer = D::new(app, job.id);
    let mut taken = Some((job, permit));
    loop {
        let (job, permit) = match taken.take() {
            Some(taken) => taken,
            None => match take_again(app, key).await {
                Some(taken) => taken,
                None => break,
            },
        };
        let pause = step(app, &mut doer, &job).await;
        drop(permit);
        let Some(pause) = pause.filter(|pause| *pause <= LONGEST_SIT) else { break };
        if app.work.sitting.lock().len() > MOST_SITTING {
            break;
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = nudge.notified() => {}
            () = doer.event() => {}
            () = app.shutdown.cancelled() => {
                // Others need not wait for the time we would have waited.
                if let Err(error) = app.store.hasten(key.0, key.1, app.world.now()).await {
                    tracing::warn!(queue = %key.0, job.id = %key.1, %error, "work could not be left to others early");
                }
                break;
            }
        }
    }
    let mut sitting = app.work.sitting.lock();
    if sitting.get(&key).is_some_and(|current| Arc::ptr_eq(current, &nudge)) {
        sitting.remove(&key);
    }
}

/// `None`: another replica has it, it is over, or the database is away, in which case it is found when it is due.
async fn take_again(app: &App, (queue, id): Key) -> Option<(Job, OwnedSemaphorePermit)> {
    let permit = app.work.lane(queue).slots.clone().acquire_owned().await.ok()?;
    let asked = Instant::now();
    match app.store.take(queue, id, hold(app), app.world.now()).await {
        Ok(job) => {
            let job = job?;
            app.work.leases.add(&job, asked);
            Some((job, permit))
        }
        Err(error) => {
            tracing::warn!(%queue, job.id = %id, %error, "work could not be taken again");
            None
        }
    }
}

/// Does one step and writes down how it ended. The pause before the next one; `None` when this process is done with the
/// job.
async fn step<D: Doer>(app: &App, doer: &mut D, job: &Job) -> Option<Duration> {
    let held = app.work.leases.guard(job);
    let outcome = tokio::select! {
        outcome = AssertUnwindSafe(doer.step(job)).catch_unwind() => outcome.unwrap_or_else(|panic| {
            Outcome::Failed(ogel_api::error::Error::internal(crate::pipeline::words_of(&*panic)).into())
        }),
        () = held.lost() => {
            tracing::warn!(queue = %D::QUEUE, job.id = %job.id, "another replica has taken over work of this one");
            return None;
        }
        // Others need not wait for the lease to end.
        () = app.shutdown.cancelled() => Outcome::Later(Duration::ZERO),
    };
    loop {
        let now = app.world.now();
        let (pause, written) = match &outcome {
            Outcome::Done => (None, app.store.finish_job(job).await),
            // Whatever the step would have waited for: nobody here does any more, and others need not.
            Outcome::Later(_) if app.shutdown.is_cancelled() => (None, app.store.put_back(job, now, None).await),
            Outcome::Later(pause) => (Some(*pause), app.store.put_back(job, due(now, *pause), None).await),
            Outcome::Failed(failure) => {
                let error = describe(failure);
                let attempt = job.attempts;
                tracing::warn!(queue = %D::QUEUE, job.id = %job.id, attempt, error, "work did not get further");
                match doer.pause(app, job) {
                    Some(pause) => {
                        let pause = failure.0.retry_after.map_or(pause, |wait| pause.max(wait));
                        (Some(pause), app.store.put_back(job, due(now, pause), Some(&error)).await)
                    }
                    None => {
                        tracing::error!(queue = %D::QUEUE, job.id = %job.id, "work has failed too often; an operator must look at it");
                        (None, doer.bury(app, job, &error).await)
                    }
                }
            }
        };
        match written {
            Ok(true) => return pause,
            // Taken from us, or ended by the step itself.
            Ok(false) => return None,
            Err(error) => {
                tracing::warn!(queue = %D::QUEUE, job.id = %job.id, %error, "how work ended could not be written down");
                tokio::select! {
                    () = tokio::time::sleep(LOOK) => {}
                    () = held.lost() => return None,
                    () = app.shutdown.cancelled() => return None,
                }
            }
        }
    }
}

fn due(now: chrono::DateTime<chrono::Utc>, pause: Duration) -> chrono::DateTime<chrono::Utc> {
    now + TimeDelta::from_std(pause + GRACE).unwrap_or(TimeDelta::MAX)
}

/// What operators read of a failure: more than callers are told.
fn describe(failure: &Failure) -> String {
    let error = &failure.0;
    let mut text = format!("{}: {}", error.code, error.message);
    let mut cause = error.cause.as_deref().map(|cause| cause as &dyn std::error::Error);
    while let Some(known) = cause {
        text.push_str(&format!("; {known}"));
        cause = known.source();
    }
    text.chars().take(1000).collect()
}
