//! What the platform's operators look at: the queues of work that outlives any process, and where records disagree.

use crate::{
    id::{OrganizationId, ProjectId},
    operations::Operation,
    page::Pagination,
    string_enum::string_enum,
    time::Timestamp,
};
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
        /// What else was asked of the deployment backend: promotions and deletions.
        Operations = "operations",
        /// Changes of sites and domains that the deployment backend was asked for, and of which nobody knows yet what became.
        Changes = "changes",
        /// Accounts that were deleted here and are to be removed at the deployment backend.
        Accounts = "accounts",
        /// The comparison of Studio's record with the deployment backend's.
        Reconciliation = "reconciliation",
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

/// An operation with what only operators are shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AdminOperation {
    #[serde(flatten)]
    pub operation: Operation,
    pub organization_id: OrganizationId,
    /// How often it was tried since it last got further.
    pub attempts: u64,
    /// What went wrong the last time, in the words of whoever refused.
    #[schema(required)]
    pub last_error: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AdminOperationList {
    pub operations: Vec<AdminOperation>,
    pub pagination: Pagination,
}

string_enum! {
    /// How Studio's record and the deployment backend can disagree.
    pub enum FindingKind {
        /// The backend has a deployment that Studio has no record of.
        UnknownHere = "unknown_here",
        /// Studio has a record of a deployment that the backend does not have.
        MissingAtGhost = "missing_at_ghost",
        /// It ended as one thing here and as another there.
        StatusDiffers = "status_differs",
        /// The backend could not be asked about this project.
        NotChecked = "not_checked",
    }
}

/// One disagreement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    pub kind: FindingKind,
    pub project_id: ProjectId,
    /// The deployment's id at the backend; empty where the whole project is meant.
    pub ghost_id: String,
    pub detail: String,
    pub first_seen_at: Timestamp,
    pub last_seen_at: Timestamp,
}

/// The newest comparison of everything Studio knows with everything the deployment backend knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Comparison {
    pub started_at: Timestamp,
    pub finished_at: Timestamp,
    /// Projects and deployments that were looked at.
    pub projects: u64,
    pub deployments: u64,
    /// What was set right on the way.
    pub repaired: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Reconciliation {
    /// `null` before the first one.
    #[schema(required)]
    pub last: Option<Comparison>,
    /// At most 1000, those seen first first.
    pub findings: Vec<Finding>,
    pub queues: Vec<QueueFigures>,
}
