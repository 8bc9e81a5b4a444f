//! `kill -9` of a replica at random points of create.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use super::Chaos;
use super::clients::{Creates, all_ended, at_ghost, listed, repository};
use super::report::Outcome;
use crate::Result;
use crate::cluster::eventually;

const THREADS: usize = 10;
/// Creates a second, all threads together.
const RATE: f64 = 20.0;

pub(super) fn run(chaos: &Chaos<'_>) -> Result<Outcome> {
    let kills = chaos.many(200, 8);
    let mut cluster = chaos.cluster(&[])?;
    let account = cluster.sign_up("kills")?;
    let repository = repository(&cluster.folder.0, "page", &[("index.html", "<h1>up</h1>")])?;
    let mut random = chaos.random();
    let (over, next, creates) = (AtomicBool::new(false), AtomicUsize::new(0), Creates::default());
    let (address, account_there) = ([cluster.address], account.clone());
    let failed = std::thread::scope(|scope| -> Result<usize> {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let started = Instant::now();
                    let key = format!("kill-{}", next.fetch_add(1, Ordering::Relaxed));
                    creates.create(&address, &account_there, &repository, &key, &json!({}));
                    let each = Duration::from_secs_f64(THREADS as f64 / RATE);
                    std::thread::sleep(each.saturating_sub(started.elapsed()));
                }
            });
        }
        let mut killing = || -> Result<usize> {
            for _ in 0..kills {
                // Anywhere within the some ten milliseconds that a create takes, and the pauses between them.
                std::thread::sleep(random.pause(150, 700));
                let victim = random.below(cluster.replicas.len());
                cluster.replicas[victim].kill()?;
                cluster.replicas[victim].start_again()?;
            }
            Ok(kills)
        };
        let outcome = killing();
        over.store(true, Ordering::Relaxed);
        outcome
    });
    failed?;
    // Every client has its answer now. What is on its way to Ghost gets there by itself.
    let rows = listed(&cluster, &account)?;
    let there = eventually(Duration::from_secs(120), "Ghost to have every deployment", || {
        let there = at_ghost(&cluster, &account.project)?;
        if there.len() >= rows.len() { Ok(Some(there)) } else { Err(format!("{} of {}", there.len(), rows.len())) }
    })
    .or_else(|_| at_ghost(&cluster, &account.project))?;
    let ended = all_ended(&cluster, &account, Duration::from_secs(900))?;

    let acknowledged = creates.ids();
    let known: std::collections::BTreeSet<&str> = rows.iter().filter_map(|row| row["id"].as_str()).collect();
    let lost = acknowledged.iter().filter(|id| !known.contains(id.as_str())).count();
    let mut outcome = Outcome::new("`kill -9` of a replica at random points of create", "20 creates/s");
    outcome.note(format!("{kills} kills, {} creates, {} tries repeated", creates.count(), creates.repeated()));
    outcome.none("lost", lost);
    outcome.none("doubled in the record", known.len().saturating_sub(creates.count()));
    outcome.none("doubled at Ghost", there.len().saturating_sub(creates.count()));
    outcome.none("never at Ghost", rows.len().saturating_sub(there.len()));
    outcome.none("clients without an answer that settles", creates.unsettled().len());
    let wrong = ended.iter().filter(|row| row["status"] != "success").count();
    outcome.none("ended otherwise than `success`", wrong);
    for sentence in creates.unsettled().iter().take(3) {
        println!("  {sentence}");
    }
    Ok(outcome)
}
