//! Deployments: one attempt each to put a commit of a repository online.

use crate::{
    id::{BuildId, DeploymentId, OperationId, ProjectId, UserId},
    page::Pagination,
    string_enum::string_enum,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

string_enum! {
    /// `pending -> building -> success | failed | canceled`; the last three never change again.
    pub enum DeploymentStatus {
        Pending = "pending",
        Building = "building",
        Success = "success",
        Failed = "failed",
        Canceled = "canceled",
    }
}

impl DeploymentStatus {
    /// Whether it will never change again.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Success | Self::Failed | Self::Canceled)
    }
}

/// What to deploy. Only `projectId` and `repoUrl` are needed; the rest is detected.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewDeployment {
    pub project_id: ProjectId,
    /// Where git clones from: `https://`, `http://` or `ssh://` (and `file://` where the server allows it).
    pub repo_url: String,
    /// The repository's default branch when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// 7 to 40 hexadecimal digits; the branch's newest commit when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit_sha: Option<String>,
    /// Detected when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub framework: Option<String>,
    /// The folder of the repository that holds the site, without `..`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_directory: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub install_command: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_command: Option<String>,
    /// The folder the build writes, seen from `rootDirectory`, without `..`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_directory: Option<String>,
    /// Environment of the build: at most 100 names of letters, digits and `_`, 32 KiB together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<BTreeMap<String, String>>,
    /// At most 20 words of 1 to 64 characters, for people and filters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Deployment {
    pub id: DeploymentId,
    pub project_id: ProjectId,
    pub build_id: BuildId,
    pub status: DeploymentStatus,
    pub repo_url: String,
    pub branch: String,
    /// Known once the repository has been cloned.
    #[schema(required)]
    pub commit_sha: Option<String>,
    #[schema(required)]
    pub commit_message: Option<String>,
    #[schema(required)]
    pub framework: Option<String>,
    /// Serves the site once `status` is `success`.
    #[schema(required)]
    pub preview_url: Option<String>,
    #[schema(required)]
    pub created_by: Option<UserId>,
    pub tags: Vec<String>,
    /// Why it failed: what was run, its exit code and its last lines.
    #[schema(required)]
    pub error: Option<String>,
    /// Whether it is the one in production: served on the project's domains.
    #[serde(default)]
    #[schema(required)]
    pub active: bool,
    /// When it last became the one in production; `null` when it never was.
    #[schema(required)]
    pub promoted_at: Option<Timestamp>,
    pub created_at: Timestamp,
    #[schema(required)]
    pub completed_at: Option<Timestamp>,
    /// What a 202 says is still under way; `GET operations/{id}` tells how it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation_id: Option<OperationId>,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DeploymentList {
    pub deployments: Vec<Deployment>,
    pub pagination: Pagination,
}

/// How to deploy again. Everything may be left out.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Redeploy {
    /// Takes the branch's newest commit instead of the same one.
    #[serde(default)]
    pub latest: bool,
}

/// A change of what is in production. Everything may be left out.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Promotion {
    /// At most 500 characters, kept with the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

string_enum! {
    /// What happened to a deployment.
    pub enum DeploymentEventType {
        /// It was asked for; `relatedDeploymentId` is the one it repeats, if it is a redeployment.
        Created = "created",
        Building = "building",
        CancelRequested = "cancel_requested",
        Success = "success",
        /// `reason` says why.
        Failed = "failed",
        Canceled = "canceled",
        /// It was deployed again as `relatedDeploymentId`.
        Redeployed = "redeployed",
        /// It went into production; without an `actor` because it was the project's first that succeeded.
        Promoted = "promoted",
        /// Production was taken back to it.
        RolledBack = "rolled_back",
        /// `relatedDeploymentId` took its place in production.
        Replaced = "replaced",
    }
}

/// One thing that happened to a deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentEvent {
    /// Counted from 1 for each deployment, without holes.
    pub n: u64,
    pub deployment_id: DeploymentId,
    #[serde(rename = "type")]
    pub kind: DeploymentEventType,
    /// Who did it; `null` when nobody had to.
    #[schema(required)]
    pub actor: Option<UserId>,
    #[schema(required)]
    pub reason: Option<String>,
    #[schema(required)]
    pub related_deployment_id: Option<DeploymentId>,
    pub created_at: Timestamp,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DeploymentEventList {
    pub events: Vec<DeploymentEvent>,
    pub pagination: Pagination,
}
