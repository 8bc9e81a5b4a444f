//! Figures by resource and day, for a service that has no Redis.

use crate::{
    Result, Store,
    pool::{on_read, on_write},
};

/// One figure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DailyCount {
    pub field: String,
    pub amount: u64,
}

/// Fields that hold which batch of a process was added last.
const BATCH: &str = "batch:";

impl Store {
    /// Adds to a resource's day, once per `batch` of `process` however often it is sent. Batches of a process come in order.
    pub async fn add_daily(
        &self,
        process: &str,
        batch: u64,
        resource: &str,
        day: &str,
        counts: &[DailyCount],
    ) -> Result<()> {
        const NOTE: &str = "INSERT INTO daily_metrics (resource, day, field, amount) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (day, resource, field) DO UPDATE SET amount = excluded.amount \
             WHERE daily_metrics.amount < excluded.amount";
        const ADD: &str = "INSERT INTO daily_metrics (resource, day, field, amount) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (day, resource, field) DO UPDATE SET amount = daily_metrics.amount + excluded.amount";
        let number = |amount: u64| i64::try_from(amount).unwrap_or(i64::MAX);
        let marker = format!("{BATCH}{process}");
        on_write!(self, db => {
            let mut tx = db.begin_with(BEGIN).await?;
            let noted = sqlx::query(NOTE).bind(resource).bind(day).bind(&marker).bind(number(batch))
                .execute(&mut *tx).await?.rows_affected();
            if noted > 0 {
                for count in counts {
                    sqlx::query(ADD).bind(resource).bind(day).bind(&count.field).bind(number(count.amount))
                        .execute(&mut *tx).await?;
                }
            }
            tx.commit().await?;
        });
        Ok(())
    }

    /// A resource's day.
    pub async fn daily(&self, resource: &str, day: &str) -> Result<Vec<DailyCount>> {
        const SQL: &str = "SELECT field, amount FROM daily_metrics \
             WHERE resource = $1 AND day = $2 AND field NOT LIKE 'batch:%' ORDER BY field";
        let rows: Vec<(String, i64)> =
            on_read!(self, db => sqlx::query_as(SQL).bind(resource).bind(day).fetch_all(db).await?);
        let count = |(field, amount): (String, i64)| DailyCount { field, amount: u64::try_from(amount).unwrap_or(0) };
        Ok(rows.into_iter().map(count).collect())
    }

    /// Removes the days before this one.
    pub async fn delete_daily_before(&self, day: &str) -> Result<u64> {
        const SQL: &str = "DELETE FROM daily_metrics WHERE day < $1";
        Ok(on_write!(self, db => sqlx::query(SQL).bind(day).execute(db).await?.rows_affected()))
    }
}
