//! What ties Studio's people and projects to Ghost's. Inserts keep what is there: the first writer wins, and everybody
//! gets the row that stayed.

use crate::{
    Result, Store, StoreError,
    pool::{on_read, on_write},
    words::row,
};
use chrono::{DateTime, Utc};
use ogel_api::id::{ProjectId, UserId};
use uuid::Uuid;

/// The document's mapping row.
#[derive(Clone, PartialEq, Eq)]
pub struct GhostProject {
    pub id: Uuid,
    pub project_id: ProjectId,
    pub ogel_project_id: String,
    /// Sealed.
    pub ogel_api_key: String,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}
row!(GhostProject, columns of "ogel_projects" { id, project_id, ogel_project_id, ogel_api_key, created_at, updated_at });

impl std::fmt::Debug for GhostProject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GhostProject").field("project_id", &self.project_id).finish_non_exhaustive()
    }
}

impl Store {
    /// The person's id at Ghost.
    pub async fn ghost_account(&self, user: UserId) -> Result<Option<String>> {
        Ok(on_read!(self, db => sqlx::query_scalar("SELECT ogel_user_id FROM ghost_accounts WHERE user_id = $1")
            .bind(user.0).fetch_optional(db).await?))
    }

    /// Answers with the id that stayed.
    pub async fn insert_ghost_account(&self, user: UserId, ogel_user_id: &str, now: DateTime<Utc>) -> Result<String> {
        // An update that changes nothing makes RETURNING answer with the row that was there.
        settled(|| async move {
            Ok(on_write!(self, db => sqlx::query_scalar(
                "INSERT INTO ghost_accounts (user_id, ogel_user_id, created_at) VALUES ($1, $2, $3) \
                 ON CONFLICT (user_id) DO UPDATE SET user_id = excluded.user_id RETURNING ogel_user_id")
                .bind(user.0).bind(ogel_user_id).bind(now).fetch_all(db).await?.pop().ok_or(sqlx::Error::RowNotFound)?))
        })
        .await
    }

    pub async fn ghost_project(&self, project: ProjectId) -> Result<Option<GhostProject>> {
        Ok(on_read!(self, db => sqlx::query_as(concat!(
            "SELECT ", columns!(), " FROM ogel_projects WHERE project_id = $1"))
            .bind(project.0).fetch_optional(db).await?))
    }

    /// Answers with the row that stayed.
    pub async fn insert_ghost_project(
        &self,
        id: Uuid,
        project: ProjectId,
        ogel_project_id: &str,
        sealed_key: &str,
        now: DateTime<Utc>,
    ) -> Result<GhostProject> {
        settled(|| async move {
            Ok(on_write!(self, db => sqlx::query_as(concat!(
                "INSERT INTO ogel_projects (id, project_id, ogel_project_id, ogel_api_key, created_at, updated_at) \
                 VALUES ($1, $2, $3, $4, $5, $5) \
                 ON CONFLICT (project_id) DO UPDATE SET project_id = excluded.project_id RETURNING ", columns!()))
                .bind(id).bind(project.0).bind(ogel_project_id).bind(sealed_key).bind(now)
                .fetch_all(db).await?.pop().ok_or(sqlx::Error::RowNotFound)?))
        })
        .await
    }
}

/// Two who write the same row at once may meet at either of its two unique indexes, and PostgreSQL's `ON CONFLICT` waits at
/// one only: at the other it is an error, raised once the row is there. Asked again, it answers with that row.
async fn settled<T, F: Future<Output = Result<T>>>(insert: impl Fn() -> F) -> Result<T> {
    match insert().await {
        Err(StoreError::Unique { .. }) => insert().await,
        done => done,
    }
}
