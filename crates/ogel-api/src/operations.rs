//! Operations: what was asked for and takes its time. Whoever got a 202 asks here how it stands.

use crate::{
    id::{DeploymentId, OperationId, ProjectId, UserId},
    string_enum::string_enum,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

string_enum! {
    /// What is to be done.
    pub enum OperationKind {
        /// Until the deployment backend has accepted it; its build is followed by the deployment's own status.
        CreateDeployment = "create_deployment",
        CancelDeployment = "cancel_deployment",
        PromoteDeployment = "promote_deployment",
        RollBackDeployment = "roll_back_deployment",
        DeleteDeployment = "delete_deployment",
        /// A deployment that ended without the deployment backend is stopped there, too.
        WithdrawDeployment = "withdraw_deployment",
        DeleteProject = "delete_project",
    }
}

string_enum! {
    /// `pending -> succeeded | failed`, or `dead` in between.
    pub enum OperationState {
        Pending = "pending",
        Succeeded = "succeeded",
        /// It can never be done; `error` says why.
        Failed = "failed",
        /// It failed too often, and waits for the platform's operators.
        Dead = "dead",
    }
}

/// Why an operation failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OperationError {
    /// One of the error codes.
    pub code: String,
    pub message: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Operation {
    pub id: OperationId,
    pub kind: OperationKind,
    pub state: OperationState,
    pub project_id: ProjectId,
    #[schema(required)]
    pub deployment_id: Option<DeploymentId>,
    /// Who asked for it; `null` when nobody had to.
    #[schema(required)]
    pub requested_by: Option<UserId>,
    /// Set once `state` is `failed`.
    #[schema(required)]
    pub error: Option<OperationError>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    #[schema(required)]
    pub completed_at: Option<Timestamp>,
}
