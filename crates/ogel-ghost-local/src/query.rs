//! Lists with Appwrite's `queries[]`: JSON such as `{"method":"equal","attribute":"color","values":["red"]}`. Attributes
//! are read out of the stored JSON; `$id`, `$createdAt`, `$updatedAt` are columns. Values and attribute names are always
//! bound, never spliced into the SQL. Refuses methods it does not know (`general_query_invalid`), more than 100 queries,
//! and pages over 100. Next: `documents.rs`.

use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use sqlx::{QueryBuilder, Sqlite};

use crate::error::{ApiError, ApiResult};
use crate::state::App;

const MAX_QUERIES: usize = 100;
const MAX_QUERY_CHARS: usize = 4096;
const MAX_VALUES: usize = 100;

/// What is listed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Source<'a> {
    Databases { project_id: &'a str },
    Collections { database: i64 },
    Documents { collection: i64 },
}

/// One listed thing; `data` is a JSON object.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct Row {
    pub(crate) id: String,
    pub(crate) data: String,
    pub(crate) created_at: String,
    pub(crate) updated_at: String,
}

#[derive(Debug, Deserialize)]
struct Query {
    method: String,
    attribute: Option<String>,
    #[serde(default)]
    values: Vec<Value>,
}

struct Listing {
    filters: Vec<Query>,
    /// Attribute, and whether the greatest comes first.
    orders: Vec<(String, bool)>,
    limit: i64,
    offset: i64,
    after: Option<String>,
}

/// Answers how many rows match, and the page that was asked for.
pub(crate) async fn list(app: &App, source: Source<'_>, raw_query: Option<&str>) -> ApiResult<(i64, Vec<Row>)> {
    let listing = read(raw_query.unwrap_or_default())?;
    let mut count = matching(source, &listing.filters)?;
    count.push(" SELECT count(*) FROM matching");
    let total: i64 = count.build_query_scalar().fetch_one(&app.db).await?;
    let mut page = matching(source, &listing.filters)?;
    page.push(", ranked AS (SELECT *, row_number() OVER (ORDER BY ");
    for (attribute, descending) in &listing.orders {
        push_attribute(&mut page, attribute);
        page.push(if *descending { " DESC, " } else { " ASC, " });
    }
    page.push("seq) AS rank FROM matching) SELECT id, data, created_at, updated_at FROM ranked");
    if let Some(after) = &listing.after {
        let mut known = matching(source, &[])?;
        known.push(" SELECT 1 FROM matching WHERE id = ").push_bind(after);
        let known: Option<i64> = known.build_query_scalar().fetch_optional(&app.db).await?;
        if known.is_none() {
            let message = format!("Cursor '{after}' could not be found");
            return Err(ApiError::new(StatusCode::BAD_REQUEST, "general_cursor_not_found", message));
        }
        page.push(" WHERE rank > (SELECT rank FROM ranked WHERE id = ").push_bind(after).push(")");
    }
    page.push(" ORDER BY rank LIMIT ").push_bind(listing.limit).push(" OFFSET ").push_bind(listing.offset);
    Ok((total, page.build_query_as().fetch_all(&app.db).await?))
}

fn read(raw: &str) -> ApiResult<Listing> {
    let mut listing = Listing { filters: Vec::new(), orders: Vec::new(), limit: 25, offset: 0, after: None };
    let queries = url::form_urlencoded::parse(raw.as_bytes()).filter(|(name, _)| name.starts_with("queries["));
    for (i, (_, text)) in queries.enumerate() {
        if i >= MAX_QUERIES || text.chars().count() > MAX_QUERY_CHARS {
            return Err(ApiError::argument("queries", "at most 100 queries of at most 4096 characters are allowed"));
        }
        let query: Query = serde_json::from_str(&text)
            .map_err(|_| ApiError::argument("queries", "Invalid query: Invalid query: Syntax error"))?;
        match query.method.as_str() {
            "limit" => listing.limit = number(&query, 100)?,
            "offset" => listing.offset = number(&query, 1_000_000)?,
            "cursorAfter" => listing.after = Some(text_value(&query)?.to_owned()),
            "orderAsc" | "orderDesc" => {
                let attribute = attribute(&query)?.to_owned();
                listing.orders.push((attribute, query.method == "orderDesc"));
            }
            _ => listing.filters.push(query),
        }
    }
    Ok(listing)
}

