//! Billing: the plans for everybody; what an organization pays, used and was billed, for its admins and owners.
//!
//! Reading takes the role admin, changing the role owner. Invoices are in `invoices.rs`, budgets in `budget.rs`, the payment
//! service's webhook in `webhooks/stripe.rs`; what all of it is worked out by is in `crate::billing`.

mod budget;
mod invoices;
mod usage;

use crate::{
    billing::{self, admission, money::Period, payment::PaymentProvider, statement::change_lines, statement_of},
    caller::{Allowed, Caller, scope},
    error::{Failure, Result},
    extract::{Json, NoParameters, Path, Query},
    permissions::{Rule, rule},
    router::{Routes, routes},
    state::App,
};
use axum::extract::State;
use ogel_api::{
    billing::{Billing, ChangeSubscription, PlanList, PortalSession, Subscription, SubscriptionPreview},
    error::{Error, ErrorCode},
    id::OrganizationId,
    organizations::Plan,
};
use ogel_store::PlanChange;

pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list_plans))
        .routes(routes!(get_billing))
        .routes(routes!(get_subscription, change_subscription))
        .routes(routes!(preview_subscription))
        .routes(routes!(create_portal_session))
        .routes(routes!(usage::get_usage))
        .routes(routes!(usage::get_usage_of_organization))
        .routes(routes!(invoices::list_invoices))
        .routes(routes!(invoices::get_invoice))
        .routes(routes!(invoices::get_invoice_page))
        .routes(routes!(budget::get_budget, budget::set_budget, budget::delete_budget))
}

/// The organization, if the caller may know of it and has the role that `needed` takes.
pub(super) async fn organization(
    app: &App,
    caller: &Caller,
    id: OrganizationId,
    needed: Rule,
) -> Result<ogel_store::Organization> {
    let (row, role) =
        app.store.organization(&caller.viewer, id).await?.ok_or_else(|| Error::not_found("organization", id))?;
    if caller.viewer.project.is_some() {
        return Err(Failure::new(ErrorCode::Forbidden, "this API key is bound to one project; use one that is not"));
    }
    needed.permit(role)?;
    Ok(row)
}

/// The plans: limits, what they include, prices. For everybody.
#[utoipa::path(get, path = "/billing/plans", operation_id = "list_plans", tag = "billing",
    responses((status = 200, body = PlanList)))]
async fn list_plans(State(app): State<App>, _: Query<NoParameters>) -> Json<PlanList> {
    Json(PlanList { plans: app.config().plans.all().to_vec() })
}

/// How billing stands this month: plan, limits, usage, what it costs so far and will. Takes the role admin.
#[utoipa::path(get, path = "/organizations/{id}/billing", operation_id = "get_billing", tag = "billing",
    params(("id" = OrganizationId, Path)), responses((status = 200, body = Billing)), security(("bearer" = [])))]
async fn get_billing(
    State(app): State<App>,
    caller: Allowed<scope::BillingRead>,
    Path(id): Path<OrganizationId>,
    _: Query<NoParameters>,
) -> Result<Json<Billing>> {
    let row = organization(&app, &caller.caller, id, rule::GET_BILLING).await?;
    let now = app.world.now();
    let period = Period::of(now);
    let statement = statement_of(&app, id, row.plan, now).await?;
    let deployments_paused = admission::paused(&app, id, row.plan, now).await?;
    let config = app.config();
    Ok(Json(Billing {
        organization_id: id,
        plan: config.plans.plan(row.plan).clone(),
        period_start: period.start.into(),
        period_end: period.end.into(),
        currency: config.plans.currency.clone(),
        total: statement.total,
        forecast: statement.forecast(&config.plans, now),
        lines: statement.lines,
        usage: statement.usage,
        deployments_paused,
    }))
}

async fn subscription(app: &App, id: OrganizationId, plan: Plan) -> Result<Json<Subscription>> {
    let period = Period::of(app.world.now());
    let spans = app.store.plan_spans(id, period.start, period.end).await?;
    let since = spans.last().filter(|span| span.ended_at.is_none()).map(|span| span.started_at.into());
    let (period_start, period_end) = (period.start.into(), period.end.into());
    Ok(Json(Subscription { organization_id: id, plan, since, period_start, period_end }))
}

