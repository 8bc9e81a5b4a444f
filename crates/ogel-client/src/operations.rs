//! Operations: how what was answered with 202 stands.

use crate::{Client, Result};
use ogel_api::{id::OperationId, operations::Operation};
use std::time::Duration;

impl Client {
    /// `GET operations/{id}`
    pub async fn get_operation(&self, id: OperationId) -> Result<Operation> {
        self.get(&["operations", &id.to_string()], &[]).await
    }

    /// `GET operations/{id}/wait`: answers once it has ended, or after `timeout` (at most 60 seconds, and less than the
    /// client's own timeout) with how it stands then.
    pub async fn wait_for_operation(&self, id: OperationId, timeout: Duration) -> Result<Operation> {
        let query = [("timeout", timeout.as_secs().min(60).to_string())];
        self.get(&["operations", &id.to_string(), "wait"], &query).await
    }
}
