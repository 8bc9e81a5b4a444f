//! One viewer: the frames of a build's log from some line on, until the build's end.

use super::feed::Newer;
use crate::{error::Failure, logs, state::App, tracker};
use ogel_api::{
    builds::{LogFrame, LogLine},
    deployments::DeploymentStatus,
};
use ogel_store::Deployment;
use std::{sync::Arc, time::Duration};
use tokio::sync::{mpsc, watch};

/// Frames that wait for a slow client. More are not made until it has read some.
const QUEUE: usize = 256;
/// Lines read at a time.
const PAGE: u32 = 500;
/// Without any event: look all the same, should one have been lost.
const LOOK: Duration = Duration::from_secs(5);
/// How long Ghost may be away before a stream is given up; the client resumes where it was.
const PATIENCE: Duration = Duration::from_secs(30);

/// Boxed, because the queue has room for many from the start, of which most viewers never need any.
pub(super) type Frame = Box<LogFrame>;

/// Starts sending. The queue closes after `end`, or without it when the stream has to be resumed later. Many viewers wait
/// most of the time, so their tasks hold little: what is large and seldom in use is boxed.
pub(super) fn open(app: &App, row: Deployment, after: u64) -> mpsc::Receiver<Frame> {
    let (frames, receiver) = mpsc::channel(QUEUE);
    let state = app.clone();
    let rows = tracker::follow(app, &Arc::new(row));
    app.in_background(async move {
        let gone = frames.clone();
        tokio::select! {
            _ = send(&state, rows, after, &frames) => {}
            // The client left.
            () = gone.closed() => {}
            // The client is told to come back by the close of its stream.
            () = state.shutdown.cancelled() => {}
        }
    });
    receiver
}

/// The receiver went away.
struct Gone;

async fn send(
    app: &App,
    mut rows: watch::Receiver<Arc<Deployment>>,
    mut after: u64,
    frames: &mpsc::Sender<Frame>,
) -> Result<(), Gone> {
    let mut told = None;
    let mut feed = None;
    let mut changed = None;
    let mut failing_since: Option<tokio::time::Instant> = None;
    loop {
        let row = rows.borrow_and_update().clone();
        if told != Some(row.status) && !row.status.is_terminal() {
            told = Some(row.status);
            frames.send(Box::new(LogFrame::Status { status: row.status })).await.map_err(|_| Gone)?;
        }
        if feed.is_none()
            && !row.status.is_terminal()
            && let Some(build) = &row.ogel_build_id
        {
            let started = app.logs.feed(app, row.build_id, build);
            changed = Some(started.watch());
            feed = Some(started);
        }
        // Marked as seen before reading, so that what comes while we read is not missed.
        if let Some(changed) = &mut changed {
            changed.borrow_and_update();
        }
        let lines = match feed.as_ref().map_or(Newer::Unknown, |feed| feed.after(after, PAGE as usize)) {
            Newer::Lines(lines) => Ok(lines),
            Newer::None if !row.status.is_terminal() => Ok(Vec::new()),
            // At the end Ghost has the last word on whether that was all.
            Newer::None | Newer::Unknown => Box::pin(logs::lines(app, &row, after, PAGE)).await,
        };
        match lines {
            Ok(lines) if !lines.is_empty() => {
                failing_since = None;
                after = send_lines(frames, lines, after).await?;
                continue;
            }
            // Everything up to here was sent, and the row had ended before we looked: that is all there is.
            Ok(_) if row.status.is_terminal() => return end(frames, row.status, told).await,
            Ok(_) => failing_since = None,
            Err(failure) => {
                let since = *failing_since.get_or_insert_with(tokio::time::Instant::now);
                if gives_up(&failure, since) {
                    tracing::warn!(build.id = %row.build_id, code = %failure.code(), "log stream given up");
                    return Ok(());
                }
            }
        }
        let next_line = async {
            match &mut changed {
                Some(changed) => changed.changed().await.is_ok(),
                None => std::future::pending().await,
            }
        };
        let look = if failing_since.is_some() { Duration::from_millis(500) } else { LOOK };
        tokio::select! {
            _ = next_line => {}
            alive = rows.changed() => if alive.is_err() && !rows.borrow().status.is_terminal() {
                // The follower ended without an end: the process is shutting down.
                return Ok(());
            },
            () = tokio::time::sleep(look) => {}
        }
    }
}

fn gives_up(failure: &Failure, since: tokio::time::Instant) -> bool {
    !failure.code().retryable() || since.elapsed() > PATIENCE
}

/// Sends lines in order, naming holes, and answers with the last number sent.
async fn send_lines(frames: &mpsc::Sender<Frame>, lines: Vec<LogLine>, mut after: u64) -> Result<u64, Gone> {
    for line in lines {
        if line.n <= after {
            continue;
        }
        if line.n > after + 1 {
            frames.send(Box::new(LogFrame::Gap { from: after + 1, to: line.n - 1 })).await.map_err(|_| Gone)?;
        }
        after = line.n;
        frames.send(Box::new(LogFrame::Log(line))).await.map_err(|_| Gone)?;
    }
    Ok(after)
}

async fn end(
    frames: &mpsc::Sender<Frame>,
    status: DeploymentStatus,
    told: Option<DeploymentStatus>,
) -> Result<(), Gone> {
    if told != Some(status) {
        frames.send(Box::new(LogFrame::Status { status })).await.map_err(|_| Gone)?;
    }
    frames.send(Box::new(LogFrame::End { status })).await.map_err(|_| Gone)
}
