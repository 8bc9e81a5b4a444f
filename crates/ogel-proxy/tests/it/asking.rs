//! Asks an upstream as our own clients do: a request, and all of its answer.

use bytes::Bytes;
use http::{Method, Request, Response};
use ogel_proxy::{HeaderRules, Question, Replay, Sending, Upstream, UpstreamError};
use tokio::time::Instant;

/// Of the request only the method, the target and the body are sent.
pub(crate) async fn ask(
    upstream: &Upstream,
    request: &Request<Bytes>,
    how: Sending<'_>,
) -> Result<Response<Bytes>, UpstreamError> {
    let target = request.uri().path_and_query().unwrap().as_str();
    let wanted = HeaderRules::new(&["content-type"]);
    let question = Question { method: request.method(), target, headers: &[], wanted: &wanted };
    upstream.ask(question, request.body().clone(), how).await
}

/// Without a log.
pub(crate) fn until(deadline: Instant, replay: Replay) -> Sending<'static> {
    Sending { deadline, replay, log: None, informational: None }
}

pub(crate) fn get_of(uri: &str) -> Request<Bytes> {
    Request::builder().method(Method::GET).uri(uri).body(Bytes::new()).unwrap()
}
