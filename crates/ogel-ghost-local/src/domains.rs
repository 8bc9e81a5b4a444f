//! Domains of a project. Verification compares what DNS says with the address of the preview server; a verified domain
//! is served by it with the project's active deployment. Refuses to trust a name that points elsewhere: it stays (or
//! goes back to) `pending`, and the answer shows both sides. Next: `preview.rs`.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Query, State};
use http::StatusCode;
use serde_json::{Value, json};

use crate::auth::Caller;
use crate::body::Args;
use crate::error::{ApiError, ApiResult, is_taken};
use crate::page::{Page, PageQuery};
use crate::state::App;

const LOOKUP: Duration = Duration::from_secs(5);

#[derive(sqlx::FromRow)]
struct Domain {
    seq: i64,
    id: String,
    project_id: String,
    domain: String,
    site_id: Option<String>,
    status: String,
    observed: String,
    checked_at: Option<String>,
    created_at: String,
    updated_at: String,
}

impl Domain {
    fn to_json(&self, app: &App) -> ApiResult<Value> {
        let observed: Vec<IpAddr> = serde_json::from_str(&self.observed)?;
        let record = |address: &IpAddr| {
            let kind = if address.is_ipv4() { "A" } else { "AAAA" };
            json!({ "type": kind, "name": self.domain, "value": address.to_string() })
        };
        Ok(json!({
            "$id": self.id,
            "projectId": self.project_id,
            "domain": self.domain,
            "siteId": self.site_id,
            "status": self.status,
            "verified": self.status == "verified",
            "expected": expected(app).iter().map(record).collect::<Vec<_>>(),
            "observed": observed.iter().map(record).collect::<Vec<_>>(),
            "checkedAt": self.checked_at,
            "$createdAt": self.created_at,
            "$updatedAt": self.updated_at,
        }))
    }
}

/// The addresses a domain may point to: that of the preview server, or either loopback if it listens everywhere.
fn expected(app: &App) -> Vec<IpAddr> {
    let address = app.preview.bound.ip();
    if address.is_unspecified() {
        vec![std::net::Ipv4Addr::LOCALHOST.into(), std::net::Ipv6Addr::LOCALHOST.into()]
    } else {
        vec![address]
    }
}

/// `POST /v1/projects/{p}/domains` `{domainId?, domain, siteId?}`
pub(crate) async fn create_domain(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(project_id): Path<String>,
    args: Args,
) -> ApiResult<(StatusCode, Json<Value>)> {
    caller.may(&app, &project_id, "domains.write").await?;
    let id = args.id("domainId")?;
    let domain = checked_domain(&args.required("domain", 253)?)?;
    let site_id = site_of(&app, &project_id, &args).await?;
    sqlx::query(
        "INSERT INTO domains (id, project_id, domain, site_id, status, created_at, updated_at) \
         VALUES ($1, $2, $3, $4, 'pending', $5, $5)",
    )
    .bind(&id)
    .bind(&project_id)
    .bind(&domain)
    .bind(site_id)
    .bind(app.stamp())
    .execute(&app.db)
    .await
    .map_err(|error| {
        if is_taken(&error) {
            return ApiError::conflict("rule_already_exists", "Domain is already used.");
        }
        error.into()
    })?;
    Ok((StatusCode::CREATED, Json(find(&app, &project_id, &id).await?.to_json(&app)?)))
}

/// `GET /v1/projects/{p}/domains?limit&cursor`: newest first.
pub(crate) async fn list_domains(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(project_id): Path<String>,
    Query(query): Query<PageQuery>,
) -> ApiResult<Json<Value>> {
    caller.may(&app, &project_id, "domains.read").await?;
    let cursor = match query.cursor() {
        Some(cursor) => Some(find(&app, &project_id, cursor).await.map_err(|_| query.unknown_cursor())?.seq),
        None => None,
    };
    let Page { limit, before } = query.page(cursor)?;
    let total: i64 = sqlx::query_scalar("SELECT count(*) FROM domains WHERE project_id = $1")
        .bind(&project_id)
        .fetch_one(&app.db)
        .await?;
    let rows: Vec<Domain> =
        sqlx::query_as("SELECT * FROM domains WHERE project_id = $1 AND seq < $2 ORDER BY seq DESC LIMIT $3")
            .bind(&project_id)
            .bind(before)
            .bind(limit)
            .fetch_all(&app.db)
            .await?;
    let documents = rows.iter().map(|row| row.to_json(&app)).collect::<ApiResult<Vec<Value>>>()?;
    Ok(Json(json!({ "total": total, "documents": documents })))
}

