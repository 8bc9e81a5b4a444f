//! API keys. The secret is kept as its SHA-256 only.

use crate::{
    Act, Page, PageRequest, Result, Store, User, Viewer,
    audit::write_down,
    idempotency::keep_answer,
    pool::{on_read, on_write},
    viewer::seen_by,
    words::{row, scopes_text},
};
use chrono::{DateTime, Utc};
use ogel_api::{
    audit::AuditAction,
    auth::Scope,
    id::{ApiKeyId, OrganizationId, ProjectId, UserId},
    webhooks::WebhookEventType,
};
use std::net::IpAddr;

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
    pub last_used_ip: Option<IpAddr>,
    /// The secret before the last rotation.
    pub old_secret_hash: Option<[u8; 32]>,
    pub old_secret_expires_at: Option<DateTime<Utc>>,
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
    last_used_at,
    last_used_ip,
    old_secret_hash,
    old_secret_expires_at
});

impl std::fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiKey").field("id", &self.id).field("user_id", &self.user_id).finish_non_exhaustive()
    }
}

/// That a key was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyUse {
    pub id: ApiKeyId,
    pub at: DateTime<Utc>,
    pub ip: IpAddr,
}

/// What of a key may be changed; `None` stays as it is.
#[derive(Clone, Debug, Default)]
pub struct KeyChange {
    pub name: Option<String>,
    pub scopes: Option<Vec<Scope>>,
    /// `Some(None)` is a key without end.
    pub expires_at: Option<Option<DateTime<Utc>>>,
}

/// A key's next secret, and how long the one before goes on working; not at all if `None`.
#[derive(Clone)]
pub struct NextSecret {
    pub hash: [u8; 32],
    pub prefix: String,
    pub old_expires_at: Option<DateTime<Utc>>,
}

impl std::fmt::Debug for NextSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NextSecret").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// A person's keys; a key that is bound itself sees those bound as it is. The viewer is `$1`, `$2` and `$3`.
macro_rules! of_viewer {
    () => {
        " api_keys.user_id = $1 AND ($3 IS NULL OR api_keys.project_id = $3) \
         AND ($2 IS NULL OR api_keys.organization_id = $2 OR EXISTS (SELECT 1 FROM projects \
         WHERE projects.id = api_keys.project_id AND projects.organization_id = $2)) "
    };
}

/// Tells those who want to know what `$act` did with `$key`, in the transaction `$tx`.
macro_rules! tell {
    ($tx:expr, $key:expr, $kind:expr, $act:expr) => {
        if let Some(emission) = $crate::Emission::of_key($key, $kind, $act.at) {
            $crate::webhooks::outbox::emit!($tx, &emission);
        }
    };
}

/// Of the organization that `$key` is bound to, itself or by its project; else of its person only.
macro_rules! entry {
    ($tx:expr, $action:expr, $key:expr) => {{
        let key: &$crate::ApiKey = $key;
        let organization: Option<uuid::Uuid> = match (key.organization_id, key.project_id) {
            (Some(id), _) => Some(id.0),
            (None, Some(project)) => {
                sqlx::query_scalar("SELECT organization_id FROM projects WHERE id = $1")
                    .bind(project.0)
                    .fetch_optional(&mut *$tx)
                    .await?
            }
            (None, None) => None,
        };
        $crate::Entry::new(organization.map(ogel_api::id::OrganizationId), $action, key.id)
    }};
}

/// What is written down of `$keys`, which `$act` has just removed; those who want to know of it are told. Their projects must
/// still be there.
macro_rules! revoked {
    ($tx:expr, $keys:expr, $act:expr) => {{
        let keys: Vec<$crate::ApiKey> = $keys;
        let mut entries = Vec::with_capacity(keys.len());
        for key in &keys {
            let entry = $crate::api_keys::entry!($tx, AuditAction::ApiKeyRevoked, key);
            entries.push(entry.before("name", &key.name).before("scopes", &key.scopes));
            $crate::api_keys::tell!($tx, key, ogel_api::webhooks::WebhookEventType::ApiKeyDeleted, $act);
        }
        entries
    }};
}
pub(crate) use {columns as api_key_columns, entry, revoked, tell};

