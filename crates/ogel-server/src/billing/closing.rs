//! What the clock does for billing: invoices for months that are over, and alerts of budgets that fill up.
//!
//! Every replica does it; what must be done once is decided by the database, by unique keys.

use super::{
    admission::is_paused,
    money::Period,
    statement::{Span, Statement, filled},
    statement_of,
};
use crate::{error::Result, mail, state::App};
use chrono::{DateTime, TimeDelta, Utc};
use ogel_api::{
    billing::{BudgetAction, InvoiceLine, InvoiceStatus},
    id::{Id as _, InvoiceId, OrganizationId},
    money::display,
    organizations::Plan,
};
use ogel_store::{Billable, Budget, Invoice, Mail};
use std::time::Duration;

const EVERY: Duration = Duration::from_secs(60);
/// After a month's end, for the last counters of every process to arrive.
const GRACE: TimeDelta = TimeDelta::minutes(15);
/// Months back at most that are still billed, for a server that was off.
const MONTHS_BACK: usize = 24;
const AT_ONCE: u32 = 500;
/// Who are told of one organization's budget, at most.
const MOST_OWNERS: u32 = 50;

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
    let is_due = |percent: &i64| i128::from(spent) * 100 >= i128::from(budget.amount) * i128::from(*percent);
    let due: Vec<i64> = budget.alerts_at.iter().copied().filter(is_due).collect();
    if due.is_empty() {
        return Ok(());
    }
    let raised = app.store.budget_alerts(organization, period.start).await?;
    let news: Vec<i64> =
        due.into_iter().filter(|percent| raised.iter().all(|alert| alert.percent != *percent)).collect();
    let Some(&percent) = news.last() else { return Ok(()) };
    let mails = if app.mailer.is_there() { letters(app, budget, spent, period).await? } else { Vec::new() };
    // Another replica may have come first.
    if !app.store.raise_budget_alerts(organization, period.start, &news, &mails, now).await? {
        return Ok(());
    }
    app.mailer.wake();
    let (paused, amount) = (is_paused(budget, spent), display(budget.amount, &app.config().plans.currency));
    tracing::warn!(organization.id = %organization, percent, amount, paused, "a budget's alert was raised");
    Ok(())
}

/// The mail that tells each owner how the budget stands. One, however many of its alerts are raised together.
async fn letters(app: &App, budget: &Budget, spent: i64, period: Period) -> Result<Vec<Mail>> {
    let owners = app.store.owners(budget.organization_id, MOST_OWNERS).await?;
    let config = app.config();
    let money = |amount| display(amount, &config.plans.currency);
    let share = i128::from(spent) * 100 / i128::from(budget.amount.max(1));
    let (month, id) = (period.start.format("%B %Y"), budget.organization_id);
    let then = match (budget.action, is_paused(budget, spent)) {
        (_, true) => "New deployments are refused until the month is over or the budget is raised.\n\n",
        (BudgetAction::Pause, false) => "When it is used up, new deployments are refused.\n\n",
        (_, false) => "",
    };
    let letter = |owner: &ogel_store::Owner| {
        let text = format!(
            "`{}` has used {} of its budget of {} for {month}, which is {share}%.\n\n{then}  \
             ogel billing --organization {id}\n\nshows for what, and\n\n  \
             ogel billing budget set AMOUNT --organization {id}\n\nsets another budget.\n",
            owner.organization,
            money(spent),
            money(budget.amount),
        );
        let subject = format!("{share}% of the budget of {} is used", owner.organization);
        Ok(mail::sealed(&app.world, &app.sealer, &owner.email, subject, &text)?)
    };
    owners.iter().map(letter).collect()
}