/// `WITH matching AS (…)`: the source, filtered.
fn matching(source: Source<'_>, filters: &[Query]) -> ApiResult<QueryBuilder<Sqlite>> {
    const NAMED: &str = "json_object('name', name, 'enabled', json(iif(enabled, 'true', 'false'))) AS data";
    let mut sql = QueryBuilder::new("WITH matching AS (SELECT * FROM (SELECT seq, id, created_at, updated_at, ");
    match source {
        Source::Databases { project_id } => {
            sql.push(NAMED).push(" FROM data_databases WHERE project_id = ").push_bind(project_id.to_owned());
        }
        Source::Collections { database } => {
            sql.push(NAMED).push(" FROM data_collections WHERE database_seq = ").push_bind(database);
        }
        Source::Documents { collection } => {
            sql.push("data FROM data_documents WHERE collection_seq = ").push_bind(collection);
        }
    }
    sql.push(") WHERE true");
    for filter in filters {
        sql.push(" AND (");
        push_filter(&mut sql, filter)?;
        sql.push(")");
    }
    sql.push(")");
    Ok(sql)
}

fn push_filter(sql: &mut QueryBuilder<Sqlite>, query: &Query) -> ApiResult<()> {
    let name = attribute(query)?;
    if query.values.len() > MAX_VALUES {
        return Err(invalid(query, "has too many values"));
    }
    let comparison = match query.method.as_str() {
        "equal" => " = ",
        "notEqual" => " IS NOT ",
        "lessThan" => " < ",
        "lessThanEqual" => " <= ",
        "greaterThan" => " > ",
        "greaterThanEqual" => " >= ",
        "isNull" | "isNotNull" => {
            push_attribute(sql, name);
            sql.push(if query.method == "isNull" { " IS NULL" } else { " IS NOT NULL" });
            return Ok(());
        }
        "between" => {
            let [low, high] = &query.values[..] else { return Err(invalid(query, "needs two values")) };
            push_attribute(sql, name);
            sql.push(" BETWEEN ");
            push_value(sql, query, low)?;
            sql.push(" AND ");
            return push_value(sql, query, high);
        }
        "startsWith" | "endsWith" | "contains" => {
            let wanted = text_value(query)?.to_owned();
            match query.method.as_str() {
                "contains" => sql.push("instr("),
                _ => sql.push("substr("),
            };
            push_attribute(sql, name);
            let length = i64::try_from(wanted.chars().count()).unwrap_or(i64::MAX);
            match query.method.as_str() {
                "contains" => sql.push(", ").push_bind(wanted).push(") > 0"),
                "startsWith" => sql.push(", 1, ").push_bind(length).push(") = ").push_bind(wanted),
                _ => sql.push(", ").push_bind(-length).push(") = ").push_bind(wanted),
            };
            return Ok(());
        }
        _ => return Err(invalid(query, "is not known")),
    };
    if query.values.is_empty() {
        return Err(invalid(query, "needs a value"));
    }
    // Several values mean any of them; for `notEqual`, none of them.
    for (i, value) in query.values.iter().enumerate() {
        if i > 0 {
            sql.push(if query.method == "notEqual" { " AND " } else { " OR " });
        }
        push_attribute(sql, name);
        sql.push(comparison);
        push_value(sql, query, value)?;
    }
    Ok(())
}

fn push_attribute(sql: &mut QueryBuilder<Sqlite>, name: &str) {
    match name {
        "$id" => sql.push("id"),
        "$createdAt" => sql.push("created_at"),
        "$updatedAt" => sql.push("updated_at"),
        _ => sql.push("json_extract(data, ").push_bind(format!("$.\"{name}\"")).push(")"),
    };
}

fn push_value(sql: &mut QueryBuilder<Sqlite>, query: &Query, value: &Value) -> ApiResult<()> {
    match value {
        Value::String(text) => sql.push_bind(text.clone()),
        Value::Bool(flag) => sql.push_bind(*flag),
        Value::Number(number) if number.is_i64() => sql.push_bind(number.as_i64()),
        Value::Number(number) => sql.push_bind(number.as_f64()),
        _ => return Err(invalid(query, "takes texts, numbers and booleans")),
    };
    Ok(())
}

/// The attribute's name. Quotes and backslashes would end the JSON path it becomes part of.
fn attribute(query: &Query) -> ApiResult<&str> {
    match query.attribute.as_deref() {
        Some(name) if !name.is_empty() && name.len() <= 255 && !name.contains(['"', '\\', '\0']) => Ok(name),
        _ => Err(invalid(query, "needs an attribute")),
    }
}

fn text_value(query: &Query) -> ApiResult<&str> {
    match &query.values[..] {
        [Value::String(text)] => Ok(text),
        _ => Err(invalid(query, "needs one text")),
    }
}

fn number(query: &Query, max: i64) -> ApiResult<i64> {
    match &query.values[..] {
        [value] => value.as_i64().filter(|number| (0..=max).contains(number)),
        _ => None,
    }
    .ok_or_else(|| invalid(query, &format!("needs a whole number of at most {max}")))
}

fn invalid(query: &Query, reason: &str) -> ApiError {
    let message = format!("Invalid query: method `{}` {reason}", query.method);
    ApiError::new(StatusCode::BAD_REQUEST, "general_query_invalid", message)
}
