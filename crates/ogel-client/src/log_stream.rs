//! A build's log as one stream, however many connections it takes.

use crate::{
    Client, ClientError, Result, retry,
    socket::{Event, Socket},
};
use futures_util::{Stream, StreamExt as _, stream};
use ogel_api::{builds::LogFrame, deployments::DeploymentStatus, id::BuildId};
use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{Instant, sleep};

/// The frames of a build's log, in order, each line once.
///
/// A lost connection is opened again from the last line seen; lines the server no longer has are reported as one `Gap`.
/// `Status` comes when it differs from the one before. The stream ends after `End`, or after its first error:
/// - what any call may fail with, while the first connection is made (`ClientConfig::max_retries` applies) or when
///   the server refuses another one for good (the token was revoked, the build deleted);
/// - `StreamLost`, when nothing new came for `ClientConfig::stream_patience` despite trying;
/// - `Decode`, when the server sends what is no frame.
///
/// A build that prints nothing is not a lost connection: a ping tells the two apart within 20 s.
pub struct LogStream {
    frames: Pin<Box<dyn Stream<Item = Result<LogFrame>> + Send>>,
}

impl LogStream {
    pub(crate) fn new(client: Client, build: BuildId, after: u64) -> Self {
        let follower = Follower {
            client,
            build,
            progress: Progress { last_line: after, status: None, ready: VecDeque::new() },
            socket: None,
            connected_before: false,
            n_failures: 0,
            progress_at: Instant::now(),
            over: false,
        };
        let frames = stream::unfold(follower, |mut follower| async move {
            let item = follower.next().await?;
            Some((item, follower))
        });
        Self { frames: frames.boxed() }
    }
}

impl Stream for LogStream {
    type Item = Result<LogFrame>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.frames.poll_next_unpin(cx)
    }
}

impl std::fmt::Debug for LogStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogStream").finish_non_exhaustive()
    }
}

/// What was passed on so far, which decides what a connection's frames add to it.
struct Progress {
    last_line: u64,
    status: Option<DeploymentStatus>,
    /// Frames to pass on.
    ready: VecDeque<LogFrame>,
}

impl Progress {
    /// Takes over what is new in `frame`; whether anything was.
    fn take(&mut self, frame: LogFrame) -> bool {
        let before = self.ready.len();
        match frame {
            LogFrame::Log(line) if line.n > self.last_line => {
                if line.n > self.last_line + 1 {
                    // The server should have said so itself; a reader must not take the log for complete.
                    self.ready.push_back(LogFrame::Gap { from: self.last_line + 1, to: line.n - 1 });
                }
                self.last_line = line.n;
                self.ready.push_back(LogFrame::Log(line));
            }
            LogFrame::Gap { from, to } if to > self.last_line => {
                self.ready.push_back(LogFrame::Gap { from: from.max(self.last_line + 1), to });
                self.last_line = to;
            }
            LogFrame::Status { status } if self.status != Some(status) => {
                self.status = Some(status);
                self.ready.push_back(LogFrame::Status { status });
            }
            LogFrame::End { status } => self.ready.push_back(LogFrame::End { status }),
            LogFrame::Log(_) | LogFrame::Gap { .. } | LogFrame::Status { .. } | LogFrame::Unrecognized => {}
        }
        self.ready.len() > before
    }
}

struct Follower {
    client: Client,
    build: BuildId,
    progress: Progress,
    socket: Option<Socket>,
    connected_before: bool,
    /// Since the last progress.
    n_failures: u32,
    progress_at: Instant,
    over: bool,
}

impl Follower {
    async fn next(&mut self) -> Option<Result<LogFrame>> {
        loop {
            if let Some(frame) = self.progress.ready.pop_front() {
                self.over |= matches!(frame, LogFrame::End { .. });
                return Some(Ok(frame));
            }
            if self.over {
                return None;
            }
            if let Err(error) = self.advance().await {
                self.over = true;
                return Some(Err(error));
            }
        }
    }

    /// One step: a connection, an event, or a wait.
    async fn advance(&mut self) -> Result<()> {
        let Some(socket) = &mut self.socket else {
            match Socket::open(&self.client, self.build, self.progress.last_line).await {
                Ok(socket) => {
                    self.socket = Some(socket);
                    self.connected_before = true;
                    return Ok(());
                }
                Err(error) => return self.pause(error).await,
            }
        };
        match socket.next().await? {
            Event::Frame(frame) => {
                if self.progress.take(frame) {
                    self.made_progress();
                }
            }
            Event::Alive => self.made_progress(),
            Event::Lost(reason) => {
                self.socket = None;
                let server = self.client.inner.server.clone();
                return self.pause(ClientError::Connect { server, reason }).await;
            }
        }
        Ok(())
    }

    fn made_progress(&mut self) {
        self.n_failures = 0;
        self.progress_at = Instant::now();
    }

    /// Waits before the next connection, or gives up with `error`.
    async fn pause(&mut self, error: ClientError) -> Result<()> {
        let config = &self.client.inner.config;
        if !error.is_retryable() || (!self.connected_before && self.n_failures >= config.max_retries) {
            return Err(error);
        }
        let wait = retry::wait(self.n_failures, error.retry_after());
        let left = config.stream_patience.saturating_sub(self.progress_at.elapsed());
        if left < wait.min(Duration::from_secs(1)) || left < error.retry_after().unwrap_or_default() {
            let last_line = self.progress.last_line;
            return Err(if self.connected_before {
                ClientError::StreamLost { last_line, reason: error.to_string() }
            } else {
                error
            });
        }
        self.n_failures += 1;
        sleep(wait).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ogel_api::builds::LogLine;

    fn line(n: u64) -> LogFrame {
        let json = format!(r#"{{"n":{n},"at":"2026-11-22T10:00:03.120Z","stream":"stdout","text":"{n}"}}"#);
        LogFrame::Log(serde_json::from_str::<LogLine>(&json).unwrap())
    }

    fn passed_on(after: u64, frames: impl IntoIterator<Item = LogFrame>) -> Vec<LogFrame> {
        let mut progress = Progress { last_line: after, status: None, ready: VecDeque::new() };
        for frame in frames {
            progress.take(frame);
        }
        progress.ready.into()
    }

    #[test]
    fn lines_seen_before_are_not_passed_on_again() {
        assert_eq!(passed_on(1, [line(1), line(2), line(1), line(2), line(3)]), [line(2), line(3)]);
    }

    #[test]
    fn a_hole_nobody_spoke_of_is_reported_as_a_gap() {
        assert_eq!(passed_on(0, [line(1), line(4)]), [line(1), LogFrame::Gap { from: 2, to: 3 }, line(4)]);
    }

    #[test]
    fn a_gap_is_cut_to_what_was_not_seen() {
        let gap = |from, to| LogFrame::Gap { from, to };
        assert_eq!(passed_on(3, [gap(1, 2), gap(2, 5), line(6)]), [gap(4, 5), line(6)]);
    }

    #[test]
    fn a_status_is_passed_on_when_it_changes() {
        let status = |status| LogFrame::Status { status };
        use DeploymentStatus::{Building, Pending};
        let frames = [status(Pending), status(Pending), status(Building), LogFrame::Unrecognized, status(Building)];
        assert_eq!(passed_on(0, frames), [status(Pending), status(Building)]);
    }
}
