//! Budgets: how much a month may cost, and what happens then.

use super::organization;
use crate::{
    billing::{admission, closing, money::Period, statement_of},
    caller::{Allowed, scope},
    error::Result,
    extract::{Json, NoParameters, Path, Query, invalid_field},
    permissions::rule,
    state::App,
};
use axum::{extract::State, http::StatusCode};
use ogel_api::{
    billing::{Budget, BudgetAction, BudgetAlert, SetBudget},
    error::{Error, ErrorCode},
    id::OrganizationId,
    organizations::Plan,
};

const DEFAULT_ALERTS: [u8; 3] = [50, 80, 100];

async fn wire(app: &App, row: &ogel_store::Budget, plan: Plan) -> Result<Budget> {
    let now = app.world.now();
    let spent = statement_of(app, row.organization_id, plan, now).await?.total;
    let alerts = app.store.budget_alerts(row.organization_id, Period::of(now).start).await?;
    let percent = |percent: i64| u8::try_from(percent).unwrap_or(100);
    Ok(Budget {
        organization_id: row.organization_id,
        amount: row.amount,
        currency: app.config().plans.currency.clone(),
        alerts_at: row.alerts_at.iter().map(|at| percent(*at)).collect(),
        action: row.action,
        spent,
        paused: admission::is_paused(row, spent),
        alerts: alerts
            .iter()
            .map(|alert| BudgetAlert { percent: percent(alert.percent), at: alert.raised_at.into() })
            .collect(),
        updated_at: row.updated_at.into(),
    })
}

/// The organization's budget; 404 while it has none. Takes the role admin.
#[utoipa::path(get, path = "/organizations/{id}/billing/budget", operation_id = "get_budget", tag = "billing",
    params(("id" = OrganizationId, Path)), responses((status = 200, body = Budget)), security(("bearer" = [])))]
pub(super) async fn get_budget(
    State(app): State<App>,
    caller: Allowed<scope::BillingRead>,
    Path(id): Path<OrganizationId>,
    _: Query<NoParameters>,
) -> Result<Json<Budget>> {
    let organization = organization(&app, &caller.caller, id, rule::GET_BUDGET).await?;
    let row = app.store.budget(id).await?.ok_or_else(|| none(id))?;
    Ok(Json(wire(&app, &row, organization.plan).await?))
}

fn none(id: OrganizationId) -> Error {
    Error::new(ErrorCode::NotFound, format!("the organization `{id}` has no budget; an owner can set one with `PUT`"))
}

/// Sets or replaces the budget. With `pause`, new deployments are answered with 402 `PAYMENT_REQUIRED` from the moment the
/// month costs as much. Takes the role owner.
#[utoipa::path(put, path = "/organizations/{id}/billing/budget", operation_id = "set_budget", tag = "billing",
    params(("id" = OrganizationId, Path)), request_body = SetBudget,
    responses((status = 200, body = Budget)), security(("bearer" = [])))]
pub(super) async fn set_budget(
    State(app): State<App>,
    caller: Allowed<scope::BillingWrite>,
    Path(id): Path<OrganizationId>,
    Json(body): Json<SetBudget>,
) -> Result<Json<Budget>> {
    let organization = organization(&app, &caller.caller, id, rule::SET_BUDGET).await?;
    if !(1..=1_000_000_000_000).contains(&body.amount) {
        let message = "`amount` takes a whole number of at least 1, in the currency's smallest unit";
        return Err(invalid_field(ErrorCode::InvalidValue, "body.amount", message, None));
    }
    let mut alerts = body.alerts_at.unwrap_or_else(|| DEFAULT_ALERTS.to_vec());
    alerts.sort_unstable();
    alerts.dedup();
    if alerts.len() > 10 || alerts.iter().any(|percent| !(1..=100).contains(percent)) {
        let message = "`alertsAt` takes at most 10 whole numbers from 1 to 100";
        return Err(invalid_field(ErrorCode::InvalidValue, "body.alertsAt", message, None));
    }
    let action = body.action.unwrap_or(BudgetAction::Notify);
    if action == BudgetAction::Unrecognized {
        let message = "`action` takes `notify` or `pause`";
        return Err(invalid_field(ErrorCode::InvalidValue, "body.action", message, None));
    }
    let row = ogel_store::Budget {
        organization_id: id,
        amount: body.amount,
        alerts_at: alerts.into_iter().map(i64::from).collect(),
        action,
        updated_at: app.world.now(),
    };
    app.store.set_budget(&caller.act(&app), &row).await?;
    closing::look_at(&app, &row).await?;
    Ok(Json(wire(&app, &row, organization.plan).await?))
}

/// Removes the budget. Takes the role owner.
#[utoipa::path(delete, path = "/organizations/{id}/billing/budget", operation_id = "delete_budget", tag = "billing",
    params(("id" = OrganizationId, Path)), responses((status = 204, description = "Removed")), security(("bearer" = [])))]
pub(super) async fn delete_budget(
    State(app): State<App>,
    caller: Allowed<scope::BillingWrite>,
    Path(id): Path<OrganizationId>,
    _: Query<NoParameters>,
) -> Result<StatusCode> {
    organization(&app, &caller.caller, id, rule::DELETE_BUDGET).await?;
    if app.store.delete_budget(&caller.act(&app), id).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(none(id).into())
    }
}
