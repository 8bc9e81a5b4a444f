//! Session rows of Studio's own login, for a Studio that keeps them in a database (an adapter of next-auth or Auth.js).
//! Only read: tables and columns are whatever they are there, named by a preset or by configuration, and looked for once.
//!
//! Accounts, which hold tokens of other providers, are never touched.

use crate::{Result, Store, StoreError, pool::Pool};
use chrono::{DateTime, Utc};
use sqlx::{
    AssertSqlSafe,
    postgres::{PgConnectOptions, PgPool, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions},
};
use std::{str::FromStr as _, time::Duration};

/// What Studio's tables and columns are called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StudioTables {
    /// Whose naming it is, for the report.
    pub adapter: String,
    /// PostgreSQL only.
    pub schema: String,
    pub sessions: String,
    pub session_token: String,
    pub session_user: String,
    pub session_expires: String,
    pub users: String,
    pub user_id: String,
    pub user_email: String,
    pub user_name: String,
    /// When, or whether, the e-mail address was verified.
    pub user_verified: String,
}

impl StudioTables {
    /// As `adapter` (`pg`, `prisma`, `drizzle`) names them.
    pub fn of_adapter(adapter: &str, schema: &str) -> Option<Self> {
        let (sessions, users) = match adapter {
            "pg" => ("sessions", "users"),
            "prisma" => ("Session", "User"),
            "drizzle" => ("session", "user"),
            _ => return None,
        };
        Some(Self {
            adapter: adapter.to_owned(),
            schema: schema.to_owned(),
            sessions: sessions.to_owned(),
            session_token: "sessionToken".to_owned(),
            session_user: "userId".to_owned(),
            session_expires: "expires".to_owned(),
            users: users.to_owned(),
            user_id: "id".to_owned(),
            user_email: "email".to_owned(),
            user_name: "name".to_owned(),
            user_verified: "emailVerified".to_owned(),
        })
    }

    fn needed(&self) -> [(&str, &str); 5] {
        [
            (&self.sessions, &self.session_token),
            (&self.sessions, &self.session_user),
            (&self.sessions, &self.session_expires),
            (&self.users, &self.user_id),
            (&self.users, &self.user_email),
        ]
    }
}

/// A session of Studio's and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StudioRow {
    pub subject: String,
    pub email: Option<String>,
    pub name: Option<String>,
    pub email_is_verified: bool,
    pub expires_at: DateTime<Utc>,
}

#[derive(Clone)]
enum Reader {
    Pg(PgPool),
    Lite(SqlitePool),
}

/// Studio's database, to read. Cheap to clone.
#[derive(Clone)]
pub struct StudioDatabase {
    reader: Reader,
    by_token: String,
    by_user: String,
    report: String,
}

impl std::fmt::Debug for StudioDatabase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StudioDatabase").field("report", &self.report).finish_non_exhaustive()
    }
}

/// Runs `$body` with `$db` bound to whichever pool there is.
macro_rules! on_reader {
    ($reader:expr, $db:ident => $body:expr) => {
        match $reader {
            Reader::Pg($db) => $body,
            Reader::Lite($db) => $body,
        }
    };
}

/// A column that is there: table, name, type.
type Found = (String, String, String);

impl StudioDatabase {
    /// Looks for the first of `candidates` whose tables are all there: at `url`, or in our own database if that is empty.
    /// The error says what is there instead.
    pub async fn find(store: &Store, url: &str, candidates: &[StudioTables]) -> Result<Self> {
        let reader = match (url, &store.pool) {
            ("", Pool::Pg(db)) => Reader::Pg(db.clone()),
            ("", Pool::Lite { read, .. }) => Reader::Lite(read.clone()),
            _ => Reader::open(url).await?,
        };
        let mut tried = Vec::new();
        for tables in candidates {
            let found = reader.columns(&tables.schema).await?;
            let has = |table: &str, column: &str| found.iter().any(|(t, c, _)| t == table && c == column);
            let missing: Vec<_> = tables
                .needed()
                .iter()
                .filter(|(table, column)| !has(table, column))
                .map(|(table, column)| format!("`{table}`.`{column}`"))
                .collect();
            if missing.is_empty() {
                return Ok(Self::new(reader, tables, &found));
            }
            let mut there: Vec<_> = found.iter().map(|(table, _, _)| table.as_str()).collect();
            there.dedup();
            there.truncate(20);
            let (adapter, schema) = (&tables.adapter, &tables.schema);
            tried.push(format!(
                "{adapter} (schema `{schema}`): {} not there; tables that are: {}",
                missing.join(", "),
                if there.is_empty() { "none".to_owned() } else { there.join(", ") }
            ));
        }
        Err(StoreError::Other(format!("Studio's sessions were not found. {}", tried.join(". ")).into()))
    }

