//! What a collector is told: spans of one request, whose child they are, whom they are sent on to; and that a collector which
//! is away costs nobody anything.

use axum::{
    Router,
    body::Bytes,
    extract::{Request, State},
    http::HeaderMap,
    response::{IntoResponse as _, Response},
    routing::post,
};
use http::Method;
use ogel_server::config::Secret;
use ogel_testkit::{Api, Database, TestApp, eventually};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value as Any},
    trace::v1::{Span, span::SpanKind, status::StatusCode},
};
use parking_lot::Mutex;
use prost::Message as _;
use serde_json::json;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// A collector that keeps what it gets.
#[derive(Clone)]
pub(crate) struct Collector {
    pub(crate) url: String,
    batches: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
    hangs: Arc<AtomicBool>,
}

impl Collector {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let collector = Self { url, batches: Arc::default(), hangs: Arc::default() };
        let routes = Router::new().route("/v1/traces", post(Self::take)).with_state(collector.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        collector
    }

    async fn take(State(collector): State<Self>, headers: HeaderMap, body: Bytes) {
        collector.batches.lock().push((headers, body));
        if collector.hangs.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    }

    fn exports(&self) -> Vec<ExportTraceServiceRequest> {
        self.batches.lock().iter().map(|(_, body)| ExportTraceServiceRequest::decode(body.clone()).unwrap()).collect()
    }

    fn spans(&self) -> Vec<Span> {
        let resources = self.exports().into_iter().flat_map(|export| export.resource_spans);
        resources.flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans).collect()
    }

    /// Those of one trace, once there are any: the spans of a request come together.
    async fn of(&self, trace: &str) -> Vec<Span> {
        eventually("the trace is exported", || async {
            let spans: Vec<_> = self.spans().into_iter().filter(|span| hex::encode(&span.trace_id) == trace).collect();
            (!spans.is_empty()).then_some(spans)
        })
        .await
    }

    /// All it got, as far as it is text.
    pub(crate) fn text(&self) -> String {
        self.batches.lock().iter().map(|(_, body)| String::from_utf8_lossy(body).into_owned()).collect()
    }
}

async fn traced(
    database: Database,
    collector: &Collector,
    change: impl FnOnce(&mut ogel_server::config::Config),
) -> TestApp {
    TestApp::start_with(database, |config| {
        config.otlp.endpoint = collector.url.clone();
        config.otlp.flush_seconds = 1;
        change(config);
    })
    .await
}

fn sampled(api: &Api, path: &str, flags: &str) -> reqwest::RequestBuilder {
    api.request(Method::GET, path).header("traceparent", format!("00-{TRACE}-{PARENT}-{flags}"))
}

fn attribute<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a Any> {
    attributes.iter().find(|one| one.key == key)?.value.as_ref()?.value.as_ref()
}

fn text(span: &Span, key: &str) -> String {
    match attribute(&span.attributes, key) {
        Some(Any::StringValue(text)) => text.clone(),
        other => panic!("{key} is {other:?} of {span:?}"),
    }
}

fn number(span: &Span, key: &str) -> i64 {
    match attribute(&span.attributes, key) {
        Some(Any::IntValue(number)) => *number,
        other => panic!("{key} is {other:?} of {span:?}"),
    }
}

fn one(spans: &[Span], is_it: impl Fn(&Span) -> bool) -> &Span {
    let found: Vec<_> = spans.iter().filter(|span| is_it(span)).collect();
    assert_eq!(found.len(), 1, "{spans:#?}");
    found[0]
}

