//! What the service says about itself, and, to its operators, about what it has done.

use crate::{Client, Result};
use ogel_api::{
    meta::{Health, Version},
    metrics::DailyMetrics,
};

impl Client {
    /// `GET metrics/{resource}`: a day's figures, for operators; today's if `date` (YYYY-MM-DD) is left out.
    pub async fn get_metrics(&self, resource: &str, date: Option<&str>) -> Result<DailyMetrics> {
        let pairs: Vec<_> = date.map(|date| ("date", date.to_owned())).into_iter().collect();
        self.get(&["metrics", resource], &pairs).await
    }

    /// `GET health`: answers when the process is alive.
    pub async fn health(&self) -> Result<Health> {
        self.get(&["health"], &[]).await
    }

    /// `GET version`
    pub async fn version(&self) -> Result<Version> {
        self.get(&["version"], &[]).await
    }
}
