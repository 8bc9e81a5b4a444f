//! What a request looks like as spans: itself; finding out who calls; what the database was asked; each attempt at an upstream.
//! Upstreams get the request's own span as their parent, so theirs stand beside the attempts.

use super::Finished;
use crate::world::Entropy;
use http::Method;
use ogel_proxy::Outcome;
use opentelemetry::{
    InstrumentationScope, KeyValue,
    trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState},
};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use std::time::{Duration, Instant, SystemTime};

/// The spans of one trace and how its times are counted.
struct Trace<'a> {
    id: TraceId,
    /// When `began` was on the calendar.
    at: SystemTime,
    began: Instant,
    scope: InstrumentationScope,
    spans: &'a mut Vec<SpanData>,
}

/// What differs from span to span.
struct Part {
    id: SpanId,
    parent: SpanId,
    parent_is_remote: bool,
    kind: SpanKind,
    name: String,
    started: Instant,
    took: Duration,
    attributes: Vec<KeyValue>,
    failed: bool,
}

/// Adds the spans of `request`; nothing where its ids are none.
pub(super) fn add(spans: &mut Vec<SpanData>, request: &Finished, entropy: &Entropy, database: &'static str) {
    let ids = &request.traceparent;
    let (Ok(id), Ok(own)) = (TraceId::from_hex(&ids[3..35]), SpanId::from_hex(&ids[36..52])) else { return };
    let parent = request.parent.as_deref().and_then(|parent| SpanId::from_hex(parent).ok());
    let scope = InstrumentationScope::builder("ogeld").with_version(env!("CARGO_PKG_VERSION")).build();
    let mut trace = Trace { id, at: request.at.into(), began: request.started, scope, spans };
    let child = |parent, kind, name, started, took| Part {
        id: SpanId::from(entropy.next() | 1),
        parent,
        parent_is_remote: false,
        kind,
        name,
        started,
        took,
        attributes: Vec::new(),
        failed: false,
    };

    let (statements, more) = request.statements.take();
    let identity = request.identified.map(|until| {
        child(own, SpanKind::Internal, "identity".to_owned(), request.started, until.duration_since(request.started))
    });
    for statement in statements {
        let around = identity.as_ref().filter(|part| statement.started < part.started + part.took);
        let (module, line) = statement.place;
        let name = format!("database {}", module.rsplit("::").next().unwrap_or_default());
        let around = around.map_or(own, |part| part.id);
        let mut part = child(around, SpanKind::Client, name, statement.started, statement.took);
        part.attributes = vec![
            KeyValue::new("db.system.name", database),
            KeyValue::new("code.function.name", module),
            KeyValue::new("code.line.number", i64::from(line)),
        ];
        trace.add(part);
    }
    trace.spans.reserve(2 + request.attempts.len());
    if let Some(part) = identity {
        trace.add(part);
    }
    for (number, attempt) in (0_i64..).zip(&request.attempts) {
        let took = Duration::from_micros(attempt.micros.into());
        let mut part = child(own, SpanKind::Client, "upstream".to_owned(), attempt.started, took);
        part.attributes = vec![
            KeyValue::new("server.address", attempt.address.to_string()),
            KeyValue::new("ogel.connection.reused", attempt.reused),
            match attempt.outcome {
                Outcome::Answered(status) => KeyValue::new("http.response.status_code", i64::from(status.as_u16())),
                Outcome::Failed(word) => KeyValue::new("error.type", word),
            },
        ];
        if number > 0 {
            part.attributes.push(KeyValue::new("http.request.resend_count", number));
        }
        part.failed = match attempt.outcome {
            Outcome::Answered(status) => status.is_server_error(),
            Outcome::Failed(_) => true,
        };
        trace.add(part);
    }

    let (method, status) = (method(&request.method), request.status);
    let name = request.route.as_ref().map_or_else(|| method.to_owned(), |route| format!("{method} {route}"));
    let mut part = child(parent.unwrap_or(SpanId::INVALID), SpanKind::Server, name, request.started, request.took);
    (part.id, part.parent_is_remote, part.failed) = (own, parent.is_some(), status.is_server_error());
    part.attributes = vec![
        KeyValue::new("http.request.method", method),
        KeyValue::new("http.response.status_code", i64::from(status.as_u16())),
        KeyValue::new("ogel.request.id", request.request_id.to_string()),
    ];
    let optional = [
        request.route.clone().map(|route| KeyValue::new("http.route", route)),
        request.caller.clone().map(|caller| KeyValue::new("ogel.caller.id", caller)),
        request.code.map(|code| KeyValue::new("error.type", code)),
        (more > 0).then(|| KeyValue::new("ogel.database.unlisted", i64::try_from(more).unwrap_or(i64::MAX))),
    ];
    part.attributes.extend(optional.into_iter().flatten());
    trace.add(part);
}

impl Trace<'_> {
    fn add(&mut self, part: Part) {
        let start_time = self.at + part.started.saturating_duration_since(self.began);
        self.spans.push(SpanData {
            span_context: SpanContext::new(self.id, part.id, TraceFlags::SAMPLED, false, TraceState::NONE),
            parent_span_id: part.parent,
            parent_span_is_remote: part.parent_is_remote,
            span_kind: part.kind,
            name: part.name.into(),
            start_time,
            end_time: start_time + part.took,
            attributes: part.attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: if part.failed { Status::error("") } else { Status::Unset },
            instrumentation_scope: self.scope.clone(),
        });
    }
}

/// A caller may write anything as a method; what is none of HTTP's is one word.
fn method(method: &Method) -> &'static str {
    const KNOWN: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("_OTHER")
}
