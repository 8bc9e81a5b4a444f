//! Which plan an organization had when. `organizations.plan` is the current one, and changes in the same transaction.

use crate::{
    Act, Result, Store,
    pool::{on_read, on_write},
    words::row,
};
use chrono::{DateTime, Utc};
use ogel_api::{id::OrganizationId, organizations::Plan};
use uuid::Uuid;

/// A plan from one moment to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanSpan {
    pub plan: Plan,
    pub started_at: DateTime<Utc>,
    /// `None` while it lasts.
    pub ended_at: Option<DateTime<Utc>>,
}
row!(PlanSpan, columns of "plan_spans" { plan, started_at, ended_at });

/// A change about to be made.
#[derive(Clone, Debug)]
pub struct PlanChange {
    /// Of the new span.
    pub id: Uuid,
    pub organization: OrganizationId,
    pub plan: Plan,
    /// The platform's own where it is whoever collects the money.
    pub act: Act,
}

/// Holds the organization's row and changes the plan in the transaction `$tx`; the plan before, if there is such an
/// organization.
macro_rules! change_plan_in {
    ($tx:expr, $change:expr) => {{
        let change: &$crate::subscriptions::PlanChange = $change;
        let before: Option<String> =
            sqlx::query_scalar("UPDATE organizations SET updated_at = updated_at WHERE id = $1 RETURNING plan")
                .bind(change.organization.0)
                .fetch_all(&mut *$tx)
                .await?
                .pop();
        let before = before.map(|plan| plan.parse::<ogel_api::organizations::Plan>());
        let before = before.transpose().map_err(|error| $crate::StoreError::Corrupt(Box::new(error)))?;
        if before.is_some_and(|before| before != change.plan) {
            sqlx::query(
                "UPDATE organizations SET plan = $2, updated_at = $3, row_version = row_version + 1 WHERE id = $1",
            )
            .bind(change.organization.0)
            .bind(change.plan.as_str())
            .bind(change.act.at)
            .execute(&mut *$tx)
            .await?;
            // Another replica's clock may be ahead: a span never ends before it began.
            let ended: Option<chrono::DateTime<chrono::Utc>> = sqlx::query_scalar(
                "UPDATE plan_spans SET ended_at = CASE WHEN started_at > $2 THEN started_at ELSE $2 END \
                 WHERE organization_id = $1 AND ended_at IS NULL RETURNING ended_at",
            )
            .bind(change.organization.0)
            .bind(change.act.at)
            .fetch_all(&mut *$tx)
            .await?
            .pop();
            sqlx::query(
                "INSERT INTO plan_spans (id, organization_id, plan, started_at, ended_at, actor) \
                 VALUES ($1, $2, $3, $4, NULL, $5)",
            )
            .bind(change.id)
            .bind(change.organization.0)
            .bind(change.plan.as_str())
            .bind(ended.unwrap_or(change.act.at))
            .bind(change.act.user_and_key().0)
            .execute(&mut *$tx)
            .await?;
            let action = ogel_api::audit::AuditAction::OrganizationPlanChanged;
            let entry = $crate::Entry::new(change.organization, action, change.organization);
            let entry = entry.changed("plan", before, Some(change.plan));
            $crate::audit::write_down!($tx, &change.act, [entry]);
        }
        before
    }};
}
pub(crate) use change_plan_in;

impl Store {
    /// The plan before; `None` when there is no such organization. The same plan again changes nothing.
    pub async fn change_plan(&self, change: &PlanChange) -> Result<Option<Plan>> {
        Ok(on_write!(self, db => {
            let mut tx = db.begin_with(BEGIN).await?;
            let before = change_plan_in!(tx, change);
            tx.commit().await?;
            before
        }))
    }

    /// The plan an organization is on now.
    pub async fn plan_of(&self, organization: OrganizationId) -> Result<Option<Plan>> {
        let plan: Option<String> = on_read!(self, db => sqlx::query_scalar("SELECT plan FROM organizations WHERE id = $1")
            .bind(organization.0).fetch_optional(db).await?);
        plan.map(|plan| plan.parse()).transpose().map_err(|error| crate::StoreError::Corrupt(Box::new(error)))
    }

    /// Those that reach into the time from `from` to `to`, in order.
    pub async fn plan_spans(
        &self,
        organization: OrganizationId,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
    ) -> Result<Vec<PlanSpan>> {
        Ok(on_read!(self, db => sqlx::query_as(concat!(
            "SELECT ", columns!(), " FROM plan_spans \
             WHERE organization_id = $1 AND started_at < $3 AND (ended_at IS NULL OR ended_at > $2) ORDER BY started_at, id"))
            .bind(organization.0).bind(from).bind(to).fetch_all(db).await?))
    }
}
