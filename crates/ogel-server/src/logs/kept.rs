//! Our own copy of what builds printed, so that it can be read when Ghost is away, or has removed its own.
//!
//! The log of a build is a job of the queue `build_logs`: one replica at a time reads on where the copy ends, until the
//! build has ended and Ghost has no further line. From then on readers need no Ghost. A log that is too long is cut, and
//! says so in its last line.

use super::Place;
use crate::{
    bridge::STEP,
    error::{Failure, Result},
    state::App,
    work::{self, Doer, Outcome},
};
use chrono::TimeDelta;
use flate2::{Compression, bufread::ZlibDecoder, write::ZlibEncoder};
use ogel_api::{
    admin::Queue,
    builds::{LogLine, LogStream},
    error::{Error, ErrorCode},
    id::BuildId,
};
use ogel_ghost::CallContext;
use ogel_store::{BuildLog, Deployment, Job, LogChunk, StoreError};
use std::{
    io::{Read as _, Write as _},
    time::Duration,
};
use uuid::Uuid;

/// Lines read of Ghost at a time.
const PAGE: u32 = 1000;
/// Pages in one go, after which others get their turn.
const PAGES: usize = 32;
/// Text in one chunk.
const CHUNK_BYTES: usize = 256 << 10;
/// Chunks read at a time.
const CHUNKS: u32 = 4;
/// A chunk that unpacks to more than this is none of ours.
const LARGEST: u64 = 16 << 20;
/// While a build runs, people read at Ghost: our copy may lag behind.
const POLL: Duration = Duration::from_secs(10);

/// Starts keeping what builds print.
pub(crate) fn start(app: &App) {
    work::start::<Keeping>(app);
    let state = app.clone();
    app.in_background(async move { clean(&state).await });
}

/// One build's log.
struct Keeping {
    app: App,
    build: BuildId,
}

impl Doer for Keeping {
    const QUEUE: Queue = Queue::BuildLogs;

    fn new(app: &App, id: Uuid) -> Self {
        Self { app: app.clone(), build: BuildId(id) }
    }

    async fn step(&mut self, _: &Job) -> Outcome {
        match self.keep().await {
            Ok(Some(pause)) => Outcome::Later(pause),
            Ok(None) => Outcome::Done,
            Err(failure) => Outcome::Failed(failure),
        }
    }
}

