//! Accounts that were deleted here and have to go at Ghost too: a job of the queue `accounts` for each, so that it is done
//! although Ghost is away just now. Ghost's id of a person is ours, so nothing else need be remembered of them.

use crate::{
    state::App,
    work::{self, Doer, Outcome},
};
use ogel_api::{admin::Queue, id::UserId};
use ogel_store::Job;
use std::time::Duration;
use uuid::Uuid;

/// Attempts that follow each other closely, and the pause after them.
const EAGER: u64 = 20;
const PATIENT: Duration = Duration::from_secs(600);

/// One account.
pub(crate) struct Departing {
    app: App,
    user: UserId,
}

impl Doer for Departing {
    const QUEUE: Queue = Queue::Accounts;

    fn new(app: &App, id: Uuid) -> Self {
        Self { app: app.clone(), user: UserId(id) }
    }

    async fn step(&mut self, _: &Job) -> Outcome {
        match self.app.bridge.delete_account(self.user).await {
            Ok(()) => Outcome::Done,
            Err(failure) => Outcome::Failed(failure),
        }
    }

    /// However long Ghost is away: nobody is left who could ask for it again.
    fn pause(&self, app: &App, job: &Job) -> Option<Duration> {
        let attempts = job.attempts.unsigned_abs();
        Some(if attempts < EAGER { work::backoff(app, attempts) } else { PATIENT })
    }
}
