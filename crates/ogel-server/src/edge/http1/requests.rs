//! The next request of a connection: its head, which may come in pieces, or what is said to a client that sent none.
//! Next: `answers.rs`, what it is answered.

use super::{
    Answer, Asked, Connection, Gone, Next, Socket, buffers,
    upload::{self, RequestBody, Upload},
};
use crate::{edge::Counted, error::Failure, pipeline};
use axum::body::Body;
use bytes::BytesMut;
use http::{Method, Request, Version, header};
use ogel_api::error::{Error, ErrorCode};
use ogel_proxy::http1::{BodyLength, HeadError, HeadSearch, RequestError, RequestHead};
use std::{
    future::poll_fn,
    task::{Poll, ready},
};
use tokio::time::Instant;

/// Bytes of a request's head, its first line included.
const MAX_HEAD: usize = 32 << 10;
/// Empty lines before a request, which some clients send behind a body (RFC 9112 2.2).
const MAX_EMPTY_LINES: usize = 2;

impl<S, F> Connection<'_, S, F>
where
    S: Socket,
    F: Fn(Request<Body>) -> Answer,
{
    /// The next request, as the future of its answer.
    pub(super) async fn next(&mut self) -> Result<Next, Gone> {
        let mut search = HeadSearch::default();
        let mut since = Instant::now();
        let mut is_begun = !self.read.is_empty();
        let mut empty_lines = 0;
        let next = poll_fn(|cx| {
            loop {
                while empty_lines < MAX_EMPTY_LINES && self.read.starts_with(b"\r\n") {
                    drop(self.read.split_to(2));
                    empty_lines += 1;
                    search = HeadSearch::default();
                }
                self.tidy();
                if !self.read.is_empty() {
                    self.resting = None;
                    match search.end(&self.read, MAX_HEAD) {
                        Ok(Some(length)) => return Poll::Ready(Ok(self.begin(length))),
                        Ok(None) => {}
                        Err(error) => return Poll::Ready(Ok(Next::Refused(refusal(&error)))),
                    }
                    if !is_begun {
                        (is_begun, since) = (true, Instant::now());
                    }
                    self.keep_a_beginning();
                }
                if self.is_half_closed {
                    return Poll::Ready(Ok(self.no_more()));
                }
                match self.poll_read(buffers::HEADS, cx) {
                    Poll::Ready(Ok(0)) => self.is_half_closed = true,
                    Poll::Ready(Ok(_)) => {}
                    Poll::Ready(Err(_)) => return Poll::Ready(Err(Gone)),
                    Poll::Pending => break,
                }
            }
            if self.read.is_empty() {
                if self.core.shutdown.is_cancelled() {
                    return Poll::Ready(Ok(Next::End));
                }
                self.resting.get_or_insert_with(|| Counted::new(&self.core.counters.connections_resting));
            }
            ready!(self.timer.poll(since + self.rules.head, cx));
            Poll::Ready(Ok(if self.read.is_empty() { Next::End } else { Next::Refused(slow()) }))
        })
        .await;
        self.resting = None;
        next
    }

    /// A head that is not whole waits in a buffer of its own size: many of them must not hold many buffers.
    fn keep_a_beginning(&mut self) {
        let room = self.read.capacity();
        if room > buffers::HEADS / 4 && self.read.len() < room / 4 {
            let beginning = BytesMut::from(&self.read[..]);
            buffers::give_input(std::mem::replace(&mut self.read, beginning));
        }
    }

    /// The client has ended its side before there was a request.
    fn no_more(&self) -> Next {
        if self.read.is_empty() {
            return Next::End;
        }
        Next::Refused(Failure::new(ErrorCode::InvalidRequest, "the connection ended in the middle of a request's head"))
    }

    /// Makes a request of a head that is whole.
    fn begin(&mut self, length: usize) -> Next {
        let text = self.read.split_to(length).freeze();
        let mut head = match RequestHead::parse(&text) {
            Ok(head) => head,
            Err(error) => return Next::Refused(refusal(&error)),
        };
        let asked = Asked {
            is_head: head.method == Method::HEAD,
            is_11: head.is_11,
            persists: head.persists,
            asks_upgrade: head.asks_upgrade,
            takes_trailers: takes_trailers(&head),
        };
        if !head.is_11 {
            // It has no other protocols.
            head.headers.remove(header::UPGRADE);
        }
        let body = if head.body == BodyLength::Exact(0) {
            Body::empty()
        } else if let Some(whole) = upload::whole(head.body, &mut self.read) {
            Body::from(whole)
        } else {
            let awaits = head.is_11 && self.read.is_empty() && awaits_continue(&head);
            let (upload, body) = Upload::new(head.body, awaits);
            self.upload = Some(upload);
            self.incoming(body)
        };
        self.tidy();
        let mut request = Request::new(body);
        *request.method_mut() = head.method;
        *request.uri_mut() = head.uri;
        *request.headers_mut() = head.headers;
        *request.version_mut() = if head.is_11 { Version::HTTP_11 } else { Version::HTTP_10 };
        Next::Request((self.rules.answer)(request), asked)
    }

    fn incoming(&self, body: RequestBody) -> Body {
        pipeline::watched(body, &self.core.app.config())
    }
}

fn awaits_continue(head: &RequestHead) -> bool {
    head.headers.get(header::EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

fn takes_trailers(head: &RequestHead) -> bool {
    let value = head.headers.get(header::TE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(',').any(|token| token.trim().eq_ignore_ascii_case("trailers"))
}

/// What is told to whoever sent something that is no request.
fn refusal(error: &RequestError) -> Failure {
    let (code, hint) = match error {
        RequestError::LineTooLong { .. } => (ErrorCode::UriTooLong, "send a shorter path or query"),
        RequestError::Head(HeadError::TooLarge { .. } | HeadError::TooManyHeaders) => {
            (ErrorCode::HeadersTooLarge, "send fewer or shorter headers")
        }
        _ => (ErrorCode::InvalidRequest, "send plain HTTP/1.1"),
    };
    Error::new(code, format!("{error}; {hint}")).into()
}

fn slow() -> Failure {
    Failure::new(ErrorCode::RequestTimeout, "the rest of the request's head did not come; send it again")
}
