//! What it costs to know who calls, by kind of credential, remembered and not; how often Ghost is asked for a token; and what
//! logins take from requests that are only passed on.
//!
//! One connection, one request after the other: what counts is the gateway's own processor time. `identity/` has a file for
//! each: ours, Studio's, the tokens of Ghost's, and logins.

mod logins;
mod mints;
mod ours;
mod studio;

use super::gateway::Gateway;
use super::load::median;
use super::report::{Section, figure};
use super::{Bench, Result};
use crate::http::Connection;

/// What is called: an answer of our own, to anybody.
const PATH: &str = "/api/v2/version";
/// People who call.
const CALLERS: usize = 50;
/// µs of processor time that a remembered credential may cost more than none: to find it, and for each KiB of it, which is parsed and
/// hashed.
const REMEMBERED: (f64, f64) = (15.0, 5.0);
/// And one that is seen for the first time, whose person is looked up in a database within the process.
const FIRST_SEEN: f64 = 1_500.0;

/// A kind of credential, and header lines that carry different ones of it: the first for being remembered, each of the others for
/// being seen once. The people behind them have accounts already.
struct Kind {
    name: &'static str,
    lines: Vec<String>,
}

pub(super) fn measure(bench: &Bench<'_>) -> Result<Vec<Section>> {
    let cold = bench.options.size(500, 60);
    let folder = bench.folder.0.join("studio-packages");
    studio::install(&folder)?;
    let gateway = studio::tokens_plan(bench).start("identity", &[])?;
    let by_rows = studio::rows_gateway(bench, cold + 1)?;
    let mut ours = ours::kinds(&gateway, cold + 1)?;
    let mut costs = Costs::begin(bench, &gateway)?;
    for kind in ours.drain(..) {
        costs.of(&gateway, &kind)?;
    }
    for kind in studio::token_kinds(&gateway, &folder, cold + 1)? {
        costs.of(&gateway, &kind)?;
    }
    costs.of(&by_rows, &studio::row_kind(&by_rows, cold + 1)?)?;
    costs.section.note("first seen: each credential once, of 50 people in turn, so each is looked up, in SQLite");
    let mints = mints::measure(bench, &gateway, &folder)?;
    let logins = logins::measure(bench)?;
    Ok(vec![costs.section, mints, logins])
}

/// What people send who call, for `cargo xtask release`; nobody's session of Studio's, so that no package of Studio's is needed.
pub(super) fn train(bench: &Bench<'_>) -> Result {
    let gateway = studio::tokens_plan(bench).start("identity", &[])?;
    let mut kinds = ours::kinds(&gateway, CALLERS)?;
    kinds.push(studio::unreadable_kind());
    for kind in kinds {
        cpu_of(&gateway, &mut gateway.connect()?, &kind.lines, bench.options.size(20_000, 3_000))?;
    }
    logins::measure(bench).map(drop)
}

/// The table of costs.
struct Costs {
    section: Section,
    /// Of a request without a credential.
    nobody: f64,
    hot: usize,
    rounds: usize,
}

impl Costs {
    fn begin(bench: &Bench<'_>, gateway: &Gateway) -> Result<Self> {
        let section = Section::new(
            format!("Knowing who calls: `GET {PATH}`, CPU µs/request"),
            &["credential", "remembered", "more than none", "first seen", "more than none"],
        );
        let hot = bench.options.size(20_000, 3_000);
        let mut costs = Self { section, nobody: 0.0, hot, rounds: bench.options.rounds };
        costs.nobody = costs.remembered(gateway, &[])?;
        costs.section.row(["none".to_owned(), figure(costs.nobody), String::new(), String::new(), String::new()]);
        Ok(costs)
    }

    fn of(&mut self, gateway: &Gateway, kind: &Kind) -> Result {
        let [first, others @ ..] = &kind.lines[..] else { return Err(format!("there is no {}", kind.name)) };
        // Once each, so one round is all there is.
        let first_seen = cpu_of(gateway, &mut gateway.connect()?, others, others.len())? - self.nobody;
        let remembered = self.remembered(gateway, std::slice::from_ref(first))? - self.nobody;
        self.section.row([
            kind.name.to_owned(),
            figure(remembered + self.nobody),
            figure(remembered),
            figure(first_seen + self.nobody),
            figure(first_seen),
        ]);
        let limit = REMEMBERED.0 + REMEMBERED.1 * (first.len() / 1024) as f64;
        self.section.at_most(&format!("{}, remembered, more than none", kind.name), remembered, limit, "µs");
        self.section.at_most(&format!("{}, first seen, more than none", kind.name), first_seen, FIRST_SEEN, "µs");
        Ok(())
    }

    fn remembered(&self, gateway: &Gateway, lines: &[String]) -> Result<f64> {
        let mut connection = gateway.connect()?;
        // The first request is the one that is not remembered.
        cpu_of(gateway, &mut connection, lines, 1)?;
        let rounds: Result<Vec<f64>> =
            (0..self.rounds).map(|_| cpu_of(gateway, &mut connection, lines, self.hot)).collect();
        Ok(median(rounds?))
    }
}

/// CPU µs per request, each line in turn.
fn cpu_of(gateway: &Gateway, connection: &mut Connection, lines: &[String], count: usize) -> Result<f64> {
    let process = &gateway.service.process;
    let before = process.cpu_seconds();
    for n in 0..count {
        let line = if lines.is_empty() { &[] } else { std::slice::from_ref(&lines[n % lines.len()]) };
        let (status, _) = connection.call("GET", PATH, line, &[])?;
        if status != 200 {
            return Err(format!("`{PATH}` answered {status}"));
        }
    }
    Ok((process.cpu_seconds() - before) * 1e6 / count as f64)
}
