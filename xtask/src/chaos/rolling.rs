//! Three replicas are restarted one after the other under load, with a hundred people watching a build.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::json;

use super::Chaos;
use super::clients::{repository, settle};
use super::redis::{paths, read};
use super::report::Outcome;
use crate::Result;
use crate::cluster::Account;
use crate::http::{Connection, text};

const VIEWERS: usize = 100;

pub(super) fn run(chaos: &Chaos<'_>) -> Result<Outcome> {
    let rounds = chaos.many(4, 1);
    let lines = 30 * rounds * 10;
    let mut cluster = chaos.cluster(&[])?;
    let account = cluster.sign_up("rolling")?;
    let script = format!(
        "i=0; while [ $i -lt {lines} ]; do i=$((i+1)); echo line $i; sleep 0.1; done; mkdir out; echo up > out/index.html\n"
    );
    let page = repository(&cluster.folder.0, "slow", &[("build.sh", &script)])?;
    let body = json!({ "projectId": account.project, "repoUrl": page, "branch": "main",
        "buildCommand": "sh build.sh", "outputDirectory": "out" });
    let deployment =
        settle(&[cluster.address], "POST", "/api/v2/deployments", std::slice::from_ref(&account.key), Some(&body))?;
    let build = text(&deployment.body, "/buildId")?.to_owned();
    let address = cluster.address;
    let (over, requests, failed) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let (watched, restarted) = std::thread::scope(|scope| {
        let viewers: Vec<_> = (0..VIEWERS)
            .map(|_| {
                let (account, build) = (&account, &build);
                scope.spawn(move || watch(address, account, build))
            })
            .collect();
        for thread in 0..6 {
            let (over, requests, failed, account) = (&over, &requests, &failed, &account);
            scope.spawn(move || {
                let (paths, mut connection) = (paths(account), None);
                for number in thread.. {
                    if over.load(Ordering::Relaxed) {
                        return;
                    }
                    // Once, as somebody without patience: a retry would hide what a restart costs.
                    let outcome = if number % 10 == 9 {
                        create_project(&mut connection, address, account)
                    } else {
                        read(&mut connection, address, &paths[number % paths.len()], account).map(drop)
                    };
                    if let Err(sentence) = outcome {
                        failed.fetch_add(1, Ordering::Relaxed);
                        println!("  {sentence}");
                    }
                    requests.fetch_add(1, Ordering::Relaxed);
                    sleep(Duration::from_millis(10));
                }
            });
        }
        let mut restart = || -> Result {
            for _ in 0..rounds {
                for replica in &mut cluster.replicas {
                    sleep(Duration::from_secs(2));
                    replica.stop();
                    replica.start_again()?;
                }
            }
            Ok(())
        };
        let restarted = restart();
        over.store(true, Ordering::Relaxed);
        let watched: Vec<Result<Watched>> = viewers
            .into_iter()
            .map(|viewer| viewer.join().unwrap_or_else(|_| Err("a viewer panicked".to_owned())))
            .collect();
        (watched, restarted)
    });
    restarted?;
    let most = watched.iter().flatten().map(|seen| seen.last).max().unwrap_or(0);
    let (mut lost, mut repeated, mut reconnected, mut broken) = (0, 0, 0, 0);
    for seen in &watched {
        match seen {
            Ok(seen) => {
                lost += usize::try_from(most).unwrap_or(0).saturating_sub(seen.lines);
                repeated += seen.repeated;
                reconnected += seen.connections - 1;
            }
            Err(sentence) => {
                broken += 1;
                println!("  {sentence}");
            }
        }
    }
    let mut outcome = Outcome::new("rolling restart of 3 replicas", "mixed + 100 log streams");
    outcome.note(format!(
        "{} restarts, {} requests without retries, {VIEWERS} streams of {most} lines, resumed {reconnected} times",
        rounds * 3,
        requests.into_inner()
    ));
    outcome.none("failed requests", failed.into_inner());
    outcome.none("lines lost", lost);
    outcome.none("lines repeated", repeated);
    outcome.none("streams that broke for good", broken + usize::from(most < u64::try_from(lines).unwrap_or(0)));
    Ok(outcome)
}

fn create_project(connection: &mut Option<Connection>, address: SocketAddr, account: &Account) -> Result {
    let mut open = match connection.take() {
        Some(open) => open,
        None => Connection::open_within(address, Duration::from_secs(30))?,
    };
    let (status, body) = open.call(
        "POST",
        "/api/v2/projects",
        std::slice::from_ref(&account.key),
        json!({ "name": "rolling" }).to_string().as_bytes(),
    )?;
    if status != 201 {
        return Err(format!("POST /api/v2/projects: {status} {}", String::from_utf8_lossy(&body)));
    }
    *connection = Some(open);
    Ok(())
}

/// What one viewer saw.
struct Watched {
    lines: usize,
    last: u64,
    repeated: usize,
    connections: usize,
}

/// Follows the log to its end, resuming at the last line seen as a browser does.
fn watch(address: SocketAddr, account: &Account, build: &str) -> Result<Watched> {
    let started = Instant::now();
    let mut seen = Watched { lines: 0, last: 0, repeated: 0, connections: 0 };
    loop {
        seen.connections += 1;
        if follow(address, account, build, &mut seen).unwrap_or(false) {
            return Ok(seen);
        }
        if started.elapsed() > Duration::from_secs(600) {
            return Err(format!(
                "a stream had not ended after {} s, at line {}",
                started.elapsed().as_secs(),
                seen.last
            ));
        }
        sleep(Duration::from_millis(200));
    }
}

/// One connection; whether the log came to its end on it.
fn follow(address: SocketAddr, account: &Account, build: &str, seen: &mut Watched) -> Result<bool> {
    let mut connection = Connection::open(address)?;
    let headers =
        [account.key.clone(), "Accept: text/event-stream".to_owned(), format!("Last-Event-ID: {}", seen.last)];
    let head = connection.send("GET", &format!("/api/v2/builds/{build}/logs"), &headers, &[])?;
    let (mut text, mut is_over, mut wrong) = (Vec::new(), false, None);
    // The balancer cuts chunks where it likes, so lines are put together again.
    let came = connection.body(&head, |piece| {
        text.extend_from_slice(piece);
        while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = text.drain(..=end).collect();
            match String::from_utf8_lossy(&line).trim_end().split_once(": ") {
                Some(("id", number)) => match number.parse::<u64>() {
                    Ok(number) if number > seen.last => {
                        seen.lines += 1;
                        seen.last = number;
                    }
                    Ok(_) => seen.repeated += 1,
                    Err(_) => wrong = Some(format!("`{number}` is no line number")),
                },
                Some(("event", "end")) => is_over = true,
                _ => {}
            }
        }
    });
    match wrong {
        Some(sentence) => Err(sentence),
        None if is_over => Ok(true),
        None => came.map(|()| false),
    }
}
