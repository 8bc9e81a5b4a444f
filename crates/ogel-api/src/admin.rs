//! What the platform's operators look at: the queues of work that outlives any process.

use crate::{string_enum::string_enum, time::Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

string_enum! {
    /// A queue of jobs, each done by one replica at a time.
    pub enum Queue {
        /// Deployments that have not ended: handed to the deployment backend, then followed.
        Deployments = "deployments",
        /// Webhooks that have something to be told.
        Webhooks = "webhooks",
        /// Builds whose log is not wholly copied yet.
        BuildLogs = "build_logs",
    }
}

/// How a queue stands.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct QueueFigures {
    pub queue: Queue,
    /// Jobs that no replica is at, due or not.
    pub waiting: u64,
    /// Jobs that a replica is at.
    pub running: u64,
    /// Jobs that failed too often, and wait for an operator.
    pub dead: u64,
    /// When the waiting job that is due first is, or was, due.
    #[schema(required)]
    pub oldest_due_at: Option<Timestamp>,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct QueueList {
    pub queues: Vec<QueueFigures>,
}
