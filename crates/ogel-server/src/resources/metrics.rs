//! A day's figures of a resource, for operators (`auth.operators`).

use crate::{
    error::Result,
    extract::{Json, Parameters, Path, Query},
    metrics::daily,
    operators::Operator,
    resources::RESOURCES,
    router::{Routes, routes},
    state::App,
};
use axum::extract::State;
use chrono::NaiveDate;
use ogel_api::{error::Error, metrics::DailyMetrics};
use std::collections::BTreeMap;

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(get_metrics))
}

#[derive(Default)]
struct DateParameters(Option<NaiveDate>);

impl Parameters for DateParameters {
    const KNOWN: &'static [&'static str] = &["date"];
    fn set(&mut self, _: &str, value: &str) -> Result<(), String> {
        let date = NaiveDate::parse_from_str(value, "%Y-%m-%d").ok().filter(|date| date.to_string() == value);
        self.0 = Some(date.ok_or("`date` takes a day such as `2026-11-26`, in UTC")?);
        Ok(())
    }
}

/// Requests to a resource on one day (UTC; today if left out), by status, and how long they took in all. Days are kept for
/// thirty days; what another replica has counted shows within seconds. Only for operators of the service.
#[utoipa::path(get, path = "/metrics/{resource}", operation_id = "get_metrics", tag = "metrics",
    params(("resource" = String, Path, description = "A noun of this API"), ("date" = Option<String>, Query, description = "YYYY-MM-DD")),
    responses((status = 200, body = DailyMetrics)), security(("bearer" = [])))]
async fn get_metrics(
    State(app): State<App>,
    _: Operator,
    Path(resource): Path<String>,
    Query(DateParameters(date)): Query<DateParameters>,
) -> Result<Json<DailyMetrics>> {
    let known = RESOURCES.iter().find(|known| known.name == resource);
    let resource = known.ok_or_else(|| Error::not_found("resource", &resource))?.name;
    let date = date.unwrap_or_else(|| app.world.now().date_naive());
    let fields = daily::of_day(&app, resource, date).await?;
    // Counts, which a float holds exactly up to 2^53.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts are whole and not negative")]
    let count = |amount: &f64| *amount as u64;
    let status = |(field, amount): (&String, &f64)| Some((field.strip_prefix("status_")?.to_owned(), count(amount)));
    let statuses: BTreeMap<String, u64> = fields.iter().filter_map(status).collect();
    Ok(Json(DailyMetrics {
        resource: resource.to_owned(),
        date: date.to_string(),
        total: fields.get("total").map_or(0, count),
        statuses,
        total_duration_ms: fields.get("total_duration").copied().unwrap_or_default(),
    }))
}
