//! Traces for an OpenTelemetry collector (OTLP over HTTP), where `otlp.endpoint` names one.
//!
//! A request that is traced leaves its notes in a short queue when its answer begins; the control plane makes spans of them
//! and sends those in batches. What finds the queue full is dropped and counted: a collector that is slow or away costs
//! callers nothing. Attributes hold names, numbers and ids, never what a caller or an upstream wrote.
//! Next: `traces/spans.rs`, which says what a span holds.

mod spans;

use crate::{config::Config, outgoing, state::App, world::Entropy};
use arrayvec::ArrayString;
use chrono::{DateTime, Utc};
use http::{HeaderMap, Method, StatusCode};
use ogel_proxy::Attempt;
use ogel_store::StatementLog;
use opentelemetry::KeyValue;
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::{Resource, trace::SpanData, trace::SpanExporter as _};
use parking_lot::Mutex;
use std::{
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Requests taken from the queue in one go.
const AT_ONCE: usize = 256;
/// Spans in one export.
const BATCH: usize = 1024;
/// For one export, its repetitions included.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What a request that is traced takes along.
pub(crate) struct Traced {
    /// The caller's span, where there is one.
    pub(crate) parent: Option<ArrayString<16>>,
    pub(crate) statements: Arc<StatementLog>,
}

/// What is known of it when its answer begins.
pub(crate) struct Finished {
    /// Version, trace, our span, flags.
    pub(crate) traceparent: ArrayString<55>,
    pub(crate) parent: Option<ArrayString<16>>,
    pub(crate) request_id: ArrayString<32>,
    pub(crate) method: Method,
    /// The route's pattern.
    pub(crate) route: Option<String>,
    pub(crate) status: StatusCode,
    pub(crate) code: Option<&'static str>,
    /// The id of the person, or of the key they call with.
    pub(crate) caller: Option<String>,
    pub(crate) at: DateTime<Utc>,
    pub(crate) started: Instant,
    pub(crate) took: Duration,
    /// When it was known who calls.
    pub(crate) identified: Option<Instant>,
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) statements: Arc<StatementLog>,
}

/// The way to the collector.
pub struct Traces {
    queue: mpsc::Sender<Finished>,
    waiting: Mutex<Option<mpsc::Receiver<Finished>>>,
    exporter: SpanExporter,
    every: Duration,
    /// Of traces that begin here, those up to this number are sampled.
    threshold: u64,
    ended: CancellationToken,
    is_failing: AtomicBool,
    dropped: AtomicU64,
    exported: AtomicU64,
    failed: AtomicU64,
}

impl Traces {
    /// `None` where there is no collector.
    pub(crate) fn new(config: &Config) -> Result<Option<Arc<Self>>, Box<dyn std::error::Error + Send + Sync>> {
        let otlp = &config.otlp;
        if otlp.endpoint.is_empty() {
            return Ok(None);
        }
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(outgoing::tls()?)
            .redirect(reqwest::redirect::Policy::none())
            .timeout(TIMEOUT)
            .no_proxy()
            .build()?;
        let mut exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_endpoint(format!("{}/v1/traces", otlp.endpoint.trim_end_matches('/')))
            .with_headers(headers(otlp.headers.expose()))
            .with_timeout(TIMEOUT)
            .build()?;
        let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        let resource = Resource::builder_empty().with_service_name(otlp.service_name.clone());
        exporter.set_resource(&resource.with_attributes([version]).build());
        let (queue, waiting) = mpsc::channel(usize::try_from(otlp.queue.clamp(1, 1 << 20)).unwrap_or(1));
        Ok(Some(Arc::new(Self {
            queue,
            waiting: Mutex::new(Some(waiting)),
            exporter,
            every: Duration::from_secs(otlp.flush_seconds.max(1)),
            threshold: threshold(otlp.sample_percent),
            ended: CancellationToken::new(),
            is_failing: AtomicBool::new(false),
            dropped: AtomicU64::new(0),
            exported: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        })))
    }

    /// Whether a trace that begins here is sampled; `random` is a part of its id, and never 0.
    pub(crate) fn wants(&self, random: u64) -> bool {
        random <= self.threshold
    }

