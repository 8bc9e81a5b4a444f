//! What operators read about a resource's day.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// Requests to one resource on one day.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DailyMetrics {
    pub resource: String,
    /// YYYY-MM-DD, in UTC.
    pub date: String,
    /// Requests answered.
    pub total: u64,
    /// How many of them with which status.
    pub statuses: BTreeMap<String, u64>,
    /// What they took together, in milliseconds.
    pub total_duration_ms: f64,
}
