//! API keys. The secret is kept as its SHA-256 only.

use crate::{
    Page, PageRequest, Result, Store, User,
    pool::{on_read, on_write},
    words::row,
};
use chrono::{DateTime, Utc};
use ogel_api::{
    auth::Scope,
    id::{ApiKeyId, OrganizationId, ProjectId, UserId},
};

#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey {
    pub id: ApiKeyId,
    pub user_id: UserId,
    pub name: String,
    pub prefix: String,
    pub secret_hash: [u8; 32],
    pub scopes: Vec<Scope>,
    pub project_id: Option<ProjectId>,
    pub organization_id: Option<OrganizationId>,
    pub created_at: DateTime<Utc>,
    pub expires_at: Option<DateTime<Utc>>,
    pub last_used_at: Option<DateTime<Utc>>,
}
row!(ApiKey, columns of "api_keys" {
    id,
    user_id,
    name,
    prefix,
    secret_hash,
    scopes,
    project_id,
    organization_id,
    created_at,
    expires_at,
    last_used_at
});

impl std::fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiKey").field("id", &self.id).field("user_id", &self.user_id).finish_non_exhaustive()
    }
}

/// Other writers wait for the transaction.
const TOUCHES_AT_ONCE: usize = 200;

impl Store {
    pub async fn create_api_key(&self, key: &ApiKey) -> Result<()> {
        let scopes = key.scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(" ");
        on_write!(self, db => sqlx::query(
            "INSERT INTO api_keys (id, user_id, name, prefix, secret_hash, scopes, project_id, organization_id, \
             created_at, expires_at, last_used_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)")
            .bind(key.id.0).bind(key.user_id.0).bind(&key.name).bind(&key.prefix).bind(&key.secret_hash[..]).bind(&scopes)
            .bind(key.project_id.map(|id| id.0)).bind(key.organization_id.map(|id| id.0))
            .bind(key.created_at).bind(key.expires_at).bind(key.last_used_at)
            .execute(db).await?.rows_affected());
        Ok(())
    }

    /// The key, expired or not, and whose it is.
    pub async fn api_key_by_secret(&self, secret_hash: &[u8; 32]) -> Result<Option<(ApiKey, User)>> {
        let key: Option<ApiKey> = on_read!(self, db => sqlx::query_as(concat!(
            "SELECT ", columns!(), " FROM api_keys WHERE secret_hash = $1"))
            .bind(&secret_hash[..]).fetch_optional(db).await?);
        let Some(key) = key else { return Ok(None) };
        Ok(self.user(key.user_id).await?.map(|user| (key, user)))
    }

    pub async fn list_api_keys(&self, user: UserId, request: &PageRequest) -> Result<Page<ApiKey>> {
        let rows = on_read!(self, db => sqlx::query_as(concat!(
            "SELECT ", columns!(), " FROM api_keys WHERE user_id = $1 AND (created_at, id) < ($2, $3) \
             ORDER BY created_at DESC, id DESC LIMIT $4"))
            .bind(user.0).bind(request.after_time()).bind(request.after_id()).bind(request.fetch())
            .fetch_all(db).await?);
        Ok(request.page(rows, |key: &ApiKey| (key.created_at, key.id.0)))
    }

    pub async fn api_key(&self, id: ApiKeyId, user: UserId) -> Result<Option<ApiKey>> {
        Ok(on_read!(self, db => sqlx::query_as(concat!(
            "SELECT ", columns!(), " FROM api_keys WHERE id = $1 AND user_id = $2"))
            .bind(id.0).bind(user.0).fetch_optional(db).await?))
    }

    /// Whether there was one of this person's.
    pub async fn delete_api_key(&self, id: ApiKeyId, user: UserId) -> Result<bool> {
        let done = on_write!(self, db => sqlx::query("DELETE FROM api_keys WHERE id = $1 AND user_id = $2")
            .bind(id.0).bind(user.0).execute(db).await?.rows_affected());
        Ok(done > 0)
    }

    /// Notes when the key was last used.
    pub async fn touch_api_key(&self, id: ApiKeyId, at: DateTime<Utc>) -> Result<()> {
        self.touch_api_keys(&[(id, at)]).await
    }

    /// The same for many, in few transactions. Never turns a note back: replicas report in any order.
    pub async fn touch_api_keys(&self, uses: &[(ApiKeyId, DateTime<Utc>)]) -> Result<()> {
        let mut uses = uses.to_vec();
        // All replicas take the rows in one order, so that none waits for another in a circle.
        uses.sort_unstable();
        for chunk in uses.chunks(TOUCHES_AT_ONCE) {
            on_write!(self, db => {
                let mut tx = db.begin_with(BEGIN).await?;
                for (id, at) in chunk {
                    sqlx::query(
                        "UPDATE api_keys SET last_used_at = $2 WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < $2)")
                        .bind(id.0).bind(at).execute(&mut *tx).await?;
                }
                tx.commit().await?;
            });
        }
        Ok(())
    }
}
