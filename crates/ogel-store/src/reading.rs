//! Reads on PostgreSQL that nobody waits for any more.
//!
//! A statement whose future is dropped (its request has passed its deadline, say) still runs at the server, and its
//! connection would be back in the pool only when it ends. Such a connection is closed instead: another takes its place
//! at once, and the server, which looks for its clients while it works ([`LOOK_FOR_CLIENT`]), ends the statement.

use futures_util::{TryFutureExt as _, TryStreamExt as _, future::BoxFuture, stream, stream::BoxStream};
use sqlx::{
    Describe, Either, Error, Execute, Executor, Postgres, SqlStr,
    pool::PoolConnection,
    postgres::{PgPool, PgQueryResult, PgRow, PgStatement, PgTypeInfo},
};

/// How often a server looks whether the client of a statement is still there. PostgreSQL 14 and later know it; an older
/// one ends the statement by its `statement_timeout`.
pub(crate) const LOOK_FOR_CLIENT: &str = "SELECT set_config('client_connection_check_interval', '500ms', false) \
     WHERE current_setting('server_version_num')::int >= 140000";

/// A pool to read from: as `&PgPool`, but what is dropped in the middle gives its place back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading<'p>(pub(crate) &'p PgPool);

/// A connection that runs a statement.
struct Busy {
    connection: PoolConnection<Postgres>,
    is_done: bool,
}

impl Busy {
    async fn of(pool: PgPool) -> Result<Self, Error> {
        Ok(Self { connection: pool.acquire().await?, is_done: false })
    }

    /// The server has said all it has to say, whatever that was.
    fn done<T>(&mut self, said: T) -> T {
        self.is_done = true;
        said
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        if !self.is_done {
            self.connection.close_on_drop();
        }
    }
}

impl<'p> Executor<'p> for Reading<'_> {
    type Database = Postgres;

    /// Reads to the end before it gives out the first row: every read here is bounded, and wants all of it.
    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Either<PgQueryResult, PgRow>, Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let pool = self.0.clone();
        let read = async move {
            let mut busy = Busy::of(pool).await?;
            let read: Result<Vec<_>, _> = busy.connection.fetch_many(query).try_collect().await;
            Ok(stream::iter(busy.done(read)?.into_iter().map(Ok)))
        };
        Box::pin(read.try_flatten_stream())
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let pool = self.0.clone();
        Box::pin(async move {
            let mut busy = Busy::of(pool).await?;
            let read = busy.connection.fetch_optional(query).await;
            busy.done(read)
        })
    }

    fn prepare_with<'e>(self, sql: SqlStr, parameters: &'e [PgTypeInfo]) -> BoxFuture<'e, Result<PgStatement, Error>>
    where
        'p: 'e,
    {
        let pool = self.0.clone();
        Box::pin(async move {
            let mut busy = Busy::of(pool).await?;
            let prepared = busy.connection.prepare_with(sql, parameters).await;
            busy.done(prepared)
        })
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<Postgres>, Error>>
    where
        'p: 'e,
    {
        let pool = self.0.clone();
        Box::pin(async move {
            let mut busy = Busy::of(pool).await?;
            let described = busy.connection.describe(sql).await;
            busy.done(described)
        })
    }
}
