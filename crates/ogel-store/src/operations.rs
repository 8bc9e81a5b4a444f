//! Operations: what was asked for and takes its time. One is written in the transaction of its job (`work.rs`) and ended in
//! the transaction of its effect, so that how it stands is true whatever dies in between.
//!
//! Making and canceling a deployment are done by the deployment's own job, everything else by a job of the operation's.

use crate::{
    Act, Actor, Deployment, Emission, Entry, Hold, Job, NewJob, Page, PageRequest, Result, Store, StoreError, Viewer,
    audit::write_down,
    deployments::DELETE_ENDED,
    pool::{on_read, on_write},
    viewer::seen_by,
    webhooks::outbox::emit,
    words::row,
    work::enqueue,
};
use chrono::{DateTime, Utc};
use ogel_api::{
    admin::Queue,
    audit::AuditAction,
    id::{ApiKeyId, DeploymentId, OperationId, OrganizationId, ProjectId, UserId},
    operations::{OperationKind, OperationState},
    webhooks::WebhookEventType,
};
use std::net::IpAddr;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    pub id: OperationId,
    pub kind: OperationKind,
    pub state: OperationState,
    pub organization_id: OrganizationId,
    pub project_id: ProjectId,
    pub deployment_id: Option<DeploymentId>,
    pub requested_by: Option<UserId>,
    /// What the requester said about it.
    pub reason: Option<String>,
    pub error_code: Option<String>,
    pub error: Option<String>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub completed_at: Option<DateTime<Utc>>,
    /// With which key, from where and in which request it was asked for.
    pub actor_key: Option<ApiKeyId>,
    pub ip: Option<IpAddr>,
    pub request_id: Option<String>,
}
row!(Operation, columns of "operations" {
    id,
    kind,
    state,
    organization_id,
    project_id,
    deployment_id,
    requested_by,
    reason,
    error_code,
    error,
    created_at,
    updated_at,
    completed_at,
    actor_key,
    ip,
    request_id,
});
pub(crate) use columns as operation_columns;

/// An operation about to be asked for.
#[derive(Clone, Debug)]
pub struct NewOperation<'a> {
    pub id: OperationId,
    pub kind: OperationKind,
    pub project_id: ProjectId,
    pub deployment_id: Option<DeploymentId>,
    pub requested_by: Option<UserId>,
    pub reason: Option<&'a str>,
    pub created_at: DateTime<Utc>,
    /// What its entry will say of who asked; `None` where nobody did.
    pub act: Option<&'a Act>,
}

/// How an operation ended.
#[derive(Clone, Copy, Debug)]
pub enum Ending<'a> {
    Success,
    /// A public error code and sentence.
    Failure {
        code: &'a str,
        message: &'a str,
    },
}

/// `$1` the id, `$2` the kind, `$3` the project, `$4` the deployment, `$5` the requester, `$6` the reason, `$7` the time, `$8` the
/// key, `$9` the address, `$10` the request. Nothing where one of a kind that there is only one of is open already.
pub(crate) const ADD_OPERATION: &str = "INSERT INTO operations (id, kind, state, organization_id, project_id, deployment_id, \
       requested_by, reason, created_at, updated_at, actor_key, ip, request_id) \
     SELECT $1, $2, 'pending', organization_id, $3, $4, $5, $6, $7, $7, $8, $9, $10 FROM projects WHERE id = $3 ON CONFLICT DO NOTHING";

/// Writes a [`NewOperation`] in the transaction `$tx`. Whether there was none open yet.
macro_rules! add_operation {
    ($tx:expr, $operation:expr) => {{
        let operation: &$crate::operations::NewOperation<'_> = $operation;
        sqlx::query($crate::operations::ADD_OPERATION)
            .bind(operation.id.0)
            .bind(operation.kind.as_str())
            .bind(operation.project_id.0)
            .bind(operation.deployment_id.map(|id| id.0))
            .bind(operation.requested_by.map(|id| id.0))
            .bind(operation.reason)
            .bind(operation.created_at)
            .bind(operation.act.and_then(|act| act.user_and_key().1))
            .bind(operation.act.and_then(|act| act.ip.map(|ip| ip.to_string())))
            .bind(operation.act.and_then(|act| act.request_id.as_deref()))
            .execute(&mut *$tx)
            .await?
            .rows_affected()
            > 0
    }};
}
pub(crate) use add_operation;

