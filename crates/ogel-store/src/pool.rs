//! Connecting and migrating, and `on_read!`/`on_write!`: the same statement on whichever database there is.

use crate::{
    Result, StoreError,
    reading::{LOOK_FOR_CLIENT, Reading},
};
use sqlx::{
    Connection as _,
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
    /// How long one statement may run on PostgreSQL, waits for locks included, before it is
    /// [`StoreError::Unavailable`]: a request's answer would come too late for its caller. SQLite waits five seconds for its lock.
    pub statement_timeout: Duration,
    /// A PostgreSQL that follows `url`'s, for lists; none if empty.
    pub read_url: String,
}

#[derive(Clone)]
pub(crate) enum Pool {
    Pg(PgPool),
    /// SQLite has one writer at a time. One connection for all writes queues them here, in order, instead of in SQLite,
    /// where waiting is polling, unfair, and ends in "database is locked".
    Lite {
        read: SqlitePool,
        write: SqlitePool,
    },
}

impl std::fmt::Debug for StoreConfig {
    /// The URL may hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreConfig")
            .field("max_connections", &self.max_connections)
            .field("acquire_timeout", &self.acquire_timeout)
            .field("statement_timeout", &self.statement_timeout)
            .finish_non_exhaustive()
    }
}

/// Studio's database. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    pub(crate) pool: Pool,
    /// A copy that may be a moment behind.
    pub(crate) replica: Option<PgPool>,
}

tokio::task_local! {
    static FROM_PRIMARY: ();
}

/// Within `work`, lists come from where was written, not from a copy that may be behind.
pub async fn from_primary<F: Future>(work: F) -> F::Output {
    FROM_PRIMARY.scope((), work).await
}

impl Store {
    /// The copy, if there is one, it is there, and what is read may be a moment old.
    pub(crate) fn copy(&self) -> Option<Reading<'_>> {
        self.replica.as_ref().filter(|_| FROM_PRIMARY.try_with(|()| ()).is_err()).map(Reading)
    }
}

/// Runs `$body` with `$db` bound to a pool for reading. What is dropped in the middle gives its place in the pool back.
macro_rules! on_read {
    ($store:expr, $db:ident => $body:expr) => {{
        let _measured = $crate::statements::Measured::begin(module_path!(), line!());
        match &$store.pool {
            $crate::pool::Pool::Pg(pool) => {
                let $db = $crate::reading::Reading(pool);
                $body
            }
            $crate::pool::Pool::Lite { read: $db, .. } => $body,
        }
    }};
}

/// As `on_read!`, for lists: from the copy where there is one, and from the primary if the copy is not there.
macro_rules! on_list {
    ($store:expr, $db:ident => $body:expr) => {
        match $store.copy() {
            Some($db) => {
                let _measured = $crate::statements::Measured::begin(module_path!(), line!());
                let listed: $crate::Result<_> = async { Ok($body) }.await;
                match listed {
                    Err($crate::StoreError::Unavailable(_)) => on_read!($store, $db => $body),
                    listed => listed?,
                }
            }
            None => on_read!($store, $db => $body),
        }
    };
}

/// Runs `$body` with `$db` bound to a pool for writing; `BEGIN` there starts a transaction that may write, and `HOLD_PERSON` keeps
/// others from referring to the person `$1` (SQLite has one writer, who needs no more).
///
/// What answers with its row is read to the end, with `fetch_all`: SQLite commits after the last row, and the driver's
/// `fetch_one` and `fetch_optional` stop before, so they would answer with a row although the commit failed.
macro_rules! on_write {
    ($store:expr, $db:ident => $body:expr) => {{
        let _measured = $crate::statements::Measured::begin(module_path!(), line!());
        match &$store.pool {
            $crate::pool::Pool::Pg($db) => {
                #[allow(dead_code, reason = "only transactions use it")]
                const BEGIN: &str = "BEGIN";
                #[allow(dead_code, reason = "only the end of an account uses it")]
                const HOLD_PERSON: &str = "SELECT id FROM users WHERE id = $1 FOR UPDATE";
                $body
            }
            $crate::pool::Pool::Lite { write: $db, .. } => {
                #[allow(dead_code, reason = "only transactions use it")]
                const BEGIN: &str = "BEGIN IMMEDIATE";
                #[allow(dead_code, reason = "only the end of an account uses it")]
                const HOLD_PERSON: &str = "SELECT id FROM users WHERE id = $1";
                $body
            }
        }
    }};
}
pub(crate) use {on_list, on_read, on_write};

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("kind", &self.kind()).finish_non_exhaustive()
    }
}

