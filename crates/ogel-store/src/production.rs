//! What is in production: at most one deployment of a project. Whoever changes that holds the project's row, so that two
//! who promote at once do so one after the other.

use crate::{
    Act, Deployment, Result, Store,
    pool::{on_read, on_write},
};
use chrono::{DateTime, Utc};
use ogel_api::{
    deployments::DeploymentEventType,
    id::{DeploymentId, ProjectId, UserId},
};

/// Who puts what into production, and why.
#[derive(Clone, Copy, Debug)]
pub struct Promotion<'a> {
    pub deployment: DeploymentId,
    pub project: ProjectId,
    /// `Promoted`, or `RolledBack`, which takes one that was in production before.
    pub kind: DeploymentEventType,
    pub actor: Option<UserId>,
    pub reason: Option<&'a str>,
    pub at: DateTime<Utc>,
    /// `None`: it goes there by itself, and only its own events say so.
    pub act: Option<&'a Act>,
}

/// Puts it into production in the transaction `$tx`. `None`: it cannot be there. One that is there stays, without an
/// event.
macro_rules! put_into_production {
    ($tx:expr, $promotion:expr) => {{
        let wanted: &$crate::production::Promotion<'_> = $promotion;
        // Changes nothing, but holds the row.
        sqlx::query("UPDATE projects SET name = name WHERE id = $1").bind(wanted.project.0).execute(&mut *$tx).await?;
        let there: Option<$crate::Deployment> = sqlx::query_as($crate::deployments::ACTIVE_OF_PROJECT)
            .bind(wanted.project.0)
            .fetch_optional(&mut *$tx)
            .await?;
        match there {
            Some(there) if there.id == wanted.deployment => Some(there),
            there => {
                if let Some(there) = &there {
                    sqlx::query("UPDATE deployments SET is_active = FALSE, updated_at = $2 WHERE id = $1")
                        .bind(there.id.0)
                        .bind(wanted.at)
                        .execute(&mut *$tx)
                        .await?;
                }
                let rolls_back = wanted.kind == ogel_api::deployments::DeploymentEventType::RolledBack;
                let row: Option<$crate::Deployment> = sqlx::query_as($crate::deployments::MAKE_ACTIVE)
                    .bind(wanted.deployment.0)
                    .bind(wanted.project.0)
                    .bind(rolls_back)
                    .bind(wanted.at)
                    .fetch_all(&mut *$tx)
                    .await?
                    .pop();
                if row.is_some() {
                    use $crate::events::{ADD, Said, add_event};
                    let said =
                        Said { actor: wanted.actor, reason: wanted.reason, related: there.as_ref().map(|row| row.id) };
                    add_event!($tx, ADD, wanted.deployment, wanted.kind, said, wanted.at);
                    if let Some(there) = &there {
                        let said = Said { actor: wanted.actor, reason: None, related: Some(wanted.deployment) };
                        let kind = ogel_api::deployments::DeploymentEventType::Replaced;
                        add_event!($tx, ADD, there.id, kind, said, wanted.at);
                    }
                    if let Some(act) = wanted.act {
                        let organization: uuid::Uuid =
                            sqlx::query_scalar("SELECT organization_id FROM projects WHERE id = $1")
                                .bind(wanted.project.0)
                                .fetch_one(&mut *$tx)
                                .await?;
                        let action = match rolls_back {
                            true => ogel_api::audit::AuditAction::DeploymentRolledBack,
                            false => ogel_api::audit::AuditAction::DeploymentPromoted,
                        };
                        let organization = ogel_api::id::OrganizationId(organization);
                        let entry = $crate::Entry::new(organization, action, wanted.deployment)
                            .before("deploymentId", there.as_ref().map(|row| row.id))
                            .after("deploymentId", wanted.deployment)
                            .after("reason", wanted.reason);
                        $crate::audit::write_down!($tx, act, [entry]);
                    }
                }
                row
            }
        }
    }};
}
pub(crate) use put_into_production;

impl Store {
    /// Puts a deployment into production, with the events that say so. `None`, and nothing changed: it has not succeeded,
    /// or it should be rolled back to and never was there.
    pub async fn promote(&self, promotion: &Promotion<'_>) -> Result<Option<Deployment>> {
        Ok(on_write!(self, db => {
            let mut tx = db.begin_with(BEGIN).await?;
            let row = put_into_production!(tx, promotion);
            match row {
                Some(_) => tx.commit().await?,
                None => tx.rollback().await?,
            }
            row
        }))
    }

    /// What is in production. Acts for nobody: not to be answered to a caller.
    pub async fn active_deployment(&self, project: ProjectId) -> Result<Option<Deployment>> {
        Ok(on_read!(self, db => sqlx::query_as(crate::deployments::ACTIVE_OF_PROJECT)
            .bind(project.0).fetch_optional(db).await?))
    }
}
