//! Watching a deployment until it is over.
//!
//! The log stream is for the reader; the deployment itself, asked now and then, decides. So a stream that breaks, or
//! one that never says it is over, costs some lines at worst: from then on the log is fetched by the page.

use crate::{
    Context, Result,
    failure::{Exit, Failure},
    plain,
};
use futures_util::StreamExt as _;
use ogel_api::{
    builds::LogFrame,
    deployments::{Deployment, DeploymentStatus},
    page::MAX_LIMIT,
};
use ogel_client::{Client, ClientError, LogStream};
use std::{future::pending, time::Duration};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

/// Between two questions while the stream works, and while it does not.
const SLOW: Duration = Duration::from_secs(5);
const FAST: Duration = Duration::from_secs(1);
/// One question may not take longer, so that the log goes on.
const QUESTION: Duration = Duration::from_secs(10);
/// How long the stream may go on after the deployment is over.
const LAST_LINES: Duration = Duration::from_secs(3);
/// How long the server may be away.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Watch<'a> {
    context: &'a Context,
    client: &'a Client,
    deployment: Deployment,
    stream: Option<LogStream>,
    last_line: u64,
    /// The stream said that every line was sent.
    log_is_complete: bool,
    shown: Option<DeploymentStatus>,
    answered_at: Instant,
}

impl<'a> Watch<'a> {
    pub(crate) fn new(context: &'a Context, client: &'a Client, deployment: Deployment) -> Self {
        let stream = Some(client.stream_logs(deployment.build_id, 0));
        let answered_at = Instant::now();
        Self { context, client, deployment, stream, last_line: 0, log_is_complete: false, shown: None, answered_at }
    }

    /// What is known of the deployment by now.
    pub(crate) fn into_deployment(self) -> Deployment {
        self.deployment
    }

    /// Returns once the deployment is over. Fails when that cannot be found out.
    pub(crate) async fn run(&mut self) -> Result {
        let mut ask_at = Instant::now() + SLOW;
        self.show_status(self.deployment.status);
        while !self.is_over() {
            tokio::select! {
                frame = next(&mut self.stream) => {
                    if self.take(frame) {
                        // The stream is over: now only the deployment can say more.
                        ask_at = Instant::now();
                    }
                }
                () = sleep_until(ask_at) => {
                    self.ask().await?;
                    ask_at = Instant::now() + if self.stream.is_some() { SLOW } else { FAST };
                }
            }
        }
        self.finish_log().await;
        Ok(())
    }

    /// A status this build does not know is final when the deployment has an end.
    fn is_over(&self) -> bool {
        let Deployment { status, completed_at, .. } = &self.deployment;
        status.is_terminal() || (*status == DeploymentStatus::Unrecognized && completed_at.is_some())
    }

    /// Shows what the stream gave; whether it is over.
    fn take(&mut self, frame: Option<Result<LogFrame, ClientError>>) -> bool {
        match frame {
            Some(Ok(frame)) => {
                self.log_is_complete = matches!(frame, LogFrame::End { .. });
                self.show(&frame);
            }
            Some(Err(error)) => {
                self.context.output.note(&format!("Lost the live log ({error}); asking for it instead"));
                self.stream = None;
            }
            None => self.stream = None,
        }
        if self.log_is_complete {
            self.stream = None;
        }
        self.stream.is_none()
    }

    /// Asks for the deployment, and for the log if there is no stream.
    async fn ask(&mut self) -> Result {
        let id = self.deployment.id;
        match timeout(QUESTION, self.client.get_deployment(id)).await {
            Ok(Ok(deployment)) => {
                self.answered_at = Instant::now();
                self.deployment = deployment;
                if !self.is_over() {
                    self.show_status(self.deployment.status);
                }
            }
            Ok(Err(error)) if !error.is_retryable() || self.answered_at.elapsed() > PATIENCE => {
                return Err(self.context.explain(error));
            }
            Err(_) if self.answered_at.elapsed() > PATIENCE => {
                return Err(Failure::new(Exit::Unavailable, "NO_ANSWER", "the server stopped answering"));
            }
            Ok(Err(_)) | Err(_) => {}
        }
        if self.stream.is_none() && !self.log_is_complete {
            self.fetch_log().await;
        }
        Ok(())
    }

    /// The deployment is over; its last lines may be on their way still.
    async fn finish_log(&mut self) {
        let deadline = Instant::now() + LAST_LINES;
        while self.stream.is_some() {
            match timeout_at(deadline, next(&mut self.stream)).await {
                Ok(frame) => {
                    self.take(frame);
                }
                Err(_) => self.stream = None,
            }
        }
        if !self.log_is_complete {
            self.fetch_log().await;
        }
    }

    /// Shows the lines after the last one, by the page. What fails is tried again later, or was not that important.
    async fn fetch_log(&mut self) {
        let build = self.deployment.build_id;
        loop {
            let question = self.client.get_build_logs(build, self.last_line, Some(MAX_LIMIT));
            let Ok(Ok(page)) = timeout(QUESTION, question).await else { return };
            let before = self.last_line;
            for line in page.lines {
                self.show(&LogFrame::Log(line));
            }
            if !page.pagination.has_more || self.last_line == before {
                return;
            }
        }
    }

    fn show(&mut self, frame: &LogFrame) {
        let output = &self.context.output;
        match frame {
            LogFrame::Log(line) if line.n > self.last_line => {
                self.last_line = line.n;
                output.note(&format!("\x1b[2m{:>5} |\x1b[0m {}", line.n, plain::colored_line(&line.text)));
            }
            LogFrame::Gap { from, to } => {
                self.last_line = self.last_line.max(*to);
                output.note(&format!("\x1b[2m      | lines {from} to {to} are lost\x1b[0m"));
            }
            LogFrame::Status { status } if !status.is_terminal() => self.show_status(*status),
            _ => {}
        }
    }

    fn show_status(&mut self, status: DeploymentStatus) {
        if self.shown != Some(status) {
            self.shown = Some(status);
            let words = match status {
                DeploymentStatus::Pending => "Waiting for a builder",
                DeploymentStatus::Building => "Building",
                _ => return,
            };
            self.context.output.note(words);
        }
    }
}

/// The next frame; never, without a stream.
async fn next(stream: &mut Option<LogStream>) -> Option<Result<LogFrame, ClientError>> {
    match stream {
        Some(stream) => stream.next().await,
        None => pending().await,
    }
}