/// The plan an organization has. Takes the role admin.
#[utoipa::path(get, path = "/organizations/{id}/billing/subscription", operation_id = "get_subscription", tag = "billing",
    params(("id" = OrganizationId, Path)), responses((status = 200, body = Subscription)), security(("bearer" = [])))]
async fn get_subscription(
    State(app): State<App>,
    caller: Allowed<scope::BillingRead>,
    Path(id): Path<OrganizationId>,
    _: Query<NoParameters>,
) -> Result<Json<Subscription>> {
    let row = organization(&app, &caller.caller, id, rule::GET_SUBSCRIPTION).await?;
    subscription(&app, id, row.plan).await
}

/// Changes the plan, at once: the next request has its limits, and each plan costs its part of the month. Takes the role
/// owner. 402 where plans are bought from a payment service; the message names its page.
#[utoipa::path(put, path = "/organizations/{id}/billing/subscription", operation_id = "change_subscription", tag = "billing",
    params(("id" = OrganizationId, Path)), request_body = ChangeSubscription,
    responses((status = 200, body = Subscription)), security(("bearer" = [])))]
async fn change_subscription(
    State(app): State<App>,
    caller: Allowed<scope::BillingWrite>,
    Path(id): Path<OrganizationId>,
    Json(body): Json<ChangeSubscription>,
) -> Result<Json<Subscription>> {
    organization(&app, &caller.caller, id, rule::CHANGE_SUBSCRIPTION).await?;
    let plan = known(body.plan)?;
    PaymentProvider::of(&app.config()).may_change_plan(id)?;
    let change = PlanChange { id: app.world.uuid(), organization: id, plan, act: caller.act(&app) };
    app.store.change_plan(&change).await?.ok_or_else(|| Error::not_found("organization", id))?;
    billing::plan_changed(&app);
    subscription(&app, id, plan).await
}

/// What a change of the plan would cost now. Nothing is changed. Takes the role admin.
#[utoipa::path(post, path = "/organizations/{id}/billing/subscription/preview", operation_id = "preview_subscription",
    tag = "billing", params(("id" = OrganizationId, Path)), request_body = ChangeSubscription,
    responses((status = 200, body = SubscriptionPreview)), security(("bearer" = [])))]
async fn preview_subscription(
    State(app): State<App>,
    caller: Allowed<scope::BillingRead>,
    Path(id): Path<OrganizationId>,
    Json(body): Json<ChangeSubscription>,
) -> Result<Json<SubscriptionPreview>> {
    let row = organization(&app, &caller.caller, id, rule::PREVIEW_SUBSCRIPTION).await?;
    let to = known(body.plan)?;
    let (config, now) = (app.config(), app.world.now());
    let period = Period::of(now);
    let lines = if to == row.plan { Vec::new() } else { change_lines(&config.plans, row.plan, to, now) };
    Ok(Json(SubscriptionPreview {
        from: row.plan,
        to,
        at: now.into(),
        period_start: period.start.into(),
        period_end: period.end.into(),
        currency: config.plans.currency.clone(),
        amount: lines.iter().map(|line| line.amount).sum(),
        lines,
        next_month: config.plans.plan(to).price,
    }))
}

/// Where an owner pays and changes the plan, where that is a page of a payment service's. Takes the role owner.
#[utoipa::path(post, path = "/organizations/{id}/billing/portal-session", operation_id = "create_portal_session",
    tag = "billing", params(("id" = OrganizationId, Path)),
    responses((status = 200, body = PortalSession)), security(("bearer" = [])))]
async fn create_portal_session(
    State(app): State<App>,
    caller: Allowed<scope::BillingWrite>,
    Path(id): Path<OrganizationId>,
    _: Query<NoParameters>,
) -> Result<Json<PortalSession>> {
    organization(&app, &caller.caller, id, rule::CREATE_PORTAL_SESSION).await?;
    let url = PaymentProvider::of(&app.config()).portal(id)?;
    Ok(Json(PortalSession { url }))
}

/// A word this build does not know is no plan to change to.
fn known(plan: Plan) -> Result<Plan> {
    if plan != Plan::Unrecognized {
        return Ok(plan);
    }
    let message = "`plan` is none of ours";
    Err(crate::extract::invalid_field(
        ErrorCode::InvalidValue,
        "body.plan",
        message,
        Some("`GET billing/plans` lists them"),
    ))
}
