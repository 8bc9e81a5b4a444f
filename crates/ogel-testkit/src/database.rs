//! A database of a test's own, on either kind, gone when the test is.

use ogel_api::{id::OrganizationId, id::UserId, organizations::Role};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _};
use std::{
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

async fn run(server: &str, sql: &str) {
    let mut connection = sqlx::postgres::PgConnectOptions::from_str(server).unwrap().connect().await.unwrap();
    // Names are made by us.
    connection.execute(sqlx::AssertSqlSafe(sql)).await.unwrap();
    connection.close().await.unwrap();
}