impl Keeping {
    /// How long to wait for more. `None`: the copy is whole, or nobody can want it any more.
    async fn keep(&self) -> Result<Option<Duration>> {
        let app = &self.app;
        // Before Ghost is asked: if it had ended by then, what Ghost has is all there will be.
        let Some(row) = app.store.deployment_of_build(self.build).await? else { return Ok(None) };
        let over = row.status.is_terminal();
        let mut log = app.store.build_log(self.build).await?.unwrap_or(NOTHING);
        if log.is_complete {
            return Ok(None);
        }
        let Some(place) = Place::of(app, &row).await? else {
            // It ended before it came to Ghost.
            return if over { self.complete(None).await } else { Ok(Some(POLL)) };
        };
        let most = i64::try_from(app.config().build_logs.max_bytes).unwrap_or(i64::MAX);
        for _ in 0..PAGES {
            let after = log.last_n.unsigned_abs();
            let lines = match place.lines(&app.ghost, CallContext::within(STEP), after, PAGE).await {
                Ok(lines) => lines,
                // Ghost has removed it: what we have is all there is.
                Err(failure) if over && failure.code() == ErrorCode::NotFound => return self.complete(None).await,
                Err(failure) => return Err(failure),
            };
            if lines.is_empty() {
                return if over { self.complete(None).await } else { Ok(Some(POLL)) };
            }
            for chunk in chunks(lines) {
                let bytes: i64 = chunk.iter().map(size).sum();
                if log.bytes + bytes > most {
                    return self.complete(Some(log.last_n)).await;
                }
                match self.append(&mut log, chunk, bytes).await {
                    Ok(true) => {}
                    // Another replica was here: it goes on.
                    Ok(false) => return Ok(Some(POLL)),
                    Err(StoreError::ForeignKey) => return Ok(None),
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(Some(Duration::ZERO))
    }

    async fn append(&self, log: &mut BuildLog, lines: Vec<LogLine>, bytes: i64) -> Result<bool, StoreError> {
        let number = |line: Option<&LogLine>| line.map_or(0, |line| i64::try_from(line.n).unwrap_or(i64::MAX));
        let (first_n, last_n) = (number(lines.first()), number(lines.last()));
        let chunk = LogChunk { first_n, last_n, data: pack(&lines) };
        let app = &self.app;
        let done = app.store.append_build_log(self.build, log.last_n, &chunk, bytes, app.world.now()).await?;
        (log.last_n, log.bytes) = (last_n, log.bytes + bytes);
        Ok(done)
    }

    async fn complete(&self, cut_after: Option<i64>) -> Result<Option<Duration>> {
        match self.app.store.complete_build_log(self.build, cut_after, self.app.world.now()).await {
            // It was deleted meanwhile.
            Ok(()) | Err(StoreError::ForeignKey) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

const NOTHING: BuildLog = BuildLog { last_n: 0, bytes: 0, is_complete: false, cut_after: None };

fn size(line: &LogLine) -> i64 {
    i64::try_from(line.text.len()).unwrap_or(i64::MAX)
}

/// Cuts lines into pieces of about [`CHUNK_BYTES`].
fn chunks(lines: Vec<LogLine>) -> Vec<Vec<LogLine>> {
    let mut chunks = vec![Vec::new()];
    let mut bytes = 0;
    for line in lines {
        if bytes + line.text.len() > CHUNK_BYTES && bytes > 0 {
            chunks.push(Vec::new());
            bytes = 0;
        }
        bytes += line.text.len();
        if let Some(chunk) = chunks.last_mut() {
            chunk.push(line);
        }
    }
    chunks
}

fn pack(lines: &[LogLine]) -> Vec<u8> {
    let text = serde_json::to_vec(lines).expect("lines are plain values");
    let mut packed = ZlibEncoder::new(Vec::new(), Compression::default());
    packed.write_all(&text).and_then(|()| packed.finish()).expect("memory takes what is written to it")
}

fn unpack(data: &[u8]) -> Result<Vec<LogLine>> {
    let mut text = Vec::new();
    ZlibDecoder::new(data).take(LARGEST).read_to_end(&mut text).map_err(Error::internal)?;
    serde_json::from_slice(&text).map_err(|error| Failure::from(Error::internal(error)))
}

/// Lines after number `after`, at most `limit`; `None` where Ghost must be asked: the build runs, or the copy is not whole.
pub(crate) async fn lines(app: &App, row: &Deployment, after: u64, limit: u32) -> Result<Option<Vec<LogLine>>> {
    if !row.status.is_terminal() {
        return Ok(None);
    }
    let Some(log) = app.store.build_log(row.build_id).await?.filter(|log| log.is_complete) else { return Ok(None) };
    let limit = limit as usize;
    let mut found: Vec<LogLine> = Vec::new();
    let mut seen = i64::try_from(after).unwrap_or(i64::MAX);
    while found.len() < limit && seen < log.last_n {
        let chunks = app.store.build_log_chunks(row.build_id, seen, CHUNKS).await?;
        // It was removed while we read.
        let Some(last) = chunks.last() else { break };
        seen = last.last_n;
        for chunk in &chunks {
            found.extend(unpack(&chunk.data)?.into_iter().filter(|line| line.n > after));
        }
    }
    if found.len() < limit
        && let Some(cut) = log.cut_after
        && after <= cut.unsigned_abs()
    {
        found.push(marker(app, cut.unsigned_abs() + 1, found.last()));
    }
    found.truncate(limit);
    Ok(Some(found))
}

/// The last line of a log that was too long.
fn marker(app: &App, n: u64, last: Option<&LogLine>) -> LogLine {
    let bytes = app.config().build_logs.max_bytes;
    let text = format!("[log cut: more than {bytes} bytes were printed, and the rest was not kept]");
    LogLine { n, at: last.map_or_else(|| app.world.now().into(), |line| line.at), stream: LogStream::System, text }
}

/// Removes logs that are kept no longer, every ten minutes until shutdown.
async fn clean(app: &App) {
    const EVERY: Duration = Duration::from_secs(600);
    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = app.shutdown.cancelled() => return,
        }
        remove_old(app).await;
    }
}

/// A batch for each plan, of logs older than the organization's plan says now.
pub async fn remove_old(app: &App) {
    const BATCH: u32 = 200;
    let config = app.config();
    for details in config.plans.all() {
        let plan = details.plan;
        // The catalog has no more than fit.
        let days = TimeDelta::days(details.limits.build_log_days.cast_signed());
        match app.store.delete_old_build_logs(plan, app.world.now() - days, BATCH).await {
            Ok(count) => tracing::debug!(%plan, count, "old build logs removed"),
            Err(error) => tracing::warn!(%error, "old build logs could not be removed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(n: u64, text: &str) -> LogLine {
        LogLine { n, at: chrono::DateTime::UNIX_EPOCH.into(), stream: LogStream::Stderr, text: text.to_owned() }
    }

    #[test]
    fn what_is_packed_is_unpacked_as_it_was_and_small() {
        let lines: Vec<_> = (1..=1000).map(|n| line(n, "\u{1b}[31mü added 312 packages\u{1b}[0m")).collect();
        let packed = pack(&lines);
        assert!(packed.len() * 10 < lines.len() * 30, "{}", packed.len());
        assert_eq!(unpack(&packed).unwrap(), lines);
        let mut broken = packed;
        broken.truncate(20);
        assert!(unpack(&broken).is_err());
    }

    #[test]
    fn chunks_are_bounded_and_hold_every_line_once() {
        let long = "x".repeat(CHUNK_BYTES / 2 + 1);
        let lines: Vec<_> = (1..=5).map(|n| line(n, &long)).chain([line(6, "y"), line(7, "z")]).collect();
        let cut = chunks(lines.clone());
        assert!(cut.iter().all(|chunk| chunk.iter().map(size).sum::<i64>() <= CHUNK_BYTES as i64));
        assert_eq!(cut.concat(), lines);
    }
}
