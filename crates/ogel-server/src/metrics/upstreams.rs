//! How the data plane's upstreams are: every thread has connections, a breaker and ejections of its own, and a scrape adds
//! them up by upstream.

use super::Counters;
use ogel_proxy::{BreakerState, Upstream};
use std::{fmt::Write as _, sync::Arc};

const UPSTREAMS: [&str; 2] = ["ghost", "studio"];
const STATES: [(BreakerState, &str); 3] =
    [(BreakerState::Closed, "closed"), (BreakerState::HalfOpen, "half_open"), (BreakerState::Open, "open")];

type Count = fn(&Upstream) -> u64;

const FIGURES: [(&str, &str, &str, Count); 4] = [
    ("ogel_upstream_pending", "gauge", "Requests under way, until the end of their answer.", |upstream| {
        upstream.pending_requests() as u64
    }),
    ("ogel_upstream_connections_idle", "gauge", "Connections that wait for use.", |upstream| {
        upstream.idle_connections() as u64
    }),
    ("ogel_upstream_connections_total", "counter", "Connections opened.", Upstream::connections_opened),
    ("ogel_upstream_ejected", "gauge", "Addresses left out at this moment, added up over the threads.", |upstream| {
        upstream.ejected_addresses() as u64
    }),
];

pub(super) fn render(page: &mut String, threads: &[Arc<Counters>]) {
    let of = |name: &'static str| {
        let all = threads.iter().filter_map(|counters| counters.upstreams.get()).flatten();
        all.filter(move |(known, _)| *known == name).map(|(_, upstream)| upstream)
    };
    let there: Vec<_> = UPSTREAMS.into_iter().filter(|name| of(name).next().is_some()).collect();
    for (metric, kind, help, count) in FIGURES {
        super::text::head(page, metric, kind, help);
        for name in &there {
            let total: u64 = of(name).map(count).sum();
            let _ = writeln!(page, "{metric}{{upstream=\"{name}\"}} {total}");
        }
    }
    let metric = "ogel_upstream_breaker";
    super::text::head(page, metric, "gauge", "Threads whose breaker is in this state; open means left alone.");
    for name in &there {
        for (state, word) in STATES {
            let threads = of(name).filter(|upstream| upstream.breaker_state() == state).count();
            let _ = writeln!(page, "{metric}{{upstream=\"{name}\",state=\"{word}\"}} {threads}");
        }
    }
}