/// Other writers wait for the transaction.
const USES_AT_ONCE: usize = 200;

impl Store {
    pub async fn create_api_key(&self, act: &Act, key: &ApiKey) -> Result<()> {
        on_write!(self, db => {
            let mut tx = db.begin_with(BEGIN).await?;
            sqlx::query(
                "INSERT INTO api_keys (id, user_id, name, prefix, secret_hash, scopes, project_id, organization_id, \
                 created_at, expires_at, last_used_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)")
                .bind(key.id.0).bind(key.user_id.0).bind(&key.name).bind(&key.prefix).bind(&key.secret_hash[..])
                .bind(scopes_text(&key.scopes))
                .bind(key.project_id.map(|id| id.0)).bind(key.organization_id.map(|id| id.0))
                .bind(key.created_at).bind(key.expires_at).bind(key.last_used_at)
                .execute(&mut *tx).await?;
            let entry = entry!(tx, AuditAction::ApiKeyCreated, key)
                .after("name", &key.name).after("scopes", &key.scopes).after("projectId", key.project_id)
                .after("expiresAt", key.expires_at);
            write_down!(tx, act, [entry]);
            tell!(tx, key, WebhookEventType::ApiKeyCreated, act);
            keep_answer!(tx, act);
            tx.commit().await?;
        });
        Ok(())
    }

    /// The key with this secret, or that had it before its last rotation; expired or not; and whose it is.
    pub async fn api_key_by_secret(&self, secret_hash: &[u8; 32]) -> Result<Option<(ApiKey, User)>> {
        let key: Option<ApiKey> = on_read!(self, db => sqlx::query_as(concat!(
            "SELECT ", columns!(), " FROM api_keys WHERE secret_hash = $1 OR old_secret_hash = $1"))
            .bind(&secret_hash[..]).fetch_optional(db).await?);
        let Some(key) = key else { return Ok(None) };
        Ok(self.user(key.user_id).await?.map(|user| (key, user)))
    }

    pub async fn list_api_keys(&self, viewer: &Viewer, request: &PageRequest) -> Result<Page<ApiKey>> {
        let rows = on_read!(self, db => seen_by!(sqlx::query_as(concat!(
            "SELECT ", columns!(), " FROM api_keys WHERE", of_viewer!(), "AND (created_at, id) < ($4, $5) \
             ORDER BY created_at DESC, id DESC LIMIT $6")), viewer)
            .bind(request.after_time()).bind(request.after_id()).bind(request.fetch())
            .fetch_all(db).await?);
        Ok(request.page(rows, |key: &ApiKey| (key.created_at, key.id.0)))
    }

    pub async fn api_key(&self, viewer: &Viewer, id: ApiKeyId) -> Result<Option<ApiKey>> {
        Ok(on_read!(self, db => seen_by!(sqlx::query_as(concat!(
            "SELECT ", columns!(), " FROM api_keys WHERE", of_viewer!(), "AND id = $4")), viewer)
            .bind(id.0).fetch_optional(db).await?))
    }

