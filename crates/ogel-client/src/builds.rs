//! Builds and their logs.

use crate::{Client, LogStream, Result};
use ogel_api::{
    builds::{Build, LogPage},
    id::BuildId,
};

impl Client {
    /// `GET builds/{id}`
    pub async fn get_build(&self, id: BuildId) -> Result<Build> {
        self.get(&["builds", &id.to_string()], &[]).await
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
