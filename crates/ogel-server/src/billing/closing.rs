//! What the clock does for billing: invoices for months that are over, and alerts of budgets that fill up.
//!
//! Every replica does it; what must be done once is decided by the database, by unique keys.

use super::{
    admission::is_paused,
    money::{self, Period},
    statement::{Span, Statement, filled},
    statement_of,
};
use crate::{error::Result, state::App};
use chrono::{DateTime, TimeDelta, Utc};
use ogel_api::{
    billing::{InvoiceLine, InvoiceStatus},
    id::{Id as _, InvoiceId, OrganizationId},
    organizations::Plan,
};
use ogel_store::{Billable, Budget, Invoice};
use std::time::Duration;

const EVERY: Duration = Duration::from_secs(60);
/// After a month's end, for the last counters of every process to arrive.
const GRACE: TimeDelta = TimeDelta::minutes(15);
/// Months back at most that are still billed, for a server that was off.
const MONTHS_BACK: usize = 24;
const AT_ONCE: u32 = 500;

/// Looks every minute until shutdown.
pub(crate) async fn run(app: &App) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = app.shutdown.cancelled() => return,
        }
        match close(app).await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "invoices made"),
            Err(failure) => tracing::warn!(error = ?failure.0, "months could not be closed; tried again in a minute"),
        }
        if let Err(failure) = look_at_budgets(app).await {
            tracing::warn!(error = ?failure.0, "budgets could not be looked at; tried again in a minute");
        }
    }
}

/// Makes every invoice that is due and not there; how many were made here.
pub async fn close(app: &App) -> Result<usize> {
    let now = app.world.now();
    let Some(first) = app.store.first_paid_span().await? else { return Ok(0) };
    let mut period = Period::of(first);
    let mut due = Vec::new();
    while period.end + GRACE <= now {
        due.push(period);
        period = period.next();
    }
    let mut count = 0;
    for period in due.into_iter().rev().take(MONTHS_BACK).rev() {
        loop {
            let unbilled = app.store.unbilled(period.start, period.end, AT_ONCE).await?;
            for billable in &unbilled {
                count += usize::from(bill(app, period, billable, now).await?);
            }
            if unbilled.len() < AT_ONCE as usize {
                break;
            }
        }
    }
    Ok(count)
}

async fn bill(app: &App, period: Period, billable: &Billable, now: DateTime<Utc>) -> Result<bool> {
    let organization = billable.organization_id;
    let rows = app.store.plan_spans(organization, period.start, period.end).await?;
    let used = app.store.usage(organization, period.start, period.end, None, u32::from(u8::MAX)).await?;
    let used: Vec<_> = used.into_iter().map(|sum| (sum.metric, sum.quantity)).collect();
    let config = app.config();
    let spans = filled(period, rows.iter().map(Span::from).collect(), Plan::Free);
    let statement = Statement::new(&config.plans, period, spans, &used);
    let invoice = Invoice {
        id: InvoiceId(app.world.uuid()),
        organization_id: organization,
        organization_name: billable.name.clone().unwrap_or_else(|| organization.to_string()),
        number: number(period, organization),
        // There is nothing to pay where a plan was held for a moment only.
        status: if statement.total == 0 { InvoiceStatus::Paid } else { InvoiceStatus::Open },
        period_start: period.start,
        period_end: period.end,
        currency: config.plans.currency.clone(),
        total: statement.total,
        created_at: now,
        paid_at: (statement.total == 0).then_some(now),
    };
    let lines: Vec<_> = statement.lines.iter().map(row).collect();
    Ok(app.store.create_invoice(&invoice, &lines).await?)
}

fn row(line: &InvoiceLine) -> ogel_store::InvoiceLine {
    ogel_store::InvoiceLine {
        kind: line.kind,
        description: line.description.clone(),
        quantity: line.quantity,
        amount: line.amount,
        from_at: line.from.into(),
        to_at: line.to.into(),
    }
}

/// `2026-11-9c44f0a1b2c3`: the month, and the organization by the random end of its id. The same whoever makes it.
fn number(period: Period, organization: OrganizationId) -> String {
    format!("{}-{}", period.start.format("%Y-%m"), &organization.uuid().simple().to_string()[20..])
}

/// Raises what alerts are due.
pub async fn look_at_budgets(app: &App) -> Result<()> {
    let mut after = None;
    loop {
        let budgets = app.store.budgets(after, AT_ONCE).await?;
        for budget in &budgets {
            look_at(app, budget).await?;
        }
        match budgets.last() {
            Some(last) if budgets.len() == AT_ONCE as usize => after = Some(last.organization_id),
            _ => return Ok(()),
        }
    }
}

/// Also called when a budget is set, so that its alerts do not wait for the minute.
pub(crate) async fn look_at(app: &App, budget: &Budget) -> Result<()> {
    let (organization, now) = (budget.organization_id, app.world.now());
    let plan = app.store.plan_of(organization).await?.unwrap_or(Plan::Free);
    let spent = statement_of(app, organization, plan, now).await?.total;
    let period = Period::of(now);
    let mut highest = None;
    for &percent in &budget.alerts_at {
        let is_due = i128::from(spent) * 100 >= i128::from(budget.amount) * i128::from(percent);
        if is_due && app.store.raise_budget_alert(organization, period.start, percent, now).await? {
            highest = Some(percent);
        }
    }
    if let Some(percent) = highest {
        let paused = is_paused(budget, spent);
        let config = app.config();
        let amount = money::display(budget.amount, &config.plans.currency);
        tracing::warn!(organization.id = %organization, percent, amount, paused, "a budget's alert was raised");
    }
    Ok(())
}
