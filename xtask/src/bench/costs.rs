//! What each feature costs: the same load on gateways that differ in one setting. One row in [`SWITCHES`] is one feature.
//!
//! Time per request differs from process to process by more than most features cost, and a release is built for all of them;
//! instructions are the same in every run.

use super::allocations::instructions;
use super::gateway::Plan;
use super::load::{CONNECTIONS, Target, median};
use super::report::{Section, figure};
use super::{Bench, Result, main_route};

/// No feature may cost more than this share of a request.
const SHARE: f64 = 0.15;

/// A feature, and how it is switched off.
struct Switch {
    feature: &'static str,
    off: fn(&mut Plan),
    /// Whether the load comes without a key.
    anonymous: bool,
}

const SWITCHES: &[Switch] = &[
    Switch { feature: "access log", off: |plan| plan.text("log.access", "off"), anonymous: false },
    Switch { feature: "Server-Timing", off: |plan| plan.set("server.server_timing", "false"), anonymous: false },
    Switch { feature: "limits", off: |plan| plan.limits(0), anonymous: false },
    Switch { feature: "API key", off: |_| {}, anonymous: true },
];

pub(super) fn measure(bench: &Bench<'_>) -> Result<Vec<Section>> {
    let whole = bench.plan("costs");
    let base = whole.start("everything", &[])?;
    let account = base.sign_up()?;
    let (routes, _) = bench.routes(&base, &account)?;
    let route = main_route(&routes)?;
    let path = route.path(&account.project);

    let mut notes = Vec::new();
    // They share one database: the account and its key are in it.
    let mut gateways = vec![base];
    let mut targets: Vec<(&str, Target, Plan)> =
        vec![("everything", gateways[0].target("everything", &path, &account, ""), whole.clone())];
    for switch in SWITCHES {
        let mut plan = whole.clone();
        (switch.off)(&mut plan);
        let gateway = plan.start(switch.feature, &[])?;
        let mut target = gateway.target(switch.feature, &path, &account, "");
        if switch.anonymous {
            target.headers.clear();
        }
        let probe = gateway.connect()?.call("GET", &path, &target.headers, &[])?;
        if (200..300).contains(&probe.0) {
            targets.push((switch.feature, target, plan));
        } else {
            notes.push(format!("not measured: {}; the route needs it", switch.feature));
        }
        gateways.push(gateway);
    }
    let mut cpu: Vec<Vec<f64>> = targets.iter().map(|_| Vec::new()).collect();
    for (_, target, _) in &targets {
        target.wrk(CONNECTIONS, 1, None)?;
    }
    for _ in 0..bench.options.rounds {
        for (figures, (_, target, _)) in cpu.iter_mut().zip(&targets) {
            figures.push(target.wrk(CONNECTIONS, bench.options.seconds, None)?.cpu);
        }
    }

    // Valgrind's slow program is to have the machine, and the database, for itself.
    drop(gateways);
    let names: Vec<&str> = targets.iter().map(|(name, ..)| *name).collect();
    let counted: Result<Vec<f64>> =
        targets.into_iter().map(|(_, target, plan)| instructions(bench, plan, &path, &target.headers)).collect();
    let counted = counted?;

    let whole = median(cpu[0].iter().copied());
    let mut section = Section::new(
        format!("What a feature costs: {}", route.title()),
        &["without", "CPU µs/request", "difference", "instructions/request", "difference"],
    );
    section.row(["–".to_owned(), figure(whole), String::new(), figure(counted[0]), String::new()]);
    for (at, feature) in names.iter().enumerate().skip(1) {
        // Round by round, because a drifting machine drifts for both.
        let saved = median(cpu[at].iter().zip(&cpu[0]).map(|(without, with)| with - without));
        let counts = [figure(counted[at]), figure(counted[at] - counted[0])];
        let times = [figure(median(cpu[at].iter().copied())), figure(-saved)];
        section.row([vec![(*feature).to_owned()], times.to_vec(), counts.to_vec()].concat());
        section.at_most(&format!("{feature}: share of a request's CPU"), saved / whole, SHARE, "");
        let share = (counted[0] - counted[at]) / counted[0];
        section.at_most(&format!("{feature}: share of a request's instructions"), share, SHARE, "");
    }
    notes.into_iter().for_each(|note| section.note(note));
    Ok(vec![section])
}
