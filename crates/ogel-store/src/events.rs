//! What happened to a deployment, in order. An event is written in the transaction of the change it records, so there is
//! neither a change without its event nor an event without its change.
//!
//! Events of one deployment are counted. Whoever adds one holds the deployment's row locked, by having updated it in the
//! same transaction; that keeps the count without holes.

use crate::{
    Page, PageRequest, Result, Store, Viewer,
    pool::on_read,
    viewer::{seen_by, sees_project},
    words::row,
};
use chrono::{DateTime, Utc};
use ogel_api::{
    deployments::DeploymentEventType,
    id::{DeploymentId, UserId},
};
use uuid::Uuid;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeploymentEvent {
    pub deployment_id: DeploymentId,
    /// From 1.
    pub n: i64,
    pub kind: DeploymentEventType,
    pub actor: Option<UserId>,
    pub reason: Option<String>,
    pub related_id: Option<DeploymentId>,
    pub created_at: DateTime<Utc>,
}
row!(DeploymentEvent, columns of "deployment_events" { deployment_id, n, kind, actor, reason, related_id, created_at });

/// What else there is to say of an event.
#[derive(Clone, Copy, Default)]
pub(crate) struct Said<'a> {
    pub(crate) actor: Option<UserId>,
    pub(crate) reason: Option<&'a str>,
    pub(crate) related: Option<DeploymentId>,
}

/// `$1` the deployment, `$2` the kind, `$3` the actor, `$4` the reason, `$5` the other deployment, `$6` the time.
pub(crate) const ADD: &str = "INSERT INTO deployment_events (deployment_id, n, kind, actor, reason, related_id, created_at) \
     SELECT $1, COALESCE(MAX(n), 0) + 1, $2, $3, $4, $5, $6 FROM deployment_events WHERE deployment_id = $1";
/// The same for what happens to a deployment once only.
pub(crate) const ADD_ONCE: &str = "INSERT INTO deployment_events (deployment_id, n, kind, actor, reason, related_id, created_at) \
     SELECT $1, COALESCE(MAX(n), 0) + 1, $2, $3, $4, $5, $6 FROM deployment_events WHERE deployment_id = $1 \
     HAVING COUNT(CASE WHEN kind = $2 THEN 1 END) = 0";

/// Whether anybody listens to what happens to deployment `$1`.
pub(crate) const IS_LISTENED_TO: &str = "SELECT EXISTS (SELECT 1 FROM deployments d JOIN projects p ON p.id = d.project_id \
     JOIN webhooks w ON w.organization_id = p.organization_id AND (w.project_id IS NULL OR w.project_id = p.id) \
     WHERE d.id = $1 AND w.is_enabled)";

/// Adds one in the transaction `$tx`, by the statement `$add`, and tells those who listen.
macro_rules! add_event {
    ($tx:expr, $add:expr, $id:expr, $kind:expr, $said:expr, $now:expr) => {{
        let said: $crate::events::Said<'_> = $said;
        let added = sqlx::query($add)
            .bind($id.0)
            .bind($kind.as_str())
            .bind(said.actor.map(|id| id.0))
            .bind(said.reason)
            .bind(said.related.map(|id| id.0))
            .bind($now)
            .execute(&mut *$tx)
            .await?
            .rows_affected();
        let told = $crate::webhooks::outbox::told_of($kind);
        if added > 0 && !told.is_empty() {
            let listened: bool =
                sqlx::query_scalar($crate::events::IS_LISTENED_TO).bind($id.0).fetch_one(&mut *$tx).await?;
            let row: Option<$crate::Deployment> = if listened {
                sqlx::query_as($crate::deployments::BY_ID).bind($id.0).fetch_optional(&mut *$tx).await?
            } else {
                None
            };
            for kind in told {
                if let Some(row) = &row {
                    $crate::webhooks::outbox::emit!($tx, &$crate::Emission::of_deployment(row, *kind, $now));
                }
            }
        }
    }};
}
pub(crate) use add_event;

impl Store {
    /// Of a deployment the viewer may see, newest first. The key of a page is the event's number.
    pub async fn deployment_events(
        &self,
        viewer: &Viewer,
        id: DeploymentId,
        request: &PageRequest,
    ) -> Result<Page<DeploymentEvent>> {
        let before = i64::try_from(request.after_id().as_u128()).unwrap_or(i64::MAX);
        let rows = on_read!(self, db => seen_by!(sqlx::query_as(concat!(
            "SELECT ", columns!(), " FROM deployment_events \
             JOIN deployments ON deployments.id = deployment_events.deployment_id \
             JOIN projects ON projects.id = deployments.project_id", sees_project!(),
            "WHERE deployment_events.deployment_id = $4 AND deployment_events.n < $5 \
             ORDER BY deployment_events.n DESC LIMIT $6")), viewer)
            .bind(id.0).bind(before).bind(request.fetch())
            .fetch_all(db).await?);
        Ok(request.page(rows, |row: &DeploymentEvent| (row.created_at, Uuid::from_u128(row.n.unsigned_abs().into()))))
    }
}
