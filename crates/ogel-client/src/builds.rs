//! Builds and their logs.

use crate::{Client, LogStream, PageQuery, Result, transport::Call};
use http::Method;
use ogel_api::{
    builds::{Build, BuildList, LogPage},
    id::{BuildId, DeploymentId, ProjectId},
};

/// Which builds to list; all of the caller's by default.
#[derive(Clone, Debug, Default)]
pub struct BuildQuery {
    pub deployment_id: Option<DeploymentId>,
    pub project_id: Option<ProjectId>,
    pub page: PageQuery,
}

impl Client {
    /// `GET builds/{id}`
    pub async fn get_build(&self, id: BuildId) -> Result<Build> {
        self.get(&["builds", &id.to_string()], &[]).await
    }

    /// `GET builds`, newest first.
    pub async fn list_builds(&self, query: &BuildQuery) -> Result<BuildList> {
        let mut pairs = Vec::new();
        pairs.extend(query.deployment_id.map(|id| ("deploymentId", id.to_string())));
        pairs.extend(query.project_id.map(|id| ("projectId", id.to_string())));
        pairs.extend(query.page.pairs());
        self.get(&["builds"], &pairs).await
    }

    /// `POST builds/{id}/cancel`: cancels its deployment. Errors: `NOT_CANCELABLE` when it is over.
    pub async fn cancel_build(&self, id: BuildId) -> Result<Build> {
        let url = self.url(&["builds", &id.to_string(), "cancel"], &[])?;
        self.json(Call { method: Method::POST, url, body: None }).await
    }

    /// `GET builds/{id}/logs`: the lines after line `after` (0: from the first), `limit` of them at most.
    pub async fn get_build_logs(&self, id: BuildId, after: u64, limit: Option<u32>) -> Result<LogPage> {
        let mut query = vec![("after", after.to_string())];
        query.extend(limit.map(|limit| ("limit", limit.to_string())));
        self.get(&["builds", &id.to_string(), "logs"], &query).await
    }

    /// Follows a build from the line after `after` (0: from the first) to its end, history included. Connects when
    /// first polled; see [`LogStream`] for what it promises.
    pub fn stream_logs(&self, id: BuildId, after: u64) -> LogStream {
        LogStream::new(self.clone(), id, after)
    }
}
