//! The counters of all threads in Prometheus' text format.

use super::{Counter, Counters, histogram::BOUNDS_US};
use crate::{
    limits::Policy,
    resources::{Backend, RESOURCES},
};
use std::{fmt::Write as _, sync::Arc};

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// The page `/metrics`.
pub fn render(threads: &[Arc<Counters>]) -> String {
    let mut page = String::with_capacity(16 << 10);
    let noun = |index: usize| RESOURCES.get(index).map_or("none", |resource| resource.name);

    head(&mut page, "ogel_requests_total", "counter", "Requests answered, by resource and status class.");
    for index in 0..=RESOURCES.len() {
        for (class, word) in CLASSES.iter().enumerate() {
            let total = sum(threads, |counters| &counters.requests[index].by_class[class]);
            if total > 0 {
                let _ = writeln!(page, "ogel_requests_total{{resource=\"{}\",class=\"{word}\"}} {total}", noun(index));
            }
        }
    }

    let name = "ogel_request_duration_seconds";
    head(&mut page, name, "histogram", "From a request's head to its answer's, by resource.");
    for index in 0..=RESOURCES.len() {
        let (mut buckets, mut sum_us) = ([0; BOUNDS_US.len() + 1], 0);
        for counters in threads {
            counters.requests[index].durations.add_to(&mut buckets, &mut sum_us);
        }
        let count: u64 = buckets.iter().sum();
        if count == 0 {
            continue;
        }
        let (noun, mut below) = (noun(index), 0);
        for (bucket, bound) in buckets.iter().zip(BOUNDS_US) {
            below += bucket;
            let _ = writeln!(page, "{name}_bucket{{resource=\"{noun}\",le=\"{}\"}} {below}", seconds(bound));
        }
        let _ = writeln!(page, "{name}_bucket{{resource=\"{noun}\",le=\"+Inf\"}} {count}");
        let _ = writeln!(page, "{name}_sum{{resource=\"{noun}\"}} {}", seconds(sum_us));
        let _ = writeln!(page, "{name}_count{{resource=\"{noun}\"}} {count}");
    }

    head(&mut page, "ogel_rate_limited_total", "counter", "Requests refused because a limit was reached.");
    for policy in Policy::ALL {
        let total = sum(threads, |counters| &counters.limited[policy as usize]);
        let _ = writeln!(page, "ogel_rate_limited_total{{policy=\"{}\"}} {total}", policy.as_str());
    }
    let name = "ogel_requests_waiting";
    head(&mut page, name, "gauge", "Requests being worked on that need a backend, by backend.");
    for backend in Backend::ALL {
        let total = sum(threads, |counters| &counters.waiting_for[backend as usize]);
        let _ = writeln!(page, "{name}{{backend=\"{}\"}} {total}", backend.as_str());
    }
    let mut single = |name: &str, kind: &str, help: &str, value: u64| {
        head(&mut page, name, kind, help);
        let _ = writeln!(page, "{name} {value}");
    };
    let total = |pick: fn(&Counters) -> &Counter| sum(threads, pick);
    single("ogel_requests_in_flight", "gauge", "Requests being worked on.", total(|c| &c.in_flight));
    single("ogel_connections", "gauge", "Client connections that are open.", total(|c| &c.connections));
    let help = "Open HTTP/1.1 connections without a request, which hold next to nothing.";
    single("ogel_connections_resting", "gauge", help, total(|c| &c.connections_resting));
    single("ogel_connections_total", "counter", "Client connections accepted.", total(|c| &c.connections_opened));
    single("ogel_shed_total", "counter", "Requests refused because the thread had too many.", total(|c| &c.shed));
    single(
        "ogel_access_log_lost_total",
        "counter",
        "Access-log lines the disk was too slow for.",
        total(|c| &c.log_lines_lost),
    );
    single(
        "ogel_upstream_attempts_total",
        "counter",
        "Attempts of the data plane at an upstream.",
        total(|c| &c.upstream_attempts),
    );
    single("ogel_upstream_failures_total", "counter", "Those of them that failed.", total(|c| &c.upstream_failures));
    single("ogel_threads", "gauge", "Data-plane threads.", threads.len() as u64);
    super::upstreams::render(&mut page, threads);
    page
}

/// How it stands with what replicas share.
pub fn render_redis(page: &mut String, redis: &ogel_cache::Redis) {
    let (answers, hears) = redis.health();
    let mut single = |name: &str, kind: &str, help: &str, value: u64| {
        head(page, name, kind, help);
        let _ = writeln!(page, "{name} {value}");
    };
    single("ogel_redis_up", "gauge", "1 while requests use Redis, 0 while they go on without.", answers.into());
    single("ogel_redis_hearing", "gauge", "1 while what other replicas say is heard.", hears.into());
    single("ogel_redis_failures_total", "counter", "Commands without an answer in time.", redis.failures());
}

pub(super) fn head(page: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn sum(threads: &[Arc<Counters>], pick: impl Fn(&Counters) -> &Counter) -> u64 {
    threads.iter().map(|counters| pick(counters).get()).sum()
}

/// Microseconds as seconds, without floating point.
fn seconds(micros: u64) -> String {
    format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn threads_are_added_up_and_buckets_are_cumulative() {
        let threads = [Arc::new(Counters::default()), Arc::new(Counters::default())];
        let projects = RESOURCES.iter().position(|resource| resource.name == "projects");
        for counters in &threads {
            counters.request(projects, http::StatusCode::OK, Duration::from_micros(90));
            counters.request(projects, http::StatusCode::NOT_FOUND, Duration::from_micros(400));
            counters.request(None, http::StatusCode::NOT_FOUND, Duration::from_secs(60));
        }
        let page = render(&threads);
        for line in [
            "ogel_requests_total{resource=\"projects\",class=\"2xx\"} 2",
            "ogel_requests_total{resource=\"none\",class=\"4xx\"} 2",
            "ogel_request_duration_seconds_bucket{resource=\"projects\",le=\"0.000100\"} 2",
            "ogel_request_duration_seconds_bucket{resource=\"projects\",le=\"0.000500\"} 4",
            "ogel_request_duration_seconds_bucket{resource=\"none\",le=\"30.000000\"} 0",
            "ogel_request_duration_seconds_bucket{resource=\"none\",le=\"+Inf\"} 2",
            "ogel_request_duration_seconds_sum{resource=\"projects\"} 0.000980",
            "ogel_threads 2",
        ] {
            assert!(page.lines().any(|known| known == line), "{line} is missing in\n{page}");
        }
    }
}
