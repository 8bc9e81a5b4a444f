//! The life of a request, as a list: read it from top to bottom.
//!
//! [`live`] is what every request passes on the thread that accepted it; [`on_control`], [`on_data`] and [`of_page`] are
//! what is passed besides by the operations of a plane. Each step is a function in `pipeline/`; order matters and is
//! explained where it does.

mod body;
mod conditional;
mod consistency;
mod context;
mod control;
mod cors;
mod cross_site;
mod deadline;
mod finish;
mod idempotency;
mod identify;
mod stamp;
mod target;
mod trace;

pub(crate) use body::{Stalled, watched};
pub(crate) use conditional::{IfMatch, Version, tag_of};
pub(crate) use context::RequestContext;
pub(crate) use cross_site::refuse_foreign;
pub(crate) use finish::Answered;
pub(crate) use idempotency::{Made, answer_context};
pub(crate) use stamp::{Stamp, Value};

use crate::{
    edge::{Core, Counted, Peer},
    error::{Failure, Result},
    resources::{self, Backend},
    router::{Operation, Plane, Router},
    settings::Settings,
};
use axum::{body::Body, extract::Request, response::IntoResponse as _};
use context::{Known, method_not_allowed, route_not_found};
use finish::{Record, Timing};
use futures_util::FutureExt as _;
use http::{Method, Response, header};
use ogel_api::error::{Error, ErrorCode};
use ogel_proxy::AttemptLog;
use ogel_store::StatementLog;
use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, OnceLock},
    time::Duration,
};

/// One request from its first byte to the head of its answer. Never fails: whatever happens becomes an answer. The request
/// is lent, so that it is not moved from step to step and has its room once.
pub(crate) async fn live(core: &Arc<Core>, peer: &Arc<Peer>, routes: &Router, request: &mut Request) -> Answered {
    let _in_flight = Counted::new(&core.counters.in_flight);
    let settings = core.app.config();
    // 1. Ids for the request and its trace.
    let mut record = Record::begin(core, peer, request);
    // 2. Which page may read the answer. Outside everything that can refuse, so that it can read refusals too.
    let origin = cors::allowed_origin(request.headers(), &settings);
    let answer = match cors::preflight(request, origin.as_ref()) {
        Some(answer) => answer,
        // 3. A panic is a 500 in our envelope and costs other requests nothing.
        None => match traced(core, peer, routes, request, &settings, &mut record).await {
            Ok(answer) => answer,
            Err(failure) => failure.into_response(),
        },
    };
    // Last: the envelope around failures, the headers every answer has, one log line, the counters.
    finish::finish(core, &settings, &record, answer, origin)
}

/// The steps; where the request is traced, what the database takes for it is noted.
async fn traced(
    core: &Arc<Core>,
    peer: &Arc<Peer>,
    routes: &Router,
    request: &mut Request,
    settings: &Settings,
    record: &mut Record,
) -> Result<Response<Body>> {
    match record.traced.as_ref().map(|traced| traced.statements.clone()) {
        None => caught(steps(core, peer, routes, request, settings, record)).await,
        // Boxed: its room would be moved with every request that is not.
        Some(log) => {
            let steps = caught(steps(core, peer, routes, request, settings, record));
            Box::pin(StatementLog::noting(log, steps)).await
        }
    }
}

/// The answer where there is no request: its head was refused, or did not come.
pub(crate) fn refused(core: &Core, peer: &Peer, failure: Failure) -> Answered {
    let record = Record::of_nothing(core, peer);
    finish::finish(core, &core.app.config(), &record, failure.into_response(), None)
}

async fn steps(
    core: &Arc<Core>,
    peer: &Arc<Peer>,
    routes: &Router,
    request: &mut Request,
    settings: &Settings,
    record: &mut Record,
) -> Result<Response<Body>> {
    // 4. A host or path that could mean two things is refused before anything is decided by it.
    target::refuse_ambiguous(request)?;
    // 5. Shed what is too much while refusing is still cheap.
    let forwarded = settings.is_forwarded(record.noun);
    let _place = refuse_overload(core, settings, resources::backend_of(record.noun, forwarded))?;
    // 6. Floods from one address, before its credential costs us anything.
    let address = peer.address_of(request.headers(), settings, &core.app);
    record.client = address.client;
    if let Some(verdict) = settings.limits.address(&core.app, &address.allowance, record.now_ms()).await
        && !verdict.decision.allowed
    {
        return Err(record.refuse(core, verdict));
    }
    // 7. The time allowed, for this thread, the database and every attempt at an upstream alike.
    let allowed = deadline::time_allowed(request, settings, forwarded)?;
    let deadline = record.started_at(allowed);
    // 8. Who is calling; a credential that does not hold is kept for the handler to refuse.
    let (identity, by_cookie) = identify::identify(core, peer, request.headers(), record, settings, deadline).await?;
    record.timing.mark(Timing::Auth);
    // 9. How often they may call, by the class the resource table gives the request.
    let class = resources::class_of(record.noun, request.method(), request.uri().path());
    let caller = identity.caller().map(|caller| &**caller);
    let limits = &settings.limits;
    if let Some(verdict) = limits.request(&core.app, class, caller, &address.allowance, record.now_ms()).await {
        if !verdict.decision.allowed {
            return Err(record.refuse(core, verdict));
        }
        record.limit = Some(verdict);
    }
    let body_limit = if forwarded { settings.studio.max_body_bytes } else { settings.server.max_body_bytes };
    let context = RequestContext::new(Known {
        ids: record.ids.clone(),
        deadline,
        body_limit: usize::try_from(body_limit).unwrap_or(usize::MAX),
        identity,
        by_cookie,
        client: record.client,
        attempts: AttemptLog::new(),
        peer: peer.clone(),
        core: core.clone(),
        payer: OnceLock::new(),
        place: if forwarded { None } else { routes.find(request.uri().path()).cloned() },
    });
    record.context = Some(context.clone());
    // 10. The resource table. What another backend answers goes straight there, and watches its deadline itself; the
    // rest of the table the router knows as operations.
    let answer = if forwarded {
        resources::forwarded::forward(&context, request).await
    } else {
        let answer = tokio::time::timeout_at(deadline, routed(&context, request)).await;
        answer.map_err(|_| deadline::exceeded(allowed))
    };
    record.timing.mark(Timing::Work);
    answer
}

