//! The last step: the envelope around a failure, the headers every answer has, one log line, the counters.

use super::{
    RequestContext, cors,
    trace::{self, Ids},
};
use crate::{
    access_log::Line,
    billing::metering,
    edge::{Core, Peer},
    error::{self, Failure},
    header_text::HeaderText,
    limits::Verdict,
    resources,
    settings::Settings,
    traces::{Finished, Traced},
};
use axum::body::Body;
use chrono::{DateTime, Utc};
use http::{HeaderName, HeaderValue, Method, Request, Response, header};
use ogel_api::error::Error;
use ogel_proxy::AttemptLog;
use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// What the log line and the counters will say of a request.
pub(super) struct Record {
    pub ids: Ids,
    pub client: IpAddr,
    /// The noun's place in the resource table.
    pub noun: Option<usize>,
    /// Once the caller is known.
    pub context: Option<RequestContext>,
    pub limit: Option<Verdict>,
    /// Where traces are exported and this one is.
    pub traced: Option<Box<Traced>>,
    pub timing: Timings,
    pub at: DateTime<Utc>,
    method: Method,
}

/// Parts of the work that `Server-Timing` tells apart.
#[derive(Clone, Copy)]
pub(super) enum Timing {
    Auth,
    Work,
}

/// When each part ended.
pub(super) struct Timings {
    pub started: Instant,
    ended: [Option<Instant>; 2],
}

impl Timings {
    pub(super) fn mark(&mut self, part: Timing) {
        self.ended[part as usize] = Some(Instant::now());
    }

    /// Up to now; after the work there is nothing left that takes time.
    fn total(&self) -> Duration {
        self.ended[Timing::Work as usize].unwrap_or_else(Instant::now) - self.started
    }

    /// `auth;dur=0.012, work;dur=1.402, upstream;dur=1.200, total;dur=1.431`, in milliseconds.
    fn header(&self, text: &mut HeaderText, total: Duration, upstream: Duration) -> HeaderValue {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let mut since = self.started;
        for (name, ended) in ["auth;dur=", "work;dur="].into_iter().zip(self.ended) {
            if let Some(ended) = ended {
                text.add(name).millis(micros(ended - since)).add(", ");
                since = ended;
            }
        }
        if upstream > Duration::ZERO {
            text.add("upstream;dur=").millis(micros(upstream)).add(", ");
        }
        text.add("total;dur=").millis(micros(total)).value()
    }
}

impl Record {
    pub(super) fn begin<B>(core: &Core, peer: &Peer, request: &Request<B>) -> Self {
        let at = core.app.world.now();
        let traces = core.app.traces.as_deref();
        let ids = Ids::new(request.headers(), at, &core.entropy, traces);
        let traced = traces.filter(|_| ids.is_sampled()).map(|_| Traced::of(request.headers(), trace::parent_of));
        Self {
            ids,
            traced,
            client: peer.address,
            noun: resources::noun_of(request.uri().path()),
            context: None,
            limit: None,
            timing: Timings { started: Instant::now(), ended: [None; 2] },
            at,
            method: request.method().clone(),
        }
    }

    /// Where there was no request, or none that can be believed.
    pub(super) fn of_nothing(core: &Core, peer: &Peer) -> Self {
        let mut record = Self::begin(core, peer, &Request::new(()));
        record.noun = None;
        record.method = Method::from_bytes(b"-").unwrap_or_default();
        record
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.at.timestamp_millis().max(0).unsigned_abs()
    }

    pub(super) fn started_at(&self, plus: Duration) -> tokio::time::Instant {
        (self.timing.started + plus).into()
    }

    /// A limit is reached.
    pub(super) fn refuse(&mut self, core: &Core, verdict: Verdict) -> Failure {
        core.counters.limited(verdict.policy);
        self.limit = Some(verdict);
        verdict.refusal()
    }
}

