//! Changes of sites and domains, asked of Ghost and written down here: whoever asks has written before what will be said of
//! it, and holds the job of that. When Ghost has answered, the entry of the audit log and what webhooks are told are
//! committed together with the end of the job. When no answer comes, or the process dies before it is written down, the job
//! is left to whoever takes it next, which asks Ghost what became of the change.

use crate::{
    access::Access,
    bridge::STEP,
    error::{Failure, Result},
    resources::{domains, sites},
    responses::{self, DOMAINS, SITES, SITES_AND_DOMAINS, Tags},
    state::App,
    work::{self, Doer, Held, Outcome},
};
use chrono::TimeDelta;
use ogel_api::{admin::Queue, audit::AuditAction, domains::DomainStatus, error::ErrorCode};
use ogel_ghost::{CallContext, Credential};
use ogel_store::{Act, Entry, GhostObject, Job, ObjectChange, ObjectKind, ObjectOutcome, ObjectStep};
use serde_json::Value;
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

/// A call whose answer was lost may still be on its way. What Ghost does not show after this was not done.
const UNCLEAR: TimeDelta = TimeDelta::seconds(60);
/// Until then Ghost is asked this often.
const AGAIN: Duration = Duration::from_secs(2);
/// Failures that follow each other closely, and the pause after them.
const EAGER: u64 = 20;
const PATIENT: Duration = Duration::from_secs(600);

/// One that is under way in this request.
pub(crate) struct Change<'a> {
    app: &'a App,
    row: ObjectChange,
    job: Job,
    _held: Held<'a>,
}

/// Writes down what is about to be asked of Ghost and what will then be said of it; `was`: how a domain stands that is to be
/// looked at again. From here on it is settled, whatever happens to this process.
pub(crate) async fn begin<'a>(
    app: &'a App,
    access: &Access,
    object: &GhostObject,
    act: &Act,
    entry: &Entry,
    was: Option<DomainStatus>,
) -> Result<Change<'a>> {
    let row = ObjectChange { was, ..ObjectChange::new(act, object, access.project.organization_id, entry) };
    let began = Instant::now();
    let job = app.store.begin_object_change(&row, work::hold(app)).await?;
    let held = work::keep(app, &job, began);
    Ok(Change { app, row, job, _held: held })
}

impl Change<'_> {
    /// Ghost has answered, and this is what became of it. Where that cannot be written down now, its job does it later: for
    /// the caller it is as Ghost said.
    pub(crate) async fn end(self, outcome: ObjectOutcome<'_>) {
        if let Err(error) = end(self.app, &self.job, &self.row, outcome).await {
            tracing::warn!(change.id = %self.row.id, %error, "what became of a change is written down later");
        }
    }

    /// The call failed: either Ghost has refused, or nobody knows.
    pub(crate) async fn failed(self, error: &ogel_ghost::GhostError) {
        if error.code == ErrorCode::NotFound {
            return self.end(ObjectOutcome::NotThere).await;
        }
        if !error.may_have_been_processed {
            return self.end(ObjectOutcome::NotDone).await;
        }
        if let Err(error) = self.app.store.release(self.job.queue, self.job.id, self.job.fence).await {
            tracing::warn!(change.id = %self.row.id, %error, "a change is settled only when its lease has ended");
        }
        work::notice(self.app, Queue::Changes);
    }
}

async fn end(
    app: &App,
    job: &Job,
    row: &ObjectChange,
    outcome: ObjectOutcome<'_>,
) -> Result<bool, ogel_store::StoreError> {
    let held = app.store.end_object_change(job, row, outcome, app.world.now()).await?;
    let stays = matches!(row.step(), ObjectStep::Change | ObjectStep::Check)
        || matches!((row.step(), outcome), (ObjectStep::Make, ObjectOutcome::Done));
    if !stays {
        app.objects.forget(&row.object());
    }
    Ok(held)
}

