//! Asks an upstream as our own clients do, a request and all of its answer; and passes a client's request on.

use bytes::Bytes;
use http::{Method, Request, Response, Uri};
use ogel_proxy::{
    Connector, EjectionConfig, ForwardRules, Forwarded, HeaderRules, Limits, OutgoingBody, Passing, Question, Replay,
    Sending, Upstream, UpstreamBody, UpstreamConfig, UpstreamError,
};
use std::sync::Arc;
use tokio::time::Instant;

/// One address, no breaker. Nothing is drawn: there is nothing to choose from, and no pause to spread.
pub(crate) fn single(base: Uri, connector: Connector, limits: Limits) -> Result<Upstream, UpstreamError> {
    let config = UpstreamConfig { limits, breaker: None, ejection: EjectionConfig::default(), random: Arc::new(|| 0) };
    Upstream::new(vec![base], connector, config)
}

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

/// As the request of a client somewhere: what both sides say of themselves in `x-` headers passes.
pub(crate) fn rules(of_response: &[&'static str]) -> ForwardRules {
    ForwardRules::new(&["content-length", "expect", "transfer-encoding", "x-sum", "x-other"], of_response)
}

pub(crate) async fn pass_on(
    upstream: &Upstream,
    rules: &ForwardRules,
    request: Request<OutgoingBody>,
    how: Sending<'_>,
) -> Result<Response<UpstreamBody>, UpstreamError> {
    let (head, body) = request.into_parts();
    let forwarded = Forwarded::new("198.51.100.7".parse().unwrap(), true);
    let (method, uri, headers) = (&head.method, &head.uri, &head.headers);
    let passing = Passing { method, uri, target: uri, headers, forwarded: &forwarded, ours: &[] };
    rules.pass(upstream, passing, body, how).await
}

/// Without a log.
pub(crate) fn until(deadline: Instant, replay: Replay) -> Sending<'static> {
    Sending { deadline, replay, log: None, informational: None }
}

pub(crate) fn get_of(uri: &str) -> Request<Bytes> {
    Request::builder().method(Method::GET).uri(uri).body(Bytes::new()).unwrap()
}
