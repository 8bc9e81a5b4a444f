//! Half of the load that it could take, for a long time, while connections come and go: does memory stay where it is?

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use super::load::{CONNECTIONS, Target};
use super::report::{Section, figure};
use super::{Bench, Result, main_route};
use crate::http::Connection;

/// MiB, from a tenth of the time, when everything that is kept is there, to after idling.
const GROWTH_MIB: f64 = 4.0;
/// New connections a second besides those of the load, each for one request.
const CHURN: u64 = 50;

/// How long the connections of the load live.
const STRETCH_SECONDS: f64 = 5.0;
/// When it is named without a length.
const UNASKED_MINUTES: u64 = 10;

pub(super) fn measure(bench: &Bench<'_>) -> Result<Vec<Section>> {
    let minutes = bench.options.soak_minutes.unwrap_or(UNASKED_MINUTES);
    let (gateway, account) = bench.gateway("soak")?;
    let (routes, _) = bench.routes(&gateway, &account)?;
    let route = main_route(&routes)?;
    let path = route.path(&account.project);
    let target: Target = gateway.target("ogeld", &path, &account, "");
    let (most, process) = (target.wrk(CONNECTIONS, 2, None)?, target.process);
    let each = (most.rate / 2.0 / f64::from(CONNECTIONS)).max(1.0).round();
    // By count, not by time: with a rate and a time h2load sometimes ends without having sent anything.
    let count = each * f64::from(CONNECTIONS) * STRETCH_SECONDS;
    let arguments = ["--h1".to_owned(), format!("-c{CONNECTIONS}"), format!("-n{count}"), format!("--rps={each}")];

    let length = Duration::from_secs(minutes * 60);
    let (started, start, over) = (Instant::now(), process.rss(), AtomicBool::new(false));
    let mut samples = Vec::new();
    let mut failed = 0.0;
    let headers = [account.key.clone(), "Connection: close".to_owned()];
    let refused = scope(|scope| -> Result<u64> {
        let churn = scope.spawn(|| {
            let mut refused = 0;
            while !over.load(Ordering::Relaxed) {
                let answer =
                    Connection::open(gateway.address).and_then(|mut one| one.call("GET", &path, &headers, &[]));
                refused += u64::from(!answer.is_ok_and(|(status, _)| (200..300).contains(&status)));
                sleep(Duration::from_millis(1000 / CHURN));
            }
            refused
        });
        // A stretch at a time, each with connections of its own.
        let outcome = (|| {
            while started.elapsed() < length {
                failed += target.h2load(&arguments)?.failed;
                samples.push((started.elapsed(), process.rss()));
            }
            Ok(())
        })();
        over.store(true, Ordering::Relaxed);
        let refused = churn.join().map_err(|_| "the churn panicked".to_owned())?;
        outcome.map(|()| refused)
    })?;
    let tenth = samples.iter().find(|(at, _)| *at >= length / 10).map_or(f64::NAN, |(_, rss)| *rss);
    let end = samples.last().map_or(f64::NAN, |(_, rss)| *rss);
    sleep(Duration::from_secs(bench.options.size(60, 5)));
    let idle = process.rss();

    let mut section = Section::new(
        format!("Soak: {minutes} min at half load, {CHURN} more connections a second: {}", route.title()),
        &["requests/s", "RSS at the start, MiB", "after a tenth", "at the end", "after idling", "failed"],
    );
    let failed = failed + refused as f64;
    let cells = [each * f64::from(CONNECTIONS), start, tenth, end, idle, failed];
    section.row(cells.map(figure));
    section.at_most("growth from a tenth to after idling", idle - tenth, GROWTH_MIB, "MiB");
    section.at_most("failed requests", failed, 0.0, "");
    Ok(vec![section])
}
