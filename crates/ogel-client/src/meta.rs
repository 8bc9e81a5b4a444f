//! What the service says about itself; needs no credential.

use crate::{Client, Result};
use ogel_api::meta::{Health, Version};

impl Client {
    /// `GET health`: answers when the process is alive.
    pub async fn health(&self) -> Result<Health> {
        self.get(&["health"], &[]).await
    }

    /// `GET version`
    pub async fn version(&self) -> Result<Version> {
        self.get(&["version"], &[]).await
    }
}
