//! PostgreSQL dies, comes back, and has no connection left, while people read and create.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::json;

use super::Chaos;
use super::clients::{Creates, at_ghost, listed, repository};
use super::redis::{paths, read};
use super::report::Outcome;
use crate::Result;
use crate::cluster::{Account, Cluster, eventually};
use crate::http::Connection;

pub(super) fn run(chaos: &Chaos<'_>) -> Result<Outcome> {
    let rounds = chaos.many(20, 2);
    let mut cluster = chaos.cluster(&[])?;
    let account = cluster.sign_up("postgres")?;
    let page = repository(&cluster.folder.0, "page", &[("index.html", "<h1>up</h1>")])?;
    let (over, next, reads, wrong) =
        (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    let creates = Creates::default();
    let address = cluster.address;
    let slowest = std::thread::scope(|scope| -> Result<Duration> {
        for _ in 0..4 {
            let (over, next, creates, account, page) = (&over, &next, &creates, &account, &page);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let key = format!("postgres-{}", next.fetch_add(1, Ordering::Relaxed));
                    creates.create(&[address], account, page, &key, &json!({}));
                    sleep(Duration::from_millis(500));
                }
            });
        }
        for thread in 0..4 {
            let (over, reads, wrong, account) = (&over, &reads, &wrong, &account);
            scope.spawn(move || {
                let (paths, mut connection) = (paths(account), None);
                for number in thread.. {
                    if over.load(Ordering::Relaxed) {
                        return;
                    }
                    // 503 is an honest answer while there is no database; 401, 403, 404 and 500 are lies.
                    match read(&mut connection, address, &paths[number % paths.len()], account) {
                        Ok(_) => {}
                        Err(sentence) if sentence.contains(": 503 ") || sentence.contains(": 504 ") => {}
                        Err(sentence) => {
                            wrong.fetch_add(1, Ordering::Relaxed);
                            println!("  {sentence}");
                        }
                    }
                    reads.fetch_add(1, Ordering::Relaxed);
                    sleep(Duration::from_millis(10));
                }
            });
        }
        let trouble = trouble(&mut cluster, &account, rounds);
        over.store(true, Ordering::Relaxed);
        trouble
    })?;
    let rows = listed(&cluster, &account)?;
    let lost = creates.ids().iter().filter(|id| !rows.iter().any(|row| row["id"] == id.as_str())).count();
    let there = eventually(Duration::from_secs(120), "Ghost to have every deployment", || {
        let there = at_ghost(&cluster, &account.project)?;
        Ok((there.len() >= rows.len()).then_some(there))
    })?;
    let mut outcome =
        Outcome::new("PostgreSQL killed, restarted, every connection taken", "mixed: 4 readers, 8 creates/s");
    outcome.note(format!(
        "{rounds} crashes, {rounds} times no connection; {} creates ({} tries repeated), {} reads",
        creates.count(),
        creates.repeated(),
        reads.into_inner()
    ));
    outcome.none("acknowledged creates lost", lost);
    outcome.none("doubled", rows.len().saturating_sub(creates.count()) + there.len().saturating_sub(creates.count()));
    outcome.none("clients without an answer that settles", creates.unsettled().len());
    outcome.none("answers that are neither right nor 503/504", wrong.into_inner());
    outcome.at_most("slowest recovery, s", slowest.as_secs_f64(), 5.0);
    creates.unsettled().iter().take(3).for_each(|sentence| println!("  {sentence}"));
    Ok(outcome)
}

/// Breaks the database so often; answers with the longest time until every replica read from it again.
fn trouble(cluster: &mut Cluster, account: &Account, rounds: usize) -> Result<Duration> {
    let mut slowest = Duration::ZERO;
    for _ in 0..rounds {
        cluster.postgres.crash()?;
        sleep(Duration::from_secs(2));
        cluster.postgres.start_again()?;
        slowest = slowest.max(recovery(cluster, account)?);
        sleep(Duration::from_secs(1));
        let taken = take_every_connection(cluster.postgres.address);
        sleep(Duration::from_secs(3));
        drop(taken);
        slowest = slowest.max(recovery(cluster, account)?);
        sleep(Duration::from_secs(1));
    }
    Ok(slowest)
}

fn recovery(cluster: &Cluster, account: &Account) -> Result<Duration> {
    let started = Instant::now();
    for replica in &cluster.replicas {
        eventually(Duration::from_secs(60), "a replica to reach the database again", || {
            let mut connection = Connection::open(replica.address)?;
            // Made anew each time, so that no memory can answer it.
            let body = json!({ "name": "after" }).to_string();
            let (status, _) =
                connection.call("POST", "/api/v2/projects", std::slice::from_ref(&account.key), body.as_bytes())?;
            Ok((status == 201).then_some(()))
        })?;
    }
    Ok(started.elapsed())
}

/// Logs in at PostgreSQL until it takes nobody any more. Trusted by address, so a greeting is enough.
fn take_every_connection(address: SocketAddr) -> Vec<TcpStream> {
    let parameters = b"user\0ogel\0database\0postgres\0\0";
    let length = u32::try_from(8 + parameters.len()).unwrap_or(0);
    let greeting = [&length.to_be_bytes()[..], &196_608u32.to_be_bytes()[..], parameters].concat();
    let mut taken = Vec::new();
    while taken.len() < 400 {
        let Ok(mut stream) = TcpStream::connect(address) else { break };
        let mut first = [0; 1];
        let answered = stream.write_all(&greeting).and_then(|()| stream.read_exact(&mut first));
        // `R` lets us in, `E` does not.
        if answered.is_err() || first != *b"R" {
            break;
        }
        taken.push(stream);
    }
    taken
}
