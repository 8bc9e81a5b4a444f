//! Deployments.

use crate::{Client, PageQuery, Result, transport::Call};
use http::Method;
use ogel_api::{
    deployments::{Deployment, DeploymentEventList, DeploymentList, NewDeployment, Promotion, Redeploy},
    id::{DeploymentId, ProjectId},
};

/// Which deployments to list; all of the caller's by default.
#[derive(Clone, Debug, Default)]
pub struct DeploymentQuery {
    pub project_id: Option<ProjectId>,
    /// One of the documented words; a `String`, because a server may know more of them than this build.
    pub status: Option<String>,
    pub branch: Option<String>,
    pub page: PageQuery,
}

impl DeploymentQuery {
    fn pairs(&self) -> Vec<(&'static str, String)> {
        let mut pairs = Vec::new();
        pairs.extend(self.project_id.map(|id| ("projectId", id.to_string())));
        pairs.extend(self.status.clone().map(|status| ("status", status)));
        pairs.extend(self.branch.clone().map(|branch| ("branch", branch)));
        pairs.extend(self.page.pairs());
        pairs
    }
}

impl Client {
    /// `POST deployments`: answers as soon as the deployment is recorded; follow it with
    /// [`stream_logs`](Client::stream_logs) or [`get_deployment`](Client::get_deployment).
    pub async fn create_deployment(&self, new: &NewDeployment) -> Result<Deployment> {
        self.post(&["deployments"], new).await
    }

    /// `GET deployments`, newest first.
    pub async fn list_deployments(&self, query: &DeploymentQuery) -> Result<DeploymentList> {
        self.get(&["deployments"], &query.pairs()).await
    }

    /// `GET projects/{project}/deployments`, newest first.
    pub async fn list_project_deployments(&self, project: &str, page: &PageQuery) -> Result<DeploymentList> {
        self.get(&["projects", project, "deployments"], &page.pairs()).await
    }

    /// `GET deployments/{id}`
    pub async fn get_deployment(&self, id: DeploymentId) -> Result<Deployment> {
        self.get(&["deployments", &id.to_string()], &[]).await
    }

    /// `POST deployments/{id}/cancel`. Errors: `NOT_CANCELABLE` when it is over.
    pub async fn cancel_deployment(&self, id: DeploymentId) -> Result<Deployment> {
        let url = self.url(&["deployments", &id.to_string(), "cancel"], &[])?;
        self.json(Call { method: Method::POST, url, body: None }).await
    }

    /// `POST deployments/{id}/redeploy`: a new deployment with the same settings. Errors: `CONFLICT` while it runs.
    pub async fn redeploy_deployment(&self, id: DeploymentId, how: &Redeploy) -> Result<Deployment> {
        self.post(&["deployments", &id.to_string(), "redeploy"], how).await
    }

    /// `POST deployments/{id}/promote`: the project's domains show it. Errors: `CONFLICT` unless it succeeded.
    pub async fn promote_deployment(&self, id: DeploymentId, promotion: &Promotion) -> Result<Deployment> {
        self.post(&["deployments", &id.to_string(), "promote"], promotion).await
    }

    /// `POST deployments/{id}/rollback`: the same for one that was there before. Errors: `CONFLICT` if it never was.
    pub async fn rollback_deployment(&self, id: DeploymentId, promotion: &Promotion) -> Result<Deployment> {
        self.post(&["deployments", &id.to_string(), "rollback"], promotion).await
    }

    /// `GET deployments/{id}/events`, newest first.
    pub async fn list_deployment_events(&self, id: DeploymentId, page: &PageQuery) -> Result<DeploymentEventList> {
        self.get(&["deployments", &id.to_string(), "events"], &page.pairs()).await
    }

    /// `DELETE deployments/{id}`. Errors: `NOT_DELETABLE` while it runs.
    pub async fn delete_deployment(&self, id: DeploymentId) -> Result<()> {
        self.done(Method::DELETE, &["deployments", &id.to_string()]).await
    }
}
