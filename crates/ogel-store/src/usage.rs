//! What was used, added up by the hour. Counters come in batches that a process numbers, so that one whose commit was
//! not heard of may be sent again; deployments and builds count in the transaction that makes or ends them.

use crate::{
    Result, Store,
    pool::{on_read, on_write},
    words::row,
};
use chrono::{DateTime, TimeDelta, Timelike as _, Utc};
use ogel_api::{
    billing::{Metric, UsageGroup},
    id::{OrganizationId, ProjectId},
};
use uuid::Uuid;

/// So much of a metric in an hour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Used {
    pub organization: OrganizationId,
    pub project: ProjectId,
    pub metric: Metric,
    pub hour: DateTime<Utc>,
    pub quantity: i64,
}

/// A sum of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageSum {
    pub metric: Metric,
    pub quantity: i64,
    /// The hour, where a report keeps hours apart.
    pub hour: Option<DateTime<Utc>>,
    pub project: Option<ProjectId>,
}
row!(UsageSum { metric, quantity, hour, project });

/// The hour a moment is in.
pub fn hour_of(at: DateTime<Utc>) -> DateTime<Utc> {
    let into = i64::from(at.minute() * 60 + at.second());
    at - TimeDelta::seconds(into) - TimeDelta::nanoseconds(i64::from(at.nanosecond()))
}

/// Adds `$4` to what is known: `$1` the project, whose organization is looked up, `$2` the metric, `$3` the hour.
pub(crate) const ADD_FOR_PROJECT: &str = "INSERT INTO usage_hourly (organization_id, project_id, metric, hour, quantity) \
     SELECT projects.organization_id, projects.id, $2, $3, $4 FROM projects WHERE projects.id = $1 \
     ON CONFLICT (organization_id, hour, metric, project_id) \
     DO UPDATE SET quantity = usage_hourly.quantity + excluded.quantity";
const ADD: &str = "INSERT INTO usage_hourly (organization_id, project_id, metric, hour, quantity) \
     VALUES ($1, $2, $3, $4, $5) ON CONFLICT (organization_id, hour, metric, project_id) \
     DO UPDATE SET quantity = usage_hourly.quantity + excluded.quantity";

macro_rules! sums {
    ($what:literal, $by:literal) => {
        concat!(
            "SELECT metric, CAST(SUM(quantity) AS BIGINT) AS quantity, ",
            $what,
            " FROM usage_hourly WHERE organization_id = $1 AND hour >= $2 AND hour < $3 GROUP BY metric",
            $by,
            " LIMIT $4"
        )
    };
}

impl Store {
    /// Adds a batch, unless it or a later one of the same process was added before: then `false`.
    pub async fn add_usage(&self, process: Uuid, sequence: i64, batch: &[Used], now: DateTime<Utc>) -> Result<bool> {
        // In one order for everybody, so that two processes never wait for each other.
        let mut batch: Vec<&Used> = batch.iter().collect();
        batch.sort_by_key(|used| (used.organization, used.hour, used.metric.as_str(), used.project));
        Ok(on_write!(self, db => {
            let mut tx = db.begin_with(BEGIN).await?;
            let is_new = sqlx::query(
                "INSERT INTO usage_flushes (process_id, last_sequence, flushed_at) VALUES ($1, $2, $3) \
                 ON CONFLICT (process_id) DO UPDATE SET last_sequence = excluded.last_sequence, flushed_at = excluded.flushed_at \
                 WHERE usage_flushes.last_sequence < excluded.last_sequence")
                .bind(process).bind(sequence).bind(now).execute(&mut *tx).await?.rows_affected() > 0;
            if is_new {
                for used in batch {
                    sqlx::query(ADD).bind(used.organization.0).bind(used.project.0).bind(used.metric.as_str())
                        .bind(used.hour).bind(used.quantity).execute(&mut *tx).await?;
                }
            }
            tx.commit().await?;
            is_new
        }))
    }

    /// Sums from `from` to before `to`, by metric and perhaps by hour, day or project; at most `limit` of them, in order.
    pub async fn usage(
        &self,
        organization: OrganizationId,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
        group: Option<UsageGroup>,
        limit: u32,
    ) -> Result<Vec<UsageSum>> {
        let text = match group {
            Some(UsageGroup::Hour | UsageGroup::Day) => sums!("hour, NULL AS project", ", hour ORDER BY hour, metric"),
            Some(UsageGroup::Project) => {
                sums!("NULL AS hour, project_id AS project", ", project_id ORDER BY project_id, metric")
            }
            None | Some(UsageGroup::Unrecognized) => sums!("NULL AS hour, NULL AS project", " ORDER BY metric"),
        };
        Ok(on_read!(self, db => sqlx::query_as(text)
            .bind(organization.0).bind(from).bind(to).bind(i64::from(limit)).fetch_all(db).await?))
    }

    /// Forgets processes that have not written since `before`: none of their batches comes again.
    pub async fn delete_old_flushes(&self, before: DateTime<Utc>) -> Result<u64> {
        Ok(on_write!(self, db => sqlx::query("DELETE FROM usage_flushes WHERE flushed_at < $1")
            .bind(before).execute(db).await?.rows_affected()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_begins_at_its_beginning() {
        let at = DateTime::from_timestamp_millis(1_700_003_599_999).unwrap();
        assert_eq!(hour_of(at), DateTime::from_timestamp(1_700_002_800, 0).unwrap());
        assert_eq!(hour_of(hour_of(at)), hour_of(at));
    }
}