    fn new(reader: Reader, tables: &StudioTables, found: &[Found]) -> Self {
        let is_pg = matches!(reader, Reader::Pg(_));
        let column = |table: &str, name: &str| found.iter().find(|(t, c, _)| t == table && c == name);
        let place = |table: &str| match is_pg {
            true => format!("{}.{}", quoted(&tables.schema), quoted(table)),
            false => quoted(table),
        };
        let name = match column(&tables.users, &tables.user_name) {
            Some(_) => format!("CAST(u.{} AS TEXT)", quoted(&tables.user_name)),
            None => "NULL".to_owned(),
        };
        let verified = match column(&tables.users, &tables.user_verified) {
            None => "0 = 1".to_owned(),
            Some((_, verified, kind)) if kind == "boolean" => format!("u.{}", quoted(verified)),
            Some((_, verified, _)) if is_pg => format!("u.{} IS NOT NULL", quoted(verified)),
            // SQLite has no booleans of its own.
            Some((_, verified, _)) => format!("COALESCE(u.{0}, 0) <> 0", quoted(verified)),
        };
        let expires = format!("s.{}", quoted(&tables.session_expires));
        // A time without a zone is UTC there; so is what this makes of it.
        let expires_ms = match is_pg {
            true => format!("CAST(EXTRACT(EPOCH FROM {expires}) * 1000 AS BIGINT)"),
            false => format!(
                "CAST(CASE typeof({expires}) WHEN 'text' THEN strftime('%s', {expires}) * 1000 ELSE {expires} END AS BIGINT)"
            ),
        };
        let (sessions, users) = (place(&tables.sessions), place(&tables.users));
        let (token, of_user) = (quoted(&tables.session_token), quoted(&tables.session_user));
        let (id, email) = (quoted(&tables.user_id), quoted(&tables.user_email));
        let by_token = format!(
            "SELECT CAST(u.{id} AS TEXT), CAST(u.{email} AS TEXT), {name}, \
             CAST(CASE WHEN {verified} THEN 1 ELSE 0 END AS BIGINT), {expires_ms} \
             FROM {sessions} s JOIN {users} u ON u.{id} = s.{of_user} WHERE s.{token} = $1"
        );
        let by_user = format!(
            "SELECT CAST(s.{token} AS TEXT) FROM {sessions} s WHERE CAST(s.{of_user} AS TEXT) = $1 \
             ORDER BY {expires} DESC LIMIT $2"
        );
        let kind = |table: &str, name: &str| column(table, name).map_or("not there", |(_, _, kind)| kind.as_str());
        let report = format!(
            "{} names: {sessions} ({token}, {of_user}, {expires_name} {expires_kind}), {users} ({id} {id_kind}, {email}, {verified_name} {verified_kind})",
            tables.adapter,
            expires_name = quoted(&tables.session_expires),
            expires_kind = kind(&tables.sessions, &tables.session_expires),
            id_kind = kind(&tables.users, &tables.user_id),
            verified_name = quoted(&tables.user_verified),
            verified_kind = kind(&tables.users, &tables.user_verified),
        );
        Self { reader, by_token, by_user, report }
    }

    /// What was found, for the log.
    pub fn report(&self) -> &str {
        &self.report
    }

    /// The session with this token, expired or not.
    pub async fn session(&self, token: &str) -> Result<Option<StudioRow>> {
        type Columns = (String, Option<String>, Option<String>, i64, i64);
        let sql = AssertSqlSafe(self.by_token.clone());
        let found: Option<Columns> =
            on_reader!(&self.reader, db => sqlx::query_as(sql).bind(token).fetch_optional(db).await?);
        let Some((subject, email, name, verified, expires_ms)) = found else { return Ok(None) };
        let expires_at = DateTime::from_timestamp_millis(expires_ms)
            .ok_or_else(|| StoreError::Corrupt("a session of Studio's ends at no time".into()))?;
        Ok(Some(StudioRow { subject, email, name, email_is_verified: verified != 0, expires_at }))
    }

    /// The tokens of somebody's sessions, those that end last first; at most `limit`.
    pub async fn tokens_of(&self, subject: &str, limit: u32) -> Result<Vec<String>> {
        let sql = AssertSqlSafe(self.by_user.clone());
        Ok(on_reader!(&self.reader, db => sqlx::query_scalar(sql)
            .bind(subject).bind(i64::from(limit)).fetch_all(db).await?))
    }
}

impl Reader {
    const CONNECTIONS: u32 = 8;
    const PATIENCE: Duration = Duration::from_secs(5);

    async fn open(url: &str) -> Result<Self> {
        if url.starts_with("sqlite:") {
            let options = SqliteConnectOptions::from_str(url)?.read_only(true).busy_timeout(Self::PATIENCE);
            let pool = SqlitePoolOptions::new().max_connections(Self::CONNECTIONS).acquire_timeout(Self::PATIENCE);
            return Ok(Self::Lite(pool.connect_with(options).await?));
        }
        if !url.starts_with("postgres:") && !url.starts_with("postgresql:") {
            return Err(StoreError::Other("the URL must start with `sqlite:` or `postgres://`".into()));
        }
        let options = PgConnectOptions::from_str(url)?
            .application_name("ogeld")
            .options([("default_transaction_read_only", "on"), ("statement_timeout", "5s")]);
        let pool = PgPoolOptions::new().max_connections(Self::CONNECTIONS).acquire_timeout(Self::PATIENCE);
        Ok(Self::Pg(pool.connect_with(options).await?))
    }

    async fn columns(&self, schema: &str) -> Result<Vec<Found>> {
        Ok(match self {
            Self::Pg(db) => {
                sqlx::query_as(
                    "SELECT table_name::text, column_name::text, data_type::text FROM information_schema.columns \
                     WHERE table_schema = $1 ORDER BY table_name, ordinal_position",
                )
                .bind(schema)
                .fetch_all(db)
                .await?
            }
            Self::Lite(db) => {
                sqlx::query_as(
                    "SELECT m.name, c.name, lower(c.type) FROM sqlite_master m, pragma_table_info(m.name) c \
                     WHERE m.type = 'table' ORDER BY m.name, c.cid",
                )
                .fetch_all(db)
                .await?
            }
        })
    }
}

/// As a name in a statement, whatever it holds.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_cannot_end_their_quotes() {
        assert_eq!(super::quoted(r#"user"; DROP TABLE x; --"#), r#""user""; DROP TABLE x; --""#);
    }
}