async fn a_request_is_a_tree_of_spans_below_its_callers(database: Database) {
    let collector = Collector::start().await;
    let app = traced(database, &collector, |config| {
        config.otlp.headers = Secret::new("x-tenant=shop,authorization=Bearer%20canary");
        config.otlp.service_name = "gateway".to_owned();
    })
    .await;
    let ada = app.sign_up("ada").await;
    let project = ada.project("shop").await;
    crate::sites::make(&ada, &project, "Web", json!({})).await;
    // Seen for the first time, so that the database is asked whose it is.
    let made = ada.post("/auth/api-keys", json!({ "name": "ci" })).await.expect(201);
    let key = ada.with_token(made["secret"].as_str());
    let answer = key.send(sampled(&key, &format!("/sites?projectId={project}"), "01")).await;
    let request_id = answer.headers["x-request-id"].to_str().unwrap().to_owned();
    answer.expect(200);

    let spans = collector.of(TRACE).await;
    let own = one(&spans, |span| hex::encode(&span.parent_span_id) == PARENT);
    assert_eq!((own.name.as_str(), own.kind()), ("GET /api/v2/sites", SpanKind::Server));
    assert_eq!((text(own, "ogel.request.id"), number(own, "http.response.status_code")), (request_id, 200));
    assert_eq!(text(own, "ogel.caller.id"), made["apiKey"]["id"].as_str().unwrap());
    let identity = one(&spans, |span| span.name == "identity");
    assert_eq!(identity.parent_span_id, own.span_id);
    let statements: Vec<_> = spans.iter().filter(|span| span.name.starts_with("database ")).collect();
    let below = |parent: &Span| statements.iter().filter(|span| span.parent_span_id == parent.span_id).count();
    assert!(below(identity) > 0, "{spans:#?}");
    assert_eq!(below(identity) + below(own), statements.len());
    assert_eq!(text(statements[0], "db.system.name"), app.app.store.kind());
    let upstream = one(&spans, |span| span.name == "upstream");
    assert_eq!((&upstream.parent_span_id, upstream.kind()), (&own.span_id, SpanKind::Client));
    assert!(app.ghost.api_url().ends_with(&text(upstream, "server.address")), "{upstream:?}");
    for span in &spans {
        let parent = spans.iter().find(|one| one.span_id == span.parent_span_id).unwrap_or(own);
        let within = parent.start_time_unix_nano <= span.start_time_unix_nano
            && span.end_time_unix_nano <= parent.end_time_unix_nano;
        assert!(within && span.start_time_unix_nano <= span.end_time_unix_nano, "{span:?} in {parent:?}");
    }
    let export = collector.exports().remove(0);
    let resource = export.resource_spans[0].resource.clone().unwrap();
    assert_eq!(attribute(&resource.attributes, "service.name"), Some(&Any::StringValue("gateway".to_owned())));
    let (headers, _) = collector.batches.lock()[0].clone();
    assert_eq!(
        (headers["x-tenant"].as_bytes(), headers["authorization"].as_bytes()),
        (&b"shop"[..], &b"Bearer canary"[..])
    );
    let metrics = app.operations("/metrics").await.1;
    assert!(
        metrics.contains("ogel_traces_dropped_total 0")
            && metrics.contains("ogel_trace_spans_total{outcome=\"exported\"}"),
        "{metrics}"
    );
    app.stop().await;
}

/// What stands before Ghost, notes whose child each request is, and answers in its place while it is to be busy.
#[derive(Clone)]
struct Before {
    ghost: Arc<Mutex<String>>,
    seen: Arc<Mutex<Vec<String>>>,
    is_busy: Arc<AtomicBool>,
}

impl Before {
    async fn start() -> (String, Self) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let before = Self { ghost: Arc::default(), seen: Arc::default(), is_busy: Arc::default() };
        let routes = Router::new().fallback(Self::pass).with_state(before.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        (url, before)
    }

