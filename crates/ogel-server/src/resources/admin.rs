//! What operators look at and set right.

use crate::{
    error::Result,
    extract::{Json, NoParameters, Query},
    operators::Operator,
    state::App,
};
use axum::extract::State;
use ogel_api::admin::{QueueFigures, QueueList};
use utoipa_axum::{router::OpenApiRouter, routes};

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_queues))
}

/// The queues of work that outlives any process: how much waits, how much is in work, and what failed too often.
#[utoipa::path(get, path = "/admin/queues", operation_id = "list_queues", tag = "admin",
    responses((status = 200, body = QueueList)), security(("bearer" = [])))]
async fn list_queues(State(app): State<App>, _: Operator, _: Query<NoParameters>) -> Result<Json<QueueList>> {
    let figures = app.store.queue_figures(app.world.now()).await?;
    Ok(Json(QueueList { queues: figures.iter().map(wire).collect() }))
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
