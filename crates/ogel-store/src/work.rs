//! Work that must be done although any process may die: queues of jobs, each held by at most one process at a time.
//!
//! A job is written in the transaction of what makes it necessary ([`enqueue!`]), under the id of what it is about. Whoever
//! does it holds a lease: until it ends nobody else gets the job, and when its holder dies the lease ends by itself. Each
//! taking raises the job's `fence`; who comes with an old one has lost the job, and changes nothing. All statements are
//! single updates, so they need no locks that SQLite does not have.
//!
//! A job that keeps failing is buried: it stays for people to look at, and is taken no more until it is revived.

use crate::{
    Result, Store,
    pool::{on_read, on_write},
    words::row,
};
use chrono::{DateTime, Utc};
use ogel_api::admin::Queue;
use uuid::Uuid;

/// One job as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    pub queue: Queue,
    /// Of what it is about.
    pub id: Uuid,
    /// When it may be taken.
    pub due_at: DateTime<Utc>,
    /// How often it was taken since it last went well. One that kills whoever takes it is counted too.
    pub attempts: i64,
    /// Raised each time it is taken.
    pub fence: i64,
    pub leased_until: Option<DateTime<Utc>>,
    pub last_error: Option<String>,
    pub dead_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
}
row!(Job, columns of "work" { queue, id, due_at, attempts, fence, leased_until, last_error, dead_at, created_at });

/// Who takes a job, and how long it is theirs.
#[derive(Clone, Copy, Debug)]
pub struct Hold {
    /// The process, not the machine: a new one each time it starts.
    pub owner: Uuid,
    pub until: DateTime<Utc>,
}

/// A job about to be written. Whoever writes it may take it at once.
#[derive(Clone, Copy, Debug)]
pub struct NewJob {
    pub queue: Queue,
    pub id: Uuid,
    pub due_at: DateTime<Utc>,
    pub hold: Option<Hold>,
    pub created_at: DateTime<Utc>,
}

impl NewJob {
    /// The job as it stands after it was written for whoever holds it.
    pub(crate) fn taken(&self) -> Job {
        Job {
            queue: self.queue,
            id: self.id,
            due_at: self.due_at,
            attempts: 1,
            fence: 1,
            leased_until: self.hold.map(|hold| hold.until),
            last_error: None,
            dead_at: None,
            created_at: self.created_at,
        }
    }
}

/// How a queue stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueFigures {
    pub queue: Queue,
    /// Jobs that nobody is at, due or not.
    pub waiting: i64,
    pub leased: i64,
    pub dead: i64,
    /// When the job that waits longest became due; also in the future.
    pub oldest_due_at: Option<DateTime<Utc>>,
}
row!(QueueFigures { queue, waiting, leased, dead, oldest_due_at });

/// `$1` the queue, `$2` the id, `$3` when it is due, `$4` the owner, `$5` until when, `$6` the time. A job that is there
/// already becomes due no later than now asked for.
pub(crate) const ENQUEUE: &str = "INSERT INTO work (queue, id, due_at, attempts, fence, leased_by, leased_until, created_at) \
     VALUES ($1, $2, $3, CASE WHEN $5 IS NULL THEN 0 ELSE 1 END, CASE WHEN $5 IS NULL THEN 0 ELSE 1 END, $4, $5, $6) \
     ON CONFLICT (queue, id) DO UPDATE SET \
       due_at = CASE WHEN work.due_at < excluded.due_at THEN work.due_at ELSE excluded.due_at END";

/// Writes a [`NewJob`] in the transaction `$tx`.
macro_rules! enqueue {
    ($tx:expr, $job:expr) => {{
        let job: &$crate::work::NewJob = $job;
        sqlx::query($crate::work::ENQUEUE)
            .bind(job.queue.as_str())
            .bind(job.id)
            .bind(job.due_at)
            .bind(job.hold.map(|hold| hold.owner))
            .bind(job.hold.map(|hold| hold.until))
            .bind(job.created_at)
            .execute(&mut *$tx)
            .await?;
    }};
}
pub(crate) use enqueue;

