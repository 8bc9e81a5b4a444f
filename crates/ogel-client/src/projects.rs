//! Projects, named by id (`proj_…`) or slug.

use crate::{Client, PageQuery, Result};
use http::Method;
use ogel_api::projects::{NewProject, Project, ProjectList, RestoreProject, TransferProject, UpdateProject};

impl Client {
    /// `POST projects`
    pub async fn create_project(&self, new: &NewProject) -> Result<Project> {
        self.post(&["projects"], new).await
    }

    /// `GET projects`: those the caller may see.
    pub async fn list_projects(&self, page: &PageQuery) -> Result<ProjectList> {
        self.get(&["projects"], &page.pairs()).await
    }

    /// `GET projects/{id or slug}`. Errors: `AMBIGUOUS_SLUG` when several organizations have one of that name.
    pub async fn get_project(&self, project: &str) -> Result<Project> {
        self.get(&["projects", project], &[]).await
    }

    /// `PATCH projects/{id or slug}`
    pub async fn update_project(&self, project: &str, change: &UpdateProject) -> Result<Project> {
        self.patch(&["projects", project], change).await
    }

    /// `DELETE projects/{id or slug}`
    pub async fn delete_project(&self, project: &str) -> Result<()> {
        self.done(Method::DELETE, &["projects", project]).await
    }

    /// `POST projects/{id}/restore`
    pub async fn restore_project(&self, project: &str, how: &RestoreProject) -> Result<Project> {
        self.post(&["projects", project, "restore"], how).await
    }

    /// `POST projects/{id or slug}/transfer`
    pub async fn transfer_project(&self, project: &str, to: &TransferProject) -> Result<Project> {
        self.post(&["projects", project, "transfer"], to).await
    }
}
