//! The log of one build: lines are numbered from 1, stored in batches, and sent to realtime after they are stored, so a
//! reader who subscribes and then reads `/logs` misses nothing. Bounded: a child that writes faster than the disk waits.
//! Past the line limit output is read and dropped, and the log says so once. Next: `exec.rs`, which feeds it.

use std::collections::VecDeque;
use std::sync::Arc;

use serde_json::json;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::state::App;

const QUEUED_LINES: usize = 512;
const BATCH: usize = 512;
const TAIL_LINES: usize = 20;
const TAIL_BYTES: usize = 4096;

/// Which stream a line came from; `System` is Ghost itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
    System,
}

impl Stream {
    fn name(self) -> &'static str {
        match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
            Stream::System => "system",
        }
    }
}

enum Entry {
    Line {
        stream: Stream,
        at: String,
        text: String,
    },
    /// Forget the tail: a new command begins.
    Begin,
    /// Answer with the last lines once everything before is stored.
    Tail(oneshot::Sender<Vec<String>>),
}

/// The writing end. Cheap to clone; the log ends when `close` is called and every clone is gone.
#[derive(Clone)]
pub(crate) struct Log {
    app: Arc<App>,
    sender: mpsc::Sender<Entry>,
}

/// Waits for the last line to be stored. True if every line was.
pub(crate) struct Writer(JoinHandle<bool>);

/// Starts the log of a build that has none yet.
pub(crate) fn start(app: &Arc<App>, build_id: &str) -> (Log, Writer) {
    let (sender, receiver) = mpsc::channel(QUEUED_LINES);
    let task = app.tasks.spawn(write(app.clone(), build_id.to_owned(), receiver));
    (Log { app: app.clone(), sender }, Writer(task))
}

impl Writer {
    /// Call after every `Log` is dropped.
    pub(crate) async fn finish(self) -> bool {
        self.0.await.unwrap_or(false)
    }
}

impl Log {
    pub(crate) async fn line(&self, stream: Stream, text: String) {
        let at = self.app.stamp();
        // The writer ends only after every sender is gone, so this fails only while the process goes down.
        let _ = self.sender.send(Entry::Line { stream, at, text }).await;
    }

    pub(crate) async fn system(&self, text: impl Into<String>) {
        self.line(Stream::System, text.into()).await;
    }

    pub(crate) async fn begin_command(&self) {
        // As above.
        let _ = self.sender.send(Entry::Begin).await;
    }

    /// The last lines since the command began.
    pub(crate) async fn tail(&self) -> Vec<String> {
        let (answer, tail) = oneshot::channel();
        if self.sender.send(Entry::Tail(answer)).await.is_err() {
            return Vec::new();
        }
        tail.await.unwrap_or_default()
    }
}

async fn write(app: Arc<App>, build_id: String, mut receiver: mpsc::Receiver<Entry>) -> bool {
    let channel = format!("builds.{build_id}.logs");
    let event = format!("{channel}.create");
    let mut entries = Vec::with_capacity(BATCH);
    let mut tail: VecDeque<String> = VecDeque::new();
    let mut written: u64 = 0;
    let mut complete = true;
    let mut limited = false;
    while receiver.recv_many(&mut entries, BATCH).await > 0 {
        let mut batch: Vec<(Stream, String, String)> = Vec::with_capacity(entries.len());
        let mut asked = Vec::new();
        for entry in entries.drain(..) {
            match entry {
                Entry::Line { stream, at, text } => {
                    remember(&mut tail, &text);
                    let n = written + batch.len() as u64 + 1;
                    // Ghost's own lines always fit: they say how the build ended.
                    let max = app.config.max_log_lines;
                    if n <= max || stream == Stream::System {
                        batch.push((stream, at, text));
                    } else if !limited {
                        limited = true;
                        let text = format!("log limit of {max} lines reached, further output is dropped");
                        batch.push((Stream::System, at, text));
                    }
                }
                Entry::Begin => tail.clear(),
                Entry::Tail(answer) => asked.push((answer, Vec::from(tail.clone()))),
            }
        }
        match store(&app, &build_id, written, &batch).await {
            Ok(()) => {
                for (i, (stream, at, text)) in batch.iter().enumerate() {
                    let n = written + i as u64 + 1;
                    app.hub.publish(
                        &channel,
                        &event,
                        at,
                        || json!({ "n": n, "at": at, "stream": stream.name(), "text": text }),
                    );
                }
                written += batch.len() as u64;
            }
            Err(error) => {
                tracing::error!(%error, build.id = %build_id, "log lines could not be stored");
                complete = false;
            }
        }
        for (answer, lines) in asked {
            // Whoever asked may have been cancelled.
            let _ = answer.send(lines);
        }
    }
    complete
}

fn remember(tail: &mut VecDeque<String>, text: &str) {
    let cut: String = text.chars().take(500).collect();
    tail.push_back(cut);
    while tail.len() > TAIL_LINES || tail.iter().map(String::len).sum::<usize>() > TAIL_BYTES {
        tail.pop_front();
    }
}

async fn store(app: &App, build_id: &str, written: u64, batch: &[(Stream, String, String)]) -> Result<(), sqlx::Error> {
    if batch.is_empty() {
        return Ok(());
    }
    let rows: Vec<_> = batch.iter().map(|(stream, at, text)| (at, stream.name(), text)).collect();
    let rows = serde_json::to_string(&rows).map_err(|error| sqlx::Error::Encode(Box::new(error)))?;
    // One statement for the whole batch: 50,000 lines take a second, not a minute.
    sqlx::query(
        "INSERT INTO build_lines (build_id, n, at, stream, text) \
         SELECT $1, $2 + key, value ->> 0, value ->> 1, value ->> 2 FROM json_each($3)",
    )
    .bind(build_id)
    .bind(i64::try_from(written + 1).unwrap_or(i64::MAX))
    .bind(rows)
    .execute(&app.db)
    .await?;
    Ok(())
}