/// The answer of the operation that the path and the method name.
async fn routed(context: &RequestContext, request: &mut Request) -> Response<Body> {
    let Some(place) = &context.place else { return route_not_found(request) };
    let Some(operation) = place.operation(request.method()) else { return method_not_allowed(place, request) };
    let is_head = *request.method() == Method::HEAD;
    let mut answer = match operation.plane {
        Plane::Data => on_data(context, operation, request).await,
        // Boxed: the way there is long, and its room would be moved with every request that stays here.
        Plane::Control => Box::pin(on_control(context, operation, std::mem::take(request))).await,
        Plane::Page => Box::pin(of_page(context, operation, std::mem::take(request))).await,
    };
    if is_head {
        if let Some(length) = http_body::Body::size_hint(answer.body()).exact().filter(|length| *length > 0) {
            answer.headers_mut().entry(header::CONTENT_LENGTH).or_insert_with(|| length.into());
        }
        *answer.body_mut() = Body::empty();
    }
    answer
}

/// What is passed on the way to the control plane: Studio's own resources and what combines them with Ghost's.
async fn on_control(context: &RequestContext, operation: &Operation, request: Request) -> Response<Body> {
    // 11. A cookie is no proof of intent: other sites' pages may not use it to change things.
    if let Err(failure) = cross_site::refuse_cross_site(context, &request) {
        return failure.into_response();
    }
    let (there, call) = (context.clone(), operation.call.clone());
    // 12. The same `Idempotency-Key` twice is one request with two answers.
    idempotency::idempotent(context, request, move |request| async move {
        // 13. `ETag` and `If-None-Match` on what is read.
        conditional::conditional(request, async |request| {
            let context = there.clone();
            // 14. From here on the control plane's runtime.
            control::on_control_plane(&there, request, move |request| {
                // 15. What a caller has changed they read, wherever they read it. Inside: a token belongs to the task
                // that works.
                consistency::consistent(context, request, call)
            })
            .await
        })
        .await
    })
    .await
}

/// What is passed by requests that stay on the data-plane thread that accepted them.
async fn on_data(context: &RequestContext, operation: &Operation, request: &mut Request) -> Response<Body> {
    // 11 and 13, as above; a stream is no JSON and passes the tag by.
    if let Err(failure) = cross_site::refuse_cross_site(context, request) {
        return failure.into_response();
    }
    let call = |request| (operation.call)(request, context.clone());
    conditional::conditional(std::mem::take(request), call).await
}

/// The same for pages for people: each form must come from our own pages, logged in or not, and what it asks for happens
/// on the control plane.
async fn of_page(context: &RequestContext, operation: &Operation, request: Request) -> Response<Body> {
    if let Err(failure) = refuse_foreign(&context.core.app, &request) {
        return failure.into_response();
    }
    let (there, call) = (context.clone(), operation.call.clone());
    control::on_control_plane(context, request, move |request| call(request, there)).await
}

/// A place among the requests of this thread. What waits for a backend may have three quarters of them, so that one which
/// is slow leaves room for all that does not need it.
fn refuse_overload<'a>(core: &'a Core, settings: &Settings, backend: Option<Backend>) -> Result<Option<Counted<'a>>> {
    let (now, most) = (core.counters.in_flight.get(), settings.server.max_in_flight_per_thread);
    let waiting = backend.map(|backend| (backend, &core.counters.waiting_for[backend as usize]));
    let message = match waiting {
        _ if now > most => format!(
            "this server has too much to do: {now} requests are in work on this thread and \
             `server.max_in_flight_per_thread` is {most}; try again in a second"
        ),
        Some((backend, count)) if count.get() >= (most - most / 4).max(1) => format!(
            "{} is slow, and {} requests of this thread wait for it already; try again in a second",
            backend.as_str(),
            count.get()
        ),
        waiting => return Ok(waiting.map(|(_, count)| Counted::new(count))),
    };
    core.counters.shed.add(1);
    Err(Error::new(ErrorCode::Overloaded, message).retry_after(Duration::from_secs(1)).into())
}

/// `work`, whose panic is a failure like any other. What it said is for the log.
fn caught<T>(work: impl Future<Output = Result<T>>) -> impl Future<Output = Result<T>> {
    let work = AssertUnwindSafe(work).catch_unwind();
    work.map(|done| done.unwrap_or_else(|panic| Err(Error::internal(words_of(&*panic)).into())))
}

/// What a panic said.
pub(crate) fn words_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("panic without a message").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_internal_failure_that_keeps_its_words_to_itself() {
        let broken: Result<()> = caught(async {
            tokio::task::yield_now().await;
            panic!("the secret is {}", 42)
        })
        .await;
        let failure = broken.unwrap_err();
        assert_eq!(failure.code(), ErrorCode::Internal);
        assert!(!failure.0.message.contains("secret"), "{}", failure.0.message);
        assert!(failure.0.cause.as_ref().unwrap().to_string().contains("the secret is 42"));
        assert_eq!(caught(async { Ok(1) }).await.unwrap(), 1);
    }
}
