//! What operators look at and set right.

use super::{
    operations,
    shared::{self, PageParameters},
};
use crate::{
    error::{Failure, Result},
    extract::{Json, NoParameters, Parameters, Path, Query, parameter},
    operators::Operator,
    reconciler,
    router::{Routes, routes},
    state::App,
};
use axum::{extract::State, http::StatusCode};
use ogel_api::{
    admin::{AdminOperation, AdminOperationList, Comparison, Finding, QueueFigures, QueueList, Reconciliation},
    error::{Error, ErrorCode},
    id::OperationId,
    operations::OperationState,
};

/// Findings shown at most.
const FINDINGS: u32 = 1000;

pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list_queues))
        .routes(routes!(list_operations))
        .routes(routes!(retry_operation))
        .routes(routes!(get_reconciliation, start_reconciliation))
}

/// The queues of work that outlives any process: how much waits, how much is in work, and what failed too often.
#[utoipa::path(get, path = "/admin/queues", operation_id = "list_queues", tag = "admin",
    responses((status = 200, body = QueueList)), security(("bearer" = [])))]
async fn list_queues(State(app): State<App>, _: Operator, _: Query<NoParameters>) -> Result<Json<QueueList>> {
    Ok(Json(QueueList { queues: queues(&app).await? }))
}

async fn queues(app: &App) -> Result<Vec<QueueFigures>> {
    let figures = app.store.queue_figures(app.world.now()).await?;
    Ok(figures.iter().map(wire).collect())
}

fn wire(figures: &ogel_store::QueueFigures) -> QueueFigures {
    QueueFigures {
        queue: figures.queue,
        waiting: figures.waiting.unsigned_abs(),
        running: figures.leased.unsigned_abs(),
        dead: figures.dead.unsigned_abs(),
        oldest_due_at: figures.oldest_due_at.map(Into::into),
    }
}

/// `state`, `limit` and `cursor`.
#[derive(Default)]
struct OperationParameters {
    page: PageParameters,
    state: Option<OperationState>,
}

impl Parameters for OperationParameters {
    const KNOWN: &'static [&'static str] = &["state", "limit", "cursor"];
    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "state" => self.state = Some(parameter(value)?),
            _ => self.page.set(name, value)?,
        }
        Ok(())
    }
}

/// Everybody's operations, newest first; those with the state `dead` failed too often and wait for `retry`.
#[utoipa::path(get, path = "/admin/operations", operation_id = "list_operations", tag = "admin",
    params(("state" = Option<OperationState>, Query), ("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = AdminOperationList)), security(("bearer" = [])))]
async fn list_operations(
    State(app): State<App>,
    _: Operator,
    Query(query): Query<OperationParameters>,
) -> Result<Json<AdminOperationList>> {
    let filters = format!("{:?}", query.state);
    let page = app.store.operations(query.state, &query.page.request(&filters)?).await?;
    let pagination = shared::pagination(&page, &filters);
    let mut operations = Vec::with_capacity(page.rows.len());
    for row in &page.rows {
        operations.push(admin_wire(&app, row).await?);
    }
    Ok(Json(AdminOperationList { operations, pagination }))
}

async fn admin_wire(app: &App, row: &ogel_store::Operation) -> Result<AdminOperation> {
    let (queue, id) = row.job();
    // What has ended has no job of its own any more.
    let job = if row.completed_at.is_some() { None } else { app.store.job(queue, id).await? };
    Ok(AdminOperation {
        operation: operations::wire(row),
        organization_id: row.organization_id,
        attempts: job.as_ref().map_or(0, |job| job.attempts.unsigned_abs()),
        last_error: job.and_then(|job| job.last_error),
    })
}

/// Has a dead operation done after all. 409 for one that is not dead.
#[utoipa::path(post, path = "/admin/operations/{id}/retry", operation_id = "retry_operation", tag = "admin",
    params(("id" = OperationId, Path)), responses((status = 202, body = AdminOperation)), security(("bearer" = [])))]
async fn retry_operation(
    State(app): State<App>,
    operator: Operator,
    Path(id): Path<OperationId>,
    _: Query<NoParameters>,
) -> Result<(StatusCode, Json<AdminOperation>)> {
    let Some(row) = app.store.retry_operation(id, app.world.now()).await? else {
        return Err(match app.store.operation_for_worker(id).await? {
            None => Error::not_found("operation", id).into(),
            Some(row) => {
                let message = format!("the operation is `{}`; only one that is `dead` can be retried", row.state);
                Failure::new(ErrorCode::Conflict, message)
            }
        });
    };
    tracing::info!(operation.id = %id, user.id = %operator.caller.user.id, "an operator retries a dead operation");
    let (queue, job) = row.job();
    crate::work::hasten(&app, queue, job).await?;
    Ok((StatusCode::ACCEPTED, Json(admin_wire(&app, &row).await?)))
}

/// Where Studio's record and the deployment backend's disagree, as the newest comparison of everything found it.
#[utoipa::path(get, path = "/admin/reconciliation", operation_id = "get_reconciliation", tag = "admin",
    responses((status = 200, body = Reconciliation)), security(("bearer" = [])))]
async fn get_reconciliation(
    State(app): State<App>,
    _: Operator,
    _: Query<NoParameters>,
) -> Result<Json<Reconciliation>> {
    Ok(Json(reconciliation(&app).await?))
}

async fn reconciliation(app: &App) -> Result<Reconciliation> {
    let last = app.store.last_comparison().await?.map(|done| Comparison {
        started_at: done.started_at.into(),
        finished_at: done.finished_at.into(),
        projects: done.projects.unsigned_abs(),
        deployments: done.deployments.unsigned_abs(),
        repaired: done.repaired.unsigned_abs(),
    });
    let findings = app.store.findings(FINDINGS).await?.into_iter().map(|row| Finding {
        kind: row.kind,
        project_id: row.project_id,
        ghost_id: row.ghost_id,
        detail: row.detail,
        first_seen_at: row.first_seen_at.into(),
        last_seen_at: row.last_seen_at.into(),
    });
    Ok(Reconciliation { last, findings: findings.collect(), queues: queues(app).await? })
}

/// Starts a comparison now instead of when it is due. The answer is how things stand before it.
#[utoipa::path(post, path = "/admin/reconciliation", operation_id = "start_reconciliation", tag = "admin",
    responses((status = 202, body = Reconciliation)), security(("bearer" = [])))]
async fn start_reconciliation(
    State(app): State<App>,
    _: Operator,
    _: Query<NoParameters>,
) -> Result<(StatusCode, Json<Reconciliation>)> {
    reconciler::ask(&app, true).await?;
    Ok((StatusCode::ACCEPTED, Json(reconciliation(&app).await?)))
}
