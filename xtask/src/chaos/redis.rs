//! Redis dies, comes back, halts and forgets, while people read.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::Duration;

use serde_json::json;

use super::Chaos;
use super::clients::{Creates, all_ended, repository};
use super::report::Outcome;
use crate::Result;
use crate::cluster::{Account, Cluster};
use crate::http::Connection;

/// How often the part about limits is tried until Redis answered everything in time.
const TRIES: usize = 5;
/// Requests an API key may make in one window, in the part about limits.
const LIMIT: usize = 50;

pub(super) fn run(chaos: &Chaos<'_>) -> Result<Outcome> {
    let mut outcome = Outcome::new("Redis killed, restarted, halted (SIGSTOP), flushed", "mixed reads on 3 replicas");
    reads(chaos, &mut outcome)?;
    limits(chaos, &mut outcome)?;
    Ok(outcome)
}

fn reads(chaos: &Chaos<'_>, outcome: &mut Outcome) -> Result {
    let rounds = chaos.many(10, 1);
    let mut cluster = chaos.cluster(&[])?;
    let account = cluster.sign_up("redis")?;
    let page = repository(&cluster.folder.0, "page", &[("index.html", "<h1>up</h1>")])?;
    Creates::default().create(&[cluster.address], &account, &page, "redis", &json!({}));
    all_ended(&cluster, &account, Duration::from_secs(60))?;
    let (over, done, failed) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let address = cluster.address;
    std::thread::scope(|scope| -> Result {
        for thread in 0..6 {
            let (over, done, failed, account) = (&over, &done, &failed, &account);
            scope.spawn(move || {
                let paths = paths(account);
                let mut connection = None;
                for number in thread.. {
                    if over.load(Ordering::Relaxed) {
                        return;
                    }
                    if let Err(sentence) = read(&mut connection, address, &paths[number % paths.len()], account) {
                        failed.fetch_add(1, Ordering::Relaxed);
                        println!("  {sentence}");
                    }
                    done.fetch_add(1, Ordering::Relaxed);
                    sleep(Duration::from_millis(2));
                }
            });
        }
        let outcome = (0..rounds).try_for_each(|_| trouble(&mut cluster));
        over.store(true, Ordering::Relaxed);
        outcome
    })?;
    outcome.note(format!("{} reads through {rounds} rounds of each fault", done.into_inner()));
    outcome.none("reads that failed", failed.into_inner());
    Ok(())
}

/// Every fault once, with time to recover after each.
fn trouble(cluster: &mut Cluster) -> Result {
    let redis = |cluster: &mut Cluster| cluster.redis.take().ok_or("Redis does not run");
    redis(cluster)?.kill()?;
    sleep(Duration::from_secs(2));
    cluster.start_redis_again()?;
    sleep(Duration::from_secs(2));
    drop(redis(cluster)?);
    cluster.start_redis_again()?;
    sleep(Duration::from_secs(1));
    let process = cluster.redis.as_ref().ok_or("Redis does not run")?.process;
    process.signal("STOP")?;
    sleep(Duration::from_secs(3));
    process.signal("CONT")?;
    sleep(Duration::from_secs(2));
    flush(cluster.redis_address)?;
    sleep(Duration::from_secs(1));
    Ok(())
}

fn flush(address: SocketAddr) -> Result {
    let mut stream = TcpStream::connect(address).map_err(|error| error.to_string())?;
    let mut answer = [0; 5];
    stream
        .write_all(b"FLUSHALL\r\n")
        .and_then(|()| stream.read_exact(&mut answer))
        .map_err(|error| error.to_string())?;
    if &answer == b"+OK\r\n" { Ok(()) } else { Err("Redis did not flush".to_owned()) }
}

/// What people look at: Studio's own, Ghost's, and both.
pub(super) fn paths(account: &Account) -> Vec<String> {
    let project = &account.project;
    [
        "/api/v2/organizations".to_owned(),
        "/api/v2/users/me".to_owned(),
        format!("/api/v2/projects/{project}"),
        format!("/api/v2/deployments?projectId={project}"),
        format!("/api/v2/sites?projectId={project}"),
        format!("/api/v2/domains?projectId={project}"),
    ]
    .into()
}

/// One read over a kept connection. The error says what came instead.
pub(super) fn read(
    connection: &mut Option<Connection>,
    address: SocketAddr,
    path: &str,
    account: &Account,
) -> Result<u16> {
    let mut open = match connection.take() {
        Some(open) => open,
        None => Connection::open_within(address, Duration::from_secs(30))?,
    };
    let (status, body) = open.call("GET", path, std::slice::from_ref(&account.key), &[])?;
    if !(200..300).contains(&status) {
        return Err(format!("GET {path}: {status} {}", String::from_utf8_lossy(&body)));
    }
    *connection = Some(open);
    Ok(status)
}

/// Commands that had no answer from Redis in time, at all replicas.
fn failures(cluster: &Cluster) -> Result<u64> {
    let mut sum = 0;
    for replica in &cluster.replicas {
        let (_, page) = Connection::open(replica.operations)?.call("GET", "/metrics", &[], &[])?;
        let page = String::from_utf8_lossy(&page).into_owned();
        let line = page.lines().find_map(|line| line.strip_prefix("ogel_redis_failures_total "));
        sum += line.and_then(|number| number.trim().parse::<u64>().ok()).ok_or("no count of Redis's failures")?;
    }
    Ok(sum)
}

/// One key at three replicas at once: how many requests get through in one window?
fn limits(chaos: &Chaos<'_>, outcome: &mut Outcome) -> Result {
    let mut cluster =
        chaos.cluster(&[("limits.api_key_free", LIMIT.to_string()), ("limits.window_seconds", "3600".to_owned())])?;
    let admitted = |cluster: &Cluster, name: &str| -> Result<usize> {
        let account = cluster.sign_up(name)?;
        let admitted = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for replica in &cluster.replicas {
                let (admitted, account, address) = (&admitted, &account, replica.address);
                scope.spawn(move || {
                    for _ in 0..LIMIT * 2 {
                        let call = Connection::open(address).and_then(|mut open| {
                            open.call("GET", "/api/v2/users/me", std::slice::from_ref(&account.key), &[])
                        });
                        if matches!(call, Ok((200..300, _))) {
                            admitted.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        Ok(admitted.into_inner())
    };
    // The bound is for a Redis that answers in time, which on a busy machine it may not do at the first try.
    let (mut with, mut late) = (0, u64::MAX);
    for number in 0..TRIES {
        let before = failures(&cluster)?;
        with = admitted(&cluster, &format!("limits-with-redis-{number}"))?;
        late = failures(&cluster)? - before;
        if late == 0 {
            break;
        }
    }
    if let Some(redis) = cluster.redis.take() {
        redis.kill()?;
    }
    let without = admitted(&cluster, "limits-without-redis")?;
    let replicas = cluster.replicas.len();
    outcome.note(format!("{} requests of one key at {replicas} replicas, {LIMIT} allowed", LIMIT * 2 * replicas));
    let bound = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    // What docs/operations.md promises: one on credit at each replica in the first, one window per replica in the second.
    let allowed = if late == 0 { LIMIT + replicas } else { LIMIT * replicas };
    outcome.note(format!("{late} commands without Redis's answer in time while it was there"));
    outcome.at_most("admitted with Redis", bound(with), bound(allowed));
    outcome.at_most("admitted without Redis", bound(without), bound(LIMIT * replicas));
    outcome.none("too few admitted", LIMIT.saturating_sub(with) + LIMIT.saturating_sub(without));
    Ok(())
}
