//! Who calls: the platform (its key), a user (a JWT) or a project's key. Exactly one credential per call: Appwrite lets a
//! key next to a JWT replace the user and switches authorization off, so here that is an error. What a caller may not
//! see is 404, what a key's scopes do not cover is 401 `general_unauthorized_scope`. Next: `projects.rs`.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use constant_time_eq::constant_time_eq;
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use sha2::{Digest, Sha256};

use crate::error::{ApiError, ApiResult};
use crate::state::App;

/// Scopes a project key can have: ours, then those of Appwrite that a platform may grant without effect here.
pub(crate) const SCOPES: &[&str] = &[
    "deployments.read",
    "deployments.write",
    "builds.read",
    "builds.write",
    "sites.read",
    "sites.write",
    "domains.read",
    "domains.write",
    "databases.read",
    "databases.write",
    "collections.read",
    "collections.write",
    "documents.read",
    "documents.write",
    "rules.read",
    "rules.write",
    "projects.read",
    "users.read",
    "users.write",
    "tables.read",
    "tables.write",
    "rows.read",
    "rows.write",
    "files.read",
    "files.write",
    "buckets.read",
    "buckets.write",
    "functions.read",
    "functions.write",
    "log.read",
    "execution.read",
    "execution.write",
    "health.read",
];

/// The holder of a valid credential.
#[derive(Debug, Clone)]
pub(crate) enum Caller {
    /// Sees everything.
    Platform,
    /// Sees the projects it made or was granted. The token dies at `expires` (seconds since 1970).
    User { id: String, expires: i64 },
    /// Sees one project, within its scopes.
    Key { project_id: String, scopes: Vec<String> },
}

impl FromRequestParts<Arc<App>> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Caller, ApiError> {
        Caller::from_headers(&parts.headers, app).await
    }
}

impl Caller {
    async fn from_headers(headers: &HeaderMap, app: &App) -> ApiResult<Caller> {
        let key = single(headers, "x-appwrite-key")?;
        let jwt = single(headers, "x-appwrite-jwt")?;
        let project = single(headers, "x-appwrite-project")?;
        let caller = match (key, jwt) {
            (Some(_), Some(_)) => {
                let message = "Send either X-Appwrite-Key or X-Appwrite-JWT, not both.";
                return Err(ApiError::new(StatusCode::BAD_REQUEST, "general_argument_invalid", message));
            }
            (None, None) => return Err(ApiError::unauthorized()),
            (Some(key), None) => by_key(app, key).await?,
            (None, Some(jwt)) => by_jwt(app, jwt).await?,
        };
        match (project, &caller) {
            (Some("console"), _) => Ok(caller),
            (Some(project), Caller::Key { project_id, .. }) if project == project_id => Ok(caller),
            (Some(_), _) => Err(ApiError::not_found("project_not_found", "Project")),
            (None, _) => Err(ApiError::unauthorized()),
        }
    }

    /// Only the platform may.
    pub(crate) fn must_be_platform(&self, scope: &str) -> ApiResult<()> {
        match self {
            Caller::Platform => Ok(()),
            Caller::User { .. } => Err(ApiError::scope("User (role: users)", scope)),
            Caller::Key { .. } => Err(ApiError::scope("app.key", scope)),
        }
    }

    /// Whether a user's token has expired since the caller was identified; matters on long-lived sockets.
    pub(crate) fn has_expired(&self, now: i64) -> bool {
        matches!(self, Caller::User { expires, .. } if *expires <= now)
    }

    /// Whether the caller may do `scope` in the project. Not seeing it at all is `project_not_found`.
    pub(crate) async fn may(&self, app: &App, project_id: &str, scope: &str) -> ApiResult<()> {
        let hidden = || ApiError::not_found("project_not_found", "Project");
        match self {
            Caller::Platform => {
                let row: Option<i64> = sqlx::query_scalar("SELECT 1 FROM projects WHERE id = $1")
                    .bind(project_id)
                    .fetch_optional(&app.db)
                    .await?;
                row.map(|_| ()).ok_or_else(hidden)
            }
            Caller::User { id, .. } => {
                let row: Option<i64> =
                    sqlx::query_scalar("SELECT 1 FROM project_members WHERE project_id = $1 AND user_id = $2")
                        .bind(project_id)
                        .bind(id)
                        .fetch_optional(&app.db)
                        .await?;
                row.map(|_| ()).ok_or_else(hidden)
            }
            Caller::Key { project_id: own, .. } if own != project_id => Err(hidden()),
            Caller::Key { scopes, .. } if covers(scopes, scope) => Ok(()),
            Caller::Key { .. } => Err(ApiError::scope("app.key", scope)),
        }
    }
}

/// `deployments.*` covers the builds of the deployments, `databases.*` what is in the databases, and `rules.*` is
/// Appwrite's name for domains.
fn covers(scopes: &[String], wanted: &str) -> bool {
    let (noun, verb) = wanted.split_once('.').unwrap_or((wanted, ""));
    let also = match noun {
        "builds" => "deployments",
        "collections" | "documents" => "databases",
        "domains" => "rules",
        _ => noun,
    };
    scopes.iter().any(|scope| {
        scope.split_once('.').is_some_and(|(held, held_verb)| held_verb == verb && (held == noun || held == also))
    })
}

fn single<'a>(headers: &'a HeaderMap, name: &str) -> ApiResult<Option<&'a str>> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(ApiError::argument(name, "the header was sent twice"));
    }
    match value.to_str() {
        Ok("") => Ok(None),
        Ok(text) => Ok(Some(text)),
        Err(_) => Err(ApiError::argument(name, "the header is not plain ASCII")),
    }
}

async fn by_key(app: &App, secret: &str) -> ApiResult<Caller> {
    // Hashes have one length whatever was sent, so the comparison tells nothing by its time.
    let given = Sha256::digest(secret.as_bytes());
    let platform = Sha256::digest(app.config.platform_key.as_bytes());
    if constant_time_eq(&given, &platform) {
        return Ok(Caller::Platform);
    }
    let row: Option<(String, String)> =
        sqlx::query_as("SELECT project_id, scopes FROM project_keys WHERE secret_hash = $1")
            .bind(hex::encode(given))
            .fetch_optional(&app.db)
            .await?;
    let (project_id, scopes) = row.ok_or_else(ApiError::unauthorized)?;
    Ok(Caller::Key { project_id, scopes: serde_json::from_str(&scopes)? })
}

async fn by_jwt(app: &App, token: &str) -> ApiResult<Caller> {
    let invalid = || {
        let message = "The JWT token is invalid. Please check the value of the X-Appwrite-JWT header.";
        ApiError::new(StatusCode::UNAUTHORIZED, "user_jwt_invalid", message)
    };
    let (id, expires) = crate::jwt::verify(&app.jwt_secret, token, app.now().timestamp()).ok_or_else(invalid)?;
    let known: Option<i64> =
        sqlx::query_scalar("SELECT 1 FROM users WHERE id = $1").bind(&id).fetch_optional(&app.db).await?;
    known.map(|_| Caller::User { id, expires }).ok_or_else(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_never_covers_writing() {
        let scopes = vec!["deployments.read".to_owned(), "rules.write".to_owned()];
        assert!(covers(&scopes, "deployments.read"));
        assert!(covers(&scopes, "builds.read"));
        assert!(covers(&scopes, "domains.write"));
        assert!(!covers(&scopes, "deployments.write"));
        assert!(!covers(&scopes, "sites.read"));
    }
}
