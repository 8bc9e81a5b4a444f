//! An answer on its way: its head, then its body as it comes, framed as the client can read it.
//! Next: `output.rs`, the bytes.

use super::{
    After, Answer, Asked, Begun, Connection, Gone, Socket, Switch,
    output::{Framing, Persistence, has_no_length},
};
use crate::pipeline::Answered;
use axum::{BoxError, body::Body};
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header};
use http_body::{Body as _, Frame};
use std::{
    future::poll_fn,
    pin::Pin,
    sync::atomic::Ordering::Relaxed,
    task::{Context, Poll},
};

impl<S, F> Connection<'_, S, F>
where
    S: Socket,
    F: Fn(Request<Body>) -> Answer,
{
    /// Puts the head of an answer into the output. No `async`, so that a connection has no room for it afterwards.
    pub(super) fn begin_answer(
        &mut self,
        answered: Answered,
        asked: Asked,
        cx: &mut Context<'_>,
    ) -> Result<Begun, Gone> {
        let Answered { response, stamp } = answered;
        let (mut head, body) = response.into_parts();
        let switch = match head.status {
            StatusCode::SWITCHING_PROTOCOLS => Switch::of(&mut head.extensions),
            _ => None,
        };
        if head.status == StatusCode::SWITCHING_PROTOCOLS && (switch.is_none() || self.upload.is_some()) {
            tracing::error!("a connection was to switch to nothing, or in the middle of a body");
            return Err(Gone);
        }
        self.forget_the_body(&asked, cx);
        let persists = asked.persists
            && self.upload.is_none()
            // What came behind a request for another protocol may be meant in it.
            && (!asked.asks_upgrade || self.read.is_empty())
            && !self.core.app.leaving.load(Relaxed)
            && !self.core.shutdown.is_cancelled()
            && head.headers.get(header::CONNECTION).is_none_or(|value| !value.as_bytes().eq_ignore_ascii_case(b"close"));
        if let Some(upload) = &mut self.upload {
            // This is the answer: nothing is said before it any more.
            upload.awaits_continue = false;
        }
        let framing = framing(head.status, &head.headers, &body, &asked);
        let persistence = match (persists && framing != Framing::UntilClose, asked.is_11) {
            _ if switch.is_some() => Persistence::Usual,
            (false, _) => Persistence::Close,
            (true, true) => Persistence::Usual,
            (true, false) => Persistence::KeepAlive,
        };
        self.output.head(head.status, &head.headers, &stamp, framing, persistence, &self.core.app.world);
        Ok(Begun { body, framing, persistence, switch, takes_trailers: asked.takes_trailers })
    }

    /// Writes the answer to its end.
    pub(super) async fn finish(&mut self, begun: Begun) -> Result<After, Gone> {
        let Begun { mut body, mut framing, persistence, switch, takes_trailers } = begun;
        if !matches!(framing, Framing::None | Framing::Length(0)) {
            self.send(&mut body, &mut framing, takes_trailers).await?;
        }
        drop(body);
        poll_fn(|cx| self.poll_write(cx)).await?;
        // Its handler may have read the rest meanwhile, but we have said that we close.
        self.upload = None;
        self.look = None;
        Ok(match (switch, persistence) {
            (Some(next), _) => After::Switch(next),
            (None, Persistence::Close) => After::Close,
            _ => After::Next,
        })
    }

    /// Writes a body as it comes, no faster than the client takes it.
    async fn send(&mut self, body: &mut Body, framing: &mut Framing, takes_trailers: bool) -> Result<(), Gone> {
        // A body that is on its way gets one turn to come, and to leave together with the head.
        let mut may_wait = true;
        let mut is_probed = false;
        let (mut is_over, mut is_broken) = (false, false);
        poll_fn(|cx| {
            loop {
                let mut waits = false;
                while !is_over && !waits && self.output.has_room() {
                    let is_last = match Pin::new(&mut *body).poll_frame(cx) {
                        Poll::Pending => {
                            waits = true;
                            continue;
                        }
                        Poll::Ready(Some(Ok(frame))) => match self.pass(frame, framing, takes_trailers) {
                            Ok(false) if body.is_end_stream() => self.end(framing),
                            passed => passed,
                        },
                        Poll::Ready(Some(Err(error))) => Err(error.into()),
                        Poll::Ready(None) => self.end(framing),
                    };
                    // What came before an error is still the client's; then closing is the only way left to tell of it.
                    is_broken =
                        is_last.as_ref().inspect_err(|error| tracing::debug!(%error, "an answer broke off")).is_err();
                    is_over = is_last.unwrap_or(true);
                }
                if waits && std::mem::take(&mut may_wait) {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                may_wait = false;
                match self.poll_write(cx)? {
                    Poll::Ready(()) if is_broken => return Poll::Ready(Err(Gone)),
                    Poll::Ready(()) if is_over => return Poll::Ready(Ok(())),
                    Poll::Ready(()) if waits => {}
                    Poll::Ready(()) => continue,
                    Poll::Pending => {}
                }
                if self.serve_the_body(cx)? {
                    continue;
                }
                match self.poll_look_after::<()>(cx) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(gone)) => return Poll::Ready(Err(gone)),
                    Poll::Pending => {}
                }
                // A client that has closed altogether says so only when something is written to it: a zero before the size
                // of the next chunk means nothing.
                if self.is_half_closed && *framing == Framing::Chunked && !is_probed && self.output.is_empty() {
                    is_probed = true;
                    self.output.text(b"0");
                    continue;
                }
                return Poll::Pending;
            }
        })
        .await
    }

    /// Puts one frame into the output. Says whether it was the last.
    fn pass(&mut self, frame: Frame<Bytes>, framing: &mut Framing, takes_trailers: bool) -> Result<bool, BoxError> {
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(frame) => {
                if *framing != Framing::Chunked {
                    return Ok(false);
                }
                let trailers = frame.into_trailers().ok().filter(|_| takes_trailers);
                self.output.last_chunk(trailers.as_ref());
                return Ok(true);
            }
        };
        if data.is_empty() {
            return Ok(false);
        }
        match framing {
            Framing::Length(left) => {
                // More than was said: the client would take it for the next answer.
                let rest = left.checked_sub(data.len() as u64).ok_or("it is longer than its length")?;
                *left = rest;
                self.output.piece(data, false);
                Ok(rest == 0)
            }
            Framing::Chunked => {
                self.output.piece(data, true);
                Ok(false)
            }
            Framing::UntilClose => {
                self.output.piece(data, false);
                Ok(false)
            }
            Framing::None => Ok(true),
        }
    }

    /// The body has ended by itself.
    fn end(&mut self, framing: &Framing) -> Result<bool, BoxError> {
        match framing {
            Framing::Chunked => self.output.last_chunk(None),
            Framing::Length(1..) => return Err("it is shorter than its length".into()),
            _ => {}
        }
        Ok(true)
    }
}

/// How the end of the body is told.
fn framing(status: StatusCode, headers: &HeaderMap, body: &Body, asked: &Asked) -> Framing {
    if asked.is_head || has_no_length(status) || status == StatusCode::NOT_MODIFIED {
        return Framing::None;
    }
    let said = || headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok();
    match body.size_hint().exact().or_else(said) {
        Some(length) => Framing::Length(length),
        None if asked.is_11 => Framing::Chunked,
        None => Framing::UntilClose,
    }
}