/// What is due in queue `$1` at `$2`.
macro_rules! is_due {
    () => {
        "queue = $1 AND dead_at IS NULL AND due_at <= $2 AND (leased_until IS NULL OR leased_until <= $2)"
    };
}

impl Store {
    /// Writes a job by itself; one that belongs to a change is written in the change's transaction instead.
    pub async fn enqueue(&self, job: &NewJob) -> Result<()> {
        on_write!(self, db => {
            let mut tx = db.begin_with(BEGIN).await?;
            enqueue!(tx, job);
            tx.commit().await?;
        });
        Ok(())
    }

    /// Takes at most `limit` jobs that are due, those that wait longest first. Looks before it writes: most often there is
    /// nothing to take, and then nothing is locked.
    pub async fn take_due(&self, queue: Queue, hold: Hold, now: DateTime<Utc>, limit: u32) -> Result<Vec<Job>> {
        let any: bool = on_read!(self, db => sqlx::query_scalar(concat!(
            "SELECT EXISTS (SELECT 1 FROM work WHERE ", is_due!(), ")"))
            .bind(queue.as_str()).bind(now).fetch_one(db).await?);
        if !any || limit == 0 {
            return Ok(Vec::new());
        }
        Ok(on_write!(self, db => sqlx::query_as(concat!(
            "UPDATE work SET leased_by = $3, leased_until = $4, fence = fence + 1, attempts = attempts + 1, hastened = FALSE \
             WHERE ", is_due!(), " AND id IN (SELECT id FROM work WHERE ", is_due!(), " ORDER BY due_at, id LIMIT $5) \
             RETURNING ", columns!()))
            .bind(queue.as_str()).bind(now).bind(hold.owner).bind(hold.until).bind(i64::from(limit))
            .fetch_all(db).await?))
    }

    /// Takes this job, due or not. `None`: somebody holds it, it is dead, or it is no more.
    pub async fn take(&self, queue: Queue, id: Uuid, hold: Hold, now: DateTime<Utc>) -> Result<Option<Job>> {
        Ok(on_write!(self, db => sqlx::query_as(concat!(
            "UPDATE work SET leased_by = $4, leased_until = $5, fence = fence + 1, attempts = attempts + 1, hastened = FALSE \
             WHERE queue = $1 AND id = $3 AND dead_at IS NULL AND (leased_until IS NULL OR leased_until <= $2) RETURNING ", columns!()))
            .bind(queue.as_str()).bind(now).bind(id).bind(hold.owner).bind(hold.until)
            .fetch_all(db).await?.pop()))
    }

    /// Prolongs everything the owner still holds, and says what that is: queue, id and fence.
    pub async fn renew_leases(&self, hold: Hold) -> Result<Vec<(Queue, Uuid, i64)>> {
        let held: Vec<Job> = on_write!(self, db => sqlx::query_as(concat!(
            "UPDATE work SET leased_until = $2 WHERE leased_by = $1 RETURNING ", columns!()))
            .bind(hold.owner).bind(hold.until).fetch_all(db).await?);
        Ok(held.into_iter().map(|job| (job.queue, job.id, job.fence)).collect())
    }

    /// Puts a job back, to be taken from `due_at` on, or at once if it was hastened meanwhile. It went well so far, unless
    /// there is an `error`. Whether it was still held.
    pub async fn put_back(&self, job: &Job, due_at: DateTime<Utc>, error: Option<&str>) -> Result<bool> {
        let done = on_write!(self, db => sqlx::query(
            "UPDATE work SET leased_by = NULL, leased_until = NULL, due_at = CASE WHEN hastened THEN due_at ELSE $4 END, \
               last_error = $5, attempts = CASE WHEN $5 IS NULL THEN 0 ELSE attempts END \
             WHERE queue = $1 AND id = $2 AND fence = $3 AND dead_at IS NULL")
            .bind(job.queue.as_str()).bind(job.id).bind(job.fence).bind(due_at).bind(error)
            .execute(db).await?.rows_affected());
        Ok(done > 0)
    }

