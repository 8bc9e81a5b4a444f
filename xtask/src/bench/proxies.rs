//! The main table: requests through each gateway to one upstream, one after the other in every round.

use super::gateway::Route;
use super::load::{CONNECTIONS, Run, Target, mean, median};
use super::peers::{self, PLAIN, YARDSTICK};
use super::report::{Section, figure};
use super::{Bench, Result};

/// CPU per request, key checked, limited, traced, metered and logged, against nginx with what it can do of that.
const CPU_RATIO: f64 = 1.10;
/// The time of a lone request, against nginx, plain and with what it can do of our duties.
const LATENCY_RATIO: f64 = 1.0;
/// The slowest hundredth under load, all that goes and half of what the yardstick can do, against the same two.
const TAIL_RATIO: f64 = 1.2;

const DIRECT: &str = "direct";

/// Figures of one target, over all rounds.
struct Row {
    target: Target,
    loaded: Vec<Run>,
    half: Vec<Run>,
    alone: Vec<Run>,
}

impl Row {
    fn new(target: Target) -> Self {
        Self { target, loaded: Vec::new(), half: Vec::new(), alone: Vec::new() }
    }

    fn cpu(&self) -> f64 {
        median(self.loaded.iter().map(|run| run.cpu))
    }

    /// The mean: `wrk` tells whole microseconds, and gateways differ by less.
    fn p50(&self) -> f64 {
        mean(self.alone.iter().map(|run| run.p50))
    }

    /// The mean: with more threads than cores a round's slowest hundredth waits for one tick of the kernel's clock (4 ms) or for
    /// none, whoever the gateway is, and a median shows which of the two came more often.
    fn tail(&self) -> f64 {
        mean(self.loaded.iter().map(|run| run.p99))
    }

    fn tail_at_half(&self) -> f64 {
        mean(self.half.iter().map(|run| run.p99))
    }

    fn failed(&self) -> f64 {
        self.loaded.iter().chain(&self.half).chain(&self.alone).map(|run| run.failed).sum()
    }
}

pub(super) fn measure(bench: &Bench<'_>) -> Result<Vec<Section>> {
    let options = bench.options;
    let (gateway, account) = bench.gateway("proxies")?;
    let (routes, notes) = bench.routes(&gateway, &account)?;
    let (peers, absent) = peers::start_all(&bench.folder.0, bench.upstream.address)?;

    // The path of the typed route's call at the upstream: the same page for everyone.
    let path = "/v1/projects/01976f3a-0000-7000-8000-000000000000/sites";
    let direct = Target {
        name: DIRECT.to_owned(),
        url: format!("http://{}{path}", bench.upstream.address),
        process: bench.upstream.process(),
        headers: Vec::new(),
        note: "the upstream itself",
    };
    let note =
        |route: &Route| if route.proxied { "key looked up, limits, trace, metrics, access log" } else { "no upstream" };
    let ours = routes
        .iter()
        .map(|route| (*route, gateway.at(route, &format!("ogeld, {}", route.name), &account, note(route))));
    let ours: Vec<_> = ours.collect();
    let others = std::iter::once(direct).chain(peers.iter().map(|peer| peer.target(path)));
    let mut rows: Vec<Row> = others.chain(ours.iter().map(|(_, target)| target.clone())).map(Row::new).collect();
    let mut half = f64::NAN;
    for row in &rows {
        let run = row.target.wrk(CONNECTIONS, 1, None)?;
        if row.target.name == YARDSTICK {
            half = (run.rate / 2e3).round() * 1e3;
        }
    }
    let log = bench.folder.0.join("paced.log");
    for _ in 0..options.rounds {
        for row in &mut rows {
            row.loaded.push(row.target.wrk(CONNECTIONS, options.seconds, None)?);
            row.half.push(row.target.paced(half, options.seconds, &log)?);
            row.alone.push(row.target.wrk(1, options.size(2, 1), None)?);
        }
    }

    let find = |name: &str| rows.iter().find(|row| row.target.name == name);
    let of = |name: &str, what: fn(&Row) -> f64| find(name).map_or(f64::NAN, what);
    let yardstick = of(YARDSTICK, Row::cpu);
    let mut section = Section::new(
        format!("Through the gateway, {CONNECTIONS} connections"),
        &[
            "gateway",
            "requests/s",
            "CPU µs/request",
            "CPU / nginx+limit",
            "p50 µs alone",
            "p99 µs alone",
            "p99 ms loaded",
            "p99 ms at half",
            "RSS MiB",
            "failed",
            "does",
        ],
    );
    for row in &rows {
        section.row([
            row.target.name.clone(),
            figure(median(row.loaded.iter().map(|run| run.rate)).round()),
            figure(row.cpu()),
            figure(row.cpu() / yardstick),
            figure(row.p50()),
            figure(median(row.alone.iter().map(|run| run.p99))),
            figure(row.tail() / 1000.0),
            figure(row.tail_at_half() / 1000.0),
            figure(row.target.process.peak()),
            figure(row.failed()),
            row.target.note.to_owned(),
        ]);
    }
    for (route, target) in ours.iter().filter(|(route, _)| route.proxied) {
        let Some(row) = find(&target.name) else { continue };
        let name = route.name;
        section.at_most(&format!("{name}: CPU per request / nginx+limit"), row.cpu() / yardstick, CPU_RATIO, "");
        for peer in [YARDSTICK, PLAIN] {
            let time = row.p50() / of(peer, Row::p50);
            section.at_most(&format!("{name}: p50 at one connection / {peer}"), time, LATENCY_RATIO, "");
            let tail = row.tail() / of(peer, Row::tail);
            section.at_most(&format!("{name}: p99 under load / {peer}"), tail, TAIL_RATIO, "");
            let tail = row.tail_at_half() / of(peer, Row::tail_at_half);
            section.at_most(&format!("{name}: p99 at half load / {peer}"), tail, TAIL_RATIO, "");
        }
        section.at_most(&format!("{name}: failed requests"), row.failed(), 0.0, "");
    }
    notes.into_iter().for_each(|note| section.note(note));
    section.note("one key for every request: what a connection or a thread remembers of a caller is always there");
    section.note("typed, kept: a page of sites that was asked for before, so the upstream is not asked");
    section.note("typed, asked: the same page, asked of the upstream for every request, read, and written anew");
    for (route, target) in ours.iter().filter(|(route, _)| route.proxied) {
        let mut strangers = target.headers.clone();
        strangers[0] = "Authorization: Bearer ogel_nobody".to_owned();
        let path = route.path(&account.project);
        let (status, _) = gateway.connect()?.call("GET", &path, &strangers, &[])?;
        if status < 400 {
            section.note(format!(
                "{}: a wrong key is passed on for the upstream to refuse, not refused here",
                target.name
            ));
        }
    }
    if !absent.is_empty() {
        section.note(format!("not measured, because not here: {}", absent.join(", ")));
    }
    section.note("p50 alone, p99 loaded and at half are means of the rounds, everything else medians");
    section.note(format!(
        "loaded: as fast as it goes. At half: {half} requests/s for everyone, half of what {YARDSTICK} can do, sent in small bursts by h2load"
    ));
    section.note("RSS is the most so far; of the rows of ogeld it is one process's");
    Ok(vec![section])
}