/// Ends what is open of kind `$2` for deployment `$1`: `$3` the state, `$4` the code, `$5` the sentence, `$6` the time.
pub(crate) const END_OF_DEPLOYMENT: &str = "UPDATE operations SET state = $3, error_code = $4, error = $5, updated_at = $6, completed_at = $6 \
     WHERE deployment_id = $1 AND kind = $2 AND completed_at IS NULL";

/// Ends what is open of `$kind` for the deployment `$id` in the transaction `$tx`.
macro_rules! end_operation_of {
    ($tx:expr, $id:expr, $kind:expr, $ending:expr, $now:expr) => {{
        let (state, code, message) = $crate::operations::words_of($ending);
        sqlx::query($crate::operations::END_OF_DEPLOYMENT)
            .bind($id.0)
            .bind($kind.as_str())
            .bind(state.as_str())
            .bind(code)
            .bind(message)
            .bind($now)
            .execute(&mut *$tx)
            .await?;
    }};
}
pub(crate) use end_operation_of;

pub(crate) fn words_of(ending: Ending<'_>) -> (OperationState, Option<&str>, Option<&str>) {
    match ending {
        Ending::Success => (OperationState::Succeeded, None, None),
        Ending::Failure { code, message } => (OperationState::Failed, Some(code), Some(message)),
    }
}

const END: &str = "UPDATE operations SET state = $2, error_code = $3, error = $4, updated_at = $5, completed_at = $5 \
     WHERE id = $1 AND completed_at IS NULL";
const FINISH_JOB: &str = "DELETE FROM work WHERE queue = 'operations' AND id = $1 AND fence = $2 AND dead_at IS NULL";

impl Store {
    /// Writes it together with its job, which `hold` has from the start. One of its kind that is open already is answered
    /// with instead, without a job to begin. `ForeignKey` when the project is no more.
    pub async fn begin_operation(&self, new: &NewOperation<'_>, hold: Hold) -> Result<(Operation, Option<Job>)> {
        let job = NewJob {
            queue: Queue::Operations,
            id: new.id.0,
            due_at: new.created_at,
            hold: Some(hold),
            created_at: new.created_at,
        };
        let (row, is_new): (Option<Operation>, bool) = on_write!(self, db => {
            let mut tx = db.begin_with(BEGIN).await?;
            let is_new = add_operation!(tx, new);
            if is_new {
                enqueue!(tx, &job);
            }
            let row = sqlx::query_as(concat!("SELECT ", columns!(), " FROM operations WHERE id = $1 OR (NOT $2 \
                AND project_id = $3 AND kind = $4 AND completed_at IS NULL AND ($5 IS NULL OR deployment_id = $5)) \
                ORDER BY created_at LIMIT 1"))
                .bind(new.id.0).bind(is_new).bind(new.project_id.0).bind(new.kind.as_str()).bind(new.deployment_id.map(|id| id.0))
                .fetch_optional(&mut *tx).await?;
            tx.commit().await?;
            (row, is_new)
        });
        let row = row.ok_or(StoreError::ForeignKey)?;
        Ok((row, is_new.then(|| job.taken())))
    }

    /// For whoever does it: not to be answered to a caller.
    pub async fn operation_for_worker(&self, id: OperationId) -> Result<Option<Operation>> {
        Ok(on_read!(self, db => sqlx::query_as(concat!("SELECT ", columns!(), " FROM operations WHERE id = $1"))
            .bind(id.0).fetch_optional(db).await?))
    }