    /// Nobody is at it after all.
    pub async fn release(&self, queue: Queue, id: Uuid, fence: i64) -> Result<()> {
        on_write!(self, db => sqlx::query(
            "UPDATE work SET leased_by = NULL, leased_until = NULL WHERE queue = $1 AND id = $2 AND fence = $3")
            .bind(queue.as_str()).bind(id).bind(fence).execute(db).await?.rows_affected());
        Ok(())
    }

    /// The job is done, and is no more. Whether it was still held.
    pub async fn finish_job(&self, job: &Job) -> Result<bool> {
        let done = on_write!(self, db => sqlx::query(
            "DELETE FROM work WHERE queue = $1 AND id = $2 AND fence = $3 AND dead_at IS NULL")
            .bind(job.queue.as_str()).bind(job.id).bind(job.fence).execute(db).await?.rows_affected());
        Ok(done > 0)
    }

    /// Takes the job out of its queue, for people to look at. Whether it was still held.
    pub async fn bury(&self, job: &Job, error: &str, now: DateTime<Utc>) -> Result<bool> {
        let done = on_write!(self, db => sqlx::query(
            "UPDATE work SET leased_by = NULL, leased_until = NULL, dead_at = $4, last_error = $5 \
             WHERE queue = $1 AND id = $2 AND fence = $3 AND dead_at IS NULL")
            .bind(job.queue.as_str()).bind(job.id).bind(job.fence).bind(now).bind(error)
            .execute(db).await?.rows_affected());
        Ok(done > 0)
    }

    /// A dead job is to be done after all, from its first attempt on. Whether there was one.
    pub async fn revive(&self, queue: Queue, id: Uuid, now: DateTime<Utc>) -> Result<bool> {
        let done = on_write!(self, db => sqlx::query(
            "UPDATE work SET dead_at = NULL, attempts = 0, due_at = $3 WHERE queue = $1 AND id = $2 AND dead_at IS NOT NULL")
            .bind(queue.as_str()).bind(id).bind(now).execute(db).await?.rows_affected());
        Ok(done > 0)
    }

    /// Something happened that makes the job due now. Also while somebody is at it: they may have looked before it happened.
    pub async fn hasten(&self, queue: Queue, id: Uuid, now: DateTime<Utc>) -> Result<()> {
        on_write!(self, db => sqlx::query(
            "UPDATE work SET due_at = CASE WHEN due_at < $3 THEN due_at ELSE $3 END, hastened = TRUE WHERE queue = $1 AND id = $2")
            .bind(queue.as_str()).bind(id).bind(now).execute(db).await?.rows_affected());
        Ok(())
    }

    /// The job as it stands.
    pub async fn job(&self, queue: Queue, id: Uuid) -> Result<Option<Job>> {
        Ok(on_read!(self, db => sqlx::query_as(concat!(
            "SELECT ", columns!(), " FROM work WHERE queue = $1 AND id = $2"))
            .bind(queue.as_str()).bind(id).fetch_optional(db).await?))
    }

    /// Of every queue that has jobs.
    pub async fn queue_figures(&self, now: DateTime<Utc>) -> Result<Vec<QueueFigures>> {
        Ok(on_read!(self, db => sqlx::query_as(
            "SELECT queue, \
               COUNT(CASE WHEN dead_at IS NULL AND (leased_until IS NULL OR leased_until <= $1) THEN 1 END) AS waiting, \
               COUNT(CASE WHEN dead_at IS NULL AND leased_until > $1 THEN 1 END) AS leased, \
               COUNT(dead_at) AS dead, \
               MIN(CASE WHEN dead_at IS NULL AND (leased_until IS NULL OR leased_until <= $1) THEN due_at END) AS oldest_due_at \
             FROM work GROUP BY queue ORDER BY queue")
            .bind(now).fetch_all(db).await?))
    }
}