/// `GET /v1/projects/{p}/domains/{x}`
pub(crate) async fn get_domain(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((project_id, id)): Path<(String, String)>,
) -> ApiResult<Json<Value>> {
    caller.may(&app, &project_id, "domains.read").await?;
    Ok(Json(find(&app, &project_id, &id).await?.to_json(&app)?))
}

/// `PATCH /v1/projects/{p}/domains/{x}` `{siteId}`: the name itself does not change.
pub(crate) async fn update_domain(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((project_id, id)): Path<(String, String)>,
    args: Args,
) -> ApiResult<Json<Value>> {
    caller.may(&app, &project_id, "domains.write").await?;
    find(&app, &project_id, &id).await?;
    if args.0.contains_key("siteId") {
        let site_id = site_of(&app, &project_id, &args).await?;
        sqlx::query("UPDATE domains SET site_id = $3, updated_at = $4 WHERE project_id = $1 AND id = $2")
            .bind(&project_id)
            .bind(&id)
            .bind(site_id)
            .bind(app.stamp())
            .execute(&app.db)
            .await?;
    }
    Ok(Json(find(&app, &project_id, &id).await?.to_json(&app)?))
}

/// `DELETE /v1/projects/{p}/domains/{x}`
pub(crate) async fn delete_domain(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((project_id, id)): Path<(String, String)>,
) -> ApiResult<StatusCode> {
    caller.may(&app, &project_id, "domains.write").await?;
    let gone = sqlx::query("DELETE FROM domains WHERE project_id = $1 AND id = $2")
        .bind(&project_id)
        .bind(&id)
        .execute(&app.db)
        .await?;
    if gone.rows_affected() == 0 { Err(missing()) } else { Ok(StatusCode::NO_CONTENT) }
}

/// `POST /v1/projects/{p}/domains/{x}/verify`: asks DNS now. 200 either way; `status` and the records say the result.
pub(crate) async fn verify_domain(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((project_id, id)): Path<(String, String)>,
) -> ApiResult<Json<Value>> {
    caller.may(&app, &project_id, "domains.write").await?;
    let domain = find(&app, &project_id, &id).await?;
    let found = tokio::time::timeout(LOOKUP, tokio::net::lookup_host((domain.domain.as_str(), 0))).await;
    // A name that does not resolve has no records; that is an answer, not a failure.
    let observed: BTreeSet<IpAddr> = match found {
        Ok(Ok(addresses)) => addresses.map(|address| address.ip()).collect(),
        Ok(Err(_)) | Err(_) => BTreeSet::new(),
    };
    let expected = expected(&app);
    let status = if observed.iter().any(|address| expected.contains(address)) { "verified" } else { "pending" };
    sqlx::query(
        "UPDATE domains SET status = $3, observed = $4, checked_at = $5, updated_at = $5 WHERE project_id = $1 AND id = $2",
    )
    .bind(&project_id)
    .bind(&id)
    .bind(status)
    .bind(serde_json::to_string(&observed)?)
    .bind(app.stamp())
    .execute(&app.db)
    .await?;
    Ok(Json(find(&app, &project_id, &id).await?.to_json(&app)?))
}

async fn site_of(app: &App, project_id: &str, args: &Args) -> ApiResult<Option<String>> {
    let Some(site_id) = args.text("siteId", 36)? else { return Ok(None) };
    let known: Option<i64> = sqlx::query_scalar("SELECT 1 FROM sites WHERE project_id = $1 AND id = $2")
        .bind(project_id)
        .bind(&site_id)
        .fetch_optional(&app.db)
        .await?;
    known.map(|_| Some(site_id)).ok_or_else(|| ApiError::not_found("site_not_found", "Site"))
}

fn checked_domain(text: &str) -> ApiResult<String> {
    let domain = text.trim_end_matches('.').to_ascii_lowercase();
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-')
    };
    // Hosts of previews are Ghost's own.
    let reserved = domain.ends_with(".localhost") && (domain.starts_with("d-") || domain.starts_with("p-"));
    if domain.len() <= 253 && domain.split('.').all(label) && domain.parse::<IpAddr>().is_err() && !reserved {
        return Ok(domain);
    }
    Err(ApiError::argument("domain", "Value must be a valid domain"))
}

async fn find(app: &App, project_id: &str, id: &str) -> ApiResult<Domain> {
    sqlx::query_as("SELECT * FROM domains WHERE project_id = $1 AND id = $2")
        .bind(project_id)
        .bind(id)
        .fetch_optional(&app.db)
        .await?
        .ok_or_else(missing)
}

fn missing() -> ApiError {
    ApiError::not_found("rule_not_found", "Domain")
}