    async fn pass(State(before): State<Self>, request: Request) -> Response {
        let (head, body) = request.into_parts();
        let parent = head.headers.get("traceparent").map(|value| value.to_str().unwrap().to_owned());
        before.seen.lock().extend(parent);
        if before.is_busy.load(Ordering::Relaxed) {
            return http::StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let passed = ogel_testkit::http_client().request(head.method, format!("{}{}", before.ghost.lock(), head.uri));
        match passed.headers(head.headers).body(body).send().await {
            Ok(answer) => (answer.status(), answer.bytes().await.unwrap_or_default()).into_response(),
            Err(_) => http::StatusCode::BAD_GATEWAY.into_response(),
        }
    }
}

async fn each_attempt_is_a_span_and_ghost_is_told_whose_child_its_own_is(database: Database) {
    let collector = Collector::start().await;
    let (url, before) = Before::start().await;
    let app =
        traced(database, &collector, |config| *before.ghost.lock() = std::mem::replace(&mut config.ghost.url, url))
            .await;
    let ada = app.sign_up("ada").await;
    let project = ada.project("shop").await;
    crate::sites::make(&ada, &project, "Web", json!({})).await;
    let list = format!("/sites?projectId={project}");
    ada.get(&list).await.expect(200);
    before.is_busy.store(true, Ordering::Relaxed);
    let answer = ada.send(sampled(&ada, &list, "01")).await;
    assert!(answer.status.is_server_error(), "{answer:?}");
    let code = answer.body["error"]["code"].as_str().unwrap().to_owned();
    let spans = collector.of(TRACE).await;
    let own = one(&spans, |span| hex::encode(&span.parent_span_id) == PARENT);
    assert_eq!((own.status.as_ref().unwrap().code(), text(own, "error.type")), (StatusCode::Error, code));
    let sent: Vec<_> = before.seen.lock().iter().filter(|parent| parent.contains(TRACE)).cloned().collect();
    let expected = format!("00-{TRACE}-{}-01", hex::encode(&own.span_id));
    assert!(sent.len() > 1 && sent.iter().all(|parent| *parent == expected), "{sent:?} is not {expected}");
    let attempts: Vec<_> = spans.iter().filter(|span| span.name == "upstream").collect();
    assert_eq!(attempts.len(), sent.len());
    for attempt in attempts {
        assert_eq!((&attempt.parent_span_id, number(attempt, "http.response.status_code")), (&own.span_id, 503));
        assert_eq!(attempt.status.as_ref().unwrap().code(), StatusCode::Error);
    }
    app.stop().await;
}

async fn what_is_not_sampled_is_not_exported(database: Database) {
    let collector = Collector::start().await;
    let app = traced(database, &collector, |config| config.otlp.sample_percent = 0).await;
    let anonymous = app.anonymous();
    let version = anonymous.request(Method::GET, "/version");
    let other = "00-00000000000000000000000000000001-00f067aa0ba902b7-00";
    anonymous.send(anonymous.request(Method::GET, "/version").header("traceparent", other)).await.expect(200);
    anonymous.send(version).await.expect(200);
    anonymous.send(sampled(&anonymous, "/version", "01")).await.expect(200);
    collector.of(TRACE).await;
    assert!(collector.spans().iter().all(|span| hex::encode(&span.trace_id) == TRACE), "{:?}", collector.spans());
    app.stop().await;
}

async fn a_collector_that_hangs_costs_nobody_anything(database: Database) {
    let collector = Collector::start().await;
    collector.hangs.store(true, Ordering::Relaxed);
    let app = traced(database, &collector, |config| config.otlp.queue = 4).await;
    let ada = app.sign_up("ada").await;
    eventually("the collector has something that it does not answer", || async {
        ada.get("/users/me").await.expect(200);
        (!collector.batches.lock().is_empty()).then_some(())
    })
    .await;
    for _ in 0..50 {
        ada.get("/users/me").await.expect(200);
    }
    let metrics = app.operations("/metrics").await.1;
    let dropped = metrics.lines().find_map(|line| line.strip_prefix("ogel_traces_dropped_total ")).unwrap();
    assert!(dropped.parse::<u64>().unwrap() >= 40, "{dropped}");
    app.stop().await;
}

/// Each `async fn` on both databases.
macro_rules! on_both_with_collector {
    ($($name:ident: $sqlite:ident, $postgres:ident;)+) => { $(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $sqlite() {
            $name(Database::Sqlite).await;
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $postgres() {
            $name(Database::Postgres).await;
        }
    )+ };
}

on_both_with_collector! {
    a_request_is_a_tree_of_spans_below_its_callers: a_tree_on_sqlite, a_tree_on_postgres;
    each_attempt_is_a_span_and_ghost_is_told_whose_child_its_own_is: attempts_on_sqlite, attempts_on_postgres;
    what_is_not_sampled_is_not_exported: unsampled_on_sqlite, unsampled_on_postgres;
    a_collector_that_hangs_costs_nobody_anything: hanging_on_sqlite, hanging_on_postgres;
}
