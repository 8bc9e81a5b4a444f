//! Our copy of what builds printed. Chunks come in compressed, in the order of their lines, each exactly after the one
//! before: the `UPDATE` that counts the lines decides, so writing twice, or two who write, changes nothing.

use crate::{
    Result, Store,
    pool::{on_read, on_write},
    words::row,
};
use chrono::{DateTime, Utc};
use ogel_api::{id::BuildId, organizations::Plan};

/// How far the copy of a build's log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuildLog {
    /// Number of the last line in it; 0 without one.
    pub last_n: i64,
    /// Of text, before it was compressed.
    pub bytes: i64,
    /// There will be no more lines.
    pub is_complete: bool,
    /// The log was too long, and ends after this line.
    pub cut_after: Option<i64>,
}
row!(BuildLog, columns of "build_logs" { last_n, bytes, is_complete, cut_after });

/// Some lines of a log, one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogChunk {
    pub first_n: i64,
    pub last_n: i64,
    pub data: Vec<u8>,
}
row!(LogChunk, chunk_columns of "build_log_chunks" { first_n, last_n, data });

/// `$1` the build, `$2` the time.
const BEGIN_LOG: &str = "INSERT INTO build_logs (build_id, last_n, bytes, is_complete, updated_at) \
     VALUES ($1, 0, 0, FALSE, $2) ON CONFLICT DO NOTHING";

impl Store {
    /// `None`: nothing was kept, or it is kept no longer.
    pub async fn build_log(&self, build: BuildId) -> Result<Option<BuildLog>> {
        Ok(on_read!(self, db => sqlx::query_as(concat!("SELECT ", columns!(), " FROM build_logs WHERE build_id = $1"))
            .bind(build.0).fetch_optional(db).await?))
    }

    /// Adds lines with `bytes` of text. Whether they were the next ones: nothing changes unless the last line there is
    /// `after`. `ForeignKey`: there is no such build any more.
    pub async fn append_build_log(
        &self,
        build: BuildId,
        after: i64,
        chunk: &LogChunk,
        bytes: i64,
        now: DateTime<Utc>,
    ) -> Result<bool> {
        Ok(on_write!(self, db => {
            let mut tx = db.begin_with(BEGIN).await?;
            sqlx::query(BEGIN_LOG).bind(build.0).bind(now).execute(&mut *tx).await?;
            let next = sqlx::query(
                "UPDATE build_logs SET last_n = $3, bytes = bytes + $4, updated_at = $5 \
                 WHERE build_id = $1 AND last_n = $2 AND NOT is_complete")
                .bind(build.0).bind(after).bind(chunk.last_n).bind(bytes).bind(now)
                .execute(&mut *tx).await?.rows_affected();
            if next > 0 {
                sqlx::query("INSERT INTO build_log_chunks (build_id, first_n, last_n, data) VALUES ($1, $2, $3, $4)")
                    .bind(build.0).bind(chunk.first_n).bind(chunk.last_n).bind(&chunk.data).execute(&mut *tx).await?;
            }
            tx.commit().await?;
            next > 0
        }))
    }

    /// That was all, or all that is kept. `ForeignKey`: as above.
    pub async fn complete_build_log(&self, build: BuildId, cut_after: Option<i64>, now: DateTime<Utc>) -> Result<()> {
        on_write!(self, db => {
            let mut tx = db.begin_with(BEGIN).await?;
            sqlx::query(BEGIN_LOG).bind(build.0).bind(now).execute(&mut *tx).await?;
            sqlx::query("UPDATE build_logs SET is_complete = TRUE, cut_after = $2, updated_at = $3 WHERE build_id = $1 AND NOT is_complete")
                .bind(build.0).bind(cut_after).bind(now).execute(&mut *tx).await?;
            tx.commit().await?;
        });
        Ok(())
    }

    /// The next chunks with lines after that one.
    pub async fn build_log_chunks(&self, build: BuildId, after: i64, limit: u32) -> Result<Vec<LogChunk>> {
        Ok(on_read!(self, db => sqlx::query_as(concat!(
            "SELECT ", chunk_columns!(), " FROM build_log_chunks WHERE build_id = $1 AND last_n > $2 ORDER BY first_n LIMIT $3"))
            .bind(build.0).bind(after).bind(i64::from(limit)).fetch_all(db).await?))
    }

    /// Removes at most `limit` whole logs of organizations on this plan that were last written before then; answers how
    /// many.
    pub async fn delete_old_build_logs(&self, plan: Plan, before: DateTime<Utc>, limit: u32) -> Result<u64> {
        Ok(on_write!(self, db => sqlx::query(
            "DELETE FROM build_logs WHERE build_id IN (SELECT l.build_id FROM build_logs l \
               JOIN deployments d ON d.build_id = l.build_id JOIN projects p ON p.id = d.project_id \
               JOIN organizations o ON o.id = p.organization_id \
               WHERE l.updated_at < $2 AND l.is_complete AND o.plan = $1 LIMIT $3)")
            .bind(plan.as_str()).bind(before).bind(i64::from(limit)).execute(db).await?.rows_affected()))
    }
}