/// What reads of a noun are kept under.
fn tags(row: &ObjectChange) -> Tags {
    match (row.kind, row.action) {
        (ObjectKind::Site, AuditAction::SiteDeleted) => SITES_AND_DOMAINS,
        (ObjectKind::Site, _) => SITES,
        (ObjectKind::Domain, _) => DOMAINS,
    }
}

/// Finds out what became of one whose asker is gone.
pub(crate) struct Settling {
    app: App,
    id: Uuid,
}

impl Doer for Settling {
    const QUEUE: Queue = Queue::Changes;

    fn new(app: &App, id: Uuid) -> Self {
        Self { app: app.clone(), id }
    }

    async fn step(&mut self, job: &Job) -> Outcome {
        match self.settle(job).await {
            Ok(outcome) => outcome,
            Err(failure) => Outcome::Failed(failure),
        }
    }

    /// However long Ghost is away: nobody is left who could ask for it again.
    fn pause(&self, app: &App, job: &Job) -> Option<Duration> {
        let attempts = job.attempts.unsigned_abs();
        Some(if attempts < EAGER { work::backoff(app, attempts) } else { PATIENT })
    }
}

impl Settling {
    async fn settle(&self, job: &Job) -> Result<Outcome> {
        let app = &self.app;
        let Some(row) = app.store.object_change(self.id).await? else { return Ok(Outcome::Done) };
        let found = found(app, &row).await?;
        let outcome = match (row.step(), &found) {
            (ObjectStep::Make, Some(_)) | (ObjectStep::Remove, None) => Some(ObjectOutcome::Done),
            (ObjectStep::Change, Some(document)) if is_as_asked(&row, document) => Some(ObjectOutcome::Done),
            (ObjectStep::Check, Some(document)) => Some(ObjectOutcome::Checked {
                domain: document["domain"].as_str().unwrap_or_default(),
                status: serde_json::from_value(document["status"].clone()).unwrap_or(DomainStatus::Pending),
            }),
            _ => None,
        };
        let age = app.world.now() - row.created_at;
        let outcome = match outcome {
            Some(outcome) => outcome,
            None if age < UNCLEAR => return Ok(Outcome::Later(AGAIN)),
            None => ObjectOutcome::NotDone,
        };
        end(app, job, &row, outcome).await?;
        responses::changed(app, row.project_id, tags(&row)).await;
        Ok(Outcome::Done)
    }
}

/// The object as the wire has it, if Ghost has it; a domain that was to be looked at again is.
async fn found(app: &App, row: &ObjectChange) -> Result<Option<Value>> {
    let Some(project) = app.bridge.known_project(row.project_id).await? else { return Ok(None) };
    let (context, credential) = (CallContext::within(STEP), Credential::ProjectKey(&project.key));
    let (ghost, at, id) = (&app.ghost, &project.id, &row.ghost_id);
    let found = match row.kind {
        ObjectKind::Site => match ghost.get_site(context, credential, at, id).await {
            Ok(answer) => Ok(sites::as_json(&row.object(), answer.read()?)?),
            Err(error) => Err(error),
        },
        ObjectKind::Domain => {
            let answer = match row.step() {
                ObjectStep::Check => ghost.verify_domain(context, credential, at, id).await,
                _ => ghost.get_domain(context, credential, at, id).await,
            };
            match answer {
                Ok(answer) => Ok(domains::as_json(app, &row.object(), answer.read()?).await?),
                Err(error) => Err(error),
            }
        }
    };
    match found {
        Ok(document) => Ok(Some(document)),
        Err(error) if error.code == ErrorCode::NotFound => Ok(None),
        Err(error) => Err(Failure::from(error)),
    }
}

/// Whether every field has the value that was asked for.
fn is_as_asked(row: &ObjectChange, document: &Value) -> bool {
    row.after_fields.iter().flatten().all(|(name, value)| document[name] == *value)
}
