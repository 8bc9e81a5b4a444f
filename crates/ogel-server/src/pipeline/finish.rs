//! The last step: the envelope around a failure, the headers every answer has, one log line, the counters.

use super::{
    RequestContext, cors,
    stamp::{ServerTiming, Stamp},
    trace::{self, Ids},
};
use crate::{
    access_log::Line,
    billing::metering,
    edge::{Core, Peer},
    error::{self, Failure},
    limits::Verdict,
    resources,
    settings::Settings,
    traces::{Finished, Traced},
};
use axum::body::Body;
use chrono::{DateTime, Utc};
use http::{HeaderValue, Method, Request, Response};
use ogel_api::error::Error;
use ogel_proxy::AttemptLog;
use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

/// An answer, and the headers it has besides its own.
pub(crate) struct Answered {
    pub(crate) response: Response<Body>,
    pub(crate) stamp: Stamp,
}

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

    fn told(&self, total: Duration, upstream: Duration) -> ServerTiming {
        let [auth, work] = self.ended;
        let since_auth = |ended| ended - auth.unwrap_or(self.started);
        ServerTiming { auth: auth.map(|ended| ended - self.started), work: work.map(since_auth), upstream, total }
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
) -> Answered {
    let failure = answer.extensions_mut().remove::<Arc<Error>>();
    if let Some(failure) = &failure {
        error::render(&mut answer, failure, &record.ids.request, record.ids.trace());
    }
    let took = record.timing.total();
    if !settings.server.allowed_origins.is_empty() {
        cors::write(answer.headers_mut(), origin);
    }
    let attempts = record.context.as_ref().map(|context| &context.attempts);
    let (made, failed, upstream) = attempts.map(AttemptLog::totals).unwrap_or_default();
    core.counters.upstream_attempts.add(made as u64);
    core.counters.upstream_failures.add(failed as u64);
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
        answer = answer.map(|body| metering::meter(&core.usage, *payer, body));
    }
    let stamp = Stamp {
        request_id: record.ids.request,
        limit: record.limit.map(|verdict| (verdict, record.now_ms())),
        timing: settings.server.server_timing.then(|| record.timing.told(took, upstream)),
    };
    Answered { response: answer, stamp }
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
