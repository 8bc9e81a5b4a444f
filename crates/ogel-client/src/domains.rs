//! Domains.

use crate::{Client, PageQuery, Result, transport::Call};
use http::Method;
use ogel_api::{
    domains::{Domain, DomainList, NewDomain, UpdateDomain},
    id::{DomainId, ProjectId},
};

impl Client {
    /// `POST domains`. Errors: `CONFLICT` when the name is used already.
    pub async fn create_domain(&self, new: &NewDomain) -> Result<Domain<'static>> {
        self.post(&["domains"], new).await
    }

    /// `GET domains` of a project, newest first.
    pub async fn list_domains(&self, project: ProjectId, page: &PageQuery) -> Result<DomainList<'static>> {
        let mut pairs = vec![("projectId", project.to_string())];
        pairs.extend(page.pairs());
        self.get(&["domains"], &pairs).await
    }

    /// `GET domains/{id}`
    pub async fn get_domain(&self, id: DomainId) -> Result<Domain<'static>> {
        self.get(&["domains", &id.to_string()], &[]).await
    }

    /// `PATCH domains/{id}`
    pub async fn update_domain(&self, id: DomainId, change: &UpdateDomain) -> Result<Domain<'static>> {
        self.patch(&["domains", &id.to_string()], change).await
    }

    /// `POST domains/{id}/verify`: asks DNS now; `status` is the result.
    pub async fn verify_domain(&self, id: DomainId) -> Result<Domain<'static>> {
        let url = self.url(&["domains", &id.to_string(), "verify"], &[])?;
        self.json(Call { method: Method::POST, url, body: None }).await
    }

    /// `DELETE domains/{id}`
    pub async fn delete_domain(&self, id: DomainId) -> Result<()> {
        self.done(Method::DELETE, &["domains", &id.to_string()]).await
    }
}