/// Of a migration's statements: building an index takes its time, but not for ever.
const MIGRATION_TIMEOUTS: [(&str, &str); 2] = [("statement_timeout", "30min"), ("lock_timeout", "5min")];

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
        let replica = match &*config.read_url {
            "" => None,
            url => Some(Self::connect_copy(url, config)?),
        };
        Ok(Self { pool, replica })
    }

    async fn connect_sqlite(config: &StoreConfig) -> Result<Pool> {
        if config.url.contains(":memory:") || config.url.contains("mode=memory") {
            // Every connection would see another database.
            return Err(StoreError::Other("SQLite needs a file; `:memory:` is not one".into()));
        }
        let options = SqliteConnectOptions::from_str(&config.url)?
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // An answered write must survive a power cut, so every commit is synced. Measured: 0.2 ms a commit more than
            // NORMAL, which syncs at checkpoints only.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(5));
        make_private(options.get_filename())?;
        let pool = |connections| {
            SqlitePoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(config.acquire_timeout)
                .idle_timeout(None)
                .max_lifetime(None)
                // There is no network between us that could have cut it.
                .test_before_acquire(false)
        };
        // After a commit that failed (a full disk), SQLite has ended the transaction, but the driver counts it as open and
        // refuses to begin another one on that connection, for ever. Such a connection is replaced.
        let write = || {
            pool(1).after_release(|connection, _| {
                Box::pin(async move {
                    // What the driver still has to do comes before the answer to this.
                    connection.ping().await?;
                    Ok(!connection.is_in_transaction())
                })
            })
        };
        let write = patiently(|| write().connect_with(options.clone())).await?;
        let read = pool(config.max_connections.clamp(1, 64)).connect_lazy_with(options.pragma("query_only", "ON"));
        Ok(Pool::Lite { read, write })
    }

    /// Lazily: a copy that is away must not keep the service from starting.
    fn connect_copy(url: &str, config: &StoreConfig) -> Result<PgPool> {
        let options = PgConnectOptions::from_str(url)?.application_name("ogeld (lists)").options([
            ("search_path", "platform"),
            ("statement_timeout", "15s"),
            ("default_transaction_read_only", "on"),
        ]);
        // The primary is asked when the copy does not answer, so there is little time for that.
        let patience = config.acquire_timeout.min(Duration::from_secs(1));
        let pool = postgres_pool().max_connections(config.max_connections.max(1)).acquire_timeout(patience);
        Ok(pool.connect_lazy_with(options))
    }

    async fn connect_postgres(config: &StoreConfig) -> Result<Pool> {
        let options = PgConnectOptions::from_str(&config.url)?
            .application_name("ogeld")
            // Statements name no schema, so the same text runs on SQLite; the document's is `platform`.
            .options([("search_path", "platform"), ("lock_timeout", "10s")])
            .options([("statement_timeout", config.statement_timeout.as_millis().max(1))]);
        let pool = postgres_pool()
            .max_connections(config.max_connections.max(1))
            .acquire_timeout(config.acquire_timeout)
            .connect_with(options)
            .await?;
        Ok(Pool::Pg(pool))
    }

    /// Brings the tables up to date, under a lock: many replicas may start at once.
    pub async fn migrate(&self) -> Result<()> {
        match &self.pool {
            Pool::Pg(db) => {
                // A connection of its own: migrations may take longer than a request's statements may. (As a pool of one:
                // what borrows a bare connection here cannot be sent to another thread.)
                let options = db.connect_options().as_ref().clone().options(MIGRATION_TIMEOUTS);
                let own = PgPoolOptions::new().max_connections(1).connect_with(options).await?;
                let done = migrate_postgres(&own).await;
                own.close().await;
                done?;
            }
            Pool::Lite { write, .. } => {
                // The driver has no lock for SQLite, so the transaction is it.
                let mut tx = write.begin_with("BEGIN IMMEDIATE").await?;
                // `run` would make a future here that cannot be sent to another thread.
                sqlx::migrate!("migrations/sqlite").run_direct(None, &mut *tx, false).await?;
                tx.commit().await?;
            }
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

/// One whose connections notice at the server that we have gone.
fn postgres_pool() -> PgPoolOptions {
    PgPoolOptions::new().after_connect(|connection, _| {
        Box::pin(async move { sqlx::query(LOOK_FOR_CLIENT).execute(connection).await.map(drop) })
    })
}

/// Opens a SQLite file that others may be opening too. Whoever finds a new file switches it to a write-ahead log, and
/// SQLite refuses that to all but one at once, without waiting. So we wait, as long as a statement would.
async fn patiently<F: Future<Output = sqlx::Result<SqlitePool>>>(open: impl Fn() -> F) -> sqlx::Result<SqlitePool> {
    for _ in 0..100 {
        match open().await {
            Err(sqlx::Error::Database(error)) if matches!(error.code().as_deref(), Some("5" | "261" | "517")) => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            opened => return opened,
        }
    }
    open().await
}

/// The schema comes before the migrations, whose own table lives in it.
async fn migrate_postgres(db: &PgPool) -> Result<()> {
    // "CREATE SCHEMA IF NOT EXISTS" wants the right to create one even if there is nothing to create.
    let there: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = 'platform')")
        .fetch_one(db)
        .await?;
    if !there {
        match sqlx::query("CREATE SCHEMA IF NOT EXISTS platform").execute(db).await {
            Ok(_) => {}
            // Another replica made it between the two statements.
            Err(sqlx::Error::Database(error)) if matches!(error.code().as_deref(), Some("23505" | "42P06")) => {}
            Err(error) => return Err(error.into()),
        }
    }
    sqlx::migrate!("migrations/postgres").run(db).await?;
    Ok(())
}

/// Makes the file before SQLite does, so that nobody but its owner may ever read it; what SQLite puts beside it gets the
/// same mode. A file that is there keeps the mode its owner gave it, and is not touched: closing it here would end the
/// locks that SQLite holds on it for another `Store` of this process.
fn make_private(path: &std::path::Path) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    match std::fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(StoreError::Unavailable(Box::new(error))),
    }
}