    /// Of the viewer's organizations; a project that was deleted is no hindrance, its deletion is an operation, too.
    pub async fn operation(&self, viewer: &Viewer, id: OperationId) -> Result<Option<Operation>> {
        Ok(on_read!(self, db => seen_by!(sqlx::query_as(concat!(
            "SELECT ", columns!(), " FROM operations \
             JOIN organization_members m ON m.organization_id = operations.organization_id AND m.user_id = $1 \
             AND ($2 IS NULL OR operations.organization_id = $2) AND ($3 IS NULL OR operations.project_id = $3) \
             WHERE operations.id = $4")), viewer)
            .bind(id.0).fetch_optional(db).await?))
    }

    /// The open one of this kind, if there is one.
    pub async fn open_operation(&self, deployment: DeploymentId, kind: OperationKind) -> Result<Option<Operation>> {
        Ok(on_read!(self, db => sqlx::query_as(concat!("SELECT ", columns!(), " FROM operations \
            WHERE deployment_id = $1 AND kind = $2 AND completed_at IS NULL"))
            .bind(deployment.0).bind(kind.as_str()).fetch_optional(db).await?))
    }

    /// Everybody's, for operators: newest first, in one state if that is named.
    pub async fn operations(&self, state: Option<OperationState>, request: &PageRequest) -> Result<Page<Operation>> {
        let rows = on_read!(self, db => sqlx::query_as(concat!(
            "SELECT ", columns!(), " FROM operations WHERE ($1 IS NULL OR state = $1) AND (created_at, id) < ($2, $3) \
             ORDER BY created_at DESC, id DESC LIMIT $4"))
            .bind(state.map(OperationState::as_str)).bind(request.after_time()).bind(request.after_id()).bind(request.fetch())
            .fetch_all(db).await?);
        Ok(request.page(rows, |row: &Operation| (row.created_at, row.id.0)))
    }

