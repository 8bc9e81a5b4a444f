//! Columns whose values are sealed, for changing the key they are sealed with: who is under which key, and one value at a
//! time swapped for another, unless it has changed meanwhile.

use crate::{
    Result, Store,
    pool::{on_read, on_write},
};
use sqlx::AssertSqlSafe;
use uuid::Uuid;

/// How many characters in front of a sealed value name its key.
const PREFIX: usize = 12;

/// Where sealed values stand. The names are written here and nowhere made of what callers send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedColumn {
    pub table: &'static str,
    /// What the value is bound to, and unique in the table.
    pub id: &'static str,
    pub column: &'static str,
    id_is_hash: bool,
    is_bytes: bool,
}

impl SealedColumn {
    /// A text under a UUID.
    pub const fn new(table: &'static str, id: &'static str, column: &'static str) -> Self {
        Self { table, id, column, id_is_hash: false, is_bytes: false }
    }

    /// Bytes under a hash.
    pub const fn of_hashes(table: &'static str, id: &'static str, column: &'static str) -> Self {
        Self { table, id, column, id_is_hash: true, is_bytes: true }
    }
}

/// What a sealed value is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SealedId {
    Uuid(Uuid),
    Hash(Vec<u8>),
}

/// One value, as it is stored.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedRow {
    pub id: SealedId,
    pub value: String,
}

impl std::fmt::Debug for SealedRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SealedRow").field("id", &self.id).finish_non_exhaustive()
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_default()
}

impl Store {
    /// How many values there are by what stands in front of them.
    pub async fn count_sealed(&self, column: &SealedColumn) -> Result<Vec<(String, u64)>> {
        let SealedColumn { table, column: name, .. } = column;
        let sql = || {
            AssertSqlSafe(format!(
                "SELECT substr({name}, 1, {PREFIX}) AS prefix, COUNT(*) FROM {table} \
                 WHERE {name} IS NOT NULL AND length({name}) > 0 GROUP BY 1 ORDER BY 1"
            ))
        };
        let counted: Vec<(String, i64)> = if column.is_bytes {
            let counted: Vec<(Vec<u8>, i64)> = on_read!(self, db => sqlx::query_as(sql()).fetch_all(db).await?);
            counted.into_iter().map(|(prefix, count)| (text(prefix), count)).collect()
        } else {
            on_read!(self, db => sqlx::query_as(sql()).fetch_all(db).await?)
        };
        Ok(counted.into_iter().map(|(prefix, count)| (prefix, count.unsigned_abs())).collect())
    }

    /// Values that do not begin with `prefix`, in the order of their ids; at most `limit`, after `after`.
    pub async fn sealed_otherwise(
        &self,
        column: &SealedColumn,
        prefix: &str,
        after: Option<&SealedId>,
        limit: u32,
    ) -> Result<Vec<SealedRow>> {
        let SealedColumn { table, id, column: name, id_is_hash, is_bytes } = column;
        let sql = AssertSqlSafe(format!(
            "SELECT {id}, {name} FROM {table} WHERE {name} IS NOT NULL AND length({name}) > 0 \
             AND substr({name}, 1, {PREFIX}) <> $1 AND ($2 IS NULL OR {id} > $2) ORDER BY {id} LIMIT $3"
        ));
        let limit = i64::from(limit);
        let rows = match (id_is_hash, is_bytes) {
            (true, _) => {
                let after = after.and_then(|id| if let SealedId::Hash(hash) = id { Some(hash.clone()) } else { None });
                let rows: Vec<(Vec<u8>, Vec<u8>)> = on_read!(self, db => sqlx::query_as(sql)
                    .bind(prefix.as_bytes()).bind(after).bind(limit).fetch_all(db).await?);
                rows.into_iter().map(|(id, value)| SealedRow { id: SealedId::Hash(id), value: text(value) }).collect()
            }
            (false, _) => {
                let after = after.and_then(|id| if let SealedId::Uuid(id) = id { Some(*id) } else { None });
                let rows: Vec<(Uuid, String)> = on_read!(self, db => sqlx::query_as(sql)
                    .bind(prefix).bind(after).bind(limit).fetch_all(db).await?);
                rows.into_iter().map(|(id, value)| SealedRow { id: SealedId::Uuid(id), value }).collect()
            }
        };
        Ok(rows)
    }

    /// Swaps the value, unless it has changed or gone since `row` was read; whether it did.
    pub async fn reseal(&self, column: &SealedColumn, row: &SealedRow, sealed: &str) -> Result<bool> {
        let SealedColumn { table, id, column: name, .. } = column;
        let sql = AssertSqlSafe(format!("UPDATE {table} SET {name} = $3 WHERE {id} = $1 AND {name} = $2"));
        let done = match &row.id {
            SealedId::Hash(hash) => on_write!(self, db => sqlx::query(sql)
                .bind(&hash[..]).bind(row.value.as_bytes()).bind(sealed.as_bytes()).execute(db).await?.rows_affected()),
            SealedId::Uuid(id) => on_write!(self, db => sqlx::query(sql)
                .bind(id).bind(&row.value).bind(sealed).execute(db).await?.rows_affected()),
        };
        Ok(done > 0)
    }
}
