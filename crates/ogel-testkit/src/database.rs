//! A database of a test's own, on either kind, gone when the test is.

use ogel_api::{id::OrganizationId, id::UserId, organizations::Role};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _};
use std::{
    collections::BTreeMap,
    path::Path,
    str::FromStr as _,
    sync::atomic::{AtomicU32, Ordering},
};

/// Which database a test runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Database {
    Sqlite,
    /// One database per test on the server of `OGEL_TEST_POSTGRES_URL`.
    Postgres,
}

pub(crate) struct TestDatabase {
    pub(crate) url: String,
    /// Server and name of what must be dropped.
    postgres: Option<(String, String)>,
}

impl TestDatabase {
    pub(crate) async fn make(database: Database, folder: &Path) -> Self {
        match database {
            Database::Sqlite => Self { url: format!("sqlite:{}", folder.join("ogel.db").display()), postgres: None },
            Database::Postgres => {
                #[expect(clippy::disallowed_methods, reason = "tests are told where the server is by the environment")]
                let server = std::env::var("OGEL_TEST_POSTGRES_URL")
                    .expect("set OGEL_TEST_POSTGRES_URL, or run `cargo ci`, which starts a PostgreSQL of its own");
                static COUNT: AtomicU32 = AtomicU32::new(0);
                let name = format!("ogel_app_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
                run(&server, &format!("CREATE DATABASE {name}")).await;
                let mut url = url::Url::parse(&server).unwrap();
                url.set_path(&name);
                Self { url: url.into(), postgres: Some((server, name)) }
            }
        }
    }

    pub(crate) async fn drop(self) {
        if let Some((server, name)) = self.postgres {
            run(&server, &format!("DROP DATABASE {name} WITH (FORCE)")).await;
        }
    }

    /// Every value of every column, as text, under `table.column`.
    pub(crate) async fn columns(&self) -> BTreeMap<String, Vec<String>> {
        let mut all = BTreeMap::new();
        if self.postgres.is_some() {
            let options = sqlx::postgres::PgConnectOptions::from_str(&self.url).unwrap();
            let mut connection = options.options([("search_path", "platform")]).connect().await.unwrap();
            let columns: Vec<(String, String, String)> = sqlx::query_as(
                "SELECT c.table_name::text, c.column_name::text, c.data_type::text FROM information_schema.columns c \
                 JOIN information_schema.tables t USING (table_schema, table_name) \
                 WHERE c.table_schema = 'platform' AND t.table_type = 'BASE TABLE'",
            )
            .fetch_all(&mut connection)
            .await
            .unwrap();
            for (table, column, kind) in columns {
                let text = match kind.as_str() {
                    "bytea" => format!("encode(\"{column}\", 'escape')"),
                    _ => format!("\"{column}\"::text"),
                };
                let sql = format!("SELECT {text} FROM \"{table}\" WHERE \"{column}\" IS NOT NULL");
                let values = sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_all(&mut connection).await.unwrap();
                all.insert(format!("{table}.{column}"), values);
            }
            connection.close().await.unwrap();
        } else {
            let options = sqlx::sqlite::SqliteConnectOptions::from_str(&self.url).unwrap();
            let mut connection = options.busy_timeout(crate::PATIENCE).connect().await.unwrap();
            let columns: Vec<(String, String)> = sqlx::query_as(
                "SELECT m.name, c.name FROM sqlite_master m, pragma_table_info(m.name) c \
                 WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%'",
            )
            .fetch_all(&mut connection)
            .await
            .unwrap();
            for (table, column) in columns {
                let sql = format!("SELECT CAST(\"{column}\" AS BLOB) FROM \"{table}\" WHERE \"{column}\" IS NOT NULL");
                let values: Vec<Vec<u8>> =
                    sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_all(&mut connection).await.unwrap();
                let values = values.iter().map(|value| String::from_utf8_lossy(value).into_owned()).collect();
                all.insert(format!("{table}.{column}"), values);
            }
            connection.close().await.unwrap();
        }
        all
    }

    /// Lets somebody belong to an organization. There is no operation for it yet.
    pub(crate) async fn add_member(&self, organization: OrganizationId, user: UserId, role: Role) {
        const INSERT: &str =
            "INSERT INTO organization_members (organization_id, user_id, role, created_at) VALUES ($1, $2, $3, $4)";
        let at = chrono::DateTime::UNIX_EPOCH;
        if self.postgres.is_some() {
            let options = sqlx::postgres::PgConnectOptions::from_str(&self.url).unwrap();
            let mut connection = options.options([("search_path", "platform")]).connect().await.unwrap();
            sqlx::query(INSERT)
                .bind(organization.0)
                .bind(user.0)
                .bind(role.as_str())
                .bind(at)
                .execute(&mut connection)
                .await
                .unwrap();
            connection.close().await.unwrap();
        } else {
            let options = sqlx::sqlite::SqliteConnectOptions::from_str(&self.url).unwrap();
            let options = options.busy_timeout(crate::PATIENCE);
            let mut connection = options.connect().await.unwrap();
            sqlx::query(INSERT)
                .bind(organization.0)
                .bind(user.0)
                .bind(role.as_str())
                .bind(at)
                .execute(&mut connection)
                .await
                .unwrap();
            connection.close().await.unwrap();
        }
    }

    /// Past the service, as somebody else's program would.
    pub(crate) async fn raw(&self, sql: &str) {
        let sql = sqlx::AssertSqlSafe(sql.to_owned());
        if self.postgres.is_some() {
            let options = sqlx::postgres::PgConnectOptions::from_str(&self.url).unwrap();
            let mut connection = options.options([("search_path", "platform")]).connect().await.unwrap();
            sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
            connection.close().await.unwrap();
        } else {
            let options = sqlx::sqlite::SqliteConnectOptions::from_str(&self.url).unwrap();
            let mut connection = options.busy_timeout(crate::PATIENCE).connect().await.unwrap();
            sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
            connection.close().await.unwrap();
        }
    }
}

/// The accounts of an embedded Ghost, from its own database in `folder`.
pub(crate) async fn accounts_of(folder: &Path) -> Vec<(String, String)> {
    let options =
        sqlx::sqlite::SqliteConnectOptions::new().filename(folder.join("ghost.db")).busy_timeout(crate::PATIENCE);
    let mut connection = options.connect().await.unwrap();
    let accounts = sqlx::query_as("SELECT id, email FROM users ORDER BY id").fetch_all(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    accounts
}

async fn run(server: &str, sql: &str) {
    let mut connection = sqlx::postgres::PgConnectOptions::from_str(server).unwrap().connect().await.unwrap();
    // Names are made by us.
    connection.execute(sqlx::AssertSqlSafe(sql)).await.unwrap();
    connection.close().await.unwrap();
}