    /// Whether a promotion of the project that was asked for later is done already.
    pub async fn is_superseded(&self, promotion: &Operation) -> Result<bool> {
        Ok(on_read!(self, db => sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM operations WHERE project_id = $1 AND created_at > $2 \
             AND kind IN ('promote_deployment', 'roll_back_deployment') AND state = 'succeeded')")
            .bind(promotion.project_id.0).bind(promotion.created_at).fetch_one(db).await?))
    }

    /// Ends the operation and its job. Whether the job was still held; nothing happens otherwise.
    pub async fn end_operation(&self, job: &Job, ending: Ending<'_>, now: DateTime<Utc>) -> Result<bool> {
        let (state, code, message) = words_of(ending);
        Ok(on_write!(self, db => {
            let mut tx = db.begin_with(BEGIN).await?;
            let held = sqlx::query(FINISH_JOB).bind(job.id).bind(job.fence).execute(&mut *tx).await?.rows_affected() > 0;
            if held {
                sqlx::query(END).bind(job.id).bind(state.as_str()).bind(code).bind(message).bind(now).execute(&mut *tx).await?;
            }
            tx.commit().await?;
            held
        }))
    }

    /// The deployment is gone from Ghost: so is its record, and the operation is done. One that is not over stays.
    pub async fn end_deployment_deletion(
        &self,
        job: &Job,
        asked: &Operation,
        id: DeploymentId,
        now: DateTime<Utc>,
    ) -> Result<bool> {
        Ok(on_write!(self, db => {
            let mut tx = db.begin_with(BEGIN).await?;
            let held = sqlx::query(FINISH_JOB).bind(job.id).bind(job.fence).execute(&mut *tx).await?.rows_affected() > 0;
            if held {
                let gone: Option<Deployment> = sqlx::query_as(DELETE_ENDED).bind(id.0).fetch_all(&mut *tx).await?.pop();
                if let Some(row) = &gone {
                    emit!(tx, &Emission::of_deployment(row, WebhookEventType::DeploymentDeleted, now));
                    let entry = Entry::new(asked.organization_id, AuditAction::DeploymentDeleted, id)
                        .before("projectId", row.project_id).before("branch", &row.branch).before("commitSha", &row.commit_sha);
                    write_down!(tx, &asked.act(now), [entry]);
                }
                sqlx::query(END).bind(job.id).bind("succeeded").bind(None::<&str>).bind(None::<&str>).bind(now).execute(&mut *tx).await?;
            }
            tx.commit().await?;
            held
        }))
    }

    /// Buries the job, and with it every open operation that it was to do. Whether it was still held.
    pub async fn bury_operations(&self, job: &Job, error: &str, now: DateTime<Utc>) -> Result<bool> {
        Ok(on_write!(self, db => {
            let mut tx = db.begin_with(BEGIN).await?;
            let held = sqlx::query(
                "UPDATE work SET leased_by = NULL, leased_until = NULL, dead_at = $4, last_error = $5 \
                 WHERE queue = $1 AND id = $2 AND fence = $3 AND dead_at IS NULL")
                .bind(job.queue.as_str()).bind(job.id).bind(job.fence).bind(now).bind(error)
                .execute(&mut *tx).await?.rows_affected() > 0;
            if held {
                sqlx::query(
                    "UPDATE operations SET state = 'dead', updated_at = $3 WHERE completed_at IS NULL \
                     AND (($2 = 'operations' AND id = $1) OR ($2 = 'deployments' AND deployment_id = $1 \
                          AND kind IN ('create_deployment', 'cancel_deployment')))")
                    .bind(job.id).bind(job.queue.as_str()).bind(now).execute(&mut *tx).await?;
            }
            tx.commit().await?;
            held
        }))
    }

    /// A dead operation is to be done after all. `None`: there is none, or it is not dead.
    pub async fn retry_operation(&self, id: OperationId, now: DateTime<Utc>) -> Result<Option<Operation>> {
        Ok(on_write!(self, db => {
            let mut tx = db.begin_with(BEGIN).await?;
            let row: Option<Operation> = sqlx::query_as(concat!(
                "UPDATE operations SET state = 'pending', updated_at = $2 WHERE id = $1 AND state = 'dead' RETURNING ", columns!()))
                .bind(id.0).bind(now).fetch_all(&mut *tx).await?.pop();
            if let Some(operation) = &row {
                let (queue, job) = operation.job();
                sqlx::query("UPDATE work SET dead_at = NULL, attempts = 0, due_at = $3 \
                             WHERE queue = $1 AND id = $2 AND dead_at IS NOT NULL")
                    .bind(queue.as_str()).bind(job).bind(now).execute(&mut *tx).await?;
            }
            tx.commit().await?;
            row
        }))
    }

    /// Removes at most `limit` that ended before `before`; answers how many.
    pub async fn delete_old_operations(&self, before: DateTime<Utc>, limit: u32) -> Result<u64> {
        Ok(on_write!(self, db => sqlx::query(
            "DELETE FROM operations WHERE id IN (SELECT id FROM operations WHERE completed_at < $1 LIMIT $2)")
            .bind(before).bind(i64::from(limit)).execute(db).await?.rows_affected()))
    }
}

impl Operation {
    /// What the log says of its being done, which it is once: so the entry has its id.
    pub fn act(&self, at: DateTime<Utc>) -> Act {
        let actor = match (self.requested_by, self.actor_key) {
            (Some(user), Some(key)) => Actor::Key(user, key),
            (Some(user), None) => Actor::User(user),
            (None, _) => Actor::System,
        };
        Act { actor, ip: self.ip, request_id: self.request_id.clone(), ..Act::by_the_system(self.id.0, at) }
    }

    /// The job that does it.
    pub fn job(&self) -> (Queue, uuid::Uuid) {
        match (self.kind, self.deployment_id) {
            (OperationKind::CreateDeployment | OperationKind::CancelDeployment, Some(deployment)) => {
                (Queue::Deployments, deployment.0)
            }
            _ => (Queue::Operations, self.id.0),
        }
    }
}
