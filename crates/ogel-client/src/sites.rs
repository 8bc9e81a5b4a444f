//! Sites.

use crate::{Client, PageQuery, Result};
use http::Method;
use ogel_api::{
    id::{ProjectId, SiteId},
    sites::{NewSite, Site, SiteList, UpdateSite},
};

impl Client {
    /// `POST sites`
    pub async fn create_site(&self, new: &NewSite) -> Result<Site<'static>> {
        self.post(&["sites"], new).await
    }

    /// `GET sites` of a project, newest first.
    pub async fn list_sites(&self, project: ProjectId, page: &PageQuery) -> Result<SiteList<'static>> {
        let mut pairs = vec![("projectId", project.to_string())];
        pairs.extend(page.pairs());
        self.get(&["sites"], &pairs).await
    }

    /// `GET sites/{id}`
    pub async fn get_site(&self, id: SiteId) -> Result<Site<'static>> {
        self.get(&["sites", &id.to_string()], &[]).await
    }

    /// `PATCH sites/{id}`
    pub async fn update_site(&self, id: SiteId, change: &UpdateSite) -> Result<Site<'static>> {
        self.patch(&["sites", &id.to_string()], change).await
    }

    /// `DELETE sites/{id}`
    pub async fn delete_site(&self, id: SiteId) -> Result<()> {
        self.done(Method::DELETE, &["sites", &id.to_string()]).await
    }
}
