//! Ghost lies: errors, stalls, answers that break off or never come, webhooks lost, doubled and swapped.

use std::time::Duration;

use serde_json::{Value, json};

use super::Chaos;
use super::clients::{Creates, all_ended, at_ghost, faults, repository};
use super::report::Outcome;
use crate::Result;
use crate::cluster::Cluster;

/// What is asked of Ghost, and its name.
fn trouble(chaos: &Chaos<'_>) -> Vec<(&'static str, Value)> {
    let calls = |count: u32, action: Value| json!({ "calls": [{ "count": count, "pathPrefix": "/v1/projects", "action": action }] });
    let posts = |count: u32, action: Value| json!({ "calls": [{ "count": count, "method": "POST", "pathPrefix": "/v1/projects", "action": action }] });
    let mut list = vec![
        ("500 and 503", calls(40, json!({ "status": 503 }))),
        ("connections reset", calls(40, json!("dropConnection"))),
        ("accepted, but no answer", posts(25, json!("dropAnswer"))),
        ("answers cut in the middle", calls(40, json!("cutAnswer"))),
        ("webhooks lost", json!({ "dropWebhooks": 1000, "dropRealtimeSockets": true })),
        ("webhooks doubled", json!({ "duplicateWebhooks": 1000 })),
        ("webhooks swapped", json!({ "swapWebhooks": 1000 })),
    ];
    if !chaos.quick {
        list.push(("silent for 30 s (SIGSTOP)", Value::Null));
    }
    list
}

pub(super) fn run(chaos: &Chaos<'_>) -> Result<Outcome> {
    let creates_each = chaos.many(50, 10);
    let cluster = chaos.cluster(&[])?;
    let good = repository(&cluster.folder.0, "good", &[("index.html", "<h1>up</h1>")])?;
    let bad = repository(&cluster.folder.0, "bad", &[("build.sh", "echo no; exit 3")])?;
    let mut outcome = Outcome::new(
        "Ghost: 500s, stalls, resets, answers cut or lost, webhooks lost, doubled, swapped",
        format!("{creates_each} creates each"),
    );
    let (mut wrong, mut doubled, mut unsettled) = (0, 0, 0);
    for (number, (name, asked)) in trouble(chaos).into_iter().enumerate() {
        let account = cluster.sign_up(&format!("ghost-{number}"))?;
        let creates = Creates::default();
        let stopped = stop_for_a_while(&cluster, &asked)?;
        std::thread::scope(|scope| {
            let ghost = cluster.ghost.as_ref().map(|ghost| ghost.process);
            if let (Some(length), Some(ghost)) = (stopped, ghost) {
                scope.spawn(move || {
                    std::thread::sleep(length);
                    if let Err(error) = ghost.signal("CONT") {
                        eprintln!("warning: Ghost stays silent: {error}");
                    }
                });
            }
            for thread in 0..5 {
                let (creates, account, cluster, good, bad) = (&creates, &account, &cluster, &good, &bad);
                scope.spawn(move || {
                    for number in (thread..creates_each).step_by(5) {
                        let key = format!("ghost-{number}");
                        // One in five must fail, so that "success" is not simply what everything ends with.
                        let (repository, extra) = match number % 5 {
                            0 => (bad, json!({ "buildCommand": "sh build.sh", "outputDirectory": "." })),
                            _ => (good, json!({})),
                        };
                        creates.create(&[cluster.address], account, repository, &key, &extra);
                    }
                });
            }
        });
        let rows = all_ended(&cluster, &account, Duration::from_secs(600))?;
        faults(&cluster, &json!({ "clear": true }))?;
        let failed = rows.iter().filter(|row| row["status"] == "failed").count();
        let success = rows.iter().filter(|row| row["status"] == "success").count();
        let must_fail = creates_each.div_ceil(5);
        let there = at_ghost(&cluster, &account.project)?.len();
        let off = failed.abs_diff(must_fail) + success.abs_diff(creates_each - must_fail);
        outcome.note(format!("{name}: {success} success, {failed} failed, {} tries repeated", creates.repeated()));
        wrong += off;
        doubled += there.saturating_sub(creates_each) + rows.len().saturating_sub(creates_each);
        unsettled += creates.unsettled().len();
        creates.unsettled().iter().take(2).for_each(|sentence| println!("  {name}: {sentence}"));
    }
    outcome.none("in the wrong end state, or none", wrong);
    outcome.none("doubled", doubled);
    outcome.none("clients without an answer that settles", unsettled);
    Ok(outcome)
}

/// Asks for faults, or halts Ghost altogether where nothing is asked for; answers with how long.
fn stop_for_a_while(cluster: &Cluster, asked: &Value) -> Result<Option<Duration>> {
    if !asked.is_null() {
        faults(cluster, asked)?;
        return Ok(None);
    }
    cluster.ghost.as_ref().ok_or("Ghost does not run")?.process.signal("STOP")?;
    Ok(Some(Duration::from_secs(30)))
}
