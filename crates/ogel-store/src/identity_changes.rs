//! What changed about who may do what: triggers write it down in the transaction of the change (migration `0003`), and
//! every process that remembers callers reads it here, a few times a second, in one statement however many they are.

use crate::{
    Result, Store,
    pool::{Pool, on_write},
};
use chrono::{DateTime, Utc};
use sqlx::{postgres::PgPoolOptions, sqlite::SqlitePoolOptions};
use std::time::Duration;
use uuid::Uuid;

/// Changes taken at once. Who has missed more may as well forget everything.
const MOST: usize = 2000;
/// How long one look may take, connecting included.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a look at the feed brought.
#[derive(Debug, PartialEq, Eq)]
pub enum IdentityNews {
    /// These people and projects; mostly none.
    Subjects(Vec<Uuid>),
    /// Anything may have changed.
    Everything,
}

/// One reader's place in the feed. It has a connection of its own, so that it never waits behind requests.
pub struct IdentityFeed {
    store: Store,
    /// What the last good look saw: a snapshot of PostgreSQL's, or the number of SQLite's next change.
    position: Option<String>,
}

/// `$1` what the last look saw, `$2` how many at most. One row at least, with what this one sees. PostgreSQL numbers changes
/// before they commit, so what is new is what its snapshot then did not show: nothing is missed and nothing comes twice,
/// however long some transaction, perhaps of another database, stays open.
const NEWS_PG: &str = "SELECT pg_current_snapshot()::text AS seen, c.n, c.subject FROM (SELECT 1) AS one \
     LEFT JOIN identity_changes c ON c.position >= pg_snapshot_xmin($1::text::pg_snapshot)::text::bigint \
     AND NOT pg_visible_in_snapshot(c.position::text::xid8, $1::text::pg_snapshot) LIMIT $2";
const NEWS_LITE: &str = "SELECT CAST(h.position AS TEXT) AS seen, c.n, c.subject FROM identity_horizon h \
     LEFT JOIN identity_changes c ON c.n >= CAST($1 AS INTEGER) LIMIT $2";

impl IdentityFeed {
    /// What changed since the last look. The first one says [`IdentityNews::Everything`]. After an error the next look
    /// goes on where the last good one ended.
    pub async fn look(&mut self) -> Result<IdentityNews> {
        let limit = i64::try_from(MOST).unwrap_or(i64::MAX).saturating_add(1);
        let before = self.position.as_deref();
        let look = async {
            Ok::<Vec<(String, Option<i64>, Option<Uuid>)>, sqlx::Error>(match &self.store.pool {
                Pool::Pg(db) => sqlx::query_as(NEWS_PG).bind(before).bind(limit).fetch_all(db).await?,
                Pool::Lite { read, .. } => sqlx::query_as(NEWS_LITE).bind(before).bind(limit).fetch_all(read).await?,
            })
        };
        let rows = tokio::time::timeout(PATIENCE, look).await.map_err(|_| sqlx::Error::PoolTimedOut)??;
        let seen = rows.first().map(|(seen, ..)| seen.clone()).unwrap_or_default();
        // A position that went backwards is another database's, restored or failed over to.
        let is_continued = before.is_some_and(|before| end_of(before) <= end_of(&seen)) && rows.len() <= MOST;
        self.position = Some(seen);
        if !is_continued {
            return Ok(IdentityNews::Everything);
        }
        let mut subjects = Vec::new();
        for (_, n, subject) in rows {
            match (n, subject) {
                (Some(_), Some(subject)) => subjects.push(subject),
                (Some(_), None) => return Ok(IdentityNews::Everything),
                (None, _) => {}
            }
        }
        Ok(IdentityNews::Subjects(subjects))
    }

    /// Lets its connection go.
    pub async fn close(&self) {
        match &self.store.pool {
            Pool::Pg(db) => db.close().await,
            Pool::Lite { read, .. } => read.close().await,
        }
    }
}

/// The first number that nothing seen can have: a snapshot is `xmin:xmax:…`.
fn end_of(position: &str) -> i64 {
    position.split(':').nth(1).unwrap_or(position).parse().unwrap_or_default()
}

impl Store {
    /// A reader of identity changes. Opens nothing yet.
    pub fn identity_feed(&self) -> IdentityFeed {
        let pool = match &self.pool {
            Pool::Pg(db) => {
                let options = db.connect_options().as_ref().clone().options([("statement_timeout", "2s")]);
                let own = PgPoolOptions::new().max_connections(1).acquire_timeout(PATIENCE).test_before_acquire(false);
                Pool::Pg(own.idle_timeout(None).connect_lazy_with(options))
            }
            Pool::Lite { read, write } => {
                let own = SqlitePoolOptions::new().max_connections(1).acquire_timeout(PATIENCE);
                let own = own.test_before_acquire(false).idle_timeout(None).max_lifetime(None);
                let options = read.connect_options().as_ref().clone();
                Pool::Lite { read: own.connect_lazy_with(options), write: write.clone() }
            }
        };
        IdentityFeed { store: Self { pool, replica: None }, position: None }
    }

    /// Removes what every reader has seen long ago; answers how many.
    pub async fn delete_identity_changes(&self, before: DateTime<Utc>, limit: u32) -> Result<u64> {
        Ok(on_write!(self, db => sqlx::query(
            "DELETE FROM identity_changes WHERE n IN (SELECT n FROM identity_changes WHERE changed_at < $1 LIMIT $2)")
            .bind(before).bind(i64::from(limit)).execute(db).await?.rows_affected()))
    }
}
