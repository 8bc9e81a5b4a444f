//! Billing: what organizations pay for, what they use, and what follows from both.
//!
//! - `catalog.rs`: the plans, as data; `money.rs`: months, and how amounts are divided
//! - `statement.rs`: what a month costs, from the plans held and what was used
//! - `metering.rs`: the data plane's counters on their way to the database
//! - `admission.rs`: whether an organization may deploy; `closing.rs`: invoices and budget alerts, by the clock
//! - `payment.rs`: who collects the money; `invoice_page.rs`: an invoice for people
//!
//! The operations are in `resources/billing.rs`.

pub(crate) mod admission;
pub mod catalog;
pub mod closing;
pub(crate) mod invoice_page;
pub mod metering;
pub(crate) mod money;
pub(crate) mod payment;
pub(crate) mod statement;

use crate::{error::Result, state::App};
use chrono::{DateTime, Utc};
use money::Period;
use ogel_api::{id::OrganizationId, organizations::Plan};
use statement::{Span, Statement};

/// What the month that holds `at` costs an organization, as things stood then.
pub(crate) async fn statement_of(
    app: &App,
    organization: OrganizationId,
    plan: Plan,
    at: DateTime<Utc>,
) -> Result<Statement> {
    let period = Period::of(at);
    let spans = app.store.plan_spans(organization, period.start, period.end).await?;
    let used = app.store.usage(organization, period.start, period.end, None, u32::from(u8::MAX)).await?;
    let used: Vec<_> = used.into_iter().map(|sum| (sum.metric, sum.quantity)).collect();
    let spans = spans.iter().map(Span::from).collect();
    // Before there were spans, a plan could be held without one; it is the current one's price that counts then.
    Ok(Statement::new(&app.config().plans, period, statement::filled(period, spans, plan), &used))
}

/// A plan is another one now. Here it counts from the next request on; elsewhere once callers are asked for anew.
pub(crate) fn plan_changed(app: &App) {
    app.callers.forget_all();
}