    /// Never waits.
    pub(crate) fn take(&self, finished: Finished) {
        if self.queue.try_send(finished).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What is left is exported, and then nothing any more.
    pub(crate) fn end(&self) {
        self.ended.cancel();
    }

    async fn run(&self, mut waiting: mpsc::Receiver<Finished>, entropy: &Entropy, database: &'static str) {
        let mut tick = tokio::time::interval(self.every);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut spans, mut is_over) = (Vec::new(), false);
        while !is_over {
            let mut finished = Vec::new();
            let is_due = tokio::select! {
                _ = waiting.recv_many(&mut finished, AT_ONCE) => false,
                _ = tick.tick() => true,
                () = self.ended.cancelled() => {
                    is_over = true;
                    true
                }
            };
            while is_over && let Ok(one) = waiting.try_recv() {
                finished.push(one);
            }
            for one in finished {
                spans::add(&mut spans, &one, entropy, database);
            }
            if is_due || spans.len() >= BATCH {
                self.export(std::mem::take(&mut spans)).await;
            }
        }
    }

    async fn export(&self, spans: Vec<SpanData>) {
        let count = spans.len() as u64;
        if count == 0 {
            return;
        }
        match self.exporter.export(spans).await {
            Ok(()) => {
                self.exported.fetch_add(count, Ordering::Relaxed);
                if self.is_failing.swap(false, Ordering::Relaxed) {
                    tracing::info!("traces are exported again");
                }
            }
            Err(error) => {
                self.failed.fetch_add(count, Ordering::Relaxed);
                if !self.is_failing.swap(true, Ordering::Relaxed) {
                    tracing::warn!(%error, "traces cannot be exported (`otlp.endpoint`)");
                }
            }
        }
    }

    /// For the scrape.
    pub(crate) fn render(&self) -> String {
        let mut page = String::new();
        let name = "ogel_trace_spans_total";
        let _ = writeln!(page, "# HELP {name} Spans that the collector took, or did not take.\n# TYPE {name} counter");
        for (outcome, count) in [("exported", &self.exported), ("failed", &self.failed)] {
            let _ = writeln!(page, "{name}{{outcome=\"{outcome}\"}} {}", count.load(Ordering::Relaxed));
        }
        let name = "ogel_traces_dropped_total";
        let _ = writeln!(page, "# HELP {name} Requests whose trace found the queue full.\n# TYPE {name} counter");
        let _ = writeln!(page, "{name} {}", self.dropped.load(Ordering::Relaxed));
        page
    }
}

/// Exports what is traced, until [`Traces::end`].
pub(crate) fn start(app: &App) {
    let Some(traces) = app.traces.clone() else { return };
    let Some(waiting) = traces.waiting.lock().take() else { return };
    let (entropy, database) = (app.world.entropy.clone(), app.store.kind());
    app.in_background(async move { traces.run(waiting, &entropy, database).await });
}

impl Traced {
    pub(crate) fn of(headers: &HeaderMap, parent: impl Fn(&HeaderMap) -> Option<&str>) -> Box<Self> {
        let parent = parent(headers).and_then(|span| ArrayString::from(span).ok());
        Box::new(Self { parent, statements: Arc::default() })
    }
}

fn threshold(percent: u64) -> u64 {
    match percent {
        100.. => u64::MAX,
        percent => u64::MAX / 100 * percent,
    }
}

/// `name=value,name=value`, the values percent-encoded, as `OTEL_EXPORTER_OTLP_HEADERS` has them.
fn headers(text: &str) -> std::collections::HashMap<String, String> {
    let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
    let plain = |value: &str| percent_encoding::percent_decode_str(value.trim()).decode_utf8_lossy().into_owned();
    pairs.map(|(name, value)| (name.trim().to_owned(), plain(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_of_a_hundred_are_sampled() {
        let entropy = Entropy::seeded(7);
        for percent in [0, 1, 25, 99, 100] {
            let threshold = threshold(percent);
            let sampled = (0..20_000).filter(|_| entropy.next() | 1 <= threshold).count();
            assert!(sampled.abs_diff(200 * percent as usize) < 200, "{percent}: {sampled}");
            assert!(percent != 0 || sampled == 0);
            assert!(percent != 100 || sampled == 20_000);
        }
    }

    #[test]
    fn headers_are_written_as_the_standard_variable_has_them() {
        let read = headers("authorization=Bearer%20abc, x-tenant = shop ,nonsense");
        assert_eq!((read["authorization"].as_str(), read["x-tenant"].as_str(), read.len()), ("Bearer abc", "shop", 2));
    }
}