    pub async fn update_api_key(
        &self,
        act: &Act,
        viewer: &Viewer,
        id: ApiKeyId,
        change: &KeyChange,
    ) -> Result<Option<ApiKey>> {
        let (ends, expires_at) = (change.expires_at.is_some(), change.expires_at.flatten());
        Ok(on_write!(self, db => {
            let mut tx = db.begin_with(BEGIN).await?;
            // Answers with the row as it was, and keeps it until the end.
            let before: Option<ApiKey> = seen_by!(sqlx::query_as(concat!(
                "UPDATE api_keys SET name = name WHERE", of_viewer!(), "AND id = $4 RETURNING ", columns!())), viewer)
                .bind(id.0).fetch_all(&mut *tx).await?.pop();
            let after: Option<ApiKey> = seen_by!(sqlx::query_as(concat!(
                "UPDATE api_keys SET name = COALESCE($5, name), scopes = COALESCE($6, scopes), \
                 expires_at = CASE WHEN $7 THEN $8 ELSE expires_at END WHERE", of_viewer!(), "AND id = $4 RETURNING ", columns!())), viewer)
                .bind(id.0).bind(&change.name).bind(change.scopes.as_deref().map(scopes_text)).bind(ends).bind(expires_at)
                .fetch_all(&mut *tx).await?.pop();
            if let (Some(before), Some(after)) = (&before, &after) {
                let entry = entry!(tx, AuditAction::ApiKeyUpdated, after)
                    .changed("name", &before.name, &after.name).changed("scopes", &before.scopes, &after.scopes)
                    .changed("expiresAt", before.expires_at, after.expires_at);
                write_down!(tx, act, [entry]);
                tell!(tx, after, WebhookEventType::ApiKeyUpdated, act);
            }
            tx.commit().await?;
            after
        }))
    }

    /// Gives the key another secret, if it still has the one it was read with: two rotations at once are one and a `None`.
    pub async fn rotate_api_key(&self, act: &Act, key: &ApiKey, next: &NextSecret) -> Result<Option<ApiKey>> {
        let old = next.old_expires_at.map(|_| &key.secret_hash[..]);
        Ok(on_write!(self, db => {
            let mut tx = db.begin_with(BEGIN).await?;
            let after: Option<ApiKey> = sqlx::query_as(concat!(
                "UPDATE api_keys SET secret_hash = $3, prefix = $4, old_secret_hash = $5, old_secret_expires_at = $6 \
                 WHERE id = $1 AND secret_hash = $2 RETURNING ", columns!()))
                .bind(key.id.0).bind(&key.secret_hash[..]).bind(&next.hash[..]).bind(&next.prefix)
                .bind(old).bind(next.old_expires_at)
                .fetch_all(&mut *tx).await?.pop();
            if let Some(after) = &after {
                let entry = entry!(tx, AuditAction::ApiKeyRotated, after)
                    .changed("prefix", &key.prefix, &after.prefix)
                    .after("oldSecretExpiresAt", after.old_secret_expires_at);
                write_down!(tx, act, [entry]);
                tell!(tx, after, WebhookEventType::ApiKeyRotated, act);
                keep_answer!(tx, act);
            }
            tx.commit().await?;
            after
        }))
    }

    /// Whether there was one that the viewer may see.
    pub async fn delete_api_key(&self, act: &Act, viewer: &Viewer, id: ApiKeyId) -> Result<bool> {
        Ok(on_write!(self, db => {
            let mut tx = db.begin_with(BEGIN).await?;
            let gone: Vec<ApiKey> = seen_by!(sqlx::query_as(concat!(
                "DELETE FROM api_keys WHERE", of_viewer!(), "AND id = $4 RETURNING ", columns!())), viewer)
                .bind(id.0).fetch_all(&mut *tx).await?;
            let entries = revoked!(tx, gone, act);
            write_down!(tx, act, entries);
            tx.commit().await?;
            !entries.is_empty()
        }))
    }

    /// Notes when and from where keys were last used, in few transactions. Never turns a note back: replicas report in
    /// any order.
    pub async fn touch_api_keys(&self, uses: &[KeyUse]) -> Result<()> {
        let mut uses = uses.to_vec();
        // All replicas take the rows in one order, so that none waits for another in a circle.
        uses.sort_unstable();
        for chunk in uses.chunks(USES_AT_ONCE) {
            on_write!(self, db => {
                let mut tx = db.begin_with(BEGIN).await?;
                for used in chunk {
                    sqlx::query(
                        "UPDATE api_keys SET last_used_at = $2, last_used_ip = $3 \
                         WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < $2)")
                        .bind(used.id.0).bind(used.at).bind(used.ip.to_string()).execute(&mut *tx).await?;
                }
                tx.commit().await?;
            });
        }
        Ok(())
    }
}