pub(super) fn finish(
    core: &Core,
    settings: &Settings,
    record: &Record,
    mut answer: Response<Body>,
    origin: Option<HeaderValue>,
) -> Response<Body> {
    let failure = answer.extensions_mut().remove::<Arc<Error>>();
    if let Some(failure) = &failure {
        error::render(&mut answer, failure, &record.ids.request, record.ids.trace());
    }
    let took = record.timing.total();
    let headers = answer.headers_mut();
    headers.reserve(12);
    let mut text = HeaderText::default();
    headers.insert(REQUEST_ID, text.add(&record.ids.request).value());
    // Browsers must not guess that an answer is something to run or to frame.
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Some(verdict) = &record.limit {
        verdict.write(headers, &mut text, record.now_ms());
    }
    if !settings.server.allowed_origins.is_empty() {
        cors::write(headers, origin);
    }
    let attempts = record.context.as_ref().map(|context| &context.attempts);
    let (made, failed, upstream) = attempts.map(AttemptLog::totals).unwrap_or_default();
    core.counters.upstream_attempts.add(made as u64);
    core.counters.upstream_failures.add(failed as u64);
    if settings.server.server_timing {
        headers.insert(SERVER_TIMING, record.timing.header(&mut text, took, upstream));
    }
    log(core, record, &answer, failure.as_deref(), took);
    if let Some(traced) = &record.traced {
        export(core, record, traced, &answer, failure.as_deref(), took);
    }
    core.counters.request(record.noun, answer.status(), took);
    if let Some(noun) = record.noun {
        core.counters.daily.count(record.at, noun, answer.status().as_u16(), took);
    }
    // Nobody pays for what failed on our side.
    if !answer.status().is_server_error()
        && let Some(payer) = record.context.as_ref().and_then(|context| context.payer.get())
    {
        return answer.map(|body| metering::meter(&core.usage, *payer, body));
    }
    answer
}

/// The route's pattern, never its path or query: those can hold what must not be logged.
fn route_of(record: &Record) -> Option<&str> {
    let route = record.context.as_ref().and_then(|context| context.place.as_ref()).map(|place| &*place.pattern);
    // What is forwarded has no pattern but its noun.
    route.or_else(|| record.noun.and_then(|place| resources::RESOURCES.get(place)).map(|noun| noun.name))
}

/// Leaves what is known for whoever collects traces.
#[cold]
fn export(
    core: &Core,
    record: &Record,
    traced: &Traced,
    answer: &Response<Body>,
    failure: Option<&Error>,
    took: Duration,
) {
    let (Some(traces), context) = (&core.app.traces, record.context.as_ref()) else { return };
    traces.take(Finished {
        traceparent: record.ids.traceparent,
        parent: traced.parent,
        request_id: record.ids.request,
        method: record.method.clone(),
        route: route_of(record).map(str::to_owned),
        status: answer.status(),
        code: failure.map(|failure| failure.code.as_str()),
        caller: context.and_then(|context| context.identity.caller()).map(|caller| caller.log_id.clone()),
        at: record.at,
        started: record.timing.started,
        took,
        identified: record.timing.ended[Timing::Auth as usize],
        attempts: context.map(|context| context.attempts.attempts()).unwrap_or_default(),
        statements: traced.statements.clone(),
    });
}

/// One line per request.
fn log(core: &Core, record: &Record, answer: &Response<Body>, failure: Option<&Error>, took: Duration) {
    let (context, route) = (record.context.as_ref(), route_of(record));
    if let Some(failure) = failure
        && failure.code.status().is_server_error()
    {
        let cause = failure.cause.as_deref().map(chain).unwrap_or_default();
        let (request_id, trace_id, code) = (&*record.ids.request, record.ids.trace(), failure.code.as_str());
        tracing::error!(method = %record.method, route, code, request_id, trace_id, cause, "request failed");
    }
    core.log.write(&Line {
        at: record.at,
        request_id: &record.ids.request,
        trace_id: record.ids.trace(),
        client: record.client,
        caller: context.and_then(|context| context.identity.caller()).map(|caller| &*caller.log_id),
        method: &record.method,
        route,
        status: answer.status().as_u16(),
        code: failure.map(|failure| failure.code.as_str()),
        took,
        attempts: context.map(|context| &context.attempts),
    });
}

/// An error and all it was caused by, in one line.
fn chain(error: &(dyn std::error::Error + Send + Sync + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
