//! Tells webhooks what they want to be told. A webhook that has something to be told is a job: one replica is at it, with a
//! few posts at a time, so a receiver that hangs holds up its own deliveries and no others.
//!
//! At least once: a process that dies between an answer and its note posts again, under the same id. An attempt that fails
//! is repeated over some three days, ever more rarely.

use super::receiver::{Answer, Message};
use super::signature;
use crate::{
    error::{Failure, Result},
    state::App,
    work::{self, Doer, Outcome},
};
use chrono::TimeDelta;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use ogel_api::{admin::Queue, error::Error, id::WebhookId, webhooks::WebhookDisabledReason};
use ogel_store::{Attempt, Attempted, Job, Verdict, Webhook, WebhookDelivery};
use std::time::Duration;
use uuid::Uuid;

/// The pauses between attempts, in seconds: the last one comes three days after the first.
const PAUSES: [i64; 10] = [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 50_400, 50_400, 50_400];
/// A webhook that could be told nothing for so long when a delivery is given up is told nothing more.
const FAILING_FOR: TimeDelta = TimeDelta::days(2);
/// A receiver may ask for a longer pause, up to the longest of ours.
const LONGEST_PAUSE: i64 = 50_400;
/// Posts to one receiver at the same time.
const AT_ONCE: usize = 4;
/// Deliveries in one go, after which others get their turn.
const BATCH: u32 = 16;
/// With nothing to tell. What happens meanwhile wakes the job.
const IDLE: Duration = Duration::from_secs(6 * 3600);

/// One webhook's deliveries.
pub(crate) struct Delivering {
    app: App,
    id: WebhookId,
}

impl Doer for Delivering {
    const QUEUE: Queue = Queue::Webhooks;

    fn new(app: &App, id: Uuid) -> Self {
        Self { app: app.clone(), id: WebhookId(id) }
    }

    async fn step(&mut self, _: &Job) -> Outcome {
        match self.deliver().await {
            Ok(Some(pause)) => Outcome::Later(pause),
            Ok(None) => Outcome::Done,
            Err(failure) => Outcome::Failed(failure),
        }
    }

    /// It is the database that failed, and comes back: a webhook is never given up for that.
    fn pause(&self, app: &App, job: &Job) -> Option<Duration> {
        Some(work::backoff(app, job.attempts.unsigned_abs()))
    }
}

impl Delivering {
    /// How long there will be nothing to do. `None`: the webhook is no more.
    async fn deliver(&self) -> Result<Option<Duration>> {
        let app = &self.app;
        let Some(webhook) = app.store.webhook_for_delivery(self.id).await? else { return Ok(None) };
        if !webhook.is_enabled {
            return Ok(Some(IDLE));
        }
        let secrets = secrets(app, &webhook)?;
        let due = app.store.due_webhook_deliveries(self.id, app.world.now(), BATCH).await?;
        stream::iter(due)
            .map(|delivery| {
                let (webhook, secrets) = (&webhook, &secrets);
                async move { attempt(app, webhook, secrets, delivery).await }
            })
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await?;
        let next = app.store.next_webhook_attempt(self.id).await?;
        Ok(Some(next.map_or(IDLE, |at| (at - app.world.now()).to_std().unwrap_or_default().min(IDLE))))
    }
}

/// What deliveries are signed with: the secret, and while it is new the one before.
fn secrets(app: &App, webhook: &Webhook) -> Result<Vec<String>> {
    let open = |sealed: &str| {
        let plain = app.sealer.open(&secret_context(webhook.id), sealed).map_err(Error::internal)?;
        String::from_utf8(plain).map_err(|error| Failure::from(Error::internal(error)))
    };
    let mut secrets = vec![open(&webhook.secret)?];
    if let (Some(previous), Some(until)) = (&webhook.previous_secret, webhook.previous_secret_expires_at)
        && until > app.world.now()
    {
        secrets.push(open(previous)?);
    }
    Ok(secrets)
}

/// What a webhook's sealed secrets are bound to.
pub(crate) fn secret_context(id: WebhookId) -> String {
    format!("webhook {id}")
}

async fn attempt(app: &App, webhook: &Webhook, secrets: &[String], delivery: WebhookDelivery) -> Result<()> {
    let (at, began) = (app.world.now(), tokio::time::Instant::now());
    let id = delivery.event_id.to_string();
    let signature = signature::sign(secrets, &id, at.timestamp(), delivery.payload.as_bytes());
    let (allow_private, timeout) = {
        let config = app.config();
        (config.webhooks.allow_private_hosts, Duration::from_secs(config.webhooks.timeout_seconds.max(1)))
    };
    let message = Message { id, timestamp: at.timestamp(), signature, body: delivery.payload };
    let answer = app.hooks.receivers.post(&webhook.url, message, allow_private, timeout).await;
    let duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let error = match &answer {
        Ok(Answer { status: 200..300, .. }) => None,
        Ok(Answer { status: 300..400, .. }) => Some("redirects are not followed".to_owned()),
        Ok(Answer { status, .. }) => Some(format!("the receiver answered {status}")),
        Err(error) => Some(error.clone()),
    };
    app.hooks.count_attempt(error.is_none());
    let mut attempts = delivery.attempts;
    let verdict = verdict(app, webhook, &answer, attempts.len());
    let (status, response) = match answer {
        Ok(answer) => (Some(answer.status), Some(answer.body)),
        Err(_) => (None, None),
    };
    attempts.push(Attempt { at, duration_ms, status, error, response });
    let attempted = Attempted { attempts, verdict, at: app.world.now() };
    Ok(app.store.record_webhook_attempt(webhook, delivery.id, &attempted).await?)
}

fn verdict(app: &App, webhook: &Webhook, answer: &std::result::Result<Answer, String>, before: usize) -> Verdict {
    let now = app.world.now();
    match answer {
        Ok(Answer { status: 200..300, .. }) => return Verdict::Succeeded,
        Ok(Answer { status: 410, .. }) => return Verdict::GivenUp(Some(WebhookDisabledReason::Gone)),
        _ => {}
    }
    let Some(pause) = PAUSES.get(before) else {
        let failing = webhook.failing_since.is_some_and(|since| now - since >= FAILING_FOR);
        return Verdict::GivenUp(failing.then_some(WebhookDisabledReason::Failing));
    };
    // Up to a tenth more, so that what failed together does not come back together.
    let pause = pause * 1000 + pause * i64::try_from(app.world.entropy.next() % 100).unwrap_or(0);
    let asked = match answer {
        Ok(Answer { retry_after: Some(seconds), .. }) => {
            i64::try_from(*seconds).unwrap_or(LONGEST_PAUSE).min(LONGEST_PAUSE) * 1000
        }
        _ => 0,
    };
    Verdict::Again(now + TimeDelta::milliseconds(pause.max(asked)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_spans_three_days_from_seconds_to_fourteen_hours() {
        let total: i64 = PAUSES.iter().sum();
        assert!((3 * 86_400..4 * 86_400).contains(&total), "{total}");
        assert!(PAUSES.is_sorted() && PAUSES[0] == 5 && PAUSES[PAUSES.len() - 1] == 14 * 3600);
    }
}
