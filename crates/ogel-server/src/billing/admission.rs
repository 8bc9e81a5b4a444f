//! Whether an organization may deploy: its plan's limits, what its plan includes where no more is sold, and its budget.

use super::{catalog::usage_of, money::Period, statement_of};
use crate::{error::Result, state::App};
use chrono::{DateTime, Utc};
use ogel_api::{
    billing::{BudgetAction, Metric},
    error::{Error, ErrorCode},
    id::OrganizationId,
    money::{display, grouped},
    organizations::Plan,
};
use ogel_store::{Budget, Cap, Caps, StoreError};

/// Refuses with 402 while the budget is used up and its action is `pause`. Answers with the limits the database checks
/// when the deployment is made.
pub(crate) async fn admit(app: &App, organization: OrganizationId) -> Result<(Caps, Plan)> {
    let now = app.world.now();
    let plan = app.store.plan_of(organization).await?.unwrap_or(Plan::Free);
    if let Some(reason) = paused(app, organization, plan, now).await? {
        return Err(Error::new(ErrorCode::PaymentRequired, reason).into());
    }
    let config = app.config();
    let details = config.plans.plan(plan);
    let limit = |limit: u64| (limit > 0).then(|| i64::try_from(limit).unwrap_or(i64::MAX));
    let stops_at = |metric| usage_of(details, metric).filter(|usage| usage.price.is_none()).map(|usage| usage.included);
    let caps = Caps {
        unfinished: limit(details.limits.concurrent_builds),
        per_day: limit(details.limits.deployments_per_day),
        per_month: stops_at(Metric::Deployments),
        build_seconds_per_month: stops_at(Metric::BuildSeconds),
        month: Period::of(now).start,
    };
    Ok((caps, plan))
}

/// What a caller is told when the database refused.
pub(crate) fn refused(app: &App, error: StoreError, plan: Plan, caps: &Caps) -> crate::error::Failure {
    let StoreError::Capped(cap) = error else { return error.into() };
    let config = app.config();
    let name = &config.plans.plan(plan).name;
    let number = |cap: Option<i64>| grouped(cap.unwrap_or(0).unsigned_abs());
    let next_month = Period::of(app.world.now()).end.format("%-d %B");
    let way_out = "an owner can change the plan with `PUT organizations/{id}/billing/subscription`";
    let (code, message) = match cap {
        Cap::Unfinished => (
            ErrorCode::QuotaExceeded,
            format!(
                "the plan `{name}` allows {} deployments at the same time; wait until one is over or cancel one, or {way_out}",
                number(caps.unfinished)
            ),
        ),
        Cap::PerDay => (
            ErrorCode::QuotaExceeded,
            format!(
                "the plan `{name}` allows {} deployments in 24 hours; try again later, or {way_out}",
                number(caps.per_day)
            ),
        ),
        Cap::PerMonth => (
            ErrorCode::PaymentRequired,
            format!(
                "the {} deployments a month of the plan `{name}` are used up until {next_month}; {way_out}",
                number(caps.per_month)
            ),
        ),
        Cap::BuildSeconds => (
            ErrorCode::PaymentRequired,
            format!(
                "the {} build seconds a month of the plan `{name}` are used up until {next_month}; {way_out}",
                number(caps.build_seconds_per_month)
            ),
        ),
    };
    Error::new(code, message).into()
}

/// Why new deployments are refused, if the budget says so.
pub(crate) async fn paused(
    app: &App,
    organization: OrganizationId,
    plan: Plan,
    now: DateTime<Utc>,
) -> Result<Option<String>> {
    let Some(budget) = app.store.budget(organization).await? else { return Ok(None) };
    if budget.action != BudgetAction::Pause {
        return Ok(None);
    }
    let spent = statement_of(app, organization, plan, now).await?.total;
    Ok(is_paused(&budget, spent).then(|| {
        let config = app.config();
        let amount = |amount| display(amount, &config.plans.currency);
        format!(
            "the budget of {} for this month is used up ({} so far) and its action is `pause`, so nothing new is deployed \
             until {}; an owner can raise or remove it with `PUT` or `DELETE organizations/{{id}}/billing/budget`",
            amount(budget.amount),
            amount(spent),
            Period::of(now).end.format("%-d %B")
        )
    }))
}

pub(crate) fn is_paused(budget: &Budget, spent: i64) -> bool {
    budget.action == BudgetAction::Pause && spent >= budget.amount
}
