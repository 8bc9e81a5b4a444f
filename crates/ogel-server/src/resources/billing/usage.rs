//! What was used: sums by hour, day or project.

use super::organization;
use crate::{
    billing::money::Period,
    caller::{Allowed, Caller, scope},
    error::Result,
    extract::{Json, Parameters, Path, Query, invalid_field, parameter},
    permissions::rule,
    state::App,
};
use axum::extract::State;
use chrono::{DateTime, TimeDelta, Utc};
use ogel_api::{
    billing::{Metric, UsageGroup, UsageReport, UsageRow},
    error::ErrorCode,
    id::OrganizationId,
};
use ogel_store::{UsageSum, hour_of};
use std::collections::BTreeMap;

/// The longest report; by hour the longest is [`MOST_DAYS_BY_HOUR`].
const MOST_DAYS: i64 = 92;
const MOST_DAYS_BY_HOUR: i64 = 31;
/// Sums one report may have; by project, the first ones.
const MOST_ROWS: u32 = 10_000;

#[derive(Default)]
pub(super) struct UsageParameters {
    from: Option<DateTime<Utc>>,
    to: Option<DateTime<Utc>>,
    metric: Option<Metric>,
    group: Option<UsageGroup>,
}

impl Parameters for UsageParameters {
    const KNOWN: &'static [&'static str] = &["from", "to", "metric", "groupBy"];
    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "metric" => self.metric = Some(parameter(value)?),
            "groupBy" => self.group = Some(parameter(value)?),
            _ => {
                let time = DateTime::parse_from_rfc3339(value)
                    .map_err(|_| format!("`{name}` takes a time such as `2026-11-01T00:00:00Z`"))?;
                let time = Some(time.with_timezone(&Utc));
                if name == "from" { self.from = time } else { self.to = time }
            }
        }
        Ok(())
    }
}

#[derive(Default)]
pub(super) struct OrganizationUsageParameters {
    usage: UsageParameters,
    organization: Option<OrganizationId>,
}

impl Parameters for OrganizationUsageParameters {
    const KNOWN: &'static [&'static str] = &["organizationId", "from", "to", "metric", "groupBy"];
    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "organizationId" => self.organization = Some(parameter(value)?),
            _ => self.usage.set(name, value)?,
        }
        Ok(())
    }
}

/// What an organization used, from the hour of `from` to before the hour of `to`; this month until now when they are left
/// out. Counters arrive some seconds late. Takes the role admin.
#[utoipa::path(get, path = "/organizations/{id}/billing/usage", operation_id = "get_usage", tag = "billing",
    params(("id" = OrganizationId, Path), ("from" = Option<String>, Query, description = "RFC 3339"), ("to" = Option<String>, Query),
        ("metric" = Option<Metric>, Query), ("groupBy" = Option<UsageGroup>, Query)),
    responses((status = 200, body = UsageReport)), security(("bearer" = [])))]
pub(super) async fn get_usage(
    State(app): State<App>,
    caller: Allowed<scope::BillingRead>,
    Path(id): Path<OrganizationId>,
    Query(query): Query<UsageParameters>,
) -> Result<Json<UsageReport>> {
    report(&app, &caller.caller, id, &query).await
}

/// The same as `GET organizations/{id}/billing/usage`, by `organizationId`.
#[utoipa::path(get, path = "/billing/usage", operation_id = "get_usage_of_organization", tag = "billing",
    params(("organizationId" = OrganizationId, Query), ("from" = Option<String>, Query, description = "RFC 3339"),
        ("to" = Option<String>, Query), ("metric" = Option<Metric>, Query), ("groupBy" = Option<UsageGroup>, Query)),
    responses((status = 200, body = UsageReport)), security(("bearer" = [])))]
pub(super) async fn get_usage_of_organization(
    State(app): State<App>,
    caller: Allowed<scope::BillingRead>,
    Query(query): Query<OrganizationUsageParameters>,
) -> Result<Json<UsageReport>> {
    let id = query.organization.ok_or_else(|| {
        let fix = Some("add it; `GET organizations` lists yours");
        invalid_field(ErrorCode::MissingField, "query.organizationId", "`organizationId` is missing", fix)
    })?;
    report(&app, &caller.caller, id, &query.usage).await
}

async fn report(app: &App, caller: &Caller, id: OrganizationId, query: &UsageParameters) -> Result<Json<UsageReport>> {
    organization(app, caller, id, rule::GET_USAGE).await?;
    let now = app.world.now();
    // A begun hour is part of it.
    let up = |at| if hour_of(at) == at { at } else { hour_of(at) + TimeDelta::hours(1) };
    let from = hour_of(query.from.unwrap_or(Period::of(now).start));
    let to = up(query.to.unwrap_or(now));
    if from >= to && query.from.is_some() {
        let message = "`from` must be before `to`";
        return Err(invalid_field(ErrorCode::InvalidValue, "query.from", message, None));
    }
    let most = if query.group == Some(UsageGroup::Hour) { MOST_DAYS_BY_HOUR } else { MOST_DAYS };
    if to - from > TimeDelta::days(most) {
        let message = format!("a report covers at most {most} days; ask for a shorter time");
        return Err(invalid_field(ErrorCode::InvalidValue, "query.to", &message, None));
    }
    let mut sums = app.store.usage(id, from, to, query.group, MOST_ROWS).await?;
    sums.retain(|sum| query.metric.is_none_or(|metric| metric == sum.metric));
    if query.group == Some(UsageGroup::Day) {
        sums = by_day(sums);
    }
    let usage = sums.into_iter().map(|sum| UsageRow {
        metric: sum.metric,
        quantity: sum.quantity,
        from: sum.hour.map(Into::into),
        project_id: sum.project,
    });
    Ok(Json(UsageReport {
        organization_id: id,
        from: from.into(),
        to: to.into(),
        group_by: query.group,
        usage: usage.collect(),
    }))
}

/// Hours added up to days.
fn by_day(hours: Vec<UsageSum>) -> Vec<UsageSum> {
    let mut days: BTreeMap<(Option<DateTime<Utc>>, &'static str), UsageSum> = BTreeMap::new();
    for sum in hours {
        let day = sum.hour.map(|hour| hour.date_naive().and_time(chrono::NaiveTime::MIN).and_utc());
        let quantity = sum.quantity;
        let known =
            days.entry((day, sum.metric.as_str())).or_insert_with(|| UsageSum { hour: day, quantity: 0, ..sum });
        known.quantity += quantity;
    }
    days.into_values().collect()
}
