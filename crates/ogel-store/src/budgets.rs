//! How much an organization wants to spend in a month, and which alerts were raised.

use crate::{
    Act, Emission, EmissionScope, Entry, Mail, Result, Store, StoreError,
    audit::write_down,
    mails::queue,
    pool::{on_read, on_write},
    webhooks::outbox::emit,
    words::row,
};
use chrono::{DateTime, Utc};
use ogel_api::{
    audit::AuditAction, billing::BudgetAction, id::OrganizationId, organizations::Role, webhooks::WebhookEventType,
};
use serde_json::json;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    pub organization_id: OrganizationId,
    pub amount: i64,
    /// Percent, ascending.
    pub alerts_at: Vec<i64>,
    pub action: BudgetAction,
    pub updated_at: DateTime<Utc>,
}
row!(Budget, columns of "budgets" { organization_id, amount, alerts_at, action, updated_at });

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BudgetAlert {
    pub percent: i64,
    pub raised_at: DateTime<Utc>,
}
row!(BudgetAlert { percent, raised_at });

/// Somebody to tell about an organization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    pub email: String,
    /// Its name.
    pub organization: String,
}
row!(Owner { email, organization });

impl Store {
    /// Sets or replaces it. `ForeignKey` when the organization is gone.
    pub async fn set_budget(&self, act: &Act, budget: &Budget) -> Result<()> {
        let alerts = serde_json::to_string(&budget.alerts_at).map_err(|error| StoreError::Other(Box::new(error)))?;
        let id = budget.organization_id;
        on_write!(self, db => {
            let mut tx = db.begin_with(BEGIN).await?;
            let before: Option<Budget> = sqlx::query_as(concat!(
                "SELECT ", columns!(), " FROM budgets WHERE organization_id = $1"))
                .bind(id.0).fetch_optional(&mut *tx).await?;
            sqlx::query(
                "INSERT INTO budgets (organization_id, amount, alerts_at, action, updated_at) VALUES ($1, $2, $3, $4, $5) \
                 ON CONFLICT (organization_id) DO UPDATE SET amount = excluded.amount, alerts_at = excluded.alerts_at, \
                   action = excluded.action, updated_at = excluded.updated_at")
                .bind(id.0).bind(budget.amount).bind(&alerts).bind(budget.action.as_str()).bind(budget.updated_at)
                .execute(&mut *tx).await?;
            let before = before.as_ref();
            let entry = Entry::new(id, AuditAction::BudgetSet, id)
                .changed("amount", before.map(|budget| budget.amount), Some(budget.amount))
                .changed("action", before.map(|budget| budget.action), Some(budget.action))
                .changed("alertsAt", before.map(|budget| &budget.alerts_at), Some(&budget.alerts_at));
            write_down!(tx, act, [entry]);
            tx.commit().await?;
        });
        Ok(())
    }

    pub async fn budget(&self, organization: OrganizationId) -> Result<Option<Budget>> {
        Ok(on_read!(self, db => sqlx::query_as(concat!(
            "SELECT ", columns!(), " FROM budgets WHERE organization_id = $1"))
            .bind(organization.0).fetch_optional(db).await?))
    }

    /// Whether there was one.
    pub async fn delete_budget(&self, act: &Act, organization: OrganizationId) -> Result<bool> {
        Ok(on_write!(self, db => {
            let mut tx = db.begin_with(BEGIN).await?;
            let gone: Option<Budget> = sqlx::query_as(concat!(
                "DELETE FROM budgets WHERE organization_id = $1 RETURNING ", columns!()))
                .bind(organization.0).fetch_all(&mut *tx).await?.pop();
            if let Some(budget) = &gone {
                let entry = Entry::new(organization, AuditAction::BudgetRemoved, organization)
                    .before("amount", budget.amount).before("action", budget.action);
                write_down!(tx, act, [entry]);
            }
            tx.commit().await?;
            gone.is_some()
        }))
    }

    /// Budgets in the order of their organizations, from behind `after`: for whoever looks at all of them.
    pub async fn budgets(&self, after: Option<OrganizationId>, limit: u32) -> Result<Vec<Budget>> {
        let after = after.map_or(uuid::Uuid::nil(), |id| id.0);
        Ok(on_read!(self, db => sqlx::query_as(concat!(
            "SELECT ", columns!(), " FROM budgets WHERE organization_id > $1 ORDER BY organization_id LIMIT $2"))
            .bind(after).bind(i64::from(limit)).fetch_all(db).await?))
    }

    /// Raises these alerts and queues the mail that tells of them, if one of them is news. `false` when all were raised this
    /// month already, by whomever: then no mail is queued.
    pub async fn raise_budget_alerts(
        &self,
        organization: OrganizationId,
        period_start: DateTime<Utc>,
        percents: &[i64],
        mails: &[Mail],
        now: DateTime<Utc>,
    ) -> Result<bool> {
        Ok(on_write!(self, db => {
            let mut tx = db.begin_with(BEGIN).await?;
            let mut news = false;
            for percent in percents {
                let is_news = sqlx::query(
                    "INSERT INTO budget_alerts (organization_id, period_start, percent, raised_at) VALUES ($1, $2, $3, $4) \
                     ON CONFLICT (organization_id, period_start, percent) DO NOTHING")
                    .bind(organization.0).bind(period_start).bind(percent).bind(now)
                    .execute(&mut *tx).await?.rows_affected() > 0;
                if is_news {
                    news = true;
                    let data = json!({ "organizationId": organization, "percent": percent, "periodStart": period_start });
                    let scope = EmissionScope::Organization(organization);
                    emit!(tx, &Emission { scope, kind: WebhookEventType::BudgetAlert, data, at: now });
                }
            }
            if news {
                for mail in mails {
                    queue!(tx, mail, None::<uuid::Uuid>, now);
                }
            }
            tx.commit().await?;
            news
        }))
    }

    /// Who owns an organization that is not deleted, the longest first.
    pub async fn owners(&self, organization: OrganizationId, limit: u32) -> Result<Vec<Owner>> {
        Ok(on_read!(self, db => sqlx::query_as(
            "SELECT u.email, o.name AS organization FROM organization_members m JOIN users u ON u.id = m.user_id \
             JOIN organizations o ON o.id = m.organization_id \
             WHERE m.organization_id = $1 AND m.role = $2 AND o.deleted_at IS NULL AND u.email IS NOT NULL \
             ORDER BY m.created_at, m.user_id LIMIT $3")
            .bind(organization.0).bind(Role::Owner.as_str()).bind(i64::from(limit)).fetch_all(db).await?))
    }

    /// Those raised in the month that begins at `period_start`.
    pub async fn budget_alerts(
        &self,
        organization: OrganizationId,
        period_start: DateTime<Utc>,
    ) -> Result<Vec<BudgetAlert>> {
        Ok(on_read!(self, db => sqlx::query_as(
            "SELECT percent, raised_at FROM budget_alerts WHERE organization_id = $1 AND period_start = $2 ORDER BY percent")
            .bind(organization.0).bind(period_start).fetch_all(db).await?))
    }
}
