//! Organizations.

use crate::{Client, PageQuery, Result};
use http::Method;
use ogel_api::{
    id::OrganizationId,
    organizations::{NewOrganization, Organization, OrganizationList, UpdateOrganization},
};

impl Client {
    /// `POST organizations`; the caller becomes its owner.
    pub async fn create_organization(&self, new: &NewOrganization) -> Result<Organization> {
        self.post(&["organizations"], new).await
    }

    /// `GET organizations`: those the caller belongs to.
    pub async fn list_organizations(&self, page: &PageQuery) -> Result<OrganizationList> {
        self.get(&["organizations"], &page.pairs()).await
    }

    /// `GET organizations/{id}`
    pub async fn get_organization(&self, id: OrganizationId) -> Result<Organization> {
        self.get(&["organizations", &id.to_string()], &[]).await
    }

    /// `PATCH organizations/{id}`
    pub async fn update_organization(&self, id: OrganizationId, change: &UpdateOrganization) -> Result<Organization> {
        self.patch(&["organizations", &id.to_string()], change).await
    }

    /// `DELETE organizations/{id}`
    pub async fn delete_organization(&self, id: OrganizationId) -> Result<()> {
        self.done(Method::DELETE, &["organizations", &id.to_string()]).await
    }
}
