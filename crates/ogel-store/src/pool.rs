//! Connecting and migrating, and `on_read!`/`on_write!`: the same statement on whichever database there is.

use crate::{Result, StoreError};
use sqlx::{
    postgres::{PgConnectOptions, PgPool, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous},
};
use std::{str::FromStr as _, time::Duration};

/// Where the database is and how many connections it gets.
#[derive(Clone)]
pub struct StoreConfig {
    /// `sqlite:PATH` or `postgres://…`.
    pub url: String,
    pub max_connections: u32,
    /// How long a statement waits for a connection before it is [`StoreError::Unavailable`].
    pub acquire_timeout: Duration,
}

#[derive(Clone)]
pub(crate) enum Pool {
    Pg(PgPool),
    /// SQLite has one writer at a time. One connection for all writes queues them here, in order and without limit of
    /// time, instead of in SQLite, where waiting ends in "database is locked".
    Lite {
        read: SqlitePool,
        write: SqlitePool,
    },
}

/// Studio's database. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    pub(crate) pool: Pool,
}

/// Runs `$body` with `$db` bound to a pool for reading.
macro_rules! on_read {
    ($store:expr, $db:ident => $body:expr) => {
        match &$store.pool {
            $crate::pool::Pool::Pg($db) => $body,
            $crate::pool::Pool::Lite { read: $db, .. } => $body,
        }
    };
}

/// Runs `$body` with `$db` bound to a pool for writing; `BEGIN` there starts a transaction that may write.
macro_rules! on_write {
    ($store:expr, $db:ident => $body:expr) => {
        match &$store.pool {
            $crate::pool::Pool::Pg($db) => {
                #[allow(dead_code, reason = "only transactions use it")]
                const BEGIN: &str = "BEGIN";
                $body
            }
            $crate::pool::Pool::Lite { write: $db, .. } => {
                #[allow(dead_code, reason = "only transactions use it")]
                const BEGIN: &str = "BEGIN IMMEDIATE";
                $body
            }
        }
    };
}
pub(crate) use {on_read, on_write};

impl Store {
    /// Opens the database; makes the file of a SQLite one, readable by its owner only. Does not migrate.
    pub async fn connect(config: &StoreConfig) -> Result<Self> {
        let pool = if config.url.starts_with("sqlite:") {
            Self::connect_sqlite(config).await?
        } else if config.url.starts_with("postgres:") || config.url.starts_with("postgresql:") {
            Self::connect_postgres(config).await?
        } else {
            return Err(StoreError::Other("the URL must start with `sqlite:` or `postgres://`".into()));
        };
        Ok(Self { pool })
    }

    async fn connect_sqlite(config: &StoreConfig) -> Result<Pool> {
        let options = SqliteConnectOptions::from_str(&config.url)?
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // An answered write must survive a power cut, so every commit is synced.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(5));
        make_private(options.get_filename())?;
        let pool = |connections| {
            SqlitePoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(config.acquire_timeout)
                .idle_timeout(None)
        };
        let write = pool(1).connect_with(options.clone()).await?;
        let read = pool(config.max_connections.clamp(1, 64)).connect_lazy_with(options.read_only(false));
        Ok(Pool::Lite { read, write })
    }

    async fn connect_postgres(config: &StoreConfig) -> Result<Pool> {
        let options = PgConnectOptions::from_str(&config.url)?
            .application_name("ogeld")
            // Statements name no schema, so the same text runs on SQLite; the document's is `platform`.
            .options([("search_path", "platform"), ("statement_timeout", "15s"), ("lock_timeout", "10s")]);
        let pool = PgPoolOptions::new()
            .max_connections(config.max_connections.max(1))
            .acquire_timeout(config.acquire_timeout)
            .connect_with(options)
            .await?;
        Ok(Pool::Pg(pool))
    }

    /// Brings the tables up to date. On PostgreSQL under a lock, so that many replicas may start at once.
    pub async fn migrate(&self) -> Result<()> {
        match &self.pool {
            Pool::Pg(db) => {
                // The migrations' own table lives in the schema too, so the schema comes first. Two replicas may both
                // find it missing.
                let made = sqlx::query("CREATE SCHEMA IF NOT EXISTS platform").execute(db).await;
                if let Err(error) = made
                    && !error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation)
                {
                    return Err(error.into());
                }
                sqlx::migrate!("migrations/postgres").run(db).await?;
            }
            Pool::Lite { write, .. } => sqlx::migrate!("migrations/sqlite").run(write).await?,
        }
        Ok(())
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<()> {
        on_read!(self, db => sqlx::query("SELECT 1").execute(db).await?.rows_affected());
        Ok(())
    }

    /// `sqlite` or `postgresql`.
    pub fn kind(&self) -> &'static str {
        match self.pool {
            Pool::Pg(_) => "postgresql",
            Pool::Lite { .. } => "sqlite",
        }
    }

    /// Waits for what is running, then lets every connection go.
    pub async fn close(&self) {
        match &self.pool {
            Pool::Pg(db) => db.close().await,
            Pool::Lite { read, write } => {
                read.close().await;
                write.close().await;
            }
        }
    }
}

/// The file before SQLite makes it, so that nobody else may ever read it.
fn make_private(path: &std::path::Path) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    if path.as_os_str().is_empty() || path == std::path::Path::new(":memory:") {
        return Ok(());
    }
    std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
        .map(drop)
        .map_err(|error| StoreError::Unavailable(Box::new(error)))
}
