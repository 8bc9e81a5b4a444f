//! A log stream as server-sent events: `id` is the line's number, `event` the frame's type, `data` the frame.

use super::viewer;
use crate::state::App;
use axum::{
    body::Body,
    http::{HeaderValue, header},
    response::{
        IntoResponse as _, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures_util::stream;
use ogel_api::builds::LogFrame;
use ogel_store::Deployment;
use std::{convert::Infallible, time::Duration};

pub(crate) fn events(app: &App, row: Deployment, after: u64) -> Response<Body> {
    let frames = viewer::open(app, row, after);
    let stream = stream::unfold((frames, true), |(mut frames, first)| async move {
        let frame = frames.recv().await?;
        let mut event = event(&frame);
        if first {
            // How long a browser waits before it comes back by itself.
            event = event.retry(Duration::from_secs(1));
        }
        Some((Ok::<_, Infallible>(event), (frames, false)))
    });
    let mut response = Sse::new(stream).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    // nginx in front would hold lines back otherwise.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

fn event(frame: &LogFrame) -> Event {
    let name = match frame {
        LogFrame::Log(_) => "log",
        LogFrame::Status { .. } => "status",
        LogFrame::Gap { .. } => "gap",
        LogFrame::End { .. } | LogFrame::Unrecognized => "end",
    };
    let data = serde_json::to_string(frame).expect("a frame holds only strings and numbers");
    let event = Event::default().event(name).data(data);
    match frame {
        LogFrame::Log(line) => event.id(line.n.to_string()),
        LogFrame::Gap { to, .. } => event.id(to.to_string()),
        _ => event,
    }
}
