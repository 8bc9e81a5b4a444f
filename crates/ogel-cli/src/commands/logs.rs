//! `ogel logs`: a build's output, as it is on stdout, or as one frame of JSON per line.

use crate::{Context, Result, commands::deployments, failure::Failure, hints, plain};
use futures_util::StreamExt as _;
use ogel_api::{builds::LogFrame, id::BuildId, page::MAX_LOG_LIMIT};
use ogel_client::{Client, ClientError};

pub(crate) async fn run(context: &Context, build: &str, follow: bool, after: u64) -> Result {
    let client = context.client()?;
    let build = build_id(context, &client, build).await?;
    if follow { stream(context, &client, build, after).await } else { history(context, &client, build, after).await }
}

async fn build_id(context: &Context, client: &Client, name: &str) -> Result<BuildId> {
    if name.starts_with("dpl_") {
        let id = deployments::parse(name)?;
        let deployment = client.get_deployment(id).await.map_err(|error| context.explain(error))?;
        return Ok(deployment.build_id);
    }
    name.parse().map_err(|error: ogel_api::id::IdError| {
        Failure::usage(error.to_string())
            .hint("`ogel deployments list` shows deployments; their `dpl_…` works here too")
    })
}

async fn history(context: &Context, client: &Client, build: BuildId, mut after: u64) -> Result {
    loop {
        let page =
            client.get_build_logs(build, after, Some(MAX_LOG_LIMIT)).await.map_err(|error| context.explain(error))?;
        let Some(last) = page.lines.last().map(|line| line.n) else { return Ok(()) };
        for line in page.lines {
            show(context, &LogFrame::Log(line))?;
        }
        if !page.pagination.has_more || last <= after || context.output.reader_is_gone() {
            return Ok(());
        }
        after = last;
    }
}

async fn stream(context: &Context, client: &Client, build: BuildId, after: u64) -> Result {
    let mut frames = client.stream_logs(build, after);
    while let Some(frame) = frames.next().await {
        show(context, &frame.map_err(|error| lost(context, error, build))?)?;
        if context.output.reader_is_gone() {
            break;
        }
    }
    Ok(())
}

fn show(context: &Context, frame: &LogFrame) -> Result {
    let output = &context.output;
    if output.json {
        return output.json_line(frame);
    }
    match frame {
        LogFrame::Log(line) => output.data(&plain::colored_line(&line.text)),
        LogFrame::Gap { from, to } => {
            output.warn(&format!("lines {from} to {to} are lost"));
            Ok(())
        }
        LogFrame::End { status } => {
            output.note(&format!("The build is over: {status}"));
            Ok(())
        }
        LogFrame::Status { .. } | LogFrame::Unrecognized => Ok(()),
    }
}

fn lost(context: &Context, error: ClientError, build: BuildId) -> Failure {
    let hint = match &error {
        ClientError::StreamLost { last_line, .. } => {
            Some(format!("go on with `ogel logs {build} --follow --after {last_line}`"))
        }
        error => hints::for_call(error, &context.settings),
    };
    Failure::from_call(error, hint)
}
